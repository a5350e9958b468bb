//! What the calling process uses of the machine, and may use.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

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
    let descriptors = fs::read_dir("/proc/self/fd")
        .ok()?
        .count()
        .saturating_sub(1);
    Some(Usage {
        resident_bytes: pages.saturating_mul(page.try_into().ok()?),
        descriptors,
    })
}

/// Fewer descriptors than are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "carpd needs up to {needed} file descriptors for this configuration and may open {allowed}: raise LimitNOFILE= in its \
     systemd unit, or `ulimit -n`"
)]
pub struct TooFewDescriptors {
    /// What the configuration may need.
    pub needed: u64,
    /// What the hard limit of this process allows.
    pub allowed: u64,
}

/// Lets this process open as many descriptors as it may at most: the limit that most start with is
/// for programs that cannot handle more. Not inherited by what another process starts.
///
/// # Errors
/// [`TooFewDescriptors`]: that is less than `needed`.
pub fn raise_descriptors(needed: u64) -> Result<(), TooFewDescriptors> {
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    let Ok((soft, hard)) = limits else {
        return Ok(());
    };
    if soft < hard {
        // Less than the hard limit is refused to nobody.
        _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    enough(needed, hard)
}

/// May this process open so many descriptors at most?
///
/// # Errors
/// [`TooFewDescriptors`]: it may not.
pub fn check_descriptors(needed: u64) -> Result<(), TooFewDescriptors> {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(Ok(()), |(_, hard)| enough(needed, hard))
}

const fn enough(needed: u64, allowed: u64) -> Result<(), TooFewDescriptors> {
    if needed <= allowed {
        Ok(())
    } else {
        Err(TooFewDescriptors { needed, allowed })
    }
}
