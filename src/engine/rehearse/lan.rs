//! The virtual LAN: which node receives whose frames, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use crate::proto::sim::Luck;
use crate::types::{Timestamp, Vhid};

/// The quickest delivery.
const DELAY_MIN: Duration = Duration::from_micros(80);
/// The slowest.
const DELAY_MAX: Duration = Duration::from_micros(250);

/// A frame that will arrive.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    /// At this node.
    pub(super) node: usize,
    /// On its interface of this index.
    pub(super) link: u32,
    pub(super) bytes: Rc<[u8]>,
}

/// What is known of one interface.
#[derive(Debug, Clone)]
pub(super) struct Plug {
    pub(super) node: usize,
    pub(super) link: u32,
    /// Interfaces that share one are on one segment.
    pub(super) vhids: BTreeSet<Vhid>,
    pub(super) carrier: bool,
}

/// The LAN.
#[derive(Debug)]
pub(super) struct Lan {
    plugs: Vec<Plug>,
    /// For each plug those on its segment at other nodes.
    neighbours: Vec<Vec<usize>>,
    on_the_way: BTreeMap<(Timestamp, u64), Arrival>,
    /// Keeps frames of one time in their order.
    order: u64,
    luck: Luck,
    /// Hundredths that are lost everywhere.
    loss: u8,
    /// And on the way to single nodes, by their links.
    loss_to: BTreeMap<(usize, u32), u8>,
    /// The group of each node; nodes of one group hear each other.
    groups: BTreeMap<usize, usize>,
    /// When the last frame from one node to another arrives.
    last: BTreeMap<(usize, usize), Timestamp>,
}

impl Lan {
    pub(super) fn new(plugs: Vec<Plug>, luck: Luck) -> Self {
        let (on_the_way, loss_to, groups) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let of = |from: &Plug| {
            let joined = |to: &Plug| to.node != from.node && !to.vhids.is_disjoint(&from.vhids);
            (0..)
                .zip(&plugs)
                .filter(|(_, to)| joined(to))
                .map(|(index, _)| index)
                .collect()
        };
        let neighbours = plugs.iter().map(of).collect();
        Self {
            plugs,
            neighbours,
            on_the_way,
            order: 0,
            luck,
            loss: 0,
            loss_to,
            groups,
            last: BTreeMap::new(),
        }
    }

    /// Luck for other purposes.
    pub(super) const fn luck(&mut self) -> &mut Luck {
        &mut self.luck
    }

    pub(super) const fn set_loss(&mut self, percent: u8) {
        self.loss = percent;
    }

    /// To a node on the link of this index.
    pub(super) fn set_loss_to(&mut self, to: (usize, u32), percent: u8) {
        self.loss_to.insert(to, percent);
    }

    /// Nodes that are not named are in group 0.
    pub(super) fn part(&mut self, groups: BTreeMap<usize, usize>) {
        self.groups = groups;
    }

    pub(super) fn heal(&mut self) {
        self.loss = 0;
        self.loss_to.clear();
        self.groups.clear();
    }

    pub(super) fn set_carrier(&mut self, node: usize, link: u32, carrier: bool) {
        for plug in self
            .plugs
            .iter_mut()
            .filter(|plug| plug.node == node && plug.link == link)
        {
            plug.carrier = carrier;
        }
    }

    /// Does the interface have a carrier?
    pub(super) fn carrier(&self, node: usize, link: u32) -> bool {
        self.plugs
            .iter()
            .any(|plug| plug.node == node && plug.link == link && plug.carrier)
    }

    /// Drops frames on their way to a node that was switched off.
    pub(super) fn forget(&mut self, node: usize) {
        self.on_the_way.retain(|_, arrival| arrival.node != node);
    }

    /// A node sends.
    pub(super) fn send(&mut self, now: Timestamp, node: usize, link: u32, bytes: Vec<u8>) {
        let Some(from) = self
            .plugs
            .iter()
            .position(|plug| plug.node == node && plug.link == link && plug.carrier)
        else {
            return;
        };
        let bytes: Rc<[u8]> = bytes.into();
        let group = |node: usize| self.groups.get(&node).copied().unwrap_or_default();
        for to in self
            .neighbours
            .get(from)
            .into_iter()
            .flatten()
            .filter_map(|to| self.plugs.get(*to))
        {
            if !to.carrier || group(to.node) != group(node) {
                continue;
            }
            let lost = [
                self.loss,
                self.loss_to
                    .get(&(to.node, to.link))
                    .copied()
                    .unwrap_or_default(),
            ];
            // Drawn in any case, so that a change of the loss rate does not change all other random
            // numbers.
            let lost = lost
                .map(|percent| self.luck.strikes(u16::from(percent) * 10))
                .contains(&true);
            let delay = self.luck.between(DELAY_MIN, DELAY_MAX);
            if !lost {
                self.order += 1;
                // Frames in one direction do not overtake each other.
                let last = self.last.entry((node, to.node)).or_default();
                *last = (*last).max(now + delay);
                let arrival = Arrival {
                    node: to.node,
                    link: to.link,
                    bytes: Rc::clone(&bytes),
                };
                self.on_the_way.insert((*last, self.order), arrival);
            }
        }
    }

    /// When the next frame arrives.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.on_the_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// A frame that has arrived.
    pub(super) fn arrived(&mut self, now: Timestamp) -> Option<Arrival> {
        let entry = self
            .on_the_way
            .first_entry()
            .filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }
}
