//! What has happened lately, for those who look only now.

use serde::{Deserialize, Serialize};

use crate::types::{Name, State};

/// How many are reported at most, of all virtual hosts together.
pub const RECENT_MAX: usize = 64;

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The virtual host.
    pub vhost: Name,
    /// What.
    #[serde(flatten)]
    pub what: Happened,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Happened {
    /// Its state changed.
    Transition {
        /// From this one.
        from: State,
        /// To this one.
        to: State,
        /// The transition's number.
        seq: u64,
        /// The cause, as a text.
        why: String,
        /// The peer whose advertisement led to it.
        peer: Option<String>,
    },
    /// A hook ran.
    HookRun {
        /// The hook.
        hook: Name,
        /// The entry point.
        entry: String,
        /// For how long, in ms.
        took_ms: u64,
        /// How it ended.
        outcome: RunOutcome,
        /// The error, if it failed.
        error: String,
    },
}

/// How a run of a hook ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Well.
    Done,
    /// Not well.
    Failed,
    /// A newer state superseded it.
    Superseded,
}
