//! Why an engine could not start.

use std::io::{self};

use nix::unistd::{getegid, geteuid};

use crate::hooks::LoadError;
use crate::ledger::{InstanceError, Unread};
use crate::types::Name;

/// Exit status of a daemon that could not start, or did not end well.
pub(in crate::engine) const FAILED: u8 = 1;

/// Exit status of a daemon that lacks a privilege or a part of the system.
pub(in crate::engine) const CANNOT: u8 = 4;

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// A hook cannot be used.
    #[error("hook {name}: {source}")]
    Hook {
        /// Its name in the configuration.
        name: Name,
        /// Why.
        source: LoadError,
    },
    /// The system refused something basic.
    #[error("could not {what}: {source}")]
    System {
        /// A verb and its object.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The host cannot be acted upon.
    #[error("could not reach the kernel: {0}")]
    Host(#[from] crate::host::HostError),
    /// Another process is in the way.
    #[error(transparent)]
    Instance(InstanceError),
    /// Two virtual hosts use the same interface under two of its names.
    #[error("{0}")]
    Shared(String),
    /// It is unknown what an earlier process left behind.
    #[error("{0}; to fix it: {1}")]
    Unread(Unread, String),
    /// It is unknown whether another process is in the way.
    #[error("{0}; to fix it: {1}")]
    Closed(InstanceError, String),
}

impl StartError {
    /// The exit status that says so.
    pub(in crate::engine) const fn status(&self) -> u8 {
        match self {
            Self::Unread(..) | Self::Closed(..) => CANNOT,
            Self::Hook { .. }
            | Self::System { .. }
            | Self::Host(_)
            | Self::Shared(_)
            | Self::Instance(_) => FAILED,
        }
    }
}

impl From<InstanceError> for StartError {
    fn from(error: InstanceError) -> Self {
        match error.mend(own()) {
            Some(mend) => Self::Closed(error, mend),
            None => Self::Instance(error),
        }
    }
}

pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}

/// The user and group of this process.
pub(super) fn own() -> (u32, u32) {
    (geteuid().as_raw(), getegid().as_raw())
}
