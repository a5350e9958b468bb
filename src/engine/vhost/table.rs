//! The virtual hosts by id, and which of them is due next.
//!
//! With hundreds of them the loop must not visit each one at every wake-up. A node reports its next
//! deadline; that is queried again after the node may have changed, and kept sorted. This cannot be
//! forgotten: a node can only be changed through [`Nodes::get_mut`] and similar functions, and
//! those record its id.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::id::VhostId;
use super::node::Node;
use crate::types::Timestamp;

/// Points in time by number, the earliest first.
#[derive(Debug, Default)]
struct Deadlines {
    order: BTreeSet<(Timestamp, VhostId)>,
    of: BTreeMap<VhostId, Timestamp>,
}

impl Deadlines {
    fn set(&mut self, id: VhostId, when: Option<Timestamp>) {
        let before = match when {
            Some(when) => self.of.insert(id, when),
            None => self.of.remove(&id),
        };
        if before != when {
            self.order.extend(when.map(|when| (when, id)));
            before.map(|before| self.order.remove(&(before, id)));
        }
    }

    fn first(&self) -> Option<Timestamp> {
        self.order.first().map(|(when, _)| *when)
    }

    /// Those that have come, the earliest first.
    fn due(&self, now: Timestamp) -> Vec<VhostId> {
        self.order
            .iter()
            .take_while(|(when, _)| *when <= now)
            .map(|(_, id)| *id)
            .collect()
    }
}

/// Every virtual host of the process. A number is never used twice.
#[derive(Debug)]
pub(in crate::engine) struct Nodes<H> {
    /// In boxes: the tree has places for twice as many as there are, and one is large.
    by_number: BTreeMap<VhostId, Box<Node<H>>>,
    /// What they want to be woken for.
    wakes: Deadlines,
    /// When their addresses go by themselves unless renewed.
    leases: Deadlines,
    /// Whose deadlines may have changed.
    touched: Vec<VhostId>,
}

impl<H> Default for Nodes<H> {
    fn default() -> Self {
        Self {
            by_number: BTreeMap::new(),
            wakes: Deadlines::default(),
            leases: Deadlines::default(),
            touched: Vec::new(),
        }
    }
}

impl<H> Nodes<H> {
    pub(in crate::engine) fn get(&self, id: VhostId) -> Option<&Node<H>> {
        self.by_number.get(&id).map(Box::as_ref)
    }

    pub(in crate::engine) fn values(&self) -> impl Iterator<Item = &Node<H>> {
        self.by_number.values().map(Box::as_ref)
    }

    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = (VhostId, &Node<H>)> {
        self.by_number.iter().map(|(id, node)| (*id, &**node))
    }

    /// Those with a greater number, or all.
    pub(in crate::engine) fn after(
        &self,
        id: Option<VhostId>,
    ) -> impl Iterator<Item = (VhostId, &Node<H>)> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.by_number.range((from, Bound::Unbounded));
        later.map(|(id, node)| (*id, &**node))
    }

    pub(in crate::engine) fn ids(&self) -> impl Iterator<Item = VhostId> {
        self.by_number.keys().copied()
    }

    /// The number of the next one that is added.
    pub(in crate::engine) fn next_id(&self) -> VhostId {
        let last = self.by_number.keys().next_back();
        last.map_or(VhostId::new(0), |last| last.next())
    }

    pub(in crate::engine) fn insert(&mut self, id: VhostId, node: Node<H>) {
        self.by_number.insert(id, Box::new(node));
        self.touch(id);
    }

    pub(in crate::engine) fn remove(&mut self, id: VhostId) -> Option<Node<H>> {
        self.touch(id);
        self.by_number.remove(&id).map(|node| *node)
    }

    pub(in crate::engine) fn get_mut(&mut self, id: VhostId) -> Option<&mut Node<H>> {
        self.touch(id);
        self.by_number.get_mut(&id).map(Box::as_mut)
    }

    pub(in crate::engine) fn iter_mut(&mut self) -> impl Iterator<Item = (VhostId, &mut Node<H>)> {
        self.touched.extend(self.by_number.keys());
        self.by_number
            .iter_mut()
            .map(|(id, node)| (*id, &mut **node))
    }

    /// When the first of them wants to be looked at.
    pub(in crate::engine) fn next_wake(&mut self) -> Option<Timestamp> {
        self.settle();
        self.wakes.first()
    }

    /// Who wants to be looked at by now, the longest waiting first.
    pub(in crate::engine) fn due(&mut self, now: Timestamp) -> Vec<VhostId> {
        self.settle();
        self.wakes.due(now)
    }

    /// Whose addresses went by themselves.
    pub(in crate::engine) fn lapsed(&mut self, now: Timestamp) -> Vec<VhostId> {
        self.settle();
        self.leases.due(now)
    }

    fn touch(&mut self, id: VhostId) {
        if self.touched.last() != Some(&id) {
            self.touched.push(id);
        }
    }

    fn settle(&mut self) {
        for id in self.touched.drain(..) {
            let node = self.by_number.get(&id).map(Box::as_ref);
            self.wakes.set(id, node.and_then(Node::next_wake));
            self.leases.set(id, node.and_then(Node::lease_end));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    fn due(deadlines: &Deadlines, seconds: u64) -> Vec<usize> {
        let due = deadlines.due(at(seconds)).into_iter();
        due.map(VhostId::number).collect()
    }

    #[test]
    fn deadlines_come_in_order_and_the_last_word_on_each_counts() {
        let mut deadlines = Deadlines::default();
        for (number, when) in [(1, 5), (2, 3), (3, 3), (1, 4), (4, 9)] {
            deadlines.set(VhostId::new(number), Some(at(when)));
        }
        assert_eq!(deadlines.first(), Some(at(3)));
        assert_eq!(due(&deadlines, 4), [2, 3, 1]);
        deadlines.set(VhostId::new(2), None);
        deadlines.set(VhostId::new(2), None);
        deadlines.set(VhostId::new(3), Some(at(3)));
        assert_eq!(due(&deadlines, 9), [3, 1, 4]);
        assert_eq!(due(&deadlines, 2), [0_usize; 0]);
        for number in [1, 3, 4] {
            deadlines.set(VhostId::new(number), None);
        }
        assert_eq!(
            (deadlines.first(), deadlines.order.len(), deadlines.of.len()),
            (None, 0, 0)
        );
    }
}
