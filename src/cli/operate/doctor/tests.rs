//! Checks that read files, on hosts made of files.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::effect::Nature;
use crate::types::MacAddr;

const HOOK: &str = "hooks = [\"h\"]\n[hook.h]\nsource = \"h.lua\"\n[hook.h.grant]\nroute = [{ dst = \"default\" }]\n\
                    service = [{ unit = \"httpd\", do = [\"start\", \"stop\"] }]\n";

/// What the checks find on a host with these files, by their names.
fn on(more: &str, files: &[(&str, &str)]) -> Vec<(&'static str, Level)> {
    let root = TempDir::new().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (path, text) in files {
        write(path, text);
    }
    write("carpd/web.pass", "gw22\n");
    write("carpd/h.lua", "function on_master() end\n");
    let pass = root.path().join("carpd/web.pass");
    let private = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    fs::set_permissions(pass, private).unwrap();
    write(
        "carpd/carpd.toml",
        &format!(
            "[[vhost]]\nname = \"web\"\ninterface = \"nic7\"\nvhid = 40\naddresses = [\"192.168.32.22/24\"]\npassword-file = \"web.pass\"\n{more}"
        ),
    );
    let config = config(&root.path().join("carpd/carpd.toml"));
    let found = examine(&Subject {
        config: &config,
        machine: &Machine::below(root.path()),
        links: vec![Link {
            name: "nic7".parse().unwrap(),
            altnames: Vec::new(),
            index: 7,
            up: true,
            carrier: true,
            mac: MacAddr([2, 0, 0, 0, 0, 7]),
            mtu: 1500,
            nature: Nature::default(),
        }],
        devices: Ok(Vec::new()),
        status: None,
        listen: Some(Duration::ZERO),
    });
    let ours = |finding: &&Finding| !matches!(finding.check, "rights" | "firewall");
    found
        .iter()
        .filter(ours)
        .map(|finding| (finding.check, finding.level))
        .collect()
}

fn config(path: &Path) -> Config {
    configuration::check(path).unwrap().0
}

#[test]
fn a_host_without_anything_is_well() {
    assert_eq!(on("", &[]), []);
    assert_eq!(on(HOOK, &[]), []);
}

#[test]
fn hypervisors_and_clouds_are_known() {
    let vendor = "/sys/class/dmi/id/sys_vendor";
    let error = ("hypervisor", Level::Error);
    let warning = ("hypervisor", Level::Warning);
    assert_eq!(on("", &[(vendor, "VMware, Inc.\n")]), [warning]);
    assert_eq!(
        on(
            "source-mac = \"interface\"\n",
            &[(vendor, "VMware, Inc.\n")]
        ),
        []
    );
    assert_eq!(on("", &[(vendor, "Amazon EC2\n")]), [error]);
    assert_eq!(
        on(
            "unicast = [\"192.168.32.33\"]\n",
            &[(vendor, "Amazon EC2\n")]
        ),
        []
    );
    assert_eq!(on("", &[(vendor, "Dell Inc.\n")]), []);
}

#[test]
fn networkd_is_told_to_keep_addresses_and_routes() {
    let warning = ("networkd", Level::Warning);
    let state = (
        "/run/systemd/netif/links/7",
        "ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/lan.network\n",
    );
    let unmanaged = ("/run/systemd/netif/links/7", "ADMIN_STATE=unmanaged\n");
    let network = ("/etc/systemd/network/lan.network", "[Network]\nDHCP=yes\n");
    let keeps = (
        "/etc/systemd/network/lan.network.d/carpd.conf",
        include_str!("../../../../docs/packaging/networkd-interface.conf"),
    );
    let leaves = (
        "/etc/systemd/networkd.conf.d/carpd.conf",
        include_str!("../../../../docs/packaging/networkd.conf"),
    );
    assert_eq!(on("", &[state, network]), [warning]);
    assert_eq!(on("", &[unmanaged, network]), []);
    assert_eq!(on("", &[state, network, keeps]), []);
    assert_eq!(on(HOOK, &[state, network, keeps]), [warning]);
    assert_eq!(on(HOOK, &[state, network, keeps, leaves]), []);
}

#[test]
fn few_watches_are_found_where_there_are_hooks() {
    let few = ("/proc/sys/fs/inotify/max_user_watches", "64\n");
    let many = ("/proc/sys/fs/inotify/max_user_watches", "65536\n");
    assert_eq!(on(HOOK, &[few]), [("watches", Level::Warning)]);
    assert_eq!(on(HOOK, &[many]), []);
    assert_eq!(on("", &[few]), []);
}

#[test]
fn services_that_start_at_boot_are_found_in_each_service_manager() {
    let warning = ("boot-services", Level::Warning);
    let unit = (
        "/etc/systemd/system/multi-user.target.wants/httpd.service",
        "",
    );
    let script = ("/etc/rc2.d/S01httpd", "");
    let openrc = ("/etc/runlevels/default/httpd", "");
    let systemd = ("/run/systemd/system/x", "");
    for place in [unit, script, openrc] {
        assert_eq!(on(HOOK, &[place]), [warning], "{place:?}");
        assert_eq!(on("", &[place]), [], "{place:?}");
    }
    assert_eq!(on(HOOK, &[script, systemd]), []);
    assert_eq!(
        on(
            HOOK,
            &[("/etc/rc2.d/K01httpd", ""), ("/etc/rc2.d/S01httpd2", "")]
        ),
        []
    );
}

#[test]
fn addresses_in_other_files_are_found() {
    let warning = ("addresses-elsewhere", Level::Warning);
    let line = "address 192.168.32.22/24\n";
    for file in [
        "/etc/network/interfaces",
        "/etc/netplan/50.yaml",
        "/etc/systemd/network/lan.network",
        "/etc/NetworkManager/system-connections/lan",
        "/etc/sysconfig/network-scripts/ifcfg-eth0",
        "/etc/keepalived/keepalived.conf",
        "/etc/ucarp/vip-001.conf",
    ] {
        assert_eq!(on("", &[(file, line)]), [warning], "{file}");
        assert_eq!(on("", &[(file, "address 192.168.32.220\n")]), [], "{file}");
    }
}

#[test]
fn words_of_files_are_shown_escaped() {
    let mut page = Page::default();
    write_finding(
        &mut page,
        &Finding {
            check: "firewall",
            level: Level::Error,
            vhosts: vec!["web".to_owned()],
            what: "a\x1b[31m".to_owned(),
            evidence: "b\nerror: c".to_owned(),
            consequence: String::new(),
            mend: String::new(),
        },
    );
    assert!(!page.as_str().contains('\x1b'));
    assert_eq!(page.as_str().lines().count(), 2);
}
