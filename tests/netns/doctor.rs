//! `carpd doctor` on hosts that are well, and on hosts with one fault each.

use std::time::Duration;

use carpd::lab::{Exit, Fault as Cut, Lab};
use serde_json::Value;

use crate::rig::{CARPD, Carpd, Failed, SOON, TAKEOVER, dual_lan, lan, sh};
use crate::{Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            limit: Duration::from_mins(2),
            ..Case::new("doctor::finds_each_fault", faults)
        },
        Case {
            limit: Duration::from_mins(1),
            ..Case::new("doctor::finds_nothing_on_hosts_that_are_well", well)
        },
        Case::new("doctor::asks_the_daemon", asks),
        Case {
            limit: Duration::from_mins(3),
            ..Case::new("doctor::hears_who_else_is_on_the_wire", wire)
        },
    ]
}

const PLAIN: &str = "[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\nvhid = 40\naddresses = [\"192.168.32.22/32\"]\n\
                     password-file = \"/run/lab/web.pass\"\n";
const HOOK: &str = "hooks = [\"h\"]\n[hook.h]\nsource = \"/run/lab/h.lua\"\n[hook.h.grant]\n\
                    service = [{ unit = \"httpd\", do = [\"start\", \"stop\"] }]\nroute = [{ dst = \"default\" }]\n";

/// A fault: its check, what is added to the configuration, and what makes it.
struct Fault {
    check: &'static str,
    more: &'static str,
    script: &'static str,
}

const fn fault(check: &'static str, more: &'static str, script: &'static str) -> Fault {
    Fault {
        check,
        more,
        script,
    }
}

/// Files are put below directories that are the host's own for as long as the script's shell lives.
const FAULTS: &[Fault] = &[
    fault(
        "arp",
        "",
        "echo 8 > /proc/sys/net/ipv4/conf/eth0/arp_ignore",
    ),
    fault("arp", "", "echo 2 > /proc/sys/net/ipv4/conf/all/arp_ignore"),
    fault(
        "two-interfaces-one-network",
        "",
        "ip link add m0 link eth0 type macvlan mode bridge && ip link set m0 up && ip address add 192.168.32.77/24 dev m0",
    ),
    fault(
        "reverse-path",
        "",
        "ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up && \
         ip route add 192.168.32.22/32 dev v0 && echo 1 > /proc/sys/net/ipv4/conf/eth0/rp_filter",
    ),
    fault(
        "reverse-path",
        "unicast = [\"192.0.2.7\"]\n",
        "ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up && ip route add 192.0.2.0/24 dev v0",
    ),
    fault(
        "ipv6",
        "overlap = \"0s\"\n# v6\n",
        "sed -i 's|\"192.168.32.22/32\"|\"192.168.32.22/32\", \"2001:db8::22/128\"|' /run/lab/carpd.toml && \
         echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6",
    ),
    fault(
        "secondaries",
        "manage-addresses = false\n",
        "sed -i 's|22/32|22/24|' /run/lab/carpd.toml && echo 0 > /proc/sys/net/ipv4/conf/all/promote_secondaries; \
         echo 0 > /proc/sys/net/ipv4/conf/eth0/promote_secondaries",
    ),
    fault(
        "snooping",
        "mcast-group = \"239.1.1.1\"\n",
        "ip link add br0 type bridge mcast_snooping 1 mcast_querier 0 && ip link set eth0 master br0 && ip link set br0 up && \
         sed -i 's|\"eth0\"|\"br0\"|' /run/lab/carpd.toml",
    ),
    fault(
        "snooping",
        "",
        "ip link add br0 type bridge && ip link set eth0 master br0 && ip link set br0 up && bridge link set dev eth0 mcast_flood off && \
         sed -i 's|\"eth0\"|\"br0\"|' /run/lab/carpd.toml",
    ),
    fault(
        "firewall",
        "",
        "nft 'table netdev t { chain c { type filter hook ingress device \"eth0\" priority 0; policy accept; ip protocol 112 drop; }; }'",
    ),
    fault(
        "firewall",
        "",
        "sed -i 's|\"192.168.32.22/32\"|\"192.168.32.22/32\", \"2001:db8::22/128\"|' /run/lab/carpd.toml && \
         nft 'table inet t { chain c { type filter hook input priority 0; policy drop; ct state established,related accept; tcp dport 22 accept; }; }'",
    ),
    fault(
        "firewall",
        "unicast = [\"192.168.32.33\"]\n",
        "nft 'table ip t { chain c { type filter hook output priority 0; policy drop; tcp sport 22 accept; }; }'",
    ),
    fault(
        "networkd",
        "",
        "mkdir -p /run/systemd/netif/links /run/systemd/network && \
         printf 'ADMIN_STATE=configured\\nNETWORK_FILE=/run/systemd/network/10-eth0.network\\n' > /run/systemd/netif/links/$(ip -o link show eth0 | cut -d: -f1) && \
         printf '[Match]\\nName=eth0\\n' > /run/systemd/network/10-eth0.network",
    ),
    fault(
        "addresses-elsewhere",
        "",
        "mount -t tmpfs none /etc && mkdir /etc/network && printf 'iface eth0 inet static\\n  address 192.168.32.22/24\\n' > /etc/network/interfaces",
    ),
    fault(
        "boot-services",
        HOOK,
        "mount -t tmpfs none /etc && mkdir -p /etc/systemd/system/multi-user.target.wants && \
         ln -s /lib/systemd/system/httpd.service /etc/systemd/system/multi-user.target.wants/",
    ),
    fault(
        "other-daemons",
        "",
        "(ucarp -i eth0 -v 40 -p other -a 192.168.32.22 -s 192.168.32.32 -u /bin/true -d /bin/true > /dev/null 2>&1 &) ; \
         for n in 1 2 3 4 5 6 7 8 9 10; do ps -C ucarp > /dev/null && break; sleep 0.1; done",
    ),
    fault(
        "configuration",
        "",
        "chmod 0777 /run/lab && touch /run/lab/h.lua && chmod 0666 /run/lab/h.lua && cat >> /run/lab/carpd.toml < /run/lab/hook",
    ),
    fault(
        "network-manager",
        "",
        "mkdir -p /run/NetworkManager/devices && \
         printf '[device]\\nmanaged=true\\n' > /run/NetworkManager/devices/$(ip -o link show eth0 | cut -d: -f1)",
    ),
];

fn doctor(lab: &Lab, host: &str) -> Result<(Exit, Value), Failed> {
    heard(lab, host, "200ms")
}

/// As [`doctor`], listening for so long where no daemon runs.
fn heard(lab: &Lab, host: &str, length: &str) -> Result<(Exit, Value), Failed> {
    let config = "/run/lab/carpd.toml";
    let words = [
        CARPD, "doctor", "--config", config, "--json", "--listen", length,
    ];
    let output = lab.host(host).run(&words, TAKEOVER)?;
    let json = serde_json::from_str(&output.stdout.join("\n"))
        .map_err(|error| format!("{error}: {output:?}"))?;
    Ok((output.status, json))
}

/// Checks of the machine that all hosts of a lab have in common, and that may really lack something.
const OF_THE_MACHINE: [&str; 4] = ["clock", "hypervisor", "kernel-features", "watches"];

/// What was found about the host, as the names of checks with what they say.
fn found(json: &Value) -> Vec<(String, String)> {
    let of = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    let findings = json["findings"].as_array().into_iter().flatten();
    findings
        .map(|one| (of(one, "check"), of(one, "what")))
        .filter(|(check, _)| !OF_THE_MACHINE.contains(&check.as_str()))
        .collect()
}

fn write(lab: &Lab, more: &str) -> Outcome {
    let a = lab.host("a");
    a.write("/run/lab/web.pass", 0o600, "gw22\n")?;
    a.write("/run/lab/h.lua", 0o644, "function on_master() end\n")?;
    a.write("/run/lab/hook", 0o644, HOOK)?;
    a.write("/run/lab/carpd.toml", 0o644, &format!("{PLAIN}{more}"))?;
    Ok(())
}

/// What is heard on host a, where no daemon runs, with these virtual hosts on the others.
fn heard_wire(lab: &Lab, says: &[&str]) -> Outcome {
    let (_, json) = heard(lab, "a", "3s")?;
    let found = found(&json);
    let said = |text: &&str| {
        found
            .iter()
            .any(|(name, what)| name == "wire" && what == text)
    };
    if found.len() != says.len() || !says.iter().all(said) {
        return Err(format!("wanted {says:?}: {json:#}").into());
    }
    Ok(())
}

/// On host a no daemon runs. On the others are first a good peer, and then what must not be.
fn wire() -> Outcome {
    let lab = dual_lan(&["a", "b", "c"])?;
    let both = "addresses = [\"192.168.32.22/32\", \"2001:db8::22/128\"]";
    write(&lab, "")?;
    let plain = PLAIN.replace("addresses = [\"192.168.32.22/32\"]", both);
    lab.host("a").write("/run/lab/carpd.toml", 0o644, &plain)?;
    let addresses = "[\"192.168.32.22/24\", \"2001:db8::22/64\"]";
    let node = |host: &str| Carpd::new(host).set("addresses", addresses);
    let mut b = node("b").start(&lab)?;
    b.wait_state("master", TAKEOVER)?;
    heard_wire(&lab, &[])?;
    // A stranger has them, beside the master and then alone.
    let take = |host: &str, verb: &str| {
        let script = format!(
            "ip address {verb} 192.168.32.22/32 dev eth0 && ip -6 address {verb} 2001:db8::22/128 dev eth0 nodad"
        );
        sh(
            &lab,
            host,
            &script.replace(
                "del 2001:db8::22/128 dev eth0 nodad",
                "del 2001:db8::22/128 dev eth0",
            ),
        )
    };
    let strangers = [
        "another host has 192.168.32.22",
        "another host has 2001:db8::22",
    ];
    take("c", "add")?;
    heard_wire(&lab, &strangers)?;
    b.stop()?;
    heard_wire(&lab, &strangers)?;
    take("c", "del")?;
    heard_wire(&lab, &[])?;
    // Two masters that do not hear each other.
    lab.set_fault("b", Cut::Isolated)?;
    lab.set_fault("c", Cut::Isolated)?;
    let mut b = node("b").start(&lab)?;
    let mut c = node("c").start(&lab)?;
    b.wait_state("master", TAKEOVER)?;
    c.wait_state("master", TAKEOVER)?;
    // One finding for each family.
    heard_wire(
        &lab,
        &["several nodes are master", "several nodes are master"],
    )?;
    c.stop()?;
    b.stop()?;
    lab.clear_fault("b", Cut::Isolated)?;
    lab.clear_fault("c", Cut::Isolated)?;
    // Another password, which is heard in both families; another number.
    let other = node("b");
    other.write(&lab)?;
    lab.host("b")
        .write("/run/lab/web.pass", 0o600, "another\n")?;
    let mut b = other.restart(&lab)?;
    b.wait_state("master", TAKEOVER)?;
    let (_, json) = heard(&lab, "a", "3s")?;
    let refused = found(&json);
    assert!(
        refused.len() == 2
            && refused
                .iter()
                .all(|(_, what)| what.ends_with(" would be refused")),
        "{json:#}"
    );
    b.stop()?;
    let mut b = node("b").set("vhid", "41").start(&lab)?;
    b.wait_state("master", TAKEOVER)?;
    let (_, json) = heard(&lab, "a", "3s")?;
    let numbers = found(&json);
    assert!(
        !numbers.is_empty()
            && numbers
                .iter()
                .all(|(_, what)| what.ends_with("under another vhid")),
        "{json:#}"
    );
    b.stop()
}

/// Each on a host of its own, since one could hide another. In none is anything found besides, but what
/// the fault itself leads to.
fn faults() -> Outcome {
    for Fault {
        check,
        more,
        script,
    } in FAULTS
    {
        let lab = lan(&["a"])?;
        write(&lab, more)?;
        sh(&lab, "a", script)?;
        let (_, json) = doctor(&lab, "a")?;
        let found = found(&json);
        if !found.iter().any(|(name, _)| name == check) {
            return Err(format!("{check} ({script}) was not found: {json:#}").into());
        }
        for (name, what) in &found {
            assert!(name == check, "with {script}: {name}: {what}");
        }
    }
    Ok(())
}

/// A host with each of these, and nothing wrong with it.
fn well() -> Outcome {
    let hosts = [
        ("", "true"),
        (
            HOOK,
            "echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore; echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce",
        ),
        (
            "",
            "ip link add br0 type bridge && ip link set eth0 master br0 && ip link set br0 up && sed -i 's|\"eth0\"|\"br0\"|' /run/lab/carpd.toml",
        ),
        (
            "",
            "sed -i 's|\"192.168.32.22/32\"|\"192.168.32.22/32\", \"2001:db8::22/128\"|' /run/lab/carpd.toml && \
             nft 'table inet t { chain c { type filter hook input priority 0; policy drop; ct state established,related accept; \
             meta l4proto ipv6-icmp accept; tcp dport 22 accept; iifname lo accept; }; }'",
        ),
        (
            "unicast = [\"192.168.32.33\"]\n",
            "echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter; \
             nft 'table ip t { chain c { type filter hook output priority 0; policy drop; ip protocol { vrrp, tcp } accept; }; }'",
        ),
    ];
    for (more, script) in hosts {
        let lab = lan(&["a"])?;
        write(&lab, more)?;
        sh(&lab, "a", script)?;
        let (status, json) = doctor(&lab, "a")?;
        assert_eq!(found(&json), [], "with {script}: {json:#}");
        if json["findings"].as_array().is_some_and(Vec::is_empty) {
            assert_eq!(status, Exit::Code(0));
        }
    }
    Ok(())
}

/// With another password on the other node, which only the daemon can know.
fn asks() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut a = Carpd::new("a").start(&lab)?;
    a.wait_state("backup", SOON)?;
    let (_, json) = doctor(&lab, "a")?;
    assert_eq!(json["daemon"], true, "{json:#}");
    let b = Carpd::new("b");
    b.write(&lab)?;
    lab.host("b")
        .write("/run/lab/web.pass", 0o600, "another\n")?;
    let _b = b.restart(&lab)?;
    a.wait_says("Refusing advertisements", TAKEOVER)?;
    let (status, json) = doctor(&lab, "a")?;
    assert!(
        found(&json)
            .iter()
            .any(|(check, what)| check == "daemon" && what.contains("refused")),
        "{json:#}"
    );
    assert_eq!(status, Exit::Code(6));
    Ok(())
}
