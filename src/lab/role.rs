//! The hidden roles of the program: each process of the lab is this program, executed again.
//!
//! ```text
//! maker ── __lab-switch ── __lab-switch-inner        process 1 of the lab; holds the bridge
//!                            ├─ __lab-host ── __lab-host-inner     process 1 of a host
//!                            └─ __lab-host ── __lab-host-inner
//! ```
//! Each takes two steps, because a process that asks for a new process namespace is not in it
//! itself. Each step has only one thread until its namespaces exist: a process with threads cannot
//! create them. Standard input is the control socket and the lifeline: when it closes, the process
//! ends. Each step also asks the kernel to be killed when its parent dies.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Uid, getgid, getppid, getuid};

use super::message::{self, Message};
use super::{httpd, node, probe, switch};

const SWITCH: &str = "__lab-switch";
const SWITCH_INNER: &str = "__lab-switch-inner";
const HOST: &str = "__lab-host";
/// The role of a host's process 1; its first argument is the lab's name for the host.
pub(super) const HOST_INNER: &str = "__lab-host-inner";
/// The role of the small HTTP server that the init script `httpd` starts.
pub const HTTPD: &str = "__lab-httpd";
/// The role of the prober and wire watcher.
pub const PROBE: &str = "__lab-probe";

/// Runs the role that the arguments specify; `None` if they specify none.
///
/// Must be called at the beginning of `main`, before there are any threads, also by a test binary
/// that makes labs.
#[must_use]
pub fn run_role() -> Option<ExitCode> {
    let mut args = std::env::args().skip(1);
    let role = args.next()?;
    let rest: Vec<String> = args.collect();
    let done = match role.as_str() {
        SWITCH => leave(SWITCH_INNER, &rest, true),
        SWITCH_INNER => inner("the switch", switch::run),
        HOST => leave(HOST_INNER, &rest, false),
        HOST_INNER => {
            let arg = |n| rest.get(n).cloned().unwrap_or_default();
            inner("a host", |socket| node::run(socket, &arg(0), &arg(1)))
        }
        HTTPD => httpd::run(&rest),
        PROBE => probe::run(&rest),
        _ => return None,
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            // There may be no reader left.
            let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("{role}: {err}\n"));
            ExitCode::FAILURE
        }
    })
}

/// The failure of one step, with what it was trying to do.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub(super) struct StepError {
    step: String,
    source: io::Error,
}

/// Names the step that failed.
pub(super) trait Step<T> {
    fn step(self, step: &str) -> Result<T, StepError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: &str) -> Result<T, StepError> {
        self.map_err(|err| StepError {
            step: step.to_owned(),
            source: err.into(),
        })
    }
}

/// Starts the first process of a lab; `socket` becomes its standard input.
pub(super) fn start_switch(socket: UnixStream, token: &str) -> io::Result<Child> {
    use std::os::unix::process::CommandExt;
    let mut command = role(SWITCH, &[token.to_owned()]);
    // In a process group of its own: Ctrl-C goes to the program that made the lab, and the lab ends
    // with it.
    command
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)))
        .stdout(Stdio::null())
        .process_group(0);
    command.spawn()
}

/// Starts the outer process of a host; it writes the number of the inner one to its standard
/// output.
pub(super) fn start_host(socket: UnixStream, name: &str, hostname: &str) -> io::Result<Child> {
    let mut command = role(HOST, &[name.to_owned(), hostname.to_owned()]);
    command
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)))
        .stdout(Stdio::piped());
    command.spawn()
}

fn role(role: &str, args: &[String]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(role).args(args);
    command
}

/// Leaves the namespaces of the parent, starts the inner process, and stays until that process or
/// the parent has ended.
fn leave(inner: &str, args: &[String], may_need_user: bool) -> Result<(), StepError> {
    let told = |err: StepError| {
        if let Ok(socket) = control_socket() {
            let errno = err.source.raw_os_error().unwrap_or(0);
            let _ = message::send(
                &socket,
                &Message::Failed {
                    step: err.step.clone(),
                    errno,
                },
            );
        }
        err
    };
    die_with_parent()
        .step("ask to die with the parent")
        .map_err(told)?;
    separate(may_need_user).map_err(told)?;
    // Set again, because the kernel drops it when credentials change.
    die_with_parent()
        .step("ask to die with the parent")
        .map_err(told)?;
    let mut child = role(inner, args)
        .stdout(Stdio::null())
        .spawn()
        .step("start process 1")
        .map_err(told)?;
    if may_need_user {
        drop(child.wait());
        return Ok(());
    }
    let _ = io::Write::write_fmt(&mut io::stdout(), format_args!("{}\n", child.id()));
    // The inner process is reaped by the switch, which waits for both, not here.
    loop {
        nix::unistd::pause();
    }
}

/// New namespaces for everything that a host has for itself.
fn separate(may_need_user: bool) -> Result<(), StepError> {
    let own = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC;
    match unshare(own) {
        Err(Errno::EPERM) if may_need_user => {}
        done => return done.step("make namespaces"),
    }
    let (uid, gid) = (getuid(), getgid());
    unshare(own | CloneFlags::CLONE_NEWUSER).step("make a user namespace")?;
    let write = |file: &str, text: String| {
        std::fs::write(format!("/proc/self/{file}"), text).step(&format!("write {file}"))
    };
    write("setgroups", "deny".to_owned())?;
    write("gid_map", format!("0 {gid} 1"))?;
    write("uid_map", format!("0 {uid} 1"))
}

fn inner(
    what: &str,
    run: impl FnOnce(UnixStream) -> Result<(), StepError>,
) -> Result<(), StepError> {
    let socket = control_socket().step("take the control socket")?;
    let to_maker = socket.try_clone().step("take the control socket")?;
    set_pdeathsig(Signal::SIGKILL).step("ask to die with the parent")?;
    run(socket).inspect_err(|err| {
        let errno = err.source.raw_os_error().unwrap_or(0);
        let _ = message::send(
            &to_maker,
            &Message::Failed {
                step: format!("{what}: {}", err.step),
                errno,
            },
        );
    })
}

/// The socket that was passed as standard input.
fn control_socket() -> io::Result<UnixStream> {
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Makes the kernel kill this process when its parent's thread ends; ends it at once if that has
/// already happened.
fn die_with_parent() -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // The parent is 0 if it is in an outer process namespace, and 1 if it is process 1 of ours or
    // if this process was adopted.
    let orphan = getppid().as_raw() == 1 && std::process::id() != 1 && parent_is_adoptive();
    if orphan {
        Err(io::Error::other("the parent is gone"))
    } else {
        Ok(())
    }
}

/// Whether process 1 is a different program, and so cannot have started this process.
fn parent_is_adoptive() -> bool {
    let exe = |path: &str| std::fs::read_link(path).ok();
    exe("/proc/1/exe") != exe("/proc/self/exe")
}

/// A remedy if the kernel refuses namespaces; `None` if the error is a different one.
pub(super) fn advice(errno: i32) -> Option<String> {
    let setting = |name: &str| {
        std::fs::read_to_string(format!("/proc/sys/{name}"))
            .ok()
            .map(|text| text.trim().to_owned())
    };
    let is = |name: &str, value: &str| setting(name).as_deref() == Some(value);
    let errno = Errno::from_raw(errno);
    if !matches!(
        errno,
        Errno::EPERM | Errno::EACCES | Errno::ENOSPC | Errno::EUSERS
    ) {
        return None;
    }
    let lift = |name: &str, value: &str| {
        format!(
            "run it as root, or allow it: sudo sysctl -w {}={value}",
            name.replace('/', ".")
        )
    };
    Some(if is("kernel/unprivileged_userns_clone", "0") {
        lift("kernel/unprivileged_userns_clone", "1")
    } else if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        lift("kernel/apparmor_restrict_unprivileged_userns", "0")
    } else if is("user/max_user_namespaces", "0") {
        lift("user/max_user_namespaces", "10000")
    } else if Uid::effective().is_root() {
        "this root lacks rights over namespaces, as in a container: start the container with --privileged".to_owned()
    } else {
        "run it as root".to_owned()
    })
}
