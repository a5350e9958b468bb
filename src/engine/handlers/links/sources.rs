//! The addresses that an interface sends from.

use tracing::{info, warn};

use crate::engine::effects::foreign_addresses::When;
use crate::engine::environment::Environment;
use crate::engine::state::Engine;
use crate::engine::vhost::id::{InterfaceId, VhostId};
use crate::engine::vhost::interface::{Sources, floating};
use crate::host::clock;
use crate::proto::Input;
use crate::types::{Family, Timestamp};

impl<E: Environment> Engine<E> {
    pub(super) fn look_at_sources(&mut self, link: u32) {
        for interface in self.interfaces.ids() {
            if self
                .interfaces
                .get(interface)
                .is_some_and(|interface| interface.index() == Some(link))
            {
                self.look_at_addresses(interface);
            }
        }
    }

    pub(in crate::engine) fn look_at_addresses(&mut self, id: InterfaceId) {
        let Some(interface) = self.interfaces.get(id) else {
            return;
        };
        let Some(there) = self.addresses_on(&interface.name) else {
            return;
        };
        for member in interface.members.clone() {
            self.sort_out(member, &there, When::Later);
            self.fit_ways(member, &there);
        }
        let floating = floating(self.nodes.values().map(|node| &node.spec));
        self.put_own_first(id, &there, &floating);
        let sources = Sources::choose(there.iter().map(|found| found.address.ip), &floating);
        let Some(interface) = self.interfaces.get_mut(id) else {
            return;
        };
        interface.set_sources(sources);
        let now = clock::now();
        for member in interface.members.clone() {
            self.tell_sources(member, sources, now);
        }
    }

    /// Tells a virtual host the addresses that it sends from, if it does not know them: those of its
    /// interface have changed, or it is new there, or it chooses others since a reload.
    fn tell_sources(&mut self, member: VhostId, sources: Sources, now: Timestamp) {
        let Some(node) = self.nodes.get(member) else {
            return;
        };
        let was_nameless = node.machine.is_nameless();
        let own = Family::ALL.map(|family| (family, sources.of_vhost(&node.spec, family)));
        let new: Vec<_> = own
            .into_iter()
            .filter(|(family, address)| !node.machine.knows_source(*family, *address))
            .collect();
        for (family, address) in new {
            self.handle(member, Input::OwnAddress { family, address }, now);
        }
        let Some(node) = self.nodes.get(member) else {
            return;
        };
        let (vhost, interface) = (&node.spec.name, &node.spec.interface);
        match (was_nameless, node.machine.is_nameless()) {
            (false, true) => {
                warn!(%vhost, %interface, "No own address to send from: advertising an advskew that is worse by one");
            }
            (true, false) => info!(%vhost, %interface, "Has an own address to send from again"),
            (false, false) | (true, true) => {}
        }
    }
}
