//! The groups of an engine: which virtual hosts are master together.

use std::collections::{BTreeMap, BTreeSet};

use super::id::VhostId;
use crate::proto::Claims;
use crate::types::Name;

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Group {
    pub(in crate::engine) name: Name,
    /// In the order of the configuration.
    pub(in crate::engine) members: Vec<VhostId>,
    pub(in crate::engine) claims: Claims,
}

/// All of them.
#[derive(Debug, Default)]
pub(in crate::engine) struct Groups {
    all: Vec<Group>,
    of: BTreeMap<VhostId, usize>,
    /// Those in which something has happened since they last decided.
    unsettled: BTreeSet<usize>,
    /// One is deciding: what happens meanwhile is looked at afterwards.
    pub(in crate::engine) settling: bool,
}

impl Groups {
    /// Replaces them; every one is to decide.
    pub(in crate::engine) fn replace(&mut self, all: Vec<Group>) {
        let numbered = (0..).zip(&all);
        self.of = numbered
            .flat_map(|(number, group)| group.members.iter().map(move |id| (*id, number)))
            .collect();
        self.unsettled = (0..all.len()).collect();
        self.all = all;
    }

    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.all.iter()
    }

    /// The group of a virtual host.
    pub(in crate::engine) fn of(&self, id: VhostId) -> Option<&Group> {
        self.all.get(*self.of.get(&id)?)
    }

    /// The number of that group.
    pub(in crate::engine) fn number(&self, id: VhostId) -> Option<u32> {
        let number = *self.of.get(&id)?;
        u32::try_from(number).ok()
    }

    /// Something has happened to this virtual host.
    pub(in crate::engine) fn touch(&mut self, id: VhostId) {
        self.unsettled.extend(self.of.get(&id));
    }

    /// The next group that is to decide.
    pub(in crate::engine) fn take_unsettled(&mut self) -> Option<Group> {
        let number = self.unsettled.pop_first()?;
        self.all.get(number).cloned()
    }
}
