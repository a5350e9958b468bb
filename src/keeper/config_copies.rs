//! Copies of the configuration that nobody can write to: helpers and readers read these.
//!
//! The file may change at any time, and has no effect until a reload takes it into use. So the
//! keeper copies it when an engine starts and when a reload begins. A child that is started in
//! between reads the copy in use. A compromised engine can claim that a reload failed, but it
//! cannot make its helpers read another file.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::fcntl::OFlag;
use tracing::debug;

use super::OVERSLEPT;
use crate::host::kernel::sealed::{OnExec, sealed};
use crate::types::Timestamp;

/// One byte more than a configuration may have. Whoever reads the copy refuses a longer one.
const BYTES_MAX: u64 = (1 << 20) + 1;
/// How long reading the file may take. After that there is no copy: each process reads the file
/// itself and reports what is wrong with it.
const READ_MAX: Duration = Duration::from_secs(1);
/// If the engine has not said for so long that it still prepares a reload, nor how that ended, the
/// new copy counts as in use.
pub(super) const SILENCE_MAX: Duration = Duration::from_mins(1);
/// So it does after this time, whatever the engine says: one that somebody has taken over must not
/// keep the grants of both configurations for ever.
pub(super) const UNDECIDED_MAX: Duration = Duration::from_hours(24);

/// The content of the file at one time.
#[derive(Debug)]
pub(super) struct ConfigCopy {
    /// Later copies have higher numbers.
    pub(super) number: u64,
    /// `None` if the file could not be copied: then each process reads the file itself and reports
    /// what is wrong with it.
    text: Option<OwnedFd>,
}

impl ConfigCopy {
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

    /// What `read` makes of the copy, or of the file if there is none; `None` if that takes too
    /// long.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce(Option<File>) -> Option<T> + Send + 'static,
    ) -> Option<T> {
        // Opened anew it has a position of its own.
        let path = self
            .text()
            .map(|text| format!("/proc/self/fd/{}", text.as_raw_fd()));
        let copy = path.and_then(|path| File::open(path).ok());
        within(READ_MAX, move || Ok(read(copy))).ok().flatten()
    }

    fn has_same_text(&self, other: &Self) -> bool {
        let bytes = |copy: &Self| -> Option<Vec<u8>> {
            let file = File::from(copy.text.as_ref()?.try_clone().ok()?);
            let length = usize::try_from(file.metadata().ok()?.len()).ok()?;
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, 0).ok()?;
            Some(bytes)
        };
        bytes(self).is_some_and(|own| bytes(other) == Some(own))
    }
}

/// A sealed copy of what the file holds now.
fn copy(file: &Path) -> io::Result<OwnedFd> {
    let file = file.to_owned();
    let bytes = within(READ_MAX, move || read(&file))?;
    sealed(c"carpd-configuration", &bytes, OnExec::Closed)
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::options()
        .read(true)
        // A pipe in its place must not block.
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(file)?
        .take(BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file system that hangs must not hold up the keeper: a result that comes too late is dropped.
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

/// The copy in use, and the one that a reload is preparing.
#[derive(Debug)]
pub(super) struct ConfigCopies {
    last: u64,
    in_use: Option<ConfigCopy>,
    next: Option<ConfigCopy>,
    /// What was in use before the engine's silence took the next copy into use: an engine that was
    /// only slow may still say that the reload failed.
    former: Option<ConfigCopy>,
    /// When the keeper last looked whether the engine has been silent for too long.
    looked: Timestamp,
    /// Since when a reload is undecided.
    since: Option<Timestamp>,
    /// When the engine last said something about it.
    heard: Timestamp,
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// The copy with this number is in use: children that read an older one must end.
    InUse(u64),
    /// The copy with this number stays in use: children that read a newer one must end.
    Dropped(u64),
}

impl ConfigCopies {
    /// There is none yet.
    pub(super) const fn new() -> Self {
        Self {
            last: 0,
            in_use: None,
            next: None,
            former: None,
            looked: Timestamp::ZERO,
            since: None,
            heard: Timestamp::ZERO,
        }
    }

    /// An engine starts. The first one takes the file as it is. One that follows a crash goes on
    /// with the copy in use: what was edited since then has no effect without a reload. But if the
    /// one before `died_young`, the copy itself may be why, and only the file can mend that: it is
    /// taken again if it can be read.
    pub(super) fn engine_starts(&mut self, file: &Path, died_young: bool) {
        (self.next, self.former, self.since) = (None, None, None);
        let used = self.in_use.as_ref().filter(|copy| copy.text.is_some());
        if used.is_some() && !died_young {
            return;
        }
        let taken = ConfigCopy::of(self.last + 1, file);
        let is_better = |used: &ConfigCopy| taken.text.is_some() && !used.has_same_text(&taken);
        if used.is_none_or(is_better) {
            self.last += 1;
            self.in_use = Some(taken);
        }
    }

    /// A reload begins: gives the copy that it is about, which is the one in use if the file has
    /// not changed.
    pub(super) fn reload_begins(&mut self, file: &Path, now: Timestamp) -> Option<&ConfigCopy> {
        let next = ConfigCopy::of(self.last + 1, file);
        if self
            .in_use
            .as_ref()
            .is_some_and(|used| used.has_same_text(&next))
        {
            (self.next, self.former, self.since) = (None, None, None);
            return self.in_use.as_ref();
        }
        self.last += 1;
        self.former = None;
        self.since = self.since.or(Some(now));
        (self.heard, self.looked) = (now, now);
        Some(self.next.insert(next))
    }

    /// The engine says that it still prepares a reload.
    pub(super) const fn still_preparing(&mut self, now: Timestamp) {
        self.heard = now;
    }

    /// The copy in use.
    pub(super) const fn in_use(&self) -> Option<&ConfigCopy> {
        self.in_use.as_ref()
    }

    /// The copy that a reload is about; the one in use if there is no such reload.
    pub(super) fn newest(&self) -> Option<&ConfigCopy> {
        self.next.as_ref().or(self.in_use.as_ref())
    }

    /// The engine says how a reload ended: whether it has taken the next copy into use.
    pub(super) fn decide(&mut self, accepted: bool) -> Option<Decision> {
        self.since = None;
        let former = self.former.take();
        if let Some(next) = self.next.take().filter(|_| accepted) {
            let number = next.number;
            self.in_use = Some(next);
            return Some(Decision::InUse(number));
        }
        if let Some(former) = former.filter(|_| !accepted) {
            // The engine was late to say so, and goes on with it.
            self.in_use = Some(former);
        }
        // Children of an earlier attempt may remain even if this reload found nothing new.
        Some(Decision::Dropped(self.in_use.as_ref()?.number))
    }

    /// Takes the next copy into use if the engine has been silent about it for too long. To be
    /// called again and again: while this process did not run, the engine did not run either, and
    /// that time is not held against it.
    pub(super) fn decide_overdue(&mut self, now: Timestamp) -> Option<Decision> {
        let since = self.since?;
        let asleep = now.since(self.looked);
        self.looked = now;
        if asleep > OVERSLEPT {
            self.heard = now;
            self.since = Some(since + asleep);
            return None;
        }
        if now.since(since) > UNDECIDED_MAX {
            return self.decide(true);
        }
        if now.since(self.heard) <= SILENCE_MAX {
            return None;
        }
        let next = self.next.take();
        let number = next.as_ref()?.number;
        self.former = std::mem::replace(&mut self.in_use, next);
        self.since = None;
        Some(Decision::InUse(number))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::path::PathBuf;

    use super::*;

    fn text(copy: Option<&ConfigCopy>) -> String {
        let copy = copy.unwrap().text.as_ref().unwrap();
        let file = File::from(copy.try_clone().unwrap());
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// What an engine began with.
    fn began_with(text: &str) -> (tempfile::TempDir, PathBuf, ConfigCopies) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("carpd.toml");
        fs::write(&file, text).unwrap();
        let mut copies = ConfigCopies::new();
        copies.engine_starts(&file, false);
        (directory, file, copies)
    }

    #[test]
    fn a_changed_file_has_no_effect_until_it_is_taken_into_use() {
        let (_directory, file, mut copies) = began_with("one");
        let now = Timestamp::from_nanos(1);
        fs::write(&file, "two").unwrap();
        assert_eq!(text(copies.in_use()), "one");
        assert_eq!(text(copies.newest()), "one");
        assert_eq!(text(copies.reload_begins(&file, now)), "two");
        fs::write(&file, "three").unwrap();
        assert_eq!(
            (text(copies.in_use()), text(copies.newest())),
            ("one".to_owned(), "two".to_owned())
        );
        assert_eq!(copies.decide(false), Some(Decision::Dropped(1)));
        assert_eq!(text(copies.newest()), "one");
        assert_eq!(text(copies.reload_begins(&file, now)), "three");
        assert_eq!(copies.decide(true), Some(Decision::InUse(3)));
        assert_eq!(text(copies.in_use()), "three");
        // Nothing new: only children of a newer copy that was dropped have to end.
        assert_eq!(copies.reload_begins(&file, now).unwrap().number, 3);
        assert_eq!(copies.decide(true), Some(Decision::Dropped(3)));
    }

    #[test]
    fn a_file_that_cannot_be_copied_leaves_no_older_copy_in_use() {
        let (_directory, file, mut copies) = began_with("one");
        let now = Timestamp::from_nanos(1);
        fs::remove_file(&file).unwrap();
        assert!(copies.reload_begins(&file, now).unwrap().text().is_none());
        assert_eq!(copies.decide(false), Some(Decision::Dropped(1)));
        assert_eq!(text(copies.in_use()), "one");
        assert!(copies.reload_begins(&file, now).unwrap().text().is_none());
        // The engine read the file itself, and was quicker or more patient.
        assert_eq!(copies.decide(true), Some(Decision::InUse(3)));
        assert!(copies.in_use().unwrap().text().is_none());
        assert!(copies.newest().unwrap().text().is_none());
    }

    #[test]
    fn nobody_writes_to_a_copy_or_leaves_a_reload_undecided_forever() {
        let (_directory, file, mut copies) = began_with("one");
        let copy = copies.in_use().unwrap().text().unwrap();
        let copy = copy.try_clone_to_owned().unwrap();
        assert!(File::from(copy).write_all(b"x").is_err());
        let (began, second) = (Timestamp::from_nanos(1), Duration::from_secs(1));
        fs::write(&file, "two").unwrap();
        copies.reload_begins(&file, began);
        fs::write(&file, "three").unwrap();
        // Starting the reload again, or preparing it without an end, gains no time in the end.
        copies.reload_begins(&file, began + UNDECIDED_MAX);
        assert_eq!(copies.decide_overdue(began + UNDECIDED_MAX), None);
        copies.still_preparing(began + UNDECIDED_MAX);
        let late = began + UNDECIDED_MAX + second;
        assert_eq!(copies.decide_overdue(late), Some(Decision::InUse(3)));
        assert_eq!(text(copies.in_use()), "three");
        assert_eq!(copies.decide_overdue(late), None);
    }

    #[test]
    fn a_reload_that_takes_long_is_undecided_as_long_as_the_engine_says_so() {
        let (_directory, file, mut copies) = began_with("one");
        fs::write(&file, "two").unwrap();
        let (mut now, second) = (Timestamp::from_nanos(1), Duration::from_secs(1));
        copies.reload_begins(&file, now);
        for _ in 0..10 {
            for _ in 0..SILENCE_MAX.as_secs() {
                now = now + second;
                assert_eq!(copies.decide_overdue(now), None);
            }
            copies.still_preparing(now);
        }
        assert_eq!(silence(&mut copies, now), Some(Decision::InUse(2)));
    }

    /// What is decided a moment after the engine has been silent for as long as it may.
    fn silence(copies: &mut ConfigCopies, mut now: Timestamp) -> Option<Decision> {
        for _ in 0..SILENCE_MAX.as_secs() {
            now = now + Duration::from_secs(1);
            assert_eq!(copies.decide_overdue(now), None);
        }
        copies.decide_overdue(now + Duration::from_secs(1))
    }

    #[test]
    fn an_engine_that_slept_as_its_keeper_did_is_not_silent() {
        let (_directory, file, mut copies) = began_with("one");
        fs::write(&file, "two").unwrap();
        let now = Timestamp::from_nanos(1);
        copies.reload_begins(&file, now);
        let awake = now + UNDECIDED_MAX + UNDECIDED_MAX;
        assert_eq!(copies.decide_overdue(awake), None);
        assert_eq!(text(copies.in_use()), "one");
        assert_eq!(silence(&mut copies, awake), Some(Decision::InUse(2)));
        assert_eq!(text(copies.in_use()), "two");
        // It was only slow.
        assert_eq!(copies.decide(false), Some(Decision::Dropped(1)));
        assert_eq!(text(copies.in_use()), "one");
        assert_eq!(copies.decide(false), Some(Decision::Dropped(1)));
    }

    #[test]
    fn the_file_mends_a_configuration_by_which_engines_die_at_once() {
        let (_directory, file, mut copies) = began_with("deadly");
        copies.engine_starts(&file, true);
        assert_eq!(copies.in_use().unwrap().number, 1, "nothing has changed");
        fs::remove_file(&file).unwrap();
        copies.engine_starts(&file, true);
        assert_eq!(text(copies.in_use()), "deadly");
        fs::write(&file, "mended").unwrap();
        copies.engine_starts(&file, true);
        assert_eq!(text(copies.in_use()), "mended");
    }

    #[test]
    fn an_engine_that_follows_a_crash_goes_on_with_what_is_in_use() {
        let (_directory, file, mut copies) = began_with("one");
        fs::write(&file, "half of tw").unwrap();
        copies.reload_begins(&file, Timestamp::from_nanos(1));
        copies.engine_starts(&file, false);
        assert_eq!(text(copies.in_use()), "one");
        assert_eq!(text(copies.newest()), "one");
        // Without a copy the file is what there is.
        let mut copies = ConfigCopies::new();
        copies.engine_starts(Path::new("/nonexistent"), false);
        copies.engine_starts(&file, false);
        assert_eq!(text(copies.in_use()), "half of tw");
    }

    #[test]
    fn what_is_asked_of_a_copy_is_answered_in_time_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("carpd.toml");
        fs::write(&file, "one").unwrap();
        let copy = ConfigCopy::of(1, &file);
        fs::write(&file, "two").unwrap();
        for _ in 0..2 {
            let said = copy.ask(|text| {
                let mut all = String::new();
                text?.read_to_string(&mut all).ok()?;
                Some(all)
            });
            assert_eq!(said.as_deref(), Some("one"));
        }
        assert_eq!(
            copy.ask(|_| -> Option<()> { panic!("as a parser may") }),
            None
        );
    }

    #[test]
    fn a_pipe_or_a_hanging_file_system_does_not_hold_up_the_keeper() {
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
