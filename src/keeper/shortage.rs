//! Was it for lack of memory that the kernel killed a process? It counts whom it kills for that, by
//! control group; which process it was it does not tell.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::types::Timestamp;

/// How often the count is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Who died for lack of memory did so at most so long after the kernel counted it: what it had is
/// taken apart meanwhile.
const DYING: Duration = Duration::from_secs(10);
/// Where the control groups are.
const GROUPS: &str = "/sys/fs/cgroup";
/// The count of the whole machine, where there are no control groups of memory.
const MACHINE: &str = "/proc/vmstat";

/// The count of our control group, as it was lately.
#[derive(Debug)]
pub(super) struct Shortage {
    source: PathBuf,
    seen: VecDeque<(Timestamp, u64)>,
}

impl Shortage {
    /// Of the group in which this process is.
    pub(super) fn here() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::of(source(Path::new(GROUPS), &groups).unwrap_or_else(|| MACHINE.into()))
    }

    const fn of(source: PathBuf) -> Self {
        Self {
            source,
            seen: VecDeque::new(),
        }
    }

    /// Notes the count as it is now, not too often.
    pub(super) fn look(&mut self, now: Timestamp) {
        if self
            .seen
            .back()
            .is_some_and(|(at, _)| now.since(*at) < LOOK)
        {
            return;
        }
        if let Some(count) = self.count() {
            self.seen.push_back((now, count));
        }
        // The newest of the old ones stays: it says what there was before.
        while self
            .seen
            .get(1)
            .is_some_and(|(at, _)| now.since(*at) >= DYING)
        {
            self.seen.pop_front();
        }
    }

    /// Has somebody been killed for it lately?
    pub(super) fn has_struck(&self) -> bool {
        let before = self.seen.front().map(|(_, count)| *count);
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

/// The file with the count of the nearest group that has one: `groups` is `/proc/PID/cgroup`.
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
    // In a container the path may be the machine's, and what there is the container's own.
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
    fn what_counts_is_what_happened_lately() {
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
        let mut shortage = Shortage::of(file.clone());
        assert!(!shortage.has_struck(), "nothing is known");
        write(7);
        for second in 0..60 {
            shortage.look(at(second));
        }
        assert!(!shortage.has_struck(), "others died long ago");
        write(8);
        assert!(shortage.has_struck());
        // Also when it was seen before the process was gone.
        for second in 60..69 {
            shortage.look(at(second));
        }
        assert!(shortage.has_struck());
        for second in 69..75 {
            shortage.look(at(second));
        }
        assert!(!shortage.has_struck(), "it was a hook's");
        fs::remove_file(&file).unwrap();
        assert!(!shortage.has_struck());
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
