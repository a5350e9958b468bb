//! Finds out who removed an address: what the kernel says, and what is likely.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::process::Process;

/// Programs that manage addresses on their own initiative: process names (truncated by the kernel
/// to 15 bytes), and the usual names.
const KNOWN: [(&str, &str); 11] = [
    ("systemd-network", "systemd-networkd"),
    ("NetworkManager", "NetworkManager"),
    ("dhclient", "dhclient"),
    ("dhcpcd", "dhcpcd"),
    ("udhcpc", "udhcpc"),
    ("connmand", "ConnMan"),
    ("wickedd", "wicked"),
    ("netplan", "netplan"),
    ("ifup", "ifupdown"),
    ("ifdown", "ifupdown"),
    ("keepalived", "keepalived"),
];

/// What is known about who changed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Culprit {
    /// A description. It contains a name only together with the evidence.
    pub by: String,
    /// Programs running here that do such things: not evidence, but a hint.
    pub likely: Vec<&'static str>,
}

/// Who made the change that the kernel attributes to the netlink socket with this number. For a log
/// message, not for a decision: reads the names of all processes once.
///
/// The number of a process's first such socket is that of the process, seen from its own process
/// namespace; any other number may be chosen.
#[must_use]
pub fn culprit(port: u32) -> Culprit {
    Culprit {
        by: said_by_the_kernel(port),
        likely: suspects(),
    }
}

fn said_by_the_kernel(port: u32) -> String {
    if port == 0 {
        return "unknown".to_owned();
    }
    match Process::look(port) {
        Some(process) if is_here(port) && has_socket(port) => {
            format!(
                "netlink socket {port}, which is the number of {} (pid {port})",
                process.name
            )
        }
        Some(_) => format!(
            "unknown: netlink socket {port}, which is not that of the process of this number"
        ),
        None => {
            format!("unknown: netlink socket {port}, and no process has this number (any more)")
        }
    }
}

/// Is the process in our network namespace? Each has files of its own below `/proc/PID/net`, which
/// anybody may look at.
fn is_here(pid: impl std::fmt::Display) -> bool {
    let net = |pid: &dyn std::fmt::Display| {
        fs::metadata(format!("/proc/{pid}/net/netlink"))
            .map(|file| file.ino())
            .ok()
    };
    net(&pid).is_some_and(|there| Some(there) == net(&"thread-self"))
}

/// Is there still a socket of this number for addresses and routes?
fn has_socket(port: u32) -> bool {
    // Columns: address, protocol, port, ...
    let sockets = fs::read_to_string("/proc/thread-self/net/netlink").unwrap_or_default();
    let fields = sockets
        .lines()
        .map(|line| line.split_whitespace().skip(1).take(2).collect::<Vec<_>>());
    let port = port.to_string();
    fields
        .into_iter()
        .any(|fields| fields == ["0", port.as_str()])
}

/// The programs running now that may change addresses here: those of our own network namespace,
/// since others cannot reach them. Reads the names of all processes once.
#[must_use]
pub fn suspects() -> Vec<&'static str> {
    let mut found: Vec<_> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            entry
                .file_name()
                .into_string()
                .ok()
                .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        })
        .filter_map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            let (_, known) = KNOWN.iter().find(|(name_, _)| *name_ == name.trim_end())?;
            is_here(pid).then_some(*known)
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use netlink_sys::protocols::NETLINK_ROUTE;
    use netlink_sys::{Socket, SocketAddr};

    use super::*;

    #[test]
    fn a_name_is_said_only_with_what_it_rests_on() {
        assert_eq!(said_by_the_kernel(0), "unknown");
        // Numbers that the kernel chooses itself are those of no process.
        assert!(
            said_by_the_kernel(u32::MAX - 7)
                .starts_with("unknown: netlink socket 4294967288, and no process")
        );
        assert!(is_here(std::process::id()));
        let own = std::process::id();
        let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
        if !has_socket(own) {
            assert!(
                said_by_the_kernel(own).starts_with("unknown: "),
                "a process is not its socket"
            );
            socket.bind(&SocketAddr::new(own, 0)).unwrap();
        }
        let said = said_by_the_kernel(own);
        assert!(
            said.starts_with(&format!("netlink socket {own}, which is the number of ")),
            "{said}"
        );
    }
}
