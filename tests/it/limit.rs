//! A run of tests that hangs ends by SIGALRM, and not when somebody looks.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use nix::unistd::alarm;

/// In seconds: no test waits for half as long.
const LIMIT: u32 = 300;

/// The run ends so long after the last call of this, wherever it hangs then. Called by what many
/// tests begin with; the harness has said by then which of them are running.
pub(crate) fn begin() {
    alarm::set(LIMIT);
}

const HANGS: &str = "CARPD_TEST_HANGS";

#[test]
fn a_run_that_hangs_is_ended() {
    if std::env::var_os(HANGS).is_some() {
        alarm::set(1);
        loop {
            std::thread::park();
        }
    }
    begin();
    let (_, module) = module_path!().split_once("::").unwrap();
    let test = format!("{module}::a_run_that_hangs_is_ended");
    let hangs = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test])
        .env(HANGS, "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert_eq!(hangs.unwrap().signal(), Some(libc::SIGALRM));
}
