//! Noticing that a hook was edited.
//!
//! Directories are watched, not files: editors write a new file and move it over the old one, and a symbolic link
//! that is pointed elsewhere is a change of its directory. Looking for directories takes as long as the disk takes, so
//! another thread does it; and there may be any number of them, so there is a limit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::{debug, warn};

use super::command::Command;
use crate::hooks::source::MAX_DEPTH;

/// Quiet time after which a change is complete: an editor's write and rename belong together.
const QUIET: Duration = Duration::from_millis(30);
/// A file that is written to all the time is read all the same after this.
const LONGEST: Duration = Duration::from_millis(300);
/// How often a directory that is missing is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// The most directories that are watched. The kernel gives a user some thousands of watches, for all that runs.
const DIRECTORIES_MAX: usize = 512;
/// The most files and directories that are looked at to find them.
const ENTRIES_MAX: usize = 20_000;

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct FileWatch {
    task: AbortHandle,
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FileWatch {
    /// Watches the directories of these files, and of what they are links to, with what is below them; sends
    /// [`Command::FilesChanged`] when something in them has changed and has been quiet for a moment, and once when it has
    /// begun to watch. `None` where the kernel gives no watches: then `carpd reload` and SIGHUP do it.
    ///
    /// Does not wait for the disk. Must be called on a tokio `LocalSet`.
    pub(super) fn start(files: &[&Path], commands: mpsc::Sender<Command>) -> Option<Self> {
        let (hint, hints) = mpsc::channel(1);
        let on_event = move |event: notify::Result<notify::Event>| {
            // Reading is no change. A full channel has the hint already.
            if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
                _ = hint.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(on_event)
            .inspect_err(|error| warn!(%error, "Cannot watch hooks for changes; use `carpd reload`"))
            .ok()?;
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        let watched = Watched { watcher, files, directories: BTreeMap::new(), troubled: BTreeSet::new(), told: false };
        let task = tokio::task::spawn_local(follow(watched, hints, commands));
        Some(Self { task: task.abort_handle() })
    }
}

/// Watches, waits until it is quiet, tells, and watches what is new.
async fn follow(mut watched: Watched, mut hints: mpsc::Receiver<()>, commands: mpsc::Sender<Command>) {
    loop {
        let looking = tokio::task::spawn_blocking(move || {
            let found = watched.look();
            (watched, found)
        });
        let Ok((back, found)) = looking.await else { return };
        watched = back;
        // What was written before it was watched has told nobody.
        if found.news && commands.send(Command::FilesChanged).await.is_err() {
            return;
        }
        // Nobody tells of a directory that comes back.
        let patience = if found.missing { LOOK_AGAIN } else { Duration::MAX };
        match tokio::time::timeout(patience, hints.recv()).await {
            Err(_) => continue,
            Ok(None) => return,
            Ok(Some(())) => {}
        }
        let quiet = async { while let Ok(Some(())) = tokio::time::timeout(QUIET, hints.recv()).await {} };
        _ = tokio::time::timeout(LONGEST, quiet).await;
        if commands.send(Command::FilesChanged).await.is_err() {
            return;
        }
    }
}

/// What is watched now.
struct Watched {
    watcher: RecommendedWatcher,
    files: Vec<PathBuf>,
    /// With device and inode.
    directories: BTreeMap<PathBuf, (u64, u64)>,
    /// Those that cannot be watched, which was told.
    troubled: BTreeSet<PathBuf>,
    /// That there are more than can be watched.
    told: bool,
}

impl Watched {
    /// Watches what there is and is not watched yet.
    fn look(&mut self) -> Looked {
        let (there, complete) = below(directories(&self.files));
        if !complete && !std::mem::replace(&mut self.told, true) {
            warn!(
                most = DIRECTORIES_MAX,
                "Watches only a part of what is below the hooks' directories; use `carpd reload`, or give each hook one of its own"
            );
        }
        let mut found = Looked::default();
        let mut known = std::mem::take(&mut self.directories);
        for directory in there {
            // One of the same name may be another: its watch went with the one before.
            let identity = fs::metadata(&directory).map(|there| (there.dev(), there.ino())).ok();
            match (known.remove(&directory), identity) {
                (Some(before), Some(now)) if before == now => drop(self.directories.insert(directory, now)),
                (before, Some(now)) => {
                    if before.is_some() {
                        _ = self.watcher.unwatch(&directory);
                    }
                    found.news |= self.watch(directory, now);
                }
                (_, None) => found.missing = true,
            }
        }
        found
    }

    fn watch(&mut self, directory: PathBuf, identity: (u64, u64)) -> bool {
        match self.watcher.watch(&directory, RecursiveMode::NonRecursive) {
            Ok(()) => {
                debug!(directory = %directory.display(), "Watches for changes");
                self.directories.insert(directory, identity);
                return true;
            }
            Err(error) if self.troubled.insert(directory.clone()) => {
                warn!(directory = %directory.display(), %error, "Cannot watch a directory for changes; use `carpd reload`");
            }
            Err(_) => {}
        }
        false
    }
}

/// What a look at the directories found.
#[derive(Debug, Default)]
struct Looked {
    /// There are some that were not watched before.
    news: bool,
    /// There should be one that does not exist.
    missing: bool,
}

/// These directories and those below them, the nearest first, as deep as modules are looked for; and whether that is all.
fn below(roots: BTreeSet<PathBuf>) -> (BTreeSet<PathBuf>, bool) {
    let mut found = BTreeSet::new();
    let mut entries = 0;
    let mut next: VecDeque<(PathBuf, usize)> = roots.into_iter().map(|root| (root, 1)).collect();
    while let Some((directory, depth)) = next.pop_front() {
        if found.contains(&directory) {
            continue;
        }
        if found.len() >= DIRECTORIES_MAX {
            return (found, false);
        }
        if depth < MAX_DEPTH {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                entries += 1;
                if entries > ENTRIES_MAX {
                    found.insert(directory);
                    return (found, false);
                }
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                if !hidden && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    next.push_back((entry.path(), depth + 1));
                }
            }
        }
        found.insert(directory);
    }
    (found, true)
}

/// The directory of each file, and of each link on the way to it.
fn directories(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for file in files {
        let mut at = file.clone();
        // As many links as the kernel would follow.
        for _ in 0..40 {
            let directory = at.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
            let target = fs::read_link(&at);
            found.insert(directory.clone());
            match target {
                Ok(target) => at = directory.join(target),
                Err(_) => break,
            }
        }
        if let Some(parent) = file.canonicalize().ok().as_deref().and_then(Path::parent) {
            found.insert(parent.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_tree_is_looked_at_in_part_the_nearest_first() {
        let root = tempfile::tempdir().unwrap();
        for n in 0..10_000 {
            fs::create_dir(root.path().join(n.to_string())).unwrap();
        }
        let (found, complete) = below([root.path().to_owned()].into());
        assert!(found.contains(root.path()) && found.len() == DIRECTORIES_MAX && !complete, "{}", found.len());
        let (found, _) = below(["/".into()].into());
        assert!(found.contains(Path::new("/")) && found.len() <= DIRECTORIES_MAX, "{}", found.len());
    }

    #[test]
    fn what_is_hidden_or_too_deep_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        let deep: PathBuf = (0..MAX_DEPTH + 2).map(|n| n.to_string()).collect();
        fs::create_dir_all(root.path().join(deep)).unwrap();
        fs::create_dir_all(root.path().join(".git/objects")).unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("circle")).unwrap();
        let (found, complete) = below([root.path().to_owned()].into());
        assert!(complete);
        assert_eq!(found.len(), MAX_DEPTH, "{found:?}");
    }

    #[test]
    fn a_directory_of_the_same_name_is_another_one() {
        let root = tempfile::tempdir().unwrap();
        let (directory, aside) = (root.path().join("hooks"), root.path().join("aside"));
        fs::create_dir(&directory).unwrap();
        let (hint, hints) = std::sync::mpsc::channel();
        let watcher = notify::recommended_watcher(move |_| _ = hint.send(())).unwrap();
        let files = vec![directory.join("h.lua")];
        let mut watched = Watched { watcher, files, directories: BTreeMap::new(), troubled: BTreeSet::new(), told: false };
        let mut look = || {
            let Looked { news, missing } = watched.look();
            (news, missing)
        };
        assert_eq!((look(), look()), ((true, false), (false, false)));
        fs::rename(&directory, &aside).unwrap();
        assert_eq!(look(), (false, true), "it is gone");
        fs::create_dir(&directory).unwrap();
        assert_eq!(look(), (true, false), "and back");
        fs::rename(&directory, root.path().join("more")).unwrap();
        fs::create_dir(&directory).unwrap();
        assert_eq!(look(), (true, false), "one for the other, between two looks");
        while hints.try_recv().is_ok() {}
        fs::write(directory.join("h.lua"), "").unwrap();
        assert_eq!(hints.recv_timeout(Duration::from_secs(10)), Ok(()));
    }

    #[test]
    fn directories_that_come_later_are_watched_too() {
        let root = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (commands, mut told) = mpsc::channel(16);
            let hook = root.path().join("h.lua");
            let _watch = FileWatch::start(&[&hook], commands).unwrap();
            let mut next = async || {
                let told = tokio::time::timeout(Duration::from_secs(10), told.recv()).await;
                assert!(matches!(told, Ok(Some(Command::FilesChanged))));
            };
            // It watches.
            next().await;
            fs::create_dir(root.path().join("lib")).unwrap();
            // The change, and that what is new is watched.
            next().await;
            next().await;
            fs::write(root.path().join("lib/m.lua"), "return 1").unwrap();
            next().await;
        });
    }
}
