//! Several networks, and groups: virtual hosts of one machine, each on another network.

use super::{Lan, NodeId};
use crate::proto::group::{Member, decide};
use crate::proto::settings::{Claims, Settings};
use crate::proto::vhost::Input;
use crate::types::{Name, State};

/// More than it takes a group to settle.
const ROUNDS_MAX: usize = 64;

impl Lan {
    /// From now on these are master together or not at all.
    pub fn group(&mut self, members: &[NodeId]) {
        let (number, claims) = (self.groups.len(), Claims::together(self.luck.next()));
        self.groups.push(members.to_vec());
        for id in members {
            let now = self.now;
            if let Some(node) = self.nodes.get_mut(id.0) {
                node.group = Some(number);
                let settings = Settings {
                    claims,
                    ..node.vhost.settings().clone()
                };
                node.vhost.reconfigure(settings, now);
            }
            self.drain(*id);
        }
        if let Some(first) = members.first() {
            self.settle_group_of(*first);
        }
    }

    /// The nodes of one network.
    pub(super) fn nodes_on(&self, network: u8) -> Vec<NodeId> {
        let numbered = (0..).zip(&self.nodes);
        numbered
            .filter(|(_, node)| node.network == network)
            .map(|(at, _)| NodeId(at))
            .collect()
    }

    /// Whether a network has more than one master.
    pub(super) fn is_contested(&self) -> bool {
        let mut networks: Vec<u8> = self
            .nodes
            .iter()
            .filter(|node| node.on && node.vhost.state() == State::Master)
            .map(|node| node.network)
            .collect();
        networks.sort_unstable();
        networks.windows(2).any(|pair| pair.first() == pair.last())
    }

    /// Has the group of this node decide, until there is nothing more to be decided. Not while its
    /// machine is off or stands still.
    pub(super) fn settle_group_of(&mut self, id: NodeId) {
        let group = self.nodes.get(id.0).and_then(|node| node.group);
        let Some(ids) = group.and_then(|group| self.groups.get(group)).cloned() else {
            return;
        };
        let names: Vec<Name> = (0..ids.len())
            .filter_map(|number| format!("m{number}").parse().ok())
            .collect();
        for _ in 0..ROUNDS_MAX {
            let nodes: Vec<_> = ids.iter().filter_map(|id| self.nodes.get(id.0)).collect();
            if nodes.iter().any(|node| !node.on || node.paused) {
                return;
            }
            let members: Vec<Member<'_>> = names
                .iter()
                .zip(nodes)
                .map(|(name, node)| Member {
                    name,
                    standing: node.vhost.standing(self.now),
                })
                .collect();
            let orders = decide(&members, self.now);
            if orders.is_empty() {
                return;
            }
            for (number, order) in orders {
                let (now, Some(id)) = (self.now, ids.get(number).copied()) else {
                    continue;
                };
                if let Some(node) = self.nodes.get_mut(id.0) {
                    node.vhost.handle(Input::Group(order), now);
                }
                self.drain(id);
            }
        }
        debug_assert!(false, "a group does not settle");
    }
}

#[cfg(test)]
mod tests;
