//! Devices of kinds that a test machine need not have, as the kernel reports them.

use netlink_packet_core::Emitable as _;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVlan, InfoVrfPort, LinkAttribute,
    LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};

use super::*;
use crate::effect::{Flaw, Reach};

/// What this code makes of a message that the library wrote.
fn read(hardware: LinkLayerType, flags: LinkFlags, info: Vec<LinkInfo>) -> Link {
    let mut message = LinkMessage::default();
    message.header.index = 9;
    message.header.link_layer_type = hardware;
    message.header.flags = LinkFlags::Up | LinkFlags::LowerUp | flags;
    message.attributes = vec![
        LinkAttribute::IfName("x0".to_owned()),
        LinkAttribute::Mtu(1500),
    ];
    if hardware == LinkLayerType::Ether {
        let mac = vec![2, 0, 0, 0, 0, 9];
        message.attributes.push(LinkAttribute::Address(mac));
    }
    if !info.is_empty() {
        message.attributes.push(LinkAttribute::LinkInfo(info));
    }
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    match Message::parse(libc::RTM_NEWLINK, &bytes) {
        Some(Message::NewLink(message)) => link_of(&message).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn flaws(link: &Link) -> [Option<Flaw>; 2] {
    [Reach::Group, Reach::Hosts].map(|reach| link.flaw(reach))
}

fn usual() -> LinkFlags {
    LinkFlags::Broadcast | LinkFlags::Multicast
}

fn kind(kind: InfoKind) -> Vec<LinkInfo> {
    vec![LinkInfo::Kind(kind)]
}

#[test]
fn ethernet_devices_of_every_kind_are_alike() {
    let vlan = InfoData::Vlan(vec![InfoVlan::Id(7)]);
    for info in [
        vec![],
        vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(vlan)],
        kind(InfoKind::Bond),
        kind(InfoKind::Bridge),
        kind(InfoKind::MacVlan),
        kind(InfoKind::Vxlan),
        kind(InfoKind::GreTap),
        kind(InfoKind::Other("team".to_owned())),
    ] {
        let link = read(LinkLayerType::Ether, usual(), info.clone());
        assert_eq!(link.nature, Nature::default(), "{info:?}");
        assert!(link.has_neighbours() && link.up && link.carrier);
    }
}

#[test]
fn dummies_lead_nowhere() {
    for name in [InfoKind::Dummy, InfoKind::Ifb] {
        let flags = LinkFlags::Broadcast | LinkFlags::Noarp;
        let link = read(LinkLayerType::Ether, flags, kind(name));
        assert_eq!(flaws(&link), [Some(Flaw::Nowhere); 2]);
    }
    let lo = read(LinkLayerType::Loopback, LinkFlags::Loopback, vec![]);
    assert_eq!(flaws(&lo), [Some(Flaw::Loopback); 2]);
}

#[test]
fn point_to_point_devices_need_unicast() {
    let ppp = LinkFlags::Pointopoint | LinkFlags::Noarp | LinkFlags::Multicast;
    let tunnel = LinkFlags::Pointopoint | LinkFlags::Noarp;
    for (hardware, flags, info) in [
        // PPPoE; its own messages have the kind since Linux 4.7.
        (
            LinkLayerType::Ppp,
            ppp,
            kind(InfoKind::Other("ppp".to_owned())),
        ),
        (LinkLayerType::Ppp, ppp, vec![]),
        (LinkLayerType::None, ppp, kind(InfoKind::Tun)),
        (LinkLayerType::None, tunnel, kind(InfoKind::Wireguard)),
        (LinkLayerType::Tunnel, tunnel, kind(InfoKind::IpIp)),
        (LinkLayerType::Sit, tunnel, kind(InfoKind::SitTun)),
        (LinkLayerType::Ipgre, tunnel, vec![]),
        (LinkLayerType::Ip6gre, tunnel, vec![]),
    ] {
        let link = read(hardware, flags, info);
        assert_eq!(flaws(&link), [Some(Flaw::NoFrames), None], "{hardware:?}");
        assert!(!link.has_neighbours());
    }
    let can = read(LinkLayerType::Can, LinkFlags::Noarp, vec![]);
    assert_eq!(flaws(&can), [Some(Flaw::Strange); 2]);
}

#[test]
fn ports_of_other_devices_are_refused() {
    for (above, port) in [
        (InfoPortKind::Bridge, PortOf::Bridge),
        (InfoPortKind::Bond, PortOf::Bond),
        (InfoPortKind::Team, PortOf::Team),
        (InfoPortKind::Other("openvswitch".to_owned()), PortOf::Other),
    ] {
        let info = vec![LinkInfo::PortKind(above)];
        let link = read(LinkLayerType::Ether, usual(), info);
        assert_eq!(flaws(&link), [Some(Flaw::Port(port)); 2]);
    }
}

#[test]
fn a_member_of_a_vrf_is_usable_and_knows_its_table() {
    let port = InfoPortData::VrfPort(vec![InfoVrfPort::TableId(1007)]);
    let info = vec![
        LinkInfo::PortKind(InfoPortKind::Vrf),
        LinkInfo::PortData(port),
    ];
    let link = read(LinkLayerType::Ether, usual(), info);
    assert_eq!((flaws(&link), link.nature.table), ([None; 2], Some(1007)));
    // The VRF itself has Ethernet frames in name only.
    let vrf = read(
        LinkLayerType::Ether,
        LinkFlags::Noarp | LinkFlags::Controller,
        kind(InfoKind::Vrf),
    );
    assert_eq!(flaws(&vrf)[0], Some(Flaw::NoMulticast));
}
