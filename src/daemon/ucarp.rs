//! The daemon under the name ucarp: it receives what `carpd ucarp` has checked in a memory file;
//! from there on everything is as under `carpd run`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::prctl;
use nix::unistd::setsid;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::run;
use crate::config::legacy::{Facility, Options, Place};
use crate::config::{Config, Vhost};
use crate::control::Roles;
use crate::host::kernel::netlink;
use crate::host::kernel::sealed::{OnExec, sealed};
use crate::programs::{self, BUILD, Program, Programs, role};
use crate::telemetry::ucarp::{self, Level, Sink};
use crate::types::IfName;
use crate::{engine, keeper};

/// The program name under which carpd behaves like ucarp.
pub(crate) const NAME: &str = "ucarp";

/// The environment variable with the number of the descriptor that holds the [`Handover`].
pub(crate) const WHERE: &str = "CARPD_UCARP_HANDOVER";

/// The first argument of an engine started as ucarp; the second is the descriptor.
const LEGACY: &str = "legacy";

/// What a detached daemon reports as soon as it has everything it needs to go on.
const READY: &[u8] = b"ready";

/// The exit status of ucarp when it cannot be started.
const FAILED: u8 = 2;

/// Everything passed to the daemon, below a line with the build id. It exists only in memory, since
/// it contains the password.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Handover {
    /// The parsed command line.
    pub options: Options,
    /// Where the command was run.
    pub place: Place,
}

impl Handover {
    /// Puts it into a memory file that is inherited across an execution. The file is sealed against
    /// writing: helper and reader rely on it as well, and the engine, which has the descriptor,
    /// must not be able to tell them what they may do.
    fn store(&self) -> io::Result<OwnedFd> {
        let mut bytes = Zeroizing::new(format!("{BUILD}\n").into_bytes());
        serde_json::to_writer(&mut *bytes, self)?;
        sealed(c"carpd-ucarp", &bytes, OnExec::Inherited)
    }

    /// Opens the file anew, so that every reader starts at its beginning.
    fn open(number: &str) -> io::Result<(Self, OwnedFd)> {
        let number: i32 = number.parse().map_err(io::Error::other)?;
        let mut file = File::open(format!("/proc/self/fd/{number}"))?;
        let mut bytes = Zeroizing::new(Vec::new());
        file.read_to_end(&mut bytes)?;
        let own = bytes.strip_prefix(BUILD.as_bytes());
        let Some(text) = own.and_then(|rest| rest.strip_prefix(b"\n")) else {
            return Err(io::Error::other(format!(
                "carpd-daemon is of another build than the program that started it: {}",
                role::REMEDY
            )));
        };
        let this = serde_json::from_slice(text)?;
        Ok((this, file.into()))
    }

    fn sink(&self, pid: u32) -> Sink {
        let facility = self.options.facility.map(Facility::number);
        Sink::new(facility, !self.options.daemonize, self.options.debug, pid)
    }
}

/// Becomes the daemon, or starts it detached from the terminal, with a command line without the
/// password, which no longer appears in process lists.
pub(crate) fn start(handover: Handover, masked: Vec<String>, sink: &Sink) -> ExitCode {
    let failed = |error: io::Error| {
        sink.say(Level::Error, &format!("Unable to start: {error}"));
        ExitCode::from(FAILED)
    };
    let file = match handover.store() {
        Ok(file) => file,
        Err(error) => return failed(error),
    };
    let daemon = match programs::find(Program::Daemon) {
        Ok(daemon) => daemon,
        Err(error) => return failed(error.into()),
    };
    let daemonize = handover.options.daemonize;
    drop(handover);
    let mut command = Command::new(daemon);
    command
        .arg0(NAME)
        .args(masked)
        .env(WHERE, file.as_raw_fd().to_string());
    if !daemonize {
        return failed(command.exec());
    }
    // Until it is ready it reports problems on our standard error.
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let said = command.spawn().and_then(|mut daemon| {
        let mut said = Vec::new();
        if let Some(output) = daemon.stdout.as_mut() {
            output.read_to_end(&mut said)?;
        }
        Ok(said)
    });
    match said {
        Ok(said) if said == READY => ExitCode::SUCCESS,
        // It has reported why.
        Ok(_) => ExitCode::from(FAILED),
        Err(error) => failed(error),
    }
}

/// Tells the caller that the daemon is running, and detaches from the terminal.
fn detach() -> io::Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(READY)?;
    output.flush()?;
    let null = File::options().write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

/// Runs the keeper, if this process was started as one for ucarp: it keeps the name ucarp, and the
/// engine is its child.
pub(super) fn continued() -> Option<ExitCode> {
    let program = std::env::args_os().next()?;
    if Path::new(&program).file_name() != Some(OsStr::new(NAME)) {
        return None;
    }
    let number = std::env::var(WHERE).ok()?;
    let (handover, file) = match Handover::open(&number) {
        Ok(opened) => opened,
        Err(error) => return Some(lost(&error)),
    };
    // So that `killall ucarp` finds this process but none of its children.
    let _ = prctl::set_name(c"ucarp");
    if handover.options.daemonize {
        // No terminal is ever opened here, so there is no need for the traditional second fork.
        let _ = setsid();
    }
    let daemonize = handover.options.daemonize;
    let _ = ucarp::start(handover.sink(std::process::id()));
    drop(handover);
    let arguments = [
        OsString::from(LEGACY),
        OsString::from(file.as_raw_fd().to_string()),
    ];
    let settings = keeper::ChildSettings {
        arguments: &arguments,
        config_file: None,
        on_reload: None,
        inherited: Some(&file),
        ca_file: |_, _| None,
    };
    let programs = match Programs::of_daemon() {
        Ok(programs) => programs,
        Err(error) => return Some(lost(&error)),
    };
    if daemonize && let Err(error) = detach() {
        return Some(lost(&error));
    }
    Some(keeper::run(&programs, &arguments, &settings))
}

fn lost(error: &io::Error) -> ExitCode {
    Sink::new(None, true, false, 0).say(Level::Error, &format!("Unable to start: {error}"));
    ExitCode::from(FAILED)
}

/// What the keeper passed to this process, if it is the engine or helper of a daemon started as
/// ucarp.
fn handed() -> Option<Result<Handover, ExitCode>> {
    let mut words = role::arguments().filter_map(|word| word.into_string().ok());
    let number = words
        .next()
        .filter(|word| word == LEGACY)
        .and_then(|_| words.next())?;
    Some(
        Handover::open(&number)
            .map(|(handover, _)| handover)
            .map_err(|error| lost(&error)),
    )
}

/// This configuration has no file; the made-up path makes it a separate instance.
fn path(config: &Config, vhost: &Vhost) -> PathBuf {
    config
        .daemon
        .run_dir
        .join(format!("ucarp-{}.toml", vhost.name))
}

/// The configuration for a helper, and the path that names it; the exit status if there is none.
pub(super) fn configuration() -> Option<Result<(Config, PathBuf), ExitCode>> {
    Some(handed()?.and_then(|handover| {
        let config = handover
            .options
            .config(&handover.place)
            .map_err(|_| ExitCode::from(FAILED))?;
        let path = config
            .vhosts
            .first()
            .map(|vhost| path(&config, vhost))
            .ok_or(ExitCode::from(FAILED))?;
        Ok((config, path))
    }))
}

/// Runs the engine, if it was started as ucarp.
pub(super) fn engine() -> Option<ExitCode> {
    let handover = match handed()? {
        Ok(handover) => handover,
        Err(code) => return Some(code),
    };
    let parent = nix::unistd::getppid().as_raw();
    let sink = handover.sink(u32::try_from(parent).unwrap_or_default());
    let config: Config = match handover.options.config(&handover.place) {
        Ok(config) => config,
        Err(_) => return Some(ExitCode::from(FAILED)),
    };
    let vhost = config.vhosts.first()?;
    introduce(&vhost.interface, &sink);
    let _ = ucarp::start(sink);
    drop(handover);
    let path = path(&config, vhost);
    Some(engine::main(
        config,
        &path,
        |instance_dir| run::open(instance_dir, &Roles::default(), None),
        |opened, doors| run::listen(opened, Roles::default(), true, doors),
    ))
}

/// All interfaces of this machine.
pub(crate) fn interfaces() -> Vec<InterfaceAddress> {
    getifaddrs().map(Iterator::collect).unwrap_or_default()
}

/// The hardware address of an interface, in the usual notation.
fn hardware_address(name: &str) -> Option<String> {
    let all = interfaces();
    let link = all
        .iter()
        .filter(|found| found.interface_name == name)
        .find_map(|found| found.address.as_ref()?.as_link_addr()?.addr());
    link.map(|bytes| bytes.map(|byte| format!("{byte:02x}")).join(":"))
}

/// Logs what ucarp logs as soon as it has found the interface.
pub(crate) fn introduce(device: &IfName, sink: &Sink) {
    let own_name = netlink::own_name_of(device).unwrap_or_else(|| device.clone());
    let address =
        hardware_address(own_name.as_str()).unwrap_or_else(|| "00:00:00:00:00:00".to_owned());
    sink.say(
        Level::Info,
        &format!("Local advertised ethernet address is [{address}]"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handover() -> Handover {
        let place = Place {
            directory: "/".into(),
            environment: Vec::new(),
            grants: crate::effect::Grants::default(),
        };
        Handover {
            options: Options::default(),
            place,
        }
    }

    /// The engine has the descriptor of the file on which helper and reader rely.
    #[test]
    fn nobody_changes_what_was_handed_over() {
        let file = handover().store().unwrap();
        let number = file.as_raw_fd();
        let again = File::options()
            .write(true)
            .open(format!("/proc/self/fd/{number}"));
        assert!(again.and_then(|mut again| again.write_all(b"{")).is_err());
        assert!(
            Handover::open(&number.to_string()).is_ok(),
            "and it can be read"
        );
    }

    #[test]
    fn what_another_build_hands_over_is_refused() {
        let text = serde_json::to_string(&handover()).unwrap();
        for other in [
            text.clone(),
            format!("0123456789abcdef\n{text}"),
            format!("{BUILD}0\n{text}"),
            String::new(),
        ] {
            let file = sealed(c"carpd-test", other.as_bytes(), OnExec::Closed).unwrap();
            let refused = Handover::open(&file.as_raw_fd().to_string()).unwrap_err();
            let said = refused.to_string();
            assert!(
                said.contains("another build") && said.contains(role::REMEDY),
                "{said}"
            );
        }
    }
}
