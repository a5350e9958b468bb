//! What an effect sets, and to what: the ground on which every undo stands.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{ArpMode, Effect, FoundFile, FoundRoute, Route, RouteTarget, Rule, ServiceVerb};
use crate::types::{Family, IfName, MacAddr, VirtualAddress};

/// One thing on the host that has one value at a time.
#[expect(missing_docs, reason = "the fields' names and types say it all")]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Resource {
    /// An address on a device.
    Address { dev: IfName, ip: IpAddr },
    /// The route to a destination, by table and metric: the kernel keeps one for each.
    Route {
        family: Family,
        dst: RouteTarget,
        table: u32,
        metric: Option<u32>,
    },
    /// A policy rule.
    Rule(Rule),
    /// Whether a device is administratively up.
    LinkUp { dev: IfName },
    /// A device's hardware address.
    LinkMac { dev: IfName },
    /// The kernel's host name.
    Hostname,
    /// Whether a service runs.
    Service { unit: String },
    /// A kernel parameter.
    Sysctl { key: String },
    /// A file's content.
    File { path: String },
    /// A macvlan of this name.
    Macvlan { dev: IfName },
    /// How a device takes part in ARP.
    LinkArp { dev: IfName },
}

/// The value of a [`Resource`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// It does not exist.
    Absent,
    /// Of [`Resource::Address`]: with its prefix.
    Address(VirtualAddress),
    /// Of [`Resource::Route`].
    Route(Route),
    /// Of [`Resource::Rule`]: it exists.
    Rule,
    /// Of [`Resource::LinkUp`].
    Up(bool),
    /// Of [`Resource::LinkMac`].
    Mac(MacAddr),
    /// Of [`Resource::Hostname`] and [`Resource::Sysctl`].
    Text(String),
    /// Of [`Resource::Service`].
    Running(bool),
    /// Of [`Resource::File`].
    File(Vec<u8>),
    /// Of [`Resource::Route`]: one that was there, whoever made it.
    FoundRoute(FoundRoute),
    /// Of [`Resource::File`]: one that was there, with its owner, mode, times and attributes.
    FoundFile(FoundFile),
    /// Of [`Resource::Macvlan`]: one with this hardware address. Another device of the name is a
    /// [`Value::Mac`].
    Macvlan(MacAddr),
    /// Of [`Resource::LinkArp`].
    Arp(ArpMode),
}

impl Resource {
    /// The resource that a route takes.
    #[must_use]
    pub fn route(route: &Route) -> Self {
        let dst = match route.dst {
            // `::/0` and an IPv6 `default` are one route.
            RouteTarget::Network { prefix: 0, .. } => RouteTarget::Default,
            dst @ (RouteTarget::Default | RouteTarget::Network { .. }) => dst,
        };
        Self::Route {
            family: route.family(),
            dst,
            table: route.table_id(),
            metric: plain_metric(route.metric, route.family()),
        }
    }

    /// Whether it disappears by itself together with the network namespace or the device.
    #[must_use]
    pub const fn survives_reboot(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// The effect that assigns `value`; `None` where that makes no sense (an absent host name).
    #[must_use]
    pub fn set_to(&self, value: &Value) -> Option<Effect> {
        Some(match (self, value) {
            (Self::Address { dev, .. }, Value::Address(address)) => Effect::AddressAdd {
                address: *address,
                dev: dev.clone(),
            },
            (Self::Address { dev, ip }, Value::Absent) => Effect::AddressDelete {
                address: VirtualAddress {
                    ip: *ip,
                    prefix: Family::of(*ip).host_prefix(),
                },
                dev: dev.clone(),
            },
            (Self::Route { .. }, Value::Route(route)) => Effect::RouteReplace(route.clone()),
            (Self::Route { .. }, Value::FoundRoute(found)) => Effect::RouteRestore(found.clone()),
            (
                Self::Route {
                    family,
                    dst,
                    table,
                    metric,
                },
                Value::Absent,
            ) => Effect::RouteDelete(Route {
                dst: explicit(*dst, *family),
                via: None,
                dev: None,
                src: None,
                metric: *metric,
                table: Some(*table),
            }),
            (Self::Rule(rule), Value::Rule) => Effect::RuleReplace(rule.clone()),
            (Self::Rule(rule), Value::Absent) => Effect::RuleDelete(rule.clone()),
            (Self::LinkUp { dev }, Value::Up(up)) => Effect::LinkSetUp {
                dev: dev.clone(),
                up: *up,
            },
            (Self::LinkMac { dev }, Value::Mac(mac)) => Effect::LinkSetMac {
                dev: dev.clone(),
                mac: *mac,
            },
            (Self::Macvlan { dev }, Value::Absent) => Effect::MacvlanDelete { dev: dev.clone() },
            (Self::LinkArp { dev }, Value::Arp(arp)) => Effect::LinkSetArp {
                dev: dev.clone(),
                arp: *arp,
            },
            (Self::Hostname, Value::Text(name)) => Effect::HostnameSet { name: name.clone() },
            (Self::Service { unit }, Value::Running(running)) => Effect::Service {
                unit: unit.clone(),
                verb: if *running {
                    ServiceVerb::Start
                } else {
                    ServiceVerb::Stop
                },
            },
            (Self::Sysctl { key }, Value::Text(value)) => Effect::SysctlSet {
                key: key.clone(),
                value: value.clone(),
            },
            (Self::File { path }, Value::File(content)) => Effect::FileWrite {
                path: path.clone(),
                content: content.clone(),
            },
            (Self::File { path }, Value::FoundFile(found)) => Effect::FileRestore {
                path: path.clone(),
                found: found.clone(),
            },
            (Self::File { path }, Value::Absent) => Effect::FileRemove { path: path.clone() },
            _ => return None,
        })
    }
}

/// The metric that the kernel gives an IPv6 route without one.
const DEFAULT_METRIC_V6: u32 = 1024;

/// The metric as it tells routes apart: one that the kernel would give it anyway is none.
#[must_use]
pub const fn plain_metric(metric: Option<u32>, family: Family) -> Option<u32> {
    match (metric, family) {
        (Some(0), _) | (Some(DEFAULT_METRIC_V6), Family::V6) => None,
        (metric, _) => metric,
    }
}

/// `default` says IPv4 when no gateway is beside it; for IPv6 the network has to be written out.
fn explicit(dst: RouteTarget, family: Family) -> RouteTarget {
    match (dst, family) {
        (RouteTarget::Default, Family::V6) => RouteTarget::Network {
            ip: IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
            prefix: 0,
        },
        (dst, _) => dst,
    }
}

impl Value {
    /// The route that it is, as far as words tell it.
    #[must_use]
    pub const fn route(&self) -> Option<&Route> {
        match self {
            Self::Route(route) | Self::FoundRoute(FoundRoute { route, .. }) => Some(route),
            Self::Absent
            | Self::Address(_)
            | Self::Rule
            | Self::Up(_)
            | Self::Mac(_)
            | Self::Text(_)
            | Self::Running(_)
            | Self::File(_)
            | Self::FoundFile(_)
            | Self::Macvlan(_)
            | Self::Arp(_) => None,
        }
    }

    /// The bytes of the file that it is.
    #[must_use]
    pub fn content(&self) -> Option<&[u8]> {
        match self {
            Self::File(content) | Self::FoundFile(FoundFile { content, .. }) => Some(content),
            Self::Absent
            | Self::Address(_)
            | Self::Route(_)
            | Self::FoundRoute(_)
            | Self::Rule
            | Self::Up(_)
            | Self::Mac(_)
            | Self::Text(_)
            | Self::Running(_)
            | Self::Macvlan(_)
            | Self::Arp(_) => None,
        }
    }

    /// Is `observed` what assigning `self` looks like afterwards? The kernel fills in what a route
    /// left open, and an address is the same whatever its prefix.
    #[must_use]
    pub fn looks_like(&self, observed: &Self) -> bool {
        match (self, observed) {
            (Self::Address(a), Self::Address(b)) => a.ip == b.ip,
            (Self::FoundRoute(before), Self::FoundRoute(there)) => before.is_same(there),
            (Self::FoundFile(before), Self::FoundFile(there)) => before.is_same(there),
            (Self::File(ours), Self::FoundFile(there)) => *ours == there.content,
            (
                Self::Route(_),
                Self::FoundRoute(FoundRoute {
                    multipath: true, ..
                }),
            ) => false,
            (
                Self::Route(ours),
                Self::Route(there) | Self::FoundRoute(FoundRoute { route: there, .. }),
            ) => {
                ours.dst == there.dst
                    && (ours.via.is_none() || ours.via == there.via)
                    && (ours.dev.is_none() || ours.dev == there.dev)
                    && (ours.src.is_none() || ours.src == there.src)
            }
            (a, b) => a == b,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { dev, ip } => write!(f, "address {ip} on {dev}"),
            Self::Route {
                dst, table: 254, ..
            } => write!(f, "route to {dst}"),
            Self::Route { dst, table, .. } => write!(f, "route to {dst} in table {table}"),
            Self::Rule(rule) => write!(f, "rule {rule}"),
            Self::LinkUp { dev } => write!(f, "state of {dev}"),
            Self::LinkMac { dev } => write!(f, "hardware address of {dev}"),
            Self::Hostname => f.write_str("hostname"),
            Self::Service { unit } => write!(f, "service {unit}"),
            Self::Sysctl { key } => write!(f, "sysctl {key}"),
            Self::File { path } => write!(f, "file {path}"),
            Self::Macvlan { dev } => write!(f, "macvlan {dev}"),
            Self::LinkArp { dev } => write!(f, "ARP on {dev}"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Address(address) => address.fmt(f),
            Self::Route(route) => route.fmt(f),
            Self::FoundRoute(found) => found.fmt(f),
            Self::Rule => f.write_str("present"),
            Self::Up(true) => f.write_str("up"),
            Self::Up(false) => f.write_str("down"),
            Self::Mac(mac) | Self::Macvlan(mac) => mac.fmt(f),
            Self::Arp(arp) => arp.fmt(f),
            Self::Text(text) => f.write_str(text),
            Self::Running(true) => f.write_str("running"),
            Self::Running(false) => f.write_str("stopped"),
            Self::File(content) | Self::FoundFile(FoundFile { content, .. }) => {
                write!(f, "{} bytes", content.len())
            }
        }
    }
}
