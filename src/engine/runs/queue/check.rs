//! Health: asked of one hook, beside whatever else runs.

use std::rc::Rc;

use tracing::debug;

use super::Queue;
use crate::engine::runs::observer::Asker;
use crate::engine::runs::outcome::HookOutcome;
use crate::engine::runs::pool::Pool;
use crate::engine::runs::requests::RunRequests;
use crate::hooks::{EntryPoint, HookEvent};
use crate::host::{Host, clock};

impl<H: Host + 'static> Queue<H> {
    /// Checks one hook's health, in parallel to other runs.
    pub(in crate::engine) fn begin_check(
        self: &Rc<Self>,
        hook: Rc<Pool>,
        event: HookEvent,
        ticket: u64,
    ) {
        let task = tokio::task::spawn_local(Rc::clone(self).check(hook, event, ticket));
        let mut checks = self.checks.borrow_mut();
        checks.retain(|task| !task.is_finished());
        checks.push(task.abort_handle());
    }

    async fn check(self: Rc<Self>, hook: Rc<Pool>, mut event: HookEvent, ticket: u64) {
        let (seq, budget) = (event.seq, hook.budget(EntryPoint::Health));
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
        let hook = hook.name().clone();
        _ = self.shared.outcomes.send(HookOutcome::Checked {
            vhost: self.index,
            hook,
            ticket,
            seq,
            result,
        });
    }
}
