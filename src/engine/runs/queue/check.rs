//! Health: asked of one hook, beside whatever else runs.

use std::rc::Rc;
use std::time::Duration;

use tracing::debug;

use super::Queue;
use crate::engine::runs::observer::Asker;
use crate::engine::runs::outcome::HookOutcome;
use crate::engine::runs::pool::Pool;
use crate::engine::runs::requests::RunRequests;
use crate::hooks::{EntryPoint, HookEvent};
use crate::host::{Host, clock};
use crate::types::Name;

/// Who wants to know of a hook's health.
#[derive(Debug)]
pub(in crate::engine) enum Purpose {
    /// The virtual host.
    Vhost {
        /// The check's number.
        ticket: u64,
    },
    /// A track.
    Track {
        /// Which one.
        track: Name,
        /// The question's number.
        number: u64,
        /// For the answer.
        limit: Duration,
    },
}

impl<H: Host + 'static> Queue<H> {
    /// Checks one hook's health, in parallel to other runs.
    pub(in crate::engine) fn begin_check(
        self: &Rc<Self>,
        hook: Rc<Pool>,
        event: HookEvent,
        purpose: Purpose,
    ) {
        let task = tokio::task::spawn_local(Rc::clone(self).check(hook, event, purpose));
        let mut checks = self.checks.borrow_mut();
        checks.retain(|task| !task.is_finished());
        checks.push(task.abort_handle());
    }

    async fn check(self: Rc<Self>, hook: Rc<Pool>, mut event: HookEvent, purpose: Purpose) {
        let (seq, mut budget) = (event.seq, hook.budget(EntryPoint::Health));
        if let Purpose::Track { limit, .. } = purpose {
            budget.wall = limit;
            budget.cpu = budget.cpu.min(limit);
        }
        let place = (
            hook.checks().take(false).await,
            self.shared.limits_of_daemon.checks.take(false).await,
        );
        event.time_left_ms = u64::try_from(budget.wall.as_millis()).unwrap_or(u64::MAX);
        let mut desk = RunRequests::new(&self, &hook, EntryPoint::Health, budget);
        let (asker, observer) = (
            Asker {
                vhost: self.index.number(),
                hook: hook.name(),
                entry: EntryPoint::Health,
            },
            self.shared.executor.observer(),
        );
        if let Some(observer) = &observer {
            observer.begins(asker, &event);
        }
        let result = hook.check(event, budget, &mut desk).await;
        if let Some(observer) = &observer {
            observer.ended(asker, result.as_ref().map(|_| ()));
        }
        drop(place);
        let (vhost, outcome) = (self.vhost(), result.as_ref().map_or("failed", |_| "done"));
        debug!(%vhost, hook = %hook.name(), outcome, "Checked health");
        clock::rest();
        let (vhost, hook) = (self.index, hook.name().clone());
        _ = self.shared.outcomes.send(match purpose {
            Purpose::Vhost { ticket } => HookOutcome::Checked {
                vhost,
                hook,
                ticket,
                seq,
                result,
            },
            Purpose::Track { track, number, .. } => HookOutcome::Answered {
                vhost,
                track,
                number,
                result,
            },
        });
    }
}
