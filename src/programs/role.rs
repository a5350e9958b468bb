//! The roles of the daemon's own processes: each is one of the programs, started anew with the role
//! as its first argument and the build of whoever starts it as its second.
//!
//! That is their one handshake: a program of another build says so and ends, before it reads or
//! writes a byte of what it would not understand. So no message has a version.

use std::ffi::{CStr, OsString};
use std::io::{Write as _, stderr};
use std::process::ExitCode;

use nix::sys::prctl;

use super::BUILD;
use crate::telemetry;

/// Every role begins like this; no verb of the command line does.
const PREFIX: &str = "__";

/// The longest name that the kernel keeps, in bytes.
const NAME_MAX: usize = 15;

/// Exit status of a command line that makes no sense.
const USAGE: u8 = 2;

/// Exit status of a program that whoever started it cannot speak with (EX_PROTOCOL of sysexits.h).
pub const OTHER_BUILD: u8 = 76;

/// What to do about that.
pub const REMEDY: &str =
    "install carpd, carpd-daemon and carpd-worker of one build, and restart the daemon";

/// What a program is when its first argument says so. Roles are started by the daemon alone.
#[derive(Debug, Clone, Copy)]
pub struct Role {
    argument: &'static str,
    shown: &'static CStr,
    log: Log,
    play: fn() -> ExitCode,
}

impl Role {
    /// The role of this first argument; `shown` is the name that the kernel shows for the process,
    /// and `play` plays it until its end.
    ///
    /// # Panics
    /// Where it is compiled: the argument could be a verb, or the kernel would cut the name.
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

/// What whoever starts a role has to say after it, and before its own arguments.
pub fn words(role: &str) -> impl Iterator<Item = &str> {
    [role, BUILD].into_iter()
}

/// The arguments of the role that this process plays.
pub fn arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip(3)
}

/// Where a role logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// To the keeper, which is its parent.
    Keeper,
    /// It says so itself, or keeps silent.
    Own,
}

/// Plays the role that the first argument names. `None` if that is no role's name.
#[must_use]
pub fn play(roles: &[Role]) -> Option<ExitCode> {
    let first = std::env::args_os().nth(1)?;
    let name = first.to_str().filter(|first| first.starts_with(PREFIX))?;
    let Some(role) = roles.iter().find(|role| role.argument == name) else {
        // Nobody is left to tell if this cannot be written.
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
            "error: {} is of another build than what started it: {REMEDY}",
            std::env::current_exe().unwrap_or_default().display()
        );
        return Some(OTHER_BUILD.into());
    }
    // Executed by its descriptor, it would be called by a number. The name is for people: a kernel
    // that refuses it changes nothing.
    _ = prctl::set_name(role.shown);
    if role.log == Log::Keeper {
        // A role is played once: nothing was started before.
        _ = telemetry::child::start();
    }
    Some((role.play)())
}
