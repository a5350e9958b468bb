//! The keeper's loop: requests, signals, ended children.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tracing::{debug, error, warn};

use super::ear::Ear;
use super::message::{ChildId, HowEnded, Predecessor, Report, Request, Role};
use super::shortage::Shortage;
use super::spawn::Told;
use super::versions::{Settled, Version, Versions};
use super::will::Reader;
use super::{Charge, SELF, descriptors, estate, spawn, wire};
use crate::backoff::Backoff;
use crate::host::helper::RETIRE;
use crate::host::{clock, courier, memory};
use crate::types::Timestamp;

/// The most children at a time; an engine that wants more is out of control.
const MAX_CHILDREN: usize = 4096;

/// Pause before an engine that died is started again; doubled each time.
const RESTARTS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
/// An engine that ran for so long died of something new.
const RESTART_HEALTHY: Duration = Duration::from_secs(60);
/// How often the heartbeat is looked at.
const PULSE: Duration = Duration::from_millis(250);
/// An engine in good order lets go at once of what goes by the configuration before, but for what
/// is waited for.
const OUTDATED_GRACE: Duration = Duration::from_secs(5);
/// Exit status of a Rust program that panicked.
const PANIC: i32 = 101;
/// How that is called.
const PANICKED: &str = "a panic";
/// How the kernel ends whom it finds no memory for, and an operator whom he wants gone.
const KILLED: &str = "SIGKILL";
/// How that is called where the kernel has just done so.
const WITHOUT_MEMORY: &str = "SIGKILL, most likely for lack of memory";
/// Exit status if the engine died and may not be started again (EX_SOFTWARE of sysexits.h).
const ACCIDENT: u8 = 70;

/// A keeper at work.
struct Keeper<'a> {
    /// What helpers and readers are told.
    told: Told<'a>,
    signals: SignalFd,
    /// To the engine; `None` once that is gone.
    socket: Option<OwnedFd>,
    engine: Option<Pid>,
    children: BTreeMap<ChildId, Child>,
    /// The file of the configuration, and the copies by which helpers and readers go.
    file: Option<&'a Path>,
    versions: Versions,
    /// What they log.
    ear: Ear,
    /// Reports that the socket had no room for.
    outbox: VecDeque<(Report, Option<UnixStream>)>,
    /// What is to be done when the engine dies, and its sign of life.
    will: Option<Reader>,
    /// It was told to end: it is not started again.
    stopping: bool,
    /// How often the service manager wants to hear that all is well.
    watchdog: Option<Duration>,
    /// It hung for so long and was killed for it.
    hung: Option<Duration>,
    /// When its heartbeat was last looked at.
    felt: Timestamp,
    /// Until then it is not judged.
    spared_until: Timestamp,
    /// Whether the kernel kills processes for lack of memory.
    shortage: Shortage,
}

/// A child that has not been collected: its number is its own.
#[derive(Debug, Clone, Copy)]
struct Child {
    pid: Pid,
    role: Role,
    /// Of the configuration, if it goes by one.
    version: Option<u64>,
    /// Its configuration has been out of use since then.
    outdated: Option<Timestamp>,
}

/// How an engine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By its own decision, with this status.
    Orderly(u8),
    /// By a signal, a panic, or silence: how, for the log.
    Accident(&'static str),
}

impl End {
    const fn code(self) -> u8 {
        match self {
            Self::Orderly(code) => code,
            Self::Accident(_) => ACCIDENT,
        }
    }
}

/// Starts the engine and stays until it has ended in good order; starts it again when it died by
/// accident.
pub(super) fn run(program: &Path, arguments: &[OsString], charge: &Charge<'_>) -> io::Result<u8> {
    let told = Told {
        arguments: charge.told,
        handed: charge.handed.map(AsFd::as_fd),
        couriers: Vec::new(),
    };
    let mut keeper = Keeper::new(prepare()?, None, told)?;
    keeper.file = charge.file;
    let mut restarts = RESTARTS;
    let mut before = None;
    loop {
        let (ours, theirs) = wire::pair()?;
        if let Some(before) = before.take() {
            wire::send(&ours, &Report::Before(before), None)?;
        }
        let began = clock::now();
        keeper.shortage.look(began);
        if let Some(file) = charge.file {
            keeper.versions.begin(file);
        }
        keeper.told.couriers = couriers((charge.ca_file)());
        let handed = keeper.told.handed;
        keeper.engine = Some(spawn::engine(program, arguments, theirs, handed)?);
        keeper.socket = Some(ours);
        // It was the command line until now, and only waits from here on.
        memory::give_back();
        let last = keeper.stopping;
        keeper.pass_on_stop();
        let end = keeper.work()?;
        let (died, hung) = (clock::now(), keeper.hung);
        keeper.bury();
        let End::Accident(how) = end else {
            return Ok(end.code());
        };
        if last {
            return Ok(end.code());
        }
        if clock::now().since(began) > RESTART_HEALTHY {
            restarts = RESTARTS;
        }
        let by_kernel = how == KILLED && hung.is_none() && keeper.shortage.has_struck();
        let how = if by_kernel { WITHOUT_MEMORY } else { how };
        before = Some(Predecessor {
            at: died,
            how: in_words(how, hung),
        });
        if keeper.stopping {
            error!(
                how,
                "The engine died before it had stopped; starts it again to undo what it left"
            );
            continue;
        }
        let pause = restarts.pause();
        error!(
            how,
            restart_ms = pause.as_millis(),
            "The engine died; starts it again"
        );
        keeper.sleep(pause)?;
    }
}

/// The arguments of couriers: theirs is the file of certificates that the configuration names, and
/// not what the engine asks for.
fn couriers(ca_file: Option<PathBuf>) -> Vec<OsString> {
    let file = ca_file.map(PathBuf::into_os_string);
    std::iter::once(courier::OF_DAEMON.into())
        .chain(file)
        .collect()
}

/// How an engine died, for whoever asks why its virtual hosts changed their state.
fn in_words(how: &str, hung: Option<Duration>) -> String {
    match hung {
        Some(silent) => format!(
            "its engine hung for {:.1} s, and its keeper killed it",
            silent.as_secs_f64()
        ),
        None if how == PANICKED => format!("its engine died of {how}"),
        None => format!("its engine was killed by {how}"),
    }
}

/// Serves the process at the other end of standard input until it closes that.
pub(super) fn serve() -> io::Result<()> {
    let signals = prepare()?;
    // The one who started this wants it gone with itself, whatever happens to the socket.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let mut keeper = Keeper::new(signals, Some(socket), Told::default())?;
    let result = keeper.work();
    keeper.kill_all();
    result.map(|_| ())
}

fn prepare() -> io::Result<SignalFd> {
    descriptors::close_on_exec()?;
    let mut signals = spawn::group_signals();
    signals.thread_block()?;
    signals.add(Signal::SIGCHLD);
    signals.thread_block()?;
    Ok(SignalFd::with_flags(
        &signals,
        SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
    )?)
}

impl<'a> Keeper<'a> {
    fn new(signals: SignalFd, socket: Option<OwnedFd>, told: Told<'a>) -> io::Result<Self> {
        let watchdog = sd_notify::watchdog_enabled().map(|interval| interval / 2);
        Ok(Self {
            told,
            signals,
            socket,
            engine: None,
            children: BTreeMap::new(),
            ear: Ear::open()?,
            file: None,
            versions: Versions::default(),
            outbox: VecDeque::new(),
            will: None,
            stopping: false,
            watchdog,
            hung: None,
            felt: clock::now(),
            spared_until: Timestamp::ZERO,
            shortage: Shortage::here(),
        })
    }

    /// Until the engine has ended.
    fn work(&mut self) -> io::Result<End> {
        loop {
            let patience = self
                .engine
                .map(|_| self.watchdog.map_or(PULSE, |interval| interval.min(PULSE)));
            let (signalled, readable) = self.wait(patience)?;
            // Before the end of whoever said it.
            self.listen();
            if signalled && let Some(end) = self.heed_signals()? {
                return Ok(end);
            }
            if readable {
                self.serve_requests();
            }
            self.flush();
            self.end_outdated();
            self.feel_the_pulse();
            if self.socket.is_none() && self.engine.is_none() {
                return Ok(End::Orderly(0));
            }
        }
    }

    /// An engine that no longer comes round its loop is killed; one that does lets the service
    /// manager know.
    fn feel_the_pulse(&mut self) {
        let Some(beat) = self.will.as_ref().and_then(Reader::heartbeat) else {
            return;
        };
        let Some(engine) = self.engine else { return };
        let now = clock::now();
        self.shortage.look(now);
        let slept = now.since(self.felt) > PULSE * 4;
        self.felt = now;
        if slept {
            // Frozen together with the engine: it deserves the time to come round once more.
            self.spared_until = now + beat.limit;
        }
        if now < self.spared_until {
            return;
        }
        let silent = now.since(beat.at);
        if silent <= beat.limit {
            if self.watchdog.is_some() {
                _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
            }
        } else if self.hung.is_none() {
            let doing = self
                .will
                .as_ref()
                .and_then(Reader::step)
                .unwrap_or_else(|| "nothing that it notes".to_owned());
            error!(
                silent_ms = silent.as_millis(),
                doing, "The engine hangs; kills it"
            );
            self.hung = Some(silent);
            forward(engine, Signal::SIGKILL);
        }
    }

    /// After the engine's end: lets go in its name, then ends its children.
    fn bury(&mut self) {
        if let Some(will) = self.will.take() {
            estate::settle(&will.wills());
        }
        self.kill_all();
        self.outbox.clear();
        (self.engine, self.socket, self.hung) = (None, None, None);
    }

    /// Tells an engine that was just started to stop, if that is all it was started for: what its
    /// predecessor left is undone, and its end is an orderly one. The signal waits until it is
    /// ready for it.
    fn pass_on_stop(&self) {
        if let Some(engine) = self.engine.filter(|_| self.stopping) {
            forward(engine, Signal::SIGTERM);
        }
    }

    /// Waits before the next start, unless it was told to end meanwhile.
    fn sleep(&mut self, pause: Duration) -> io::Result<()> {
        let until = clock::now() + pause;
        while !self.stopping && clock::now() < until {
            self.wait(Some(until.since(clock::now()).min(PULSE)))?;
            if self.watchdog.is_some() {
                // Waiting is what it should do now.
                _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
            }
            self.heed_signals()?;
        }
        Ok(())
    }

    /// Writes what children logged into the log.
    fn listen(&self) {
        let role = |pid| {
            let mut children = self.children.values();
            children
                .find(|child| child.pid == pid)
                .map(|child| child.role)
        };
        self.ear.listen(role);
    }

    /// Waits for something to happen: signals, requests, a child's log; at most so long.
    fn wait(&self, patience: Option<Duration>) -> io::Result<(bool, bool)> {
        let [trusted, others] = self.ear.as_fds();
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(trusted, PollFlags::POLLIN),
            PollFd::new(others, PollFlags::POLLIN),
        ];
        if let Some(socket) = &self.socket {
            let write = if self.outbox.is_empty() {
                PollFlags::empty()
            } else {
                PollFlags::POLLOUT
            };
            fds.push(PollFd::new(socket.as_fd(), PollFlags::POLLIN | write));
        }
        // A part of a millisecond more, so that what was waited for has come.
        let timeout = patience.map_or(PollTimeout::NONE, |patience| {
            PollTimeout::try_from(patience.saturating_add(Duration::from_millis(1)))
                .unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(err) => return Err(err.into()),
        }
        let any = |at: usize| fds.get(at).and_then(PollFd::any).unwrap_or(false);
        Ok((any(0), any(3)))
    }

    /// Forwards signals to the engine and collects ended children. Tells if the engine ended.
    fn heed_signals(&mut self) -> io::Result<Option<End>> {
        while let Some(info) = self.signals.read_signal()? {
            let Ok(signal) = i32::try_from(info.ssi_signo)
                .map_err(|_| ())
                .and_then(|n| Signal::try_from(n).map_err(|_| ()))
            else {
                continue;
            };
            self.stopping |= matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT);
            // Without an engine of its own the keeper ends with its socket, not by a signal to the
            // group.
            if let Some(engine) = self.engine
                && signal != Signal::SIGCHLD
            {
                forward(engine, signal);
            }
        }
        self.collect()
    }

    fn collect(&mut self) -> io::Result<Option<End>> {
        loop {
            let (pid, how, end) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, PANIC)) => {
                    (pid, HowEnded::Status(PANIC), End::Accident(PANICKED))
                }
                Ok(WaitStatus::Exited(pid, status)) => (
                    pid,
                    HowEnded::Status(status),
                    End::Orderly(u8::try_from(status).unwrap_or(u8::MAX)),
                ),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (
                    pid,
                    HowEnded::Signal(signal.as_str().to_owned()),
                    End::Accident(signal.as_str()),
                ),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(err) => return Err(err.into()),
            };
            if self.engine == Some(pid) {
                debug!(%how, "The engine ended");
                return Ok(Some(end));
            }
            let ended = self
                .children
                .iter()
                .find(|(_, child)| child.pid == pid)
                .map(|(id, _)| *id);
            if let Some(id) = ended {
                self.children.remove(&id);
                self.outbox.push_back((Report::Exited(id, how), None));
            }
        }
    }

    fn serve_requests(&mut self) {
        while let Some(socket) = &self.socket {
            match wire::receive::<Request>(socket) {
                Ok(Some((Request::Will, descriptor))) => self.will = descriptor.map(Reader::new),
                Ok(Some((request, _))) => self.serve_request(request),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Ok(None) => self.socket = None,
                // The engine ended with a report of ours unread: that is its right.
                Err(err) if err.kind() == io::ErrorKind::ConnectionReset => self.socket = None,
                Err(err) => {
                    warn!(%err, "Lost the engine's socket");
                    self.socket = None;
                }
            }
        }
    }

    fn serve_request(&mut self, request: Request) {
        match request {
            Request::Spawn(id, _)
                if self.children.len() >= MAX_CHILDREN || self.children.contains_key(&id) =>
            {
                self.outbox
                    .push_back((Report::Failed(id, Errno::EAGAIN as i32), None));
            }
            Request::Spawn(id, role) => match self.start(role) {
                Ok((child, socket)) => {
                    self.children.insert(id, child);
                    self.outbox.push_back((Report::Spawned(id), Some(socket)));
                }
                Err(err) => self.outbox.push_back((
                    Report::Failed(id, err.raw_os_error().unwrap_or(Errno::EIO as i32)),
                    None,
                )),
            },
            // Taken where its descriptor is.
            Request::Will => {}
            Request::Reloaded(accepted) => {
                let settled = self.versions.settle(accepted);
                self.settle(settled);
            }
            Request::Kill(id) => {
                if let Some(child) = self.children.get(&id) {
                    forward(child.pid, Signal::SIGKILL);
                }
            }
        }
        self.flush();
    }

    fn start(&mut self, role: Role) -> io::Result<(Child, UnixStream)> {
        let stderr = self.ear.stderr(role)?;
        let version = match (role, self.file) {
            (Role::NewReader, Some(file)) => self.versions.anew(file, clock::now()),
            (Role::NewHelper, _) => self.versions.newest(),
            (Role::Helper | Role::Reader, _) => self.versions.in_use(),
            _ => None,
        };
        let text = version.and_then(Version::text);
        let (pid, socket) = spawn::child(Path::new(SELF), role, &self.told, text, stderr)?;
        let child = Child {
            pid,
            role,
            version: version.map(|version| version.number),
            outdated: None,
        };
        Ok((child, socket))
    }

    /// What goes by a configuration that is not in use ends, whether or not the engine lets go of
    /// it.
    fn settle(&mut self, settled: Option<Settled>) {
        let now = clock::now();
        for child in self.children.values_mut() {
            match (settled, child.version) {
                (Some(Settled::InUse(number)), Some(version)) if version < number => {
                    child.outdated.get_or_insert(now);
                }
                (Some(Settled::Dropped(number)), Some(version)) if version > number => {
                    forward(child.pid, Signal::SIGKILL);
                }
                _ => {}
            }
        }
    }

    /// A helper may be in the middle of something: it takes no more orders, and ends when it has
    /// done that.
    fn end_outdated(&mut self) {
        let now = clock::now();
        if let Some(settled) = self.versions.settle_overdue(now) {
            warn!("The engine does not say what came of a reload: its configuration is in use");
            self.settle(Some(settled));
        }
        for child in self.children.values() {
            let is_over = |since| now.since(since) > OUTDATED_GRACE;
            if !child.outdated.is_some_and(is_over) {
                continue;
            }
            if matches!(child.role, Role::Helper | Role::NewHelper) {
                forward(child.pid, RETIRE);
            } else {
                forward(child.pid, Signal::SIGKILL);
            }
        }
    }

    /// Sends what there is room for.
    fn flush(&mut self) {
        let Some(socket) = &self.socket else {
            self.outbox.clear();
            return;
        };
        while let Some((report, descriptor)) = self.outbox.front() {
            match wire::send(socket, report, descriptor.as_ref().map(AsFd::as_fd)) {
                Ok(()) => drop(self.outbox.pop_front()),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return,
                Err(err) => {
                    debug!(%err, "The engine no longer listens");
                    self.outbox.clear();
                }
            }
        }
    }

    /// Ends every child and waits for it: SIGKILL is certain.
    fn kill_all(&mut self) {
        for child in self.children.values() {
            forward(child.pid, Signal::SIGKILL);
        }
        self.listen();
        for child in std::mem::take(&mut self.children).into_values() {
            while waitpid(child.pid, None) == Err(Errno::EINTR) {}
        }
    }
}

fn forward(pid: Pid, signal: Signal) {
    if let Err(err) = kill(pid, signal)
        && err != Errno::ESRCH
    {
        warn!(%pid, %signal, %err, "Could not send a signal");
    }
}
