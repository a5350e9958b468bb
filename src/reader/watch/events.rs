//! The kernel's events about the watched places: which of them matter, and which files are still
//! being written.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind};

use super::Pauses;
use super::places::is_part;
use super::writers::Writers;
use crate::reader::Unfinished;

/// What matters of what the kernel tells. Shared with the thread that listens to it.
#[derive(Debug, Clone)]
pub(super) struct Interest(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    /// In these everything matters.
    directories: BTreeSet<PathBuf>,
    /// In these only these names.
    names: BTreeMap<PathBuf, BTreeSet<OsString>>,
    /// Of each watched hook, what is its own.
    own: Vec<BTreeSet<PathBuf>>,
    /// Files that have been written to and not closed.
    writers: Writers,
    /// Of what is watched, what was removed or moved away.
    gone: BTreeSet<PathBuf>,
}

impl Interest {
    /// Nothing matters yet.
    pub(super) fn new(pauses: Pauses) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            directories: BTreeSet::new(),
            names: BTreeMap::new(),
            own: Vec::new(),
            writers: Writers::new(pauses),
            gone: BTreeSet::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this matters.
    pub(super) fn set(
        &self,
        directories: BTreeSet<PathBuf>,
        names: BTreeMap<PathBuf, BTreeSet<OsString>>,
        own: Vec<BTreeSet<PathBuf>>,
    ) {
        let mut inner = self.lock();
        (inner.directories, inner.names, inner.own) = (directories, names, own);
    }

    /// Files that are being written. After long enough they are used as they are.
    pub(super) fn unfinished(&self) -> Unfinished {
        let mut inner = self.lock();
        inner.writers.give_up();
        inner.writers.unfinished(&inner.own)
    }

    /// Who looks again and again has seen these change, and those stay as they are.
    pub(super) fn polled(&self, moving: &BTreeSet<PathBuf>, settled: &BTreeSet<PathBuf>) {
        let mut inner = self.lock();
        for path in moving {
            inner.writers.wrote(path);
        }
        for path in settled {
            inner.writers.closed(path);
        }
    }

    /// How long until a writer is waited for no longer.
    pub(super) fn patience(&self) -> Duration {
        self.lock().writers.patience()
    }

    /// What was removed or moved away since this was asked last. The watcher ends its watch of such
    /// a path when it hears of it, which may be after something else of that name was given to it
    /// to watch.
    pub(super) fn take_gone(&self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut self.lock().gone)
    }

    /// Takes note of an event: is it a change?
    pub(super) fn is_change(&self, event: &Event) -> bool {
        if event.need_rescan() {
            return true;
        }
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut matters = false;
        for path in &event.paths {
            if !inner.matters(path) {
                continue;
            }
            match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                    matters |= inner.writers.closed(path);
                    continue;
                }
                // Reading is no change.
                EventKind::Access(_) => continue,
                EventKind::Create(_) => {
                    // A link has nobody who writes it.
                    let fresh = std::fs::symlink_metadata(path)
                        .is_ok_and(|m| m.is_file() && m.nlink() == 1 && m.len() == 0);
                    if fresh && is_part(path) {
                        inner.writers.wrote(path);
                    }
                }
                EventKind::Modify(ModifyKind::Data(_)) => {
                    // More of what is awaited is nothing new.
                    if is_part(path) && !inner.writers.wrote(path) {
                        continue;
                    }
                }
                EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => {
                    inner.writers.closed(path);
                    if inner.is_watched(path) {
                        inner.gone.insert(path.clone());
                    }
                }
                EventKind::Modify(_) | EventKind::Any | EventKind::Other => {}
            }
            matters = true;
        }
        matters
    }
}

impl Inner {
    fn matters(&self, path: &Path) -> bool {
        path.parent()
            .is_none_or(|directory| self.directories.contains(directory))
            || self.is_watched(path)
    }

    /// Is it watched itself, not only what is in its directory?
    fn is_watched(&self, path: &Path) -> bool {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return true;
        };
        self.directories.contains(path)
            || self
                .names
                .get(directory)
                .is_some_and(|names| names.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, RemoveKind};

    use super::*;
    use crate::reader::watch::PAUSES;

    impl Interest {
        fn is_written(&self) -> bool {
            self.patience() < Duration::MAX
        }
    }

    #[test]
    fn who_writes_is_waited_for_and_what_is_beside_the_way_is_nothing() {
        let interest = Interest::new(PAUSES);
        let names = [(PathBuf::from("/etc"), ["carpd".into()].into())];
        interest.set(["/etc/carpd".into()].into(), names.into(), Vec::new());
        let change = |kind: EventKind, path: &str| {
            interest.is_change(&Event::new(kind).add_path(path.into()))
        };
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert!(
            !change(data, "/etc/passwd")
                && change(EventKind::Remove(RemoveKind::Folder), "/etc/carpd")
        );
        assert_eq!(interest.take_gone(), ["/etc/carpd".into()].into());
        assert!(
            !change(
                EventKind::Access(AccessKind::Open(AccessMode::Any)),
                "/etc/carpd/h.lua"
            ) && !interest.is_written()
        );
        assert!(change(data, "/etc/carpd/h.lua") && interest.is_written());
        assert!(change(closed, "/etc/carpd/h.lua") && !interest.is_written());
        assert!(
            change(data, "/etc/carpd/h.lua") && !change(data, "/etc/carpd/h.lua"),
            "more of the same"
        );
        assert!(change(closed, "/etc/carpd/h.lua"));
        assert!(
            change(data, "/etc/carpd/notes.log") && !interest.is_written(),
            "no part of a hook"
        );
        assert!(
            change(data, "/etc/carpd/h.lua")
                && change(EventKind::Remove(RemoveKind::File), "/etc/carpd/h.lua")
        );
        assert!(
            !interest.is_written() && interest.take_gone().is_empty(),
            "its directory is watched, not it"
        );
        assert!(
            change(EventKind::Create(CreateKind::File), "/etc/carpd/link.lua")
                && !interest.is_written(),
            "it has no writer"
        );
    }
}
