//! Acting in another network namespace.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, setns};

/// Has the calling thread enter the network namespace that this file stands for.
///
/// # Errors
/// It is none, or we may not (CAP_SYS_ADMIN).
pub fn enter(path: &Path) -> io::Result<()> {
    let namespace = File::open(path)?;
    Ok(setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?)
}

/// Runs something there, on a thread that ends with it: the caller stays where it is. Where it is
/// itself needs no rights.
///
/// # Errors
/// As [`enter`].
pub fn within<T: Send>(path: &Path, run: impl FnOnce() -> T + Send) -> io::Result<T> {
    let number = |path: &Path| Ok::<_, io::Error>(std::fs::metadata(path)?.ino());
    if number(path)? == number(Path::new("/proc/thread-self/ns/net"))? {
        return Ok(run());
    }
    let there = || {
        enter(path)?;
        Ok(run())
    };
    let ended = thread::scope(|scope| scope.spawn(there).join());
    ended.unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
}
