//! Virtual hosts that a reload removes, adds, or changes.

use std::rc::Rc;

use crate::config::{self, Config};
use crate::engine::effects::foreign_addresses::When;
use crate::engine::effects::recover::own_ids;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::interface::Ethernet;
use crate::engine::vhost::new::{new_node, post};
use crate::host::clock;
use crate::proto::{self, Input};
use crate::types::Timestamp;

impl Engine {
    /// Removes a virtual host that is no longer in the configuration: addresses, bow-out, hooks,
    /// undoing.
    pub(super) fn remove(&mut self, index: VhostId, changes: &mut Vec<String>, now: Timestamp) {
        self.handle(index, Input::Shutdown, now);
        for interface in self.interfaces.iter_mut() {
            interface.members.retain(|member| *member != index);
        }
        if let Some(node) = self.nodes.remove(index) {
            changes.push(format!("vhost {}: removed", node.spec.name));
            self.shared
                .journal
                .borrow_mut()
                .removed(clock::now(), index.number());
            self.ties
                .instance
                .release_vhost(&node.spec.interface, node.spec.vhid);
            let queue = node.queue;
            // Its hooks finish independently.
            let departing = Rc::clone(&self.departing);
            tokio::task::spawn_local(async move {
                queue.settled().await;
                drop(departing);
            });
        }
    }

    /// Takes the locks of all new virtual hosts; if another process has one of them, takes none,
    /// and reports which process.
    pub(super) fn lock_added(&mut self, config: &Config) -> Vec<String> {
        let run_dir = &self.config.daemon.run_dir;
        let ours = |spec: &config::Vhost| {
            self.nodes
                .values()
                .any(|node| node.spec.interface == spec.interface && node.spec.vhid == spec.vhid)
        };
        let added: Vec<_> = config.vhosts.iter().filter(|spec| !ours(spec)).collect();
        let instance = &mut self.ties.instance;
        let lock = |spec: &&config::Vhost| instance.lock_vhost(run_dir, &post(spec)).err();
        let problems: Vec<_> = added
            .iter()
            .filter_map(lock)
            .map(|error| error.with_mend(own_ids()))
            .collect();
        if !problems.is_empty() {
            for spec in added {
                self.ties.instance.release_vhost(&spec.interface, spec.vhid);
            }
        }
        problems
    }

    /// Adds a virtual host. Its lock is ours already, unless one with the same vhid was just
    /// removed.
    pub(super) fn add(&mut self, spec: &config::Vhost, changes: &mut Vec<String>) {
        if let Err(error) = self
            .ties
            .instance
            .lock_vhost(&self.config.daemon.run_dir, &post(spec))
        {
            return changes.push(format!(
                "vhost {}: not added: {}",
                spec.name,
                error.with_mend(own_ids())
            ));
        }
        let index = self.next_id;
        self.next_id = index.next();
        let pools = spec
            .hooks
            .iter()
            .filter_map(|name| self.hooks.current(name).cloned())
            .collect();
        let wire = Ethernet(Rc::clone(&self.ties.readiness));
        let node = match new_node(
            index,
            spec,
            pools,
            (&mut self.interfaces, &wire),
            &self.shared,
            &self.host_name,
        ) {
            Ok(node) => node,
            Err(error) => {
                return changes.push(format!(
                    "vhost {}: not added: cannot read /dev/urandom: {error}",
                    spec.name
                ));
            }
        };
        let interface = node.interface;
        self.nodes.insert(index, node);
        self.weigh_tracks(index, clock::now());
        changes.push(format!("vhost {}: added", spec.name));
        self.remove_leftovers_of(index);
        self.relook = true;
        let link = self
            .interfaces
            .get(interface)
            .and_then(|interface| interface.link().cloned());
        if let Some(link) = link {
            self.set_link(interface, Some(link));
        }
    }

    /// Changes a virtual host with the least disturbance: its state is kept, and only what differs
    /// is changed.
    pub(super) fn change(
        &mut self,
        index: VhostId,
        spec: &config::Vhost,
        changes: &mut Vec<String>,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if node.spec == *spec {
            return;
        }
        changes.push(format!(
            "vhost {}: {}",
            spec.name,
            config::differences(&node.spec, spec).join(", ")
        ));
        let old = std::mem::replace(&mut node.spec, spec.clone());
        node.published.outdate();
        node.peers.retain(&spec.unicast);
        let present = node.machine.settings();
        let settings = proto::Settings {
            gate: present.gate,
            claims: present.claims,
            ..spec.settings().following(present, spec.overlap, now)
        };
        let protocol_changed = settings != *node.machine.settings();
        node.queue.set_addresses(spec.addresses.clone());
        if let Some(interface) = self.interfaces.get_mut(node.interface) {
            interface.listen_to(spec);
        }
        if protocol_changed {
            self.reconfigure(index, settings, now);
        }
        // It may send from another address now.
        self.relook = true;
        let is_holding = self.nodes.get(index).is_some_and(|node| node.holding);
        if is_holding && (old.addresses != spec.addresses || old.virtual_mac != spec.virtual_mac) {
            self.move_addresses(index, &old, now);
        }
        self.fit_lease(index, &old, now);
        if old.addresses != spec.addresses || old.adopt != spec.adopt {
            let there = self.addresses_on(&spec.interface).unwrap_or_default();
            self.sort_out(index, &there, When::Later);
            self.look_elsewhere(index);
        }
        // Addresses that could not be added have left a follow-up.
        self.flush(index, now);
    }
}
