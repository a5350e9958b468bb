//! Starts a child: one of the programs, with a socket as its standard input and nothing else of
//! ours.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;
use tracing::debug;

use super::message::Role;
use crate::programs::{Opened, Programs, role};

/// Signals that an operator or a terminal sends to a whole process group. The keeper reads them
/// from a descriptor; its children inherit them blocked, so that none is lost, and none ends a
/// child that is not ready for it.
pub(crate) fn group_signals() -> SigSet {
    [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ]
    .into_iter()
    .collect()
}

/// For the engine, once its signal handlers are installed: unblocks what the keeper blocked for its
/// start. Until then signals stay pending.
///
/// # Errors
/// What the system said; there is no reason why it should refuse.
pub fn unblock_signals() -> io::Result<()> {
    Ok(group_signals().thread_unblock()?)
}

/// By how much the engine's niceness (nice(2)) is below the keeper's. Measured with 1,000 virtual
/// hosts that change hands while their hooks run on two processors: both nodes hold an address for
/// 20 ms instead of 150 (median).
const ENGINE_PRIORITY: i32 = 10;

/// The address of the system bus, if it is not the usual one.
const BUS: &str = "DBUS_SYSTEM_BUS_ADDRESS";

/// The directory of credentials, if the service manager made one.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// What the children of a daemon's keeper are started with, whatever the engine asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct ChildArguments<'a> {
    /// Arguments of helpers and readers, after the role: where to read what they may do. A helper
    /// without any serves a command of the operator's own.
    pub(super) of_helpers: &'a [OsString],
    /// A descriptor that the engine, helpers and readers inherit.
    pub(super) inherited: Option<BorrowedFd<'a>>,
    /// Arguments of HTTP workers and net probers, after the role.
    pub(super) of_http_workers: Vec<OsString>,
}

impl ChildArguments<'_> {
    fn of(&self, role: Role) -> (&[OsString], Option<BorrowedFd<'_>>) {
        match role {
            Role::Helper
            | Role::NewHelper
            | Role::Reader
            | Role::NewReader
            | Role::Prober { .. }
            | Role::Notifier { .. } => (self.of_helpers, self.inherited),
            Role::HttpWorker | Role::NetProber => (&self.of_http_workers, None),
            Role::Runner { .. }
            | Role::WasmRunner { .. }
            | Role::Compiler
            | Role::Tester
            | Role::Endpoint => (&[], None),
        }
    }
}

/// Starts a child, which logs to `stderr`, and gives our end of its socket. `text` is the copy of
/// the configuration that a helper or reader reads: the child inherits it, and the descriptor's
/// number follows the other arguments. `title` is the name that `ps` shows.
pub(super) fn child(
    programs: &Programs,
    (role, title): (Role, &str),
    arguments: &ChildArguments<'_>,
    text: Option<BorrowedFd<'_>>,
    stderr: Stdio,
) -> io::Result<(Pid, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let own = role.arguments();
    let (more, inherited) = arguments.of(role);
    let program = programs.get(role.program())?;
    let by_number = match role {
        // It starts a keeper, and that starts runners: from the files that are executed here.
        Role::Tester => vec![programs.daemon.as_fd(), programs.worker.as_fd()],
        _ => text.into_iter().collect(),
    };
    let numbers: Vec<OsString> = by_number
        .iter()
        .map(|fd| fd.as_raw_fd().to_string().into())
        .collect();
    let arguments = own
        .iter()
        .map(OsStr::new)
        .chain(more.iter().chain(&numbers).map(AsRef::as_ref));
    let mut command = command(
        &program.path(),
        (role.word(), title),
        arguments,
        theirs.into(),
    );
    // An environment of its own: no secrets, and nothing that changes what the C library does.
    // One heap for all threads: every further one would take 64 MiB of a runner's address space.
    command
        .env_clear()
        .env("MALLOC_ARENA_MAX", "1")
        .stdout(Stdio::null())
        .stderr(stderr)
        .current_dir("/");
    let variable = match role {
        // They talk to systemd.
        Role::Helper | Role::NewHelper | Role::Prober { .. } => Some(BUS),
        Role::Reader | Role::NewReader => Some(CREDENTIALS),
        Role::Runner { .. }
        | Role::WasmRunner { .. }
        | Role::Compiler
        | Role::Tester
        | Role::HttpWorker
        | Role::NetProber
        | Role::Endpoint
        | Role::Notifier { .. } => None,
    };
    command.envs(variable.and_then(|name| Some((name, std::env::var_os(name)?))));
    let all: Vec<_> = by_number.into_iter().chain(inherited).collect();
    let child = spawn_inheriting(&mut command, &all)?;
    forbid_realtime(child);
    Ok((child, ours))
}

/// None of our priorities is inherited. Nor may a child take one because its unit lets the keeper.
fn forbid_realtime(child: Pid) {
    let nothing = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let pid = rustix::process::Pid::from_raw(child.as_raw());
    if let Err(error) = rustix::process::prlimit(pid, rustix::process::Resource::Rtprio, nothing) {
        debug!(%error, "A child keeps its limit of real-time priority");
    }
}

/// Starts the engine, which keeps the environment, standard output, standard error and the
/// inherited descriptor. `text` is the copy of the configuration that it reads, as in [`child`].
pub(super) fn engine(
    program: &Opened,
    arguments: &[OsString],
    socket: OwnedFd,
    text: Option<BorrowedFd<'_>>,
    inherited: Option<BorrowedFd<'_>>,
) -> io::Result<Pid> {
    let number = text.map(|text| OsString::from(text.as_raw_fd().to_string()));
    let arguments = arguments.iter().chain(&number).map(AsRef::as_ref);
    let inherited: Vec<_> = text.into_iter().chain(inherited).collect();
    let names = (super::ENGINE_ROLE, "carpd-engine");
    let mut command = command(&program.path(), names, arguments, socket);
    let engine = spawn_inheriting(&mut command, &inherited)?;
    prioritise(engine);
    Ok(engine)
}

/// Hooks, and whatever else runs on this machine, must not hold up the protocol. Only root may
/// raise a priority; without that right the engine has the priority of any process.
fn prioritise(engine: Pid) {
    let Some(pid) = rustix::process::Pid::from_raw(engine.as_raw()) else {
        return;
    };
    let own = rustix::process::getpriority_process(None).unwrap_or(0);
    if let Err(error) = rustix::process::setpriority_process(Some(pid), own - ENGINE_PRIORITY) {
        debug!(%error, "The engine runs with ordinary priority");
    }
}

fn spawn_inheriting(command: &mut Command, inherited: &[BorrowedFd<'_>]) -> io::Result<Pid> {
    let close_on_exec = |flag| {
        let mut all = inherited.iter();
        all.try_for_each(|fd| fcntl(*fd, FcntlArg::F_SETFD(flag)).map(drop))
    };
    // Only this thread starts children: none is started meanwhile.
    close_on_exec(FdFlag::empty())?;
    let spawned = spawn(command);
    close_on_exec(FdFlag::FD_CLOEXEC)?;
    spawned
}

/// Starts a keeper without an engine of its own, for the calling process.
/// `worker` is the number of the descriptor of the worker that it is to execute, if that is not the
/// one beside it.
pub(super) fn keeper(
    program: &Path,
    worker: Option<&OsStr>,
    socket: OwnedFd,
) -> io::Result<std::process::Child> {
    let arguments = worker.into_iter();
    command(program, (super::ROLE, "carpd-keeper"), arguments, socket)
        .stdout(Stdio::null())
        .spawn()
}

fn command<'a>(
    program: &Path,
    (role, title): (&str, &str),
    arguments: impl Iterator<Item = &'a OsStr>,
    stdin: OwnedFd,
) -> Command {
    let mut command = Command::new(program);
    command
        .arg0(title)
        .args(role::words(role))
        .args(arguments)
        .stdin(stdin);
    command
}

fn spawn(command: &mut Command) -> io::Result<Pid> {
    // The `Child` is dropped: the keeper waits for all of its children together.
    let pid = i32::try_from(command.spawn()?.id()).map_err(io::Error::other)?;
    Ok(Pid::from_raw(pid))
}
