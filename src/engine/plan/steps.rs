//! Records what hooks ask for while they are planned, step by step.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use super::{By, Part, Step, Verdict};
use crate::config;
use crate::effect::{Effect, Grants, Outcome, Own, Query, Value};
use crate::engine::offline::oneshot::LogLine;
use crate::engine::runs::observer::{Asker, Observer};
use crate::engine::runs::pool::Pool;
use crate::engine::runs::shared::Shared;
use crate::hooks::{Answer, Ask, AskError, EntryPoint, HookError, HookEvent};
use crate::host::recording::Recorded;
use crate::host::{Host, RecordingHost};
use crate::ledger::Owner;
use crate::types::Name;

/// How much of a file's content is shown, in characters.
const SHOWN_MAX: usize = 60;

/// Observes hooks that run against a recording host, and writes their parts of a plan.
#[derive(Debug)]
pub(in crate::engine) struct Steps<H> {
    shared: Weak<Shared<RecordingHost<H>>>,
    /// For the grants of its hooks, by name, and for its own addresses.
    vhost: config::Vhost,
    grants: Vec<(Name, Grants)>,
    parts: RefCell<Vec<Part>>,
    refused: RefCell<Vec<(Name, Refused)>>,
    runs: RefCell<Vec<(Name, EntryPoint)>>,
}

/// What the grants of a hook do not allow.
#[derive(Debug, Clone)]
pub(in crate::engine) enum Refused {
    Effect(Effect),
    Query(Query),
}

impl<H> Steps<H> {
    pub(in crate::engine) fn new(
        shared: &Rc<Shared<RecordingHost<H>>>,
        vhost: config::Vhost,
        hooks: &[Rc<Pool>],
    ) -> Rc<Self> {
        Rc::new(Self {
            shared: Rc::downgrade(shared),
            vhost,
            grants: hooks
                .iter()
                .map(|hook| (hook.name().clone(), hook.spec().grants.clone()))
                .collect(),
            parts: RefCell::default(),
            refused: RefCell::default(),
            runs: RefCell::default(),
        })
    }

    /// The parts since this was asked last.
    pub(in crate::engine) fn take(&self) -> Vec<Part> {
        self.parts.take()
    }

    /// What was refused so far.
    pub(in crate::engine) fn refused(&self) -> Vec<(Name, Refused)> {
        self.refused.borrow().clone()
    }

    /// Which functions of which hooks ran.
    pub(in crate::engine) fn runs(&self) -> Vec<(Name, EntryPoint)> {
        self.runs.borrow().clone()
    }

    fn own(&self) -> Own<'_> {
        Own {
            dev: &self.vhost.interface,
            addresses: &self.vhost.addresses,
        }
    }
}

impl<H: Host> Steps<H> {
    fn step(
        &self,
        asker: Asker<'_>,
        effect: &Effect,
        keep: bool,
        error: Option<&AskError>,
    ) -> Step {
        let shared = self.shared.upgrade();
        let executor = shared.as_ref().map(|shared| &shared.executor);
        let recorded = executor.and_then(|executor| executor.host().take().pop());
        if let Some(error) = error {
            return failed(effect.to_string(), error);
        }
        let grant = if Grants::is_own(effect, self.own()) {
            Some("the virtual host's own address needs no grant".to_owned())
        } else {
            let grants = self.grants.iter().find(|(name, _)| name == asker.hook);
            grants.and_then(|(_, grants)| grants.entry_for(effect))
        };
        let Some(recorded) = recorded else {
            return Step {
                grant,
                ..act(effect)
            };
        };
        let owner = Owner {
            vhost: self.vhost.name.clone(),
            hook: Some(asker.hook.clone()),
        };
        let undo = recorded
            .change
            .as_ref()
            .filter(|_| asker.entry.scoped() && !keep)
            .and_then(|change| {
                let undo = executor?.ledger().undo_of(&owner, &change.resource)?;
                Some(undo.back_to.map_or_else(
                    || "stays, because another hook wants it".to_owned(),
                    |value| shown(&value),
                ))
            });
        Step {
            grant,
            undo,
            ..noted(&recorded)
        }
    }
}

impl<H: Host + std::fmt::Debug> Observer for Steps<H> {
    fn begins(&self, asker: Asker<'_>, _: &HookEvent) {
        self.runs
            .borrow_mut()
            .push((asker.hook.clone(), asker.entry));
        self.parts.borrow_mut().push(Part {
            by: By::Hook {
                name: asker.hook.clone(),
                entry: asker.entry,
            },
            steps: Vec::new(),
            log: Vec::new(),
            failure: None,
        });
    }

    fn answered(&self, asker: Asker<'_>, ask: &Ask, answer: Result<&Answer, &AskError>) {
        let error = answer.err();
        let denied = matches!(error, Some(AskError::Denied(_)));
        let step = match ask {
            Ask::Effect { effect, keep, .. } => {
                if denied {
                    let refused = Refused::Effect(effect.clone());
                    self.refused
                        .borrow_mut()
                        .push((asker.hook.clone(), refused));
                }
                Some(self.step(asker, effect, *keep, error))
            }
            Ask::Query(query) => {
                if denied {
                    let refused = Refused::Query(query.clone());
                    self.refused
                        .borrow_mut()
                        .push((asker.hook.clone(), refused));
                }
                error.map(|error| failed(query.to_string(), error))
            }
            _ => None,
        };
        let mut parts = self.parts.borrow_mut();
        let Some(part) = parts.last_mut() else { return };
        part.steps.extend(step);
        if let Ask::Log {
            level,
            message,
            fields,
        } = ask
        {
            part.log.push(LogLine {
                level: *level,
                message: message.clone(),
                fields: fields.clone(),
            });
        }
    }

    fn ended(&self, _: Asker<'_>, result: Result<(), &HookError>) {
        if let Some(part) = self.parts.borrow_mut().last_mut() {
            part.failure = result.err().map(ToString::to_string);
        }
    }
}

/// A step for something that was recorded.
pub(in crate::engine) fn noted(recorded: &Recorded) -> Step {
    let Some(change) = &recorded.change else {
        return act(&recorded.effect);
    };
    Step {
        verdict: if recorded.outcome == Outcome::Unchanged {
            Verdict::Already
        } else {
            Verdict::Change
        },
        resource: Some(change.resource.to_string()),
        before: Some(shown(&change.before)),
        after: Some(shown(&change.after)),
        ..act(&recorded.effect)
    }
}

fn act(effect: &Effect) -> Step {
    let effect = effect.to_string();
    Step {
        effect,
        verdict: Verdict::Act,
        resource: None,
        before: None,
        after: None,
        grant: None,
        undo: None,
        error: None,
    }
}

fn failed(effect: String, error: &AskError) -> Step {
    let (verdict, grant) = match error {
        AskError::Denied(denied) => (Verdict::Denied, Some(denied.line.clone())),
        AskError::Host { .. }
        | AskError::Invalid(_)
        | AskError::OverBudget(_)
        | AskError::Superseded
        | AskError::TimeUp(_) => (Verdict::Failed, None),
    };
    let error = Some(error.to_string());
    Step {
        effect,
        verdict,
        resource: None,
        before: None,
        after: None,
        grant,
        undo: None,
        error,
    }
}

/// A value for a person: a short text file by its text.
fn shown(value: &Value) -> String {
    match value.content().map(std::str::from_utf8) {
        Some(Ok(text)) if text.chars().count() <= SHOWN_MAX => format!("{text:?}"),
        _ => value.to_string(),
    }
}
