//! Processes of which each does one part of the configuration: probers and notifiers.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use super::helper;
use crate::config::{Config, Share};
use crate::keeper;
use crate::programs::role;
use crate::terminal::{Exit, output};

/// What such a process is to do.
pub(super) struct Part<N> {
    /// Which part.
    pub(super) number: N,
    /// The configuration file.
    pub(super) path: PathBuf,
    pub(super) share: Share,
    /// What the share has of it, without secrets.
    pub(super) config: Config,
}

/// Reads what the keeper passes on: the number of the part, the configuration file, its share, and
/// the number of the descriptor that has the copy of it. `process` names the process in the log.
///
/// # Errors
/// The exit status, if there is nothing to do for it; the reason is logged.
pub(super) fn part<N: FromStr>(process: &'static str) -> Result<Part<N>, ExitCode> {
    // The programs that it starts must not inherit what was passed to it.
    if let Err(error) = keeper::close_on_exec() {
        tracing::error!(%error, process, "A process stopped");
        return Err(Exit::Failure.into());
    }
    let mut words = role::arguments();
    let number = words.next().and_then(|word| word.to_str()?.parse().ok());
    let (Some(number), Some(path)) = (number, words.next().map(PathBuf::from)) else {
        return Err(Exit::Usage.into());
    };
    let share = helper::share(2);
    let copy = words.nth(1).and_then(|word| word.to_str()?.parse().ok());
    let copy = copy.and_then(|number| helper::copy_at(&path, number));
    match Config::load_copy_without_secrets(&path, copy) {
        Ok(loaded) => Ok(Part {
            number,
            config: loaded.config.only(&share),
            path,
            share,
        }),
        Err(report) => {
            output::problems(&report);
            Err(Exit::Config.into())
        }
    }
}
