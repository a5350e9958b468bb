//! `[daemon.log]`.

use super::{Defaulted, Section, defaulted};
use crate::config::choice::{LogFormat, LogLevel};
use crate::config::form::OneOf;

pub(in crate::config) static LEVEL: Defaulted<OneOf<LogLevel>> = defaulted(
    "level",
    OneOf::new(),
    || LogLevel::Info,
    "This and everything more serious is logged.",
);

pub(in crate::config) static FORMAT: Defaulted<OneOf<LogFormat>> = defaulted(
    "format",
    OneOf::new(),
    || LogFormat::Auto,
    "`auto` speaks to the journal with fields where standard error is the journal, and writes lines for people elsewhere.",
);

/// `[daemon.log]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[daemon.log]",
    text: "The daemon's own log, on standard error. `--log-level` and `--log-format` win over it.",
    keys: &[&LEVEL, &FORMAT],
};
