//! A file of records that grows up to a limit, and then becomes the one before it.
//!
//! Writing never fails and never waits: after the first failure nothing more is tried until the next
//! file.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use tracing::warn;

use crate::record::{self, MAGIC_LEN, Records};
use crate::resolve;

/// What is gathered before it is written, at most, in bytes.
const BUFFER: usize = 16 * 1024;

/// What a file is for, and how large it may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Form {
    /// What it is, and the version of its records.
    pub(super) magic: [u8; MAGIC_LEN],
    /// The length at which it is full, in bytes.
    pub(super) limit: u64,
}

/// The end of the newest file at a path.
#[derive(Debug, Default)]
pub(super) struct RecordFile {
    path: PathBuf,
    form: Form,
    pub(super) file: Option<File>,
    buffer: Vec<u8>,
    written: u64,
}

impl RecordFile {
    /// Goes on in the file at `path`, or begins one. Returns what is in it. Where that fails nothing
    /// is recorded; that is logged.
    pub(super) fn open(path: &Path, form: Form) -> (Self, Vec<u8>) {
        let mut this = Self {
            path: path.to_owned(),
            form,
            ..Self::default()
        };
        match this.continue_or_begin() {
            Ok(bytes) => (this, bytes),
            Err(err) => {
                warn!(path = %path.display(), %err, "The flight recorder is off: cannot write its file");
                (this, Vec::new())
            }
        }
    }

    /// Whether something can be recorded.
    pub(super) const fn is_on(&self) -> bool {
        self.file.is_some()
    }

    /// Whether nothing is in it or waits to be.
    pub(super) fn is_new(&self) -> bool {
        self.buffer.is_empty() && self.written <= MAGIC_LEN as u64
    }

    /// Adds a record. Returns false if it is lost.
    pub(super) fn put(&mut self, payload: &[u8]) -> bool {
        if self.file.is_none() {
            return false;
        }
        record::frame(payload, &mut self.buffer);
        self.buffer.len() <= BUFFER || self.write()
    }

    /// Writes what was gathered. Returns false if that failed: then it is lost.
    pub(super) fn write(&mut self) -> bool {
        let Some(file) = self.file.as_mut().filter(|_| !self.buffer.is_empty()) else {
            return true;
        };
        let written = file.write_all(&self.buffer);
        self.written += u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        self.buffer.clear();
        if let Err(err) = &written {
            warn!(path = %self.path.display(), %err, "The flight recorder stopped: cannot write its file");
            self.file = None;
        }
        written.is_ok()
    }

    /// Whether the next one should begin.
    pub(super) const fn is_full(&self) -> bool {
        self.written > self.form.limit && self.file.is_some()
    }

    /// Begins the next one. Returns whether there is one.
    pub(super) fn rotate(&mut self) -> bool {
        match fs::rename(&self.path, older(&self.path)).and_then(|()| self.begin()) {
            Ok(()) => true,
            Err(err) => {
                warn!(path = %self.path.display(), %err, "The flight recorder stopped: cannot begin a new file");
                self.file = None;
                false
            }
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        let mut file = open(&self.path, OFlag::O_TRUNC)?;
        file.write_all(&self.form.magic)?;
        self.file = Some(file);
        self.written = MAGIC_LEN as u64;
        Ok(())
    }

    /// An earlier life's file, after its last good record; a new one if there is none that could be
    /// gone on with.
    fn continue_or_begin(&mut self) -> io::Result<Vec<u8>> {
        let Some(there) = resolve::own(&self.path)?.open()? else {
            self.begin()?;
            return Ok(Vec::new());
        };
        let mut bytes = Vec::new();
        // The last turn before the next file may have been a long one.
        let most = self.form.limit.saturating_mul(2);
        if there.metadata()?.len() <= most {
            there.take(most).read_to_end(&mut bytes)?;
        }
        let Some(mut records) = Records::new(&bytes, self.form.magic) else {
            fs::rename(&self.path, older(&self.path))?;
            self.begin()?;
            return Ok(Vec::new());
        };
        records.by_ref().for_each(drop);
        let position = records.position();
        let good = u64::try_from(position).unwrap_or(u64::MAX);
        let mut file = open(&self.path, OFlag::empty())?;
        file.set_len(good)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(good))?;
        (self.file, self.written) = (Some(file), good);
        bytes.truncate(position);
        Ok(bytes)
    }
}

/// The file that the one at `path` became when it was full.
#[must_use]
pub fn older(path: &Path) -> PathBuf {
    path.with_added_extension("1")
}

fn open(path: &Path, flags: OFlag) -> io::Result<File> {
    resolve::own(path)?.create(OFlag::O_WRONLY | flags, 0o600)
}
