//! What the processes have in common that the keeper starts for the engine and that run programs or
//! wait for file systems: the helper and the probers.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdStream;

use nix::sys::signal::SigSet;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// Threads for files; a dead network file system may hold some.
const FILE_THREADS: usize = 16;

/// One thread, and a few more for files.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(FILE_THREADS)
        .build()
}

/// The engine's end is standard input.
pub(super) fn connect() -> io::Result<UnixStream> {
    let stream = StdStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// The keeper has blocked these signals, so that one sent to the whole group does not end the
/// process before its work is done: it ends with its socket. Children would inherit the block and
/// could not be ended, so the signals are caught and dropped. A handler, unlike ignoring, is not
/// inherited.
pub(super) fn drop_signals() -> io::Result<()> {
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ] {
        let mut signals = signal(kind)?;
        tokio::spawn(async move { while signals.recv().await.is_some() {} });
    }
    SigSet::empty().thread_set_mask().map_err(io::Error::from)
}
