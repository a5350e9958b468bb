//! The log of the keeper's children. They may not open a log themselves: each line that they log is
//! one packet on their standard error, and the keeper writes it to the daemon's log.
//!
//! Some of them handle untrusted input, so a packet is trusted no more than its sender: it contains
//! a level and a text. The keeper limits the length of the text, makes it a single line and adds
//! the name of the process.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use tracing::field::{Field, Visit};
use tracing::subscriber::SetGlobalDefaultError;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;

use crate::types::shown_within;

/// The longest packet that is sent or read in full, in bytes.
pub const PACKET_MAX: usize = 4096;
/// The number of lines of one packet that are logged: a library's message before it aborts may have
/// several.
const LINES_MAX: usize = 8;
/// The number of characters of a message, and of its details, that are logged.
const TEXT_MAX: usize = 2000;

/// Starts a packet of ours; any other is plain text.
const OURS: char = '\u{1e}';
/// Separates the message from its details.
const BETWEEN: char = '\u{1f}';

/// An entry of a child's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The level. A child can claim any level.
    pub level: Level,
    /// The sentence, as one harmless line.
    pub message: String,
    /// The fields, as one harmless line.
    pub details: String,
}

/// From now on, this process logs to its keeper.
///
/// # Errors
/// Logging was started before.
pub fn start() -> Result<(), SetGlobalDefaultError> {
    tracing::subscriber::set_global_default(Registry::default().with(ToKeeper))
}

/// The entries of a packet. Text that our code did not log (a panic, a message of the C library
/// before it aborts) becomes one warning per line.
#[must_use]
pub fn read(packet: &[u8]) -> Vec<LogEntry> {
    let text = String::from_utf8_lossy(packet);
    let Some((level, text)) = text.strip_prefix(OURS).and_then(split_level) else {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let entry = |line: &str| LogEntry {
            level: Level::WARN,
            message: bounded(line),
            details: String::new(),
        };
        return lines.take(LINES_MAX).map(entry).collect();
    };
    let (message, details) = text.split_once(BETWEEN).unwrap_or((text, ""));
    vec![LogEntry {
        level,
        message: bounded(message),
        details: bounded(details),
    }]
}

fn bounded(text: &str) -> String {
    shown_within(text.trim(), TEXT_MAX)
}

/// As they appear in a packet.
const LEVELS: [(char, Level); 4] = [
    ('E', Level::ERROR),
    ('W', Level::WARN),
    ('I', Level::INFO),
    ('D', Level::DEBUG),
];

fn split_level(text: &str) -> Option<(Level, &str)> {
    LEVELS
        .iter()
        .find_map(|(letter, level)| Some((*level, text.strip_prefix(*letter)?)))
}

struct ToKeeper;

impl<S: Subscriber> Layer<S> for ToKeeper {
    /// What libraries log stays out of the daemon's log, as does the trace level.
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("carpd") && *metadata.level() <= Level::DEBUG
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // One write is one packet. A packet that does not fit is lost: a child does not wait for
        // its log.
        _ = std::io::stderr().write_all(packet(event).as_bytes());
    }
}

fn packet(event: &Event<'_>) -> String {
    let level = event.metadata().level();
    let letter = LEVELS
        .iter()
        .find_map(|(letter, known)| (known == level).then_some(*letter));
    let mut line = Line::new();
    event.record(&mut line);
    let mut text = String::from_iter([OURS, letter.unwrap_or('D')]);
    text += &line.message;
    text.push(BETWEEN);
    text += &line.details;
    text.truncate(text.floor_char_boundary(PACKET_MAX));
    text
}

struct Line {
    message: String,
    details: String,
}

impl Line {
    const fn new() -> Self {
        Self {
            message: String::new(),
            details: String::new(),
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        _ = match (field.name(), self.details.is_empty()) {
            ("message", _) => write!(self.message, "{value:?}"),
            (name, true) => write!(self.details, "{name}={value:?}"),
            (name, false) => write!(self.details, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the keeper makes of what a child logs.
    fn said(log: impl Fn()) -> Vec<LogEntry> {
        use std::sync::{Arc, Mutex};
        struct Keep(Arc<Mutex<Vec<u8>>>);
        impl<S: Subscriber> Layer<S> for Keep {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                self.0.lock().unwrap().extend(packet(event).into_bytes());
            }
        }
        let kept = Arc::new(Mutex::new(Vec::new()));
        let log_there = Registry::default().with(Keep(Arc::clone(&kept)));
        tracing::subscriber::with_default(log_there, log);
        let packet = kept.lock().unwrap().clone();
        assert!(packet.len() <= PACKET_MAX, "{}", packet.len());
        read(&packet)
    }

    #[test]
    fn what_a_child_logs_keeps_its_level_its_sentence_and_its_fields() {
        let path = std::path::Path::new("/x");
        let all = said(|| tracing::warn!(path = %path.display(), count = 3, "Could not write"));
        let expected = LogEntry {
            level: Level::WARN,
            message: "Could not write".to_owned(),
            details: "path=/x count=3".to_owned(),
        };
        assert_eq!(all, [expected]);
        let long = "x".repeat(2 * PACKET_MAX);
        let all = said(|| tracing::error!("{long}"));
        assert_eq!(all[0].level, Level::ERROR);
        assert!(all[0].message.chars().count() <= TEXT_MAX + 40);
    }

    #[test]
    fn what_a_child_says_is_harmless_and_bounded_whatever_it_is() {
        let forged = b"\x1eWx\n INFO Changed state to=master\x1b[2J\x1fa=\n\xff";
        let mut packets = vec![forged.to_vec(), b"\x1e".to_vec(), b"\x1eX".to_vec()];
        packets.push(b"thread panicked\n\nat x\x1b[2J\n".to_vec());
        packets.push(b"line\n".repeat(1000));
        for packet in packets {
            let all = read(&packet);
            assert!(all.len() <= LINES_MAX);
            for LogEntry {
                message, details, ..
            } in all
            {
                let text = message + &details;
                assert!(!text.contains(crate::types::is_treacherous), "{text}");
                assert!(!text.contains('\n') && text.len() <= 4 * TEXT_MAX);
            }
        }
        let lines = read(b"thread panicked\n\nat x\n");
        let words = lines.iter().map(|said| said.message.as_str());
        assert_eq!(words.collect::<Vec<_>>(), ["thread panicked", "at x"]);
        assert!(lines.iter().all(|said| said.level == Level::WARN));
    }
}
