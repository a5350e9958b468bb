//! Answers the requests of a running hook, through the gate, the ledger and the host.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::log_quota::Line;
use super::observer::{Asker, Fate};
use super::outcome::HookOutcome;
use super::pool::Pool;
use super::queue::Queue;
use crate::effect::{Effect, Own, Query, Reply};
use crate::engine::effects::executor::{Behalf, outcome_word};
use crate::hooks::process::session::RequestHandler;
use crate::hooks::{Answer, Ask, AskError, Budget, EntryPoint, LogLevel};
use crate::host::Host;
use crate::host::clock;
use crate::journal::Note;
use crate::keeper::ChildId;
use crate::ledger::Owner;
use crate::types::{Timestamp, VirtualAddress, shown};

/// Answers the requests of one run.
pub(in crate::engine) struct RunRequests<'a, H> {
    queue: &'a Queue<H>,
    hook: &'a Rc<Pool>,
    owner: Owner,
    entry: EntryPoint,
    budget: Budget,
    deadline: Timestamp,
    addresses: Vec<VirtualAddress>,
    /// The process that asks, if it is one of ours alone.
    runner: Option<ChildId>,
}

impl<H: Host + 'static> RequestHandler for RunRequests<'_, H> {
    async fn ask(&mut self, ask: Ask) -> Answer {
        let Some(observer) = self.queue.shared.executor.observer() else {
            return self.answer_in_time(ask).await.unwrap_or_else(Answer::Error);
        };
        if observer.asks(self.asker(), &ask) == Fate::Dies {
            self.runner.inspect(|runner| self.hook.kill(*runner));
            // The run ends when the process ends.
            return std::future::pending().await;
        }
        let answer = self.answer_in_time(ask.clone()).await;
        observer.answered(self.asker(), &ask, answer.as_ref());
        answer.unwrap_or_else(Answer::Error)
    }
}

impl<H: Host + 'static> RunRequests<'_, H> {
    fn asker(&self) -> Asker<'_> {
        Asker {
            vhost: self.queue.index.number(),
            hook: self.hook.name(),
            entry: self.entry,
        }
    }

    async fn answer_in_time(&mut self, ask: Ask) -> Result<Answer, AskError> {
        let (queue, what) = (
            self.queue,
            format!(
                "{} for hook {} of {}",
                named(&ask),
                self.hook.name(),
                self.queue.vhost()
            ),
        );
        queue.shared.activity.during(what, self.answer(ask)).await
    }
}

/// A short description of the request.
fn named(ask: &Ask) -> String {
    match ask {
        Ask::Effect { effect, .. } => effect.to_string(),
        Ask::Query(query) => query.to_string(),
        Ask::Log { .. } => "a log line".to_owned(),
        Ask::Sleep { .. } => "a sleep".to_owned(),
        Ask::StateGet { .. } | Ask::StateSet { .. } => "its state".to_owned(),
    }
}

impl<'a, H: Host + 'static> RunRequests<'a, H> {
    /// For a run that begins now.
    pub(in crate::engine) fn new(
        queue: &'a Queue<H>,
        hook: &'a Rc<Pool>,
        entry: EntryPoint,
        budget: Budget,
    ) -> Self {
        Self {
            queue,
            hook,
            owner: Owner {
                vhost: queue.vhost(),
                hook: Some(hook.name().clone()),
            },
            entry,
            budget,
            deadline: clock::now() + budget.wall,
            addresses: queue.addresses.borrow().clone(),
            runner: None,
        }
    }

    /// The hook runs in this process.
    pub(in crate::engine) fn in_runner(self, runner: Option<ChildId>) -> Self {
        Self { runner, ..self }
    }

    fn left(&self) -> Duration {
        self.deadline.since(clock::now())
    }

    fn behalf(&self) -> Behalf<'_> {
        Behalf {
            owner: &self.owner,
            grants: &self.hook.spec().grants,
            own: Own {
                dev: &self.queue.dev,
                addresses: &self.addresses,
            },
            scoped: self.entry.scoped(),
            left: self.left(),
        }
    }

    async fn answer(&mut self, ask: Ask) -> Result<Answer, AskError> {
        let shared = &self.queue.shared;
        let grants = &self.hook.spec().grants;
        if let Ask::Effect { effect, .. } = &ask
            && !self.entry.may_change()
            && !grants.is_query(effect)
        {
            return Err(AskError::only_looks(effect));
        }
        if self.left().is_zero() && !matches!(ask, Ask::Log { .. }) {
            return Err(AskError::TimeUp(self.budget.wall));
        }
        match ask {
            Ask::Effect {
                effect: effect @ (Effect::Demote { .. } | Effect::Resign { .. }),
                ..
            } => self.on_the_vhost(effect),
            // What is marked as changing nothing.
            Ask::Effect {
                effect, wait_ms, ..
            } if !self.entry.may_change() => {
                let mut behalf = self.behalf();
                if let Some(wait) = wait_ms {
                    behalf.left = behalf.left.min(Duration::from_millis(wait));
                }
                let reply = shared.executor.ask_harmless(&behalf, effect).await;
                reply.map(Answer::Reply)
            }
            Ask::Effect {
                effect,
                keep,
                wait_ms,
            } => {
                let mut behalf = self.behalf();
                if let Some(wait) = wait_ms {
                    behalf.left = behalf.left.min(Duration::from_millis(wait));
                }
                let text = shown(&effect);
                let result = shared.executor.ask(&behalf, effect, keep).await;
                let outcome = match &result {
                    Ok(reply) => outcome_word(reply).to_owned(),
                    Err(error) => format!("failed: {}", shown(error)),
                };
                let note = Note::Effect {
                    hook: self.hook.name().clone(),
                    effect: text,
                    outcome,
                };
                shared
                    .journal
                    .borrow_mut()
                    .note(clock::now(), self.queue.index.number(), note);
                result.map(Answer::Reply)
            }
            Ask::Query(Query::CarpState) => Ok(Answer::Reply(Reply::State(self.queue.state.get()))),
            Ask::Query(query) => shared
                .executor
                .query(&self.behalf(), &query)
                .await
                .map(Answer::Reply),
            Ask::Log {
                level,
                message,
                fields,
            } => {
                self.log(level, &message, &fields);
                Ok(Answer::Done)
            }
            Ask::Sleep { ms } => {
                let (wanted, left) = (Duration::from_millis(ms), self.left());
                clock::sleep(wanted.min(left)).await;
                if wanted > left {
                    Err(AskError::TimeUp(self.budget.wall))
                } else {
                    Ok(Answer::Done)
                }
            }
            Ask::StateGet { key } => Ok(Answer::State(
                shared.store.borrow().value(&self.owner, &key),
            )),
            Ask::StateSet { key, value } => {
                let saved = shared.store.borrow_mut().set(
                    &self.owner,
                    &key,
                    value,
                    self.budget.state_bytes,
                )?;
                saved.wait().await;
                Ok(Answer::Done)
            }
        }
    }

    /// Effects on the hook's own virtual host go to the engine.
    fn on_the_vhost(&self, effect: Effect) -> Result<Answer, AskError> {
        let behalf = self.behalf();
        let granted = behalf
            .grants
            .permit(effect, behalf.own)
            .map_err(|denied| AskError::Denied(*denied))?;
        let vhost = self.queue.index;
        let by_hook = |reason: &str| format!("hook {}: {}", self.hook.name(), shown(reason));
        let outcome = match granted.effect() {
            Effect::Demote { by, reason } => HookOutcome::Demote {
                vhost,
                by: *by,
                reason: by_hook(reason),
            },
            Effect::Resign { reason } => HookOutcome::Resign {
                vhost,
                reason: by_hook(reason),
            },
            // Only those two come here.
            _ => return Err(AskError::Invalid("not about the virtual host".to_owned())),
        };
        _ = self.queue.shared.outcomes.send(outcome);
        Ok(Answer::Reply(Reply::Outcome(
            crate::effect::Outcome::Changed,
        )))
    }

    fn log(&self, level: LogLevel, message: &str, fields: &[(String, String)]) {
        let (vhost, hook, entry) = (self.queue.vhost(), self.hook.name(), self.entry.as_str());
        let bytes = fields.iter().fold(message.len(), |sum, (key, value)| {
            sum + key.len() + value.len()
        });
        if let Line::Drop(said) = self.hook.log_quota(bytes, clock::now()) {
            if let Some(lines) = said {
                warn!(%vhost, %hook, lines, "Dropping log lines of a hook that logs more than its quota");
            }
            return;
        }
        let fields: BTreeMap<&str, &str> = fields
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        let fields = if fields.is_empty() {
            String::new()
        } else {
            shown(format_args!("{fields:?}"))
        };
        let message = shown(message);
        match level {
            LogLevel::Debug => debug!(%vhost, %hook, entry, fields, "{message}"),
            LogLevel::Info => info!(%vhost, %hook, entry, fields, "{message}"),
            LogLevel::Warn => warn!(%vhost, %hook, entry, fields, "{message}"),
            LogLevel::Error => error!(%vhost, %hook, entry, fields, "{message}"),
        }
    }
}
