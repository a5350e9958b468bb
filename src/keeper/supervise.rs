//! The keeper's loop: requests, signals, ended children.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tracing::{debug, warn};

use super::message::{ChildId, HowEnded, Report, Request};
use super::{SELF, descriptors, spawn, wire};

/// The most children at a time; an engine that wants more is out of control.
const MAX_CHILDREN: usize = 4096;

/// A keeper at work.
struct Keeper {
    signals: SignalFd,
    /// To the engine; `None` once that is gone.
    socket: Option<OwnedFd>,
    engine: Option<Pid>,
    children: BTreeMap<ChildId, Pid>,
    /// Reports that the socket had no room for.
    outbox: VecDeque<(Report, Option<UnixStream>)>,
}

/// Starts the engine and stays until it has ended.
pub(super) fn run(program: &Path, arguments: &[OsString], handed: Option<BorrowedFd<'_>>) -> io::Result<u8> {
    let signals = prepare()?;
    let (ours, theirs) = wire::pair()?;
    let engine = spawn::engine(program, arguments, theirs, handed)?;
    let mut keeper =
        Keeper { signals, socket: Some(ours), engine: Some(engine), children: BTreeMap::new(), outbox: VecDeque::new() };
    let code = keeper.work();
    keeper.kill_all();
    code
}

/// Serves the process at the other end of standard input until it closes that.
pub(super) fn serve() -> io::Result<()> {
    let signals = prepare()?;
    // The one who started this wants it gone with itself, whatever happens to the socket.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let mut keeper = Keeper { signals, socket: Some(socket), engine: None, children: BTreeMap::new(), outbox: VecDeque::new() };
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
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

impl Keeper {
    /// Until the engine has ended; gives its exit status.
    fn work(&mut self) -> io::Result<u8> {
        loop {
            let (signalled, readable) = self.wait()?;
            if signalled && let Some(code) = self.heed_signals()? {
                return Ok(code);
            }
            if readable {
                self.serve_requests();
            }
            self.flush();
            if self.socket.is_none() && self.engine.is_none() {
                return Ok(0);
            }
        }
    }

    /// Waits for something to happen: signals, requests.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if let Some(socket) = &self.socket {
            let write = if self.outbox.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
            fds.push(PollFd::new(socket.as_fd(), PollFlags::POLLIN | write));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(err) => return Err(err.into()),
        }
        let any = |at: usize| fds.get(at).and_then(PollFd::any).unwrap_or(false);
        Ok((any(0), any(1)))
    }

    /// Forwards signals to the engine and collects ended children. Gives the engine's status if it ended.
    fn heed_signals(&mut self) -> io::Result<Option<u8>> {
        while let Some(info) = self.signals.read_signal()? {
            let Ok(signal) = i32::try_from(info.ssi_signo).map_err(|_| ()).and_then(|n| Signal::try_from(n).map_err(|_| ()))
            else {
                continue;
            };
            // Without an engine of its own the keeper ends with its socket, not by a signal to the group.
            if let Some(engine) = self.engine
                && signal != Signal::SIGCHLD
            {
                forward(engine, signal);
            }
        }
        self.collect()
    }

    fn collect(&mut self) -> io::Result<Option<u8>> {
        loop {
            let (pid, how, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, status)) => (pid, HowEnded::Status(status), status),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid, HowEnded::Signal(signal.as_str().to_owned()), 128 + signal as i32)
                }
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(err) => return Err(err.into()),
            };
            if self.engine == Some(pid) {
                debug!(%how, "The engine ended");
                return Ok(Some(u8::try_from(code).unwrap_or(u8::MAX)));
            }
            let ended = self.children.iter().find(|(_, child)| **child == pid).map(|(id, _)| *id);
            if let Some(id) = ended {
                self.children.remove(&id);
                self.outbox.push_back((Report::Exited(id, how), None));
            }
        }
    }

    fn serve_requests(&mut self) {
        while let Some(socket) = &self.socket {
            match wire::receive::<Request>(socket) {
                Ok(Some((request, _))) => self.serve_request(request),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Ok(None) => self.socket = None,
                Err(err) => {
                    warn!(%err, "Lost the engine's socket");
                    self.socket = None;
                }
            }
        }
    }

    fn serve_request(&mut self, request: Request) {
        match request {
            Request::Spawn(id, _) if self.children.len() >= MAX_CHILDREN || self.children.contains_key(&id) => {
                self.outbox.push_back((Report::Failed(id, Errno::EAGAIN as i32), None));
            }
            Request::Spawn(id, role) => match spawn::child(Path::new(SELF), role) {
                Ok((pid, socket)) => {
                    self.children.insert(id, pid);
                    self.outbox.push_back((Report::Spawned(id), Some(socket)));
                }
                Err(err) => self.outbox.push_back((Report::Failed(id, err.raw_os_error().unwrap_or(Errno::EIO as i32)), None)),
            },
            Request::Kill(id) => {
                if let Some(pid) = self.children.get(&id) {
                    // Not collected yet, so the pid is still its own.
                    forward(*pid, Signal::SIGKILL);
                }
            }
        }
        self.flush();
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
        for pid in self.children.values() {
            forward(*pid, Signal::SIGKILL);
        }
        for pid in std::mem::take(&mut self.children).into_values() {
            while waitpid(pid, None) == Err(Errno::EINTR) {}
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
