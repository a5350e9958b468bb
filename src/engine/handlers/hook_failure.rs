//! What happens when a hook fails on a master: hand over, stay, or stand aside; and retrying, at
//! growing intervals.
//!
//! With `resign` the node hands over at once and advertises full demotion. If the same happens
//! again, [`Escalation`] decides: others get another chance, or it stays master and retries the
//! hook. If the operator does not want it to stay (`keep-degraded = false`), or if `before_master`
//! failed, it does not take part for a while instead, longer each time.

use tracing::{info, warn};

use crate::engine::environment::Environment;
use crate::engine::runs::outcome::Failure;
use crate::engine::state::Engine;
use crate::engine::vhost::degraded::Degraded;
use crate::engine::vhost::escalation::Verdict;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::node::Node;
use crate::engine::vhost::timer::Timer;
use crate::hooks::{EntryPoint, HookError};
use crate::host::Host;
use crate::journal::DaemonCause;
use crate::types::{Name, Timestamp};

impl<E: Environment> Engine<E> {
    /// Hands over because a hook failed at `entry`, or does something else if that did not help
    /// before.
    pub(in crate::engine) fn resign_for(
        &mut self,
        index: VhostId,
        entry: EntryPoint,
        failure: &Failure,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if failure.error == HookError::Superseded || !node.is_master() {
            return;
        }
        let reason = format!("hook {}: {}", failure.hook, failure.error);
        // A `before_master` that fails is a veto: its addresses are not up yet.
        let may_stay = entry == EntryPoint::OnMaster && node.spec.keep_degraded && node.announces();
        let verdict = match &mut node.degraded {
            Some(degraded) if degraded.unfit => {
                reason.clone_into(&mut degraded.reason);
                degraded.relief.again(node.changed, false)
            }
            _ => {
                node.degraded = Some(Degraded::new(reason.clone(), true));
                self.shared.notices.degraded(&node.spec, &reason);
                Verdict::Resign
            }
        };
        match verdict {
            Verdict::Again(pause) if may_stay => {
                warn!(vhost = %node.spec.name, reason, retry_s = pause.as_secs(), "Staying master, degraded: no peer took over");
                self.retry(index, now + pause);
            }
            Verdict::Resign => {
                self.resign_and_demote(index, DaemonCause::HookFailed.because(&reason), now);
            }
            Verdict::Again(pause) => {
                warn!(vhost = %node.spec.name, reason, aside_s = pause.as_secs(), "Standing aside: the hook failed again");
                self.aside(
                    index,
                    now + pause,
                    DaemonCause::HookFailed.because(&reason),
                    now,
                );
                self.demote(index, now);
            }
        }
    }

    /// Stays master with a hook that failed (`on-failure = "keep"`), and retries it.
    pub(in crate::engine) fn stay_for(
        &mut self,
        index: VhostId,
        failure: &Failure,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if failure.error == HookError::Superseded || !node.is_master() {
            return;
        }
        let reason = format!("hook {}: {}", failure.hook, failure.error);
        if node.degraded.is_none() {
            self.shared.notices.degraded(&node.spec, &reason);
        }
        let degraded = node
            .degraded
            .get_or_insert_with(|| Degraded::new(reason.clone(), false));
        reason.clone_into(&mut degraded.reason);
        let pause = degraded.relief.pause();
        warn!(vhost = %node.spec.name, reason, retry_s = pause.as_secs(), "Staying master; will run the hook again");
        self.retry(index, now + pause);
    }

    fn retry(&mut self, index: VhostId, at: Timestamp) {
        if let Some(degraded) = self
            .nodes
            .get_mut(index)
            .and_then(|node| node.degraded.as_mut())
        {
            degraded.retry_at = Some(at);
        }
    }

    /// It is time to retry what failed.
    pub(in crate::engine) fn retry_degraded(&mut self, index: VhostId) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if let Some(degraded) = &mut node.degraded {
            degraded.retry_at = None;
        }
        node.run_again();
    }

    /// The hook has succeeded.
    pub(in crate::engine) fn hook_recovered(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if let Some(degraded) = node.degraded.take() {
            info!(vhost = %node.spec.name, was = degraded.reason, "No longer degraded");
            self.shared.notices.recovered(&node.spec);
            self.demote(index, now);
        }
    }

    /// An operator had one hook run again, and it succeeded. If the list of hooks had stopped at
    /// it, the others still have to run.
    pub(in crate::engine) fn hook_applied(&mut self, index: VhostId) {
        if let Some(node) = self
            .nodes
            .get_mut(index)
            .filter(|node| node.serves() && node.degraded.is_some())
        {
            node.run_again();
        }
    }

    /// These hooks were changed, or an operator declared them fixed: a master retries at once, any
    /// other node is fit again. Returns the virtual hosts that were degraded.
    pub(in crate::engine) fn forgive(&mut self, hooks: &[Name], now: Timestamp) -> Vec<Name> {
        let mut forgiven = Vec::new();
        for index in self.numbers() {
            let Some(node) = self.nodes.get(index) else {
                continue;
            };
            if node.degraded.is_none() || !node.spec.hooks.iter().any(|hook| hooks.contains(hook)) {
                continue;
            }
            forgiven.push(node.spec.name.clone());
            self.forgive_hooks(index, now);
        }
        forgiven
    }

    /// The hooks of a virtual host were declared fixed.
    pub(in crate::engine) fn forgive_hooks(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self
            .nodes
            .get_mut(index)
            .filter(|node| node.degraded.is_some())
        else {
            return;
        };
        if node.is_master() {
            // Before its `on_master`, which is still to come and will run the new version.
            if node.serves() {
                node.run_again();
            }
            return;
        }
        node.degraded = None;
        self.shared.notices.recovered(&node.spec);
        node.aside_until = node.aside_until.map(|_| now);
        self.demote(index, now);
        self.fire(index, Timer::StandAside, now);
    }
}

impl<H: Host + 'static> Node<H> {
    /// Retries what failed on a master; what it holds stays.
    fn run_again(&mut self) {
        let event = self.event(EntryPoint::OnMaster, false);
        self.queue.run_again(event);
    }
}
