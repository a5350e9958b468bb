//! The messages that are exchanged with the kernel here; there are no others.
//!
//! The library has one type for all of rtnetlink: the program would contain code for every kind of
//! device, queue and filter that exists, and would parse data that others put into them.

use netlink_packet_core::{Emitable, Parseable as _};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::rule::RuleMessage;

use super::{Attributes, at};

/// The size of the header before the attributes of a message about a device, in bytes.
const DEVICE_HEADER: usize = 16;

/// The attributes of a device that are kept. The numbers are from linux/if_link.h.
pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_LINK: u16 = 5;
pub(super) const IFLA_LINKINFO: u16 = 18;
pub(super) const IFLA_AF_SPEC: u16 = 26;
pub(super) const IFLA_NEW_NETNSID: u16 = 45;
pub(super) const IFLA_PROP_LIST: u16 = 52;

/// A query, a change, or a message from the kernel.
#[derive(Debug, Clone)]
pub(super) enum Message {
    NewLink(DeviceMessage),
    DelLink(DeviceMessage),
    GetLink(DeviceMessage),
    SetLink(DeviceMessage),
    NewAddress(AddressMessage),
    DelAddress(AddressMessage),
    GetAddress(AddressMessage),
    NewRoute(RouteMessage),
    DelRoute(RouteMessage),
    GetRoute(RouteMessage),
    NewRule(RuleMessage),
    DelRule(RuleMessage),
    GetRule(RuleMessage),
}

impl Message {
    /// Parses a message from the kernel. `None` for another kind, and for an attribute in a form
    /// that the library does not know: newer kernels may send anything.
    pub(super) fn parse(kind: u16, bytes: &[u8]) -> Option<Self> {
        match kind {
            libc::RTM_NEWLINK => DeviceMessage::parse(bytes).map(Self::NewLink),
            libc::RTM_DELLINK => DeviceMessage::parse(bytes).map(Self::DelLink),
            libc::RTM_NEWADDR => AddressMessage::parse(bytes).ok().map(Self::NewAddress),
            libc::RTM_DELADDR => AddressMessage::parse(bytes).ok().map(Self::DelAddress),
            libc::RTM_NEWROUTE => RouteMessage::parse(bytes).ok().map(Self::NewRoute),
            libc::RTM_NEWRULE => RuleMessage::parse(bytes).ok().map(Self::NewRule),
            _ => None,
        }
    }

    /// Its number in the header.
    pub(super) const fn kind(&self) -> u16 {
        match self {
            Self::NewLink(_) => libc::RTM_NEWLINK,
            Self::DelLink(_) => libc::RTM_DELLINK,
            Self::GetLink(_) => libc::RTM_GETLINK,
            Self::SetLink(_) => libc::RTM_SETLINK,
            Self::NewAddress(_) => libc::RTM_NEWADDR,
            Self::DelAddress(_) => libc::RTM_DELADDR,
            Self::GetAddress(_) => libc::RTM_GETADDR,
            Self::NewRoute(_) => libc::RTM_NEWROUTE,
            Self::DelRoute(_) => libc::RTM_DELROUTE,
            Self::GetRoute(_) => libc::RTM_GETROUTE,
            Self::NewRule(_) => libc::RTM_NEWRULE,
            Self::DelRule(_) => libc::RTM_DELRULE,
            Self::GetRule(_) => libc::RTM_GETRULE,
        }
    }

    /// What follows the header.
    pub(super) fn body(&self) -> &dyn Emitable {
        match self {
            Self::NewLink(device)
            | Self::DelLink(device)
            | Self::GetLink(device)
            | Self::SetLink(device) => device,
            Self::NewAddress(address) | Self::DelAddress(address) | Self::GetAddress(address) => {
                address
            }
            Self::NewRoute(route) | Self::DelRoute(route) | Self::GetRoute(route) => route,
            Self::NewRule(rule) | Self::DelRule(rule) | Self::GetRule(rule) => rule,
        }
    }
}

/// The content of a message about a device: `struct ifinfomsg`, and attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct DeviceMessage {
    /// 0, or the family of the bridge that sends it.
    pub(super) family: u8,
    /// The kind of frames it carries, `ARPHRD_*`.
    pub(super) hardware: u16,
    /// The kernel's index of it.
    pub(super) index: u32,
    /// `IFF_*`.
    pub(super) flags: u32,
    /// Which of these flags are to be changed.
    pub(super) change: u32,
    /// Kinds and values.
    pub(super) attributes: Vec<(u16, Vec<u8>)>,
}

impl DeviceMessage {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let is_kept = |kind: u16| {
            matches!(
                kind,
                IFLA_ADDRESS
                    | IFLA_IFNAME
                    | IFLA_MTU
                    | IFLA_LINK
                    | IFLA_LINKINFO
                    | IFLA_AF_SPEC
                    | IFLA_NEW_NETNSID
                    | IFLA_PROP_LIST
            )
        };
        let attributes = Attributes(bytes.get(DEVICE_HEADER..)?)
            .filter(|(kind, _)| is_kept(*kind))
            .map(|(kind, value)| (kind, value.to_vec()));
        Some(Self {
            family: *bytes.first()?,
            hardware: u16::from_ne_bytes(at(bytes, 2)?),
            index: u32::from_ne_bytes(at(bytes, 4)?),
            flags: u32::from_ne_bytes(at(bytes, 8)?),
            change: u32::from_ne_bytes(at(bytes, 12)?),
            attributes: attributes.collect(),
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.family, 0];
        bytes.extend(self.hardware.to_ne_bytes());
        for word in [self.index, self.flags, self.change] {
            bytes.extend(word.to_ne_bytes());
        }
        for (kind, value) in &self.attributes {
            bytes.extend(attribute(*kind, value));
        }
        bytes
    }

    /// The values of the attributes of this kind.
    pub(super) fn values(&self, kind: u16) -> impl Iterator<Item = &[u8]> {
        self.attributes
            .iter()
            .filter_map(move |(found, value)| (*found == kind).then_some(value.as_slice()))
    }
}

impl Emitable for DeviceMessage {
    fn buffer_len(&self) -> usize {
        self.bytes().len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        let bytes = self.bytes();
        if let Some(room) = buffer.get_mut(..bytes.len()) {
            room.copy_from_slice(&bytes);
        }
    }
}

/// An attribute as it appears in a message.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage, Prop};
    use proptest::prelude::*;

    use super::*;

    /// The same as the library writes it.
    #[test]
    fn a_device_is_read_and_written_as_by_the_library() {
        let mut theirs = LinkMessage::default();
        theirs.header.index = 7;
        theirs.header.link_layer_type = LinkLayerType::Ether;
        theirs.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
        theirs.header.change_mask = LinkFlags::Up;
        theirs.attributes = vec![
            LinkAttribute::IfName("eth0".to_owned()),
            LinkAttribute::TxQueueLen(1000),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
            LinkAttribute::PropList(vec![Prop::AltIfName("uplink".to_owned())]),
        ];
        let bytes_of = |message: &dyn Emitable| {
            let mut bytes = vec![0; message.buffer_len()];
            message.emit(&mut bytes);
            bytes
        };
        let bytes = bytes_of(&theirs);
        let ours = DeviceMessage::parse(&bytes).unwrap();
        assert_eq!((ours.index, ours.flags, ours.change), (7, 0x1_0001, 1));
        assert_eq!(ours.hardware, libc::ARPHRD_ETHER);
        assert_eq!(ours.attributes.len(), 4, "{ours:?}");
        theirs.attributes.remove(1);
        // The library marks the list as nested; we read it without the flag, and write it with the
        // flag.
        let written = bytes_of(&ours);
        assert_eq!(DeviceMessage::parse(&written).unwrap(), ours);
        assert_eq!(LinkMessage::parse(&written).unwrap(), theirs);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for kind in [libc::RTM_NEWLINK, libc::RTM_NEWADDR, libc::RTM_NEWROUTE, libc::RTM_NEWRULE] {
                let _ = Message::parse(kind, &bytes);
            }
        }
    }
}
