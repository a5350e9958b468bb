//! `global_defs`.

use toml::Value;

use super::lex::Statement;
use super::{Shared, announce};
use crate::import::Work;
use crate::import::target::duration;

/// What carpd always does, or what has no counterpart and needs none.
const UNNEEDED: &[(&[&str], &str)] = &[
    (
        &["enable_script_security", "script_security"],
        "programs that others could write to are always refused",
    ),
    (
        &["vrrp_skip_check_adv_addr"],
        "the addresses of an advertisement are part of what is signed",
    ),
    (&["vrrp_strict", "vrrp_version"], "it is about VRRP"),
    (
        &[
            "vrrp_iptables",
            "vrrp_ipsets",
            "nftables",
            "nftables_priority",
            "nftables_counters",
            "nftables_ifindex",
            "namespace_with_ipsets",
            "disable_local_igmp",
        ],
        "no firewall rule is needed to hold an address",
    ),
    (
        &["vrrp_garp_lower_prio_repeat", "vrrp_garp_lower_prio_delay"],
        "a master announces its addresses again whenever another one was heard",
    ),
    (
        &["vrrp_higher_prio_send_advert"],
        "a master that yields says so by itself",
    ),
    (
        &["vrrp_lower_prio_no_advert"],
        "a worse master is always answered",
    ),
    (
        &["vrrp_check_unicast_src"],
        "advertisements of anybody but the peers are always refused",
    ),
    (
        &["dynamic_interfaces", "allow_if_changes"],
        "interfaces may always come and go",
    ),
    (
        &[
            "use_pid_dir",
            "instance",
            "child_wait_time",
            "tmp_config_directory",
            "config_save_dir",
            "umask",
            "data_use_instance",
            "random_seed",
            "include_check",
            "reload_check_config",
            "reload_time_file",
            "reload_repeat",
            "reload_file",
        ],
        "it is about keepalived's own files",
    ),
    (
        &["process_names", "process_name", "vrrp_process_name"],
        "processes have names that say what they do",
    ),
    (
        &[
            "vrrp_notify_fifo",
            "notify_fifo",
            "fifo_write_vrrp_states_on_reload",
        ],
        "`carpd events --follow --json` says the same to whoever reads it",
    ),
    (
        &[
            "vrrp_netlink_cmd_rcv_bufs",
            "vrrp_netlink_cmd_rcv_bufs_force",
            "vrrp_netlink_monitor_rcv_bufs",
            "vrrp_netlink_monitor_rcv_bufs_force",
            "process_monitor_rcv_bufs",
            "process_monitor_rcv_bufs_force",
            "vrrp_rx_bufs_policy",
            "vrrp_rx_bufs_multiplier",
        ],
        "carpd chooses the sizes of its buffers",
    ),
    (
        &["linkbeat_use_polling"],
        "the kernel reports every change of a link",
    ),
    (&["debug"], "the log's level is `[daemon.log] level`"),
    (
        &["log_unknown_vrids"],
        "`carpd doctor` says who else is on the wire",
    ),
    (
        &["min_auto_priority_delay"],
        "it is about keepalived's own priority as a process",
    ),
];

/// What differs without anything to do.
const DIFFERENT: &[(&[&str], &str)] = &[(
    &["vmac_prefix", "vmac_addr_prefix"],
    "the device of a virtual hardware address is called after its interface and vhid",
)];

/// What an operator gets otherwise.
const UNTRANSLATED: &[(&[&str], &str)] = &[
    (
        &[
            "enable_snmp_vrrp",
            "enable_snmp_keepalived",
            "enable_snmp_checker",
            "enable_snmp_rfc",
            "enable_snmp_rfcv2",
            "enable_snmp_rfcv3",
            "enable_traps",
            "snmp_socket",
        ],
        "carpd has no SNMP: its metrics are Prometheus's (`[daemon] listen`)",
    ),
    (
        &["enable_dbus", "dbus_service_name", "dbus_no_interface_name"],
        "carpd has no interface on D-Bus: `carpd status --json` says the same",
    ),
    (
        &["notify_fifo_script", "vrrp_notify_fifo_script"],
        "a hook, or a `[notify.NAME]` of the kind command, is told the same",
    ),
    (
        &["vrrp_notify_priority_changes"],
        "no program is told; `carpd events --follow --json` says when it happens",
    ),
    (
        &[
            "startup_script",
            "startup_script_timeout",
            "shutdown_script",
            "shutdown_script_timeout",
        ],
        "carpd runs no program when it starts or ends: ExecStartPre= and ExecStopPost= of its unit do",
    ),
    (&["vrrp_cpu_affinity"], "CPUAffinity= of its unit does that"),
];

pub(super) fn read(globals: &Statement, shared: &mut Shared, work: &mut Work<'_>) {
    work.account.unneeded(globals.id, "its parts follow");
    for statement in &globals.block {
        one(statement, shared, work);
    }
}

fn one(statement: &Statement, shared: &mut Shared, work: &mut Work<'_>) {
    let (name, value, id) = (statement.name(), statement.value(), statement.id);
    match name {
        "router_id" => {
            if (1..=64).contains(&value.len()) {
                work.target.daemon.set("node-name", value);
                work.account.translated(id, "`[daemon] node-name`");
            } else {
                work.account
                    .different(id, "a node's name has 1 to 64 bytes: it is the host's");
            }
        }
        "script_user" => {
            shared.script_user = Some(value.to_owned());
            work.account.translated(id, "`user` of the tracks");
        }
        "net_namespace" => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if !value.is_empty() && value.chars().all(plain) && !value.starts_with('.') {
                shared.vhost.insert("netns", Value::from(value));
                work.account.translated(id, "`netns` of the virtual hosts");
            } else {
                work.account
                    .untranslated(id, "no network namespace has such a name");
            }
        }
        "default_interface" => {
            shared.interface = Some(value.to_owned());
            work.account
                .translated(id, "`interface` of the virtual hosts that have none");
        }
        "vrrp_startup_delay" => match duration(value, 0..=3_600_000) {
            Ok(delay) => {
                shared.vhost.insert("startup-delay", Value::from(delay));
                work.account
                    .translated(id, "`startup-delay` of the virtual hosts");
            }
            Err(why) => work.account.untranslated(id, why),
        },
        "vrrp_down_timer_adverts" => match value.parse::<u8>() {
            Ok(ratio) if ratio > 0 => {
                shared
                    .vhost
                    .insert("dead-ratio", Value::from(i64::from(ratio)));
                work.account
                    .translated(id, "`dead-ratio` of the virtual hosts");
            }
            _ => work
                .account
                .untranslated(id, format!("{value:?} is no number from 1 to 100")),
        },
        "vrrp_priority" | "vrrp_rt_priority" | "vrrp_rlimit_rttime" | "vrrp_no_swap"
        | "max_auto_priority" => {
            work.target.daemon.set("realtime", true);
            work.account
                .different(id, "`[daemon] realtime`, with a priority of carpd's own");
        }
        "vrrp_mcast_group4" | "vrrp_mcast_group6" => group(statement, &mut shared.vhost, work),
        _ if name.starts_with("lvs_")
            || name.starts_with("checker_")
            || name.starts_with("bfd_")
            || name.starts_with("nftables_ipvs")
            || name == "net_namespace_ipvs" =>
        {
            work.account.unneeded(
                id,
                "it is about load balancing or BFD, which is no work of carpd",
            );
        }
        _ if shared.mail.take(statement, work)
            || announce::set(&mut shared.announce.global, statement, work) => {}
        _ => table(statement, work),
    }
}

/// The multicast group, which VRRP and CARP have in common if nothing else is said.
pub(super) fn group(
    statement: &Statement,
    vhost: &mut std::collections::BTreeMap<&'static str, Value>,
    work: &mut Work<'_>,
) {
    let key = match statement.value().parse::<std::net::IpAddr>() {
        Ok(group) if !group.is_multicast() => None,
        Ok(std::net::IpAddr::V4(_)) => Some("mcast-group"),
        Ok(std::net::IpAddr::V6(_)) => Some("mcast-group6"),
        Err(_) => None,
    };
    match key {
        Some(key) => {
            vhost.insert(key, Value::from(statement.value()));
            work.account.translated(statement.id, format!("`{key}`"));
        }
        None => work
            .account
            .untranslated(statement.id, "it is no multicast address"),
    }
}

fn table(statement: &Statement, work: &mut Work<'_>) {
    let named = |list: &[(&[&str], &'static str)]| {
        list.iter()
            .find(|(names, _)| names.contains(&statement.name()))
            .map(|(_, why)| *why)
    };
    if let Some(why) = named(UNNEEDED) {
        work.account.unneeded(statement.id, why);
    } else if let Some(why) = named(DIFFERENT) {
        work.account.different(statement.id, why);
    } else if let Some(why) = named(UNTRANSLATED) {
        work.account.untranslated(statement.id, why);
    } else {
        return;
    }
    super::parts(statement, work);
}
