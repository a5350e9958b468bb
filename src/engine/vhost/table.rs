//! The virtual hosts by number, and which of them is due next.
//!
//! With hundreds of them the loop must not look at each one whenever it wakes. A node says what it
//! waits for; that is asked again after somebody could have changed it, and kept in order. Nobody
//! has to remember to do so: a node can only be changed by [`Nodes::get_mut`] and its like, and
//! those note its number.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use super::node::Node;
use crate::types::Timestamp;

/// Points in time by number, the earliest first.
#[derive(Debug, Default)]
struct Deadlines {
    order: BTreeSet<(Timestamp, usize)>,
    of: BTreeMap<usize, Timestamp>,
}

impl Deadlines {
    fn set(&mut self, number: usize, when: Option<Timestamp>) {
        let before = match when {
            Some(when) => self.of.insert(number, when),
            None => self.of.remove(&number),
        };
        if before != when {
            self.order.extend(when.map(|when| (when, number)));
            before.map(|before| self.order.remove(&(before, number)));
        }
    }

    fn first(&self) -> Option<Timestamp> {
        self.order.first().map(|(when, _)| *when)
    }

    /// Those that have come, the earliest first.
    fn due(&self, now: Timestamp) -> Vec<usize> {
        self.order
            .iter()
            .take_while(|(when, _)| *when <= now)
            .map(|(_, number)| *number)
            .collect()
    }
}

/// Every virtual host of the process. A number is never used twice.
#[derive(Debug)]
pub(in crate::engine) struct Nodes<H> {
    by_number: BTreeMap<usize, Node<H>>,
    /// What they want to be woken for.
    wakes: Deadlines,
    /// When their addresses go by themselves unless renewed.
    leases: Deadlines,
    /// Whose deadlines may have changed.
    touched: Vec<usize>,
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

/// Reading changes nothing, so it is a map's.
impl<H> Deref for Nodes<H> {
    type Target = BTreeMap<usize, Node<H>>;

    fn deref(&self) -> &Self::Target {
        &self.by_number
    }
}

impl<H> Nodes<H> {
    pub(in crate::engine) fn insert(&mut self, number: usize, node: Node<H>) {
        self.by_number.insert(number, node);
        self.touch(number);
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as a map has it")]
    pub(in crate::engine) fn remove(&mut self, number: &usize) -> Option<Node<H>> {
        self.touch(*number);
        self.by_number.remove(number)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as a map has it")]
    pub(in crate::engine) fn get_mut(&mut self, number: &usize) -> Option<&mut Node<H>> {
        self.touch(*number);
        self.by_number.get_mut(number)
    }

    pub(in crate::engine) fn iter_mut(&mut self) -> impl Iterator<Item = (&usize, &mut Node<H>)> {
        self.touched.extend(self.by_number.keys());
        self.by_number.iter_mut()
    }

    /// When the first of them wants to be looked at.
    pub(in crate::engine) fn next_wake(&mut self) -> Option<Timestamp> {
        self.settle();
        self.wakes.first()
    }

    /// Who wants to be looked at by now, the longest waiting first.
    pub(in crate::engine) fn due(&mut self, now: Timestamp) -> Vec<usize> {
        self.settle();
        self.wakes.due(now)
    }

    /// Whose addresses went by themselves.
    pub(in crate::engine) fn lapsed(&mut self, now: Timestamp) -> Vec<usize> {
        self.settle();
        self.leases.due(now)
    }

    fn touch(&mut self, number: usize) {
        if self.touched.last() != Some(&number) {
            self.touched.push(number);
        }
    }

    fn settle(&mut self) {
        for number in self.touched.drain(..) {
            let node = self.by_number.get(&number);
            self.wakes.set(number, node.and_then(Node::next_wake));
            self.leases.set(number, node.and_then(Node::lease_end));
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

    #[test]
    fn deadlines_come_in_order_and_the_last_word_on_each_counts() {
        let mut deadlines = Deadlines::default();
        for (number, when) in [(1, 5), (2, 3), (3, 3), (1, 4), (4, 9)] {
            deadlines.set(number, Some(at(when)));
        }
        assert_eq!(deadlines.first(), Some(at(3)));
        assert_eq!(deadlines.due(at(4)), [2, 3, 1]);
        deadlines.set(2, None);
        deadlines.set(2, None);
        deadlines.set(3, Some(at(3)));
        assert_eq!(deadlines.due(at(9)), [3, 1, 4]);
        assert_eq!(deadlines.due(at(2)), [0_usize; 0]);
        for number in [1, 3, 4] {
            deadlines.set(number, None);
        }
        assert_eq!(
            (deadlines.first(), deadlines.order.len(), deadlines.of.len()),
            (None, 0, 0)
        );
    }
}
