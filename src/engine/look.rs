//! What the kernel tells: links, addresses, and what somebody else did to them.

use std::net::IpAddr;
use std::time::Duration;

use tracing::{info, warn};

use super::clock;
use super::port::{Sources, floating};
use super::run::Engine;
use super::world::World;
use crate::config;
use crate::effect::{Link, Query, Reply};
use crate::host::netlink::HostEvent;
use crate::host::{Host as _, suspects};
use crate::proto::Input;
use crate::types::{Family, IfName, Name, Timestamp, VirtualAddress};

/// Before an interface that could not be listened to is tried again.
const DEAF_RETRY: Duration = Duration::from_secs(1);
/// Looks at the kernel's links and addresses take no longer.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// Who did it? That takes a look at every process, which is no work for the loop.
fn tell_put_back(vhost: Name, address: VirtualAddress) {
    drop(tokio::task::spawn_blocking(move || {
        warn!(%vhost, %address, suspects = suspects().join(", "), "Put back an address that somebody removed");
    }));
}

impl<W: World> Engine<W> {
    pub(super) async fn host_event(&mut self, event: HostEvent) {
        match event {
            HostEvent::Link(link) => self.link_changed(link, false).await,
            HostEvent::LinkGone(link) => self.link_changed(link, true).await,
            HostEvent::AddressRemoved { index, address } => {
                self.put_back(index, address.ip);
                self.source_changed(index, address.ip).await;
            }
            HostEvent::AddressAdded { index, address } => {
                self.announce_appeared(index, address.ip);
                self.source_changed(index, address.ip).await;
            }
            HostEvent::Overrun => {
                warn!("Lost events of the kernel; looks at everything again");
                self.look().await;
            }
        }
    }

    pub(super) async fn link_changed(&mut self, link: Link, gone: bool) {
        self.give_up_renamed(&link);
        let Some(port) = self.ports.iter().position(|port| port.name == link.name) else { return };
        let index = link.index;
        self.set_link(port, (!gone).then_some(link));
        if !gone {
            self.look_at_sources(index).await;
        }
    }

    /// A device that is called otherwise now is gone to us. It has taken our addresses along: they go first, by its new name.
    /// Also those that are thought to be down: it was set down before it was renamed, and they were looked for by a name that it
    /// no longer had.
    fn give_up_renamed(&mut self, link: &Link) {
        let renamed = self.ports.iter().enumerate().find(|(_, port)| port.index() == Some(link.index) && port.name != link.name);
        let Some((index, port)) = renamed else { return };
        warn!(interface = %port.name, now = %link.name, "The interface was renamed");
        let members = port.members.iter().filter_map(|member| self.nodes.get(member)).filter(|node| node.spec.manage_addresses);
        for address in members.flat_map(|node| &node.spec.addresses) {
            if self.present(&link.name, address.ip) {
                self.shared.executor.remove_leftover(&link.name, *address);
            }
        }
        self.set_link(index, None);
    }

    pub(super) fn set_link(&mut self, index: usize, link: Option<Link>) {
        let Some(port) = self.ports.get_mut(index) else { return };
        let before = (port.is_up(), port.is_running());
        port.set_link(link);
        let (up, running, deaf) = (port.is_up(), port.is_running(), port.is_deaf());
        if before != (up, running) {
            info!(interface = %port.name, up, running, "The link changed");
        }
        let members = port.members.clone();
        let now = clock::now();
        if deaf {
            self.look_again = Some(now + DEAF_RETRY);
        }
        for member in members {
            let (Some(node), Some(port)) = (self.nodes.get(&member), self.ports.get(index)) else { continue };
            let takes_part = port.is_usable_by(&node.spec);
            let input = if takes_part { Input::LinkUp } else { Input::LinkDown };
            let comes_back_later = takes_part && node.aside_until.is_some();
            if self.stopping.is_none() && !comes_back_later {
                self.handle(member, input, now);
            }
        }
    }

    /// A hook put up an address of its virtual host: the neighbours hear of it at once.
    fn announce_appeared(&self, link: u32, ip: IpAddr) {
        let Some(port) = self.ports.iter().find(|port| port.index() == Some(link)) else { return };
        for member in &port.members {
            let Some(node) = self.nodes.get(member).filter(|node| !node.spec.manage_addresses) else { continue };
            if node.spec.addresses.iter().any(|address| address.ip == ip) {
                self.announce(*member);
            }
        }
    }

    /// Somebody removed an address: if it is ours and we are master, it comes back.
    pub(super) fn put_back(&mut self, link: u32, ip: IpAddr) {
        let Some(port) = self.ports.iter().find(|port| port.index() == Some(link)) else { return };
        if !port.is_up() {
            return;
        }
        let (dev, members) = (port.name.clone(), port.members.clone());
        if self.present(&dev, ip) {
            return;
        }
        for member in members {
            let Some(node) = self.nodes.get_mut(&member).filter(|node| node.holding) else { continue };
            let Some(address) = node.spec.addresses.iter().copied().find(|a| a.ip == ip) else { continue };
            let vhost = node.spec.name.clone();
            // It went by itself: the lateness check decides, not this.
            let now = clock::now();
            if node.expired(now).is_some() || !node.put_back.may(now) {
                continue;
            }
            let Some(lease) = self.lease_now(member, now) else { continue };
            match self.shared.executor.put_address(&dev, address, lease) {
                Ok(()) => tell_put_back(vhost, address),
                Err(error) => warn!(%vhost, %address, %error, "Could not put back an address"),
            }
            self.announce(member);
        }
    }

    /// Reads links and addresses anew: at start, after lost events, and while an interface is missing.
    pub(super) async fn look(&mut self) {
        let links = match self.shared.executor.host().answer(&Query::Links, LOOK_LIMIT).await {
            Ok(Reply::Links(links)) => links,
            Ok(_) => return,
            Err(error) => {
                warn!(%error, "Could not look at the links");
                return;
            }
        };
        for port in 0..self.ports.len() {
            let Some(name) = self.ports.get(port).map(|port| port.name.clone()) else { continue };
            let link = links.iter().find(|link| link.name == name).cloned();
            if link.is_some() {
                self.look_at_addresses(port).await;
            }
            self.set_link(port, link);
            self.put_back_missing(port);
        }
    }

    pub(super) fn present(&self, dev: &IfName, ip: IpAddr) -> bool {
        self.shared.executor.host().address_present(dev, ip).unwrap_or_else(|error| {
            warn!(interface = %dev, %ip, %error, "Could not look for an address");
            false
        })
    }

    pub(super) fn put_back_missing(&mut self, port: usize) {
        let Some(port) = self.ports.get(port) else { return };
        let Some(link) = port.index() else { return };
        let held: Vec<IpAddr> = port
            .members
            .iter()
            .filter_map(|member| self.nodes.get(member))
            .filter(|node| node.holding)
            .flat_map(|node| node.spec.addresses.iter().map(|a| a.ip))
            .collect();
        for ip in held {
            self.put_back(link, ip);
        }
    }

    /// Looks at the sources again if the address may be one. A virtual one never is: and each lease that is renewed comes
    /// by here, which with many virtual hosts would be a dump of all addresses for each of them each second.
    async fn source_changed(&mut self, link: u32, ip: IpAddr) {
        let floats = self.nodes.values().any(|node| node.spec.addresses.iter().any(|address| address.ip == ip));
        if !floats {
            self.look_at_sources(link).await;
        }
    }

    pub(super) async fn look_at_sources(&mut self, link: u32) {
        let Some(port) = self.ports.iter().position(|port| port.index() == Some(link)) else { return };
        self.look_at_addresses(port).await;
    }

    pub(super) async fn look_at_addresses(&mut self, index: usize) {
        let Some(port) = self.ports.get(index) else { return };
        let query = Query::Addresses { dev: Some(port.name.clone()) };
        let Ok(Reply::Addresses(there)) = self.shared.executor.host().answer(&query, LOOK_LIMIT).await else { return };
        let specs: Vec<config::Vhost> = self.nodes.values().map(|node| node.spec.clone()).collect();
        let sources = Sources::choose(there.iter().map(|(_, address)| address.ip), &floating(&specs));
        let Some(port) = self.ports.get_mut(index) else { return };
        if !port.set_sources(sources) {
            return;
        }
        let now = clock::now();
        for member in port.members.clone() {
            self.tell_sources(member, sources, now);
        }
    }

    pub(super) fn tell_sources(&mut self, member: usize, sources: Sources, now: Timestamp) {
        let Some(node) = self.nodes.get(&member) else { return };
        let configured = [node.spec.source_address.map(IpAddr::V4), node.spec.source_address6.map(IpAddr::V6)];
        for (family, configured) in Family::ALL.into_iter().zip(configured) {
            let address = configured.or(sources.of(family));
            self.handle(member, Input::OwnAddress { family, address }, now);
        }
    }

    /// A predecessor that was killed leaves its addresses up: they go before the first advertisement.
    pub(super) fn remove_leftovers(&self) {
        for index in self.numbers() {
            self.remove_leftovers_of(index);
        }
    }

    pub(super) fn remove_leftovers_of(&self, index: usize) {
        let Some(node) = self.nodes.get(&index).filter(|node| node.spec.manage_addresses) else { return };
        for address in &node.spec.addresses {
            if self.present(&node.spec.interface, address.ip) {
                warn!(vhost = %node.spec.name, %address, "Removes an address that somebody left behind");
                self.shared.executor.remove_leftover(&node.spec.interface, *address);
            }
        }
    }
}
