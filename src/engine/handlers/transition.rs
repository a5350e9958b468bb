//! The consequences of a state change, and of what the hooks report.

use std::net::IpAddr;
use std::time::Duration;

use tracing::{info, warn};

use crate::config::{AtStop, OnFailure};
use crate::engine::environment::Environment;
use crate::engine::handlers::tracks::hook::finding;
use crate::engine::runs::outcome::{Failure, HookOutcome};
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::node::{Asked, Gate, Node};
use crate::engine::vhost::sending::Sending;
use crate::hooks::EntryPoint;
use crate::host::{Lifetimes, clock};
use crate::journal::DaemonCause;
use crate::journal::Note;
use crate::proto::{Cause, Input, Reason, Transition};
use crate::types::{Demotion, State, Timestamp};

/// The delay before retrying to remove addresses.
const DROP_RETRY: Duration = Duration::from_millis(200);
/// The delay before retrying a preemption that `before_master` refused.
const REFUSED_RETRY: Duration = Duration::from_secs(10);

impl<E: Environment> Engine<E> {
    pub(in crate::engine) fn transition(
        &mut self,
        index: VhostId,
        transition: Transition,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let Transition {
            from,
            to,
            cause,
            peer,
            seq,
        } = &transition;
        let silent = if let Cause::MasterDown { silent } = cause {
            Some(*silent)
        } else {
            None
        };
        self.shared.persist.numbers.borrow_mut().used(*seq);
        let (from, to) = (*from, *to);
        if from == State::Master {
            node.sending = Sending::default();
        }
        let peer_text = peer.map(|peer| peer.to_string()).unwrap_or_default();
        info!(
            vhost = %node.spec.name, vhid = %node.spec.vhid, interface = %node.spec.interface,
            %from, %to, cause = cause.as_str(), why = %cause, peer = peer_text, seq, "Changed state"
        );
        self.shared
            .executor
            .count()
            .transition(&node.spec.name, &transition);
        self.shared.notices.transition(&node.spec, &transition);
        self.shared
            .recent
            .borrow_mut()
            .transition(&node.spec.name, &transition);
        node.strip.changed(now);
        // A group preempts only when every gate has agreed.
        let together = node.machine.settings().claims.is_together()
            && matches!(transition.cause, Cause::Preempt | Cause::PeerDemoted);
        let allowed = std::mem::take(&mut node.gate) == Gate::Allowed || together;
        node.last = Some(transition);
        node.since_ms = clock::wall_ms();
        node.changed = now;
        node.note_relief(to, now);
        self.watch_anew(index, now);
        self.tell_what_was_not_heard(index, silent, now);
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        match (from, to) {
            (_, State::Master) => {
                if node.queue.defines(EntryPoint::BeforeMaster) && !allowed {
                    node.gate = Gate::Shut;
                    let event = node.event(EntryPoint::BeforeMaster, false);
                    node.queue.put(event, false);
                } else if !self.waits_for_others(index) {
                    self.take_addresses(index, now);
                }
            }
            (State::Master, State::Backup | State::Init) => self.let_go(index, now),
            (State::Init, State::Backup) => self.tell_initial(index),
            (State::Backup | State::Init, State::Init) | (State::Backup, State::Backup) => {}
        }
    }

    /// A master that was not heard need not be down: reports what was refused meanwhile.
    fn tell_what_was_not_heard(
        &mut self,
        index: VhostId,
        silent: Option<Duration>,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let mut told = node.refusals.changed(now, silent.unwrap_or_default());
        let Some(silent) = silent else { return };
        told.extend(
            self.interfaces
                .get(node.interface)
                .map(|interface| interface.unknown_vhids.lately(now, silent))
                .unwrap_or_default(),
        );
        let mut journal = self.shared.journal.borrow_mut();
        for text in told {
            warn!(vhost = %node.spec.name, text, "Becoming master although another node advertises");
            journal.note(now, index.number(), Note::Remark { text });
        }
    }

    pub(in crate::engine) fn take_addresses(&mut self, index: VhostId, now: Timestamp) {
        if !self.is_heard(index) {
            return;
        }
        if self.waits_for_device(index, now) {
            return;
        }
        let Some(lifetimes) = self.lease_now(index, now) else {
            return self.wait_to_be_heard(index);
        };
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.gate = Gate::Open;
        let spec = &node.spec;
        if spec.manage_addresses {
            let executor = &self.shared.executor;
            if let Err(error) = executor.hold_addresses(spec, &spec.addresses, lifetimes) {
                return self.address_failed(index, &error, now);
            }
            self.nothing_refused(index);
        }
        self.serve(index, lifetimes, now);
    }

    /// A master's addresses are up, or its hooks have to add them: announces them, and runs the
    /// hooks.
    pub(in crate::engine) fn serve(
        &mut self,
        index: VhostId,
        lifetimes: Lifetimes,
        now: Timestamp,
    ) {
        self.note_device(index);
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if node.spec.manage_addresses {
            node.holding = true;
            node.leased = lifetimes.valid.map(|valid| (valid, now));
            node.drop_again = None;
            node.announcer.takeover(node.spec.announce, now);
            let held: Vec<_> = node.holdable().collect();
            let spec = &node.spec;
            self.shared.executor.announce(spec, &held);
            let addresses = held
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ");
            info!(vhost = %spec.name, interface = %spec.device(), addresses, "Acquired the addresses");
        }
        let event = node.event(EntryPoint::OnMaster, false);
        node.queue.put(event, false);
    }

    /// Removes the addresses first: they must not be held twice.
    pub(in crate::engine) fn let_go(&mut self, index: VhostId, now: Timestamp) {
        self.drop_addresses(index, now);
        let stopping = self.stopping.is_some();
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.announcer.stop();
        let least = node.machine.master_down() * 3;
        if let Some(refused_addresses) = &mut node.refused_addresses {
            refused_addresses.leaves(now, least);
        }
        if stopping && node.spec.at_stop != AtStop::AddressesFirst {
            node.queue.end();
            return self.take_off(index);
        }
        let was_degraded = node.degraded.is_some();
        node.degraded = node
            .degraded
            .take()
            .and_then(|degraded| degraded.leaves(now));
        if was_degraded && node.degraded.is_none() {
            self.shared.notices.recovered(&node.spec);
        }
        let event = node.event(EntryPoint::OnBackup, false);
        node.queue.put(event, true);
    }

    pub(in crate::engine) fn drop_addresses(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.drop_again = None;
        if !node.spec.manage_addresses {
            return;
        }
        let held = std::mem::take(&mut node.holding);
        node.leased = None;
        node.device_again = None;
        if self.shared.executor.drop_addresses(&node.spec.name) > 0 {
            node.drop_again = Some(now + DROP_RETRY);
        } else if held {
            info!(vhost = %node.spec.name, interface = %node.spec.device(), "Released the addresses");
        }
        self.remove_device(index);
    }

    /// Retries removing addresses that the kernel did not release, and bows out once they are gone.
    pub(in crate::engine) fn let_go_at_last(&mut self, index: VhostId, now: Timestamp) {
        self.drop_addresses(index, now);
        if self
            .nodes
            .get(index)
            .is_some_and(|node| node.drop_again.is_none() && !node.is_master())
        {
            self.bow_out_at_last(index);
        }
    }

    pub(in crate::engine) fn tell_initial(&mut self, index: VhostId) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if std::mem::replace(&mut node.told_initial, true)
            || node.spec.neutral
            || !node.queue.defines(EntryPoint::OnBackup)
        {
            return;
        }
        let event = node.event(EntryPoint::OnBackup, true);
        node.queue.put(event, false);
    }

    /// There is a worse master, and `before_master` decides whether we preempt it.
    pub(in crate::engine) fn ask_before(&mut self, index: VhostId, cause: &Cause, peer: IpAddr) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.gate = Gate::Asked;
        let mut event = node.event(EntryPoint::BeforeMaster, false);
        cause.as_str().clone_into(&mut event.cause);
        event.cause_text = cause.to_string();
        event.peer = Some(peer);
        node.queue.put(event, false);
    }

    pub(in crate::engine) fn peer_claim(&mut self, index: VhostId, peer: IpAddr, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if !node.announcer.claimed(now) {
            return;
        }
        let (vhost, text) = (
            &node.spec.name,
            "Heard a worse master; announcing the addresses again",
        );
        if has_just_preempted(node, now) {
            info!(%vhost, %peer, "{text}");
        } else {
            warn!(%vhost, %peer, "{text}");
        }
        if node.queue.defines(EntryPoint::OnPeerClaim) {
            let mut event = node.event(EntryPoint::OnPeerClaim, false);
            event.peer = Some(peer);
            node.queue.put_aside(event);
        }
        self.announce(index);
    }

    /// It is time to announce the addresses again.
    pub(in crate::engine) fn announce_again(&mut self, index: VhostId, now: Timestamp) {
        let node = self.nodes.get_mut(index);
        if node.is_some_and(|node| node.announcer.take_due(now)) {
            self.announce(index);
        }
    }

    pub(in crate::engine) fn announce(&self, index: VhostId) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        if node.announces() {
            let held: Vec<_> = node.holdable().collect();
            self.shared.executor.announce(&node.spec, &held);
        }
    }

    pub(in crate::engine) fn demote(&mut self, index: VhostId, now: Timestamp) {
        let Some(demotion) = self.nodes.get(index).map(Node::demotion) else {
            return;
        };
        self.handle(index, Input::Demote(demotion), now);
    }

    pub(in crate::engine) fn hook_outcome(&mut self, outcome: HookOutcome) {
        let now = clock::now();
        match outcome {
            HookOutcome::Finished {
                vhost,
                entry,
                seq,
                result,
            } => self.hook_finished(vhost, entry, seq, result, now),
            HookOutcome::Applied { vhost } => self.hook_applied(vhost),
            HookOutcome::Demote { vhost, by, reason } => {
                let Some(node) = self.nodes.get_mut(vhost) else {
                    return;
                };
                info!(vhost = %node.spec.name, by, reason, "Demotion requested");
                node.asked = Asked {
                    by: Demotion::new(by),
                    reason,
                };
                self.demote(vhost, now);
            }
            HookOutcome::Checked {
                vhost,
                hook,
                ticket,
                seq,
                result,
            } => self.checked(vhost, &hook, (ticket, seq), result, now),
            HookOutcome::Answered {
                track,
                number,
                result,
                ..
            } => self.hook_answered(&track, number, finding(result), now),
            HookOutcome::Resign { vhost, reason } => self.hook_resigns(vhost, reason, now),
        }
    }

    /// A hook wants another node to be master. If it asks again while others are still preferred,
    /// then no peer took over, or one gave mastership back: an unfit master is better than none.
    pub(in crate::engine) fn hook_resigns(
        &mut self,
        index: VhostId,
        reason: String,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let in_vain = node.is_master()
            && node
                .resigned
                .as_ref()
                .is_some_and(|resigned| resigned.let_go);
        if !in_vain {
            return self.hand_over(index, reason, now);
        }
        warn!(vhost = %node.spec.name, reason, "Staying master although it was to resign again: no other node stays master for long");
        node.prefer_others(reason, now);
        self.demote(index, now);
    }

    pub(in crate::engine) fn hand_over(&mut self, index: VhostId, reason: String, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let why = DaemonCause::Resigned.because(&reason);
        node.prefer_others(reason, now);
        self.resign_and_demote(index, why, now);
    }

    /// The addresses first: a master that advertised its demotion would be preempted while it still
    /// has them.
    pub(in crate::engine) fn resign_and_demote(
        &mut self,
        index: VhostId,
        reason: Reason,
        now: Timestamp,
    ) {
        let unfit = false;
        self.handle(index, Input::Resign { reason, unfit }, now);
        self.demote(index, now);
    }

    pub(in crate::engine) fn hook_finished(
        &mut self,
        index: VhostId,
        entry: EntryPoint,
        seq: u64,
        result: Result<(), Failure>,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let current = node.last.as_ref().map_or(0, |last| last.seq) == seq;
        if current && entry == EntryPoint::OnMaster && !node.spec.manage_addresses {
            self.announce(index);
        }
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        match (entry, result) {
            (EntryPoint::BeforeBackup | EntryPoint::OnBackup, _) if node.leaving => {
                self.leave(index, now);
            }
            _ if !current => {}
            (EntryPoint::OnBackup, _)
                if node.aside_until.is_some() || node.track_fault().is_some() =>
            {
                self.bow_out(index);
            }
            (EntryPoint::BeforeMaster, Ok(())) if node.gate == Gate::Asked => {
                self.preempt(index, now);
            }
            (EntryPoint::BeforeMaster, Ok(())) if node.gate == Gate::Shut => {
                self.take_addresses_now(index, now);
            }
            (EntryPoint::BeforeMaster, Err(failure)) if node.gate == Gate::Asked => {
                node.gate = Gate::Open;
                warn!(vhost = %node.spec.name, hook = %failure.hook, error = %failure.error, "Staying backup");
                self.handle(
                    index,
                    Input::Refuse {
                        retry_after: REFUSED_RETRY,
                    },
                    now,
                );
            }
            (EntryPoint::BeforeMaster, Err(failure)) => {
                self.resign_for(index, entry, &failure, now);
            }
            (EntryPoint::OnMaster, Ok(())) => self.hook_recovered(index, now),
            (EntryPoint::OnMaster, Err(failure)) => match failure.policy {
                OnFailure::Resign => self.resign_for(index, entry, &failure, now),
                OnFailure::Keep => self.stay_for(index, &failure, now),
                OnFailure::Ignore => {}
            },
            (
                EntryPoint::BeforeMaster
                | EntryPoint::BeforeBackup
                | EntryPoint::OnBackup
                | EntryPoint::OnPeerClaim
                | EntryPoint::Health
                | EntryPoint::OnStop,
                _,
            ) => {}
        }
    }

    /// `before_master` allows the preemption, if there is still a master to preempt. That applies
    /// once: a takeover for another reason asks again.
    fn preempt(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.gate = Gate::Allowed;
        self.handle(index, Input::Approve, now);
        if let Some(node) = self
            .nodes
            .get_mut(index)
            .filter(|node| node.gate == Gate::Allowed)
        {
            node.gate = Gate::Open;
        }
    }

    pub(in crate::engine) fn take_addresses_now(&mut self, index: VhostId, now: Timestamp) {
        if !self.waits_for_others(index) {
            self.take_addresses(index, now);
        }
        // Adding them may have failed and left a follow-up.
        self.flush(index, now);
        self.publish(index);
    }
}

/// Whether it has just taken over from a worse master, which may not have heard of that yet. Then
/// all is well.
fn has_just_preempted<H>(node: &Node<H>, now: Timestamp) -> bool {
    let cause = node.last.as_ref().map(|last| &last.cause);
    matches!(cause, Some(Cause::Preempt | Cause::PeerDemoted))
        && now.since(node.changed) < node.machine.interval()
}

#[cfg(test)]
mod tests;
