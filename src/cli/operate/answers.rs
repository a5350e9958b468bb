//! The status of each daemon that is meant: there may be several, or one that is divided by network
//! namespaces.

use super::daemon::{Daemon, ask_status};
use crate::cli::Failure;
use crate::engine::report::Status;

/// What one of them answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Which one it is, if there are several.
    pub(super) heading: Option<String>,
    /// Its status, or why there is none.
    pub(super) status: Result<Box<Status>, Failure>,
}

/// Asks each of them, one after the other.
pub(super) fn ask_each(daemon: &Daemon) -> Vec<Answer> {
    match daemon.each() {
        Some(all) => {
            let ask = |(heading, daemon)| Answer {
                heading: Some(heading),
                status: ask_status(&daemon),
            };
            all.into_iter().map(ask).collect()
        }
        None => vec![Answer {
            heading: None,
            status: ask_status(daemon),
        }],
    }
}
