//! The daemon's standard error, written without waiting.
//!
//! Its reader may have stopped: a pager, a full pipe, a frozen container runtime. That must not
//! make the engine miss an advertisement, or the keeper a dead engine. So lines that cannot be
//! written yet are kept, up to a limit, and written at the next opportunity; beyond the limit they
//! are lost and counted.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};

/// Bytes kept for the reader; anything beyond that is lost.
const PENDING_MAX: usize = 1 << 20;
/// Bytes written at a time: as many as a pipe that is ready takes without blocking.
const CHUNK: usize = 4096;
/// How long a process that is ending waits for the reader of its last lines.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// That of this process; `None` until it logs there.
static STDERR: Mutex<Option<Pending>> = Mutex::new(None);

/// Takes lines for standard error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stderr;

impl Stderr {
    /// From now on, this process writes to standard error without waiting.
    ///
    /// # Errors
    /// There is no standard error.
    pub(super) fn open() -> io::Result<Self> {
        let stderr = io::stderr();
        *lock() = Some(Pending::to(reopened(&stderr)?));
        Ok(Self)
    }
}

impl Write for Stderr {
    /// Takes a line as a whole, or drops it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(pending) = lock().as_mut() {
            pending.push(line);
            pending.write();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what has been kept, as far as there is room; to be called from time to time.
pub fn flush() {
    let lost = lock().as_mut().map_or(0, |pending| {
        pending.write();
        pending.take_lost()
    });
    if lost > 0 {
        tracing::warn!(lines = lost, "Lost log lines: they were not read in time");
    }
}

/// The same before the process ends; waits for the reader for a short time.
pub fn finish() {
    flush();
    if let Some(pending) = lock().as_mut() {
        pending.finish(LAST_WORDS);
    }
}

fn lock() -> MutexGuard<'static, Option<Pending>> {
    STDERR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// If it is opened again, a pipe or terminal has a mode of its own and does not block; other
/// processes that have it open are not affected. A socket cannot be opened this way, nor can a file
/// that another user created: these are polled before each write. A file never blocks, and its
/// position is shared by all.
fn reopened(stderr: &io::Stderr) -> io::Result<File> {
    let same = File::from(stderr.as_fd().try_clone_to_owned()?);
    if same.metadata()?.is_file() {
        return Ok(same);
    }
    let own = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open("/proc/self/fd/2");
    Ok(own.unwrap_or(same))
}

/// Lines on their way out.
#[derive(Debug)]
struct Pending {
    to: File,
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// How much of the first one has been written.
    written: usize,
    lost: u64,
}

impl Pending {
    const fn to(to: File) -> Self {
        Self {
            to,
            lines: VecDeque::new(),
            bytes: 0,
            written: 0,
            lost: 0,
        }
    }

    fn push(&mut self, line: &[u8]) {
        if self.bytes.saturating_add(line.len()) > PENDING_MAX {
            self.lost = self.lost.saturating_add(1);
        } else {
            self.bytes += line.len();
            self.lines.push_back(line.to_vec());
        }
    }

    /// The number of lost lines, if there is room to report it.
    fn take_lost(&mut self) -> u64 {
        if self.lines.is_empty() {
            std::mem::take(&mut self.lost)
        } else {
            0
        }
    }

    /// Writes as much as fits.
    fn write(&mut self) {
        while let Some(line) = self.lines.front() {
            let left = line.get(self.written..).unwrap_or_default();
            let chunk = left.get(..CHUNK).unwrap_or(left);
            match write_now(&self.to, chunk) {
                Ok(written) if written < left.len() => self.written += written,
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                // A reader that went away must not end the daemon.
                Ok(_) | Err(_) => self.drop_first(),
            }
        }
    }

    fn drop_first(&mut self) {
        self.written = 0;
        if let Some(line) = self.lines.pop_front() {
            self.bytes = self.bytes.saturating_sub(line.len());
        }
    }

    /// Writes everything, if the reader takes it within this time.
    fn finish(&mut self, patience: Duration) {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        self.write();
        while !self.lines.is_empty() && is_ready(&self.to, timeout) {
            self.write();
        }
    }
}

/// `EAGAIN` if it would block.
fn write_now(to: &File, bytes: &[u8]) -> nix::Result<usize> {
    if !is_ready(to, PollTimeout::ZERO) {
        return Err(Errno::EAGAIN);
    }
    match send(
        to.as_raw_fd(),
        bytes,
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
    ) {
        Err(Errno::ENOTSOCK) => nix::unistd::write(to, bytes),
        sent => sent,
    }
}

fn is_ready(to: &File, timeout: PollTimeout) -> bool {
    let mut fds = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
    poll(&mut fds, timeout).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Fills a stream whose reader has stopped, then reads it.
    fn stalls_and_goes_on(to: OwnedFd, mut reader: File) {
        let mut pending = Pending::to(to.into());
        let line = |number: usize| format!("{number:<9999}\n").into_bytes();
        let mut given = 0;
        while pending.lost == 0 {
            pending.push(&line(given));
            pending.write();
            given += 1;
        }
        assert!(given * 10_000 >= PENDING_MAX, "{given}");
        assert_eq!(pending.take_lost(), 0, "there is no room to say so");
        let mut there = Vec::new();
        while !pending.lines.is_empty() {
            let mut buffer = [0; 8192];
            let got = reader.read(&mut buffer).unwrap();
            there.extend_from_slice(&buffer[..got]);
            pending.write();
        }
        assert_eq!(pending.take_lost(), 1);
        drop(pending);
        reader.read_to_end(&mut there).unwrap();
        let expected: Vec<u8> = (0..given - 1).flat_map(line).collect();
        assert!(there == expected, "every line but the lost one, as a whole");
    }

    #[test]
    fn a_reader_that_has_stopped_holds_nobody_up() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        stalls_and_goes_on(writer, File::from(reader));
        let (writer, reader) = UnixStream::pair().unwrap();
        stalls_and_goes_on(writer.into(), File::from(OwnedFd::from(reader)));
    }

    #[test]
    fn a_reader_that_is_gone_ends_nothing() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        drop(reader);
        let mut pending = Pending::to(writer.into());
        pending.push(b"x\n");
        pending.finish(Duration::from_mins(1));
        assert!(pending.lines.is_empty());
    }

    #[test]
    fn the_end_of_a_process_does_not_wait_for_a_reader_that_has_stopped() {
        let (_reader, writer) = nix::unistd::pipe().unwrap();
        let mut pending = Pending::to(writer.into());
        for _ in 0..10 {
            pending.push(&vec![b'x'; 100_000]);
        }
        pending.finish(Duration::from_millis(1));
        assert!(!pending.lines.is_empty());
    }
}
