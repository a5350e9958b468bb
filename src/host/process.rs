//! What the calling process uses of the machine.

use std::fs;

/// See [`usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Memory that it has in RAM, in bytes.
    pub resident_bytes: u64,
    /// Descriptors that it has open.
    pub descriptors: usize,
}

/// What the calling process uses now; `None` where `/proc` does not tell. Takes microseconds.
#[must_use]
pub fn usage() -> Option<Usage> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    // The directory itself is open while it is read.
    let descriptors = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    Some(Usage { resident_bytes: pages.saturating_mul(page.try_into().ok()?), descriptors })
}
