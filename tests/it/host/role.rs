//! The daemon's own processes, as the keeper starts them.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::SigSet;
use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGTERM};

/// A helper process as the keeper starts it for an operator's command.
pub(super) fn helper() -> (UnixStream, Child) {
    helper_with(&[])
}

/// As [`helper`], with what the keeper tells one of a daemon's.
pub(super) fn helper_with(arguments: &[&std::ffi::OsStr]) -> (UnixStream, Child) {
    role_with("__helper", arguments)
}

/// As [`helper`], with a system bus at this address.
pub(super) fn helper_on(bus: &str) -> (UnixStream, Child) {
    start("__helper", &[], bus)
}

/// A process as the keeper starts it: these signals blocked, its socket as stdin.
pub(super) fn role_with(role: &str, arguments: &[&std::ffi::OsStr]) -> (UnixStream, Child) {
    // Not this machine's.
    start(role, arguments, "unix:path=/nonexistent/carpd-test-bus")
}

fn start(role: &str, arguments: &[&std::ffi::OsStr], bus: &str) -> (UnixStream, Child) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mask: SigSet = [SIGTERM, SIGINT, SIGHUP].into_iter().collect();
    mask.thread_block().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_carpd-daemon"))
        .args(carpd::programs::role::words(role))
        .args(arguments)
        .env("DBUS_SYSTEM_BUS_ADDRESS", bus)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .spawn()
        .unwrap();
    mask.thread_unblock().unwrap();
    (ours, child)
}
