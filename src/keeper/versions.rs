//! The configurations that helpers and readers go by: copies of the file that nobody can write to.
//!
//! The file may be changed at any time, and means nothing until a reload takes it into use. So the
//! keeper copies it: when an engine starts, and when one begins a reload. Whoever is started in
//! between goes by the copy in use, and an engine that somebody has taken over can say that a
//! reload came to nothing, but not that another file is meant.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use tracing::debug;

use crate::types::Timestamp;

/// More than a configuration may have, in bytes: what is longer is refused by whoever reads it.
const BYTES_MAX: u64 = (1 << 20) + 1;
/// What is waited for the file. Whoever goes by it reads the file itself then, and says what is wrong.
const READ_MAX: Duration = Duration::from_secs(1);
/// An engine that has not said for so long what came of a reload has taken it into use.
pub(super) const UNDECIDED_MAX: Duration = Duration::from_mins(10);

/// What the file held at one time.
#[derive(Debug)]
pub(super) struct Version {
    /// Later ones have higher numbers.
    pub(super) number: u64,
    /// `None` if it could not be copied: then everybody reads the file, and says what is wrong with
    /// it.
    text: Option<OwnedFd>,
}

impl Version {
    pub(super) fn text(&self) -> Option<BorrowedFd<'_>> {
        self.text.as_ref().map(OwnedFd::as_fd)
    }

    fn of(number: u64, file: &Path) -> Self {
        let text = copy(file);
        if let Err(error) = &text {
            debug!(%error, "Could not copy the configuration");
        }
        Self {
            number,
            text: text.ok(),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        let bytes = |version: &Self| -> Option<Vec<u8>> {
            let file = File::from(version.text.as_ref()?.try_clone().ok()?);
            let length = usize::try_from(file.metadata().ok()?.len()).ok()?;
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, 0).ok()?;
            Some(bytes)
        };
        bytes(self).is_some_and(|own| bytes(other) == Some(own))
    }
}

/// Of what the file holds now.
fn copy(file: &Path) -> io::Result<OwnedFd> {
    let file = file.to_owned();
    let bytes = within(READ_MAX, move || read(&file))?;
    let mut text = File::from(memfd_create(
        c"carpd-configuration",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?);
    text.write_all(&bytes)?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_SEAL;
    fcntl(&text, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(text.into())
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::options()
        .read(true)
        // There may be a pipe in its place.
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(file)?
        .take(BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file system that hangs must not hold the keeper up: what it says later is dropped.
fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (done, result) = mpsc::sync_channel(1);
    thread::Builder::new().spawn(move || done.send(work()))?;
    result
        .recv_timeout(limit)
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// The copy in use, and the one that a reload is about.
#[derive(Debug, Default)]
pub(super) struct Versions {
    last: u64,
    in_use: Option<Version>,
    next: Option<Version>,
    /// Since when there is a next one.
    since: Option<Timestamp>,
}

/// What became of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// What goes by older ones than this number is to end.
    InUse(u64),
    /// What goes by newer ones is to end.
    Dropped(u64),
}

impl Versions {
    /// An engine starts: it reads the file as it is now.
    pub(super) fn begin(&mut self, file: &Path) {
        self.last += 1;
        (self.next, self.since) = (None, None);
        self.in_use = Some(Version::of(self.last, file));
    }

    /// A reload begins.
    pub(super) fn anew(&mut self, file: &Path, now: Timestamp) -> Option<&Version> {
        let next = Version::of(self.last + 1, file);
        if self.in_use.as_ref().is_some_and(|used| used.is_like(&next)) {
            (self.next, self.since) = (None, None);
            return self.in_use.as_ref();
        }
        self.last += 1;
        self.since = self.since.or(Some(now));
        Some(self.next.insert(next))
    }

    /// The one in use.
    pub(super) const fn in_use(&self) -> Option<&Version> {
        self.in_use.as_ref()
    }

    /// The one that a reload is about; the one in use if nothing is new in it.
    pub(super) fn newest(&self) -> Option<&Version> {
        self.next.as_ref().or(self.in_use.as_ref())
    }

    /// The engine says whether it has taken the next one into use.
    pub(super) fn settle(&mut self, accepted: bool) -> Option<Settled> {
        self.since = None;
        if let Some(next) = self.next.take().filter(|_| accepted) {
            let number = next.number;
            self.in_use = Some(next);
            return Some(Settled::InUse(number));
        }
        // Also what was begun before a reload that found nothing new.
        Some(Settled::Dropped(self.in_use.as_ref()?.number))
    }

    /// Takes the next one into use if nobody has said anything about it for too long.
    pub(super) fn settle_overdue(&mut self, now: Timestamp) -> Option<Settled> {
        let since = self.since?;
        (now.since(since) > UNDECIDED_MAX)
            .then(|| self.settle(true))
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn text(version: Option<&Version>) -> String {
        let copy = version.unwrap().text.as_ref().unwrap();
        let file = File::from(copy.try_clone().unwrap());
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_file_means_nothing_until_it_is_taken_into_use() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("carpd.toml");
        let mut versions = Versions::default();
        let now = Timestamp::from_nanos(1);
        fs::write(&file, "one").unwrap();
        versions.begin(&file);
        fs::write(&file, "two").unwrap();
        assert_eq!(text(versions.in_use()), "one");
        assert_eq!(text(versions.newest()), "one");
        assert_eq!(text(versions.anew(&file, now)), "two");
        fs::write(&file, "three").unwrap();
        assert_eq!(
            (text(versions.in_use()), text(versions.newest())),
            ("one".to_owned(), "two".to_owned())
        );
        assert_eq!(versions.settle(false), Some(Settled::Dropped(1)));
        assert_eq!(text(versions.newest()), "one");
        assert_eq!(text(versions.anew(&file, now)), "three");
        assert_eq!(versions.settle(true), Some(Settled::InUse(3)));
        assert_eq!(text(versions.in_use()), "three");
        // Nothing new: nobody has to end but what goes by a newer one that was given up.
        assert_eq!(versions.anew(&file, now).unwrap().number, 3);
        assert_eq!(versions.settle(true), Some(Settled::Dropped(3)));
    }

    #[test]
    fn a_file_that_cannot_be_copied_leaves_no_older_copy_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("carpd.toml");
        let mut versions = Versions::default();
        let now = Timestamp::from_nanos(1);
        fs::write(&file, "one").unwrap();
        versions.begin(&file);
        fs::remove_file(&file).unwrap();
        assert!(versions.anew(&file, now).unwrap().text().is_none());
        assert_eq!(versions.settle(false), Some(Settled::Dropped(1)));
        assert_eq!(text(versions.in_use()), "one");
        assert!(versions.anew(&file, now).unwrap().text().is_none());
        // Whoever read it by himself was quicker, or more patient.
        assert_eq!(versions.settle(true), Some(Settled::InUse(3)));
        assert!(versions.in_use().unwrap().text().is_none());
        assert!(versions.newest().unwrap().text().is_none());
    }

    #[test]
    fn nobody_writes_to_a_copy_or_keeps_a_reload_undecided() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("carpd.toml");
        let mut versions = Versions::default();
        fs::write(&file, "one").unwrap();
        versions.begin(&file);
        let copy = versions.in_use().unwrap().text().unwrap();
        let copy = copy.try_clone_to_owned().unwrap();
        assert!(File::from(copy).write_all(b"x").is_err());
        let began = Timestamp::from_nanos(1);
        fs::write(&file, "two").unwrap();
        versions.anew(&file, began);
        fs::write(&file, "three").unwrap();
        // Beginning again and again gains no time.
        versions.anew(&file, began + UNDECIDED_MAX);
        assert_eq!(versions.settle_overdue(began + UNDECIDED_MAX), None);
        let late = began + UNDECIDED_MAX + Duration::from_secs(1);
        assert_eq!(versions.settle_overdue(late), Some(Settled::InUse(3)));
        assert_eq!(text(versions.in_use()), "three");
        assert_eq!(versions.settle_overdue(late), None);
    }

    #[test]
    fn what_is_in_the_place_of_the_file_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("carpd.toml");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _writer = File::options().read(true).write(true).open(&pipe).unwrap();
        assert!(read(&pipe).is_err());
        let (_hold, never) = mpsc::channel::<()>();
        let hangs = move || never.recv().map_err(io::Error::other);
        let err = within(Duration::from_millis(10), hangs).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::TimedOut);
        assert_eq!(within(Duration::from_mins(1), || Ok(5)).unwrap(), 5);
    }
}
