//! A daemon's notifier process: determines itself what it runs, and as whom.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::Config;
use crate::programs::role;
use crate::terminal::{Exit, output};
use crate::{engine, host, keeper};

/// Runs a notifier. The keeper passes the number of its target, the configuration file, and the
/// number of the descriptor that has the copy of it.
pub(super) fn main() -> ExitCode {
    // The program that it starts must not inherit what was passed to it.
    if let Err(error) = keeper::close_on_exec() {
        tracing::error!(%error, "A notifier process stopped");
        return Exit::Failure.into();
    }
    let mut words = role::arguments();
    let part = words.next().and_then(|word| word.to_str()?.parse().ok());
    let (Some(part), Some(path)) = (part, words.next().map(PathBuf::from)) else {
        return Exit::Usage.into();
    };
    let share = super::helper::share(2);
    let number = words.nth(1).and_then(|word| word.to_str()?.parse().ok());
    let copy = number.and_then(|number| super::helper::copy_at(&path, number));
    match Config::load_copy_without_secrets(&path, copy) {
        Ok(loaded) => match engine::errand(&loaded.config.only(&share), part) {
            Some(errand) => host::children::notifier::main(errand),
            None => Exit::Usage.into(),
        },
        Err(report) => {
            output::problems(&report);
            Exit::Config.into()
        }
    }
}
