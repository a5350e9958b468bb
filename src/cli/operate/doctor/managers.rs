//! Programs that configure the network of this host, and their files.

use std::net::IpAddr;

use super::{Found, Level, Subject};
use crate::config::Vhost;

/// Where systemd-networkd keeps what it knows of each device.
const NETWORKD: &str = "/run/systemd/netif/links";
/// Where its settings are.
const NETWORKD_CONF: [&str; 3] = ["/etc/systemd", "/run/systemd", "/usr/lib/systemd"];

/// systemd-networkd removes what it did not configure, unless it is told not to.
pub(super) fn networkd(subject: &Subject<'_>) -> Vec<Found> {
    let machine = subject.machine;
    let mut found = Vec::new();
    let mut manages = false;
    for (link, vhosts) in subject.interfaces() {
        let Some(state) = machine.read(&format!("{NETWORKD}/{}", link.index)) else {
            continue;
        };
        let value = |key: &str| {
            state
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        let Some(file) =
            value("NETWORK_FILE").filter(|_| value("ADMIN_STATE") != Some("unmanaged"))
        else {
            continue;
        };
        manages = true;
        let name = file.rsplit('/').next().unwrap_or(file);
        let drop_ins = NETWORKD_CONF
            .iter()
            .flat_map(|base| machine.files(&format!("{base}/network/{name}.d"), ".conf"));
        let keeps = std::iter::once(file.to_owned())
            .chain(drop_ins)
            .any(|path| {
                is_set(
                    &machine.read(&path).unwrap_or_default(),
                    "KeepConfiguration",
                    &["static", "yes"],
                )
            });
        if !keeps {
            found.push(
                Found::new(Level::Warning, format!("systemd-networkd takes the virtual addresses off {}", link.name))
                    .about(vhosts)
                    .seen(format!("{file} without KeepConfiguration=static"))
                    .so("when it is restarted or sets the interface up again, it removes addresses that it did not configure; carpd puts them back")
                    .mend(format!(
                        "mkdir -p /etc/systemd/network/{name}.d && printf '[Network]\\nKeepConfiguration=static\\n' > /etc/systemd/network/{name}.d/carpd.conf && networkctl reload"
                    )),
            );
        }
    }
    let sets_routes = subject
        .config
        .hooks
        .values()
        .any(|hook| !hook.grants.route.is_empty() || !hook.grants.rule.is_empty());
    if manages && sets_routes && !leaves_routes(subject) {
        found.push(
            Found::new(Level::Warning, "systemd-networkd removes routes and rules of hooks")
                .seen("networkd.conf without ManageForeignRoutes=no and ManageForeignRoutingPolicyRules=no")
                .so("when it starts, it removes routes and rules that it did not configure; carpd puts them back")
                .mend(
                    "mkdir -p /etc/systemd/networkd.conf.d && printf '[Network]\\nManageForeignRoutes=no\\nManageForeignRoutingPolicyRules=no\\n' > /etc/systemd/networkd.conf.d/carpd.conf && systemctl restart systemd-networkd",
                ),
        );
    }
    found
}

fn leaves_routes(subject: &Subject<'_>) -> bool {
    let machine = subject.machine;
    let files: Vec<String> = NETWORKD_CONF
        .iter()
        .flat_map(|base| {
            let mut files = machine.files(&format!("{base}/networkd.conf.d"), ".conf");
            files.push(format!("{base}/networkd.conf"));
            files
        })
        .collect();
    ["ManageForeignRoutes", "ManageForeignRoutingPolicyRules"]
        .iter()
        .all(|key| {
            files
                .iter()
                .filter_map(|file| machine.read(file))
                .any(|text| is_set(&text, key, &["no", "false", "off", "0"]))
        })
}

/// Whether a file of systemd has this setting with one of these values.
fn is_set(text: &str, key: &str, values: &[&str]) -> bool {
    text.lines().any(|line| {
        line.trim()
            .split_once('=')
            .is_some_and(|(name, value)| name.trim() == key && values.contains(&value.trim()))
    })
}

/// NetworkManager leaves foreign addresses alone until it takes the connection down.
pub(super) fn network_manager(subject: &Subject<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (link, vhosts) in subject.interfaces() {
        let path = format!("/run/NetworkManager/devices/{}", link.index);
        let state = subject.machine.read(&path).unwrap_or_default();
        let is_managed = state
            .lines()
            .any(|line| matches!(line.trim(), "managed=true" | "managed=1"));
        if is_managed {
            found.push(
                Found::new(Level::Note, format!("NetworkManager manages {}", link.name))
                    .about(vhosts)
                    .seen(format!("{path}: managed"))
                    .so("`nmcli connection up` and `down` remove the virtual addresses; carpd puts them back")
                    .mend(format!("nmcli device set {} managed no, where the interface is configured by other means", link.name)),
            );
        }
    }
    found
}

/// Files that configure addresses at boot, and directories with those of an ending.
const FILES: [&str; 8] = [
    "/etc/network/interfaces",
    "/etc/dhcpcd.conf",
    "/etc/conf.d/net",
    "/etc/rc.conf",
    "/etc/rc.local",
    "/etc/keepalived/keepalived.conf",
    "/etc/default/ucarp",
    "/etc/vrrpd.conf",
];
const DIRECTORIES: [(&str, &str); 10] = [
    ("/etc/network/interfaces.d", ""),
    ("/etc/netplan", ".yaml"),
    ("/etc/systemd/network", ".network"),
    ("/etc/NetworkManager/system-connections", ""),
    ("/etc/sysconfig/network-scripts", ""),
    ("/etc/sysconfig/network", ""),
    ("/etc/keepalived/conf.d", ".conf"),
    ("/etc/keepalived", ".conf"),
    ("/etc/ucarp", ""),
    ("/etc/ifplugd/action.d", ""),
];

/// Virtual addresses that something else configures too.
pub(super) fn addresses(subject: &Subject<'_>) -> Vec<Found> {
    let machine = subject.machine;
    let mut files: Vec<String> = FILES.iter().map(|&file| file.to_owned()).collect();
    for (directory, ending) in DIRECTORIES {
        files.extend(machine.files(directory, ending));
    }
    files.sort();
    files.dedup();
    let mut found = Vec::new();
    for file in files {
        let text = machine.read(&file).unwrap_or_default();
        for vhost in &subject.config.vhosts {
            let hit = vhost
                .addresses
                .iter()
                .find_map(|address| Some((address.ip, line_with(&text, address.ip)?)));
            if let Some((ip, line)) = hit {
                found.push(configured(vhost, ip, &file, line));
            }
        }
    }
    found
}

fn configured(vhost: &Vhost, ip: IpAddr, file: &str, line: usize) -> Found {
    Found::new(Level::Warning, format!("{ip} is configured elsewhere too"))
        .about([vhost])
        .seen(format!("{file}:{line}"))
        .so("if that is for this host, the address is up whoever is master, and this virtual host takes no part while it is")
        .mend(format!("remove it from {file}, then `ip address delete {ip}` where it is up"))
}

/// The first line, counted from 1, that names this address and is no comment.
fn line_with(text: &str, ip: IpAddr) -> Option<usize> {
    let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':');
    let names = |line: &str| {
        let line = line.trim_start();
        !line.starts_with(['#', ';', '!'])
            && line
                .split(|c| !is_part(c))
                .any(|word| word.trim_end_matches(['.', ':']).parse() == Ok(ip))
    };
    text.lines().position(names).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_as_a_whole() {
        let ip = "192.0.2.1".parse().unwrap();
        let at = |text| line_with(text, ip);
        assert_eq!(at("iface eth0\n  address 192.0.2.1/24\n"), Some(2));
        assert_eq!(at("Address=192.0.2.1/32"), Some(1));
        assert_eq!(at("addresses: [192.0.2.1/24, 10.0.0.1/8]"), Some(1));
        assert_eq!(at("address1=192.0.2.1/24,192.0.2.254"), Some(1));
        assert_eq!(
            at("# 192.0.2.1\n192.0.2.10\n192.0.2.100\n1.192.0.2.1"),
            None
        );
        let v6 = "2001:db8::1".parse().unwrap();
        assert_eq!(line_with("IPV6ADDR=2001:DB8:0::1/64", v6), Some(1));
        assert_eq!(line_with("IPV6ADDR=2001:db8::11/64", v6), None);
    }
}
