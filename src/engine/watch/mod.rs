//! Noticing that a hook was edited.
//!
//! Directories are watched rather than files: editors write a new file and move it over the old one. Watched is everything that
//! a hook's path consists of, so that a link that is pointed elsewhere, or a directory that takes another's place, is a change
//! wherever it stands on the way. What cannot be watched is polled. Looking at all this takes as long as the disk takes, so another
//! thread does it; and there may be any number of directories, so there is a limit.

mod events;
mod places;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use self::events::Interest;
use self::places::{DIRECTORIES_MAX, Mounts, Way, below, print};
use super::command::Command;

/// Quiet time after which a change is complete: an editor's write and rename belong together.
const QUIET: Duration = Duration::from_millis(30);
/// Where something changes all the time it is looked at all the same after this.
const LONGEST: Duration = Duration::from_millis(300);

/// How long things are waited for.
#[derive(Debug, Clone, Copy)]
struct Pauses {
    /// A file that somebody has open for writing is complete after so long without a change.
    writer: Duration,
    /// How often what cannot be watched, or is missing, is looked at.
    poll: Duration,
    /// What was found changed is looked at again so soon: what has changed again meanwhile is still being written.
    settle: Duration,
}

const PAUSES: Pauses = Pauses { writer: Duration::from_secs(2), poll: Duration::from_secs(2), settle: Duration::from_secs(1) };

/// Of hooks below whose directories there is more than can be watched.
const PART: &str =
    "watched in part: there are too many directories below the hooks'; use `carpd reload`, or give each hook one of its own";

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct FileWatch {
    task: AbortHandle,
    how: Rc<RefCell<How>>,
    #[cfg(test)]
    interest: Interest,
}

/// How each file is watched, in words.
type How = BTreeMap<PathBuf, String>;

impl Drop for FileWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FileWatch {
    /// Watches these files, all that their paths consist of, and what lies beside and below them; sends
    /// [`Command::FilesChanged`] when something of it has changed and nobody writes any more, and once when it has begun to watch.
    ///
    /// Does not wait for the disk. Must be called on a tokio `LocalSet`.
    pub(super) fn start(files: &[&Path], commands: mpsc::Sender<Command>) -> Self {
        Self::start_with(files, commands, PAUSES, true)
    }

    fn start_with(files: &[&Path], commands: mpsc::Sender<Command>, pauses: Pauses, by_kernel: bool) -> Self {
        let (hint, hints) = mpsc::channel(1);
        let interest = Interest::default();
        let how = Rc::new(RefCell::new(How::new()));
        let watched = Watched::new(files, hint, interest.clone(), by_kernel);
        let follow = Follow { commands, interest: interest.clone(), pauses, how: Rc::clone(&how) };
        let task = tokio::task::spawn_local(follow.run(watched, hints)).abort_handle();
        Self {
            task,
            how,
            #[cfg(test)]
            interest,
        }
    }

    /// How changes of this file are noticed, in words.
    pub(super) fn how(&self, file: &Path) -> Option<String> {
        self.how.borrow().get(file).cloned()
    }
}

/// The task that waits for changes.
struct Follow {
    commands: mpsc::Sender<Command>,
    interest: Interest,
    pauses: Pauses,
    how: Rc<RefCell<How>>,
}

impl Follow {
    /// Watches, waits until it is quiet, tells, and watches what is new.
    async fn run(self, mut watched: Watched, mut hints: mpsc::Receiver<()>) {
        let mut prints = Prints::default();
        loop {
            let looking = tokio::task::spawn_blocking(move || {
                let found = watched.look();
                (watched, found)
            });
            let Ok((back, found)) = looking.await else { return };
            watched = back;
            self.how.replace(found.how);
            let polled = found.print.map(|print| prints.see(print));
            // What was written before it was watched has told nobody.
            if (found.news || polled == Some(Seen::Settled)) && self.commands.send(Command::FilesChanged).await.is_err() {
                return;
            }
            // Nobody tells of a directory that comes back.
            let patience = match polled {
                Some(Seen::Moving) => self.pauses.settle,
                Some(Seen::Settled | Seen::Same) => self.pauses.poll,
                None if found.missing => self.pauses.poll,
                None => Duration::MAX,
            };
            match tokio::time::timeout(patience, hints.recv()).await {
                Err(_) => continue,
                Ok(None) => return,
                Ok(Some(())) => {}
            }
            self.quiet(&mut hints).await;
            if self.commands.send(Command::FilesChanged).await.is_err() {
                return;
            }
        }
    }

    /// Waits until what belongs together has happened, and nobody is in the middle of writing: half a hook may be a hook.
    async fn quiet(&self, hints: &mut mpsc::Receiver<()>) {
        loop {
            let quiet = async { while let Ok(Some(())) = tokio::time::timeout(QUIET, hints.recv()).await {} };
            _ = tokio::time::timeout(LONGEST, quiet).await;
            if !self.interest.is_written() {
                return;
            }
            if tokio::time::timeout(self.pauses.writer, hints.recv()).await.is_err() {
                debug!("Takes a file that somebody still has open and no longer writes to");
                self.interest.forget_writers();
                return;
            }
        }
    }
}

/// What polling has seen.
#[derive(Debug, Default)]
struct Prints {
    last: Option<u64>,
    told: Option<u64>,
}

/// What a poll says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Same,
    /// It has changed since the last look.
    Moving,
    /// It has changed, and is as it was at the last look.
    Settled,
}

impl Prints {
    fn see(&mut self, print: u64) -> Seen {
        // The first look is news anyhow.
        let told = *self.told.get_or_insert(print);
        let last = self.last.replace(print).unwrap_or(print);
        if print == told {
            return Seen::Same;
        }
        if print != last {
            return Seen::Moving;
        }
        self.told = Some(print);
        Seen::Settled
    }
}

/// What is watched now.
struct Watched {
    files: Vec<PathBuf>,
    hint: mpsc::Sender<()>,
    interest: Interest,
    /// For a test: as where the kernel gives no watches.
    by_kernel: bool,
    watcher: Option<RecommendedWatcher>,
    /// Directories, and the files themselves, with device and inode.
    watches: BTreeMap<PathBuf, (u64, u64)>,
    /// What is wrong with the places that cannot be watched.
    troubled: BTreeMap<PathBuf, String>,
    /// What was logged of it.
    told: BTreeSet<String>,
}

impl Watched {
    fn new(files: &[&Path], hint: mpsc::Sender<()>, interest: Interest, by_kernel: bool) -> Self {
        Self {
            files: files.iter().map(|file| (*file).to_owned()).collect(),
            hint,
            interest,
            by_kernel,
            watcher: None,
            watches: BTreeMap::new(),
            troubled: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    /// Watches what there is and is not watched yet.
    fn look(&mut self) -> Looked {
        let no_watcher = self.open();
        let ways: Vec<(PathBuf, Way)> = self.files.iter().map(|file| (file.clone(), Way::to(file))).collect();
        let roots: BTreeSet<PathBuf> = ways.iter().flat_map(|(file, way)| way.roots(file)).collect();
        let (directories, complete) = below(roots);
        let mut names: BTreeMap<PathBuf, BTreeSet<OsString>> = BTreeMap::new();
        for (directory, name) in ways.iter().flat_map(|(_, way)| &way.steps) {
            names.entry(directory.clone()).or_default().insert(name.clone());
        }
        let mut places = directories.clone();
        places.extend(names.keys().cloned());
        // The files themselves, too: what is mounted from elsewhere, or has another name, may be written to there.
        places.extend(ways.iter().map(|(_, way)| way.end.clone()));
        self.interest.set(directories.clone(), names);
        let mut found = self.watch_all(places, &directories);
        if !complete && self.told.insert(PART.to_owned()) {
            warn!(
                most = DIRECTORIES_MAX,
                "Watches only a part of what is below the hooks' directories; use `carpd reload`, or give each hook one of its own"
            );
        }
        let mounts = Mounts::here();
        let mut polled = Vec::new();
        for (file, way) in &ways {
            let reason = no_watcher.clone().or_else(|| self.trouble_of(file, way)).or_else(|| mounts.objection(way));
            let how = match &reason {
                // So many directories take too long to be looked at again and again.
                None if !complete => PART.to_owned(),
                None => "watched".to_owned(),
                Some(reason) => {
                    let also = if no_watcher.is_some() { "" } else { "watched, and " };
                    format!("{also}polled every {}s: {reason}", PAUSES.poll.as_secs())
                }
            };
            found.how.insert(file.clone(), how);
            if let Some(reason) = reason {
                self.tell(&reason, file);
                polled.push(way);
            }
        }
        // Of a huge tree only what is beside the hooks.
        let directories = if complete { directories } else { ways.iter().flat_map(|(file, way)| way.roots(file)).collect() };
        found.print = (!polled.is_empty()).then(|| print(polled.into_iter(), directories.iter()));
        found
    }

    /// Asks the kernel for watches; why there are none.
    fn open(&mut self) -> Option<String> {
        if self.watcher.is_some() {
            return None;
        }
        if !self.by_kernel {
            return Some("the kernel gives no watches".to_owned());
        }
        let (hint, interest) = (self.hint.clone(), self.interest.clone());
        let on_event = move |event: notify::Result<notify::Event>| {
            // A full channel has the hint already.
            if event.is_ok_and(|event| interest.is_change(&event)) {
                _ = hint.try_send(());
            }
        };
        match notify::recommended_watcher(on_event) {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                None
            }
            Err(error) => Some(format!("the kernel gives no watches: {error}")),
        }
    }

    fn watch_all(&mut self, places: BTreeSet<PathBuf>, directories: &BTreeSet<PathBuf>) -> Looked {
        let mut found = Looked::default();
        let mut known = std::mem::take(&mut self.watches);
        self.troubled.clear();
        for place in places {
            // One of the same name may be another: its watch went with the one before.
            let identity = fs::metadata(&place).map(|there| (there.dev(), there.ino())).ok();
            match (known.remove(&place), identity) {
                (Some(before), Some(now)) if before == now => drop(self.watches.insert(place, now)),
                (before, Some(now)) => {
                    if let Some(watcher) = self.watcher.as_mut().filter(|_| before.is_some()) {
                        _ = watcher.unwatch(&place);
                    }
                    found.news |= self.watch(place, now);
                }
                (_, None) => found.missing |= directories.contains(&place),
            }
        }
        for place in known.into_keys() {
            if let Some(watcher) = &mut self.watcher {
                _ = watcher.unwatch(&place);
            }
        }
        found
    }

    fn watch(&mut self, place: PathBuf, identity: (u64, u64)) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        match watcher.watch(&place, RecursiveMode::NonRecursive) {
            Ok(()) => {
                debug!(place = %place.display(), "Watches for changes");
                self.watches.insert(place, identity);
                true
            }
            Err(error) => {
                let why = format!("cannot watch {}: {error}", place.display());
                self.troubled.insert(place, why);
                false
            }
        }
    }

    /// What is wrong with a place on the way to a file, or below its directories.
    fn trouble_of(&self, file: &Path, way: &Way) -> Option<String> {
        let roots = way.roots(file);
        let concerns = |place: &PathBuf| {
            way.steps.iter().any(|(directory, _)| directory == place)
                || *place == way.end
                || roots.iter().any(|root| place.starts_with(root))
        };
        self.troubled.iter().find(|(place, _)| concerns(place)).map(|(_, why)| why.clone())
    }

    /// Once for each reason.
    fn tell(&mut self, reason: &str, file: &Path) {
        if self.told.insert(reason.to_owned()) {
            let (file, every_s) = (file.display(), PAUSES.poll.as_secs());
            if reason.ends_with("is a mount") {
                info!(%file, reason, every_s, "Polls a hook for changes");
            } else {
                warn!(%file, reason, every_s, "Cannot watch a hook for changes, and polls it");
            }
        }
    }
}

/// What a look found.
#[derive(Debug, Default)]
struct Looked {
    /// There is something that was not watched before.
    news: bool,
    /// There should be a directory that does not exist.
    missing: bool,
    /// Of what is polled, if anything is.
    print: Option<u64>,
    how: How,
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::Seen::{Moving, Same, Settled};
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_directory_of_the_same_name_is_another_one() {
        let root = tempfile::tempdir().unwrap();
        let (directory, aside) = (root.path().join("hooks"), root.path().join("aside"));
        fs::create_dir(&directory).unwrap();
        let (hint, mut hints) = mpsc::channel(1);
        let hook = directory.join("h.lua");
        let mut watched = Watched::new(&[&hook], hint, Interest::default(), true);
        let mut look = || {
            let Looked { news, missing, .. } = watched.look();
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
        fs::write(hook, "").unwrap();
        assert_eq!(hints.blocking_recv(), Some(()));
    }

    /// Watches a file while something happens to it.
    fn watching(file: &Path, by_kernel: bool, story: impl AsyncFnOnce(&FileWatch, &mut mpsc::Receiver<Command>)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (commands, mut told) = mpsc::channel(64);
            let quick = Duration::from_millis(20);
            let pauses = Pauses { writer: SOON, poll: quick, settle: quick };
            let watch = FileWatch::start_with(&[file], commands, pauses, by_kernel);
            if by_kernel {
                // It watches.
                change(&mut told).await;
            }
            while watch.how(file).is_none() {
                tokio::task::yield_now().await;
            }
            story(&watch, &mut told).await;
        });
    }

    async fn change(told: &mut mpsc::Receiver<Command>) {
        assert!(matches!(tokio::time::timeout(SOON, told.recv()).await, Ok(Some(Command::FilesChanged))));
    }

    #[test]
    fn directories_that_come_later_are_watched_too() {
        let root = tempfile::tempdir().unwrap();
        watching(&root.path().join("h.lua"), true, async |_, told| {
            fs::create_dir(root.path().join("lib")).unwrap();
            // The change, and that what is new is watched.
            change(told).await;
            change(told).await;
            fs::write(root.path().join("lib/m.lua"), "return 1").unwrap();
            change(told).await;
        });
    }

    #[test]
    fn a_link_that_is_pointed_elsewhere_is_a_change_wherever_it_is_on_the_way() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for n in ["1", "2"] {
            fs::create_dir_all(root.join("releases").join(n).join("hooks")).unwrap();
            fs::write(root.join("releases").join(n).join("hooks/h.lua"), n).unwrap();
        }
        symlink("releases/1", root.join("current")).unwrap();
        watching(&root.join("current/hooks/h.lua"), true, async |_, told| {
            symlink("releases/2", root.join("new")).unwrap();
            fs::rename(root.join("new"), root.join("current")).unwrap();
            change(told).await;
            // What is there now is watched.
            change(told).await;
            fs::write(root.join("releases/2/hooks/h.lua"), "three").unwrap();
            change(told).await;
        });
    }

    #[test]
    fn a_directory_on_the_way_that_takes_the_place_of_another_is_a_change() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for name in ["a/b/hooks", "new/b/hooks"] {
            fs::create_dir_all(root.join(name)).unwrap();
            fs::write(root.join(name).join("h.lua"), name).unwrap();
        }
        watching(&root.join("a/b/hooks/h.lua"), true, async |_, told| {
            fs::rename(root.join("a"), root.join("old")).unwrap();
            fs::rename(root.join("new"), root.join("a")).unwrap();
            change(told).await;
        });
    }

    /// The same inode by another name, as behind a mount of a single file.
    #[test]
    fn a_file_that_is_written_to_by_another_name_is_a_change() {
        let root = tempfile::tempdir().unwrap();
        let (here, there) = (root.path().join("here"), root.path().join("there"));
        for directory in [&here, &there] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(there.join("h.lua"), "one").unwrap();
        fs::hard_link(there.join("h.lua"), here.join("h.lua")).unwrap();
        watching(&here.join("h.lua"), true, async |_, told| {
            fs::write(there.join("h.lua"), "two").unwrap();
            change(told).await;
        });
    }

    #[test]
    fn half_a_file_is_not_taken_while_its_writer_has_it_open() {
        let root = tempfile::tempdir().unwrap();
        let hook = root.path().join("h.lua");
        watching(&hook, true, async |watch, told| {
            let mut file = fs::File::create(&hook).unwrap();
            file.write_all(b"function on_master() end").unwrap();
            while !watch.interest.is_written() {
                tokio::task::yield_now().await;
            }
            // Far longer than what it waits for when nobody has it open.
            assert!(tokio::time::timeout(10 * QUIET, told.recv()).await.is_err());
            drop(file);
            change(told).await;
            assert!(!watch.interest.is_written());
        });
    }

    #[test]
    fn what_cannot_be_watched_is_polled_and_said_to_be() {
        let root = tempfile::tempdir().unwrap();
        let hook = root.path().join("h.lua");
        fs::write(&hook, "one").unwrap();
        watching(&hook, false, async |watch, told| {
            assert_eq!(watch.how(&hook).unwrap(), "polled every 2s: the kernel gives no watches");
            fs::write(&hook, "another").unwrap();
            change(told).await;
            fs::write(root.path().join("m.lua"), "return 1").unwrap();
            change(told).await;
        });
        watching(&hook, true, async |watch, _| {
            let how = watch.how(&hook).unwrap();
            assert!(how == "watched" || how.ends_with(" is a mount"), "{how}");
        });
    }

    #[test]
    fn what_is_still_changing_is_not_told_of() {
        let mut prints = Prints::default();
        let said = [1, 1, 2, 3, 3, 3, 4, 4].map(|print| prints.see(print));
        assert_eq!(said, [Same, Same, Moving, Moving, Settled, Same, Moving, Settled]);
    }
}
