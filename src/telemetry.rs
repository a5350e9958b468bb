//! Logs: who reads them and in which form.
//!
//! Everything goes to standard error, one event each. Under systemd it goes to the journal with its fields:
//! `journalctl CARPD_VHID=40` finds what `vhid = 40` logged.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// The environment variable that sets what is logged: a level, or directives as in `info,carpd::proto=trace`.
pub const FILTER_VARIABLE: &str = "CARPD_LOG";

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// [`Self::Journald`] where standard error is the journal, else [`Self::Human`].
    Auto,
    /// Lines for people.
    Human,
    /// One JSON object a line.
    Json,
    /// Fields for the journal.
    Journald,
}

/// Why nothing can be logged as asked.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// What `CARPD_LOG` holds makes no sense.
    #[error("{FILTER_VARIABLE} is not a log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The journal was asked for by name and is not there.
    #[error("cannot log to the journal: {0}")]
    Journal(std::io::Error),
    /// Logging was started before.
    #[error(transparent)]
    Started(#[from] TryInitError),
}

/// Starts logging for the whole process. What is logged before is lost.
///
/// `directives` is the content of [`FILTER_VARIABLE`], if that is to count; `level` holds for what it does not mention.
///
/// # Errors
/// See [`TelemetryError`].
pub fn start(format: Format, level: LevelFilter, directives: Option<&str>) -> Result<(), TelemetryError> {
    let filter = match directives.filter(|d| !d.is_empty()) {
        Some(directives) => EnvFilter::builder().with_default_directive(level.into()).parse(directives)?,
        None => EnvFilter::default().add_directive(level.into()),
    };
    tracing_subscriber::registry().with(output(format)?.with_filter(filter)).try_init()?;
    Ok(())
}

fn output(format: Format) -> Result<Box<dyn Layer<Registry> + Send + Sync>, TelemetryError> {
    match format {
        Format::Auto if stderr_is_journal() => journal().or_else(|_| Ok(human())),
        Format::Journald => journal().map_err(TelemetryError::Journal),
        Format::Auto | Format::Human => Ok(human()),
        Format::Json => Ok(json()),
    }
}

// A reader that went away must not end the daemon: by default a failed write is reported by `eprintln!`, which panics.

fn human() -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let layer = layer.with_ansi(colour(&std::io::stderr())).with_target(false).compact();
    // The journal stamps each line itself.
    if stderr_is_journal() { Box::new(layer.without_time()) } else { Box::new(layer) }
}

fn json() -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    Box::new(layer.with_ansi(false).json().flatten_event(true).with_current_span(false))
}

fn journal() -> std::io::Result<Box<dyn Layer<Registry> + Send + Sync>> {
    let layer = tracing_journald::layer()?.with_field_prefix(Some("CARPD".to_owned()));
    Ok(Box::new(layer.with_syslog_identifier("carpd".to_owned())))
}

/// Should output to this stream have colours: is it a terminal, and is `NO_COLOR` unset or empty (no-color.org)?
#[must_use]
pub fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Is standard error the journal's stream? Compares its device and inode with `$JOURNAL_STREAM` (systemd.exec(5)): the
/// variable alone is inherited by children whose standard error leads elsewhere.
fn stderr_is_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().and_then(|fd| File::from(fd).metadata());
    stderr.is_ok_and(|m| stream == format!("{}:{}", m.dev(), m.ino()))
}
