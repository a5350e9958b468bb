//! What can be done to the host: the full list, who may ask for it, and how it is undone. Pure.
//!
//! An effect that leaves something behind is an *assignment*: it sets one [`Resource`] to one
//! [`Value`]. Undoing it means assigning the value found before. So one rule for undoing applies to
//! every effect.

// A new effect, input or verdict must not compile until its consequences are written down.
#![warn(clippy::wildcard_enum_match_arm)]

mod grant;
mod link;
pub mod outgoing;
mod resource;
mod spec;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use grant::{
    AddrGrant, Capability, CarpVerb, CommandGrant, Denied, FileGrant, FileVerb, Granted, Grants,
    Hole, LinkGrant, LinkVerb, Own, RouteGrant, RuleGrant, ServiceGrant, SysctlGrant, toml_string,
};
pub use link::{Flaw, Link, Medium, Nature, PortOf, Reach};
pub use outgoing::{
    Endpoint, HttpGrant, HttpRequest, HttpResponse, HttpVerb, OutgoingRequest, Url,
};
pub use resource::{Resource, Value, plain_metric};
pub use spec::{
    AddressTarget, ArpMode, CommandOutput, FoundFile, FoundRoute, Route, RouteTarget, Rule,
    ServiceVerb, UnitState,
};

use crate::types::{IfName, MacAddr, State, VirtualAddress};

/// One change to the host, asked for by a hook or by the daemon itself. Each is idempotent.
#[expect(missing_docs, reason = "the fields' names and types say it all")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Put an address on a device.
    AddressAdd {
        address: VirtualAddress,
        dev: IfName,
    },
    /// Take an address off a device.
    AddressDelete {
        address: VirtualAddress,
        dev: IfName,
    },
    /// Tell the neighbours where an address lives: gratuitous ARP, or an unsolicited neighbour
    /// advertisement.
    Announce {
        address: VirtualAddress,
        dev: IfName,
        count: u8,
        interval_ms: u32,
    },
    /// Make this the route to its destination.
    RouteReplace(Route),
    /// The same, but never in place of a route that someone else created. Only for the daemon
    /// itself: no hook may ask for it.
    RouteAdd(Route),
    /// Put a route back as it was found. The daemon's own, for undoing: no hook may ask for it.
    RouteRestore(FoundRoute),
    /// Remove the route.
    RouteDelete(Route),
    /// Make sure that the policy rule exists.
    RuleReplace(Rule),
    /// Remove the policy rule.
    RuleDelete(Rule),
    /// Set a device administratively up or down.
    LinkSetUp { dev: IfName, up: bool },
    /// Set a device's hardware address.
    LinkSetMac { dev: IfName, mac: MacAddr },
    /// Set the kernel's host name; never writes `/etc/hostname`.
    HostnameSet { name: String },
    /// Act on a service.
    Service { unit: String, verb: ServiceVerb },
    /// Set a kernel parameter, named with dots as by sysctl(8).
    SysctlSet { key: String, value: String },
    /// Write a file, all or nothing.
    FileWrite { path: String, content: Vec<u8> },
    /// Put a file back as it was found. The daemon's own, for undoing: no hook may ask for it.
    FileRestore { path: String, found: FoundFile },
    /// Remove a file.
    FileRemove { path: String },
    /// Run a command line that the operator wrote out; the arguments fill its holes.
    CommandRun {
        name: String,
        args: BTreeMap<String, String>,
    },
    /// Send an HTTP request that may change something elsewhere: any but GET.
    HttpSend(HttpRequest),
    /// Raise the demotion of the hook's own virtual host, or end it with 0.
    Demote { by: u8, reason: String },
    /// Hand over to a peer now.
    Resign { reason: String },
    /// Create the macvlan that has a virtual host's addresses under its virtual hardware address.
    /// The daemon's own: no hook may ask for it.
    MacvlanAdd {
        dev: IfName,
        parent: IfName,
        mac: MacAddr,
        ipv6: bool,
    },
    /// Remove a macvlan, with all addresses on it. The daemon's own: no hook may ask for it.
    MacvlanDelete { dev: IfName },
    /// Set which addresses a device answers ARP for, and which it asks from. The daemon's own: no
    /// hook may ask for it.
    LinkSetArp { dev: IfName, arp: ArpMode },
}

/// One question about the host; changes nothing.
#[expect(missing_docs, reason = "the fields' names and types say it all")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// The kernel's host name.
    Hostname,
    /// What a service is doing.
    ServiceStatus { unit: String },
    /// A kernel parameter.
    Sysctl { key: String },
    /// The content of a file.
    FileRead { path: String },
    /// All network devices.
    Links,
    /// The addresses of a device, or of all.
    Addresses { dev: Option<IfName> },
    /// The routes of a table; the main one by default.
    Routes { table: Option<u32> },
    /// The state of the hook's own virtual host.
    CarpState,
    /// What an HTTP server has: GET.
    HttpGet(HttpRequest),
    /// Whether somebody takes TCP connections.
    TcpConnect { endpoint: Endpoint, timeout_ms: u32 },
}

/// What an effect did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The host is now as asked, and was not before.
    Changed,
    /// The host was so already.
    Unchanged,
    /// Only listed, in a plan.
    Planned,
}

impl Outcome {
    /// The word that hooks see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Planned => "planned",
        }
    }
}

/// What the host says to an effect or a query that worked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To an effect.
    Outcome(Outcome),
    /// To [`Effect::CommandRun`].
    Command(CommandOutput),
    /// To [`Query::Hostname`] and [`Query::Sysctl`].
    Text(String),
    /// To [`Query::FileRead`]; `None` if there is no such file.
    File(Option<Vec<u8>>),
    /// To [`Query::ServiceStatus`].
    Unit(UnitState),
    /// To [`Query::Links`].
    Links(Vec<Link>),
    /// To [`Query::Addresses`].
    Addresses(Vec<(IfName, VirtualAddress)>),
    /// To [`Query::Routes`].
    Routes(Vec<Route>),
    /// To [`Query::CarpState`].
    State(State),
    /// To [`Effect::HttpSend`] and [`Query::HttpGet`].
    Http(HttpResponse),
    /// To [`Query::TcpConnect`]: how long it took.
    Took(Duration),
}

impl Effect {
    /// The capability that this needs. There is no wildcard: a new effect must not compile until it
    /// is decided who may ask for it.
    #[must_use]
    pub const fn requires(&self) -> Capability {
        match self {
            Self::AddressAdd { .. } | Self::AddressDelete { .. } | Self::Announce { .. } => {
                Capability::Addr
            }
            Self::RouteReplace(_)
            | Self::RouteAdd(_)
            | Self::RouteRestore(_)
            | Self::RouteDelete(_) => Capability::Route,
            Self::RuleReplace(_) | Self::RuleDelete(_) => Capability::Rule,
            Self::LinkSetUp { .. }
            | Self::LinkSetMac { .. }
            | Self::MacvlanAdd { .. }
            | Self::MacvlanDelete { .. }
            | Self::LinkSetArp { .. } => Capability::Link,
            Self::HostnameSet { .. } => Capability::Hostname,
            Self::Service { .. } => Capability::Service,
            Self::SysctlSet { .. } => Capability::Sysctl,
            Self::FileWrite { .. } | Self::FileRestore { .. } | Self::FileRemove { .. } => {
                Capability::File
            }
            Self::CommandRun { .. } => Capability::Command,
            Self::HttpSend(_) => Capability::Http,
            Self::Demote { .. } | Self::Resign { .. } => Capability::Carp,
        }
    }

    /// What it sets to what; `None` for effects that leave nothing here to undo (announcements,
    /// commands, a reload, requests to other hosts, demotion, which is the daemon's own).
    #[must_use]
    pub fn assigns(&self) -> Option<(Resource, Value)> {
        Some(match self {
            Self::AddressAdd { address, dev } => (
                Resource::Address {
                    dev: dev.clone(),
                    ip: address.ip,
                },
                Value::Address(*address),
            ),
            Self::AddressDelete { address, dev } => (
                Resource::Address {
                    dev: dev.clone(),
                    ip: address.ip,
                },
                Value::Absent,
            ),
            Self::RouteReplace(route) | Self::RouteAdd(route) => {
                (Resource::route(route), Value::Route(route.clone()))
            }
            Self::RouteRestore(found) => (
                Resource::route(&found.route),
                Value::FoundRoute(found.clone()),
            ),
            Self::RouteDelete(route) => (Resource::route(route), Value::Absent),
            Self::RuleReplace(rule) => (Resource::Rule(rule.clone()), Value::Rule),
            Self::RuleDelete(rule) => (Resource::Rule(rule.clone()), Value::Absent),
            Self::LinkSetUp { dev, up } => (Resource::LinkUp { dev: dev.clone() }, Value::Up(*up)),
            Self::LinkSetMac { dev, mac } => {
                (Resource::LinkMac { dev: dev.clone() }, Value::Mac(*mac))
            }
            Self::MacvlanAdd { dev, mac, .. } => {
                (Resource::Macvlan { dev: dev.clone() }, Value::Macvlan(*mac))
            }
            Self::MacvlanDelete { dev } => (Resource::Macvlan { dev: dev.clone() }, Value::Absent),
            Self::LinkSetArp { dev, arp } => {
                (Resource::LinkArp { dev: dev.clone() }, Value::Arp(*arp))
            }
            Self::HostnameSet { name } => (Resource::Hostname, Value::Text(name.clone())),
            Self::Service { unit, verb } => {
                let running = match verb {
                    ServiceVerb::Start | ServiceVerb::Restart => true,
                    ServiceVerb::Stop => false,
                    ServiceVerb::Reload => return None,
                };
                (
                    Resource::Service {
                        unit: grant::plain_unit(unit).to_owned(),
                    },
                    Value::Running(running),
                )
            }
            Self::SysctlSet { key, value } => (
                Resource::Sysctl { key: key.clone() },
                Value::Text(value.clone()),
            ),
            Self::FileWrite { path, content } => (
                Resource::File { path: path.clone() },
                Value::File(content.clone()),
            ),
            Self::FileRestore { path, found } => (
                Resource::File { path: path.clone() },
                Value::FoundFile(found.clone()),
            ),
            Self::FileRemove { path } => (Resource::File { path: path.clone() }, Value::Absent),
            Self::Announce { .. }
            | Self::CommandRun { .. }
            | Self::HttpSend(_)
            | Self::Demote { .. }
            | Self::Resign { .. } => {
                return None;
            }
        })
    }
}

impl Query {
    /// The right that this needs.
    #[must_use]
    pub const fn requires(&self) -> Capability {
        match self {
            Self::Hostname => Capability::Hostname,
            Self::ServiceStatus { .. } => Capability::Service,
            Self::Sysctl { .. } => Capability::Sysctl,
            Self::FileRead { .. } => Capability::File,
            Self::Links | Self::Addresses { .. } | Self::Routes { .. } => Capability::Read,
            Self::CarpState => Capability::Carp,
            Self::HttpGet(_) => Capability::Http,
            Self::TcpConnect { .. } => Capability::Tcp,
        }
    }
}
