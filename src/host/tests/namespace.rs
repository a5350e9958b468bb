//! A fresh set of namespaces for one test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use carpd::types::IfName;

const INSIDE: &str = "CARPD_TEST_INSIDE";

/// Runs `body` in a process of its own, in fresh namespaces; `test` is the full name of the calling
/// test.
pub(crate) fn isolated(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    super::limit::begin();
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--uts"]);
    if !nix::unistd::Uid::effective().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    // The time limit is far above what the tests need: it only keeps a bug from hanging the run.
    command
        .args(["timeout", "--signal=KILL", "60"])
        .arg(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1");
    let output = command.output().expect("unshare(1), of util-linux, runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{test} failed inside:\n{said}"
    );
    print!("{said}");
}

/// Runs async code on one thread, as the engine does.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    super::limit::begin();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

pub(crate) fn dev(name: &str) -> IfName {
    name.parse().unwrap()
}

/// A real init script in a directory of our own, mounted over the machine's.
pub(crate) fn init_script(directory: &Path, name: &str, script: &str) {
    let path = directory.join(name);
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let flags = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(
        Some(directory),
        "/etc/init.d",
        None::<&str>,
        flags,
        None::<&str>,
    )
    .expect("/etc/init.d can be mounted over");
}
