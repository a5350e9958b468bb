//! `[daemon.log]`.

use super::{Defaulted, Section, defaulted};
use crate::config::choice::{LogFormat, LogLevel};
use crate::config::form::OneOf;

pub(in crate::config) static LEVEL: Defaulted<OneOf<LogLevel>> = defaulted(
    "level",
    OneOf::new(),
    || LogLevel::Info,
    "Messages of this level and above are logged.",
);

pub(in crate::config) static FORMAT: Defaulted<OneOf<LogFormat>> = defaulted(
    "format",
    OneOf::new(),
    || LogFormat::Auto,
    "`auto` logs to the journal, with fields, if standard error is the journal, and otherwise writes plain lines.",
);

/// `[daemon.log]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[daemon.log]",
    text: "The daemon's own log, on standard error. `--log-level` and `--log-format` override these settings.",
    keys: &[&LEVEL, &FORMAT],
};
