//! Reading what the daemon is configured by, and remembering who else could write to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Place, Refusal, Trust, source};

/// Opens files, and collects what is on the way to them that others could write to or exchange. Copies share what they
/// found.
#[derive(Debug, Clone)]
pub struct Sources {
    trust: Trust,
    found: Arc<Mutex<BTreeMap<PathBuf, Refusal>>>,
}

impl Sources {
    /// With this idea of whom to trust.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        Self { trust, found: Arc::default() }
    }

    /// For the daemon: root and the user of this process may write what it reads.
    #[must_use]
    pub fn of_daemon() -> Self {
        Self::new(Trust::of_process())
    }

    /// The same idea, and nothing found yet.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self::new(self.trust.clone())
    }

    /// Where a path leads, with what is wrong on the way noted.
    ///
    /// # Errors
    /// What the system said.
    pub fn place(&self, path: &Path) -> io::Result<Place> {
        let mut place = source(path, &self.trust)?;
        self.note(std::mem::take(&mut place.objections));
        Ok(place)
    }

    /// Opens a regular file, with what is wrong on the way to it noted.
    ///
    /// # Errors
    /// What the system said, or that it is not a regular file.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        self.place(path)?.open()?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    /// Notes who else could put something in the place of a directory that the daemon writes to, or of what is in it. What is not
    /// there yet it makes itself: then the directory above counts.
    pub fn look_at_directory(&self, path: &Path) {
        for there in path.ancestors() {
            match self.place(there) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                // What cannot be opened cannot be written to either, and whoever tries will say so.
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Adds what somebody else found.
    pub fn note(&self, refusals: impl IntoIterator<Item = Refusal>) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.extend(refusals.into_iter().map(|refusal| (refusal.component.clone(), refusal)));
    }

    /// What others could write to: each part of a path once.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
