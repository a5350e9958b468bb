//! Maintenance: an operator wants other nodes to be master, until that is ended ([ADR
//! 0053](../../../docs/adr/0053-maintenance-lasts.md)).
//!
//! The rule is that of `carpd resign`: a master first asks who is there, and nothing is done if
//! nobody is. With several masters, none lets go before each has had an answer. Then, for each, the
//! order is: let go, bow out, be reluctant, be demoted.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::info;

use crate::engine::command::BeginMaintenance;
use crate::engine::environment::Environment;
use crate::engine::handlers::handover::fit_peer;
use crate::engine::handlers::lasting_orders::check_reason;
use crate::engine::persist::{Clocks, LastingOrder, OrderKind};
use crate::engine::report::{HandedOver, Maintained, MaintenanceStatus, millis};
use crate::engine::state::Engine;
use crate::engine::vhost::handover::Purpose;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::maintenance::Campaign;
use crate::engine::vhost::node::Node;
use crate::host::clock;
use crate::journal::DaemonCause;
use crate::proto::Input;
use crate::types::{Demotion, Name, State, Timestamp};

/// Where the answer to an order to begin goes.
type Reply = oneshot::Sender<Result<Maintained, String>>;

impl<E: Environment> Engine<E> {
    /// An operator puts a virtual host, or all, into maintenance.
    pub(in crate::engine) fn begin_maintenance(&mut self, order: BeginMaintenance, reply: Reply) {
        let now = clock::now();
        let campaign = match self.campaign_for(order, reply) {
            Ok(campaign) => campaign,
            // The operator may have disconnected meanwhile; the same below.
            Err((why, reply)) => {
                _ = reply.send(Err(why));
                return;
            }
        };
        let force = campaign.order.force;
        let fit = |index: &VhostId| {
            let node = self.nodes.get(*index);
            node.is_some_and(|node| fit_peer(&node.machine, now).is_some())
        };
        let unanswered = campaign
            .masters
            .iter()
            .filter(|index| !force && !fit(index));
        let calling: BTreeSet<VhostId> = unanswered.copied().collect();
        self.campaign = Some(Campaign {
            calling: calling.clone(),
            ..campaign
        });
        for index in calling {
            self.call_for_handover(index, Purpose::Maintenance, now);
        }
        self.campaign_goes_on(now);
        self.follow_up(now);
    }

    /// What the order is about, or why it cannot be carried out.
    fn campaign_for(
        &self,
        order: BeginMaintenance,
        reply: Reply,
    ) -> Result<Campaign, (String, Reply)> {
        if self.stopping.is_some() {
            return Err(("the daemon is stopping".to_owned(), reply));
        }
        if let Err(why) = check_reason(&order.reason) {
            return Err((why, reply));
        }
        if self.campaign.is_some() {
            let why = "another order to begin maintenance is being carried out";
            return Err((why.to_owned(), reply));
        }
        let targets = match &order.vhost {
            None => self.numbers(),
            Some(name) => match self.named(name) {
                Ok(index) => self.together_with(index),
                Err(why) => return Err((why, reply)),
            },
        };
        let mut masters = BTreeSet::new();
        for index in &targets {
            let Some(node) = self.nodes.get(*index).filter(|node| node.is_master()) else {
                continue;
            };
            if node.handover.is_some() {
                let why = format!("{} is already being handed over", node.spec.name);
                return Err((why, reply));
            }
            // In maintenance, and master as a last resort: that may go on.
            let never = order.never || self.never_in_maintenance(*index);
            if node.upkeep.maintenance.is_none() || never || order.force {
                masters.insert(*index);
            }
        }
        Ok(Campaign {
            order,
            reply,
            targets,
            calling: BTreeSet::new(),
            masters,
            leaving: BTreeSet::new(),
            begun: false,
            lines: Vec::new(),
            failed: false,
        })
    }

    /// Each master has an answer: now they let go. What is left to be done follows in this turn.
    fn let_all_go(&mut self, now: Timestamp) {
        let Some(campaign) = &mut self.campaign else {
            return;
        };
        let masters = std::mem::take(&mut campaign.masters);
        campaign.leaving.clone_from(&masters);
        let (order, targets) = (campaign.order.clone(), campaign.targets.clone());
        let why = if order.reason.is_empty() {
            "maintenance begins".to_owned()
        } else {
            order.reason.clone()
        };
        for index in masters {
            self.leave_to_another(index, Purpose::Maintenance, now);
            let reason = DaemonCause::Maintenance.because(&why);
            let unfit = false;
            let resign = Input::Resign { reason, unfit };
            self.follow_ups.push_back((index, resign));
        }
        let clocks = Clocks::read();
        let mut orders = self.shared.persist.orders.borrow_mut();
        let length = order.for_ms.map(Duration::from_millis);
        let lasting = LastingOrder {
            by: Demotion::MAX,
            never: order.never,
            reason: order.reason,
            since_ms: clocks.wall_ms,
            ends: length.map(|length| orders.ends_after(length, clocks)),
        };
        orders.set(OrderKind::Maintenance, order.vhost, lasting);
        drop(orders);
        self.follow_orders(now);
        for index in targets {
            let Some(node) = self.nodes.get(index) else {
                continue;
            };
            let text = node.maintenance_text(now).unwrap_or_default();
            info!(vhost = %node.spec.name, text, "Maintenance");
            self.shared.notices.maintenance(&node.spec, Some(&text));
            self.remark(index, format!("begins: {text}"), now);
        }
    }

    /// Goes on with an order to begin maintenance, if nothing is waited for.
    pub(in crate::engine) fn campaign_goes_on(&mut self, now: Timestamp) {
        let Some(campaign) = &mut self.campaign else {
            return;
        };
        // A reload may have removed some.
        let nodes = &self.nodes;
        let there = |index: &VhostId| nodes.get(*index).is_some();
        campaign.targets.retain(there);
        for some in [
            &mut campaign.calling,
            &mut campaign.masters,
            &mut campaign.leaving,
        ] {
            some.retain(there);
        }
        if !campaign.calling.is_empty() {
            return;
        }
        if !std::mem::replace(&mut campaign.begun, true) {
            self.let_all_go(now);
        }
        self.finish_campaign(now);
    }

    /// Answers when it is known for each master who took over.
    fn finish_campaign(&mut self, now: Timestamp) {
        let done = |campaign: &mut Campaign| campaign.leaving.is_empty();
        let Some(mut campaign) = self.campaign.take_if(done) else {
            return;
        };
        let targets = campaign.targets.iter();
        for node in targets.filter_map(|index| self.nodes.get(*index)) {
            let text = node.maintenance_text(now).unwrap_or_default();
            let (name, state) = (&node.spec.name, node.machine.state());
            campaign.lines.push(format!("{name}: {text}; {state} here"));
        }
        let Campaign {
            lines,
            failed,
            reply,
            ..
        } = campaign;
        self.answer_when_saved(reply, move |problem| {
            let lines = lines.into_iter().chain(problem).collect();
            Ok(Maintained::Begun { lines, failed })
        });
    }

    /// A peer of a master is there.
    pub(in crate::engine) fn campaign_answered(&mut self, index: VhostId, now: Timestamp) {
        if let Some(campaign) = &mut self.campaign {
            campaign.calling.remove(&index);
        }
        self.campaign_goes_on(now);
    }

    /// What came of one master's part in it.
    pub(in crate::engine) fn campaign_heard(
        &mut self,
        index: VhostId,
        outcome: Result<HandedOver, String>,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        let name = node.spec.name.clone();
        let Some(campaign) = &mut self.campaign else {
            return;
        };
        let was_calling = campaign.calling.remove(&index);
        let force = campaign.order.force;
        campaign.leaving.remove(&index);
        match outcome {
            Ok(HandedOver::NoPeer { waited_ms }) => return self.abandon(index, waited_ms),
            // It ceased to be master for another reason.
            Err(_) if was_calling => _ = campaign.masters.remove(&index),
            Ok(HandedOver::To { peer, after_ms }) => {
                let line = format!("{name}: handed over to {peer} after {after_ms} ms");
                campaign.lines.push(line);
            }
            Ok(HandedOver::Back { nobody_ms }) => {
                campaign.failed |= !force;
                campaign.lines.push(format!(
                    "{name}: no peer took over; no node held the addresses for {nobody_ms} ms, and this node holds them again"
                ));
            }
            Err(why) => {
                campaign.failed |= !force;
                campaign.lines.push(why);
            }
        }
        self.campaign_goes_on(now);
    }

    /// Nobody is there for one of them: nothing is done for any.
    fn abandon(&mut self, index: VhostId, waited_ms: u64) {
        let Some(campaign) = self.campaign.take() else {
            return;
        };
        let mut alone: Vec<VhostId> = campaign.calling.into_iter().collect();
        alone.push(index);
        let mut vhosts: Vec<Name> = Vec::new();
        for index in alone {
            if let Some(node) = self.nodes.get_mut(index) {
                node.handover = None;
                vhosts.push(node.spec.name.clone());
            }
        }
        vhosts.sort();
        _ = campaign
            .reply
            .send(Ok(Maintained::NoPeer { vhosts, waited_ms }));
    }

    /// A master in maintenance asks whether another node is there by now.
    pub(in crate::engine) fn seek_relief(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.relief.due = None;
        if node.is_master() && node.upkeep.maintenance.is_some() {
            node.relief.begin(now);
            self.handle(index, Input::CallRoll, now);
        }
    }

    /// A backup answered a master in maintenance: it is to be master. All members of a group let go
    /// together.
    pub(in crate::engine) fn relieved(&mut self, index: VhostId) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if !node.is_master() || node.upkeep.maintenance.is_none() || node.relief.due.is_none() {
            return;
        }
        node.relief.hands_over();
        let reason = DaemonCause::Maintenance.because("another node is there");
        let unfit = false;
        self.follow_ups
            .push_back((index, Input::Resign { reason, unfit }));
    }
}

impl<H> Node<H> {
    /// Its maintenance, in words.
    pub(in crate::engine) fn maintenance_text(&self, now: Timestamp) -> Option<String> {
        let MaintenanceStatus {
            reason,
            ends_in_ms,
            never,
            scope,
            ..
        } = self.maintenance_status(now)?;
        let mut text = "in maintenance".to_owned();
        if let Some(scope) = scope.filter(|scope| *scope != self.spec.name) {
            text.push_str(&format!(" with {scope}"));
        }
        if let Some(ms) = ends_in_ms {
            text.push_str(&format!(" for {} s", ms.div_ceil(1000)));
        }
        if never {
            text.push_str(", never takes over");
        }
        if !reason.is_empty() {
            text.push_str(&format!(": {reason}"));
        }
        Some(text)
    }

    /// For operators.
    pub(in crate::engine) fn maintenance_status(
        &self,
        now: Timestamp,
    ) -> Option<MaintenanceStatus> {
        let (scope, order) = self.upkeep.maintenance.as_ref()?;
        Some(MaintenanceStatus {
            reason: order.reason.clone(),
            since_ms: order.since_ms,
            ends_in_ms: order.ends.map(|ends| millis(ends.at.since(now))),
            never: order.never,
            scope: scope.clone(),
        })
    }

    /// Its state has changed to this one.
    pub(in crate::engine) fn note_relief(&mut self, to: State, now: Timestamp) {
        if to != State::Master {
            self.relief.due = None;
        } else if self.upkeep.maintenance.is_some() {
            self.relief.begin(now);
        }
    }
}

#[cfg(test)]
mod tests;
