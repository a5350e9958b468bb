//! The parts of effects that have several fields, and what queries answer with.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::types::{Family, IfName, ParseAddressError, VirtualAddress};

/// How a device takes part in ARP: the kernel's parameters of these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ArpMode {
    /// `arp_ignore`: for which addresses it answers; 0 is for all that the machine has.
    pub ignore: u32,
    /// `arp_announce`: which address it asks from; 0 is any that the machine has.
    pub announce: u32,
}

impl ArpMode {
    /// The same, but the device answers for its own addresses alone, and asks from them.
    #[must_use]
    pub const fn for_own_addresses(self) -> Self {
        let ignore = if self.ignore == 0 { 1 } else { self.ignore };
        Self {
            ignore,
            announce: 2,
        }
    }
}

impl fmt::Display for ArpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ignore, announce } = self;
        write!(f, "arp_ignore {ignore}, arp_announce {announce}")
    }
}

/// Where a route leads to: `default`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RouteTarget {
    /// Everything. The family is that of the route's gateway; IPv4 if it has none.
    Default,
    /// A network; host bits are zero.
    Network {
        /// Its first address.
        ip: IpAddr,
        /// Its prefix length.
        prefix: u8,
    },
}

impl FromStr for RouteTarget {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        if matches!(text, "default" | "0.0.0.0/0") {
            return Ok(Self::Default);
        }
        let (ip, prefix) = text
            .split_once('/')
            .map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
        let ip: IpAddr = ip
            .parse()
            .map_err(|_| ParseAddressError::Address(ip.to_owned()))?;
        let max = Family::of(ip).host_prefix();
        let bad = |given: &str| ParseAddressError::Prefix {
            given: given.to_owned(),
            max,
        };
        let prefix = match prefix {
            None => max,
            Some(given) => given
                .parse()
                .ok()
                .filter(|p| *p <= max)
                .ok_or_else(|| bad(given))?,
        };
        Ok(Self::Network {
            ip: mask(ip, prefix),
            prefix,
        })
    }
}

/// `ip` with its host bits cleared.
fn mask(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let bits = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((u32::from(ip) & bits).into())
        }
        IpAddr::V6(ip) => {
            let bits = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((u128::from(ip) & bits).into())
        }
    }
}

impl TryFrom<String> for RouteTarget {
    type Error = ParseAddressError;
    fn try_from(text: String) -> Result<Self, ParseAddressError> {
        text.parse()
    }
}

impl From<RouteTarget> for String {
    fn from(target: RouteTarget) -> Self {
        target.to_string()
    }
}

impl fmt::Display for RouteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Network { ip, prefix } => write!(f, "{ip}/{prefix}"),
        }
    }
}

impl RouteTarget {
    /// The network that an address lies in, by its prefix.
    #[must_use]
    pub fn network_of(address: VirtualAddress) -> Self {
        Self::Network {
            ip: mask(address.ip, address.prefix),
            prefix: address.prefix,
        }
    }

    /// Does the network hold this address (with all of its prefix)?
    #[must_use]
    pub fn contains(&self, address: VirtualAddress) -> bool {
        match *self {
            Self::Default => true,
            Self::Network { ip, prefix } => {
                Family::of(ip) == address.family()
                    && address.prefix >= prefix
                    && mask(address.ip, prefix) == ip
            }
        }
    }
}

/// Which addresses may be put up: an entry of `addr` in the grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AddressTarget {
    /// This one, with this prefix length or a longer one: a shorter one would lead a larger network
    /// to the device.
    One(VirtualAddress),
    /// Those of a network, with its prefix length or a longer one.
    Within(RouteTarget),
}

impl AddressTarget {
    /// May this address stand on a device, with the way to its network that comes with its prefix?
    #[must_use]
    pub fn takes(&self, address: VirtualAddress) -> bool {
        match self {
            Self::One(own) => own.ip == address.ip && address.prefix >= own.prefix,
            Self::Within(network) => network.contains(address),
        }
    }
}

impl FromStr for AddressTarget {
    type Err = ParseAddressError;

    /// `192.168.32.22` and `192.168.32.22/24` are one address, `192.168.32.0/24` is a network.
    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let network: RouteTarget = text.parse()?;
        match text.parse::<VirtualAddress>() {
            Ok(one)
                if one.prefix == one.family().host_prefix()
                    || mask(one.ip, one.prefix) != one.ip =>
            {
                Ok(Self::One(one))
            }
            Ok(_) | Err(_) => Ok(Self::Within(network)),
        }
    }
}

impl TryFrom<String> for AddressTarget {
    type Error = ParseAddressError;
    fn try_from(text: String) -> Result<Self, ParseAddressError> {
        text.parse()
    }
}

impl From<AddressTarget> for String {
    fn from(target: AddressTarget) -> Self {
        match target {
            AddressTarget::One(address) => address.into(),
            AddressTarget::Within(network) => network.into(),
        }
    }
}

/// A route, in the words of `ip route`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Where it leads to.
    pub dst: RouteTarget,
    /// The gateway.
    #[serde(default)]
    pub via: Option<IpAddr>,
    /// The device; found from the gateway if not given.
    #[serde(default)]
    pub dev: Option<IfName>,
    /// The preferred source address.
    #[serde(default)]
    pub src: Option<IpAddr>,
    /// Lower is preferred; the kernel's default if not given.
    #[serde(default)]
    pub metric: Option<u32>,
    /// The routing table; `main` (254) if not given.
    #[serde(default)]
    pub table: Option<u32>,
}

impl Route {
    /// IPv4 or IPv6, from the destination or, for `default`, from the gateway.
    #[must_use]
    pub fn family(&self) -> Family {
        match (self.dst, self.via, self.src) {
            (RouteTarget::Network { ip, .. }, _, _)
            | (RouteTarget::Default, Some(ip), _)
            | (_, None, Some(ip)) => Family::of(ip),
            (RouteTarget::Default, None, None) => Family::V4,
        }
    }

    /// The table's number: [`Self::table`] or `main`.
    #[must_use]
    pub fn table_id(&self) -> u32 {
        self.table.unwrap_or(254)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dst)?;
        let Self {
            dst: _,
            via,
            dev,
            src,
            metric,
            table,
        } = self;
        if let Some(via) = via {
            write!(f, " via {via}")?;
        }
        if let Some(dev) = dev {
            write!(f, " dev {dev}")?;
        }
        if let Some(src) = src {
            write!(f, " src {src}")?;
        }
        if let Some(metric) = metric {
            write!(f, " metric {metric}")?;
        }
        // The main table is the one that is meant where none is named.
        if let Some(table) = table.filter(|table| *table != 254) {
            write!(f, " table {table}")?;
        }
        Ok(())
    }
}

/// A route as it was found, with everything that the kernel reported: what is needed to restore it
/// exactly, including its protocol, scope, metrics and other attributes that [`Route`] does not
/// have.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FoundRoute {
    /// What words tell of it.
    pub route: Route,
    /// Who made it, by the numbers of `ip route`'s `proto`.
    pub protocol: u8,
    /// It has several next hops, of which [`Self::route`] tells nothing.
    pub multipath: bool,
    /// The kernel's own words, ready to be sent back to it. Only `host` reads them.
    pub form: Vec<u8>,
}

impl FoundRoute {
    /// Are both the same route, by the same hand? Where words do not tell it whole, only the
    /// kernel's own do.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let plain = !self.multipath && !other.multipath;
        self.form == other.form
            || (plain && self.protocol == other.protocol && self.route == other.route)
    }
}

impl fmt::Display for FoundRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.route.fmt(f)?;
        f.write_str(if self.multipath {
            " by several gateways"
        } else {
            ""
        })
    }
}

/// A file as it was found, with what it takes to put it back as it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FoundFile {
    /// Its bytes.
    pub content: Vec<u8>,
    /// Its permissions, with set-user-ID, set-group-ID and sticky.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When it was last changed: seconds since 1970, and nanoseconds.
    pub modified: (i64, i64),
    /// When it was last read.
    pub accessed: (i64, i64),
    /// Its extended attributes, access control lists among them: names and values.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl FoundFile {
    /// Are both the same file in the same state? Reading does not change it.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let Self {
            content,
            mode,
            uid,
            gid,
            modified,
            accessed: _,
            attributes,
        } = self;
        (mode, uid, gid, modified) == (&other.mode, &other.uid, &other.gid, &other.modified)
            && *attributes == other.attributes
            && *content == other.content
    }
}

/// A policy rule, in the words of `ip rule`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Source prefix.
    #[serde(default)]
    pub from: Option<RouteTarget>,
    /// Destination prefix.
    #[serde(default)]
    pub to: Option<RouteTarget>,
    /// Incoming device.
    #[serde(default)]
    pub iif: Option<IfName>,
    /// Firewall mark.
    #[serde(default)]
    pub fwmark: Option<u32>,
    /// Which table to look up.
    pub table: u32,
    /// Lower is asked first.
    pub priority: u32,
}

impl Rule {
    /// IPv4 unless a prefix says IPv6.
    #[must_use]
    pub fn family(&self) -> Family {
        match (self.from, self.to) {
            (Some(RouteTarget::Network { ip, .. }), _)
            | (_, Some(RouteTarget::Network { ip, .. })) => Family::of(ip),
            _ => Family::V4,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "priority {}", self.priority)?;
        if let Some(from) = &self.from {
            write!(f, " from {from}")?;
        }
        if let Some(to) = &self.to {
            write!(f, " to {to}")?;
        }
        if let Some(iif) = &self.iif {
            write!(f, " iif {iif}")?;
        }
        if let Some(mark) = self.fwmark {
            write!(f, " fwmark {mark}")?;
        }
        write!(f, " table {}", self.table)
    }
}

/// What may be done with a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceVerb {
    /// Start it and wait until it runs.
    Start,
    /// Stop it and wait until it is gone.
    Stop,
    /// Stop and start.
    Restart,
    /// Make it read its configuration again.
    Reload,
}

impl ServiceVerb {
    /// The word as in `service NAME VERB`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
        }
    }
}

/// What a service is doing, in systemd's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitState {
    /// Running.
    Active,
    /// Not running.
    Inactive,
    /// Starting.
    Activating,
    /// Stopping.
    Deactivating,
    /// Ended with an error.
    Failed,
    /// There is no such service, or its backend cannot tell.
    Unknown,
}

impl UnitState {
    /// The word that hooks see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Activating => "activating",
            Self::Deactivating => "deactivating",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandOutput {
    /// Exit status; 128 + n if ended by signal n.
    pub status: i32,
    /// At most 64 KiB.
    pub stdout: Vec<u8>,
    /// At most 64 KiB.
    pub stderr: Vec<u8>,
}
