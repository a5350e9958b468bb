//! What a hook has asked for and what came of it: the ground of every plan.

use std::collections::BTreeMap;
use std::fmt;

use crate::effect::{Effect, Resource, Value};
use crate::hooks::LogLevel;

/// One effect that the hook asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// What.
    pub(super) effect: Effect,
    /// What came of it.
    pub(super) came: Came,
}

/// What came of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// It was done, or there was nothing to do.
    Done,
    /// The host said no.
    Failed,
    /// The gate said no.
    Denied,
    /// The run ended before there was an answer.
    Open,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.effect.fmt(f)?;
        f.write_str(match self.came {
            Came::Done => "",
            Came::Failed => " (failed)",
            Came::Denied => " (denied)",
            Came::Open => " (interrupted)",
        })
    }
}

/// One line of the hook's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogLine {
    /// How loud.
    pub(super) level: LogLevel,
    /// The sentence.
    pub(super) message: String,
    /// The values.
    pub(super) fields: BTreeMap<String, String>,
}

impl LogLine {
    /// The level's word.
    pub(super) const fn level(&self) -> &'static str {
        match self.level {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        }
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.level(), self.message)?;
        self.fields
            .iter()
            .try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

/// The record of one host.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// What was asked for since the plan began.
    pub(super) plan: Vec<Asked>,
    /// What the gate refused since the last event.
    pub(super) denied: Vec<String>,
    /// What was undone since the last event.
    pub(super) undone: Vec<String>,
    /// Everything that was logged.
    pub(super) log: Vec<LogLine>,
    /// Text of log lines, in bytes.
    pub(super) log_bytes: usize,
    /// What stays by the hook's own wish.
    pub(super) lasting: BTreeMap<Resource, Value>,
    /// What somebody else has changed.
    pub(super) foreign: BTreeMap<Resource, Value>,
    /// By `carp.demote`.
    pub(super) demotion: u8,
    /// By `carp.resign`.
    pub(super) resigned: Option<String>,
}
