//! What hooks have requested and the results: the basis of every plan.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use super::hook::Subject;
use super::report::Refused;
use crate::effect::{Effect, Resource, Value};
use crate::engine::observer::{Asker, Fate, Observer};
use crate::hooks::{Answer, Ask, AskError, EntryPoint, HookError, HookEvent, LogLevel};
use crate::host::SimHost;
use crate::types::Name;

/// Log lines that are kept, in bytes.
const LOG_MAX: usize = 1 << 20;
/// How many calls are kept.
const CALLS_MAX: usize = 10_000;
/// The outcome of a call that has not ended.
const RUNNING: &str = "running";

/// One effect that a hook asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// The effect.
    pub(super) effect: Effect,
    /// Its result.
    pub(super) came: Came,
}

/// The result of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// It was done, or there was nothing to do.
    Done,
    /// The host failed to do it.
    Failed,
    /// The gate denied it.
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

/// One line of a hook's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogLine {
    /// The hook.
    pub(super) hook: Name,
    /// The level.
    pub(super) level: LogLevel,
    /// The sentence.
    pub(super) message: String,
    /// The fields.
    pub(super) fields: BTreeMap<String, String>,
}

impl LogLine {
    /// The name of the level.
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

/// One call of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HookCall {
    pub(super) hook: Name,
    pub(super) entry: EntryPoint,
    pub(super) cause: String,
    /// How many earlier transitions were not passed to any hook.
    pub(super) missed: u32,
    /// How it ended, as one word.
    pub(super) outcome: &'static str,
}

/// A run that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    /// The hook, unless it is the one under test.
    hook: Option<Name>,
    entry: EntryPoint,
    pub(super) error: HookError,
    /// One of its effects failed because of a fault that the test set up.
    pub(super) met_fault: bool,
}

impl Failed {
    /// The run, as text.
    pub(super) fn run(&self) -> String {
        let entry = self.entry.as_str();
        match &self.hook {
            Some(hook) => format!("{entry} of hook {hook}"),
            None => entry.to_owned(),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.run(), self.error)
    }
}

/// The record of one virtual host.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// What was requested since the plan began.
    pub(super) plan: Vec<Asked>,
    /// What the gate refused since the last event.
    pub(super) denied: Vec<String>,
    /// What was undone since the last event.
    pub(super) undone: Vec<String>,
    /// Every call of its hooks, except for health checks.
    pub(super) calls: Vec<HookCall>,
    /// Everything that was logged.
    pub(super) log: Vec<LogLine>,
    /// The size of the log lines' text, in bytes.
    log_bytes: usize,
    /// Runs that failed and have not been expected yet.
    pub(super) errors: Vec<Failed>,
    /// The runs in progress that had an effect fail because of a fault.
    faulted: BTreeSet<(Name, EntryPoint)>,
}

impl Record {
    /// An event begins.
    pub(super) fn begin(&mut self) {
        self.plan.clear();
        self.denied.clear();
        self.undone.clear();
    }

    fn log(&mut self, line: LogLine) {
        self.log_bytes += line.to_string().len();
        if self.log_bytes <= LOG_MAX {
            self.log.push(line);
        }
    }

    fn effect_ended(&mut self, effect: &Effect, came: Came) {
        // Runs of several hooks follow each other, and each has at most one open effect of this
        // kind: the last.
        let open = self.plan.iter_mut().rev();
        if let Some(asked) = open
            .filter(|asked| asked.came == Came::Open)
            .find(|asked| asked.effect == *effect)
        {
            asked.came = came;
        }
    }
}

/// What is not undone when a mastership ends.
#[derive(Debug, Default)]
pub(super) struct Staying {
    /// What a hook explicitly wanted to keep.
    pub(super) lasting: BTreeMap<Resource, Value>,
    /// What another program has changed.
    pub(super) foreign: BTreeMap<Resource, Value>,
}

/// Observes hooks while they run on one host.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) subject: Rc<Subject>,
    pub(super) host: SimHost,
    /// The test specifies its own grants: what they refuse is part of what it tests.
    pub(super) own_grants: bool,
    /// The record of each virtual host, by its number.
    pub(super) records: Vec<(Name, Rc<RefCell<Record>>)>,
    pub(super) staying: RefCell<Staying>,
}

impl Witness {
    /// The record of the virtual host that a request comes from.
    fn of(&self, asker: Asker<'_>) -> Option<RefMut<'_, Record>> {
        let record = self.records.get(asker.vhost);
        record.map(|(_, record)| record.borrow_mut())
    }

    fn is_tested(&self, asker: Asker<'_>) -> bool {
        asker.hook == self.subject.name()
    }

    fn refused(&self, asker: Asker<'_>, what: Refused) {
        if self.is_tested(asker) && !self.own_grants {
            self.subject.note_refused(what);
        }
    }

    fn called(&self, asker: Asker<'_>, function: &str) {
        if self.is_tested(asker) {
            self.subject.note_call(function);
        }
    }

    fn effect_ended(
        &self,
        asker: Asker<'_>,
        effect: &Effect,
        keep: bool,
        error: Option<&AskError>,
    ) {
        let Some(mut record) = self.of(asker) else {
            return;
        };
        let came = match error {
            None => Came::Done,
            Some(AskError::Denied(denied)) => {
                record.denied.push(denied.to_string());
                self.refused(asker, Refused::Effect(effect.clone()));
                Came::Denied
            }
            Some(_) => {
                if self.host.failed_by_fault(effect) {
                    record.faulted.insert((asker.hook.clone(), asker.entry));
                }
                Came::Failed
            }
        };
        record.effect_ended(effect, came);
        if came == Came::Done
            && let Some((resource, value)) =
                effect.assigns().filter(|_| keep || !asker.entry.scoped())
        {
            self.staying.borrow_mut().lasting.insert(resource, value);
        }
    }
}

impl Observer for Witness {
    fn begins(&self, asker: Asker<'_>, event: &HookEvent) {
        self.called(asker, asker.entry.as_str());
        if asker.entry != EntryPoint::Health
            && let Some(mut record) = self.of(asker)
            && record.calls.len() < CALLS_MAX
        {
            record.calls.push(HookCall {
                hook: asker.hook.clone(),
                entry: asker.entry,
                cause: event.cause.clone(),
                missed: event.missed,
                outcome: RUNNING,
            });
        }
    }

    fn asks(&self, asker: Asker<'_>, ask: &Ask) -> Fate {
        match ask {
            Ask::Effect { effect, .. } => {
                self.called(asker, first_word(&effect.to_string()));
                if let Some(mut record) = self.of(asker) {
                    record.plan.push(Asked {
                        effect: effect.clone(),
                        came: Came::Open,
                    });
                }
                if self.host.kills(effect) {
                    return Fate::Dies;
                }
            }
            Ask::Query(query) => self.called(asker, first_word(&query.to_string())),
            Ask::Log {
                level,
                message,
                fields,
            } => {
                if let Some(mut record) = self.of(asker) {
                    record.log(LogLine {
                        hook: asker.hook.clone(),
                        level: *level,
                        message: message.clone(),
                        fields: fields.iter().cloned().collect(),
                    });
                }
            }
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
                self.refused(asker, Refused::Query(query.clone()));
            }
            _ => {}
        }
    }

    fn ended(&self, asker: Asker<'_>, result: Result<(), &HookError>) {
        let Some(mut record) = self.of(asker) else {
            return;
        };
        let met_fault = record.faulted.remove(&(asker.hook.clone(), asker.entry));
        let outcome = match result {
            Ok(()) => "done",
            Err(HookError::Superseded) => "overtaken",
            Err(error) => {
                record.errors.push(Failed {
                    hook: Some(asker.hook.clone()).filter(|_| !self.is_tested(asker)),
                    entry: asker.entry,
                    error: error.clone(),
                    met_fault,
                });
                "failed"
            }
        };
        let ran = |call: &&mut HookCall| {
            call.outcome == RUNNING && call.entry == asker.entry && call.hook == *asker.hook
        };
        if let Some(call) = record.calls.iter_mut().rev().find(ran) {
            call.outcome = outcome;
        }
    }

    fn undone(&self, vhost: &Name, effect: &Effect) {
        let record = self.records.iter().find(|(name, _)| name == vhost);
        if let Some((_, record)) = record {
            record.borrow_mut().undone.push(effect.to_string());
        }
    }
}

/// `service.start` of `service.start httpd`.
fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}
