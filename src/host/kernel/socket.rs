//! Sockets for the protocol: whole Ethernet frames in and out, and the groups that switches must
//! know of.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, btree_map};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{LinkAddr, recvfrom};
use serde::{Deserialize, Serialize};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};

use super::routed::RoutedSocket;
use super::{claims, sys};
use crate::effect::Medium;
use crate::types::{Family, MacAddr};

/// Small on purpose: what is queued in the buffer is old, and old advertisements are misleading.
/// But there is room for a frame of every vhid in both families, at up to a kilobyte each: a peer
/// that leaves sends bow-outs for all of them at once, and each lost one delays a takeover by
/// seconds. It is also the kernel's default limit.
const RECEIVE_BUFFER: usize = 208 * 1024;

/// What goes out of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outgoing {
    /// A whole Ethernet frame, for a group.
    Frame(Vec<u8>),
    /// A whole IP packet for one host, which the kernel routes.
    Packet {
        /// Its destination.
        to: IpAddr,
        /// Header and payload.
        bytes: Vec<u8>,
    },
}

/// Why a packet socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("could not {step} the packet socket: {source}")]
pub struct OpenError {
    /// Which step failed: a verb.
    pub step: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}

/// One raw socket on one interface, for all its virtual hosts, both address families, both
/// directions; and one for each family in which packets are sent to single hosts.
///
/// The kernel passes up only frames of IP protocol 112 without a VLAN tag. Who waits for them adds
/// it to a [`Readiness`](super::readiness::Readiness).
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    index: u32,
    routed: Routed,
    medium: Medium,
}

impl PacketSocket {
    /// Opens on the interface with this index, which carries this.
    ///
    /// # Errors
    /// [`OpenError`]: `EPERM` without CAP_NET_RAW, `ENODEV` without the interface.
    pub fn open(index: u32, medium: Medium) -> Result<Self, OpenError> {
        let at = |step| move |source| OpenError { step, source };
        let (kind, filter) = match medium {
            // Some tunnels have a header of their own there, which the kernel then takes off.
            Medium::Packets => (Type::DGRAM, packet_filter()),
            Medium::Ethernet | Medium::Loopback | Medium::Nothing | Medium::Other => {
                (Type::RAW, filter(&[]))
            }
        };
        let socket = packet_socket(kind).map_err(at("open"))?;
        // Filter first, protocol last: bound earlier, the queue would fill with frames nobody asked
        // for.
        socket.attach_filter(&filter).map_err(at("filter"))?;
        socket
            .set_recv_buffer_size(RECEIVE_BUFFER)
            .map_err(at("size the buffer of"))?;
        // Older kernels do not know it; `receive` skips such frames as well.
        let _ = sys::ignore_outgoing(&socket);
        let routed = Routed::default();
        let socket = Self {
            socket,
            index,
            routed,
            medium,
        };
        socket.bind().map_err(at("bind"))?;
        Ok(socket)
    }

    fn bind(&self) -> io::Result<()> {
        let all = u16::try_from(libc::ETH_P_ALL).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.socket.bind(&sys::link_address(self.index, all)?)
    }

    /// Makes the network card pass frames to this address: a group's, or a virtual host's own. It
    /// ends with the socket.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn accept(&self, mac: MacAddr) -> io::Result<()> {
        sys::packet_membership(&self.socket, self.index, mac)
    }

    /// From now on frames also come up in which another host claims one of these addresses
    /// ([`claims::claim`]).
    ///
    /// # Errors
    /// What the kernel said; it takes some hundreds of addresses. Then nothing has changed.
    pub fn watch(&self, addresses: &[IpAddr]) -> io::Result<()> {
        match self.medium {
            // Nobody there says such things.
            Medium::Packets => Ok(()),
            Medium::Ethernet | Medium::Loopback | Medium::Nothing | Medium::Other => {
                self.socket.attach_filter(&filter(addresses))
            }
        }
    }

    /// The next frame, cut to the buffer; `None` when all are read. Call it until it says so.
    /// Frames that this host sent itself, or that are for somebody else, are passed over. Where
    /// packets come without an Ethernet header they get an empty one.
    ///
    /// # Errors
    /// What the kernel said, except that the link is down: the watch tells that.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        let head = match self.medium {
            Medium::Packets => ETHERNET_HEADER,
            Medium::Ethernet | Medium::Loopback | Medium::Nothing | Medium::Other => 0,
        };
        loop {
            let room = buffer.get_mut(head..).unwrap_or_default();
            let received = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), room);
            match received.map_err(io::Error::from) {
                Ok((_, Some(from)))
                    if from.pkttype() == libc::PACKET_OUTGOING
                        || from.pkttype() == libc::PACKET_OTHERHOST => {}
                Ok((length, _)) => {
                    if head > 0 {
                        set_empty_header(buffer);
                    }
                    return Ok(buffer.get(..head + length));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e)
                    if e.kind() == io::ErrorKind::Interrupted
                        || e.raw_os_error() == Some(libc::ENETDOWN) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// From now on packets of this family come and go for single hosts as well: the kernel does not
    /// refuse those that arrive.
    ///
    /// # Errors
    /// As [`RoutedSocket::open`].
    pub fn open_routed(&self, family: Family) -> io::Result<()> {
        self.routed.open(self.index, family)
    }

    /// Sends. It never waits.
    ///
    /// # Errors
    /// `ENETDOWN`: the link is administratively down; `ENXIO`: the interface is gone; `ENOBUFS` or
    /// `WouldBlock`: the queue is full. A lost carrier is no error here. For a packet, as
    /// [`RoutedSocket::send`].
    pub fn send(&self, outgoing: &Outgoing) -> io::Result<()> {
        match outgoing {
            Outgoing::Frame(frame) => send(&self.socket, frame),
            Outgoing::Packet { to, bytes } => self.routed.send(self.index, *to, bytes),
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The sockets of one interface for packets to single hosts, opened when they are needed.
#[derive(Debug, Default)]
struct Routed(RefCell<BTreeMap<Family, RoutedSocket>>);

impl Routed {
    fn open(&self, index: u32, family: Family) -> io::Result<()> {
        let mut sockets = self.0.borrow_mut();
        if let btree_map::Entry::Vacant(place) = sockets.entry(family) {
            place.insert(RoutedSocket::open(index, family, PROTOCOL)?);
        }
        Ok(())
    }

    fn send(&self, index: u32, to: IpAddr, packet: &[u8]) -> io::Result<()> {
        let family = Family::of(to);
        self.open(index, family)?;
        match self.0.borrow().get(&family) {
            Some(socket) => socket.send(to, packet),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// Sends, from sockets for each interface that stay open: the kernel takes some ms to close one.
/// Needs no runtime.
#[derive(Debug, Default)]
pub struct Senders(RefCell<HashMap<u32, SendSocket>>);

impl Senders {
    /// Sends out of the interface with this index. It never waits.
    ///
    /// # Errors
    /// As [`PacketSocket::send`].
    pub fn send(&self, index: u32, outgoing: &Outgoing) -> io::Result<()> {
        let mut sockets = self.0.borrow_mut();
        let socket = match sockets.entry(index) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => place.insert(SendSocket::open(index)?),
        };
        let sent = socket.send(index, outgoing);
        if matches!(&sent, Err(err) if matches!(err.raw_os_error(), Some(libc::ENXIO | libc::ENODEV)))
        {
            // The interface is gone; its index will not come back.
            sockets.remove(&index);
        }
        sent
    }
}

/// A packet socket of one interface that only sends, with its sockets for single hosts.
#[derive(Debug)]
struct SendSocket(Socket, Routed);

impl SendSocket {
    /// Without a protocol nothing is ever received.
    fn open(index: u32) -> io::Result<Self> {
        let socket = packet_socket(Type::RAW)?;
        socket.bind(&sys::link_address(index, 0)?)?;
        Ok(Self(socket, Routed::default()))
    }

    fn send(&self, index: u32, outgoing: &Outgoing) -> io::Result<()> {
        match outgoing {
            Outgoing::Frame(frame) => send(&self.0, frame),
            Outgoing::Packet { to, bytes } => self.1.send(index, *to, bytes),
        }
    }
}

fn packet_socket(kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, kind, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The length of an Ethernet header.
const ETHERNET_HEADER: usize = 14;

/// An Ethernet header without hardware addresses, before the IP packet that follows it.
fn set_empty_header(buffer: &mut [u8]) {
    let first = buffer.get(ETHERNET_HEADER).copied().unwrap_or_default();
    let [high, low] = if first >> 4 == 6 {
        [0x86, 0xdd]
    } else {
        [0x08, 0x00]
    };
    if let Some(header) = buffer.first_chunk_mut() {
        *header = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low];
    }
}

fn send(socket: &Socket, frame: &[u8]) -> io::Result<()> {
    let sent = match socket.send(frame) {
        // The socket remembers that the link was down, and tells it once, even when it is up again.
        Err(err) if err.raw_os_error() == Some(libc::ENETDOWN) => socket.send(frame)?,
        sent => sent?,
    };
    if sent == frame.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// The IP protocol of the packets that come and go here.
const PROTOCOL: u8 = 112;

// The offset from which the kernel answers questions about a frame (SKF_AD_OFF): its protocol, its
// kind and its VLAN tag there.
const FRAME_PROTOCOL: u32 = 0xffff_f000;
const KIND: u32 = 0xffff_f000 + 4;
const VLAN_TAG: u32 = 0xffff_f000 + 44;
// For this host 0, broadcast 1, multicast 2; for another host or from this one: more
// (linux/if_packet.h).
const FOR_US: u32 = 0;
const MULTICAST: u32 = 2;
// Instructions of filters (linux/filter.h).
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const AND: u16 = 0x54;
const EQUAL: u16 = 0x15;
const GREATER: u16 = 0x25;
const SKIP: u16 = 0x05;
const RETURN: u16 = 0x06;

/// IP protocol 112 over IPv4 or IPv6 for this host, where packets have no Ethernet header.
fn packet_filter() -> Vec<SockFilter> {
    let protocol = u32::from(PROTOCOL);
    vec![
        SockFilter::new(LOAD_HALF, 0, 0, KIND),
        SockFilter::new(EQUAL, 0, 7, FOR_US),
        SockFilter::new(LOAD_HALF, 0, 0, FRAME_PROTOCOL),
        SockFilter::new(EQUAL, 0, 2, 0x0800),
        SockFilter::new(LOAD_BYTE, 0, 0, 9),
        SockFilter::new(SKIP, 0, 0, 2),
        SockFilter::new(EQUAL, 0, 2, 0x86dd),
        SockFilter::new(LOAD_BYTE, 0, 0, 6),
        SockFilter::new(EQUAL, 1, 0, protocol),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

/// IP protocol 112 over IPv4 or IPv6, untagged, for this host or for many; and frames in which
/// somebody claims one of these addresses, or announces any other.
fn filter(claimed: &[IpAddr]) -> Vec<SockFilter> {
    let pass = || SockFilter::new(RETURN, 0, 0, u32::MAX);
    let drop = || SockFilter::new(RETURN, 0, 0, 0);
    let mut filter = vec![
        // A card in promiscuous mode shows everything: what is for others must not cost us
        // anything.
        SockFilter::new(LOAD_HALF, 0, 0, KIND),
        SockFilter::new(GREATER, 0, 1, MULTICAST),
        drop(),
        // The kernel has taken the tag off before we see the frame, so it has to be asked for.
        SockFilter::new(LOAD_WORD, 0, 0, VLAN_TAG),
        SockFilter::new(AND, 0, 0, 0x0fff),
        SockFilter::new(EQUAL, 1, 0, 0),
        drop(),
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        SockFilter::new(EQUAL, 0, 4, 0x0800),
        SockFilter::new(LOAD_BYTE, 0, 0, 14 + 9),
        SockFilter::new(EQUAL, 0, 1, PROTOCOL.into()),
        pass(),
        drop(),
    ];
    let neighbours = claims::neighbour_filter(claimed);
    let length = u32::try_from(neighbours.len()).unwrap_or(u32::MAX);
    filter.extend([
        SockFilter::new(EQUAL, 1, 0, 0x86dd),
        SockFilter::new(SKIP, 0, 0, 3 + length),
        SockFilter::new(LOAD_BYTE, 0, 0, 14 + 6),
        SockFilter::new(EQUAL, 0, 1, PROTOCOL.into()),
        pass(),
    ]);
    filter.extend(neighbours);
    filter.extend([SockFilter::new(EQUAL, 1, 0, 0x0806), drop()]);
    filter.extend(claims::arp_filter(claimed));
    filter
}

/// The groups that this host is a member of on one interface.
///
/// A packet socket joins nothing in the eyes of IP: without an IGMP or MLD report a snooping switch
/// would not let advertisements through to us.
#[derive(Debug)]
pub struct Membership {
    index: u32,
    v4: Option<Socket>,
    v6: Option<Socket>,
    groups: Vec<IpAddr>,
}

impl Membership {
    /// No group yet, on the interface with this index.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self {
            index,
            v4: None,
            v6: None,
            groups: Vec::new(),
        }
    }

    /// Joins a group, as `224.0.0.18` or `ff02::12`; an address that is no group needs no joining.
    /// It lasts as long as `self`, also while the link is down, but not beyond the removal of the
    /// interface.
    ///
    /// # Errors
    /// What the kernel said, for example `ENODEV` where the family is switched off on the
    /// interface.
    pub fn join(&mut self, group: IpAddr) -> io::Result<()> {
        if !group.is_multicast() || self.groups.contains(&group) {
            return Ok(());
        }
        match group {
            IpAddr::V4(ip) => join_v4(opened(&mut self.v4, Domain::IPV4)?, ip, self.index)?,
            IpAddr::V6(ip) => {
                opened(&mut self.v6, Domain::IPV6)?.join_multicast_v6(&ip, self.index)?;
            }
        }
        self.groups.push(group);
        Ok(())
    }
}

fn opened(slot: &mut Option<Socket>, domain: Domain) -> io::Result<&Socket> {
    // Never bound to a port, so nothing can be sent to it: it only holds the membership.
    let socket = match slot.take() {
        Some(socket) => socket,
        None => Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?,
    };
    Ok(slot.insert(socket))
}

fn join_v4(socket: &Socket, group: Ipv4Addr, index: u32) -> io::Result<()> {
    socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
}
