//! The roles of the daemon's own processes: each is one of the programs, started anew with the role
//! as its first argument and the build of the starting program as its second.
//!
//! That is the only handshake: a program of another build says so and exits before it reads or
//! writes anything that it might not understand. So messages need no version.

use std::ffi::{CStr, OsString};
use std::io::{Write as _, stderr};
use std::process::ExitCode;

use nix::sys::prctl;

use super::BUILD;
use crate::telemetry;

/// Every role begins like this; no command does.
const PREFIX: &str = "__";

/// The longest process name that the kernel stores, in bytes.
const NAME_MAX: usize = 15;

/// The exit status for an invalid command line.
const USAGE: u8 = 2;

/// The exit status of a program of another build than the one that started it (EX_PROTOCOL of
/// sysexits.h).
pub const OTHER_BUILD: u8 = 76;

/// What to do about that.
pub const REMEDY: &str =
    "install carpd, carpd-daemon and carpd-worker of one build, and restart the daemon";

/// What a program does if its first argument names a role. Only the daemon starts roles.
#[derive(Debug, Clone, Copy)]
pub struct Role {
    argument: &'static str,
    shown: &'static CStr,
    log: Log,
    play: fn() -> ExitCode,
}

impl Role {
    /// The role with this first argument; `shown` is the process name that the kernel shows, and
    /// `play` runs the role until it ends.
    ///
    /// # Panics
    /// At compile time, if the argument could be a command, or if the kernel would truncate the
    /// name.
    #[must_use]
    pub const fn new(
        argument: &'static str,
        shown: &'static CStr,
        log: Log,
        play: fn() -> ExitCode,
    ) -> Self {
        assert!(
            matches!(argument.as_bytes(), [b'_', b'_', ..]),
            "no verb of the command line"
        );
        assert!(
            shown.count_bytes() <= NAME_MAX,
            "the kernel shows all of it"
        );
        Self {
            argument,
            shown,
            log,
            play,
        }
    }
}

/// The first arguments with which to start a role, before the role's own.
pub fn words(role: &str) -> impl Iterator<Item = &str> {
    [role, BUILD].into_iter()
}

/// The arguments of the role that this process runs.
pub fn arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip(3)
}

/// Where a role logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// To the keeper, its parent.
    Keeper,
    /// It decides itself, or does not log.
    Own,
}

/// Runs the role that the first argument names. `None` if it does not name a role.
#[must_use]
pub fn play(roles: &[Role]) -> Option<ExitCode> {
    let first = std::env::args_os().nth(1)?;
    let name = first.to_str().filter(|first| first.starts_with(PREFIX))?;
    let Some(role) = roles.iter().find(|role| role.argument == name) else {
        // There is nowhere to report a failure to write this.
        _ = writeln!(
            stderr(),
            "error: there is no internal role {name:?}\n\
             hint: roles are started by the daemon itself; see carpd --help"
        );
        return Some(USAGE.into());
    };
    if std::env::args_os()
        .nth(2)
        .is_none_or(|build| build != BUILD)
    {
        _ = writeln!(
            stderr(),
            "error: {} is of another build than the program that started it: {REMEDY}",
            std::env::current_exe().unwrap_or_default().display()
        );
        return Some(OTHER_BUILD.into());
    }
    // Executed by its descriptor, it would have a number for a name. The name is only for people,
    // so a failure to set it does not matter.
    _ = prctl::set_name(role.shown);
    if role.log == Log::Keeper {
        // A process runs one role only, so nothing was started before.
        _ = telemetry::child::start();
    }
    Some((role.play)())
}
