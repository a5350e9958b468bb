//! A daemon's notifier process: determines itself what it runs, and as whom.

use std::process::ExitCode;

use super::part::part;
use crate::terminal::Exit;
use crate::{engine, host};

/// Runs a notifier, for the target of this number.
pub(super) fn main() -> ExitCode {
    let part = match part("notifier") {
        Ok(part) => part,
        Err(code) => return code,
    };
    match engine::errand(&part.config, part.number) {
        Some(errand) => host::children::notifier::main(errand),
        None => Exit::Usage.into(),
    }
}
