//! Reads files that configure the daemon, and records who else could write to them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Access, Opened, Refusal, Trust, source};

/// Opens files, and collects what is on the way to them that others could write to or exchange.
/// Copies share what they found.
#[derive(Debug, Clone)]
pub struct Sources {
    trust: Trust,
    access: Access,
    found: Arc<Mutex<BTreeMap<PathBuf, Refusal>>>,
    copy: Option<Arc<Snapshot>>,
}

/// What a file held when whoever started this process read it.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    text: File,
}

impl Snapshot {
    /// Of the file at this path.
    #[must_use]
    pub const fn new(path: PathBuf, text: File) -> Self {
        Self { path, text }
    }

    /// Opens it, at its beginning, if it is one of this path.
    #[must_use]
    pub fn open(&self, path: &Path) -> Option<io::Result<File>> {
        let text = format!("/proc/self/fd/{}", self.text.as_raw_fd());
        (self.path == path).then(|| File::open(text))
    }
}

impl Sources {
    /// With these trusted users.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        Self {
            trust,
            access: Access::own(),
            found: Arc::default(),
            copy: None,
        }
    }

    /// For the daemon: root and the user of this process may write what it reads.
    #[must_use]
    pub fn of_daemon() -> Self {
        Self::new(Trust::of_process())
    }

    /// As [`Self::of_daemon`], opened by whom `access` says. Another process has its own idea of
    /// whom to trust.
    #[must_use]
    pub fn through(access: Access) -> Self {
        Self {
            access,
            ..Self::of_daemon()
        }
    }

    /// With a copy of one of the files, which is read in its place. Who could write to the file
    /// itself is noted all the same.
    #[must_use]
    pub fn with_snapshot(self, copy: Option<Arc<Snapshot>>) -> Self {
        Self { copy, ..self }
    }

    /// The same idea, and nothing found yet.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self {
            trust: self.trust.clone(),
            access: self.access.clone(),
            found: Arc::default(),
            copy: self.copy.clone(),
        }
    }

    /// By whom files are opened.
    #[must_use]
    pub const fn access(&self) -> &Access {
        &self.access
    }

    /// Opens a regular file, with what is wrong on the way to it noted.
    ///
    /// # Errors
    /// What the system said: `IsADirectory` or `InvalidInput` if it is no regular file.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        let Opened { file, objections } = match self.access.opener() {
            Some(opener) => opener.open(path),
            None => open(path, &self.trust).0,
        };
        self.note(objections);
        let copy = self.copy.as_ref().and_then(|copy| copy.open(path));
        copy.unwrap_or(file)
    }

    /// A directory's path without links.
    ///
    /// # Errors
    /// What the system said.
    pub fn without_links(&self, directory: &Path) -> io::Result<PathBuf> {
        self.access.opener().map_or_else(
            || fs::canonicalize(directory),
            |opener| opener.without_links(directory),
        )
    }

    /// Notes who else could put something in the place of a directory that the daemon writes to, or
    /// of what is in it. What is not there yet it makes itself: then the directory above counts.
    pub fn look_at_directory(&self, path: &Path) {
        for there in path.ancestors() {
            match source(there, &self.trust) {
                Ok(place) => return self.note(place.objections),
                Err(refusal) if refusal.is_absence() => {}
                // What cannot be opened cannot be written to either, and whoever tries will say so.
                Err(_) => return,
            }
        }
    }

    /// Adds what somebody else found.
    pub fn note(&self, refusals: impl IntoIterator<Item = Refusal>) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.extend(
            refusals
                .into_iter()
                .map(|refusal| (refusal.component.clone(), refusal)),
        );
    }

    /// What others could write to: each part of a path once.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }
}

/// Opens a regular file, with what is wrong on the way, and the path without links where it was
/// found.
#[must_use]
pub fn open(path: &Path, trust: &Trust) -> (Opened, PathBuf) {
    match source(path, trust) {
        Ok(mut place) => {
            let objections = std::mem::take(&mut place.objections);
            let absent = || io::Error::from_raw_os_error(libc::ENOENT);
            let file = place.open().and_then(|file| file.ok_or_else(absent));
            (Opened { file, objections }, place.path().to_owned())
        }
        Err(refusal) => (
            Opened {
                file: Err(refusal.into()),
                objections: Vec::new(),
            },
            path.to_owned(),
        ),
    }
}
