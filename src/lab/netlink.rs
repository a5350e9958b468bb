//! The part of rtnetlink that is needed for a switch, cables and addresses; one request at a time.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    BridgePortState, BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::filter::Loss;
use super::message::{FactRoute, Fault};
use crate::types::{Family, MacAddr, VirtualAddress};

/// An rtnetlink socket, in the network namespace of the process that opened it.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens the socket.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Creates a bridge that forwards immediately and floods all multicast, and sets it up.
    pub(super) fn add_bridge(&mut self, name: &str) -> io::Result<()> {
        let data = InfoData::Bridge(vec![
            InfoBridge::ForwardDelay(0),
            InfoBridge::StpState(BridgeStpState::Disabled),
            InfoBridge::MulticastSnooping(false),
        ]);
        let mut link = named(name);
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(data),
        ]));
        raise(&mut link, true);
        self.change(
            RouteNetlinkMessage::NewLink(link),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Creates a cable from `port`, in the bridge `bridge`, to `eth0` in the network namespace of
    /// process `pid`.
    pub(super) fn add_cable(
        &mut self,
        port: &str,
        bridge: &str,
        mac: MacAddr,
        pid: u32,
    ) -> io::Result<()> {
        let mut peer = named("eth0");
        peer.attributes.push(LinkAttribute::Address(mac.0.to_vec()));
        peer.attributes.push(LinkAttribute::NetNsPid(pid));
        let mut link = named(port);
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        self.change(
            RouteNetlinkMessage::NewLink(link),
            NLM_F_CREATE | NLM_F_EXCL,
        )?;
        self.set_bridge(port, Some(bridge))?;
        self.set_up(port, true)
    }

    /// Removes a link, and the other end of its cable.
    pub(super) fn delete_link(&mut self, name: &str) -> io::Result<()> {
        self.change(RouteNetlinkMessage::DelLink(named(name)), 0)
    }

    /// Sets a link up or down.
    pub(super) fn set_up(&mut self, name: &str, up: bool) -> io::Result<()> {
        let mut link = named(name);
        raise(&mut link, up);
        self.change(RouteNetlinkMessage::NewLink(link), 0)
    }

    /// Adds a port to a bridge, or removes it from its bridge.
    fn set_bridge(&mut self, port: &str, bridge: Option<&str>) -> io::Result<()> {
        let bridge = bridge.map_or(Ok(0), |bridge| self.index(bridge))?;
        let mut link = named(port);
        link.attributes.push(LinkAttribute::Controller(bridge));
        self.change(RouteNetlinkMessage::NewLink(link), 0)
    }

    /// Causes or ends a fault at a port of the bridge.
    ///
    /// A silent port is removed from the bridge: one that is only set to the state "disabled"
    /// becomes active again by itself when the kernel checks its carrier.
    pub(super) fn set_fault(
        &mut self,
        port: &str,
        bridge: &str,
        fault: Fault,
        on: bool,
    ) -> io::Result<()> {
        let settings = match fault {
            Fault::Unplugged => return self.set_up(port, !on),
            Fault::Silent => return self.set_bridge(port, if on { None } else { Some(bridge) }),
            Fault::Mute => return self.set_loss(port, Loss::All, on),
            Fault::Lossy(percent) => return self.set_loss(port, Loss::Percent(percent), on),
            Fault::Isolated => vec![InfoBridgePort::Isolated(on)],
            Fault::Deaf => {
                vec![
                    InfoBridgePort::UnicastFlood(!on),
                    InfoBridgePort::MulticastFlood(!on),
                    InfoBridgePort::BroadcastFlood(!on),
                ]
            }
        };
        let mut link = named(port);
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(settings)),
        ]));
        self.change(RouteNetlinkMessage::NewLink(link), 0)
    }

    /// Adds an address without waiting for duplicate address detection.
    pub(super) fn add_address(&mut self, dev: &str, address: VirtualAddress) -> io::Result<()> {
        let message = self.address(dev, address)?;
        self.change(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Removes an address.
    pub(super) fn delete_address(&mut self, dev: &str, address: VirtualAddress) -> io::Result<()> {
        let message = self.address(dev, address)?;
        self.change(RouteNetlinkMessage::DelAddress(message), 0)
    }

    fn address(&mut self, dev: &str, address: VirtualAddress) -> io::Result<AddressMessage> {
        let mut message = AddressMessage::default();
        message.header.family = family(address.family());
        message.header.prefix_len = address.prefix;
        message.header.index = self.index(dev)?;
        message.header.scope = AddressScope::Universe;
        message.header.flags = netlink_packet_route::address::AddressHeaderFlags::Nodad;
        message.attributes = vec![
            AddressAttribute::Local(address.ip),
            AddressAttribute::Address(address.ip),
        ];
        Ok(message)
    }

    /// Adds a default route.
    pub(super) fn add_default_route(&mut self, via: IpAddr) -> io::Result<()> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(Family::of(via));
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Boot;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![RouteAttribute::Gateway(via.into())];
        self.change(
            RouteNetlinkMessage::NewRoute(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// The addresses of a link, without link-local ones.
    pub(super) fn addresses(&mut self, dev: &str) -> io::Result<Vec<VirtualAddress>> {
        let index = self.index(dev)?;
        let mut found = Vec::new();
        for message in self.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))? {
            let RouteNetlinkMessage::NewAddress(message) = message else {
                continue;
            };
            if message.header.index != index || message.header.scope != AddressScope::Universe {
                continue;
            }
            // For IPv4, the host's own end is in IFA_LOCAL; IPv6 has only IFA_ADDRESS.
            let local = |attribute: &AddressAttribute| {
                if let AddressAttribute::Local(ip) = attribute {
                    Some(*ip)
                } else {
                    None
                }
            };
            let peer = |attribute: &AddressAttribute| {
                if let AddressAttribute::Address(ip) = attribute {
                    Some(*ip)
                } else {
                    None
                }
            };
            let ip = message
                .attributes
                .iter()
                .find_map(local)
                .or_else(|| message.attributes.iter().find_map(peer));
            found.extend(ip.and_then(|ip| VirtualAddress::new(ip, message.header.prefix_len).ok()));
        }
        Ok(found)
    }

    /// The routes of the main table that were not added by the kernel.
    pub(super) fn routes(&mut self) -> io::Result<Vec<FactRoute>> {
        let mut found = Vec::new();
        for family in Family::ALL {
            let mut message = RouteMessage::default();
            message.header.address_family = self::family(family);
            for message in self.dump(RouteNetlinkMessage::GetRoute(message))? {
                let RouteNetlinkMessage::NewRoute(message) = message else {
                    continue;
                };
                let header = &message.header;
                if header.table == RouteHeader::RT_TABLE_MAIN
                    && header.kind == RouteType::Unicast
                    && header.protocol != RouteProtocol::Kernel
                {
                    found.push(fact_route(&message));
                }
            }
        }
        Ok(found)
    }

    /// Carrier and hardware address of a link.
    pub(super) fn link(&mut self, name: &str) -> io::Result<(bool, MacAddr)> {
        let link = self.find(name)?;
        let mac = link.attributes.iter().find_map(|attribute| {
            if let LinkAttribute::Address(bytes) = attribute {
                bytes.as_slice().try_into().ok().map(MacAddr)
            } else {
                None
            }
        });
        Ok((
            link.header.flags.contains(LinkFlags::LowerUp),
            mac.unwrap_or_default(),
        ))
    }

    /// Does the bridge forward frames through this port, in both directions?
    pub(super) fn forwards(&mut self, port: &str) -> io::Result<bool> {
        let link = self.find(port)?;
        let is_open = |info: &LinkInfo| {
            let LinkInfo::PortData(InfoPortData::BridgePort(settings)) = info else {
                return false;
            };
            settings.contains(&InfoBridgePort::State(BridgePortState::Forwarding))
        };
        // A queue that drops everything, which each link has until the kernel has checked its
        // carrier.
        let drops = |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::Qdisc(name) if name == "noop");
        let infos = link
            .attributes
            .iter()
            .filter_map(|attribute| match attribute {
                LinkAttribute::LinkInfo(infos) => Some(infos),
                _ => None,
            });
        Ok(infos.flatten().any(is_open) && !link.attributes.iter().any(drops))
    }

    /// The index of a link.
    pub(super) fn index(&mut self, name: &str) -> io::Result<u32> {
        Ok(self.find(name)?.header.index)
    }

    fn find(&mut self, name: &str) -> io::Result<LinkMessage> {
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(named(name)));
        request.header.flags = NLM_F_REQUEST;
        match self.exchange(request)?.into_iter().next() {
            Some(RouteNetlinkMessage::NewLink(link)) => Ok(link),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Sends one change and waits for its acknowledgement.
    pub(super) fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        self.exchange(request).map(drop)
    }

    fn dump(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        self.exchange(request)
    }

    /// Sends one request and reads its answer to the end.
    fn exchange(
        &mut self,
        mut request: NetlinkMessage<RouteNetlinkMessage>,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let many = request.header.flags & NLM_F_DUMP == NLM_F_DUMP;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while rest.len() >= 16 {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(io::Error::other)?;
                let length = usize::try_from(message.header.length)
                    .unwrap_or(usize::MAX)
                    .next_multiple_of(4);
                rest = rest.get(length.max(16)..).unwrap_or_default();
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(error.to_io());
                    }
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    NetlinkPayload::Noop | NetlinkPayload::Overrun(_) | _ => {}
                }
                if !many && !answers.is_empty() {
                    return Ok(answers);
                }
            }
        }
    }
}

fn named(name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    link
}

fn raise(link: &mut LinkMessage, up: bool) {
    link.header.flags = if up {
        LinkFlags::Up
    } else {
        LinkFlags::empty()
    };
    link.header.change_mask = LinkFlags::Up;
}

const fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

fn fact_route(message: &RouteMessage) -> FactRoute {
    let mut route = FactRoute {
        dst: None,
        via: None,
    };
    for attribute in &message.attributes {
        if let RouteAttribute::Destination(dst) = attribute {
            route.dst = ip(dst).and_then(|ip| {
                VirtualAddress::new(ip, message.header.destination_prefix_length).ok()
            });
        } else if let RouteAttribute::Gateway(via) = attribute {
            route.via = ip(via);
        }
    }
    route
}

const fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        RouteAddress::Mpls(_) | RouteAddress::Other(_) | _ => None,
    }
}
