//! Addresses of interfaces.

use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use nix::errno::Errno;

use super::{Netlink, Refusal, address_family};
use crate::effect::Outcome;
use crate::host::{HostError, Renewal};
use crate::types::{Family, IfName, VirtualAddress};

/// The mark (`IFA_PROTO`, and the protocol of routes) of what carpd put there: CARP's own number.
pub const PROTOCOL: u8 = 112;

/// How an address is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddressOptions {
    /// The kernel takes it away by itself after this time, in whole seconds, at least one; for ever if not given.
    pub lifetime: Option<Duration>,
    /// Without the connected route of its prefix.
    pub no_prefix_route: bool,
}

/// An address found on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresentAddress {
    /// The interface's index.
    pub index: u32,
    /// With its prefix.
    pub address: VirtualAddress,
    /// Marked as put there by carpd.
    pub ours: bool,
}

impl Netlink {
    /// Puts an address on an interface, so that it is there once, with this prefix. IPv6 without
    /// waiting for duplicate address detection.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    pub fn add_address(&self, address: VirtualAddress, dev: &IfName, options: AddressOptions) -> Result<Outcome, HostError> {
        let index = super::index_of(dev)?;
        let failed = |refusal: Refusal| refusal.while_doing(format_args!("adding {address} to {dev}"));
        let message = addition(address, index, options);
        match self.change(message.clone(), NLM_F_CREATE | NLM_F_EXCL) {
            Ok(()) => {
                // IPv4 takes the same address with several prefixes side by side.
                self.remove_other_prefixes(address, index).map_err(failed)?;
                Ok(Outcome::Changed)
            }
            Err(Refusal { errno: Errno::EEXIST, .. }) => {
                // IPv6 keeps the old prefix in a replacement.
                let changed = self.remove_other_prefixes(address, index).map_err(failed)?;
                self.change(message, NLM_F_CREATE | NLM_F_REPLACE).map_err(failed)?;
                Ok(if changed { Outcome::Changed } else { Outcome::Unchanged })
            }
            Err(refusal) => Err(failed(refusal)),
        }
    }

    /// Gives addresses that are up another lifetime, in one exchange for many. One that is not up any more comes back.
    /// What was refused, with its place in the list.
    #[must_use]
    pub fn renew(&self, renewals: &[Renewal]) -> Vec<(usize, HostError)> {
        let message = |renewal: &Renewal| {
            let options = AddressOptions { lifetime: renewal.lifetime, no_prefix_route: false };
            addition(renewal.address, renewal.link, options)
        };
        let refused = self.change_all(renewals.iter().map(message).collect(), NLM_F_CREATE | NLM_F_REPLACE);
        refused.into_iter().map(|(at, refusal)| (at, refusal.while_doing("renewing the lease of an address"))).collect()
    }

    /// Takes an address off an interface, whatever its prefix there. One that is absent, or whose
    /// interface is gone, is [`Outcome::Unchanged`].
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    pub fn delete_address(&self, address: VirtualAddress, dev: &IfName) -> Result<Outcome, HostError> {
        let Some(index) = super::link::existing_index(dev)? else { return Ok(Outcome::Unchanged) };
        let failed = |refusal: Refusal| refusal.while_doing(format_args!("deleting {} from {dev}", address.ip));
        // The usual case in one exchange: the prefix that we know.
        let first = self.remove(address, index).map_err(failed)?;
        let rest = if first && address.family() == Family::V6 {
            false
        } else {
            self.remove_prefixes(address.ip, index, |_| true).map_err(failed)?
        };
        Ok(if first || rest { Outcome::Changed } else { Outcome::Unchanged })
    }

    /// All addresses that a host can hold; of one interface, if its index is given.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    pub fn addresses(&self, index: Option<u32>) -> Result<Vec<PresentAddress>, HostError> {
        let mut found = Vec::new();
        for family in Family::ALL {
            found.extend(self.dump_addresses(family, index).map_err(|refusal| refusal.while_doing("listing the addresses"))?);
        }
        Ok(found)
    }

    /// The address with its prefix, if the interface has it.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    pub fn address(&self, ip: IpAddr, index: u32) -> Result<Option<PresentAddress>, HostError> {
        let found = self.dump_addresses(Family::of(ip), Some(index));
        let found = found.map_err(|refusal| refusal.while_doing("listing the addresses"))?;
        Ok(found.into_iter().find(|a| a.address.ip == ip))
    }

    fn dump_addresses(&self, family: Family, index: Option<u32>) -> Result<Vec<PresentAddress>, Refusal> {
        let mut query = AddressMessage::default();
        query.header.family = address_family(family);
        query.header.index = index.unwrap_or(0);
        let answers = match self.dump(&RouteNetlinkMessage::GetAddress(query)) {
            // The interface is gone, or has no such family.
            Err(Refusal { errno: Errno::ENODEV, .. }) if index.is_some() => Vec::new(),
            other => other?,
        };
        let parsed = answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => present(message),
            _ => None,
        });
        Ok(parsed.filter(|a| index.is_none_or(|index| a.index == index) && a.address.family() == family).collect())
    }

    fn remove_other_prefixes(&self, keep: VirtualAddress, index: u32) -> Result<bool, Refusal> {
        self.remove_prefixes(keep.ip, index, |prefix| prefix != keep.prefix)
    }

    fn remove_prefixes(&self, ip: IpAddr, index: u32, which: impl Fn(u8) -> bool) -> Result<bool, Refusal> {
        let mut changed = false;
        for found in self.dump_addresses(Family::of(ip), Some(index))? {
            if found.address.ip == ip && which(found.address.prefix) {
                changed |= self.remove(found.address, index)?;
            }
        }
        Ok(changed)
    }

    /// Removes exactly this address with this prefix; was it there?
    fn remove(&self, address: VirtualAddress, index: u32) -> Result<bool, Refusal> {
        let mut message = AddressMessage::default();
        message.header.family = address_family(address.family());
        message.header.prefix_len = address.prefix;
        message.header.index = index;
        message.attributes = vec![AddressAttribute::Local(address.ip), AddressAttribute::Address(address.ip)];
        match self.change(RouteNetlinkMessage::DelAddress(message), 0) {
            Ok(()) => Ok(true),
            Err(Refusal { errno: Errno::EADDRNOTAVAIL | Errno::ENODEV, .. }) => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }
}

fn addition(address: VirtualAddress, index: u32, options: AddressOptions) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = address_family(address.family());
    message.header.prefix_len = address.prefix;
    message.header.index = index;
    message.header.scope = AddressScope::Universe;
    message.header.flags = AddressHeaderFlags::empty();
    let mut flags = AddressFlags::empty();
    if address.family() == Family::V6 {
        // Detection would take a second during which nobody answers; mastership decides who has it.
        flags |= AddressFlags::Nodad;
    }
    if options.no_prefix_route {
        flags |= AddressFlags::Noprefixroute;
    }
    message.attributes = vec![
        AddressAttribute::Local(address.ip),
        AddressAttribute::Address(address.ip),
        AddressAttribute::Flags(flags),
        AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)),
    ];
    if let Some(lifetime) = options.lifetime {
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).max(1);
        let mut cache = CacheInfo::default();
        (cache.ifa_preferred, cache.ifa_valid) = (seconds, seconds);
        message.attributes.push(AddressAttribute::CacheInfo(cache));
    }
    RouteNetlinkMessage::NewAddress(message)
}

/// `None` for what no virtual address can be, as anycast.
pub(super) fn present(message: &AddressMessage) -> Option<PresentAddress> {
    let (mut local, mut address, mut ours) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Protocol(protocol) => ours = u8::from(*protocol) == PROTOCOL,
            _ => {}
        }
    }
    // On a point-to-point link, "address" is the other end.
    let address = VirtualAddress::new(local.or(address)?, message.header.prefix_len).ok()?;
    Some(PresentAddress { index: message.header.index, address, ours })
}
