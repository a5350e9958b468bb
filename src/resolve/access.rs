//! Reading by another process, for one that has given up the right to.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Refusal;

/// Opens files named by the configuration on behalf of another process.
pub trait Opener: fmt::Debug + Send + Sync {
    /// Opens a regular file, as [`super::Sources::open`] does.
    fn open(&self, path: &Path) -> Opened;

    /// A directory's path without links.
    ///
    /// # Errors
    /// What the system said.
    fn without_links(&self, directory: &Path) -> io::Result<PathBuf>;

    /// The modules beside and below a hook's file.
    ///
    /// # Errors
    /// What the system said, or that there are too many.
    fn modules(&self, hook: &Path) -> Result<Modules, Unlisted>;
}

/// What became of opening a file.
#[derive(Debug)]
pub struct Opened {
    /// The file.
    pub file: io::Result<File>,
    /// What others could write to, of what is on the way.
    pub objections: Vec<Refusal>,
}

/// Files below a directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Modules {
    /// The directory, without links.
    pub root: PathBuf,
    /// Their paths below it.
    pub keys: Vec<String>,
}

/// Why files could not be listed.
#[derive(Debug)]
pub struct Unlisted {
    /// Which directory or file is in the way.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: Listing,
}

/// What can be wrong with a listing.
#[derive(Debug)]
pub enum Listing {
    /// What the system said.
    Io(io::Error),
    /// There is too much of it.
    TooMuch(String),
}

/// How files are opened: by this process, or by another one on its behalf.
#[derive(Debug, Clone, Default)]
pub struct Access(Option<Arc<dyn Opener>>);

impl Access {
    /// By this process.
    #[must_use]
    pub const fn own() -> Self {
        Self(None)
    }

    /// By another one.
    #[must_use]
    pub fn through(opener: Arc<dyn Opener>) -> Self {
        Self(Some(opener))
    }

    /// Who opens, if it is not this process.
    #[must_use]
    pub fn opener(&self) -> Option<&dyn Opener> {
        self.0.as_deref()
    }
}
