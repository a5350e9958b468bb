//! Network devices.

use netlink_packet_core::{DefaultNla, Emitable as _};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, LinkAttribute, LinkFlags, LinkLayerType, LinkMessage,
    Prop,
};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use super::{Netlink, Reader, Refusal};
use crate::effect::{Link, Outcome};
use crate::host::HostError;
use crate::types::{IfName, MacAddr};

// Numbers of the kernel's, from linux/if_link.h, linux/ip.h and linux/netlink.h.
const AF_INET: u16 = 2;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_INET_CONF: u16 = 1;
const PROMOTE_SECONDARIES: u16 = 20;
const NLA_F_NESTED: u16 = 1 << 15;

/// The kernel's number of an interface, by its own name or an alternative one.
///
/// # Errors
/// [`HostError`] that names the interface if there is none of that name.
pub fn index_of(dev: &IfName) -> Result<u32, HostError> {
    existing_index(dev)?.ok_or_else(|| HostError {
        message: format!("there is no interface {dev}"),
        errno: Some(Errno::ENODEV as i32),
    })
}

/// What the kernel itself calls an interface, by whichever of its names it is asked for; `None` if
/// there is none, or the kernel does not say.
#[must_use]
pub fn own_name_of(dev: &IfName) -> Option<IfName> {
    Some(Netlink::open().ok()?.link(dev).ok()?.name)
}

/// The same as [`index_of`], where its absence is an answer.
pub(super) fn existing_index(dev: &IfName) -> Result<Option<u32>, HostError> {
    // The C library's way has no room for it.
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

impl Reader {
    /// All network devices.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words; `EMSGSIZE` if there are too many.
    pub fn links(&self) -> Result<Vec<Link>, HostError> {
        let links = self.pick(
            &RouteNetlinkMessage::GetLink(LinkMessage::default()),
            |part| as_link(&part.message()?),
        );
        links.map_err(|refusal| refusal.while_doing("listing the interfaces"))
    }
}

impl Netlink {
    /// As [`existing_index`], over the socket that is open anyway: who lets go may have no
    /// descriptor left for another one.
    pub(super) fn existing_index(&self, dev: &IfName) -> Result<Option<u32>, HostError> {
        let mut query = LinkMessage::default();
        query.attributes = vec![called(dev)];
        match self.ask(
            RouteNetlinkMessage::GetLink(query),
            netlink_packet_core::NLM_F_ACK,
        ) {
            Ok(answers) => Ok(answers.iter().find_map(as_link).map(|link| link.index)),
            Err(Refusal {
                errno: Errno::ENODEV,
                ..
            }) => Ok(None),
            // A kernel without alternative names.
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
    /// [`HostError`]; `ENODEV` if there is none of that name.
    pub fn link(&self, dev: &IfName) -> Result<Link, HostError> {
        self.link_and_role(dev).map(|(link, _)| link)
    }

    /// One network device, and whether it forwards IPv6: then neighbours must hear that a router
    /// speaks.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub(in crate::host) fn link_and_role(&self, dev: &IfName) -> Result<(Link, bool), HostError> {
        let answers = self.ask_for(index_of(dev)?);
        let answers =
            answers.map_err(|refusal| refusal.while_doing(format_args!("asking for {dev}")))?;
        let found = answers
            .iter()
            .find_map(|message| Some((link_of(message)?, forwards_ipv6(message))));
        found.ok_or_else(|| HostError {
            message: format!("the kernel's answer about {dev} is not readable"),
            errno: None,
        })
    }

    fn ask_for(&self, index: u32) -> Result<Vec<LinkMessage>, Refusal> {
        let mut query = LinkMessage::default();
        query.header.index = index;
        let answers = self.ask(
            RouteNetlinkMessage::GetLink(query),
            netlink_packet_core::NLM_F_ACK,
        )?;
        let links = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(message) => Some(message),
            _ => None,
        });
        Ok(links.collect())
    }

    /// Do the other IPv4 addresses of a network stay when its first one goes?
    pub(super) fn promotes_secondaries(&self, index: u32) -> Result<bool, Refusal> {
        Ok(self.ask_for(index)?.iter().any(|message| {
            inet_settings(message).any(|of| {
                matches!(of, AfSpecUnspec::Inet(settings) if settings.iter().any(
                    |setting| matches!(setting, AfSpecInet::DevConf(conf) if conf.promote_secondaries != 0),
                ))
            })
        }))
    }

    /// Makes them stay, or not. As sysctl `net.ipv4.conf.DEVICE.promote_secondaries`, but without a
    /// file system.
    pub(super) fn promote_secondaries(&self, index: u32, promote: bool) -> Result<(), Refusal> {
        // Told as one row of numbers, it is asked for as one attribute for each setting: the
        // library knows only the first form.
        let value = DefaultNla::new(
            PROMOTE_SECONDARIES,
            u32::from(promote).to_ne_bytes().to_vec(),
        );
        let conf = DefaultNla::new(IFLA_INET_CONF | NLA_F_NESTED, bytes_of(&value));
        let inet = DefaultNla::new(AF_INET | NLA_F_NESTED, bytes_of(&conf));
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = vec![LinkAttribute::Other(DefaultNla::new(
            IFLA_AF_SPEC | NLA_F_NESTED,
            bytes_of(&inet),
        ))];
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Sets a device administratively up or down.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    pub fn set_link_up(&self, dev: &IfName, up: bool) -> Result<Outcome, HostError> {
        let link = self.link(dev)?;
        if link.up == up {
            return Ok(Outcome::Unchanged);
        }
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up {
            LinkFlags::Up
        } else {
            LinkFlags::empty()
        };
        let word = if up { "up" } else { "down" };
        self.change(RouteNetlinkMessage::SetLink(message), 0)
            .map_err(|refusal| refusal.while_doing(format_args!("setting {dev} {word}")))?;
        Ok(Outcome::Changed)
    }

    /// Sets a device's hardware address.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words; some drivers want the device down (`EBUSY`).
    pub fn set_link_mac(&self, dev: &IfName, mac: MacAddr) -> Result<Outcome, HostError> {
        let link = self.link(dev)?;
        if link.mac == mac {
            return Ok(Outcome::Unchanged);
        }
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        message.attributes = vec![LinkAttribute::Address(mac.0.to_vec())];
        self.change(RouteNetlinkMessage::SetLink(message), 0)
            .map_err(|refusal| {
                refusal.while_doing(format_args!("giving {dev} the hardware address {mac}"))
            })?;
        Ok(Outcome::Changed)
    }
}

/// The attribute that asks for a device by its name. Up to 15 bytes the kernel finds alternative
/// names by that of its own name, too.
fn called(dev: &IfName) -> LinkAttribute {
    if dev.is_alternative() {
        let text = [dev.as_str().as_bytes(), b"\0"].concat();
        return LinkAttribute::Other(DefaultNla::new(IFLA_ALT_IFNAME, text));
    }
    LinkAttribute::IfName(dev.to_string())
}

fn bytes_of(attribute: &DefaultNla) -> Vec<u8> {
    let mut bytes = vec![0; attribute.buffer_len()];
    attribute.emit(&mut bytes);
    bytes
}

fn inet_settings(message: &LinkMessage) -> impl Iterator<Item = &AfSpecUnspec> {
    message
        .attributes
        .iter()
        .flat_map(|attribute| match attribute {
            LinkAttribute::AfSpecUnspec(families) => families.as_slice(),
            _ => &[],
        })
}

/// As the kernel looks at it for the router flag of its own neighbour advertisements.
fn forwards_ipv6(message: &LinkMessage) -> bool {
    let forwards = |setting: &AfSpecInet6| matches!(setting, AfSpecInet6::DevConf(conf) if conf.forwarding != 0);
    inet_settings(message)
        .any(|of| matches!(of, AfSpecUnspec::Inet6(settings) if settings.iter().any(forwards)))
}

fn as_link(message: &RouteNetlinkMessage) -> Option<Link> {
    match message {
        RouteNetlinkMessage::NewLink(message) => link_of(message),
        _ => None,
    }
}

/// `None` if it is another property, or no name that we can handle.
fn altname(property: &Prop) -> Option<IfName> {
    if let Prop::AltIfName(name) = property {
        IfName::new(name).ok()
    } else {
        None
    }
}

/// `None` without a name that we can handle.
pub(super) fn link_of(message: &LinkMessage) -> Option<Link> {
    let (mut name, mut altnames, mut mac, mut mtu) = (None, Vec::new(), MacAddr::default(), 0);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = IfName::new(value).ok(),
            LinkAttribute::Address(value) => mac = value.as_slice().try_into().map_or(mac, MacAddr),
            LinkAttribute::Mtu(value) => mtu = *value,
            LinkAttribute::PropList(properties) => {
                altnames.extend(properties.iter().filter_map(altname));
            }
            _ => {}
        }
    }
    let flags = message.header.flags;
    Some(Link {
        name: name?,
        altnames,
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        mac,
        mtu,
        ethernet: message.header.link_layer_type == LinkLayerType::Ether,
    })
}
