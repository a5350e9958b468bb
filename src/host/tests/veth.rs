//! A pair of virtual Ethernet devices.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage,
};
use netlink_sys::{Socket, SocketAddr};

use super::namespace::dev;
use crate::host::kernel::netlink::Netlink;

/// `v0` and `v1`, joined and up.
pub(super) fn veth_pair() -> Netlink {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![LinkAttribute::IfName("v1".into())];
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName("v0".into()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    request(
        RouteNetlinkMessage::NewLink(link),
        NLM_F_CREATE | NLM_F_EXCL,
    );
    let netlink = Netlink::open().unwrap();
    netlink.set_link_up(&dev("v0"), true).unwrap();
    netlink.set_link_up(&dev("v1"), true).unwrap();
    netlink
}

pub(super) fn delete_link(index: u32) {
    let mut link = LinkMessage::default();
    link.header.index = index;
    request(RouteNetlinkMessage::DelLink(link), 0);
}

fn request(message: RouteNetlinkMessage, flags: u16) {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let mut socket = Socket::new(netlink_sys::protocols::NETLINK_ROUTE).unwrap();
    socket.bind_auto().unwrap();
    socket.connect(&SocketAddr::new(0, 0)).unwrap();
    socket.send(&bytes, 0).unwrap();
    let mut answer = vec![0; 4096];
    socket.recv(&mut answer.as_mut_slice(), 0).unwrap();
    assert_eq!(answer[16..20], [0; 4], "the kernel refused {message:?}");
}
