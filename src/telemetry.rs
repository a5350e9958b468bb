//! Logs: where they go, and in which form.
//!
//! Everything goes to standard error, one event per line. Under systemd it goes to the journal with
//! its fields: `journalctl CARPD_VHID=40` finds what was logged with `vhid = 40`. Repeated warnings
//! and errors are summarised (`repeats.rs`).

pub mod child;
mod journal;
mod repeats;
pub mod stderr;
pub mod ucarp;

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{FormatFields, debug_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

pub use repeats::tell_repeats;
use stderr::Stderr;

use crate::types::{plain_json, shown_within};

/// The environment variable that sets what is logged: a level, or directives as in
/// `info,carpd::proto=trace`.
pub const FILTER_VARIABLE: &str = "CARPD_LOG";

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// [`Self::Journald`] if standard error is the journal, otherwise [`Self::Human`].
    Auto,
    /// Lines for people.
    Human,
    /// One JSON object per line.
    Json,
    /// Fields for the journal.
    Journald,
}

/// The longest value of a field that is logged in full, in characters. What a hook logs is cut
/// before that.
const FIELD_MAX: usize = 8 << 10;

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

/// Why logging cannot be started as requested.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The content of `CARPD_LOG` is invalid.
    #[error(
        "{FILTER_VARIABLE} is not a log filter: {0:?} is not a level, a module or MODULE=LEVEL"
    )]
    Filter(String),
    /// The journal was requested explicitly, but cannot be used.
    #[error("cannot log to the journal: {0}")]
    Journal(std::io::Error),
    /// There is no standard error to log to.
    #[error("cannot log to standard error: {0}")]
    Stderr(std::io::Error),
    /// Logging was started before.
    #[error(transparent)]
    Started(#[from] TryInitError),
}

/// Starts logging for the whole process. Anything logged before is lost.
///
/// `directives` is the content of [`FILTER_VARIABLE`], if it applies; `level` applies if there are
/// none.
///
/// # Errors
/// See [`TelemetryError`].
pub fn start(
    format: Format,
    level: LevelFilter,
    directives: Option<&str>,
) -> Result<(), TelemetryError> {
    let filter = filter(directives.unwrap_or_default(), level)?;
    let filter = filter.and(repeats::of_this_process());
    tracing_subscriber::registry()
        .with(output(format)?.with_filter(filter))
        .try_init()?;
    Ok(())
}

/// Which modules log what. A module without a level logs everything; one that no directive matches,
/// nothing.
fn filter(directives: &str, level: LevelFilter) -> Result<Targets, TelemetryError> {
    let directives = directives.split(',').map(str::trim);
    let mut directives = directives.filter(|text| !text.is_empty()).peekable();
    if directives.peek().is_none() {
        return Ok(Targets::new().with_default(level));
    }
    directives.try_fold(Targets::new(), |targets, text| {
        let wrong = || TelemetryError::Filter(text.to_owned());
        let is_of_a_module = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '-');
        let (module, level) = match (text.split_once('='), text.parse::<LevelFilter>()) {
            (None, Ok(level)) => return Ok(targets.with_default(level)),
            // Any other word is a misspelled level, which must not turn the log off.
            (None, Err(_)) if text.split("::").next() != Some("carpd") => return Err(wrong()),
            (None, Err(_)) => (text, LevelFilter::TRACE),
            (Some((module, "")), _) => (module, LevelFilter::TRACE),
            (Some((module, level)), _) => (module, level.parse().map_err(|_| wrong())?),
        };
        if module.is_empty() || !module.chars().all(is_of_a_module) {
            return Err(wrong());
        }
        Ok(targets.with_target(module, level))
    })
}

fn output(format: Format) -> Result<Boxed, TelemetryError> {
    let stderr = Stderr::open().map_err(TelemetryError::Stderr)?;
    let human = || {
        human(
            move || stderr,
            colour(&std::io::stderr()),
            !stderr_is_journal(),
        )
    };
    match format {
        Format::Auto if stderr_is_journal() => journal().or_else(|_| Ok(human())),
        Format::Journald => journal().map_err(TelemetryError::Journal),
        Format::Auto | Format::Human => Ok(human()),
        Format::Json => Ok(json(move || stderr)),
    }
}

// A reader that went away must not end the daemon: by default a failed write is reported with
// `eprintln!`, which panics.

/// Fields as people read them. What hooks and peers can influence must not look like one of our own
/// lines.
fn fields() -> impl for<'w> FormatFields<'w> + Send + Sync {
    debug_fn(|writer, field, value| {
        let text = format!("{value:?}");
        if field.name() == "message" {
            return write!(writer, "{}", shown_within(text, FIELD_MAX));
        }
        let text = logfmt(&text);
        match (field.name(), writer.has_ansi_escapes()) {
            (name, true) => write!(writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m{text}"),
            (name, false) => write!(writer, "{name}={text}"),
        }
    })
    .delimited(" ")
}

/// A value of a field, quoted if a logfmt parser would otherwise split it. Strings arrive in the
/// quotes of `Debug`, which are the same.
fn logfmt(value: &str) -> String {
    let text = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    if let Some(text) = text.filter(|text| is_escaped(text)) {
        return format!("\"{}\"", shown_within(text, FIELD_MAX));
    }
    let is_plain =
        |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(is_plain) {
        return shown_within(value, FIELD_MAX);
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", shown_within(escaped, FIELD_MAX))
}

/// Are all quotes in it escaped by a backslash?
fn is_escaped(text: &str) -> bool {
    let mut escaped = false;
    for c in text.chars() {
        match c {
            '"' if !escaped => return false,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    !escaped
}

/// `time`: stamp each line; the journal adds a timestamp itself.
fn human<W>(writer: W, ansi: bool, time: bool) -> Boxed
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .log_internal_errors(false);
    let layer = layer
        .with_ansi(ansi)
        .with_target(false)
        .compact()
        .fmt_fields(fields());
    if time {
        Box::new(layer)
    } else {
        Box::new(layer.without_time())
    }
}

fn json<W>(writer: impl Fn() -> W + Send + Sync + 'static) -> Boxed
where
    W: Write + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(move || PlainJson(writer()))
        .log_internal_errors(false);
    Box::new(
        layer
            .with_ansi(false)
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false),
    )
}

/// Writes JSON that cannot control a terminal. Each event is written as one piece.
struct PlainJson<W>(W);

impl<W: Write> Write for PlainJson<W> {
    fn write(&mut self, json: &[u8]) -> std::io::Result<usize> {
        self.0
            .write_all(plain_json(&String::from_utf8_lossy(json)).as_bytes())?;
        Ok(json.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

fn journal() -> std::io::Result<Boxed> {
    Ok(Box::new(journal::layer()?))
}

/// Should output to this stream be coloured: is it a terminal, and is `NO_COLOR` unset or empty
/// (no-color.org)?
#[must_use]
pub fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Is standard error the journal's stream? Compares its device and inode with `$JOURNAL_STREAM`
/// (systemd.exec(5)): the variable alone proves nothing, since children inherit it even if their
/// standard error goes elsewhere.
fn stderr_is_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else {
        return false;
    };
    let stderr = std::io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|fd| File::from(fd).metadata());
    stderr.is_ok_and(|m| stream == format!("{}:{}", m.dev(), m.ino()))
}

#[cfg(test)]
mod tests {
    use std::io::Error;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What one event looks like.
    fn logged(layer: impl FnOnce(Memory) -> Boxed) -> String {
        logged_as(layer, "No buffer space")
    }

    fn logged_as(layer: impl FnOnce(Memory) -> Boxed, err: &str) -> String {
        let memory = Memory::default();
        let subscriber = tracing_subscriber::registry().with(layer(memory.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(vhid = 40, err, "Could not send an advertisement");
        });
        String::from_utf8(memory.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn lines_for_people_have_the_sentence_first_and_colours_only_if_asked() {
        let line = logged(|memory| human(move || memory.clone(), false, false));
        assert_eq!(
            line,
            " WARN Could not send an advertisement vhid=40 err=\"No buffer space\"\n"
        );
        assert!(logged(|memory| human(move || memory.clone(), true, false)).contains('\u{1b}'));
        let stamped = logged(|memory| human(move || memory.clone(), false, true));
        assert!(
            stamped.starts_with("20") && stamped.ends_with(&line),
            "{stamped}"
        );
    }

    /// The fields of a line, as a logfmt parser reads them.
    fn read_logfmt(line: &str) -> Vec<(String, String)> {
        let (mut fields, mut rest) = (Vec::new(), line.trim());
        while let Some((key, after)) = rest.split_once('=') {
            let mut value = String::new();
            let mut chars = after.char_indices();
            let quoted = after.starts_with('"');
            let mut end = after.len();
            if quoted {
                chars.next();
            }
            while let Some((at, c)) = chars.next() {
                match c {
                    '\\' if quoted => match chars.next().unwrap().1 {
                        'n' => value.push('\n'),
                        other => value.push(other),
                    },
                    '"' if quoted => {
                        end = at + 1;
                        break;
                    }
                    ' ' if !quoted => {
                        end = at;
                        break;
                    }
                    c => value.push(c),
                }
            }
            fields.push((key.trim().to_owned(), value));
            rest = after[end..].trim_start();
        }
        assert_eq!(rest, "", "{line}");
        fields
    }

    #[test]
    fn a_reader_of_logfmt_finds_every_value_as_it_was() {
        let values = [
            "",
            "plain",
            "No buffer space",
            "a=b",
            "say \"hi\"",
            "\"quoted\"",
            "\"a\" and \"b\"",
            "two\nlines",
            "C:\\new\\",
            "tab\tand space ",
        ];
        for value in values {
            let memory = Memory::default();
            let to = memory.clone();
            let log = human(move || to.clone(), false, false);
            tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || {
                tracing::info!(text = value, shown = %value, number = 7, "");
            });
            let line = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
            assert_eq!(line.lines().count(), 1, "{line}");
            let fields = read_logfmt(line.trim_start().trim_start_matches("INFO"));
            let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["text", "shown", "number"], "{line}");
            assert_eq!(fields[0].1, value.replace('\t', "t"), "{line}");
            if value != "\"quoted\"" {
                assert_eq!(fields[1].1, value.replace('\t', "t"), "{line}");
            }
        }
    }

    #[test]
    fn nobody_forges_a_line() {
        let memory = Memory::default();
        let log = human(
            {
                let memory = memory.clone();
                move || memory.clone()
            },
            false,
            false,
        );
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || {
            let hooks = "x\n INFO Changed state to=master\r\u{1b}[2J";
            tracing::info!(error = %hooks, "{hooks}");
        });
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            !text.trim_end().contains(crate::types::is_treacherous),
            "{text}"
        );
        let line = logged_as(|memory| json(move || memory.clone()), "\u{202e}evil\u{9b}");
        assert!(
            !line.trim_end().contains(crate::types::is_treacherous),
            "{line}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&line).unwrap()["err"],
            "\u{202e}evil\u{9b}"
        );
    }

    #[test]
    fn a_filter_names_levels_and_modules() {
        use tracing::Level;
        let logs = |directives: &str, target: &str, level: Level| {
            filter(directives, LevelFilter::INFO)
                .unwrap()
                .would_enable(target, &level)
        };
        let (engine, proto) = ("carpd::engine", "carpd::proto::decide");
        for (directives, of_engine, of_proto) in [
            ("", Some(Level::INFO), Some(Level::INFO)),
            (",", Some(Level::INFO), Some(Level::INFO)),
            ("debug", Some(Level::DEBUG), Some(Level::DEBUG)),
            (
                "WARN, carpd::proto=trace",
                Some(Level::WARN),
                Some(Level::TRACE),
            ),
            ("info,carpd::proto=off", Some(Level::INFO), None),
            ("carpd::proto", None, Some(Level::TRACE)),
            ("2,carpd::proto=4", Some(Level::WARN), Some(Level::DEBUG)),
            (
                "carpd=info,carpd::proto=",
                Some(Level::INFO),
                Some(Level::TRACE),
            ),
        ] {
            for (target, most) in [(engine, of_engine), (proto, of_proto)] {
                for level in [
                    Level::ERROR,
                    Level::WARN,
                    Level::INFO,
                    Level::DEBUG,
                    Level::TRACE,
                ] {
                    let wanted = most.is_some_and(|most| level <= most);
                    assert_eq!(
                        logs(directives, target, level),
                        wanted,
                        "{directives}: {target} {level}"
                    );
                }
            }
        }
        for wrong in [
            "info,[[",
            "carpd=loud",
            "=info",
            "carpd::proto=info=debug",
            "[x]=info",
            "warning",
        ] {
            let refused = filter(wrong, LevelFilter::INFO).unwrap_err().to_string();
            assert!(
                refused.starts_with("CARPD_LOG is not a log filter: "),
                "{refused}"
            );
        }
    }

    #[test]
    fn json_is_one_flat_object_a_line() {
        let line = logged(|memory| json(move || memory.clone()));
        assert_eq!(line.matches('\n').count(), 1);
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (event["vhid"].as_i64(), event["level"].as_str()),
            (Some(40), Some("WARN")),
            "{line}"
        );
        assert_eq!(event["message"], "Could not send an advertisement");
    }

    #[test]
    fn a_log_that_cannot_be_written_ends_nothing() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(Error::other("gone"))
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Err(Error::other("gone"))
            }
        }
        assert_eq!(logged(|_| human(|| Broken, false, true)), "");
        assert_eq!(logged(|_| json(|| Broken)), "");
    }
}
