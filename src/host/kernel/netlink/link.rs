//! Network devices.

use netlink_packet_core::NLM_F_ACK;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use super::macvlan::parent_of;
use super::message::{
    DeviceMessage, IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_IFNAME, IFLA_LINKINFO, IFLA_MTU,
    IFLA_PROP_LIST, Message,
};
use super::{Attributes, Netlink, Reader, Refusal, at};
use crate::effect::{Link, Medium, Nature, Outcome, PortOf};
use crate::host::HostError;
use crate::types::{IfName, MacAddr};

// Constants of the kernel, from linux/if.h, linux/if_link.h, linux/ip.h, linux/ipv6.h and
// linux/netlink.h.
pub(super) const UP: u32 = 1;
const LOOPBACK: u32 = 1 << 3;
const NOARP: u32 = 1 << 7;
const MULTICAST: u32 = 1 << 12;
const LOWER_UP: u32 = 1 << 16;
pub(super) const AF_INET: u16 = 2;
pub(super) const AF_INET6: u16 = 10;
pub(super) const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_VRF_PORT_TABLE: u16 = 1;
const IFLA_ALT_IFNAME: u16 = 53;
pub(super) const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;
const PROMOTE_SECONDARIES: u16 = 20;
pub(super) const NLA_F_NESTED: u16 = 1 << 15;
/// When sent as an array, the settings of IPv4 are counted from 1.
const PLACE_OF_PROMOTE_SECONDARIES: usize = PROMOTE_SECONDARIES as usize - 1;
/// Those of IPv6 are counted from 0.
const PLACE_OF_FORWARDING: usize = 0;

/// The kernel's index of an interface, by its own name or an alternative one.
///
/// # Errors
/// [`HostError`] that names the interface if there is none with this name.
pub fn index_of(dev: &IfName) -> Result<u32, HostError> {
    existing_index(dev)?.ok_or_else(|| {
        HostError::errno(format!("there is no interface {dev}"), Errno::ENODEV as i32)
    })
}

/// The kernel's own name for an interface, given any of its names; `None` if there is none, or the
/// kernel does not say.
#[must_use]
pub fn own_name_of(dev: &IfName) -> Option<IfName> {
    Some(Netlink::open().ok()?.link(dev).ok()?.name)
}

/// The same as [`index_of`], for callers to whom its absence is a valid answer.
pub(super) fn existing_index(dev: &IfName) -> Result<Option<u32>, HostError> {
    // The C library's function has no room for it.
    if dev.is_alternative() {
        return Netlink::open()?.existing_index(dev);
    }
    match if_nametoindex(dev.as_str()) {
        Ok(index) => Ok(Some(index)),
        Err(Errno::ENODEV | Errno::ENXIO) => Ok(None),
        Err(errno) => {
            Err(Refusal { errno, words: None }.while_doing(format_args!("looking up {dev}")))
        }
    }
}

/// How a device announces addresses.
#[derive(Debug, Clone, Copy)]
pub(in crate::host) struct Role {
    /// It forwards IPv6: neighbours must be told that the sender is a router.
    pub(in crate::host) router: bool,
    /// The device that the frames leave by: of a macvlan the one below, whose sockets stay.
    pub(in crate::host) by: u32,
}

fn role_of(message: &DeviceMessage) -> Role {
    Role {
        router: forwards_ipv6(message),
        by: parent_of(message).unwrap_or(message.index),
    }
}

impl Reader {
    /// All network devices.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason; `EMSGSIZE` if there are too many.
    pub fn links(&self) -> Result<Vec<Link>, HostError> {
        let links = self.pick(&Message::GetLink(DeviceMessage::default()), |part| {
            as_link(&part.message()?)
        });
        links.map_err(|refusal| refusal.while_doing("listing the interfaces"))
    }
}

impl Netlink {
    /// Like [`existing_index`], but over the socket that is already open: a caller that releases
    /// something may have no descriptor left for another one.
    pub(super) fn existing_index(&self, dev: &IfName) -> Result<Option<u32>, HostError> {
        let query = DeviceMessage {
            attributes: vec![called(dev)],
            ..DeviceMessage::default()
        };
        match self.ask(&Message::GetLink(query), NLM_F_ACK) {
            Ok(answers) => Ok(answers.iter().find_map(as_link).map(|link| link.index)),
            Err(Refusal {
                errno: Errno::ENODEV,
                ..
            }) => Ok(None),
            // The kernel does not know alternative names.
            Err(Refusal {
                errno: Errno::EINVAL | Errno::EOPNOTSUPP,
                ..
            }) if dev.is_alternative() => Ok(None),
            Err(refusal) => Err(refusal.while_doing(format_args!("looking up {dev}"))),
        }
    }

    /// One network device.
    ///
    /// # Errors
    /// [`HostError`]; `ENODEV` if there is none with this name.
    pub fn link(&self, dev: &IfName) -> Result<Link, HostError> {
        self.link_and_role(dev).map(|(link, _)| link)
    }

    /// One network device, and how it announces addresses.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub(in crate::host) fn link_and_role(&self, dev: &IfName) -> Result<(Link, Role), HostError> {
        let answers = self.ask_for(index_of(dev)?);
        let answers =
            answers.map_err(|refusal| refusal.while_doing(format_args!("asking for {dev}")))?;
        let found = answers
            .iter()
            .find_map(|message| Some((link_of(message)?, role_of(message))));
        found.ok_or_else(|| {
            HostError::new(format!("the kernel's answer about {dev} is not readable"))
        })
    }

    pub(super) fn ask_for(&self, index: u32) -> Result<Vec<DeviceMessage>, Refusal> {
        let query = DeviceMessage {
            index,
            ..DeviceMessage::default()
        };
        let answers = self.ask(&Message::GetLink(query), NLM_F_ACK)?;
        let links = answers.into_iter().filter_map(|answer| match answer {
            Message::NewLink(message) => Some(message),
            _ => None,
        });
        Ok(links.collect())
    }

    /// Are the other IPv4 addresses of a network kept when its first one is removed?
    pub(super) fn promotes_secondaries(&self, index: u32) -> Result<bool, Refusal> {
        let place = PLACE_OF_PROMOTE_SECONDARIES;
        let answers = self.ask_for(index)?;
        Ok(answers
            .iter()
            .any(|message| conf_at(message, AF_INET, place) != 0))
    }

    /// Sets whether they are kept. The same as sysctl `net.ipv4.conf.DEVICE.promote_secondaries`,
    /// but without a file system.
    pub(super) fn promote_secondaries(&self, index: u32, promote: bool) -> Result<(), Refusal> {
        self.set_inet(index, &[(PROMOTE_SECONDARIES, promote.into())])
    }

    /// Sets a device administratively up or down.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn set_link_up(&self, dev: &IfName, up: bool) -> Result<Outcome, HostError> {
        let link = self.link(dev)?;
        if link.up == up {
            return Ok(Outcome::Unchanged);
        }
        let message = DeviceMessage {
            index: link.index,
            change: UP,
            flags: if up { UP } else { 0 },
            ..DeviceMessage::default()
        };
        let word = if up { "up" } else { "down" };
        self.change(&Message::SetLink(message), 0)
            .map_err(|refusal| refusal.while_doing(format_args!("setting {dev} {word}")))?;
        Ok(Outcome::Changed)
    }

    /// Sets a device's hardware address.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason; some drivers require the device to be down
    /// (`EBUSY`).
    pub fn set_link_mac(&self, dev: &IfName, mac: MacAddr) -> Result<Outcome, HostError> {
        let link = self.link(dev)?;
        if link.mac == mac {
            return Ok(Outcome::Unchanged);
        }
        let message = DeviceMessage {
            index: link.index,
            attributes: vec![(IFLA_ADDRESS, mac.0.to_vec())],
            ..DeviceMessage::default()
        };
        self.change(&Message::SetLink(message), 0)
            .map_err(|refusal| {
                refusal.while_doing(format_args!("giving {dev} the hardware address {mac}"))
            })?;
        Ok(Outcome::Changed)
    }
}

/// The attribute that queries a device by its name. Up to 15 bytes, the kernel also finds
/// alternative names through the attribute for its own name.
pub(super) fn called(dev: &IfName) -> (u16, Vec<u8>) {
    let kind = if dev.is_alternative() {
        IFLA_ALT_IFNAME
    } else {
        IFLA_IFNAME
    };
    (kind, [dev.as_str().as_bytes(), b"\0"].concat())
}

/// The attributes of this kind among those in another one.
pub(super) fn inside(value: &[u8], kind: u16) -> impl Iterator<Item = &[u8]> {
    Attributes(value).filter_map(move |(found, value)| (found == kind).then_some(value))
}

/// The setting at this position of a family's array; 0 if the kernel does not send it.
pub(super) fn conf_at(message: &DeviceMessage, family: u16, place: usize) -> u32 {
    let conf = if family == AF_INET6 {
        IFLA_INET6_CONF
    } else {
        IFLA_INET_CONF
    };
    let found = message
        .values(IFLA_AF_SPEC)
        .flat_map(|value| inside(value, family))
        .flat_map(|value| inside(value, conf))
        .find_map(|numbers| at(numbers, 4 * place));
    found.map_or(0, u32::from_ne_bytes)
}

/// The same setting that the kernel uses for the router flag of its own neighbour advertisements.
pub(super) fn forwards_ipv6(message: &DeviceMessage) -> bool {
    conf_at(message, AF_INET6, PLACE_OF_FORWARDING) != 0
}

fn as_link(message: &Message) -> Option<Link> {
    match message {
        Message::NewLink(message) => link_of(message),
        _ => None,
    }
}

/// `None` if it is not a name that we can handle.
fn name_of(value: &[u8]) -> Option<IfName> {
    let text = std::str::from_utf8(value).ok()?;
    IfName::new(text.trim_end_matches('\0')).ok()
}

/// `None` without a name that we can handle.
pub(super) fn link_of(message: &DeviceMessage) -> Option<Link> {
    let altnames = message
        .values(IFLA_PROP_LIST)
        .flat_map(Attributes)
        .filter(|(kind, _)| *kind == IFLA_ALT_IFNAME)
        .filter_map(|(_, value)| name_of(value));
    let mac = message
        .values(IFLA_ADDRESS)
        .find_map(|value| value.try_into().ok());
    let mtu = message.values(IFLA_MTU).find_map(|value| at(value, 0));
    let flags = message.flags;
    Some(Link {
        name: message.values(IFLA_IFNAME).find_map(name_of)?,
        altnames: altnames.collect(),
        index: message.index,
        up: flags & UP != 0,
        carrier: flags & UP != 0 && flags & LOWER_UP != 0,
        mac: mac.map_or_else(MacAddr::default, MacAddr),
        mtu: mtu.map_or(0, u32::from_ne_bytes),
        nature: nature_of(message),
    })
}

fn nature_of(message: &DeviceMessage) -> Nature {
    let about = |wanted: u16| {
        let all = message.values(IFLA_LINKINFO).flat_map(Attributes);
        all.filter_map(move |(kind, value)| (kind == wanted).then_some(value))
    };
    let word = |kind| {
        let mut words = about(kind).filter_map(|value| std::str::from_utf8(value).ok());
        words.next().map(|word| word.trim_end_matches('\0'))
    };
    let above = word(IFLA_INFO_SLAVE_KIND);
    let table = about(IFLA_INFO_SLAVE_DATA)
        .flat_map(Attributes)
        .find_map(|(kind, value)| (kind == IFLA_VRF_PORT_TABLE).then(|| at(value, 0)));
    Nature {
        medium: medium_of(message, word(IFLA_INFO_KIND)),
        multicast: message.flags & MULTICAST != 0,
        arp: message.flags & NOARP == 0,
        port: above.and_then(port_of),
        table: table
            .flatten()
            .filter(|_| above == Some(VRF))
            .map(u32::from_ne_bytes),
    }
}

/// What belongs to it is no port: it only has its own routing table.
const VRF: &str = "vrf";

fn port_of(above: &str) -> Option<PortOf> {
    match above {
        VRF => None,
        "bridge" => Some(PortOf::Bridge),
        "bond" => Some(PortOf::Bond),
        "team" => Some(PortOf::Team),
        _ => Some(PortOf::Other),
    }
}

// Kinds of hardware that the library lacks (linux/if_arp.h): cellular modems, GRE over IPv6.
const ARPHRD_RAWIP: u16 = 519;
const ARPHRD_IP6GRE: u16 = 823;

fn medium_of(message: &DeviceMessage, kind: Option<&str>) -> Medium {
    match (message.hardware, kind) {
        _ if message.flags & LOOPBACK != 0 => Medium::Loopback,
        (_, Some("dummy" | "ifb")) => Medium::Nothing,
        (libc::ARPHRD_ETHER, _) => Medium::Ethernet,
        (
            libc::ARPHRD_NONE
            | libc::ARPHRD_PPP
            | ARPHRD_RAWIP
            | libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT
            | libc::ARPHRD_IPGRE
            | ARPHRD_IP6GRE,
            _,
        ) => Medium::Packets,
        _ => Medium::Other,
    }
}

#[cfg(test)]
mod tests;
