//! Answers what the hook under test asks: through the real gate, on the host in memory, in virtual
//! time.

use std::future::pending;
use std::time::Duration;

use super::node::Node;
use super::record::{Asked, Came, LogLine};
use super::report::Refused;
use crate::effect::{Effect, Query, Reply};
use crate::hooks::session::Desk;
use crate::hooks::{Answer, Ask, AskError, EntryPoint};
use crate::keeper::ChildId;
use crate::types::State;

/// Answers one run.
#[derive(Debug)]
pub(super) struct NodeDesk<'a> {
    pub(super) node: &'a Node,
    pub(super) entry: EntryPoint,
    pub(super) runner: ChildId,
    /// When the run's virtual time is used up.
    pub(super) deadline: Duration,
    pub(super) wall: Duration,
    pub(super) timed_out: bool,
}

impl Desk for NodeDesk<'_> {
    async fn ask(&mut self, ask: Ask) -> Answer {
        if let Ask::Log {
            level,
            message,
            fields,
        } = ask
        {
            self.node.log(LogLine {
                level,
                message,
                fields: fields.into_iter().collect(),
            });
            return Answer::Done;
        }
        if self.left().is_zero() {
            return self.run_out();
        }
        let answer = self.answer(ask).await;
        if self.left().is_zero() {
            return self.run_out();
        }
        answer.unwrap_or_else(Answer::Error)
    }
}

impl NodeDesk<'_> {
    fn left(&self) -> Duration {
        self.deadline.saturating_sub(self.node.clock().now())
    }

    /// As a session answers when the hook's time is used up.
    fn run_out(&mut self) -> Answer {
        self.timed_out = true;
        Answer::Error(AskError::TimeUp(self.wall))
    }

    async fn answer(&mut self, ask: Ask) -> Result<Answer, AskError> {
        let node = self.node;
        match ask {
            Ask::Effect {
                effect,
                keep,
                wait_ms,
            } => self.effect(effect, keep, wait_ms).await,
            Ask::Query(Query::CarpState) => {
                node.subject().note_call("carp.state");
                Ok(Answer::Reply(Reply::State(node.state())))
            }
            Ask::Query(query) => {
                node.subject().note_call(first_word(&query.to_string()));
                let result = node
                    .trial()
                    .ask(Ask::Query(query.clone()), self.entry, self.left())
                    .await;
                if let Err(AskError::Denied(_)) = result {
                    node.note_refused(Refused::Query(query));
                }
                result
            }
            Ask::Sleep { ms } => {
                node.clock()
                    .sleep(Duration::from_millis(ms).min(self.left()))
                    .await;
                Ok(Answer::Done)
            }
            other @ (Ask::Log { .. } | Ask::StateGet { .. } | Ask::StateSet { .. }) => {
                node.trial().ask(other, self.entry, self.left()).await
            }
        }
    }

    async fn effect(
        &self,
        effect: Effect,
        keep: bool,
        wait_ms: Option<u64>,
    ) -> Result<Answer, AskError> {
        let node = self.node;
        node.subject().note_call(first_word(&effect.to_string()));
        let at = node.record().plan.len();
        node.record_mut().plan.push(Asked {
            effect: effect.clone(),
            came: Came::Open,
        });
        if node.trial().host().kills(&effect) {
            node.subject().kill(self.runner);
            // The end of the process ends the run.
            return pending().await;
        }
        let ask = Ask::Effect {
            effect: effect.clone(),
            keep,
            wait_ms,
        };
        let result = node.trial().ask(ask, self.entry, self.left()).await;
        let mut record = node.record_mut();
        let came = match &result {
            Ok(_) => Came::Done,
            Err(AskError::Denied(denied)) => {
                record.denied.push(denied.to_string());
                node.note_refused(Refused::Effect(effect.clone()));
                Came::Denied
            }
            Err(_) => Came::Failed,
        };
        if let Some(asked) = record.plan.get_mut(at) {
            asked.came = came;
        }
        if came == Came::Done {
            match &effect {
                Effect::Demote { by, .. } => record.demotion = *by,
                // On a backup there is nothing to hand over.
                Effect::Resign { .. } if node.state() != State::Master => {}
                Effect::Resign { reason } => {
                    record.resigned = Some(reason.clone());
                    node.overtake();
                }
                effect => {
                    if let Some((resource, value)) =
                        effect.assigns().filter(|_| keep || !self.entry.scoped())
                    {
                        record.lasting.insert(resource, value);
                    }
                }
            }
        }
        result
    }
}

/// `service.start` of `service.start httpd`.
fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}
