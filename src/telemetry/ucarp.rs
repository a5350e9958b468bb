//! Logs as ucarp does: its wording and format, to syslog and to the terminal.
//!
//! The rest of the daemon knows nothing of this. A [`Layer`] receives what it logs and rewrites it
//! in ucarp's words where ucarp has any, for scripts that search for them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level as TracingLevel, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::types::shown;

/// Where the machine's syslog listens.
const SYSLOG: &str = "/dev/log";
/// The first refused packet of a kind is logged, and then one in this many.
const REFUSED_EVERY: u64 = 100;

/// The severity of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something happened: ucarp logs changes of state this way.
    Warning,
    /// For the record.
    Info,
    /// Only with `-D`.
    Debug,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }

    /// The severity in syslog.
    const fn severity(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }
}

/// Where lines go.
#[derive(Debug)]
pub struct Sink {
    /// The number of the syslog facility; `None`: nothing is sent to syslog.
    facility: Option<u8>,
    /// Lines to standard output and standard error.
    terminal: bool,
    debug: bool,
    pid: u32,
    socket: Option<UnixDatagram>,
    syslog: PathBuf,
}

impl Sink {
    /// `pid` is the number that lines have in syslog.
    #[must_use]
    pub fn new(facility: Option<u8>, terminal: bool, debug: bool, pid: u32) -> Self {
        let socket = UnixDatagram::unbound()
            .ok()
            .filter(|socket| socket.set_nonblocking(true).is_ok());
        Self {
            facility,
            terminal,
            debug,
            pid,
            socket,
            syslog: PathBuf::from(SYSLOG),
        }
    }

    /// Writes one line. If it cannot be written, it is lost: a full log must not stop anything.
    pub fn say(&self, level: Level, text: &str) {
        if level == Level::Debug && !self.debug {
            return;
        }
        let text = shown(text);
        let now = jiff::ZonedDateTime::now();
        if self.terminal {
            let line = format!(
                "{}: [{}] {text}\n",
                now.strftime("%Y-%m-%dT%H:%M:%S%.6f"),
                level.word()
            );
            write(matches!(level, Level::Error | Level::Warning), &line);
        }
        if let (Some(facility), Some(socket)) = (self.facility, &self.socket) {
            let priority = facility * 8 + level.severity();
            let stamp = now.strftime("%b %e %H:%M:%S");
            let line = format!(
                "<{priority}>{stamp} ucarp[{}]: [{}] {text}",
                self.pid,
                level.word()
            );
            let _ = socket.send_to(line.as_bytes(), &self.syslog);
        }
    }

    /// What a script wrote: to the terminal unchanged, as if the script had written there itself;
    /// otherwise to syslog.
    fn script(&self, to_stderr: bool, line: &str) {
        if self.terminal {
            write(to_stderr, &format!("{line}\n"));
        } else {
            self.say(Level::Info, line);
        }
    }
}

fn write(to_stderr: bool, line: &str) {
    let _ = if to_stderr {
        std::io::stderr().lock().write_all(line.as_bytes())
    } else {
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).and_then(|()| out.flush())
    };
}

/// From now on, this process logs as ucarp does.
///
/// # Errors
/// Logging was started before.
pub fn start(sink: Sink) -> Result<(), TryInitError> {
    let translator = Translator {
        sink,
        state: Mutex::default(),
    };
    tracing_subscriber::registry()
        .with(translator.with_filter(super::repeats::of_this_process()))
        .try_init()
}

/// Rewrites in ucarp's words what the daemon logs.
#[derive(Debug)]
struct Translator {
    sink: Sink,
    state: Mutex<Said>,
}

/// What has been logged: ucarp logs changes only, and has only these two states.
#[derive(Debug, Default)]
struct Said {
    state: Option<&'static str>,
    refused: BTreeMap<String, u64>,
}

/// One event of the daemon's log.
#[derive(Debug, Default)]
struct Logged {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Logged {
    fn field(&self, name: &str) -> &str {
        self.fields
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("", |(_, value)| value)
    }

    /// For events that ucarp has no words for.
    fn whole(&self) -> String {
        self.fields
            .iter()
            .fold(self.message.clone(), |text, (name, value)| {
                format!("{text} {name}={value}")
            })
    }
}

impl Visit for Logged {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }
}

impl Logged {
    fn add(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push((field.name(), value));
        }
    }
}

impl<S: Subscriber> Layer<S> for Translator {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !event.metadata().target().starts_with("carpd") {
            return;
        }
        let mut logged = Logged::default();
        event.record(&mut logged);
        self.translate(*event.metadata().level(), &logged);
    }
}

impl Translator {
    fn translate(&self, level: TracingLevel, logged: &Logged) {
        let say = |level, text: &str| self.sink.say(level, text);
        match logged.message.as_str() {
            "Changed state" => self.transition(logged),
            "Running a script" => say(
                Level::Warning,
                &format!("Spawning [{}]", logged.field("script")),
            ),
            "Script output" => self
                .sink
                .script(logged.field("stream") == "stderr", logged.field("line")),
            "Could not run a script" => {
                say(
                    Level::Error,
                    &format!(
                        "Unable to exec {}: {}",
                        logged.field("script"),
                        logged.field("why")
                    ),
                );
            }
            "State report" => {
                let (interface, vhid) = (logged.field("interface"), logged.field("vhid"));
                say(
                    Level::Info,
                    &format!(
                        "{} on {interface} id {vhid}",
                        ucarp_state(logged.field("state"))
                    ),
                );
            }
            "Heard a worse master; announcing the addresses again" => {
                say(
                    Level::Warning,
                    "Non-preferred master advertising: reasserting control of VIP with another gratuitous arp",
                );
            }
            "Could not send" => say(
                Level::Warning,
                &format!("write() has failed: {}", logged.field("error")),
            ),
            "Could not announce an address" => {
                say(
                    Level::Error,
                    &format!("write() in garp: {}", logged.field("error")),
                );
            }
            "Refused a packet" => self.refused(logged.field("reason")),
            _ => match level {
                TracingLevel::ERROR => say(Level::Error, &logged.whole()),
                TracingLevel::WARN => say(Level::Warning, &logged.whole()),
                TracingLevel::INFO | TracingLevel::DEBUG => say(Level::Debug, &logged.whole()),
                _ => {}
            },
        }
    }

    fn transition(&self, logged: &Logged) {
        let to = ucarp_state(logged.field("to"));
        // On an orderly end, ucarp logs nothing about its state.
        if logged.field("cause") == "shutdown" {
            return;
        }
        let before = self
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .state
            .replace(to);
        if before != Some(to) {
            self.sink
                .say(Level::Warning, &format!("Switching to state: {to}"));
        }
        let text = match (to, logged.field("cause")) {
            ("MASTER", "preempt" | "peer-demoted") => "Putting MASTER down - preemption",
            ("MASTER", "master-leaving") => "Putting MASTER DOWN (going to time out)",
            ("BACKUP", "better-master" | "tie") => {
                "Preferred master advertised: going back to BACKUP state"
            }
            ("BACKUP", "late" | "hook-failed" | "unhealthy" | "address-failed" | "send-failed") => {
                logged.field("why")
            }
            _ => return,
        };
        self.sink.say(Level::Warning, text);
    }

    /// Others share the group: a neighbour with a different password must not fill the log.
    fn refused(&self, reason: &str) {
        let (level, text) = match reason {
            "digest" => (
                Level::Warning,
                "Bad digest - Check vhid, password and virtual IP address",
            ),
            "ttl" => (Level::Warning, "Bad TTL"),
            "version" => (Level::Warning, "Bad version"),
            "checksum" => (Level::Warning, "Bad IP checksum"),
            other => (Level::Debug, other),
        };
        let mut said = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let times = said.refused.entry(reason.to_owned()).or_default();
        *times += 1;
        match *times {
            1 => self.sink.say(level, text),
            n if n % REFUSED_EVERY == 0 => self.sink.say(level, &format!("{text} ({n} times)")),
            _ => {}
        }
    }
}

/// ucarp has no state for a link that is down: it stays BACKUP then.
fn ucarp_state(state: &str) -> &'static str {
    if state == "master" {
        "MASTER"
    } else {
        "BACKUP"
    }
}

#[cfg(test)]
mod tests {
    use tracing::{debug, error, info, trace, warn};

    use super::*;

    /// What syslog receives, without priority and time.
    fn heard(debug: bool, log: impl FnOnce()) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let syslog = UnixDatagram::bind(&path).unwrap();
        syslog.set_nonblocking(true).unwrap();
        let sink = Sink {
            syslog: path,
            ..Sink::new(Some(3), false, debug, 7)
        };
        let subscriber = tracing_subscriber::registry().with(Translator {
            sink,
            state: Mutex::default(),
        });
        tracing::subscriber::with_default(subscriber, log);
        let mut buffer = [0; 512];
        let mut lines = Vec::new();
        while let Ok(length) = syslog.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let (priority, rest) = text.split_once('>').unwrap();
            lines.push(format!(
                "{priority}> {}",
                rest.split_once("ucarp[7]: ").unwrap().1
            ));
        }
        lines
    }

    fn changed(from: &str, to: &str, cause: &str) {
        info!(from, to, cause, why = "a reason", "Changed state");
    }

    #[test]
    fn changes_of_state_are_told_in_the_words_of_ucarp() {
        let lines = heard(false, || {
            changed("init", "backup", "startup");
            changed("backup", "master", "preempt");
            changed("master", "backup", "better-master");
            changed("backup", "init", "link-down");
            changed("init", "backup", "startup");
            changed("backup", "master", "master-leaving");
            changed("master", "init", "shutdown");
        });
        assert_eq!(
            lines,
            [
                "<28> [WARNING] Switching to state: BACKUP",
                "<28> [WARNING] Switching to state: MASTER",
                "<28> [WARNING] Putting MASTER down - preemption",
                "<28> [WARNING] Switching to state: BACKUP",
                "<28> [WARNING] Preferred master advertised: going back to BACKUP state",
                "<28> [WARNING] Switching to state: MASTER",
                "<28> [WARNING] Putting MASTER DOWN (going to time out)",
            ]
        );
    }

    #[test]
    fn what_ucarp_has_no_words_for_is_said_all_the_same() {
        let log = || {
            error!(code = 5, "Something failed");
            info!(
                state = "init",
                interface = "eth0",
                vhid = 42,
                "State report"
            );
            info!(script = "/up eth0 10.0.0.1", "Running a script");
            debug!("Detail");
            warn!(target: "zbus", "Not ours");
        };
        let quiet = [
            "<27> [ERROR] Something failed code=5",
            "<30> [INFO] BACKUP on eth0 id 42",
            "<28> [WARNING] Spawning [/up eth0 10.0.0.1]",
        ];
        assert_eq!(heard(false, log), quiet);
        assert_eq!(
            heard(true, log).last().map(String::as_str),
            Some("<31> [DEBUG] Detail")
        );
    }

    #[test]
    fn a_neighbour_with_another_password_does_not_fill_the_log() {
        let lines = heard(false, || {
            (0..250).for_each(|_| trace!(reason = "digest", "Refused a packet"));
        });
        let first = "<28> [WARNING] Bad digest - Check vhid, password and virtual IP address";
        assert_eq!(
            lines,
            [
                first.to_owned(),
                format!("{first} (100 times)"),
                format!("{first} (200 times)")
            ]
        );
    }
}
