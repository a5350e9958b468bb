//! A file that a process has locked, and which process that is.
//!
//! Locks are the kernel's (`flock`): they end with the process, however it ends. A process that is
//! dying is waited for; a running one is reported.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::fcntl::OFlag;
use tracing::warn;

use super::disk::is_refusal;
use super::instance::LOCK_FILE;
use crate::process::{self, Patience, Process};
use crate::resolve::{self, Place};

/// The mode of a lock: anyone who can open it can lock it, and so keep carpd from starting. The
/// kernel tells other users who holds it.
const LOCK_MODE: u32 = 0o600;
/// Of the directories that locks are in.
pub(super) const DIRECTORY_MODE: u32 = 0o755;
/// How long a process that was killed is waited for. It has its locks until the kernel has taken it
/// apart.
pub(super) const DYING: Duration = Duration::from_secs(1);
/// A process that seems to be running is checked twice: a killing signal takes effect a moment
/// later.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The process that holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Occupant {
    /// Its number, if it could be found out.
    pub pid: Option<u32>,
    /// It was killed, or its keeper was, and it has not ended in the time that it was given.
    pub ending: bool,
}

impl fmt::Display for Occupant {
    /// For the end of a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { pid: None, .. } => Ok(()),
            Self {
                pid: Some(pid),
                ending: false,
            } => write!(f, " (pid {pid})"),
            Self {
                pid: Some(pid),
                ending: true,
            } => write!(f, " (pid {pid}, which is ending)"),
        }
    }
}

/// Who has a lock, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// The process that started it: of an engine its keeper, without which it ends.
    pub parent: Option<u32>,
}

impl Holder {
    /// Who has an instance's directory, or had it last.
    #[must_use]
    pub fn of(instance_dir: &Path) -> Option<Self> {
        let lock = resolve::own(&instance_dir.join(LOCK_FILE)).ok()?;
        match lock.open() {
            Ok(file) => Self::read(&mut file?),
            Err(_) => Self::by_the_kernel(&lock),
        }
    }

    /// Who has a lock that we may not open.
    fn by_the_kernel(lock: &Place) -> Option<Self> {
        let pid = process::lock_holder(&lock.metadata().ok()??)?;
        Some(Self {
            pid,
            parent: Process::look(pid)
                .map(|process| process.parent)
                .filter(|parent| *parent != 0),
        })
    }

    /// Since when.
    #[must_use]
    pub fn since(instance_dir: &Path) -> Option<SystemTime> {
        let lock = resolve::own(&instance_dir.join(LOCK_FILE)).ok()?;
        lock.metadata().ok()??.modified().ok()
    }

    /// Has a process an instance's directory? `None` if there is no lock.
    ///
    /// # Errors
    /// It may not be looked at.
    pub fn is_there(instance_dir: &Path) -> io::Result<Option<bool>> {
        let lock = match resolve::own(&instance_dir.join(LOCK_FILE)) {
            Err(refusal) if refusal.is_absence() => return Ok(None),
            place => place?,
        };
        match lock.open() {
            Ok(file) => file.map(|file| is_locked(&file)).transpose(),
            Err(err) if is_refusal(&err) && Self::by_the_kernel(&lock).is_some() => Ok(Some(true)),
            Err(err) => Err(err),
        }
    }

    fn read(file: &mut File) -> Option<Self> {
        let mut text = String::new();
        file.take(32).read_to_string(&mut text).ok()?;
        let mut numbers = text.split_whitespace().map(str::parse);
        // A parent in another process namespace has no number here.
        Some(Self {
            pid: numbers.next()?.ok()?,
            parent: numbers
                .next()
                .and_then(Result::ok)
                .filter(|parent| *parent != 0),
        })
    }

    /// Records who we are. The lock is valid even if there is no space for that.
    fn write(file: &mut File) {
        let text = format!(
            "{} {}\n",
            std::process::id(),
            std::os::unix::process::parent_id()
        );
        _ = file
            .set_len(0)
            .and_then(|()| file.write_all(text.as_bytes()));
    }

    /// Will it be gone in a moment? `None` if that cannot be told: it lives where we do not see it,
    /// or has only just come.
    fn is_ending(self) -> Option<bool> {
        let ends = |pid| Process::look(pid).map(|process| process.ending);
        let orphan = self
            .parent
            .is_some_and(|parent| ends(parent).unwrap_or(true));
        ends(self.pid).map(|ending| ending || orphan)
    }
}

/// What came of trying to lock a file.
pub(super) enum Lock {
    Taken(File),
    Held(Occupant),
}

/// Locks a file. If a dying process holds it, that is waited for; a running one is not.
pub(super) fn lock_when_dead(path: &Path, patience: Patience) -> io::Result<Lock> {
    let mut seen_alive = false;
    loop {
        let holder = match try_lock(path)? {
            Ok(file) => return Ok(Lock::Taken(file)),
            Err(holder) => holder,
        };
        let ending = holder.and_then(Holder::is_ending);
        let occupant = Occupant {
            pid: holder.map(|holder| holder.pid),
            ending: ending == Some(true),
        };
        if patience.left().is_zero() || (ending == Some(false) && seen_alive) {
            return Ok(Lock::Held(occupant));
        }
        match occupant {
            Occupant {
                pid: Some(pid),
                ending: true,
            } => patience.wait_for_end_of(pid),
            Occupant { .. } => seen_alive = ending == Some(false),
        }
        patience.pause(LOOK_AGAIN);
    }
}

/// Has a process locked this file? Looked at for a moment, so that one which begins now gets its
/// lock at its next try.
pub(super) fn is_locked(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(err)) => Err(err),
    }
}

/// Opens a lock, and makes it if it is not there. One that we may not write to, as a dead daemon's
/// of another user, can be locked all the same; then it does not say who has it.
fn open_lock(place: &Place) -> io::Result<(File, bool)> {
    match place.create(OFlag::O_RDWR, LOCK_MODE) {
        Ok(file) => Ok((file, true)),
        Err(error) => match place.open() {
            Ok(Some(file)) => Ok((file, false)),
            Ok(None) | Err(_) => Err(error),
        },
    }
}

/// Locks a file and records in it who we are; if another process holds it, returns which.
fn try_lock(path: &Path) -> io::Result<Result<File, Option<Holder>>> {
    try_lock_unless(path, |there| there.mode() & 0o077 != 0)
}

/// As [`try_lock`], for a file that others cannot open.
pub(super) fn try_lock_unless(
    path: &Path,
    is_exposed: impl Fn(&fs::Metadata) -> bool,
) -> io::Result<Result<File, Option<Holder>>> {
    // A file system that gives all files one mode would have us replace it for ever.
    let mut replaced = false;
    if let Some(directory) = path.parent() {
        resolve::make_directory(directory, DIRECTORY_MODE)?;
    }
    loop {
        let place = resolve::own(path)?;
        let (mut file, ours) = match open_lock(&place) {
            Err(err) if is_refusal(&err) => {
                return Holder::by_the_kernel(&place)
                    .map(|holder| Err(Some(holder)))
                    .ok_or(err);
            }
            opened => opened?,
        };
        let there = file.metadata()?;
        if ours && there.nlink() > 1 {
            // What is written into it would be written to somebody else's.
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it has another name elsewhere",
            ));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Err(Holder::read(&mut file))),
            Err(TryLockError::Error(err)) => return Err(err),
        }
        // Whoever cleaned up may have removed it between our opening and our locking.
        if fs::metadata(path)
            .is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there.ino()))
        {
            // Others could have opened one of an earlier version, and lock it later.
            let is_exposed = is_exposed(&there);
            if (is_exposed || !ours) && !replaced && place.remove().is_ok() {
                // In its place comes one that says who has it, and that nobody else can open.
                replaced = true;
                continue;
            }
            if is_exposed && replaced {
                warn!(
                    path = %path.display(),
                    "Others can open this lock and keep carpd from starting: the file system sets this mode"
                );
            }
            if ours {
                Holder::write(&mut file);
            }
            return Ok(Ok(file));
        }
    }
}

/// Removes a lock while we have it; whoever has opened it meanwhile sees that it is another file
/// than the one that is there by then.
pub(super) fn unlock(path: &Path, file: &File) {
    let Ok(place) = resolve::own(path) else {
        return;
    };
    let is_this = |there: fs::Metadata| file.metadata().is_ok_and(|own| own.ino() == there.ino());
    if place.metadata().ok().flatten().is_some_and(is_this) {
        // Where that is forbidden it stays.
        _ = place.remove();
    }
}
