//! The roles of the daemon's own processes: each is this binary, started anew with the role as its first argument.

use std::ffi::OsStr;
use std::process::ExitCode;

use super::{Exit, Failure, output};

/// Roles by their first argument. They are started by the daemon alone.
const ROLES: &[(&str, Role)] = &[
    (crate::hooks::runner::ROLE, crate::hooks::runner::main),
    #[cfg(feature = "wasm")]
    (crate::hooks::compiler::ROLE, crate::hooks::compiler::main),
    ("__helper", crate::host::helper::main),
    (crate::host::courier::ROLE, crate::host::courier::main),
    (crate::keeper::ROLE, crate::keeper::serve),
    (crate::keeper::ENGINE_ROLE, super::run::engine),
];

/// Plays a role until its end.
type Role = fn() -> ExitCode;

/// Every role begins like this; no verb of the command line does.
const PREFIX: &[u8] = b"__";

/// Plays the role that the first argument names. `None` if it names none: then this is the command line.
#[must_use]
pub fn dispatch() -> Option<ExitCode> {
    if let Some(code) = crate::lab::run_role() {
        return Some(code);
    }
    let first = std::env::args_os().nth(1)?;
    let name = role_name(&first)?;
    let Some((_, play)) = ROLES.iter().find(|(role, _)| *role == name) else {
        let failure = Failure::new(Exit::Usage, format!("there is no internal role {name:?}"));
        return Some(output::report(&failure.hint("roles are started by the daemon itself; see carpd --help")).into());
    };
    Some(play())
}

fn role_name(first: &OsStr) -> Option<std::borrow::Cow<'_, str>> {
    first.as_encoded_bytes().starts_with(PREFIX).then(|| first.to_string_lossy())
}
