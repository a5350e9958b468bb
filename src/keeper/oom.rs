//! Did the kernel kill a process because memory ran out? It counts such kills for each control
//! group, but does not say which process was killed.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::types::Timestamp;

/// How often the count is read.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// A process is gone at most so long after the kernel counted its kill: its memory is released
/// meanwhile.
const DYING: Duration = Duration::from_secs(10);
/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";
/// The count of the whole machine, for use without memory control groups.
const MACHINE: &str = "/proc/vmstat";

/// Recent values of our control group's count.
#[derive(Debug)]
pub(super) struct OomWatch {
    source: PathBuf,
    samples: VecDeque<(Timestamp, u64)>,
}

impl OomWatch {
    /// For the control group of this process.
    pub(super) fn of_this_process() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::of(source(Path::new(GROUPS), &groups).unwrap_or_else(|| MACHINE.into()))
    }

    const fn of(source: PathBuf) -> Self {
        Self {
            source,
            samples: VecDeque::new(),
        }
    }

    /// Reads the count, unless it was read a moment ago.
    pub(super) fn sample(&mut self, now: Timestamp) {
        if self
            .samples
            .back()
            .is_some_and(|(at, _)| now.since(*at) < SAMPLE_EVERY)
        {
            return;
        }
        if let Some(count) = self.count() {
            self.samples.push_back((now, count));
        }
        // The newest of the old samples stays, as the value to compare with.
        while self
            .samples
            .get(1)
            .is_some_and(|(at, _)| now.since(*at) >= DYING)
        {
            self.samples.pop_front();
        }
    }

    /// Has the kernel killed a process because memory ran out recently?
    pub(super) fn has_killed(&self) -> bool {
        let before = self.samples.front().map(|(_, count)| *count);
        before.is_some_and(|before| self.count().is_some_and(|now| now > before))
    }

    fn count(&self) -> Option<u64> {
        let text = fs::read_to_string(&self.source).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill "))?
            .trim()
            .parse()
            .ok()
    }
}

/// The file with the count of the nearest group that has one. `groups` is the content of
/// `/proc/PID/cgroup`.
fn source(root: &Path, groups: &str) -> Option<PathBuf> {
    let lines = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        Some((parts.next()?, parts.next()?))
    });
    let (first, second): (Vec<_>, Vec<_>) =
        lines.partition(|(controllers, _)| !controllers.is_empty());
    let of_memory = first
        .iter()
        .find(|(controllers, _)| controllers.split(',').any(|name| name == "memory"));
    match of_memory {
        Some((controllers, group)) => nearest(&root.join(controllers), group, "memory.oom_control"),
        None => second
            .first()
            .and_then(|(_, group)| nearest(root, group, "memory.events")),
    }
}

fn nearest(root: &Path, group: &str, name: &str) -> Option<PathBuf> {
    // In a container the path may be that of the host, while the mounted groups are the
    // container's.
    root.join(group.trim_start_matches('/'))
        .ancestors()
        .take_while(|directory| directory.starts_with(root))
        .map(|directory| directory.join(name))
        .find(|file| file.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_recent_kills_count() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("memory.events");
        let write = |count: u64| {
            fs::write(
                &file,
                format!("oom 9\noom_kill {count}\noom_group_kill 0\n"),
            )
            .unwrap();
        };
        let at = |seconds| Timestamp::ZERO + Duration::from_secs(seconds);
        let mut oom = OomWatch::of(file.clone());
        assert!(!oom.has_killed(), "nothing is known");
        write(7);
        for second in 0..60 {
            oom.sample(at(second));
        }
        assert!(!oom.has_killed(), "others died long ago");
        write(8);
        assert!(oom.has_killed());
        // Also when it was seen before the process was gone.
        for second in 60..69 {
            oom.sample(at(second));
        }
        assert!(oom.has_killed());
        for second in 69..75 {
            oom.sample(at(second));
        }
        assert!(!oom.has_killed(), "it was a hook's");
        fs::remove_file(&file).unwrap();
        assert!(!oom.has_killed());
    }

    #[test]
    fn the_nearest_group_with_a_count_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let find = |groups: &str| source(directory.path(), groups);
        let two = "0::/system.slice/carpd.service\n";
        assert_eq!(find(two), None);
        for (group, file) in [
            ("system.slice", "memory.events"),
            ("system.slice/carpd.service", "memory.events"),
            ("memory", "memory.oom_control"),
            ("memory/a", "memory.oom_control"),
        ] {
            fs::create_dir_all(at(group)).unwrap();
            fs::write(at(group).join(file), "").unwrap();
        }
        let own = at("system.slice/carpd.service/memory.events");
        assert_eq!(find(two), Some(own));
        let child = "0::/system.slice/carpd.service/x\n";
        assert_eq!(find(child), find(two));
        let one = "9:name=systemd:/x\n4:memory:/a/b:c\n0::/system.slice\n";
        assert_eq!(find(one), Some(at("memory/a/memory.oom_control")));
        // As a container sees it.
        let far = "4:memory:/docker/0123\n";
        assert_eq!(find(far), Some(at("memory/memory.oom_control")));
    }
}
