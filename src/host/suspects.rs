//! Who else on this host takes it upon himself to manage addresses.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

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
/// decision. Only those of our own network namespace: the others cannot reach the address. Reads the names of all processes once.
#[must_use]
pub fn suspects() -> Vec<&'static str> {
    let here = namespace(Path::new("/proc/self"));
    let mut found: Vec<_> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter_map(|entry| Some((known(&entry.path())?, entry.path())))
        .filter(|(_, process)| here.is_none() || namespace(process) == here)
        .map(|(known, _)| known)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// What people call this process, if it is one of [`KNOWN`].
fn known(process: &Path) -> Option<&'static str> {
    let comm = fs::read_to_string(process.join("comm")).ok()?;
    KNOWN.iter().find(|(name, _)| *name == comm.trim_end()).map(|(_, known)| *known)
}

/// Tells network namespaces apart. The link `ns/net` of another user's process may not be read without CAP_SYS_PTRACE, but
/// each namespace has its own files below `net`, and anybody may ask for their inodes.
fn namespace(process: &Path) -> Option<u64> {
    fs::metadata(process.join("net/dev")).map(|file| file.ino()).ok()
}
