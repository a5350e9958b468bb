//! Whom the kernel has killed because memory ran out, as its log says.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use crate::host::clock;

/// The kernel's log; each read gives one record.
const LOG: &str = "/dev/kmsg";
/// The longest record, in bytes.
const RECORD_MAX: usize = 8192;
/// The most records that are read: more than the log has room for.
const RECORDS_MAX: usize = 1 << 18;

/// How long ago the kernel killed one of these processes of ours because memory ran out, at most so
/// long ago. `None` also where its log may not be read, or where it counts processes otherwise.
#[must_use]
pub fn killed_for_memory(pids: &[u32], at_most: Duration) -> Option<Duration> {
    let now = clock::awake()?;
    let mut log = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(LOG)
        .ok()?;
    let mut record = vec![0; RECORD_MAX];
    let mut found = None;
    for _ in 0..RECORDS_MAX {
        let length = match log.read(&mut record) {
            Ok(length) => length,
            // Some were written over meanwhile.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => continue,
            Err(_) => break,
        };
        let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
        if let Some((at, pid)) = killed(&text)
            && pids.contains(&pid)
        {
            let ago = now.saturating_sub(at);
            found = (ago <= at_most).then_some(ago).or(found);
        }
    }
    found
}

/// When since boot, and whom, if the record tells of one of our processes: `3,1432,9876543,-;Memory
/// cgroup out of memory: Killed process 4711 (carpd-engine) total-vm:...`. What programs write into
/// that log has another facility.
fn killed(record: &str) -> Option<(Duration, u32)> {
    let (head, text) = record.split_once(';')?;
    let mut head = head.split(',');
    let is_kernels = head.next()?.parse::<u32>().ok()? < 8;
    let at = head.nth(1)?.parse().ok()?;
    if !is_kernels || !text.to_lowercase().contains("out of memory") {
        return None;
    }
    let (pid, name) = text.split_once("Killed process ")?.1.split_once(' ')?;
    let name = name.strip_prefix('(')?;
    let is_ours = name.starts_with("carpd") || name.starts_with("ucarp)");
    is_ours.then_some((Duration::from_micros(at), pid.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_own_word_of_our_processes_counts() {
        let text = "Memory cgroup out of memory: Killed process 4711 (carpd-engine) total-vm:9kB\n";
        let at = Duration::from_micros(9_876_543);
        assert_eq!(
            killed(&format!("3,1432,9876543,-;{text}")),
            Some((at, 4711))
        );
        let whole = "3,1,9876543,-;Out of memory: Killed process 12 (carpd) total-vm:1kB";
        assert_eq!(killed(whole), Some((at, 12)));
        // As root may write it, and as it tells of others.
        assert_eq!(killed(&format!("12,1432,9876543,-;{text}")), None);
        let other = text.replace("carpd-engine", "postgres");
        assert_eq!(killed(&format!("3,1432,9876543,-;{other}")), None);
        for garbage in [
            "",
            "3",
            "3,1;",
            "3,1,x,-;out of memory: Killed process 1 (carpd)",
            "3,1,1,-;out of memory: Killed process",
        ] {
            assert_eq!(killed(garbage), None, "{garbage}");
        }
    }
}
