//! Network devices.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use super::{Netlink, Reader, Refusal};
use crate::effect::{Link, Outcome};
use crate::host::HostError;
use crate::types::{IfName, MacAddr};

/// The kernel's number of an interface.
///
/// # Errors
/// [`HostError`] that names the interface if there is none of that name.
pub fn index_of(dev: &IfName) -> Result<u32, HostError> {
    existing_index(dev)?
        .ok_or_else(|| HostError { message: format!("there is no interface {dev}"), errno: Some(Errno::ENODEV as i32) })
}

/// The same, where its absence is an answer.
pub(super) fn existing_index(dev: &IfName) -> Result<Option<u32>, HostError> {
    match if_nametoindex(dev.as_str()) {
        Ok(index) => Ok(Some(index)),
        Err(Errno::ENODEV | Errno::ENXIO) => Ok(None),
        Err(errno) => Err(Refusal { errno, words: None }.while_doing(format_args!("looking up {dev}"))),
    }
}

impl Reader {
    /// All network devices.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words; `EMSGSIZE` if there are too many.
    pub fn links(&self) -> Result<Vec<Link>, HostError> {
        let links = self.pick(&RouteNetlinkMessage::GetLink(LinkMessage::default()), |part| as_link(&part.message()?));
        links.map_err(|refusal| refusal.while_doing("listing the interfaces"))
    }
}

impl Netlink {
    /// One network device.
    ///
    /// # Errors
    /// [`HostError`]; `ENODEV` if there is none of that name.
    pub fn link(&self, dev: &IfName) -> Result<Link, HostError> {
        let mut query = LinkMessage::default();
        query.header.index = index_of(dev)?;
        let answers = self.ask(RouteNetlinkMessage::GetLink(query), netlink_packet_core::NLM_F_ACK);
        let answers = answers.map_err(|refusal| refusal.while_doing(format_args!("asking for {dev}")))?;
        answers
            .iter()
            .find_map(as_link)
            .ok_or_else(|| HostError { message: format!("the kernel said nothing readable about {dev}"), errno: None })
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
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
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
            .map_err(|refusal| refusal.while_doing(format_args!("giving {dev} the hardware address {mac}")))?;
        Ok(Outcome::Changed)
    }
}

fn as_link(message: &RouteNetlinkMessage) -> Option<Link> {
    match message {
        RouteNetlinkMessage::NewLink(message) => link_of(message),
        _ => None,
    }
}

/// `None` without a name that we can handle.
pub(super) fn link_of(message: &LinkMessage) -> Option<Link> {
    let (mut name, mut mac, mut mtu) = (None, MacAddr::default(), 0);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = IfName::new(value).ok(),
            LinkAttribute::Address(value) => mac = value.as_slice().try_into().map_or(mac, MacAddr),
            LinkAttribute::Mtu(value) => mtu = *value,
            _ => {}
        }
    }
    let flags = message.header.flags;
    Some(Link {
        name: name?,
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        mac,
        mtu,
    })
}
