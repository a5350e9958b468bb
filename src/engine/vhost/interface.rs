//! A network interface with the virtual hosts on it: its socket, its state, its own addresses.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use tracing::{debug, info, warn};

use super::advertisers::Advertisers;
use super::announced::Announced;
use super::id::{InterfaceId, VhostId};
use crate::config::{self, SourceMac};
use crate::effect::{Flaw, Link};
use crate::engine::vhost::lateness;
use crate::engine::vhost::unknown_vhids::UnknownVhids;
use crate::host::kernel::claims;
use crate::host::kernel::readiness::Readiness;
use crate::host::kernel::socket::{Membership, OpenError, Outgoing, PacketSocket};
use crate::proto::wire;
use crate::proto::{Kind, Transmit};
use crate::types::{Family, IfName, MacAddr, Vhid, VirtualAddress};

/// IPv4 type of service of an advertisement, as OpenBSD, NetBSD and ucarp send it: low delay
/// (docs/protocol.md, section 1.1).
const TOS_LOW_DELAY: u8 = 0x10;

/// What the frames of an interface go through.
pub(in crate::engine) trait Wire: Clone {
    /// One interface's end of it.
    type Socket;

    /// Listens on this link, to these hardware addresses as well, and to packets of these families
    /// for this node alone. What comes is for the interface `id`.
    ///
    /// # Errors
    /// What the system said.
    fn open(
        &self,
        id: InterfaceId,
        link: &Link,
        groups: &[MacAddr],
        unicast: &BTreeSet<Family>,
    ) -> Result<Self::Socket, OpenError>;

    /// Joins these groups, so that switches forward them, for as long as the result exists.
    fn join(&self, index: u32, groups: &[IpAddr]) -> Option<Membership>;

    /// From now on frames come as well in which another host claims one of these addresses.
    ///
    /// # Errors
    /// What the system said.
    fn watch(socket: &Self::Socket, addresses: &[IpAddr]) -> io::Result<()>;

    /// Asks who has this address; `own` is our hardware address.
    ///
    /// # Errors
    /// What the system said.
    fn probe(socket: &Self::Socket, address: IpAddr, own: MacAddr) -> io::Result<()>;

    /// Sends.
    ///
    /// # Errors
    /// What the system said.
    fn send(socket: &Self::Socket, outgoing: &Outgoing) -> io::Result<()>;
}

/// The real network: packet sockets, and the means to find out which of them are readable.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Ethernet(pub(in crate::engine) Rc<Readiness>);

impl Wire for Ethernet {
    type Socket = PacketSocket;

    fn open(
        &self,
        id: InterfaceId,
        link: &Link,
        groups: &[MacAddr],
        unicast: &BTreeSet<Family>,
    ) -> Result<PacketSocket, OpenError> {
        let index = link.index;
        let socket = PacketSocket::open(index, link.nature.medium)?;
        let step = "wait for";
        self.0
            .add(&socket, id.token())
            .map_err(|source| OpenError { step, source })?;
        for mac in groups {
            if let Err(error) = socket.accept(*mac) {
                warn!(index, group = %mac, %error, "Could not add a multicast address to the network card");
            }
        }
        for family in unicast {
            if let Err(error) = socket.open_routed(*family) {
                warn!(index, %family, %error, "Could not open a socket for unicast advertisements");
            }
        }
        Ok(socket)
    }

    fn join(&self, index: u32, groups: &[IpAddr]) -> Option<Membership> {
        let mut membership = Membership::new(index);
        for group in groups {
            // The packet socket hears the group all the same unless a switch snoops.
            if let Err(error) = membership.join(*group) {
                warn!(index, %group, %error, "Could not join a multicast group: switches may not forward it");
            }
        }
        Some(membership)
    }

    fn watch(socket: &PacketSocket, addresses: &[IpAddr]) -> io::Result<()> {
        socket.watch(addresses)
    }

    fn probe(socket: &PacketSocket, address: IpAddr, own: MacAddr) -> io::Result<()> {
        socket.send(&Outgoing::Frame(claims::probe(address, own)))
    }

    fn send(socket: &PacketSocket, outgoing: &Outgoing) -> io::Result<()> {
        socket.send(outgoing)
    }
}

/// An interface as the engine sees it.
#[derive(Debug)]
pub(in crate::engine) struct Interface<W: Wire = Ethernet> {
    wire: W,
    id: InterfaceId,
    /// Its name; the index behind it may change when it is removed and made anew.
    pub(in crate::engine) name: IfName,
    /// Indexes of the virtual hosts on it.
    pub(in crate::engine) members: Vec<VhostId>,
    link: Option<Link>,
    /// Why it is not there, while it is not. `None` until somebody looked.
    pub(in crate::engine) absence: Option<Absence>,
    socket: Option<Rc<W::Socket>>,
    /// Whether the socket may contain unread packets.
    pub(in crate::engine) unread: bool,
    membership: Option<Membership>,
    groups: Vec<IpAddr>,
    /// The families in which a virtual host here has unicast peers.
    unicast: BTreeSet<Family>,
    /// The addresses whose claims by others are listened to.
    watched: BTreeSet<IpAddr>,
    /// Unknown until somebody looked.
    sources: Option<Sources>,
    ip_id: u16,
    /// Unmatched advertisements on this interface.
    pub(in crate::engine) unknown_vhids: UnknownVhids,
    /// What others have announced.
    pub(in crate::engine) announced: Announced,
    /// Who sends what belongs to no virtual host here.
    pub(in crate::engine) strangers: Advertisers,
    /// How late advertisements on this interface are.
    pub(in crate::engine) lateness: lateness::OfInterface,
    /// The kernel's name for it, under which locks were last taken.
    own_name: Option<IfName>,
    /// Virtual hosts that another process has here, under another name of the interface.
    barred: BTreeMap<Vhid, String>,
}

/// Why an interface is not there. As text it follows the interface's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Absence {
    /// Nobody has seen it.
    NotYet,
    /// The kernel has removed the device.
    Removed,
    /// It is in another network namespace.
    Moved,
    /// The device is called something else now.
    Renamed(IfName),
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet => f.write_str("does not exist yet"),
            Self::Removed => f.write_str("was removed"),
            Self::Moved => f.write_str("was moved to another network namespace"),
            Self::Renamed(to) => write!(f, "is called {to} now"),
        }
    }
}

/// The interface's own address of each family: what advertisements come from and ties are broken
/// by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::engine) struct Sources {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
    /// The first IPv6 address that is valid beyond the link.
    v6_global: Option<IpAddr>,
}

impl Sources {
    /// The address that a virtual host sends from in a family.
    pub(in crate::engine) fn of_vhost(
        &self,
        spec: &config::Vhost,
        family: Family,
    ) -> Option<IpAddr> {
        match family {
            Family::V4 => spec.source_address.map(IpAddr::V4).or(self.v4),
            Family::V6 => {
                // Of unicast peers either all are link-local or none.
                let beyond = spec.peers_of(family).any(|peer| !is_link_local(&peer));
                let own = if beyond { self.v6_global } else { self.v6 };
                spec.source_address6.map(IpAddr::V6).or(own)
            }
        }
    }

    /// Chooses from the addresses of an interface, in the kernel's order, leaving out virtual ones:
    /// for IPv4 the first, for IPv6 a link-local one if there is one.
    pub(in crate::engine) fn choose(
        addresses: impl Iterator<Item = IpAddr> + Clone,
        floating: &HashSet<IpAddr>,
    ) -> Self {
        let own = addresses.filter(|ip| !floating.contains(ip));
        let v6_global = own.clone().find(|ip| ip.is_ipv6() && !is_link_local(ip));
        Self {
            v4: own.clone().find(IpAddr::is_ipv4),
            v6: own.clone().find(is_link_local).or(v6_global),
            v6_global,
        }
    }
}

fn is_link_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Every interface that a virtual host is on. Those that none is on any more stay: there are few.
pub(in crate::engine) struct Interfaces<W: Wire = Ethernet>(Vec<Interface<W>>);

impl<W: Wire> Default for Interfaces<W> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<W: Wire> Interfaces<W> {
    pub(in crate::engine) fn get(&self, id: InterfaceId) -> Option<&Interface<W>> {
        self.0.get(id.0)
    }

    pub(in crate::engine) fn get_mut(&mut self, id: InterfaceId) -> Option<&mut Interface<W>> {
        self.0.get_mut(id.0)
    }

    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = &Interface<W>> {
        self.0.iter()
    }

    pub(in crate::engine) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Interface<W>> {
        self.0.iter_mut()
    }

    pub(in crate::engine) const fn len(&self) -> usize {
        self.0.len()
    }

    /// All there are now.
    pub(in crate::engine) fn ids(&self) -> impl Iterator<Item = InterfaceId> + use<W> {
        (0..self.0.len()).map(InterfaceId)
    }

    /// The first that is so.
    pub(in crate::engine) fn find(
        &self,
        is_it: impl FnMut(&Interface<W>) -> bool,
    ) -> Option<InterfaceId> {
        self.0.iter().position(is_it).map(InterfaceId)
    }

    /// The one with this name, which may be new.
    pub(in crate::engine) fn named(&mut self, name: &IfName, wire: &W) -> InterfaceId {
        if let Some(known) = self.find(|interface| interface.name == *name) {
            return known;
        }
        let id = InterfaceId(self.0.len());
        self.0.push(Interface::new(id, name.clone(), wire.clone()));
        id
    }
}

impl<W: Wire> Interface<W> {
    /// For an interface that may not exist yet.
    pub(in crate::engine) fn new(id: InterfaceId, name: IfName, wire: W) -> Self {
        Self {
            wire,
            id,
            name,
            members: Vec::new(),
            link: None,
            absence: None,
            socket: None,
            unread: false,
            membership: None,
            groups: Vec::new(),
            unicast: BTreeSet::new(),
            watched: BTreeSet::new(),
            sources: None,
            ip_id: 1,
            unknown_vhids: UnknownVhids::default(),
            announced: Announced::default(),
            strangers: Advertisers::default(),
            lateness: lateness::OfInterface::default(),
            own_name: None,
            barred: BTreeMap::new(),
        }
    }

    /// Are there locks to take, now that the kernel calls it by this name?
    pub(in crate::engine) fn wants_claim(&self, own_name: &IfName) -> bool {
        let is_known = *own_name == self.name || self.own_name.as_ref() == Some(own_name);
        !is_known || self.is_barred()
    }

    /// The locks are taken, but for those of these virtual hosts.
    pub(in crate::engine) fn claimed(&mut self, own_name: IfName, barred: BTreeMap<Vhid, String>) {
        (self.own_name, self.barred) = (Some(own_name), barred);
    }

    /// Whether another process has, or may have, a virtual host of ours here.
    pub(in crate::engine) fn is_barred(&self) -> bool {
        !self.barred.is_empty()
    }

    /// What keeps this one from it, if it is one of those.
    pub(in crate::engine) fn bars(&self, vhid: Vhid) -> Option<&str> {
        self.barred.get(&vhid).map(String::as_str)
    }

    /// Another virtual host lives on this interface.
    pub(in crate::engine) fn add_member(&mut self, index: VhostId, spec: &config::Vhost) {
        self.members.push(index);
        self.listen_to(spec);
    }

    /// Listens to the groups or peers of a virtual host as well, at once if it listens already.
    pub(in crate::engine) fn listen_to(&mut self, spec: &config::Vhost) {
        let known = (self.groups.len(), self.unicast.len());
        for family in spec.families() {
            if !spec.unicast.is_empty() {
                self.unicast.insert(family);
                continue;
            }
            let group = match family {
                Family::V4 => IpAddr::V4(spec.destination.group),
                Family::V6 => IpAddr::V6(spec.destination.group6),
            };
            let joins = family == Family::V6 || !spec.destination.ethernet_broadcast;
            if joins && group.is_multicast() && !self.groups.contains(&group) {
                self.groups.push(group);
            }
        }
        if (self.groups.len(), self.unicast.len()) != known && self.socket.is_some() {
            self.open();
            self.join();
        }
    }

    /// The kernel's number for it, while it exists.
    pub(in crate::engine) fn index(&self) -> Option<u32> {
        self.link.as_ref().map(|link| link.index)
    }

    /// What the kernel says of it, while it exists.
    pub(in crate::engine) const fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// Is it there and administratively up?
    pub(in crate::engine) fn is_up(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.up)
    }

    /// Is there a carrier besides?
    pub(in crate::engine) fn is_running(&self) -> bool {
        self.link
            .as_ref()
            .is_some_and(|link| link.up && link.carrier)
    }

    /// Whether a virtual host may take part here. Not without a socket, whatever the state of the
    /// link: a node that cannot hear others would believe to be the only one.
    pub(in crate::engine) fn is_usable_by(&self, spec: &config::Vhost) -> bool {
        !self.is_deaf()
            && self.bars(spec.vhid).is_none()
            && self.flaw_for(spec).is_none()
            && if spec.ignore_link_state {
                self.is_up()
            } else {
                self.is_running()
            }
    }

    /// Why a virtual host cannot use CARP there.
    pub(in crate::engine) fn flaw_for(&self, spec: &config::Vhost) -> Option<Flaw> {
        self.link
            .as_ref()
            .filter(|_| spec.needs_fit_interface)
            .and_then(|link| link.flaw(spec.reach()))
    }

    /// Whether it exists but listening on it failed.
    pub(in crate::engine) const fn is_deaf(&self) -> bool {
        self.link.is_some() && self.socket.is_none()
    }

    /// Notes its own addresses.
    pub(in crate::engine) const fn set_sources(&mut self, sources: Sources) {
        self.sources = Some(sources);
    }

    /// The socket, while there is one.
    pub(in crate::engine) fn socket(&self) -> Option<Rc<W::Socket>> {
        self.socket.clone()
    }

    /// Notes what the kernel says of the link; opens, reopens or closes the socket as that needs.
    pub(in crate::engine) fn set_link(&mut self, link: Option<Link>) {
        let was_running = self.is_running();
        let moved = self.index() != link.as_ref().map(|link| link.index);
        self.absence = if link.is_some() {
            // The next time, unless something else is known.
            Some(Absence::Removed)
        } else {
            self.absence.take().or(Some(Absence::NotYet))
        };
        self.link = link;
        if moved {
            self.socket = None;
            self.membership = None;
        }
        if self.is_deaf() {
            self.open();
        }
        if self.is_running() && !was_running {
            // A switch that was restarted has forgotten the groups.
            self.join();
        }
    }

    fn open(&mut self) {
        let Some(link) = &self.link else { return };
        let groups: Vec<MacAddr> = self
            .groups
            .iter()
            .filter_map(|group| wire::multicast_mac(*group))
            .collect();
        match self.wire.open(self.id, link, &groups, &self.unicast) {
            Ok(socket) => {
                info!(interface = %self.name, index = link.index, "Listening");
                self.socket = Some(Rc::new(socket));
                self.watch();
            }
            Err(error) => warn!(interface = %self.name, %error, "Cannot listen"),
        }
    }

    /// Listens to claims of these addresses by other hosts.
    pub(in crate::engine) fn watch_claims(&mut self, addresses: BTreeSet<IpAddr>) {
        if self.watched != addresses {
            self.watched = addresses;
            self.watch();
        }
    }

    /// Whether this is the address of a virtual host on it.
    pub(in crate::engine) fn watches(&self, address: IpAddr) -> bool {
        self.watched.contains(&address)
    }

    fn watch(&self) {
        let addresses: Vec<IpAddr> = self.watched.iter().copied().collect();
        if let Some(socket) = self.socket.as_ref().filter(|_| !addresses.is_empty())
            && let Err(error) = W::watch(socket, &addresses)
        {
            warn!(interface = %self.name, %error, "Cannot listen to other hosts that claim the addresses");
        }
    }

    /// Asks who has this address.
    pub(in crate::engine) fn probe(&self, address: IpAddr) {
        let link = self.link.as_ref().filter(|link| link.has_neighbours());
        if let (Some(socket), Some(link)) = (&self.socket, link)
            && let Err(error) = W::probe(socket, address, link.mac)
        {
            debug!(interface = %self.name, %address, %error, "Could not ask who has an address");
        }
    }

    fn join(&mut self) {
        let Some(index) = self.index() else { return };
        self.membership = None;
        if self.groups.is_empty() {
            return;
        }
        self.membership = self.wire.join(index, &self.groups);
    }

    /// The address that a virtual host sends from in a family, if the interface has one.
    pub(in crate::engine) fn source_of(
        &self,
        spec: &config::Vhost,
        family: Family,
    ) -> Option<IpAddr> {
        self.sources.unwrap_or_default().of_vhost(spec, family)
    }

    /// Sends an advertisement of one of the virtual hosts. It succeeds if the packet has gone to a
    /// group, or to at least one of the peers; then it returns why it could not be sent to another.
    /// What became of each peer's is told.
    ///
    /// # Errors
    /// What the kernel said, or that there is no such interface now.
    pub(in crate::engine) fn send(
        &mut self,
        spec: &config::Vhost,
        transmit: &Transmit,
        mut on_peer: impl FnMut(IpAddr, &io::Result<()>),
    ) -> io::Result<Option<io::Error>> {
        let outgoing = self.outgoing(spec, transmit)?;
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let (mut is_sent, mut problem) = (outgoing.is_empty(), None);
        for outgoing in &outgoing {
            let sent = W::send(socket, outgoing);
            if let Outgoing::Packet { to, .. } = outgoing {
                on_peer(*to, &sent);
            }
            match sent {
                Ok(()) => is_sent = true,
                Err(error) => problem = problem.or(Some(to_whom(outgoing, error))),
            }
        }
        match problem {
            Some(error) if !is_sent => Err(error),
            problem => Ok(problem),
        }
    }

    /// The complete frame of an advertisement, or a packet for each peer; none for the node itself.
    ///
    /// # Errors
    /// There is no such interface now, or it has no address to send from.
    pub(in crate::engine) fn outgoing(
        &mut self,
        spec: &config::Vhost,
        transmit: &Transmit,
    ) -> io::Result<Vec<Outgoing>> {
        let link = self.link.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let mac = link.mac;
        let own = self.source_of(spec, transmit.family);
        if spec.unicast.is_empty() {
            let frame = self.group_frame(spec, transmit, own, mac)?;
            return Ok(vec![Outgoing::Frame(frame)]);
        }
        let own = own.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let others = spec.peers_of(transmit.family).filter(|peer| *peer != own);
        others
            .map(|to| {
                let bytes = self.packet(own, to, transmit)?;
                Ok(Outgoing::Packet { to, bytes })
            })
            .collect()
    }

    fn group_frame(
        &mut self,
        spec: &config::Vhost,
        transmit: &Transmit,
        own: Option<IpAddr>,
        mac: MacAddr,
    ) -> io::Result<Vec<u8>> {
        let source_mac = match spec.source_mac {
            // A switch learns where the addresses are from whatever comes from the virtual hardware
            // address, so nothing does but what a master sends.
            _ if spec.virtual_mac && transmit.kind != Kind::Advertisement => mac,
            // Between two nodes without an address the hardware address decides, so peers must see
            // it.
            SourceMac::Virtual if transmit.family == Family::V4 && own.is_none() => mac,
            SourceMac::Virtual => MacAddr::of_vhid(spec.vhid),
            SourceMac::Interface => mac,
            SourceMac::Ucarp => MacAddr([0, 0, 0x5e, 0, 0, spec.vhid.get()]),
        };
        let (group, own) = match transmit.family {
            Family::V4 => (
                IpAddr::V4(spec.destination.group),
                own.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
            ),
            Family::V6 => (
                IpAddr::V6(spec.destination.group6),
                own.ok_or(io::ErrorKind::AddrNotAvailable)?,
            ),
        };
        let packet = self.packet(own, group, transmit)?;
        let destination = if spec.destination.ethernet_broadcast {
            None
        } else {
            wire::multicast_mac(group)
        };
        Ok(wire::ethernet_frame(
            destination.unwrap_or(MacAddr::BROADCAST),
            source_mac,
            transmit.family,
            &packet,
        ))
    }

    fn packet(&mut self, from: IpAddr, to: IpAddr, transmit: &Transmit) -> io::Result<Vec<u8>> {
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                self.ip_id = self.ip_id.wrapping_add(1).max(1);
                let (tos, id) = (TOS_LOW_DELAY, self.ip_id);
                Ok(wire::ipv4_packet(from, to, tos, id, &transmit.payload))
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                Ok(wire::ipv6_packet(from, to, 0, &transmit.payload))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                Err(io::ErrorKind::InvalidInput.into())
            }
        }
    }
}

/// An error with the host that the packet was for.
fn to_whom(outgoing: &Outgoing, error: io::Error) -> io::Error {
    match outgoing {
        Outgoing::Frame(_) => error,
        Outgoing::Packet { to, .. } => io::Error::new(error.kind(), format!("to {to}: {error}")),
    }
}

/// For the log.
pub(in crate::engine) const fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Advertisement => "advertisement",
        Kind::BowOut => "bow-out",
        Kind::RollCall => "roll call",
    }
}

/// The addresses of virtual hosts: never a node's own source.
pub(in crate::engine) fn floating<'a>(
    vhosts: impl Iterator<Item = &'a config::Vhost>,
) -> HashSet<IpAddr> {
    vhosts
        .flat_map(|vhost| {
            vhost
                .addresses
                .iter()
                .map(|address: &VirtualAddress| address.ip)
        })
        .collect()
}

#[cfg(test)]
mod tests;
