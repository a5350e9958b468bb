//! Notifications from the kernel: links, addresses, and what others did to them.

mod own_first;
mod put_back;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::effect::Link;
use crate::engine::effects::recover::own_ids;
use crate::engine::environment::{Environment, Locks as _};
use crate::engine::state::Engine;
use crate::engine::vhost::id::{InterfaceId, VhostId};
use crate::engine::vhost::interface::{Absence, Interface};
use crate::engine::vhost::node::Node;
use crate::host::clock;
use crate::host::kernel::netlink::HostEvent;
use crate::host::{FoundAddress, Host as _};
use crate::journal::{DaemonCause, Note};
use crate::ledger::{InstanceError, Post};
use crate::proto::Input;
use crate::types::{IfName, State, Timestamp};

/// The delay before retrying an interface on which listening failed.
const DEAF_RETRY: Duration = Duration::from_secs(1);

/// How many kernel events one turn handles.
const EVENTS_IN_A_ROW: usize = 64;

/// A node that has just become master may have released its addresses just before, in which case
/// the event is about that.
const OWN_DOING: Duration = Duration::from_millis(200);

/// What needs to be checked after the events of one turn, once for all of them.
#[derive(Debug, Default)]
struct Stale {
    /// Indexes of links whose own addresses may have changed.
    sources: BTreeSet<u32>,
    /// Those of which they certainly have.
    hopeful: BTreeSet<u32>,
    /// Virtual addresses that came or went, by link index.
    addresses: BTreeMap<u32, BTreeSet<IpAddr>>,
    /// Virtual hosts for which an address may have appeared on or disappeared from another
    /// interface.
    elsewhere: BTreeSet<VhostId>,
}

impl Engine {
    /// Handles this event and those behind it, as far as they belong to one turn. If thousands of
    /// addresses are added to an interface, they are not listed again for each of them.
    pub(in crate::engine) fn host_events(&mut self, first: HostEvent) {
        let mut stale = Stale::default();
        self.heed(first, &mut stale);
        for _ in 1..EVENTS_IN_A_ROW {
            let Ok(Some(event)) = self.ties.watch.try_next() else {
                break;
            };
            self.heed(event, &mut stale);
        }
        self.look_at_stale(stale);
    }
}

impl<E: Environment> Engine<E> {
    pub(in crate::engine) fn host_event(&mut self, event: HostEvent) {
        let mut stale = Stale::default();
        self.heed(event, &mut stale);
        self.look_at_stale(stale);
    }

    /// Handles what is urgent about an event, and notes what is to be checked afterwards.
    fn heed(&mut self, event: HostEvent, stale: &mut Stale) {
        match event {
            HostEvent::Link(link) => {
                if !link.up {
                    self.device_changed(link.index);
                }
                self.link_changed(&link, None, stale);
                stale.sources.insert(link.index);
            }
            HostEvent::LinkGone { link, moved } => {
                self.device_changed(link.index);
                let absence = if moved {
                    Absence::Moved
                } else {
                    Absence::Removed
                };
                self.link_changed(&link, Some(&absence), stale);
            }
            HostEvent::AddressRemoved {
                index,
                address,
                port,
            } => {
                self.tell_renewed(index, address, port);
                self.put_back(index, address.ip, port);
                self.address_changed(index, address.ip, false, stale);
            }
            HostEvent::AddressAdded { index, address } => {
                self.announce_appeared(index, address.ip);
                self.address_changed(index, address.ip, true, stale);
            }
            HostEvent::Overrun => {
                warn!("Lost kernel events; checking everything again");
                self.look();
                self.numbers()
                    .into_iter()
                    .for_each(|index| self.look_elsewhere(index));
            }
        }
    }

    fn address_changed(&mut self, link: u32, ip: IpAddr, came: bool, stale: &mut Stale) {
        // A virtual address is never the source of what we send. Every renewal of a lease passes
        // through here; with many virtual hosts all addresses would be listed for each of them
        // every second.
        let has = |node: &Node<E::Host>| node.spec.addresses.iter().any(|address| address.ip == ip);
        let mut of_address = self.nodes.iter().filter(|(_, node)| has(node)).peekable();
        if of_address.peek().is_none() {
            stale.sources.insert(link);
            stale.hopeful.insert(link);
            return;
        }
        stale.addresses.entry(link).or_default().insert(ip);
        // An address on its own interface says nothing about other interfaces.
        let is_own = |node: &Node<E::Host>| self.link_with_addresses(node) == Some(link);
        stale.elsewhere.extend(
            of_address
                .filter(|(_, node)| !(came && is_own(node)))
                .map(|(index, _)| index),
        );
    }

    fn look_at_stale(&mut self, stale: Stale) {
        for (link, addresses) in stale.addresses {
            self.virtual_changed(link, &addresses);
        }
        for index in stale.elsewhere {
            self.look_elsewhere(index);
        }
        for (id, link) in self.indexes() {
            if link.is_some_and(|link| stale.hopeful.contains(&link)) {
                self.hope(id, false, clock::now());
            }
        }
        for link in stale.sources {
            self.look_at_sources(link);
        }
    }

    fn link_changed(&mut self, link: &Link, gone: Option<&Absence>, stale: &mut Stale) {
        let before = self.indexes();
        self.take_link(link, gone);
        // Addresses elsewhere are recorded by interface name, and a virtual host's own interface
        // may be a different one now.
        let after = self.indexes();
        let moved = |interface: InterfaceId| before.get(&interface) != after.get(&interface);
        let doubtful = |node: &Node<E::Host>| !node.elsewhere.is_empty() || moved(node.interface);
        let of_nodes = self.nodes.iter().filter(|(_, node)| doubtful(node));
        stale.elsewhere.extend(of_nodes.map(|(index, _)| index));
    }

    /// The numbers of all interfaces' links.
    fn indexes(&self) -> BTreeMap<InterfaceId, Option<u32>> {
        let number = |id| (id, self.interfaces.get(id).and_then(Interface::index));
        self.interfaces.ids().map(number).collect()
    }

    fn take_link(&mut self, link: &Link, gone: Option<&Absence>) {
        self.tracked_link_changed(link, gone.is_some());
        self.give_up_renamed(link);
        for id in self.interfaces.ids() {
            let Some(interface) = self
                .interfaces
                .get_mut(id)
                .filter(|interface| link.is_called(&interface.name))
            else {
                continue;
            };
            if let Some(absence) = gone {
                interface.absence = Some(absence.clone());
            }
            let is_same = gone.is_none() && interface.link() == Some(link);
            self.set_link(id, gone.is_none().then(|| link.clone()));
            self.hope(id, is_same, clock::now());
        }
    }

    /// A renamed device is gone for us, and has taken our addresses along: they are removed first,
    /// by its new name. That includes those believed to be down: the device was set down before it
    /// was renamed, and they were searched for under its old name.
    fn give_up_renamed(&mut self, link: &Link) {
        let is_renamed = |interface: &Interface<_>| {
            interface.index() == Some(link.index) && !link.is_called(&interface.name)
        };
        // A device can be configured under several of its names, and lose all of them at once.
        let all = self.interfaces.ids();
        let renamed = all.filter(|id| self.interfaces.get(*id).is_some_and(is_renamed));
        for id in renamed.collect::<Vec<_>>() {
            self.give_up(id, link);
        }
    }

    /// Removes our addresses by the device's new name, then gives up the interface.
    fn give_up(&mut self, id: InterfaceId, link: &Link) {
        let Some(interface) = self.interfaces.get(id) else {
            return;
        };
        warn!(interface = %interface.name, now = %link.name, "The interface was renamed");
        let there = self.addresses_on(&link.name).unwrap_or_default();
        for node in interface
            .members
            .iter()
            .filter_map(|member| self.nodes.get(*member))
            .filter(|node| node.spec.manage_addresses)
        {
            let of_node = there.iter().filter(|found| {
                node.spec
                    .addresses
                    .iter()
                    .any(|address| address.ip == found.address.ip)
            });
            let executor = &self.shared.executor;
            let is_known = |found: &FoundAddress| {
                executor.knows_address(&node.spec.interface, found.address.ip)
            };
            for found in of_node.filter(|found| node.holding || found.ours || is_known(found)) {
                self.shared
                    .executor
                    .remove_leftover(&link.name, found.address);
            }
        }
        if let Some(interface) = self.interfaces.get_mut(id) {
            interface.absence = Some(Absence::Renamed(link.name.clone()));
        }
        self.set_link(id, None);
    }

    /// The kernel's name for the interface is not the one in the configuration: another process may
    /// have the virtual hosts under that name. When ours started, the interface may not have
    /// existed.
    fn claim(&mut self, id: InterfaceId, own_name: &IfName) {
        let Some(interface) = self.interfaces.get_mut(id) else {
            return;
        };
        if !interface.wants_claim(own_name) {
            return;
        }
        let mut barred = BTreeMap::new();
        let members = interface.members.iter();
        for spec in members.filter_map(|member| self.nodes.get(*member).map(|node| &node.spec)) {
            let post = Post {
                interface: &spec.interface,
                own_name: Some(own_name.clone()),
                vhid: spec.vhid,
            };
            if let Err(error) = self.ties.lock(&self.config.daemon.run_dir, &post) {
                if interface.bars(spec.vhid).is_none() {
                    error!(vhost = %spec.name, interface = %own_name, %error, "Not taking part: another process has this vhid on this interface, or may have it");
                }
                barred.insert(spec.vhid, obstacle(&error));
            }
        }
        interface.claimed(own_name.clone(), barred);
    }

    pub(in crate::engine) fn set_link(&mut self, id: InterfaceId, link: Option<Link>) {
        if let Some(link) = &link {
            self.claim(id, &link.name);
        }
        let Some(interface) = self.interfaces.get_mut(id) else {
            return;
        };
        let before = (interface.is_up(), interface.is_running());
        let known = interface.link().map(|link| (link.index, link.nature));
        let is_first = interface.absence.is_none();
        interface.set_link(link);
        let is_other = known != interface.link().map(|link| (link.index, link.nature));
        let comes = !is_first && known.map(|(index, _)| index) != interface.index();
        let (up, running) = (interface.is_up(), interface.is_running());
        let try_again = interface.is_deaf() || interface.is_barred();
        if before != (up, running) {
            info!(interface = %interface.name, up, running, "Link changed");
        }
        let members = interface.members.clone();
        let now = clock::now();
        if is_other {
            self.tell_nature(id, comes, now);
        }
        if try_again {
            self.look_again = Some(now + DEAF_RETRY);
        }
        for member in members {
            self.member_of_link(member, id, now);
        }
    }

    /// What its interface is now, for one virtual host.
    fn member_of_link(&mut self, member: VhostId, id: InterfaceId, now: Timestamp) {
        let (Some(node), Some(interface)) = (self.nodes.get(member), self.interfaces.get(id))
        else {
            return;
        };
        let usable = interface.is_usable_by(&node.spec);
        let flaw = interface
            .flaw_for(&node.spec)
            .map(|flaw| format!("{} {flaw}", interface.name));
        // When an address comes or goes, the kernel may also report its link: with hundreds of
        // virtual hosts on it, that must not cause work for each of them.
        let nothing_new = usable && node.machine.state() != State::Init;
        let mac = interface
            .link()
            .filter(|link| link.has_neighbours())
            .map(|link| link.mac)
            .filter(|mac| node.machine.hardware() != Some(*mac));
        if let Some(mac) = mac {
            let is_new = node.machine.hardware().is_some();
            self.handle(member, Input::Hardware(mac), now);
            if is_new && usable {
                self.lives_at_another(member, now);
            }
        }
        if nothing_new || self.stopping.is_some() {
            return;
        }
        match flaw {
            // Frames still go out there.
            Some(flaw) => {
                self.leave_with_link_up(member, DaemonCause::Interface.because(&flaw), now);
            }
            None if !usable => self.handle(member, Input::LinkDown, now),
            None if self.may_take_part(member) => self.handle(member, Input::LinkUp, now),
            None => {}
        }
    }

    /// An interface went, came, or cannot be used any more, or can again: says so in the log and to
    /// `carpd why`.
    fn tell_nature(&self, id: InterfaceId, comes: bool, now: Timestamp) {
        let Some(interface) = self.interfaces.get(id) else {
            return;
        };
        let (name, index) = (&interface.name, interface.index());
        let absence = interface.absence.as_ref().filter(|_| index.is_none());
        if let Some(absence) = absence {
            info!(interface = %name, why = %absence, "The interface is gone");
        }
        for (member, node) in interface
            .members
            .iter()
            .filter_map(|member| Some((*member, self.nodes.get(*member)?)))
        {
            let flaw = interface.flaw_for(&node.spec);
            if let Some(flaw) = flaw {
                error!(vhost = %node.spec.name, interface = %name, "Not taking part: the interface {flaw}");
            }
            let text = match (absence, index, flaw) {
                (_, _, Some(flaw)) => format!("{name} {flaw}"),
                (Some(absence), ..) => format!("{name} {absence}"),
                (None, Some(index), None) if comes => {
                    format!("{name} is there, as link {index}")
                }
                // As it is at the start.
                (None, ..) => continue,
            };
            let note = Note::Remark { text };
            self.shared
                .journal
                .borrow_mut()
                .note(now, member.number(), note);
        }
    }

    /// The hardware address of its interface changed: the neighbours would keep sending to the old
    /// one.
    fn lives_at_another(&mut self, member: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(member).filter(|node| node.announces()) else {
            return;
        };
        info!(vhost = %node.spec.name, "Announcing the addresses again: the interface's hardware address changed");
        node.announcer.takeover(node.spec.announce, now);
        self.announce(member);
        self.publish(member);
    }

    /// Reads links and addresses again: at start, after lost events, and while an interface is
    /// missing.
    pub(in crate::engine) fn look(&mut self) {
        // First: what is down keeps virtual hosts from taking part.
        self.look_at_tracked_links();
        for interface in self.interfaces.ids() {
            let Some(name) = self
                .interfaces
                .get(interface)
                .map(|interface| interface.name.clone())
            else {
                continue;
            };
            self.watch_claims(interface);
            // One by one: there may be thousands of others.
            match self.shared.executor.host().find_link(&name) {
                Ok(link) => {
                    if link.is_some() {
                        self.look_at_addresses(interface);
                    }
                    self.set_link(interface, link);
                    self.put_back_missing(interface);
                }
                Err(error) => warn!(interface = %name, %error, "Could not query an interface"),
            }
        }
    }
}

/// What keeps a virtual host from using an interface, for status.
fn obstacle(error: &InstanceError) -> String {
    match error {
        InstanceError::Running { .. } | InstanceError::Vhost { .. } => {
            "another process has this vhid on this interface".to_owned()
        }
        InstanceError::Closed { .. } => error.with_mend(own_ids()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sim::bench::{Frames, engine, link, play};
    use crate::host::SimHost;
    use crate::keeper::failsafe::{Reader, Writer};
    use crate::ledger::Occupant;
    use crate::types::{State, Vhid};

    #[test]
    fn a_lock_that_cannot_be_read_is_not_another_process() {
        let closed = obstacle(&InstanceError::Closed {
            path: "/run/carpd/locks/1-eth0-40".into(),
            message: "Permission denied".to_owned(),
            give: vec!["/run/carpd/locks/1-eth0-40".into()],
        });
        assert!(
            closed.contains("running: /run/carpd/locks/1-eth0-40")
                && closed.contains("; to fix it: `chown -R "),
            "{closed}"
        );
        let held = obstacle(&InstanceError::Vhost {
            interface: "eth0".parse().unwrap(),
            vhid: Vhid::new(40).unwrap(),
            by: Occupant::default(),
        });
        assert_eq!(held, "another process has this vhid on this interface");
    }

    #[test]
    fn a_device_that_loses_several_names_at_once_is_given_up_by_all_of_them() {
        play(async |_| {
            let also = "[[vhost]]\nname = \"db\"\ninterface = \"late0\"\nvhid = 41\naddresses = [\"10.0.0.23/24\"]\n\
                        password-file = \"web.pass\"";
            let known = Link {
                altnames: vec!["late0".parse().unwrap()],
                ..link()
            };
            let host = SimHost::new().with_link(known.clone());
            let mut engine = engine(host, &Frames::default(), also).await;
            engine.host_event(HostEvent::Link(known));
            let states = |engine: &Engine<_>| {
                [0, 1].map(|number| {
                    let id = VhostId::new(number);
                    engine.nodes.get(id).unwrap().machine.state()
                })
            };
            assert_eq!(states(&engine), [State::Backup; 2]);
            engine.host_event(HostEvent::Link(Link {
                name: "wan0".parse().unwrap(),
                ..link()
            }));
            assert_eq!(states(&engine), [State::Init; 2]);
        });
    }

    #[test]
    fn news_of_a_link_that_says_nothing_new_leads_to_nothing() {
        play(async |_| {
            let mut engine = engine(SimHost::new().with_link(link()), &Frames::default(), "").await;
            let (writer, keeper) = Writer::create().unwrap();
            let keeper = Reader::new(keeper);
            engine.failsafe = Some(writer);
            // As happens for each address removed from an interface that drops others along with
            // it.
            engine.host_event(HostEvent::Link(link()));
            assert_eq!(
                keeper.entries(),
                [],
                "nothing has changed that the keeper must know"
            );
            engine.host_event(HostEvent::Link(Link {
                carrier: false,
                ..link()
            }));
            assert_eq!(engine.first().machine.state(), State::Init);
            engine.host_event(HostEvent::Link(link()));
            assert_eq!(
                (engine.first().machine.state(), keeper.entries().len()),
                (State::Backup, 1)
            );
        });
    }
}
