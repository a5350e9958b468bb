//! Other processes of this machine, as `/proc` shows them, and waiting for the end of one.
#![expect(
    unsafe_code,
    reason = "pidfd_open has no safe wrapper in the crates used here"
)]

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// `PF_EXITING` of the kernel: the process is on its way out.
const EXITING: u64 = 0x4;
/// SIGKILL, as a bit of a set of signals.
const KILLED: u64 = 1 << (libc::SIGKILL - 1);

/// A snapshot of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number here.
    pub pid: u32,
    /// Its name, as the kernel cuts it, at 15 bytes.
    pub name: String,
    /// The letter of its state, as in proc(5).
    pub state: char,
    /// Its parent process.
    pub parent: u32,
    /// It was killed, or is a zombie: it is about to be gone, if it does not hang in the kernel.
    pub ending: bool,
}

impl Process {
    /// Looks at one; `None` if there is no such process in our namespace, or it cannot be seen.
    #[must_use]
    pub fn look(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // A process has a name of its own choice: only the last bracket ends it.
        let (before, after) = stat.rsplit_once(')')?;
        let name = before.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = after.split_whitespace().collect();
        let state = fields.first()?.chars().next()?;
        let flags: u64 = fields.get(6)?.parse().ok()?;
        let ending = matches!(state, 'Z' | 'X') || flags & EXITING != 0 || has_been_killed(pid);
        Some(Self {
            pid,
            name,
            state,
            parent: fields.get(1)?.parse().ok()?,
            ending,
        })
    }

    /// A signal or a debugger has stopped it.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// Is the control group that it lives in frozen (`systemctl freeze`, `docker pause`)? Its state
    /// does not tell.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", self.pid)).unwrap_or_default();
        let Some(group) = groups.lines().find_map(|line| line.strip_prefix("0::")) else {
            return false;
        };
        let events =
            fs::read_to_string(format!("/sys/fs/cgroup{group}/cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "frozen 1")
    }
}

/// Where the kernel lists the locks of all processes, for anybody to read.
const LOCKS: &str = "/proc/locks";
/// The most of that list that is read, in bytes.
const LOCKS_MAX: u64 = 4 << 20;

/// The process that has locked this file as a whole (flock(2)), for whoever may not open it. `None`
/// if none of this namespace is known to have.
#[must_use]
pub fn lock_holder(file: &Metadata) -> Option<u32> {
    let mut list = String::new();
    let opened = File::open(LOCKS).ok()?;
    opened.take(LOCKS_MAX).read_to_string(&mut list).ok()?;
    let device = file.dev();
    let place = format!(
        "{:02x}:{:02x}:{}",
        libc::major(device),
        libc::minor(device),
        file.ino()
    );
    list.lines().find_map(|line| holder_in(line, &place))
}

/// Of a line such as `1: FLOCK  ADVISORY  WRITE 708 00:1a:1234 0 EOF`. One that waits has an arrow.
fn holder_in(line: &str, place: &str) -> Option<u32> {
    let fields: Vec<&str> = line.split_whitespace().skip(1).collect();
    match fields.as_slice() {
        ["FLOCK", _, "WRITE", pid, there, ..] if *there == place => {
            pid.parse().ok().filter(|pid| *pid != 0)
        }
        _ => None,
    }
}

/// SIGKILL waits for it. A process that was stopped or sleeps in the kernel may be seen like that
/// for a while.
fn has_been_killed(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let sets = status.lines().filter_map(|line| {
        line.strip_prefix("SigPnd:")
            .or_else(|| line.strip_prefix("ShdPnd:"))
    });
    sets.filter_map(|set| u64::from_str_radix(set.trim(), 16).ok())
        .any(|set| set & KILLED != 0)
}

/// A limit for the total time of waiting.
#[derive(Debug, Clone, Copy)]
pub struct Patience(Instant);

#[expect(
    clippy::disallowed_methods,
    reason = "for those who wait before there is an engine, or without one"
)]
impl Patience {
    /// This long from now on.
    #[must_use]
    pub fn of(length: Duration) -> Self {
        Self(Instant::now() + length)
    }

    /// What is left of it.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Waits a moment, or what is left.
    pub fn pause(self, length: Duration) {
        _ = wait(&mut [], length.min(self.left()));
    }

    /// Waits until a process has ended and closed all its files, or until the time is up.
    pub fn wait_for_end_of(self, pid: u32) {
        match pidfd(pid) {
            Ok(process) => {
                _ = wait(
                    &mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)],
                    self.left(),
                );
            }
            // Gone already.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            // Forbidden here: whoever waits looks again.
            Err(_) => self.pause(Duration::from_millis(5)),
        }
    }
}

fn wait(descriptors: &mut [PollFd], length: Duration) -> nix::Result<()> {
    // A part of a millisecond more, so that what was waited for has come.
    let timeout = PollTimeout::try_from(length.saturating_add(Duration::from_millis(1)))
        .unwrap_or(PollTimeout::MAX);
    match poll(descriptors, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A descriptor of a process, which becomes readable when that has ended.
pub(crate) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes two numbers and touches no memory.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let descriptor = RawFd::try_from(descriptor)
        .ok()
        .filter(|descriptor| *descriptor >= 0)
        .ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made it for this process, and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[cfg(test)]
#[path = "../tests/it/limit.rs"]
pub(crate) mod limit;

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::Pid;

    use super::*;

    /// A process that waits until its standard input is closed.
    fn sleeper() -> (Child, Pid) {
        limit::begin();
        let child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        (child, pid)
    }

    #[test]
    fn a_process_is_seen_as_it_is() {
        let (mut child, pid) = sleeper();
        let seen = Process::look(child.id()).unwrap();
        assert_eq!(
            (seen.pid, seen.parent, seen.ending),
            (child.id(), std::process::id(), false)
        );
        assert!(!seen.is_stopped() && !seen.is_frozen());
        kill(pid, Signal::SIGSTOP).unwrap();
        assert!(matches!(
            waitpid(pid, Some(WaitPidFlag::WUNTRACED)),
            Ok(WaitStatus::Stopped(..))
        ));
        let seen = Process::look(child.id()).unwrap();
        assert!(seen.is_stopped() && !seen.ending, "{seen:?}");
        // Killed and not collected: from now on it is ending, and stays so.
        kill(pid, Signal::SIGKILL).unwrap();
        assert!(Process::look(child.id()).unwrap().ending);
        Patience::of(Duration::from_secs(10)).wait_for_end_of(child.id());
        let seen = Process::look(child.id()).unwrap();
        assert!(seen.ending && seen.state == 'Z', "{seen:?}");
        child.wait().unwrap();
        assert_eq!(Process::look(child.id()), None);
        let patience = Patience::of(Duration::from_secs(10));
        patience.wait_for_end_of(child.id());
        assert!(
            patience.left() > Duration::from_secs(9),
            "who is gone is not waited for"
        );
    }

    #[test]
    fn patience_has_an_end() {
        let (mut child, _) = sleeper();
        let patience = Patience::of(Duration::from_millis(20));
        patience.wait_for_end_of(child.id());
        assert_eq!(patience.left(), Duration::ZERO);
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
