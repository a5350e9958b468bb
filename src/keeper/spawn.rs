//! Starting a child: this binary anew, with a socket as standard input and nothing else of ours.

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

/// Signals that an operator or a terminal sends to a whole group. The keeper reads them from a
/// descriptor; its children inherit them blocked, so that none is lost or deadly before a child is
/// ready.
pub(super) fn group_signals() -> SigSet {
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

/// For the engine, once its signal handlers stand: lets through what the keeper blocked around its
/// start. Before that, signals wait.
///
/// # Errors
/// What the system said; there is no reason why it should refuse.
pub fn unblock_signals() -> io::Result<()> {
    Ok(group_signals().thread_unblock()?)
}

/// By how much the engine's niceness (nice(2)) is below the keeper's. Measured with 1,000 virtual
/// hosts that change hands while their hooks run on two processors: both nodes hold an address for
/// 20 ms instead of 150 (median).
const ENGINE_FIRST: i32 = 10;

/// Where the system bus is, if not at the usual place.
const BUS: &str = "DBUS_SYSTEM_BUS_ADDRESS";

/// Where the directory of credentials is, if the service manager made one.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// What children are told by the keeper of a daemon, whoever asked for one.
#[derive(Debug, Clone, Default)]
pub(super) struct Told<'a> {
    /// Helpers and readers, after the role: where to read what they may do. Without any a helper
    /// takes orders from a command of the operator's own.
    pub(super) arguments: &'a [OsString],
    /// What the engine, helpers and readers are handed, too.
    pub(super) handed: Option<BorrowedFd<'a>>,
    /// Couriers, after the role.
    pub(super) couriers: Vec<OsString>,
}

impl Told<'_> {
    fn of(&self, role: Role) -> (&[OsString], Option<BorrowedFd<'_>>) {
        match role {
            Role::Helper | Role::NewHelper | Role::Reader | Role::NewReader => {
                (self.arguments, self.handed)
            }
            Role::Courier => (&self.couriers, None),
            Role::Runner { .. } | Role::WasmRunner { .. } | Role::Compiler | Role::Tester => {
                (&[], None)
            }
        }
    }
}

/// Starts a child, which logs to `stderr`, and gives back our end of its socket. `text` is what a
/// helper or reader goes by: it is handed over, and its number follows the other arguments.
pub(super) fn child(
    program: &Path,
    role: Role,
    told: &Told<'_>,
    text: Option<BorrowedFd<'_>>,
    stderr: Stdio,
) -> io::Result<(Pid, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let own = role.arguments();
    let (more, handed) = told.of(role);
    let number = text.map(|text| OsString::from(text.as_raw_fd().to_string()));
    let arguments = own
        .iter()
        .map(OsStr::new)
        .chain(more.iter().chain(&number).map(AsRef::as_ref));
    let mut command = command(program, arguments, theirs.into());
    // Its own environment: no secrets, nothing that the C library listens to.
    // One heap for all threads: every further one would take 64 MiB of a runner's address space.
    command
        .env_clear()
        .env("MALLOC_ARENA_MAX", "1")
        .stdout(Stdio::null())
        .stderr(stderr)
        .current_dir("/");
    let variable = match role {
        // It speaks with systemd.
        Role::Helper | Role::NewHelper => Some(BUS),
        Role::Reader | Role::NewReader => Some(CREDENTIALS),
        Role::Runner { .. }
        | Role::WasmRunner { .. }
        | Role::Compiler
        | Role::Tester
        | Role::Courier => None,
    };
    command.envs(variable.and_then(|name| Some((name, std::env::var_os(name)?))));
    Ok((started_with(&mut command, text.or(handed))?, ours))
}

/// Starts the engine, which keeps the environment, standard output, standard error and the
/// descriptor that is handed to it.
pub(super) fn engine(
    program: &Path,
    arguments: &[OsString],
    socket: OwnedFd,
    handed: Option<BorrowedFd<'_>>,
) -> io::Result<Pid> {
    let arguments =
        std::iter::once(OsStr::new(super::ENGINE_ROLE)).chain(arguments.iter().map(AsRef::as_ref));
    let engine = started_with(&mut command(program, arguments, socket), handed)?;
    put_first(engine);
    Ok(engine)
}

/// Hooks, and whatever else this machine does, must not hold up the protocol. Only root may have it
/// so; without that the engine is one process among others.
fn put_first(engine: Pid) {
    let Some(pid) = rustix::process::Pid::from_raw(engine.as_raw()) else {
        return;
    };
    let own = rustix::process::getpriority_process(None).unwrap_or(0);
    if let Err(error) = rustix::process::setpriority_process(Some(pid), own - ENGINE_FIRST) {
        debug!(%error, "The engine runs with the priority of any other process");
    }
}

fn started_with(command: &mut Command, handed: Option<BorrowedFd<'_>>) -> io::Result<Pid> {
    let close_on_exec = |flag| handed.map_or(Ok(0), |fd| fcntl(fd, FcntlArg::F_SETFD(flag)));
    // The keeper has one thread: no other child is started meanwhile.
    close_on_exec(FdFlag::empty())?;
    let started = started(command);
    close_on_exec(FdFlag::FD_CLOEXEC)?;
    started
}

/// Starts a keeper without an engine of its own, for the calling process.
pub(super) fn keeper(program: &Path, socket: OwnedFd) -> io::Result<std::process::Child> {
    command(program, std::iter::once(OsStr::new(super::ROLE)), socket)
        .stdout(Stdio::null())
        .spawn()
}

fn command<'a>(
    program: &Path,
    arguments: impl Iterator<Item = &'a OsStr>,
    stdin: OwnedFd,
) -> Command {
    let mut command = Command::new(program);
    command.arg0("carpd").args(arguments).stdin(stdin);
    command
}

fn started(command: &mut Command) -> io::Result<Pid> {
    // The `Child` is let go: the keeper waits for all of its children at once.
    let pid = i32::try_from(command.spawn()?.id()).map_err(io::Error::other)?;
    Ok(Pid::from_raw(pid))
}
