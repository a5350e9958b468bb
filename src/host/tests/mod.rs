//! The host against a real kernel: each test runs in network, UTS and mount namespaces of its own.

mod contract;
pub(crate) mod namespace;
mod network;
mod openrc;
mod routes;
mod services;
mod systemd;
mod veth;

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::signal::SigSet;
use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGTERM};

use super::children::helper::Duty;
use super::services::manager::ServiceBackend;
use super::{Host as _, LinuxHost, Options, children};
use crate::effect::Query;
use crate::process::limit;

/// Makes the test of that name a helper process.
const HELPS: &str = "CARPD_TEST_HELPS";

/// A helper process as the keeper starts it: these signals blocked, its socket as stdin.
fn helper() -> (UnixStream, Child) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mask: SigSet = [SIGTERM, SIGINT, SIGHUP].into_iter().collect();
    mask.thread_block().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host::tests::a_helper_ends_in_good_order"])
        .args(["--nocapture", "--test-threads=1"])
        .env(HELPS, "1")
        // Not this machine's.
        .env(
            "DBUS_SYSTEM_BUS_ADDRESS",
            "unix:path=/nonexistent/carpd-test-bus",
        )
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    mask.thread_unblock().unwrap();
    (ours, child)
}

/// What [`helper`] starts, too.
#[test]
fn a_helper_ends_in_good_order() -> ExitCode {
    if std::env::var_os(HELPS).is_some() {
        return children::helper::main(None);
    }
    let (stream, mut child) = helper();
    namespace::block_on(async {
        let host = LinuxHost::new(Options {
            services: Some(ServiceBackend::SysV),
            ..Options::default()
        })
        .unwrap();
        host.set_helper(stream, Duty::Commands).unwrap();
        // Only the helper may read any file.
        let query = Query::FileRead {
            path: "/proc/self/comm".into(),
        };
        host.answer(&query, Duration::from_secs(10)).await.unwrap();
    });
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
    ExitCode::SUCCESS
}
