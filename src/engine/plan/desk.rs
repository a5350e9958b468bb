//! Answers what a hook asks while it is planned, and notes each step.

use std::cell::RefCell;
use std::time::Duration;

use super::super::execute::{Behalf, Executor};
use super::super::oneshot::LogLine;
use super::super::store::Store;
use super::{Step, Verdict};
use crate::effect::{Denied, Effect, Granted, Grants, Outcome, Own, Query, Reply, Value};
use crate::hooks::session::Desk;
use crate::hooks::{Answer, Ask, AskError, EntryPoint};
use crate::host::recording::Recorded;
use crate::host::{Host, RecordingHost};
use crate::ledger::Owner;
use crate::types::State;

/// How much of a file's content is shown, in characters.
const SHOWN_MAX: usize = 60;

/// The desk of one planned run.
pub(super) struct PlanDesk<'a, H> {
    pub(super) executor: &'a Executor<RecordingHost<H>>,
    pub(super) store: &'a RefCell<Store>,
    pub(super) owner: &'a Owner,
    pub(super) grants: &'a mut Grants,
    /// Widen the grants to whatever is asked.
    pub(super) learns: bool,
    pub(super) own: Own<'a>,
    pub(super) entry: EntryPoint,
    pub(super) state: State,
    /// How long a look at the host may take.
    pub(super) limit: Duration,
    pub(super) state_bytes: u32,
    pub(super) steps: Vec<Step>,
    pub(super) log: Vec<LogLine>,
}

impl<H: Host> Desk for PlanDesk<'_, H> {
    async fn ask(&mut self, ask: Ask) -> Answer {
        self.answer(ask).await.unwrap_or_else(Answer::Error)
    }
}

impl<H: Host> PlanDesk<'_, H> {
    async fn answer(&mut self, ask: Ask) -> Result<Answer, AskError> {
        match ask {
            Ask::Effect { effect, keep, .. } => {
                if !self.entry.may_change() {
                    return Err(AskError::only_looks());
                }
                if self.learns {
                    self.grants.widen(&effect, self.own);
                }
                let result = self.plan(&effect, keep).await;
                let step = self.step(&effect, keep, result.as_ref().err());
                self.steps.push(step);
                result.map(Answer::Reply)
            }
            Ask::Query(Query::CarpState) => Ok(Answer::Reply(Reply::State(self.state))),
            Ask::Query(query) => {
                if self.learns {
                    self.grants.widen_query(&query);
                }
                let result = self.executor.query(&self.behalf(), &query).await;
                if let Err(error) = &result {
                    self.steps.push(failed(query.to_string(), error));
                }
                result.map(Answer::Reply)
            }
            Ask::Log {
                level,
                message,
                fields,
            } => {
                self.log.push(LogLine {
                    level,
                    message,
                    fields,
                });
                Ok(Answer::Done)
            }
            // The runner's clock shows the time as slept.
            Ask::Sleep { .. } => Ok(Answer::Done),
            Ask::StateGet { key } => Ok(Answer::State(self.store.borrow().value(self.owner, &key))),
            Ask::StateSet { key, value } => {
                self.store
                    .borrow_mut()
                    .set(self.owner, &key, value, self.state_bytes)?;
                Ok(Answer::Done)
            }
        }
    }

    fn behalf(&self) -> Behalf<'_> {
        Behalf {
            owner: self.owner,
            grants: self.grants,
            own: self.own,
            scoped: self.entry.scoped(),
            left: self.limit,
        }
    }

    async fn plan(&self, effect: &Effect, keep: bool) -> Result<Reply, AskError> {
        if let Effect::Demote { .. } | Effect::Resign { .. } = effect {
            let permitted: Result<Granted, Box<Denied>> =
                self.grants.permit(effect.clone(), self.own);
            return permitted
                .map(|_| Reply::Outcome(Outcome::Planned))
                .map_err(|denied| AskError::Denied(*denied));
        }
        self.executor
            .ask(&self.behalf(), effect.clone(), keep)
            .await
    }

    fn step(&self, effect: &Effect, keep: bool, error: Option<&AskError>) -> Step {
        let recorded = self.executor.host().take().pop();
        if let Some(error) = error {
            return failed(effect.to_string(), error);
        }
        let grant = if Grants::is_own(effect, self.own) {
            Some("the virtual host's own address needs no grant".to_owned())
        } else {
            self.grants.entry_for(effect)
        };
        let Some(recorded) = recorded else {
            return Step {
                grant,
                ..act(effect)
            };
        };
        let undo = recorded
            .change
            .as_ref()
            .filter(|_| self.entry.scoped() && !keep)
            .and_then(|change| {
                let undo = self
                    .executor
                    .ledger()
                    .undo_of(self.owner, &change.resource)?;
                Some(undo.back_to.map_or_else(
                    || "stays as another hook wants it".to_owned(),
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

/// A step for something that was recorded.
pub(super) fn noted(recorded: &Recorded) -> Step {
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
