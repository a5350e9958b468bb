//! Addresses of interfaces.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
    AddressScope, CacheInfo,
};
use nix::errno::Errno;

use super::message::Message;
use super::{Netlink, RawPart, Reader, Refusal, address_family};
use crate::effect::Outcome;
use crate::host::{HostError, Lifetimes, Renewal};
use crate::types::{Family, IfName, PreferredLifetime, VirtualAddress};

/// The mark (`IFA_PROTO`, and the protocol of routes) of what carpd added: CARP's own protocol
/// number.
pub const PROTOCOL: u8 = 112;

/// Length of the kernel's header of an address.
const ADDRESS_HEADER: usize = 8;
/// Infinite, as a lifetime in seconds.
const FOR_EVER: u32 = u32::MAX;

/// What [`Netlink::move_last`] says for each address.
const MESSAGES_OF_A_MOVE: usize = 4;
/// The other end of an address that is being moved; nothing is ever sent there.
const OTHER_END: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How an address is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddressOptions {
    /// The kernel removes it by itself after this time, in whole seconds, at least one; never, if
    /// not given.
    pub lifetime: Option<Duration>,
    /// Without the connected route for its prefix.
    pub no_prefix_route: bool,
    /// Over IPv6, it is not used as a source of connections while the host has another address.
    /// IPv4 has no such setting.
    pub deprecated: bool,
}

impl AddressOptions {
    /// For a virtual host's own addresses.
    #[must_use]
    pub const fn leased(lifetimes: Lifetimes) -> Self {
        Self {
            lifetime: lifetimes.valid,
            no_prefix_route: false,
            deprecated: matches!(lifetimes.preferred, PreferredLifetime::Zero),
        }
    }
}

/// An address found on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresentAddress {
    /// The interface's index.
    pub index: u32,
    /// With its prefix.
    pub address: VirtualAddress,
    /// Marked as added by carpd.
    pub ours: bool,
    /// Permanent: it has no lifetime.
    pub permanent: bool,
}

impl Netlink {
    /// Adds an address to an interface, so that it is there once, with this prefix. For IPv6,
    /// without waiting for duplicate address detection.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn add_address(
        &self,
        address: VirtualAddress,
        dev: &IfName,
        options: AddressOptions,
    ) -> Result<Outcome, HostError> {
        let index = super::index_of(dev)?;
        let failed =
            |refusal: Refusal| refusal.while_doing(format_args!("adding {address} to {dev}"));
        let message = addition(address, index, options);
        match self.change(&message, NLM_F_CREATE | NLM_F_EXCL) {
            Ok(()) => {
                // IPv4 allows the same address with several prefixes.
                self.remove_other_prefixes(address, index).map_err(failed)?;
                Ok(Outcome::Changed)
            }
            Err(Refusal {
                errno: Errno::EEXIST,
                ..
            }) => {
                // IPv6 keeps the old prefix when an address is replaced.
                let changed = self.remove_other_prefixes(address, index).map_err(failed)?;
                self.change(&message, NLM_F_CREATE | NLM_F_REPLACE)
                    .map_err(failed)?;
                Ok(if changed {
                    Outcome::Changed
                } else {
                    Outcome::Unchanged
                })
            }
            Err(refusal) => Err(failed(refusal)),
        }
    }

    /// Gives addresses that are up another lifetime, many of them in one exchange. An address that
    /// is no longer up is added again. Returns what was refused, with its position in the list.
    #[must_use]
    pub fn renew(&self, renewals: &[Renewal]) -> Vec<(usize, HostError)> {
        let message = |renewal: &Renewal| {
            addition(
                renewal.address,
                renewal.link,
                AddressOptions::leased(renewal.lifetimes),
            )
        };
        let refused = self.change_all(
            renewals.iter().map(message).collect(),
            NLM_F_CREATE | NLM_F_REPLACE,
        );
        refused
            .into_iter()
            .map(|(at, refusal)| (at, refusal.while_doing("renewing the lease of an address")))
            .collect()
    }

    /// Moves IPv4 host addresses behind the other addresses of their interface, many of them in one
    /// exchange, with new lifetimes. Returns what was refused, with its position in the list.
    ///
    /// Each stands there a second time meanwhile, as one end of a point-to-point link, so that what
    /// depends on it (sockets, routes) loses nothing.
    #[must_use]
    pub fn move_last(&self, moves: &[Renewal]) -> Vec<(usize, HostError)> {
        let mut messages = Vec::with_capacity(moves.len() * MESSAGES_OF_A_MOVE);
        for moved in moves {
            let (address, options) = (moved.address, AddressOptions::leased(moved.lifetimes));
            let meanwhile = AddressOptions {
                no_prefix_route: true,
                ..options
            };
            messages.extend([
                Message::NewAddress(addition_message(address, OTHER_END, moved.link, meanwhile)),
                Message::DelAddress(removal(address, address.ip, moved.link)),
                addition(address, moved.link, options),
                Message::DelAddress(removal(address, OTHER_END, moved.link)),
            ]);
        }
        let refused = self.change_all(messages, NLM_F_CREATE | NLM_F_REPLACE);
        let mut refused: Vec<_> = refused
            .into_iter()
            .map(|(at, refusal)| {
                let refusal = refusal.while_doing("moving an address behind the others");
                (at / MESSAGES_OF_A_MOVE, refusal)
            })
            .collect();
        refused.dedup_by_key(|(at, _)| *at);
        refused
    }

    /// Removes an address from an interface, whatever its prefix there. If it is absent, or the
    /// interface is gone, this is [`Outcome::Unchanged`].
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn delete_address(
        &self,
        address: VirtualAddress,
        dev: &IfName,
    ) -> Result<Outcome, HostError> {
        let Some(index) = self.existing_index(dev)? else {
            return Ok(Outcome::Unchanged);
        };
        let failed = |refusal: Refusal| {
            refusal.while_doing(format_args!("deleting {} from {dev}", address.ip))
        };
        let changed = match address.ip {
            IpAddr::V4(ip) => self.remove_v4(ip, index),
            // The usual case takes one exchange: the address has the prefix that we know, and no
            // other.
            IpAddr::V6(_) => match self.remove(address, index) {
                Ok(false) => self.remove_prefixes(address.ip, index, |_| true),
                done => done,
            },
        };
        Ok(if changed.map_err(failed)? {
            Outcome::Changed
        } else {
            Outcome::Unchanged
        })
    }

    /// Removes an IPv4 address with every prefix that it has. First as a host address, the usual
    /// case: nothing depends on that, so the interface does not have to be told to keep the other
    /// addresses, of which everyone who watches its link would be notified.
    fn remove_v4(&self, ip: Ipv4Addr, index: u32) -> Result<bool, Refusal> {
        let host = VirtualAddress {
            ip: ip.into(),
            prefix: Family::V4.host_prefix(),
        };
        let removed = self.remove_alone(host, index)?;
        match self.pick_addresses(Family::V4, index, |part| is_of(part, host.ip)) {
            Ok(left) if left.is_empty() => return Ok(removed),
            // It is gone. If a second one cannot be searched for, that must not keep a successor
            // waiting.
            Err(_) if removed => return Ok(true),
            Ok(_) | Err(_) => {}
        }
        self.alone(index, || self.remove_v4_prefixes(ip, index))
            .map(|more| removed || more)
    }

    /// The kernel removes the first one, whatever its prefix, until there is none left.
    fn remove_v4_prefixes(&self, ip: Ipv4Addr, index: u32) -> Result<bool, Refusal> {
        let mut message = AddressMessage::default();
        message.header.family = address_family(Family::V4);
        message.header.index = index;
        message.attributes = vec![AddressAttribute::Local(IpAddr::V4(ip))];
        let mut changed = false;
        for _ in 0..=Family::V4.host_prefix() {
            if !self.removed(message.clone())? {
                break;
            }
            changed = true;
        }
        Ok(changed)
    }

    /// All addresses of an interface that a host can hold.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn addresses(&self, index: u32) -> Result<Vec<PresentAddress>, HostError> {
        let mut found = Vec::new();
        for family in Family::ALL {
            let of_family = self.pick_addresses(family, index, |_| true);
            found
                .extend(of_family.map_err(|refusal| refusal.while_doing("listing the addresses"))?);
        }
        Ok(found)
    }

    /// The address with its prefix, if the interface has it.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn address(&self, ip: IpAddr, index: u32) -> Result<Option<PresentAddress>, HostError> {
        let found = self.pick_addresses(Family::of(ip), index, |part| is_of(part, ip));
        let found = found.map_err(|refusal| refusal.while_doing("listing the addresses"))?;
        Ok(found.into_iter().next())
    }

    /// The addresses of an interface that `wanted` selects.
    fn pick_addresses(
        &self,
        family: Family,
        index: u32,
        wanted: impl Fn(&RawPart<'_>) -> bool,
    ) -> Result<Vec<PresentAddress>, Refusal> {
        let pick = |part: &RawPart<'_>| {
            if wanted(part) {
                read(part).filter(|a| a.index == index)
            } else {
                None
            }
        };
        match self.pick(&list(family, index), None, pick) {
            // The interface is gone, or does not have this address family.
            Err(Refusal {
                errno: Errno::ENODEV,
                ..
            }) => Ok(Vec::new()),
            other => other,
        }
    }

    fn remove_other_prefixes(&self, keep: VirtualAddress, index: u32) -> Result<bool, Refusal> {
        self.remove_prefixes(keep.ip, index, |prefix| prefix != keep.prefix)
    }

    fn remove_prefixes(
        &self,
        ip: IpAddr,
        index: u32,
        which: impl Fn(u8) -> bool,
    ) -> Result<bool, Refusal> {
        let mut changed = false;
        for found in self.pick_addresses(Family::of(ip), index, |part| is_of(part, ip))? {
            if which(found.address.prefix) {
                changed |= self.remove(found.address, index)?;
            }
        }
        Ok(changed)
    }

    /// Removes an address and nothing else: the kernel would remove the later addresses of an IPv4
    /// network together with the first, and the routes that depend on them.
    fn alone(
        &self,
        index: u32,
        remove: impl FnOnce() -> Result<bool, Refusal>,
    ) -> Result<bool, Refusal> {
        match self.promotes_secondaries(index) {
            Ok(true) => return remove(),
            Ok(false) => {}
            // It is gone with its interface.
            Err(Refusal {
                errno: Errno::ENODEV,
                ..
            }) => return Ok(false),
            Err(refusal) => return Err(refusal),
        }
        self.promote_secondaries(index, true)?;
        let removed = remove();
        self.promote_secondaries(index, false)?;
        removed
    }

    /// Removes exactly this address with this prefix; returns whether it was there.
    fn remove(&self, address: VirtualAddress, index: u32) -> Result<bool, Refusal> {
        let leaves_others =
            address.family() == Family::V6 || address.prefix == Family::V4.host_prefix();
        let remove = || self.remove_alone(address, index);
        if leaves_others {
            remove()
        } else {
            self.alone(index, remove)
        }
    }

    fn remove_alone(&self, address: VirtualAddress, index: u32) -> Result<bool, Refusal> {
        self.removed(removal(address, address.ip, index))
    }

    fn removed(&self, message: AddressMessage) -> Result<bool, Refusal> {
        match self.change(&Message::DelAddress(message), 0) {
            Ok(()) => Ok(true),
            // ENXIO: the interface no longer has IPv6, and therefore no such address.
            Err(Refusal {
                errno: Errno::EADDRNOTAVAIL | Errno::ENODEV | Errno::ENXIO,
                ..
            }) => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }
}

impl Reader {
    /// The addresses of all interfaces.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason; `EMSGSIZE` if there are too many.
    pub fn addresses(&self) -> Result<Vec<PresentAddress>, HostError> {
        let mut found = Vec::new();
        for family in Family::ALL {
            let of_family = self.pick(&list(family, 0), read);
            found
                .extend(of_family.map_err(|refusal| refusal.while_doing("listing the addresses"))?);
        }
        Ok(found)
    }
}

/// The query for the addresses of one interface, or of all with 0.
fn list(family: Family, index: u32) -> Message {
    let mut query = AddressMessage::default();
    query.header.family = address_family(family);
    query.header.index = index;
    Message::GetAddress(query)
}

fn read(part: &RawPart<'_>) -> Option<PresentAddress> {
    match part.message()? {
        Message::NewAddress(message) => present(&message),
        _ => None,
    }
}

/// Is the message about this address? On an interface with thousands, most need not be decoded
/// completely.
fn is_of(part: &RawPart<'_>, ip: IpAddr) -> bool {
    let attribute = |kind| part.attribute(ADDRESS_HEADER, kind);
    let there = attribute(libc::IFA_LOCAL).or_else(|| attribute(libc::IFA_ADDRESS));
    match ip {
        IpAddr::V4(ip) => there == Some(&ip.octets()),
        IpAddr::V6(ip) => there == Some(&ip.octets()),
    }
}

/// Of exactly this address, prefix and other end; an ordinary address is its own other end.
fn removal(address: VirtualAddress, other_end: IpAddr, index: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = address_family(address.family());
    message.header.prefix_len = address.prefix;
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(address.ip),
        AddressAttribute::Address(other_end),
    ];
    message
}

fn addition(address: VirtualAddress, index: u32, options: AddressOptions) -> Message {
    Message::NewAddress(addition_message(address, address.ip, index, options))
}

fn addition_message(
    address: VirtualAddress,
    other_end: IpAddr,
    index: u32,
    options: AddressOptions,
) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = address_family(address.family());
    message.header.prefix_len = address.prefix;
    message.header.index = index;
    message.header.scope = AddressScope::Universe;
    message.header.flags = AddressHeaderFlags::empty();
    let mut flags = AddressFlags::empty();
    if address.family() == Family::V6 {
        // Detection would take a second during which no node answers; mastership decides who has
        // the address.
        flags |= AddressFlags::Nodad;
    }
    if options.no_prefix_route {
        flags |= AddressFlags::Noprefixroute;
    }
    message.attributes = vec![
        AddressAttribute::Local(address.ip),
        AddressAttribute::Address(other_end),
        AddressAttribute::Flags(flags),
        AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)),
    ];
    let deprecated = options.deprecated && address.family() == Family::V6;
    if options.lifetime.is_some() || deprecated {
        let seconds =
            |lifetime: Duration| u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).max(1);
        let mut cache = CacheInfo::default();
        cache.ifa_valid = options.lifetime.map_or(FOR_EVER, seconds);
        cache.ifa_preferred = if deprecated { 0 } else { cache.ifa_valid };
        message.attributes.push(AddressAttribute::CacheInfo(cache));
    }
    message
}

/// `None` for an address that cannot be virtual, such as an anycast address.
pub(super) fn present(message: &AddressMessage) -> Option<PresentAddress> {
    let (mut local, mut address, mut ours) = (None, None, false);
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            // The header has room for the first eight flags.
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::Protocol(protocol) => ours = u8::from(*protocol) == PROTOCOL,
            _ => {}
        }
    }
    // On a point-to-point link, "address" is the other end.
    let address = VirtualAddress::new(local.or(address)?, message.header.prefix_len).ok()?;
    let permanent = flags.contains(AddressFlags::Permanent);
    Some(PresentAddress {
        index: message.header.index,
        address,
        ours,
        permanent,
    })
}
