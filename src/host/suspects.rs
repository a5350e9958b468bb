//! Who else on this host takes it upon himself to manage addresses.

use std::fs;

/// Process names (as the kernel cuts them, at 15 bytes), and what people call them.
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

/// The programs running now that may have removed an address that we hold: for a log message, not for a
/// decision. Reads the names of all processes once.
#[must_use]
pub fn suspects() -> Vec<&'static str> {
    let mut found: Vec<_> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok())
        .filter_map(|comm| KNOWN.iter().find(|(name, _)| *name == comm.trim_end()).map(|(_, known)| *known))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}
