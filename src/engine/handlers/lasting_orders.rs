//! An operator's orders that last: which of them concern which virtual host, and their end.

use std::time::Duration;

use tokio::sync::oneshot;
use tracing::info;

use crate::config::InMaintenance;
use crate::engine::command::BeginDemotion;
use crate::engine::environment::Environment;
use crate::engine::handlers::demotion::what_changed;
use crate::engine::persist::{Clocks, LastingOrder, OrderKind, Scope};
use crate::engine::report::DemotionStatus;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::maintenance::{Relief, Upkeep};
use crate::host::clock;
use crate::journal::Note;
use crate::proto::{Input, Reluctance};
use crate::types::{Demotion, Name, Timestamp};

/// How long an answer waits for the disk.
const DISK_LIMIT: Duration = Duration::from_secs(2);

/// The longest reason that is kept on the disk, in bytes.
const REASON_MAX: usize = 1_000;

/// A reason that is too long to be kept is refused, not cut.
pub(super) fn check_reason(reason: &str) -> Result<(), String> {
    match reason.len() {
        0..=REASON_MAX => Ok(()),
        length => Err(format!(
            "the reason has {length} bytes, more than {REASON_MAX}"
        )),
    }
}

impl<E: Environment> Engine<E> {
    /// Tells every virtual host what orders mean for it now. What follows is done with
    /// [`Self::follow_up`].
    pub(in crate::engine) fn follow_orders(&mut self, now: Timestamp) {
        for index in self.numbers() {
            let upkeep = self.upkeep_of(index);
            let Some(node) = self.nodes.get_mut(index) else {
                continue;
            };
            if node.upkeep == upkeep {
                continue;
            }
            let (was, is) = (node.upkeep.reluctance(), upkeep.reluctance());
            node.upkeep = upkeep;
            if was != is {
                node.relief = Relief::default();
                let state = node.machine.state();
                node.note_relief(state, now);
                self.follow_ups.push_back((index, Input::Reluctant(is)));
            }
            let demotion = node.demotion();
            self.follow_ups.push_back((index, Input::Demote(demotion)));
        }
    }

    fn upkeep_of(&self, index: VhostId) -> Upkeep {
        let orders = self.shared.persist.orders.borrow();
        let name = |index: VhostId| Some(self.nodes.get(index)?.spec.name.clone());
        let found = |kind, scope: Scope| {
            let order = orders.get(kind, &scope)?.clone();
            Some((scope, order))
        };
        // Maintenance of one member is that of its group.
        let members = self.together_with(index).into_iter().filter_map(name);
        let scopes = members.map(Some).chain([None]);
        let all = scopes.filter_map(|scope| found(OrderKind::Maintenance, scope));
        let mut all: Vec<_> = all.collect();
        let never = all.iter().any(|(_, order)| order.never) || self.never_in_maintenance(index);
        all.sort_by_key(|(_, order)| order.ends.map_or((1, None), |ends| (0, Some(ends.at))));
        let maintenance = all
            .pop()
            .map(|(scope, order)| (scope, LastingOrder { never, ..order }));
        let demotions = [name(index), None]
            .into_iter()
            .filter_map(|scope| found(OrderKind::Demotion, scope))
            .collect();
        Upkeep {
            maintenance,
            demotions,
        }
    }

    /// Whether a virtual host, or a member of its group, is configured not to become master in
    /// maintenance.
    pub(super) fn never_in_maintenance(&self, index: VhostId) -> bool {
        let mut members = self.together_with(index).into_iter();
        members.any(|member| {
            let node = self.nodes.get(member);
            node.is_some_and(|node| node.spec.in_maintenance == InMaintenance::Never)
        })
    }

    /// For `carpd why`.
    pub(super) fn remark(&self, index: VhostId, text: String, now: Timestamp) {
        let note = Note::Remark { text };
        self.shared
            .journal
            .borrow_mut()
            .note(now, index.number(), note);
    }

    /// The virtual hosts that an order of this kind and scope is about.
    fn concerned(&self, kind: OrderKind, scope: &Scope) -> Vec<VhostId> {
        let Some(name) = scope else {
            return self.numbers();
        };
        match (self.named(name), kind) {
            (Ok(index), OrderKind::Maintenance) => self.together_with(index),
            (Ok(index), OrderKind::Demotion) => vec![index],
            (Err(_), _) => Vec::new(),
        }
    }

    /// The time of some orders is over.
    pub(in crate::engine) fn orders_end(&mut self, now: Timestamp) {
        let ended = self.shared.persist.orders.borrow_mut().take_ended(now);
        for (kind, scope, order) in ended {
            let what = match kind {
                OrderKind::Maintenance => "maintenance",
                OrderKind::Demotion => "demotion by an operator",
            };
            let vhost = scope.as_ref().map_or("all of them", Name::as_str);
            info!(
                vhost,
                what,
                reason = order.reason,
                "The time of an order is over"
            );
            for index in self.concerned(kind, &scope) {
                self.remark(index, format!("ends: {what}: its time is over"), now);
                if kind == OrderKind::Maintenance
                    && let Some(node) = self.nodes.get(index)
                {
                    self.shared.notices.maintenance(&node.spec, None);
                }
            }
        }
        self.follow_orders(now);
        self.follow_up(now);
    }

    /// Ends the orders for virtual hosts that a reload has removed.
    pub(in crate::engine) fn end_orders_of_removed(&mut self, changes: &mut Vec<String>) {
        let names: Vec<Name> = self
            .nodes
            .values()
            .map(|node| node.spec.name.clone())
            .collect();
        let gone = self
            .shared
            .persist
            .orders
            .borrow_mut()
            .retain(|name| names.contains(name));
        for (kind, scope, _) in gone {
            let (Some(name), what) = (scope, kind) else {
                continue;
            };
            let what = match what {
                OrderKind::Maintenance => "maintenance",
                OrderKind::Demotion => "demotion by an operator",
            };
            changes.push(format!("vhost {name}: its {what} ended with it"));
        }
    }

    /// An operator demotes a virtual host, or all.
    pub(in crate::engine) fn demote_by_order(
        &mut self,
        order: BeginDemotion,
        reply: oneshot::Sender<Result<String, String>>,
    ) {
        let now = clock::now();
        let BeginDemotion {
            vhost,
            by,
            for_ms,
            reason,
        } = order;
        if by == 0 || by > Demotion::MAX.get() {
            let why = format!("a demotion is 1 to {}, not {by}", Demotion::MAX.get());
            _ = reply.send(Err(why));
            return;
        }
        let named = vhost.as_ref().map(|name| self.named(name)).transpose();
        if let Err(why) = check_reason(&reason).and(named) {
            _ = reply.send(Err(why));
            return;
        }
        let clocks = Clocks::read();
        let mut orders = self.shared.persist.orders.borrow_mut();
        let length = for_ms.map(Duration::from_millis);
        let lasting = LastingOrder {
            by: Demotion::new(by),
            never: false,
            reason,
            since_ms: clocks.wall_ms,
            ends: length.map(|length| orders.ends_after(length, clocks)),
        };
        orders.set(OrderKind::Demotion, vhost.clone(), lasting);
        drop(orders);
        self.follow_orders(now);
        let mut lines = Vec::new();
        for index in self.concerned(OrderKind::Demotion, &vhost) {
            self.remark(index, format!("demoted by {by} by an operator"), now);
            if let Some(node) = self.nodes.get(index) {
                info!(vhost = %node.spec.name, by, "Demoted by an operator");
                let parts = node.demotions(now);
                lines.extend(
                    parts
                        .iter()
                        .map(|part| format!("{}: {part}", node.spec.name)),
                );
            }
        }
        self.follow_up(now);
        self.answer_when_saved(reply, |problem| {
            Ok(lines
                .into_iter()
                .chain(problem)
                .collect::<Vec<_>>()
                .join("\n"))
        });
    }

    /// An operator ends the maintenance of a virtual host and its group, or of all.
    pub(in crate::engine) fn end_maintenance(
        &mut self,
        vhost: Option<&Name>,
        reply: oneshot::Sender<Result<String, String>>,
    ) {
        let now = clock::now();
        let kind = OrderKind::Maintenance;
        if let Some(name) = vhost
            && let Err(why) = self.named(name)
        {
            _ = reply.send(Err(why));
            return;
        }
        let concerned = self.concerned(kind, &vhost.cloned());
        let was: Vec<VhostId> = concerned
            .into_iter()
            .filter(|index| {
                let node = self.nodes.get(*index);
                node.is_some_and(|node| node.upkeep.reluctance() != Reluctance::None)
            })
            .collect();
        let names: Vec<Name> = was
            .iter()
            .filter_map(|index| Some(self.nodes.get(*index)?.spec.name.clone()))
            .collect();
        let mut orders = self.shared.persist.orders.borrow_mut();
        if vhost.is_some() && orders.get(kind, &None).is_some() {
            drop(orders);
            let why = "all virtual hosts are in maintenance together: `carpd maintenance off --all` ends it";
            _ = reply.send(Err(why.to_owned()));
            return;
        }
        orders.end(kind, |scope| {
            vhost.is_none() || scope.as_ref().is_some_and(|name| names.contains(name))
        });
        drop(orders);
        self.follow_orders(now);
        let mut lines = Vec::new();
        for (index, name) in was.into_iter().zip(names) {
            info!(vhost = %name, "Maintenance ended by an operator");
            self.remark(index, "ends: maintenance, by an operator".to_owned(), now);
            if let Some(node) = self.nodes.get(index) {
                self.shared.notices.maintenance(&node.spec, None);
            }
            lines.push(format!("{name}: no longer in maintenance"));
        }
        if lines.is_empty() {
            let what = vhost.map_or("no virtual host is", Name::as_str);
            let is = if vhost.is_some() { " is not" } else { "" };
            lines.push(format!("{what}{is} in maintenance"));
        }
        self.follow_up(now);
        self.answer_when_saved(reply, |problem| {
            Ok(lines
                .into_iter()
                .chain(problem)
                .collect::<Vec<_>>()
                .join("\n"))
        });
    }

    /// An operator declares a virtual host, or all, fit. Maintenance goes on, and so does what a
    /// hook's `health` or a track says, since that is checked periodically.
    pub(in crate::engine) fn promote(
        &mut self,
        vhost: Option<&Name>,
        reply: oneshot::Sender<Result<String, String>>,
    ) {
        let now = clock::now();
        let targets = match vhost.map(|name| self.named(name)) {
            None => self.numbers(),
            Some(Ok(index)) => vec![index],
            Some(Err(why)) => {
                _ = reply.send(Err(why));
                return;
            }
        };
        let parts = |engine: &Self, index: VhostId| -> Vec<DemotionStatus> {
            let node = engine.nodes.get(index);
            node.map(|node| node.demotions(now)).unwrap_or_default()
        };
        let before: Vec<_> = targets
            .iter()
            .map(|index| (*index, parts(self, *index)))
            .collect();
        self.shared
            .persist
            .orders
            .borrow_mut()
            .end(OrderKind::Demotion, |scope| {
                vhost.is_none() || scope.as_ref() == vhost
            });
        self.follow_orders(now);
        self.follow_up(now);
        let mut lines = Vec::new();
        for (index, before) in before {
            self.forgive_node(index, now);
            let left = parts(self, index);
            if let Some(node) = self.nodes.get(index) {
                lines.extend(what_changed(&node.spec.name, &before, &left));
            }
        }
        self.answer_when_saved(reply, |problem| {
            Ok(lines
                .into_iter()
                .chain(problem)
                .collect::<Vec<_>>()
                .join("\n"))
        });
    }

    /// Answers when what was ordered is on the disk, or cannot be written: then the answer has a
    /// line about that. A disk is not waited for longer than a moment.
    pub(super) fn answer_when_saved<T: 'static>(
        &self,
        reply: oneshot::Sender<T>,
        answer: impl FnOnce(Option<String>) -> T + 'static,
    ) {
        if !self.shared.persist.writes() {
            _ = reply.send(answer(None));
            return;
        }
        let shared = std::rc::Rc::clone(&self.shared);
        tokio::task::spawn_local(async move {
            let settled = tokio::time::timeout(DISK_LIMIT, shared.persist.settled()).await;
            let problem = match settled {
                Ok(()) => shared.persist.problem(),
                Err(_) => Some("the disk does not respond".to_owned()),
            };
            let line = problem
                .map(|problem| format!("this may not survive a restart of the daemon: {problem}"));
            _ = reply.send(answer(line));
        });
    }
}
