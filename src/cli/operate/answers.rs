//! The status of each daemon that is meant: there may be several, or one that is divided by network
//! namespaces.

use super::daemon::{Daemon, ask_status, failure_of, forbidden, heading, name_of, unexpected};
use crate::cli::Failure;
use crate::control::{self, CallError, Order, Reply};
use crate::engine::report::Status;

/// What one of them answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Which one it is, if there are several.
    pub(super) heading: Option<String>,
    /// Its status, or why there is none.
    pub(super) status: Result<Box<Status>, Failure>,
}

/// Asks each of them, one after the other: each network namespace of one daemon, or all daemons of
/// this network namespace if none is named, or else the one that is meant.
pub(super) fn ask_each(daemon: &Daemon) -> Vec<Answer> {
    if let Some(shares) = daemon.in_each() {
        let ask = |(share, daemon)| Answer {
            heading: Some(heading(&share)),
            status: ask_status(&daemon),
        };
        return shares.into_iter().map(ask).collect();
    }
    let here = daemon.here(control::socket_path);
    if daemon.config.is_none() && daemon.instance.is_none() && here.len() > 1 {
        let ask = |directory: &std::path::PathBuf| Answer {
            heading: Some(format!("instance {}", name_of(directory))),
            status: ask_at(&control::socket_path(directory)),
        };
        return here.iter().map(ask).collect();
    }
    vec![Answer {
        heading: None,
        status: ask_status(daemon),
    }]
}

/// Asks the one that listens there.
fn ask_at(socket: &std::path::Path) -> Result<Box<Status>, Failure> {
    match control::call(socket, Order::Status) {
        Ok(Reply::Status(status)) => Ok(status),
        Ok(_) => Err(unexpected()),
        Err(error) => {
            let hint = match &error {
                CallError::Unreachable { path, source } => forbidden(path, source),
                CallError::Silent(trouble) | CallError::Cut(trouble) => Some(trouble.hint.clone()),
                CallError::Garbled(_) | CallError::Refused(_) => None,
            };
            let failure = failure_of(&error);
            Err(match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            })
        }
    }
}
