//! A daemon with virtual hosts in several network namespaces: for each of them a keeper and an
//! engine of their own, which live there. This process only starts and ends them.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getppid, pipe2};
use sd_notify::NotifyState;
use tracing::{error, info, warn};

use crate::backoff::Backoff;
use crate::config::{Config, Share};
use crate::control;
use crate::host::clock;
use crate::host::kernel::netns;
use crate::host::services::notify::notify;
use crate::keeper;
use crate::ledger::{Instance, Origin, instance_name};
use crate::telemetry::stderr;
use crate::types::Timestamp;

/// How often namespaces are looked for: that one was deleted or made anew, nobody reports.
const LOOK: Duration = Duration::from_millis(250);
/// Pauses before a keeper that was killed is started again.
const RESTARTS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
/// A keeper that ran for this long was not killed for the way it started.
const HEALTHY: Duration = Duration::from_secs(60);
/// Exit status if a keeper was killed while it was stopping (EX_SOFTWARE of sysexits.h).
const KILLED: u8 = 70;
/// The variable by which an engine would report on its own that it is ready.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// The daemon of one namespace.
struct Part {
    share: Share,
    /// Its keeper, while it runs.
    pid: Option<Pid>,
    /// The namespace in which it was started.
    inode: u64,
    /// It was told to end because its namespace is gone, or nothing of the configuration is there.
    leaves: bool,
    /// No virtual host is there any more.
    is_dropped: bool,
    /// Somebody was told that there is no such namespace.
    is_missed: bool,
    restarts: Backoff,
    /// When it was last started.
    began: Timestamp,
    not_before: Timestamp,
}

impl Part {
    fn new(share: &Share) -> Self {
        Self {
            share: share.clone(),
            pid: None,
            inode: 0,
            leaves: false,
            is_dropped: false,
            is_missed: false,
            restarts: RESTARTS,
            began: Timestamp::ZERO,
            not_before: Timestamp::ZERO,
        }
    }

    /// Has it end.
    fn leave(&mut self) {
        self.leaves = true;
        if let Some(pid) = self.pid {
            _ = kill(pid, Signal::SIGTERM);
        }
    }

    /// It is not started again before the end of this pause, which grows unless it ran for a while.
    fn pause(&mut self) -> Duration {
        let now = clock::now();
        if now.since(self.began) > HEALTHY {
            self.restarts = RESTARTS;
        }
        let pause = self.restarts.pause();
        self.not_before = now + pause;
        pause
    }
}

struct Daemons<'a> {
    config: Config,
    path: &'a Path,
    program: PathBuf,
    signals: SignalFd,
    /// A keeper writes to the second end when another configuration is in use.
    reloads: (OwnedFd, OwnedFd),
    all: Vec<Part>,
    /// Why it ends, once it does: the exit status.
    end: Option<u8>,
    is_ready: bool,
}

/// Runs a daemon for each of the configuration's shares until they have all ended.
pub(super) fn run(config: Config, path: &Path) -> io::Result<ExitCode> {
    let mut mask = keeper::group_signals();
    mask.add(Signal::SIGCHLD);
    mask.thread_block()?;
    let mut daemons = Daemons {
        all: config.all_shares.iter().map(Part::new).collect(),
        config,
        path,
        reloads: pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?,
        program: std::env::current_exe()?,
        signals: SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
        end: None,
        is_ready: false,
    };
    daemons.work()
}

/// Enters the namespace of this descriptor: the first thing that a part's keeper does.
///
/// # Errors
/// It is no network namespace, or we may not.
pub(super) fn enter(number: u32) -> io::Result<()> {
    // The kernel ends it in an orderly way if this process dies.
    let parent = getppid();
    prctl::set_pdeathsig(Signal::SIGTERM)?;
    if getppid() != parent {
        return Err(io::Error::other("the parent process is gone"));
    }
    netns::enter(Path::new(&format!("/proc/self/fd/{number}")))
}

/// The end of a pipe that a part's keeper writes to: see [`keeper::ChildSettings::on_reload`].
///
/// # Errors
/// There is no such descriptor.
pub(super) fn told_of_reloads(number: u32) -> io::Result<File> {
    File::options()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(format!("/proc/self/fd/{number}"))
}

/// The namespace that this file stands for, and its number; `None` if there is none.
fn namespace(share: &Share) -> Option<(File, u64)> {
    let there = File::open(share.path()).ok()?;
    let is_namespace = rustix::fs::fstatfs(&there).is_ok_and(|fs| fs.f_type == libc::NSFS_MAGIC);
    let inode = there.metadata().ok()?.ino();
    is_namespace.then_some((there, inode))
}

impl Daemons<'_> {
    fn work(&mut self) -> io::Result<ExitCode> {
        let watchdog = sd_notify::watchdog_enabled().is_some();
        loop {
            self.look();
            self.tell_ready();
            if watchdog {
                _ = notify(&NotifyState::Watchdog);
            }
            stderr::flush();
            if let Some(status) = self.end
                && self.all.iter().all(|part| part.pid.is_none())
            {
                return Ok(ExitCode::from(status));
            }
            self.wait()?;
            self.hear_signals()?;
            self.hear_reloads();
            self.reap()?;
        }
    }

    fn wait(&self) -> io::Result<()> {
        let timeout = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::MAX);
        let wakes = [self.signals.as_fd(), self.reloads.0.as_fd()];
        let mut fds = wakes.map(|wakes| PollFd::new(wakes, PollFlags::POLLIN));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Starts what can be started, and ends what has lost its namespace.
    fn look(&mut self) {
        let is_ending = self.end.is_some();
        for at in 0..self.all.len() {
            let Some(part) = self.all.get_mut(at) else {
                continue;
            };
            let there = namespace(&part.share);
            let is_same = there
                .as_ref()
                .is_some_and(|(_, inode)| *inode == part.inode);
            match part.pid {
                Some(_) if !part.leaves && !is_same => {
                    warn!(netns = %part.share, "The network namespace is gone");
                    part.leave();
                }
                Some(_) => {}
                None if is_ending || clock::now() < part.not_before => {}
                None => match there {
                    Some((namespace, inode)) => {
                        (part.inode, part.leaves, part.is_missed) = (inode, false, false);
                        part.began = clock::now();
                        match spawn(&self.program, &part.share, &namespace, &self.reloads.1) {
                            Ok(pid) => {
                                info!(netns = %part.share, pid = pid.as_raw(), "Started the daemon of a network namespace");
                                part.pid = Some(pid);
                            }
                            // The others go on.
                            Err(error) => {
                                let pause = part.pause();
                                error!(netns = %part.share, %error, restart_ms = pause.as_millis(), "Could not start the daemon of a network namespace");
                            }
                        }
                    }
                    None if !part.is_missed => {
                        warn!(netns = %part.share, "Waiting for a network namespace that does not exist yet");
                        part.is_missed = true;
                    }
                    None => {}
                },
            }
        }
    }

    /// The daemon is ready when all parts that can run listen to operators.
    fn tell_ready(&mut self) {
        let run_dir = &self.config.daemon.run_dir;
        let (path, boot) = (self.path, Origin::current());
        let listens = |part: &Part| {
            let Ok(here) = boot.as_ref() else { return true };
            let origin = Origin {
                netns: part.inode,
                ..*here
            };
            let name = instance_name(path, &part.share.to_string());
            let socket = control::socket_path(&Instance::directory(run_dir, &name, origin));
            UnixStream::connect(socket).is_ok()
        };
        if !self.is_ready
            && self
                .all
                .iter()
                .filter(|part| part.pid.is_some())
                .all(listens)
        {
            self.is_ready = notify(&NotifyState::Ready);
        }
    }

    fn hear_signals(&mut self) -> io::Result<()> {
        while let Some(info) = self.signals.read_signal()? {
            let number = i32::try_from(info.ssi_signo).unwrap_or_default();
            let Ok(signal) = Signal::try_from(number) else {
                continue;
            };
            if signal == Signal::SIGCHLD {
                continue;
            }
            self.tell_all(signal);
            let ends = matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT)
                || (signal == Signal::SIGHUP && self.config.daemon.hangup_stops);
            if ends {
                self.end.get_or_insert(0);
            }
        }
        Ok(())
    }

    /// Another configuration is in use somewhere: what it says of network namespaces counts.
    fn hear_reloads(&mut self) {
        let mut told = false;
        while matches!(nix::unistd::read(&self.reloads.0, &mut [0; 64]), Ok(1..)) {
            told = true;
        }
        if !told || self.end.is_some() {
            return;
        }
        if let Ok(loaded) = Config::load(self.path) {
            self.take(loaded.config);
        } else {
            // It was good a moment ago, and will be told of again when it is once more.
            warn!("The configuration was changed again while it was being reloaded");
        }
    }

    fn take(&mut self, config: Config) {
        let wanted = &config.all_shares;
        if wanted.contains(&Share::All) {
            // Refused everywhere.
            return;
        }
        for part in &mut self.all {
            let is_dropped = !wanted.contains(&part.share);
            if is_dropped && !part.is_dropped {
                info!(netns = %part.share, "No virtual host is in a network namespace any more: ending the daemon there");
                part.leave();
            }
            part.is_dropped = is_dropped;
        }
        for share in wanted {
            if !self.all.iter().any(|part| part.share == *share) {
                self.all.push(Part::new(share));
            }
        }
        self.forget_dropped();
        self.config = config;
    }

    fn forget_dropped(&mut self) {
        self.all
            .retain(|part| part.pid.is_some() || !part.is_dropped);
    }

    fn tell_all(&self, signal: Signal) {
        for pid in self.all.iter().filter_map(|part| part.pid) {
            _ = kill(pid, signal);
        }
    }

    fn reap(&mut self) -> io::Result<()> {
        loop {
            let status = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            self.ended(status);
        }
    }

    fn ended(&mut self, status: WaitStatus) {
        let Some(pid) = status.pid() else { return };
        let all = &mut self.all;
        let Some(part) = all.iter_mut().find(|part| part.pid == Some(pid)) else {
            return;
        };
        part.pid = None;
        let code = match status {
            WaitStatus::Exited(_, code) => u8::try_from(code).unwrap_or(KILLED),
            _ => KILLED,
        };
        if part.leaves {
            info!(netns = %part.share, "The daemon of a network namespace has ended with it");
            self.forget_dropped();
        } else if let Some(end) = &mut self.end {
            *end = (*end).max(code);
        } else if matches!(status, WaitStatus::Exited(..)) && (code == 0 || !self.is_ready) {
            // As if it were the only one.
            error!(netns = %part.share, status = code, "The daemon of a network namespace has ended: ending the others");
            self.end = Some(code);
            self.tell_all(Signal::SIGTERM);
        } else {
            // One that cannot begin anew, for example because the file is being edited just when a
            // namespace is made again, is no reason to end the others.
            let pause = part.pause();
            error!(netns = %part.share, status = code, restart_ms = pause.as_millis(), "The daemon of a network namespace failed; restarting it");
        }
    }
}

/// Starts this program again, with the same arguments, for one share in its namespace.
fn spawn(program: &Path, share: &Share, namespace: &File, on_reload: &OwnedFd) -> io::Result<Pid> {
    let flags = |flag| {
        fcntl(namespace, FcntlArg::F_SETFD(flag))?;
        fcntl(on_reload, FcntlArg::F_SETFD(flag))
    };
    let mut words: Vec<OsString> = vec!["--share".into(), share.to_string().into()];
    words.extend(["--enter".into(), namespace.as_raw_fd().to_string().into()]);
    words.extend([
        "--on-reload".into(),
        on_reload.as_raw_fd().to_string().into(),
    ]);
    let mut command = Command::new(program);
    command
        .arg0("carpd")
        .args(std::env::args_os().skip(1))
        .args(words)
        .env_remove(NOTIFY_SOCKET)
        // What a terminal sends to all comes from here.
        .process_group(0);
    flags(FdFlag::empty())?;
    let spawned = command.spawn();
    flags(FdFlag::FD_CLOEXEC)?;
    let pid = i32::try_from(spawned?.id()).map_err(io::Error::other)?;
    Ok(Pid::from_raw(pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_share_is_an_instance_of_its_own() {
        let name = |share: &str| instance_name(Path::new("/etc/carpd/web.toml"), share);
        assert!(name("").starts_with("web-"));
        assert!(name("blue").starts_with("web.blue-"));
        assert!(name("/proc/7/ns/net").starts_with("web.proc-7-ns-net-"));
        let all = ["", ".", "blue", "/proc/7/ns/net", "/run/netns/blue"].map(name);
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "{all:?}");
    }

    #[test]
    fn only_a_namespace_counts_as_one() {
        assert!(namespace(&Share::Here).is_some());
        let file = tempfile::NamedTempFile::new().unwrap();
        let share = |path: &str| Share::Netns(path.parse().unwrap());
        // As `ip netns add` makes it first.
        assert!(namespace(&share(file.path().to_str().unwrap())).is_none());
        assert!(namespace(&share("/run/netns/carpd-none")).is_none());
    }
}
