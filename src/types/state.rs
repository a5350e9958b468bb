//! The states of a virtual host.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The three states of carp(4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not taking part: the link is down, or not started yet.
    Init,
    /// Listening to a master.
    Backup,
    /// Holding the addresses and advertising.
    Master,
}

impl State {
    /// The lower-case word, as in logs, metrics and hooks.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Backup => "backup",
            Self::Master => "master",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
