//! What a hook has asked for and what came of it: the ground of every plan.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use super::hook::Subject;
use super::report::Refused;
use crate::effect::{Effect, Resource, Value};
use crate::engine::observer::{Asker, Fate, Observer};
use crate::hooks::{Answer, Ask, AskError, EntryPoint, HookError, LogLevel};
use crate::host::SimHost;
use crate::types::Name;

/// Lines of log that are kept, in bytes.
const LOG_MAX: usize = 1 << 20;

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
    /// Runs that failed and nobody has expected yet.
    pub(super) errors: Vec<(EntryPoint, HookError)>,
}

/// Looks on while the hook runs on one host.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) subject: Rc<Subject>,
    pub(super) host: SimHost,
    /// The test gives grants of its own: what they refuse is what it tests.
    pub(super) own_grants: bool,
    pub(super) record: RefCell<Record>,
}

impl Witness {
    fn refused(&self, what: Refused) {
        if !self.own_grants {
            self.subject.note_refused(what);
        }
    }

    fn log(&self, line: LogLine) {
        let mut record = self.record.borrow_mut();
        record.log_bytes += line.to_string().len();
        if record.log_bytes <= LOG_MAX {
            record.log.push(line);
        }
    }

    fn effect_ended(
        &self,
        asker: Asker<'_>,
        effect: &Effect,
        keep: bool,
        error: Option<&AskError>,
    ) {
        let mut record = self.record.borrow_mut();
        let came = match error {
            None => Came::Done,
            Some(AskError::Denied(denied)) => {
                record.denied.push(denied.to_string());
                self.refused(Refused::Effect(effect.clone()));
                Came::Denied
            }
            Some(_) => Came::Failed,
        };
        // Runs of several hooks are one after the other, and of each it is the last that was open.
        let open = record.plan.iter_mut().rev();
        if let Some(asked) = open
            .filter(|asked| asked.came == Came::Open)
            .find(|asked| asked.effect == *effect)
        {
            asked.came = came;
        }
        if came == Came::Done
            && let Some((resource, value)) =
                effect.assigns().filter(|_| keep || !asker.entry.scoped())
        {
            record.lasting.insert(resource, value);
        }
    }
}

impl Observer for Witness {
    fn begins(&self, asker: Asker<'_>) {
        self.subject.note_call(asker.entry.as_str());
    }

    fn asks(&self, _: Asker<'_>, ask: &Ask) -> Fate {
        match ask {
            Ask::Effect { effect, .. } => {
                self.subject.note_call(first_word(&effect.to_string()));
                self.record.borrow_mut().plan.push(Asked {
                    effect: effect.clone(),
                    came: Came::Open,
                });
                if self.host.kills(effect) {
                    return Fate::Dies;
                }
            }
            Ask::Query(query) => self.subject.note_call(first_word(&query.to_string())),
            Ask::Log {
                level,
                message,
                fields,
            } => self.log(LogLine {
                level: *level,
                message: message.clone(),
                fields: fields.iter().cloned().collect(),
            }),
            Ask::Sleep { .. } | Ask::StateGet { .. } | Ask::StateSet { .. } => {}
        }
        Fate::Lives
    }

    fn answered(&self, asker: Asker<'_>, ask: &Ask, answer: Result<&Answer, &AskError>) {
        match (ask, answer.err()) {
            (Ask::Effect { effect, keep, .. }, error) => {
                self.effect_ended(asker, effect, *keep, error);
            }
            (Ask::Query(query), Some(AskError::Denied(_))) => {
                self.refused(Refused::Query(query.clone()));
            }
            _ => {}
        }
    }

    fn ended(&self, asker: Asker<'_>, result: Result<(), &HookError>) {
        if let Err(error) = result
            && *error != HookError::Superseded
        {
            let failed = (asker.entry, error.clone());
            self.record.borrow_mut().errors.push(failed);
        }
    }

    fn undone(&self, _: &Name, effect: &Effect) {
        self.record.borrow_mut().undone.push(effect.to_string());
    }
}

/// `service.start` of `service.start httpd`.
fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}
