//! The ledger's files: records are appended, and a file is rewritten when it is mostly history.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::claims::{Change, Claims};
use super::{Instance, Ledger, LedgerError, Origin, Unread, instance, lock};
use crate::process::Patience;
use crate::record::{self, MAGIC_LEN, Records};
use crate::resolve;

/// What the file is, and the version of its records.
const MAGIC: [u8; MAGIC_LEN] = *b"carpdL01";
/// Name of the file in each of an instance's two directories.
pub(super) const FILE_NAME: &str = "ledger";
/// A file smaller than this is not worth rewriting.
const COMPACT_MIN: u64 = 64 * 1024;
/// The most that is read of a file: what is longer is not ours.
const READ_MAX: u64 = 256 * 1024 * 1024;

/// First record of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    origin: Origin,
}

/// A record was written. If it must also survive the machine, it still has to be synced, by a task
/// that may wait.
#[must_use]
#[derive(Debug, Default)]
pub struct Written(Option<File>);

impl Written {
    /// Is there something to wait for?
    #[must_use]
    pub const fn needs_sync(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until the record is on the medium.
    ///
    /// # Errors
    /// What the system said.
    pub fn sync(self) -> io::Result<()> {
        self.0.map_or(Ok(()), |file| file.sync_data())
    }
}

/// The two files of an instance.
#[derive(Debug)]
pub(super) struct Files {
    run: Log,
    lasting: Log,
    unread: Vec<Unread>,
}

impl Files {
    /// Reads both into `claims`.
    pub(super) fn open(instance: &Instance, claims: &mut Claims) -> Self {
        let origin = instance.origin();
        let mut run = Log::new(instance.run_dir(), origin, false);
        let mut lasting = Log::new(instance.lasting_dir(), origin, true);
        let unread = [&mut run, &mut lasting]
            .into_iter()
            .filter_map(|log| log.read(claims).err())
            .collect();
        // At once, so that status says at once whether it can be written. It keeps the reason if
        // not.
        if !run.closed {
            _ = run.rewrite(&of_log(claims, false));
        }
        if lasting.len > 0 {
            _ = lasting.rewrite(&of_log(claims, true));
        }
        Self {
            run,
            lasting,
            unread,
        }
    }

    /// Files of a predecessor that could not be read.
    pub(super) fn unread(&self) -> &[Unread] {
        &self.unread
    }

    pub(super) fn append(
        &mut self,
        change: &Change,
        claims: &Claims,
    ) -> Result<Written, LedgerError> {
        let lasting = change.resource().survives_reboot();
        let log = if lasting {
            &mut self.lasting
        } else {
            &mut self.run
        };
        if log.wants_rewrite() {
            log.rewrite(&of_log(claims, lasting))?;
        }
        log.append(change)
    }

    /// Every write goes to this file from now on.
    #[cfg(test)]
    pub(super) fn fail_writes(&mut self, file: File) {
        self.run.file = Some(file);
    }

    /// The directories of those that cannot be written.
    pub(super) fn failing(&self) -> Vec<PathBuf> {
        [&self.run, &self.lasting]
            .into_iter()
            .filter(|log| log.failed.is_some())
            .map(|log| log.directory.clone())
            .collect()
    }

    /// Rewrites what could not be written.
    pub(super) fn mend(&mut self, claims: &Claims) {
        for (log, lasting) in [(&mut self.run, false), (&mut self.lasting, true)] {
            if log.failed.is_some() {
                // It keeps the reason if it fails again.
                _ = log.rewrite(&of_log(claims, lasting));
            }
        }
    }

    /// The files that cannot be written and speak of nothing any more, since nothing is held.
    pub(super) fn void(&self, claims: &Claims) -> Vec<PathBuf> {
        let logs = [(&self.run, false), (&self.lasting, true)].into_iter();
        let void = |(log, lasting): &(&Log, bool)| {
            let has_others = log.foreign || !log.others.is_empty();
            log.failed.is_some()
                && log.is_ours()
                && !has_others
                && of_log(claims, *lasting).is_empty()
        };
        logs.filter(void).map(|(log, _)| log.path()).collect()
    }

    pub(super) fn failed(&self) -> Option<&LedgerError> {
        self.run.failed.as_ref().or(self.lasting.failed.as_ref())
    }
}

fn of_log(claims: &Claims, lasting: bool) -> Vec<Change> {
    let mut changes = claims.snapshot();
    changes.retain(|change| change.resource().survives_reboot() == lasting);
    changes
}

/// One file.
#[derive(Debug)]
struct Log {
    directory: PathBuf,
    origin: Origin,
    /// Whether it survives a reboot, and so has to be synced.
    lasting: bool,
    /// Of a lasting file: it has no network namespace in its path, so its directory may be another
    /// instance's.
    lock: Option<File>,
    file: Option<File>,
    /// Where the next record goes. Behind it there may be the rest of one that could not be
    /// written.
    len: u64,
    compact_at: u64,
    failed: Option<LedgerError>,
    /// There is something that we may not read, so nothing may be written over it.
    closed: bool,
    /// There may be records of another instance that have not been read.
    foreign: bool,
    /// Its records, read after it had ended, that are not among the claims: they are kept for the
    /// next start.
    others: Vec<Vec<u8>>,
}

impl Log {
    fn new(directory: &Path, origin: Origin, lasting: bool) -> Self {
        Self {
            directory: directory.to_owned(),
            origin,
            lasting,
            lock: None,
            file: None,
            len: 0,
            compact_at: COMPACT_MIN,
            failed: None,
            closed: false,
            foreign: false,
            others: Vec::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(FILE_NAME)
    }

    /// Applies the file's records, if it is from this boot and this network namespace (or survives
    /// them). A file that cannot be read is moved aside, not overwritten; one that we may not read
    /// stays where it is.
    fn read(&mut self, claims: &mut Claims) -> Result<(), Unread> {
        let path = self.path();
        if !is_there(&path).map_err(|err| self.refused(&err))? {
            return Ok(());
        }
        match self.take_lock(Patience::of(lock::DYING)) {
            Ok(()) => {}
            Err(err) if is_refusal(&err) => return Err(self.refused(&err)),
            Err(err) => {
                // Nothing may be written over what could not be read.
                _ = self.note::<()>(Err(err));
                return Ok(());
            }
        }
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(err) if is_refusal(&err) => return Err(self.refused(&err)),
            Err(err) => return Err(put_aside(&path, &err.to_string())),
        };
        let Some(mut records) = Records::new(&bytes, MAGIC) else {
            return Err(put_aside(&path, "it is of another kind or version"));
        };
        let header = records
            .next()
            .and_then(|first| postcard::from_bytes::<Header>(first).ok());
        let Some(header) = header else {
            return Err(put_aside(&path, "its first record is incomplete"));
        };
        if !self.lasting && header.origin != self.origin {
            info!(path = %path.display(), "The ledger is from another boot or network namespace: nothing in it exists any more");
            return Ok(());
        }
        for record in &mut records {
            match postcard::from_bytes(record) {
                Ok(change) => claims.apply(change),
                Err(err) => return Err(put_aside(&path, &err.to_string())),
            }
        }
        self.len = u64::try_from(records.position()).unwrap_or(u64::MAX);
        if records.torn() {
            warn!(path = %path.display(), good = self.len, "The ledger ends in a partial record: its writer died while writing");
        }
        Ok(())
    }

    fn refused(&mut self, err: &io::Error) -> Unread {
        self.closed = true;
        Unread {
            path: self.path(),
            message: words_of(err),
            stays: true,
        }
    }

    /// The records of a file that has not been read, without its header. What says nothing to us is
    /// put aside, and what cannot be read stays.
    fn records_there(&self) -> io::Result<Vec<Vec<u8>>> {
        let path = self.path();
        let bytes = match read_bounded(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            bytes => bytes?,
        };
        let Some(records) = Records::new(&bytes, MAGIC) else {
            _ = put_aside(&path, "it is of another kind or version");
            return Ok(Vec::new());
        };
        Ok(records.skip(1).map(<[u8]>::to_vec).collect())
    }

    /// May we write it?
    const fn is_ours(&self) -> bool {
        !self.lasting || self.lock.is_some()
    }

    fn take_lock(&mut self, patience: Patience) -> io::Result<()> {
        if self.is_ours() {
            return Ok(());
        }
        match lock::lock_when_dead(&self.directory.join(instance::LOCK_FILE), patience)? {
            lock::Lock::Taken(file) => self.lock = Some(file),
            lock::Lock::Held(_) => {
                return Err(io::Error::other(
                    "another instance of this name is writing to it",
                ));
            }
        }
        Ok(())
    }

    /// Is it not there, or mostly history?
    const fn wants_rewrite(&self) -> bool {
        self.file.is_none() || self.failed.is_some() || self.len > self.compact_at
    }

    /// Rewrites the file with only these changes: next to the old one, which it then replaces.
    fn rewrite(&mut self, changes: &[Change]) -> Result<(), LedgerError> {
        let written = self.write_new(changes);
        self.note(written)
    }

    fn write_new(&mut self, changes: &[Change]) -> io::Result<()> {
        if self.closed {
            return Err(Errno::EACCES.into());
        }
        let mut bytes = MAGIC.to_vec();
        frame(
            &Header {
                origin: self.origin,
            },
            &mut bytes,
        )?;
        // Persistent files are only for the daemon; below run-dir there is the socket, which others
        // may look for.
        let mode = if self.lasting { 0o700 } else { 0o755 };
        resolve::make_directory(&self.directory, mode)?;
        // Also at the next try, when the lock is ours by now and this one has failed.
        self.foreign |= !self.is_ours();
        // Writing here blocks the protocol.
        self.take_lock(Patience::of(Duration::ZERO))?;
        if self.foreign {
            self.others = self.records_there()?;
            self.foreign = false;
        }
        for record in &self.others {
            record::frame(record, &mut bytes);
        }
        changes
            .iter()
            .try_for_each(|change| frame(change, &mut bytes))?;
        let new = self.directory.join("ledger.new");
        let mut file = resolve::own(&new)?.create(OFlag::O_WRONLY | OFlag::O_TRUNC, 0o600)?;
        file.write_all(&bytes)?;
        if self.lasting {
            file.sync_data()?;
        }
        fs::rename(&new, self.path())?;
        if self.lasting {
            File::open(&self.directory)?.sync_all()?;
        }
        self.len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.compact_at = self.len.saturating_mul(2).max(COMPACT_MIN);
        self.file = Some(file);
        Ok(())
    }

    fn append(&mut self, change: &Change) -> Result<Written, LedgerError> {
        let written = self.write_record(change);
        self.note(written)
    }

    fn write_record(&mut self, change: &Change) -> io::Result<Written> {
        let mut bytes = Vec::with_capacity(256);
        frame(change, &mut bytes)?;
        let file = self
            .file
            .as_ref()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        // A record that was written in part before is written over; what then remains of it is a
        // torn end.
        file.write_all_at(&bytes, self.len)?;
        self.len = self
            .len
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(Written(if self.lasting {
            Some(file.try_clone()?)
        } else {
            None
        }))
    }

    /// Keeps the reason if it failed, and logs when that changes.
    fn note<T>(&mut self, result: io::Result<T>) -> Result<T, LedgerError> {
        let path = self.path();
        match result {
            Ok(done) => {
                if self.failed.take().is_some() {
                    info!(path = %path.display(), "The ledger can be written again");
                }
                Ok(done)
            }
            Err(err) => {
                let failure = LedgerError {
                    path,
                    message: words_of(&err),
                    errno: err.raw_os_error(),
                };
                if self.failed.as_ref() != Some(&failure) {
                    error!(%failure, "Refusing all effects but addresses");
                }
                self.failed = Some(failure.clone());
                Err(failure)
            }
        }
    }
}

/// The ledgers of this boot and this network namespace, of processes that live and of those that
/// died, as far as they can be read; as copies in memory. Only looks: takes no locks and writes
/// nothing.
#[must_use]
pub fn ledgers_here(run_dir: &Path, origin: Origin) -> Vec<Ledger> {
    let mut found = Vec::new();
    for (name, _) in instance::ledgers(run_dir) {
        let bytes = read_bounded(&run_dir.join(name).join(FILE_NAME)).unwrap_or_default();
        let Some(mut records) = Records::new(&bytes, MAGIC) else {
            continue;
        };
        let header = records
            .next()
            .and_then(|first| postcard::from_bytes::<Header>(first).ok());
        if header.is_some_and(|header| header.origin == origin) {
            let mut claims = Claims::default();
            records
                .filter_map(|record| postcard::from_bytes(record).ok())
                .for_each(|change| claims.apply(change));
            found.push(Ledger {
                claims,
                ..Ledger::default()
            });
        }
    }
    found
}

/// Can files be written and synced in a directory? It takes as long as the disk takes: for a thread
/// that may wait.
///
/// # Errors
/// What the system said.
pub fn probe(directory: &Path) -> io::Result<()> {
    resolve::make_directory(directory, 0o700)?;
    let path = directory.join("ledger.probe");
    let file = resolve::own(&path)?.create(OFlag::O_WRONLY | OFlag::O_TRUNC, 0o600);
    let written =
        file.and_then(|mut file| file.write_all(&[0; 4096]).and_then(|()| file.sync_all()));
    written.and(fs::remove_file(&path))
}

fn frame<T: Serialize>(value: &T, into: &mut Vec<u8>) -> io::Result<()> {
    let payload = postcard::to_stdvec(value).map_err(io::Error::other)?;
    if payload.len() > record::RECORD_MAX {
        return Err(io::Error::other(format!(
            "a record has at most {} bytes",
            record::RECORD_MAX
        )));
    }
    record::frame(&payload, into);
    Ok(())
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = resolve::own(path)?.open()?.ok_or(io::ErrorKind::NotFound)?;
    file.take(READ_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The system's words alone, without its number.
pub(super) fn words_of(err: &io::Error) -> String {
    err.raw_os_error().map_or_else(
        || err.to_string(),
        |number| Errno::from_raw(number).desc().to_owned(),
    )
}

/// Did the system refuse a look? Then something may be there all the same.
pub(super) fn is_refusal(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::EACCES | libc::EPERM))
}

/// Is there such a file? What may not be looked at is an error.
pub(super) fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(err) if is_refusal(&err) => Err(err),
        there => Ok(there.is_ok()),
    }
}

/// How many unreadable ledgers are kept.
const ASIDE_MAX: u32 = 8;

/// Where an unreadable ledger is kept: `ledger.unreadable`, then `ledger.unreadable.2` and so on.
/// The first ones stay, as they say most about what went wrong; the last name is used again.
fn free_name(path: &Path) -> PathBuf {
    let first = path.with_extension("unreadable");
    let later = (2..=ASIDE_MAX).map(|number| first.with_added_extension(number.to_string()));
    let last = first.with_added_extension(ASIDE_MAX.to_string());
    std::iter::once(first.clone())
        .chain(later)
        .find(|name| matches!(is_there(name), Ok(false)))
        .unwrap_or(last)
}

/// Keeps a file that we cannot read for inspection.
fn put_aside(path: &Path, why: &str) -> Unread {
    let aside = free_name(path);
    let kept = fs::rename(path, &aside);
    error!(path = %path.display(), aside = %aside.display(), kept = kept.is_ok(), why, "Cannot read the ledger of an earlier daemon: undo by hand what it left behind");
    Unread {
        path: if kept.is_ok() { aside } else { path.to_owned() },
        message: why.to_owned(),
        stays: false,
    }
}
