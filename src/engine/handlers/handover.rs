//! An operator's order to hand over: checks that there is a peer to hand over to, and reports the
//! outcome.
//!
//! Backups are silent, so a node that hears none asks (docs/protocol.md, section 14). Without a fit
//! peer nothing is done, unless the operator insists. Nothing here blocks: each step follows from a
//! packet or a timer.

use std::net::IpAddr;
use std::time::Duration;

use crate::engine::environment::Environment;
use crate::engine::report::HandedOver;
use crate::engine::report::millis;
use crate::engine::state::Engine;
use crate::engine::vhost::handover::{Handover, Purpose, Reply, Stage};
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::node::Node;
use crate::host::clock;
use crate::journal::DaemonCause;
use crate::proto::{Heard, Input, Vhost};
use crate::types::{AdvSkew, Demotion, Name, State, Timestamp};

/// A peer that does not answer may not have received the question: it is repeated after this time.
const CALL_EVERY: Duration = Duration::from_millis(250);
/// The longest wait for answers, so that with long intervals an operator need not wait for a full
/// master-down time.
const CALL_LONGEST: Duration = Duration::from_secs(10);
/// The longest wait for the outcome.
const WAIT_LONGEST: Duration = Duration::from_secs(40);

/// A peer that may take over: it was heard within a master-down time, and is not fully demoted.
pub(super) fn fit_peer(machine: &Vhost, now: Timestamp) -> Option<IpAddr> {
    let fit = |heard: &&Heard| {
        heard.demote < Demotion::MAX.get() && heard.advskew < AdvSkew(Demotion::MAX.get())
    };
    let heard = machine.heard().filter(fit)?;
    (now.since(heard.at) <= machine.master_down()).then_some(heard.from)
}

impl<E: Environment> Engine<E> {
    /// An operator wants another node to be master.
    pub(in crate::engine) fn resign(
        &mut self,
        name: &Name,
        reason: String,
        force: bool,
        reply: Reply,
    ) {
        let now = clock::now();
        let ready = self.named(name).and_then(|index| {
            let Some(node) = self.nodes.get(index) else {
                return Ok((index, None));
            };
            match (node.is_master(), &node.handover) {
                (false, _) => Err(format!(
                    "{name} is {} here, not master",
                    node.machine.state()
                )),
                (true, Some(_)) => Err(format!("{name} is already being handed over")),
                (true, None) => Ok((index, fit_peer(&node.machine, now))),
            }
        });
        match ready {
            // The operator may have disconnected meanwhile; the same below.
            Err(why) => _ = reply.send(Err(why)),
            Ok((index, peer)) if force || peer.is_some() => {
                self.let_another(index, reason, reply, now);
                self.flush(index, now);
            }
            Ok((index, _)) => {
                self.call_for_handover(index, Purpose::Resign { reason, reply }, now);
            }
        }
    }

    /// Asks which peers are there.
    pub(super) fn call_for_handover(&mut self, index: VhostId, purpose: Purpose, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let until = now + node.machine.master_down().min(CALL_LONGEST);
        let stage = Stage::Calling {
            again: now + CALL_EVERY,
        };
        node.handover = Some(Handover {
            purpose,
            stage,
            began: now,
            until,
        });
        self.handle(index, Input::CallRoll, now);
    }

    /// It is about to give up mastership: from then on the outcome is waited for.
    pub(super) fn leave_to_another(&mut self, index: VhostId, purpose: Purpose, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let until = now + (node.machine.master_down() * 3).min(WAIT_LONGEST);
        let stage = Stage::LetGo { seq: seq(node) };
        node.handover = Some(Handover {
            purpose,
            stage,
            began: now,
            until,
        });
    }

    /// Gives up mastership after the current step, and waits for the outcome.
    fn let_another(&mut self, index: VhostId, reason: String, reply: Reply, now: Timestamp) {
        let purpose = Purpose::Resign {
            reason: reason.clone(),
            reply,
        };
        self.leave_to_another(index, purpose, now);
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let why = DaemonCause::Resigned.because(&reason);
        node.prefer_others(reason, now);
        let demotion = node.demotion();
        self.follow_ups.push_back((
            index,
            Input::Resign {
                reason: why,
                unfit: false,
            },
        ));
        self.follow_ups.push_back((index, Input::Demote(demotion)));
    }

    /// A backup is there.
    pub(in crate::engine) fn answered(
        &mut self,
        index: VhostId,
        demotion: Demotion,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let calling = |order: &mut Handover| matches!(order.stage, Stage::Calling { .. });
        if demotion >= Demotion::MAX {
            return;
        }
        match node.handover.take_if(calling).map(|order| order.purpose) {
            Some(Purpose::Resign { reason, reply }) => {
                self.let_another(index, reason, reply, now);
            }
            Some(Purpose::Maintenance) => self.campaign_answered(index, now),
            None if node.handover.is_none() => self.relieved(index),
            None => {}
        }
    }

    /// Reports the outcome of an order, if it is known by now.
    pub(in crate::engine) fn follow_handover(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let Some(result) = node
            .handover
            .as_ref()
            .and_then(|order| outcome(node, order, now))
        else {
            return;
        };
        match node.handover.take().map(|order| order.purpose) {
            Some(Purpose::Resign { reply, .. }) => _ = reply.send(result),
            Some(Purpose::Maintenance) => self.campaign_heard(index, result, now),
            None => {}
        }
    }

    /// Asks again, or gives up waiting.
    pub(in crate::engine) fn handover_due(&mut self, index: VhostId, now: Timestamp) {
        self.follow_handover(index, now);
        let Some(order) = self
            .nodes
            .get_mut(index)
            .and_then(|node| node.handover.as_mut())
        else {
            return;
        };
        if let Stage::Calling { again } = &mut order.stage
            && *again <= now
        {
            *again = now + CALL_EVERY;
            self.handle(index, Input::CallRoll, now);
        }
    }
}

/// The number of its last transition.
fn seq<H>(node: &Node<H>) -> u64 {
    node.last.as_ref().map_or(0, |last| last.seq)
}

fn outcome<H>(
    node: &Node<H>,
    order: &Handover,
    now: Timestamp,
) -> Option<Result<HandedOver, String>> {
    let (name, machine, took) = (&node.spec.name, &node.machine, now.since(order.began));
    let over = now >= order.until;
    let Stage::LetGo { seq: before } = order.stage else {
        if !node.is_master() {
            let why = node
                .last
                .as_ref()
                .map(|last| last.cause.to_string())
                .unwrap_or_default();
            return Some(Err(format!(
                "{name} became {} for another reason: {why}",
                machine.state()
            )));
        }
        return over.then_some(Ok(HandedOver::NoPeer {
            waited_ms: millis(took),
        }));
    };
    let successor = machine
        .heard()
        .filter(|heard| heard.at >= order.began && !heard.is_bow_out());
    match machine.state() {
        State::Backup if successor.is_some() => {
            let heard = successor?;
            let after_ms = millis(heard.at.since(order.began));
            Some(Ok(HandedOver::To {
                peer: heard.from.to_string(),
                after_ms,
            }))
        }
        State::Master if node.announces() && seq(node) > before => Some(Ok(HandedOver::Back {
            nobody_ms: millis(took),
        })),
        State::Init => Some(Err(format!(
            "{name} gave up mastership, and no longer takes part; no peer was heard to take over"
        ))),
        State::Backup | State::Master if over => Some(Err(format!(
            "{name} gave up mastership {} s ago, and no peer was heard to take over",
            took.as_secs()
        ))),
        State::Backup | State::Master => None,
    }
}
