//! The keeper's loop: requests, signals, children that ended.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
use sd_notify::NotifyState;
use tracing::{debug, error, warn};

use super::child_log::ChildLog;
use super::config_copies::{ConfigCopies, ConfigCopy, Decision};
use super::failsafe::Reader;
use super::message::{ChildId, Failure, HowEnded, Predecessor, Report, Request, Role};
use super::oom::OomWatch;
use super::spawn::ChildArguments;
use super::{ChildSettings, OVERSLEPT, cleanup, descriptors, spawn, wire};
use crate::backoff::Backoff;
use crate::host::children::helper::RETIRE;
use crate::host::children::http_worker;
use crate::host::clock;
use crate::host::kernel::{memory, realtime};
use crate::host::services::notify::notify;
use crate::programs::Programs;
use crate::telemetry::stderr;
use crate::types::{Name, Timestamp};

/// The most children at one time. An engine that asks for more is out of control.
const MAX_CHILDREN: usize = 4096;

/// Pauses before a crashed engine is restarted; each is twice the one before.
const RESTARTS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
/// An engine that ran for this long crashed for a new reason: the pauses start from the shortest
/// again.
const RESTART_HEALTHY: Duration = Duration::from_secs(60);
/// How often the heartbeat is checked.
const HEARTBEAT_CHECK: Duration = Duration::from_millis(250);
/// A healthy engine releases the children of the previous configuration at once, except those that
/// it still waits for. After this time the keeper ends them.
const OUTDATED_GRACE: Duration = Duration::from_secs(5);
/// Exit status of a Rust program that panicked.
const PANIC: i32 = 101;
/// What the log calls that.
const PANICKED: &str = "a panic";
/// How the kernel ends a process because memory ran out, and an operator one that must go.
const KILLED: &str = "SIGKILL";
/// What the log calls that if the kernel's counter says that it was the kernel.
const OUT_OF_MEMORY: &str = "SIGKILL, most likely because memory ran out";
/// Exit status if the engine crashed and may not be restarted (EX_SOFTWARE of sysexits.h).
const CRASH_STATUS: u8 = 70;

/// The state of a running keeper.
struct Keeper<'a> {
    /// What it executes.
    programs: &'a Programs,
    /// What children are started with.
    arguments: ChildArguments<'a>,
    signals: SignalFd,
    /// The connection to the engine; `None` once it is closed.
    socket: Option<OwnedFd>,
    engine: Option<Pid>,
    children: BTreeMap<ChildId, Child>,
    /// The configuration file, and the copies of it that helpers and readers read.
    config_file: Option<&'a Path>,
    on_reload: Option<BorrowedFd<'a>>,
    copies: ConfigCopies,
    /// What the children log.
    child_log: ChildLog,
    /// Reports for which the socket had no room yet.
    outbox: VecDeque<(Report, Option<UnixStream>)>,
    /// What to do if the engine crashes, and the engine's heartbeat.
    failsafe: Option<Reader>,
    /// A stop was asked for: the engine is not restarted after it.
    stopping: bool,
    /// How often the service manager expects a sign that the daemon works.
    watchdog: Option<Duration>,
    /// The engine was silent for this long and was killed for it.
    hung: Option<Duration>,
    /// When the heartbeat was last checked.
    checked_at: Timestamp,
    /// Until then a missing heartbeat is not held against the engine.
    grace_until: Timestamp,
    /// Whether the kernel kills processes because memory ran out.
    oom: OomWatch,
}

/// A child that has not been reaped: nobody else can have its process id.
#[derive(Debug, Clone, Copy)]
struct Child {
    pid: Pid,
    role: Role,
    /// The number of the configuration copy that it reads, if any.
    copy: Option<u64>,
    /// Since when that copy is no longer in use.
    outdated: Option<Timestamp>,
}

/// How an engine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It exited with this status.
    Exit(u8),
    /// It was killed by a signal, or panicked: how, for the log.
    Crash(&'static str),
}

impl End {
    const fn code(self) -> u8 {
        match self {
            Self::Exit(code) => code,
            Self::Crash(_) => CRASH_STATUS,
        }
    }
}

/// Starts the engine, restarts it whenever it crashes, and returns when it has exited.
pub(super) fn run(
    programs: &Programs,
    arguments: &[OsString],
    settings: &ChildSettings<'_>,
) -> io::Result<u8> {
    let for_children = ChildArguments {
        of_helpers: settings.arguments,
        inherited: settings.inherited.map(AsFd::as_fd),
        of_http_workers: Vec::new(),
    };
    let mut keeper = Keeper::new(programs, prepare()?, None, for_children)?;
    keeper.config_file = settings.config_file;
    keeper.on_reload = settings.on_reload;
    let mut restarts = RESTARTS;
    let (mut before, mut died_young) = (None, false);
    loop {
        let (ours, theirs) = wire::pair()?;
        if let Some(before) = before.take() {
            wire::send(&ours, &Report::Before(before), None)?;
        }
        let began = clock::now();
        keeper.oom.sample(began);
        if let Some(file) = settings.config_file {
            keeper.copies.engine_starts(file, died_young);
        }
        let copy = keeper.copies.in_use();
        let ca_file = copy.and_then(|copy| ca_file(settings, copy));
        let engine = spawn::engine(
            &programs.daemon,
            arguments,
            theirs,
            copy.and_then(ConfigCopy::text),
            keeper.arguments.inherited,
        )?;
        keeper.engine = Some(engine);
        keeper.arguments.of_http_workers = http_worker_arguments(ca_file);
        keeper.socket = Some(ours);
        // This process parsed the command line and the configuration; from here on it only waits.
        memory::give_back();
        let last = keeper.stopping;
        keeper.forward_stop();
        let end = keeper.work()?;
        let (died, hung) = (clock::now(), keeper.hung);
        keeper.cleanup_after_engine();
        let End::Crash(how) = end else {
            return Ok(end.code());
        };
        if last {
            return Ok(end.code());
        }
        died_young = clock::now().since(began) <= RESTART_HEALTHY;
        if !died_young {
            restarts = RESTARTS;
        }
        let by_kernel = how == KILLED && hung.is_none() && keeper.oom.has_killed();
        let how = if by_kernel { OUT_OF_MEMORY } else { how };
        before = Some(Predecessor {
            at: died,
            how: describe(how, hung),
        });
        if keeper.stopping {
            error!(
                how,
                "The engine crashed while stopping; restarting it to undo what is left"
            );
            continue;
        }
        let pause = restarts.pause();
        error!(
            how,
            restart_ms = pause.as_millis(),
            "The engine crashed; restarting it"
        );
        keeper.sleep(pause)?;
    }
}

/// Reading a configuration takes a parser and a file system: neither may hold up the keeper, or end
/// it.
fn ca_file(settings: &ChildSettings<'_>, copy: &ConfigCopy) -> Option<PathBuf> {
    let (path, ca_file) = (settings.config_file?.to_owned(), settings.ca_file);
    copy.ask(move |text| ca_file(&path, text))
}

/// The arguments of HTTP workers. They trust the certificates that the configuration names, not
/// what the engine asks for.
fn http_worker_arguments(ca_file: Option<PathBuf>) -> Vec<OsString> {
    let file = ca_file.map(PathBuf::into_os_string);
    std::iter::once(http_worker::OF_DAEMON.into())
        .chain(file)
        .collect()
}

/// How an engine crashed, for whoever asks why its virtual hosts changed state.
fn describe(how: &str, hung: Option<Duration>) -> String {
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
pub(super) fn serve(programs: &Programs) -> io::Result<()> {
    let signals = prepare()?;
    // The keeper must end with the process that started it, whatever happens to the socket.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let mut keeper = Keeper::new(programs, signals, Some(socket), ChildArguments::default())?;
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
    fn new(
        programs: &'a Programs,
        signals: SignalFd,
        socket: Option<OwnedFd>,
        arguments: ChildArguments<'a>,
    ) -> io::Result<Self> {
        let watchdog = sd_notify::watchdog_enabled().map(|interval| interval / 2);
        Ok(Self {
            programs,
            arguments,
            signals,
            socket,
            engine: None,
            children: BTreeMap::new(),
            child_log: ChildLog::open()?,
            config_file: None,
            on_reload: None,
            copies: ConfigCopies::new(),
            outbox: VecDeque::new(),
            failsafe: None,
            stopping: false,
            watchdog,
            hung: None,
            checked_at: clock::now(),
            grace_until: Timestamp::ZERO,
            oom: OomWatch::of_this_process(),
        })
    }

    /// Serves until the engine has ended.
    fn work(&mut self) -> io::Result<End> {
        loop {
            let timeout = self.engine.map(|_| {
                self.watchdog
                    .map_or(HEARTBEAT_CHECK, |interval| interval.min(HEARTBEAT_CHECK))
            });
            let (signalled, readable) = self.wait(timeout)?;
            // Before a child is reaped, so that its last lines still carry its name.
            self.log_children();
            if signalled && let Some(end) = self.handle_signals()? {
                return Ok(end);
            }
            if readable {
                self.serve_requests();
            }
            self.flush();
            self.end_outdated();
            self.check_heartbeat();
            stderr::flush();
            if self.socket.is_none() && self.engine.is_none() {
                return Ok(End::Exit(0));
            }
        }
    }

    /// Kills an engine whose loop no longer comes round; otherwise tells the service manager that
    /// the daemon works.
    fn check_heartbeat(&mut self) {
        let Some(beat) = self.failsafe.as_ref().and_then(Reader::heartbeat) else {
            return;
        };
        let Some(engine) = self.engine else { return };
        let now = clock::now();
        self.oom.sample(now);
        let overslept = now.since(self.checked_at) > OVERSLEPT;
        self.checked_at = now;
        if overslept {
            // The keeper itself was frozen, and probably the engine with it: the engine gets the
            // time to come round once.
            self.grace_until = now + beat.limit;
        }
        if now < self.grace_until {
            return;
        }
        let silent = now.since(beat.at);
        if silent <= beat.limit {
            if self.watchdog.is_some() {
                _ = notify(&NotifyState::Watchdog);
            }
        } else if self.hung.is_none() {
            let activity = self
                .failsafe
                .as_ref()
                .and_then(Reader::activity)
                .unwrap_or_else(|| "unknown".to_owned());
            error!(
                silent_ms = silent.as_millis(),
                activity, "The engine hangs; killing it"
            );
            self.hung = Some(silent);
            forward(engine, Signal::SIGKILL);
        }
    }

    /// After the engine's end: releases its addresses in its place, then ends its children.
    fn cleanup_after_engine(&mut self) {
        if let Some(failsafe) = self.failsafe.take() {
            cleanup::release_on_death(&failsafe.entries());
        }
        self.kill_all();
        self.outbox.clear();
        (self.engine, self.socket, self.hung) = (None, None, None);
    }

    /// If a stop was asked for before this engine was started, it is started only to undo what its
    /// predecessor left, and is told to stop at once. The signal stays pending until the engine is
    /// ready for it.
    fn forward_stop(&self) {
        if let Some(engine) = self.engine.filter(|_| self.stopping) {
            forward(engine, Signal::SIGTERM);
        }
    }

    /// Waits before a restart; returns early if a stop is asked for.
    fn sleep(&mut self, pause: Duration) -> io::Result<()> {
        let until = clock::now() + pause;
        while !self.stopping && clock::now() < until {
            self.wait(Some(until.since(clock::now()).min(HEARTBEAT_CHECK)))?;
            if self.watchdog.is_some() {
                // Waiting is the right thing to do now, so the daemon works.
                _ = notify(&NotifyState::Watchdog);
            }
            self.handle_signals()?;
            stderr::flush();
        }
        Ok(())
    }

    /// Writes what the children logged into the daemon's log.
    fn log_children(&self) {
        let role = |pid| {
            let mut children = self.children.values();
            children
                .find(|child| child.pid == pid)
                .map(|child| child.role)
        };
        self.child_log.drain(role);
    }

    /// Waits for a signal, a request, or a line of a child's log, at most until the timeout. Tells
    /// whether there are signals, and whether there are requests.
    fn wait(&self, timeout: Option<Duration>) -> io::Result<(bool, bool)> {
        let [trusted, others] = self.child_log.as_fds();
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
        // poll(2) counts whole milliseconds: one more, so that the time is really over afterwards.
        let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
            PollTimeout::try_from(timeout.saturating_add(Duration::from_millis(1)))
                .unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(err) => return Err(err.into()),
        }
        let any = |at: usize| fds.get(at).and_then(PollFd::any).unwrap_or(false);
        Ok((any(0), any(3)))
    }

    /// Forwards signals to the engine and reaps ended children. Tells whether the engine ended.
    fn handle_signals(&mut self) -> io::Result<Option<End>> {
        while let Some(info) = self.signals.read_signal()? {
            let Ok(signal) = i32::try_from(info.ssi_signo)
                .map_err(|_| ())
                .and_then(|n| Signal::try_from(n).map_err(|_| ()))
            else {
                continue;
            };
            self.stopping |= matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT);
            // A keeper without an engine of its own ends when its socket closes, not by a signal to
            // the process group.
            if let Some(engine) = self.engine
                && signal != Signal::SIGCHLD
            {
                forward(engine, signal);
            }
        }
        self.reap()
    }

    fn reap(&mut self) -> io::Result<Option<End>> {
        loop {
            let (pid, how, end) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, PANIC)) => {
                    (pid, HowEnded::Status(PANIC), End::Crash(PANICKED))
                }
                Ok(WaitStatus::Exited(pid, status)) => (
                    pid,
                    HowEnded::Status(status),
                    End::Exit(u8::try_from(status).unwrap_or(u8::MAX)),
                ),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (
                    pid,
                    HowEnded::Signal(signal.as_str().to_owned()),
                    End::Crash(signal.as_str()),
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
                Ok(Some((Request::FailSafe, descriptor))) => {
                    self.failsafe = descriptor.map(Reader::new);
                }
                Ok(Some((request, _))) => self.serve_request(request),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Ok(None) => self.socket = None,
                // The engine may end without reading our last reports.
                Err(err) if err.kind() == io::ErrorKind::ConnectionReset => self.socket = None,
                Err(err) => {
                    warn!(%err, "Lost the engine's socket");
                    self.socket = None;
                }
            }
        }
    }

    /// For itself, and again for the engine, which may no longer have the right.
    fn take_realtime(&self) {
        if let Err(error) = realtime::enter() {
            warn!(%error, "The keeper has no real-time priority");
        }
        if let Err(error) = realtime::resume(self.engine) {
            warn!(%error, "The engine has no real-time priority");
        }
    }

    fn serve_request(&mut self, request: Request) {
        match request {
            Request::Spawn(id, ..)
                if self.children.len() >= MAX_CHILDREN || self.children.contains_key(&id) =>
            {
                self.outbox
                    .push_back((Report::Failed(id, Failure::System(libc::EAGAIN)), None));
            }
            Request::Spawn(id, role, hook) => match self.start(role, hook.as_ref()) {
                Ok((child, socket)) => {
                    self.children.insert(id, child);
                    self.outbox.push_back((Report::Spawned(id), Some(socket)));
                }
                Err(err) => self
                    .outbox
                    .push_back((Report::Failed(id, err.into()), None)),
            },
            // Handled by the caller, which has its descriptor.
            Request::FailSafe => {}
            Request::Realtime => self.take_realtime(),
            Request::Preparing => self.copies.still_preparing(clock::now()),
            Request::Reloaded(accepted) => {
                let decision = self.copies.decide(accepted);
                self.apply(decision);
                if let Some(told) = self.on_reload.filter(|_| accepted) {
                    // It does not block, and one byte that waits says as much as two.
                    _ = nix::unistd::write(told, b".");
                }
            }
            Request::Kill(id) => {
                if let Some(child) = self.children.get(&id) {
                    forward(child.pid, Signal::SIGKILL);
                }
            }
        }
        self.flush();
    }

    fn start(&mut self, role: Role, hook: Option<&Name>) -> io::Result<(Child, UnixStream)> {
        let stderr = self.child_log.stderr(role)?;
        let copy = match (role, self.config_file) {
            (Role::NewReader, Some(file)) => self.copies.reload_begins(file, clock::now()),
            (Role::NewHelper, _) => self.copies.newest(),
            (Role::Helper | Role::Reader | Role::Prober { .. } | Role::Notifier { .. }, _) => {
                self.copies.in_use()
            }
            _ => None,
        };
        let text = copy.and_then(ConfigCopy::text);
        let title = hook.map_or_else(
            || role.shown().to_owned(),
            |hook| format!("{}: {hook}", role.shown()),
        );
        let (pid, socket) =
            spawn::child(self.programs, (role, &title), &self.arguments, text, stderr)?;
        let child = Child {
            pid,
            role,
            copy: copy.map(|copy| copy.number),
            outdated: None,
        };
        Ok((child, socket))
    }

    /// Ends the children that read a configuration which is not in use, whether or not the engine
    /// releases them.
    fn apply(&mut self, decision: Option<Decision>) {
        let now = clock::now();
        for child in self.children.values_mut() {
            match (decision, child.copy) {
                (Some(Decision::InUse(number)), Some(copy)) if copy < number => {
                    child.outdated.get_or_insert(now);
                }
                (Some(Decision::Dropped(number)), Some(copy)) if copy > number => {
                    forward(child.pid, Signal::SIGKILL);
                }
                // Its copy is in use again.
                (Some(Decision::Dropped(number)), Some(copy)) if copy == number => {
                    child.outdated = None;
                }
                _ => {}
            }
        }
    }

    /// Ends children whose configuration has been out of use for too long. A helper may be in the
    /// middle of a task: it accepts no new ones, and ends when it has finished.
    fn end_outdated(&mut self) {
        let now = clock::now();
        if let Some(decision) = self.copies.decide_overdue(now) {
            warn!(
                "The engine did not report how a reload ended; assuming that the new configuration is in use"
            );
            self.apply(Some(decision));
        }
        for child in self.children.values() {
            let is_overdue = |since| now.since(since) > OUTDATED_GRACE;
            if !child.outdated.is_some_and(is_overdue) {
                continue;
            }
            if matches!(child.role, Role::Helper | Role::NewHelper) {
                forward(child.pid, RETIRE);
            } else {
                forward(child.pid, Signal::SIGKILL);
            }
        }
    }

    /// Sends as many reports as there is room for.
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
                    debug!(%err, "The engine has closed its socket");
                    self.outbox.clear();
                }
            }
        }
    }

    /// Kills every child and waits for its end, which SIGKILL makes certain.
    fn kill_all(&mut self) {
        for child in self.children.values() {
            forward(child.pid, Signal::SIGKILL);
        }
        self.log_children();
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
