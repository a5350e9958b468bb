//! What a prober that was killed has left running.
//!
//! The kernel kills the commands that a prober started when that ends, but not what those have
//! started. All of them have a mark in their environment, by which the next prober finds them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use nix::unistd::geteuid;
use rustix::process::{Signal, pidfd_send_signal};
use tokio::time::timeout;

use crate::process::pidfd;

/// The variable that commands find in their environment: whose they are.
pub(super) const VARIABLE: &str = "CARPD_PROBER";

/// It does not keep anything from being looked at for longer: another process's memory may be on a
/// file system that hangs.
const LIMIT: Duration = Duration::from_secs(2);

/// What is killed may just be starting something.
const ROUNDS: usize = 5;

/// Kills what this user's processes with this mark are, which only a predecessor can have left.
pub(super) async fn end(mark: &str) {
    let entry = format!("{VARIABLE}={mark}");
    let search = tokio::task::spawn_blocking(move || {
        for _ in 0..ROUNDS {
            if kill_all(entry.as_bytes()) == 0 {
                return;
            }
        }
    });
    _ = timeout(LIMIT, search).await;
}

/// How many there were.
fn kill_all(entry: &[u8]) -> usize {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|found| found.file_name().to_str()?.parse().ok());
    pids.filter(|pid| kill(*pid, entry)).count()
}

fn kill(pid: u32, entry: &[u8]) -> bool {
    if !has(pid, entry) {
        return false;
    }
    // It may have ended meanwhile, and its number may be another's.
    let Ok(process) = pidfd(pid) else {
        return false;
    };
    has(pid, entry) && pidfd_send_signal(&process, Signal::KILL).is_ok()
}

fn has(pid: u32, entry: &[u8]) -> bool {
    let process = format!("/proc/{pid}");
    let is_ours = fs::metadata(&process).is_ok_and(|there| there.uid() == geteuid().as_raw());
    is_ours
        && fs::read(process + "/environ")
            .is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one == entry))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn what_has_the_mark_is_killed_and_nothing_else() {
        let mark = format!("test of {}", std::process::id());
        let start = |mark: &str| {
            Command::new("/bin/sleep")
                .arg("99")
                .env(VARIABLE, mark)
                .spawn()
                .unwrap()
        };
        let (mut ours, mut other) = (start(&mark), start(&format!("{mark}x")));
        end(&mark).await;
        assert!(!ours.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
