//! Matches virtual hosts across a reload: under another name, on another interface, or on one that
//! does not exist.

use std::collections::BTreeSet;

use crate::config::{self, Config};
use crate::engine::reload::moves::Moves;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::node::Node;
use crate::types::{IfName, Name};

impl Engine {
    /// What a new configuration changes about the existing virtual hosts.
    pub(in crate::engine) fn moves(&self, config: &Config) -> Moves {
        Moves::find(
            self.nodes.iter().map(|(index, node)| (index, &node.spec)),
            &config.vhosts,
        )
    }

    /// Why virtual hosts cannot be renamed now: whatever a running hook claims, it claims under the
    /// old name.
    pub(in crate::engine) fn cannot_rename(&self, moves: &Moves) -> Vec<String> {
        let nodes = self
            .nodes
            .values()
            .filter_map(|node| Some((node, moves.renamed.get(&node.spec.name)?)));
        let ledger = self.shared.executor.ledger();
        let problem = |(node, to): (&Node<_>, &Name)| {
            let name = &node.spec.name;
            if node.queue.is_busy() {
                return Some(format!(
                    "vhost {name} cannot be renamed to {to} while its hooks run: reload again when they have finished"
                ));
            }
            let there = self.nodes.values().any(|other| other.spec.name == *to);
            (!there && ledger.knows(to)).then(|| {
                format!(
                    "vhost {name} cannot be renamed to {to} while an earlier {to} is being undone: reload again when that is done"
                )
            })
        };
        nodes.filter_map(problem).collect()
    }

    /// Renames virtual hosts; nothing else about them changes, on the wire or on the host.
    pub(in crate::engine) fn rename(&mut self, moves: &Moves, changes: &mut Vec<String>) {
        if moves.renamed.is_empty() {
            return;
        }
        self.shared.executor.rename(&moves.renamed);
        self.shared
            .persist
            .orders
            .borrow_mut()
            .rename(&moves.renamed);
        let now = crate::host::clock::now();
        for (index, node) in self.nodes.iter_mut() {
            let Some(to) = moves.renamed.get(&node.spec.name) else {
                continue;
            };
            changes.push(format!("vhost {}: renamed to {to}", node.spec.name));
            node.spec.name = to.clone();
            node.queue.rename(to.clone());
            self.shared
                .journal
                .borrow_mut()
                .renamed(now, index.number(), to);
        }
    }

    /// Masters that would be removed but could not be added where they are to go: their addresses
    /// would no longer be held here.
    pub(in crate::engine) fn would_let_go(
        &self,
        config: &Config,
        moves: &Moves,
        missing: &BTreeSet<IfName>,
    ) -> Vec<String> {
        let masters = self
            .nodes
            .iter()
            .filter(|(index, node)| node.is_master() && !moves.keeps(*index));
        let problem = |(_, node): (VhostId, &Node<_>)| {
            let old = &node.spec;
            let shares = |new: &&config::Vhost| {
                new.addresses
                    .iter()
                    .any(|address| old.addresses.contains(address))
            };
            let to = config
                .vhosts
                .iter()
                .find(|new| new.name == old.name)
                .or_else(|| config.vhosts.iter().find(shares))?;
            missing.contains(&to.interface).then(|| {
                format!(
                    "vhost {} is master on {} and would move to {}, which does not exist: its addresses would be down here \
                     (`carpd reload --force` does it)",
                    old.name, old.interface, to.interface
                )
            })
        };
        masters.filter_map(problem).collect()
    }
}
