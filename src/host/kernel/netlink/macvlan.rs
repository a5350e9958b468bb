//! Macvlans: the devices that have virtual addresses under a virtual hardware address.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use nix::errno::Errno;

use super::link::{
    AF_INET, AF_INET6, IFLA_INET_CONF, NLA_F_NESTED, UP, called, conf_at, forwards_ipv6, inside,
};
use super::message::{
    DeviceMessage, IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_LINK, IFLA_LINKINFO, Message, attribute,
};
use super::{Netlink, Refusal, at, index_of};
use crate::effect::{ArpMode, Outcome, Value};
use crate::host::HostError;
use crate::host::services::files;
use crate::types::{IfName, MacAddr};

// Constants of the kernel, from linux/if_link.h and linux/ip.h.
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_MACVLAN_MODE: u16 = 1;
const MACVLAN_MODE_BRIDGE: u32 = 4;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const KIND: &[u8] = b"macvlan";
const FORWARDING: u16 = 1;
const RP_FILTER: u16 = 8;
const ARP_FILTER: u16 = 13;
const ARP_ANNOUNCE: u16 = 18;
const ARP_IGNORE: u16 = 19;
/// Replies leave by the parent, so what arrives here need not have its way back here.
const LOOSE: u32 = 2;

/// Settings of IPv4 on a device, by their numbers.
type Settings = [(u16, u32)];

impl Netlink {
    /// Creates a macvlan with this hardware address on `parent`, and sets it up. It is in mode
    /// `bridge`: in mode `private` it would take the frames that come from another host with the
    /// same hardware address away from its parent. It answers ARP for its own addresses alone, has
    /// none but those that are added to it, and forwards what its parent forwards.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason: `EEXIST` if there is a device of the name. A device that
    /// was created before another error is removed again: it would not be as it must be.
    pub fn add_macvlan(
        &self,
        dev: &IfName,
        parent: &IfName,
        mac: MacAddr,
        ipv6: bool,
    ) -> Result<Outcome, HostError> {
        let below = self.device(index_of(parent)?, parent)?;
        let mode = attribute(IFLA_MACVLAN_MODE, &MACVLAN_MODE_BRIDGE.to_ne_bytes());
        let info = [
            attribute(IFLA_INFO_KIND, KIND),
            attribute(IFLA_INFO_DATA | NLA_F_NESTED, &mode),
        ];
        let message = DeviceMessage {
            attributes: vec![
                (IFLA_LINK, below.index.to_ne_bytes().to_vec()),
                called(dev),
                (IFLA_ADDRESS, mac.0.to_vec()),
                (IFLA_LINKINFO | NLA_F_NESTED, info.concat()),
            ],
            ..DeviceMessage::default()
        };
        let creating = |refusal: Refusal| {
            refusal.while_doing(format_args!("creating the macvlan {dev} on {parent}"))
        };
        self.change(&Message::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(creating)?;
        let prepared = self.prepare_macvlan(dev, &below, ipv6);
        if prepared.is_err() {
            _ = self.delete_macvlan(dev);
        }
        prepared?;
        Ok(Outcome::Changed)
    }

    /// Sets a new macvlan up as it must be.
    fn prepare_macvlan(
        &self,
        dev: &IfName,
        below: &DeviceMessage,
        ipv6: bool,
    ) -> Result<(), HostError> {
        let creating =
            |refusal: Refusal| refusal.while_doing(format_args!("setting up the macvlan {dev}"));
        let index = index_of(dev)?;
        let forwarding = conf_at(below, AF_INET, usize::from(FORWARDING) - 1);
        let settings = [
            (FORWARDING, forwarding),
            (RP_FILTER, LOOSE),
            (ARP_FILTER, 0),
            (ARP_ANNOUNCE, 2),
            (ARP_IGNORE, 1),
        ];
        self.set_inet(index, &settings).map_err(creating)?;
        self.set_no_addresses_of_its_own(index)
            .or_else(|refusal| match refusal.errno {
                // The kernel has no IPv6.
                Errno::EAFNOSUPPORT => Ok(()),
                _ => Err(refusal),
            })
            .map_err(creating)?;
        set_inet6(dev, ipv6, forwards_ipv6(below))?;
        let up = DeviceMessage {
            index,
            change: UP,
            flags: UP,
            ..DeviceMessage::default()
        };
        self.change(&Message::SetLink(up), 0).map_err(creating)
    }

    /// Removes a macvlan, with its addresses. The kernel takes some 20 ms for it. A device of
    /// another kind is left alone.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn delete_macvlan(&self, dev: &IfName) -> Result<Outcome, HostError> {
        let Some(message) = self.device_if_there(dev)? else {
            return Ok(Outcome::Unchanged);
        };
        if !is_macvlan(&message) {
            return Err(HostError::errno(
                format!("{dev} is not a macvlan"),
                Errno::EINVAL as i32,
            ));
        }
        let device = DeviceMessage {
            index: message.index,
            ..DeviceMessage::default()
        };
        match self.change(&Message::DelLink(device), 0) {
            Ok(()) => Ok(Outcome::Changed),
            Err(Refusal {
                errno: Errno::ENODEV,
                ..
            }) => Ok(Outcome::Unchanged),
            Err(refusal) => Err(refusal.while_doing(format_args!("removing the macvlan {dev}"))),
        }
    }

    /// What has this name: a macvlan, another device, or nothing.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn macvlan(&self, dev: &IfName) -> Result<Value, HostError> {
        let found = self.device_if_there(dev)?;
        Ok(found.map_or(Value::Absent, |message| {
            let mac = message
                .values(IFLA_ADDRESS)
                .find_map(|value| value.try_into().ok());
            let mac = mac.map_or_else(MacAddr::default, MacAddr);
            if is_macvlan(&message) {
                Value::Macvlan(mac)
            } else {
                Value::Mac(mac)
            }
        }))
    }

    /// How a device takes part in ARP.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason; `ENODEV` if there is none with this name.
    pub fn arp(&self, dev: &IfName) -> Result<ArpMode, HostError> {
        let message = self.device(index_of(dev)?, dev)?;
        let conf = |kind: u16| conf_at(&message, AF_INET, usize::from(kind) - 1);
        Ok(ArpMode {
            ignore: conf(ARP_IGNORE),
            announce: conf(ARP_ANNOUNCE),
        })
    }

    /// Sets how a device takes part in ARP. The same as sysctl `net.ipv4.conf.DEVICE.arp_ignore` and
    /// `arp_announce`, but without a file system.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason; `ENODEV` if there is none with this name.
    pub fn set_arp(&self, dev: &IfName, arp: ArpMode) -> Result<Outcome, HostError> {
        if self.arp(dev)? == arp {
            return Ok(Outcome::Unchanged);
        }
        let settings = [(ARP_IGNORE, arp.ignore), (ARP_ANNOUNCE, arp.announce)];
        self.set_inet(index_of(dev)?, &settings)
            .map_err(|refusal| refusal.while_doing(format_args!("setting {arp} for {dev}")))?;
        Ok(Outcome::Changed)
    }

    /// The kernel sends the settings as one array, but takes an attribute for each.
    pub(super) fn set_inet(&self, index: u32, settings: &Settings) -> Result<(), Refusal> {
        let each = |(kind, value): &(u16, u32)| attribute(*kind, &value.to_ne_bytes());
        let settings: Vec<u8> = settings.iter().flat_map(each).collect();
        let conf = attribute(IFLA_INET_CONF | NLA_F_NESTED, &settings);
        self.set_family(index, AF_INET, &conf)
    }

    fn set_no_addresses_of_its_own(&self, index: u32) -> Result<(), Refusal> {
        let mode = attribute(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
        self.set_family(index, AF_INET6, &mode)
    }

    fn set_family(&self, index: u32, family: u16, settings: &[u8]) -> Result<(), Refusal> {
        let of_family = attribute(family | NLA_F_NESTED, settings);
        let message = DeviceMessage {
            index,
            attributes: vec![(IFLA_AF_SPEC | NLA_F_NESTED, of_family)],
            ..DeviceMessage::default()
        };
        self.change(&Message::SetLink(message), 0)
    }

    fn device(&self, index: u32, dev: &IfName) -> Result<DeviceMessage, HostError> {
        let answers = self.ask_for(index);
        let answers =
            answers.map_err(|refusal| refusal.while_doing(format_args!("asking for {dev}")))?;
        answers.into_iter().next().ok_or_else(|| {
            HostError::new(format!("the kernel's answer about {dev} is not readable"))
        })
    }

    fn device_if_there(&self, dev: &IfName) -> Result<Option<DeviceMessage>, HostError> {
        let Some(index) = self.existing_index(dev)? else {
            return Ok(None);
        };
        match self.device(index, dev) {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.is(Errno::ENODEV as i32) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The parameters of IPv6 that cannot be set otherwise. Without IPv6 addresses the device needs no
/// IPv6, and with them none from routers: those would be the same on every master.
fn set_inet6(dev: &IfName, ipv6: bool, forwarding: bool) -> Result<(), HostError> {
    let name = dev.as_str().replace('.', "/");
    let set = |key: &str, on: bool| {
        let value = if on { "1" } else { "0" };
        match files::write_parameter(&format!("net.ipv6.conf.{name}.{key}"), value) {
            Err(error) if error.is(Errno::ENOENT as i32) => Ok(()),
            done => done.map(drop),
        }
    };
    if !ipv6 {
        return set("disable_ipv6", true);
    }
    set("disable_ipv6", false)?;
    set("accept_ra", false)?;
    set("autoconf", false)?;
    set("forwarding", forwarding)
}

fn is_macvlan(message: &DeviceMessage) -> bool {
    let mut kinds = message
        .values(IFLA_LINKINFO)
        .flat_map(|info| inside(info, IFLA_INFO_KIND));
    kinds.any(|kind| kind.strip_suffix(b"\0").unwrap_or(kind) == KIND)
}

/// The device below a macvlan.
pub(super) fn parent_of(message: &DeviceMessage) -> Option<u32> {
    let below = message.values(IFLA_LINK).find_map(|value| at(value, 0));
    below
        .map(u32::from_ne_bytes)
        .filter(|_| is_macvlan(message))
}
