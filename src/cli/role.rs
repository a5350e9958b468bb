//! The roles of the daemon's own processes: each is this binary, started anew with the role as its
//! first argument.

use std::ffi::{CStr, OsStr};
use std::process::ExitCode;

use nix::sys::prctl;
use tracing_subscriber::filter::LevelFilter;

use super::{Exit, Failure, output};
use crate::telemetry::{self, Format};

/// Roles by their first argument, with the name that the kernel shows for the process (at most 15
/// bytes). They are started by the daemon alone.
const ROLES: &[(&str, &CStr, Role)] = &[
    (
        crate::hooks::process::runner::ROLE,
        c"carpd-runner",
        crate::hooks::process::runner::main,
    ),
    #[cfg(feature = "wasm")]
    (
        crate::hooks::process::compiler::ROLE,
        c"carpd-compiler",
        crate::hooks::process::compiler::main,
    ),
    (
        crate::hooks::contract::message::TESTER_ROLE,
        c"carpd-tester",
        crate::testing::process,
    ),
    ("__helper", c"carpd-helper", super::helper::main),
    (crate::reader::ROLE, c"carpd-reader", super::reader::main),
    (
        crate::host::children::http_worker::ROLE,
        c"carpd-courier",
        crate::host::children::http_worker::main,
    ),
    (crate::keeper::ROLE, c"carpd-keeper", crate::keeper::serve),
    (
        crate::keeper::ENGINE_ROLE,
        c"carpd-engine",
        super::operate::run::engine,
    ),
];

/// Plays a role until its end.
type Role = fn() -> ExitCode;

/// Every role begins like this; no verb of the command line does.
const PREFIX: &[u8] = b"__";

/// Plays the role that the first argument names. `None` if it names none: then this is the command
/// line.
#[must_use]
pub fn dispatch() -> Option<ExitCode> {
    if let Some(code) = crate::lab::run_role() {
        return Some(code);
    }
    let first = std::env::args_os().nth(1)?;
    let name = role_name(&first)?;
    let Some((_, shown, play)) = ROLES.iter().find(|(role, ..)| *role == name) else {
        let failure = Failure::new(Exit::Usage, format!("there is no internal role {name:?}"));
        return Some(
            output::report(
                &failure.hint("roles are started by the daemon itself; see carpd --help"),
            )
            .into(),
        );
    };
    // Executed as /proc/self/exe, it would be called `exe`. The name is for people: a kernel that
    // refuses it changes nothing.
    _ = prctl::set_name(shown);
    start_log(&name);
    Some(play())
}

/// Where a role logs. The engine's arguments say it, and a keeper with an engine has the log of the
/// command that it was.
fn start_log(role: &str) {
    // A role is played once: nothing was started before. What a tester's engine does it does to a
    // host that does not exist: in the log it would look like the daemon's own deeds.
    let silent = [
        crate::keeper::ENGINE_ROLE,
        crate::hooks::contract::message::TESTER_ROLE,
    ];
    if role == crate::keeper::ROLE {
        _ = telemetry::start(Format::Human, LevelFilter::WARN, None);
    } else if !silent.contains(&role) {
        _ = telemetry::child::start();
    }
}

fn role_name(first: &OsStr) -> Option<std::borrow::Cow<'_, str>> {
    first
        .as_encoded_bytes()
        .starts_with(PREFIX)
        .then(|| first.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::ROLES;

    #[test]
    fn the_kernel_shows_the_whole_name_of_every_role() {
        for (role, shown, _) in ROLES {
            assert!(
                shown.count_bytes() <= 15 && shown.to_bytes().starts_with(b"carpd-"),
                "{role}: {shown:?}"
            );
        }
    }
}
