//! What a running hook may ask of the daemon, and the answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::effect::{Denied, Effect, Query, Reply};

/// One thing that a running hook asks of the daemon.
#[expect(missing_docs, reason = "the fields' names and types say it all")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Change the host. `keep`: do not undo it when mastership ends. `wait_ms`: how long it may
    /// take.
    Effect {
        effect: Effect,
        keep: bool,
        wait_ms: Option<u64>,
    },
    /// Look at the host.
    Query(Query),
    /// Write to the daemon's log.
    Log {
        level: LogLevel,
        message: String,
        fields: Vec<(String, String)>,
    },
    /// Do nothing for a while; virtual time in tests.
    Sleep { ms: u64 },
    /// Read the hook's lasting state.
    StateGet { key: String },
    /// Write it; `None` deletes.
    StateSet { key: String, value: Option<Vec<u8>> },
}

/// How loud a hook's log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For the author.
    Debug,
    /// For the record.
    Info,
    /// Someone should look at it.
    Warn,
    /// Something failed.
    Error,
}

/// What the daemon says to an [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To an effect or query that worked.
    Reply(Reply),
    /// To a log line, a sleep, a state change.
    Done,
    /// To [`Ask::StateGet`].
    State(Option<Vec<u8>>),
    /// It did not work; raised in the hook.
    Error(AskError),
}

/// Why an [`Ask`] did not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AskError {
    /// The hook was not granted this.
    #[error("{0}")]
    Denied(Denied),
    /// The host tried and failed; the kernel's or the service manager's words.
    #[error("{message}")]
    Host {
        /// What failed and why.
        message: String,
        /// The system's error number, if there was one.
        errno: Option<i32>,
    },
    /// The arguments make no sense.
    #[error("{0}")]
    Invalid(String),
    /// A budget is used up.
    #[error("{0}")]
    OverBudget(String),
    /// A newer state of the virtual host overtook this run.
    #[error("superseded by a newer state")]
    Superseded,
    /// The time of the run, so long, is used up: whatever the hook does now, it has timed out.
    #[error("the time budget of {0:?} is used up")]
    TimeUp(Duration),
}

impl AskError {
    /// The answer to an effect where [`EntryPoint::may_change`](super::EntryPoint::may_change) says
    /// no.
    #[must_use]
    pub fn only_looks(effect: &Effect) -> Self {
        let why = if matches!(effect, Effect::CommandRun { .. } | Effect::HttpSend(_)) {
            "health is read-only: it may only run commands and send POSTs whose grant says that they change nothing (query = true)"
        } else {
            "health is read-only: it cannot change the host"
        };
        Self::Invalid(why.to_owned())
    }
}
