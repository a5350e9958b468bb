//! Addresses of ours that came or went without us.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tracing::warn;

use super::OWN_DOING;
use crate::engine::environment::Environment;
use crate::engine::handlers::virtual_mac::Place;
use crate::engine::state::Engine;
use crate::engine::vhost::id::{InterfaceId, VhostId};
use crate::engine::vhost::interface::Interface;
use crate::engine::vhost::node::Node;
use crate::host::{Culprit, Host as _, clock, culprit};
use crate::types::{IfName, Name, VirtualAddress};

/// Finds out who did it. That requires looking at every process, which the loop must not do itself.
fn tell_put_back(vhost: Name, address: VirtualAddress, port: u32) {
    drop(tokio::task::spawn_blocking(move || {
        let Culprit { by, likely } = culprit(port);
        warn!(%vhost, %address, by, likely = likely.join(", "), "Restored an address that someone removed");
    }));
}

impl<E: Environment> Engine<E> {
    /// A hook added an address of its virtual host: it is announced to the neighbours at once.
    pub(super) fn announce_appeared(&self, link: u32, ip: IpAddr) {
        let Some(interface) = self
            .interfaces
            .iter()
            .find(|interface| interface.index() == Some(link))
        else {
            return;
        };
        for member in &interface.members {
            let Some(node) = self
                .nodes
                .get(*member)
                .filter(|node| !node.spec.manage_addresses)
            else {
                continue;
            };
            if node.spec.addresses.iter().any(|address| address.ip == ip) {
                self.announce(*member);
            }
        }
    }

    /// A renewal may come before the notification that an address was removed, and restores it as
    /// well.
    pub(super) fn tell_renewed(&self, link: u32, removed: VirtualAddress, by: u32) {
        let Some(place) = self.place_of(link) else {
            return;
        };
        // Leased addresses are host addresses; an address with another prefix may have been changed
        // by ourselves.
        if removed.prefix != removed.family().host_prefix() {
            return;
        }
        for member in &place.members {
            let leased = |node: &&Node<E::Host>| {
                node.leased.is_some() && clock::now().since(node.changed) > OWN_DOING
            };
            let Some(node) = self.nodes.get(*member).filter(leased) else {
                continue;
            };
            if let Some(address) = node
                .spec
                .addresses
                .iter()
                .find(|address| address.ip == removed.ip)
                && self.present(&place.dev, removed.ip)
            {
                tell_put_back(node.spec.name.clone(), *address, by);
                self.lead_again(*member, *address);
                self.announce(*member);
            }
        }
    }

    /// An address was removed through the netlink socket with this number: if it is ours and we are
    /// master, it is restored.
    pub(in crate::engine) fn put_back(&mut self, link: u32, ip: IpAddr, by: u32) {
        let Some(Place { dev, members }) = self.place_of(link) else {
            return;
        };
        // Refused addresses are retried on their own schedule.
        let wanted = |node: &Node<E::Host>| {
            node.holdable()
                .find(|address| address.ip == ip)
                .filter(|_| node.holding)
        };
        let can_have = |node: &Node<E::Host>| {
            let interface = self.interfaces.get(node.interface);
            interface.is_some_and(Interface::is_up) && wanted(node).is_some()
        };
        let members = members.into_iter();
        let members: Vec<VhostId> = members
            .filter(|member| self.nodes.get(*member).is_some_and(can_have))
            .collect();
        // The kernel is queried only if an address is missed here, since it lists all addresses of
        // the interface.
        if members.is_empty() || self.present(&dev, ip) {
            return;
        }
        for member in members {
            let Some(node) = self.nodes.get_mut(member) else {
                continue;
            };
            let Some(address) = wanted(node) else {
                continue;
            };
            let vhost = node.spec.name.clone();
            // It expired: the lateness check decides about that.
            let now = clock::now();
            if node.expired(now).is_some() || !node.put_back.may(now) {
                continue;
            }
            let Some(lifetimes) = self.lease_now(member, now) else {
                continue;
            };
            match self.shared.executor.put_address(&dev, address, lifetimes) {
                Ok(()) => {
                    tell_put_back(vhost, address, by);
                    self.lead_again(member, address);
                }
                // The interface has gone, and its own event is on the way.
                Err(error) if error.is(libc::ENODEV) => {
                    warn!(%vhost, %address, %error, "Could not restore an address");
                }
                Err(error) => {
                    self.address_failed(member, &error, now);
                    self.flush(member, now);
                }
            }
            self.announce(member);
        }
    }

    pub(in crate::engine) fn present(&self, dev: &IfName, ip: IpAddr) -> bool {
        self.shared
            .executor
            .host()
            .address_present(dev, ip)
            .unwrap_or_else(|error| {
                warn!(interface = %dev, %ip, %error, "Could not query an address");
                false
            })
    }

    pub(in crate::engine) fn put_back_missing(&mut self, interface: InterfaceId) {
        let Some(interface) = self.interfaces.get(interface) else {
            return;
        };
        let (own, members) = (interface.index(), interface.members.clone());
        for member in &members {
            self.look_at_device(*member);
        }
        let macvlan = |member: &VhostId| self.nodes.get(*member)?.macvlan;
        let macvlans = members.iter().filter_map(macvlan);
        for link in own.into_iter().chain(macvlans).collect::<BTreeSet<_>>() {
            self.put_back_missing_on(link);
        }
    }

    fn put_back_missing_on(&mut self, link: u32) {
        let Some(Place { dev, members }) = self.place_of(link) else {
            return;
        };
        let members = members
            .iter()
            .filter_map(|member| self.nodes.get(*member))
            .filter(|node| node.holding);
        let mut held: BTreeSet<IpAddr> = members
            .flat_map(|node| node.holdable().map(|a| a.ip))
            .collect();
        if held.is_empty() {
            return;
        }
        // One query for all: with hundreds of virtual hosts, one query for each would be too many.
        if let Ok(there) = self.shared.executor.host().addresses_on(&dev) {
            for found in there {
                held.remove(&found.address.ip);
            }
        }
        for ip in held {
            // The event that says who did it was lost.
            self.put_back(link, ip, 0);
        }
    }
}
