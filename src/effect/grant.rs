//! The one gate: what a hook may do. Grants are values that the operator wrote; the default is
//! nothing.

mod entry;
mod smallest;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

pub use entry::toml_string;
use serde::{Deserialize, Serialize};

use super::text::{grant_line, http_line};
use super::{
    AddressTarget, Effect, Endpoint, HttpGrant, Query, Route, RouteTarget, Rule, ServiceVerb,
};
use crate::types::{IfName, VirtualAddress};

/// A right, named as its key under `[hook.NAME.grant]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Addresses and their announcements.
    Addr,
    /// Routes.
    Route,
    /// Policy rules.
    Rule,
    /// Devices.
    Link,
    /// The host name.
    Hostname,
    /// Services.
    Service,
    /// Kernel parameters.
    Sysctl,
    /// Files.
    File,
    /// Command lines.
    Command,
    /// HTTP requests.
    Http,
    /// TCP connections.
    Tcp,
    /// Reading links, addresses and routes.
    Read,
    /// The hook's own virtual host.
    Carp,
}

impl Capability {
    /// The key in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Addr => "addr",
            Self::Route => "route",
            Self::Rule => "rule",
            Self::Link => "link",
            Self::Hostname => "hostname",
            Self::Service => "service",
            Self::Sysctl => "sysctl",
            Self::File => "file",
            Self::Command => "command",
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Read => "read",
            Self::Carp => "carp",
        }
    }
}

/// What one hook may do: the table `[hook.NAME.grant]`. Empty by default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Grants {
    /// Addresses beside the virtual host's own.
    pub addr: Vec<AddrGrant>,
    /// Routes, by destination and gateway.
    pub route: Vec<RouteGrant>,
    /// Policy rules, by table.
    pub rule: Vec<RuleGrant>,
    /// Devices that may be set up, down, or given a hardware address.
    pub link: Vec<LinkGrant>,
    /// Host names that may be set; any entry also allows reading.
    pub hostname: Vec<String>,
    /// Services and verbs.
    pub service: Vec<ServiceGrant>,
    /// Kernel parameters.
    pub sysctl: Vec<SysctlGrant>,
    /// Files.
    pub file: Vec<FileGrant>,
    /// Command lines by name.
    pub command: BTreeMap<String, CommandGrant>,
    /// Where HTTP requests may go.
    pub http: Vec<HttpGrant>,
    /// Where TCP connections may go.
    pub tcp: Vec<Endpoint>,
    /// Reading links, addresses and routes.
    pub read: bool,
    /// `"demote"`, `"resign"`: what the hook may do to its own virtual host. Its state it may
    /// always ask.
    pub carp: Vec<CarpVerb>,
}

/// One entry of `addr`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddrGrant {
    /// An address, or a network whose addresses are all allowed.
    pub cidr: AddressTarget,
    /// On this device only; on any if not given.
    #[serde(default)]
    pub dev: Option<IfName>,
}

/// One entry of `route`. What is not given is free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteGrant {
    /// The destination, exactly.
    pub dst: RouteTarget,
    /// The gateway.
    #[serde(default)]
    pub via: Option<IpAddr>,
    /// The device.
    #[serde(default)]
    pub dev: Option<IfName>,
    /// The table; `main` if not given.
    #[serde(default)]
    pub table: Option<u32>,
}

/// One entry of `rule`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleGrant {
    /// The table that the rule looks up.
    pub table: u32,
    /// The priority; free if not given.
    #[serde(default)]
    pub priority: Option<u32>,
}

/// One entry of `link`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkGrant {
    /// The device.
    pub dev: IfName,
    /// `"set_up"`, `"set_mac"`; both if not given.
    #[serde(default, rename = "do")]
    pub verbs: Vec<LinkVerb>,
}

/// What may be done to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkVerb {
    /// Set it administratively up or down.
    SetUp,
    /// Give it a hardware address.
    SetMac,
}

/// One entry of `service`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceGrant {
    /// The service, as the hook names it (`httpd` and `httpd.service` are the same).
    pub unit: String,
    /// What may be done; asking for its status is always allowed.
    #[serde(rename = "do")]
    pub verbs: Vec<ServiceVerb>,
}

/// One entry of `sysctl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SysctlGrant {
    /// The parameter, with dots.
    pub key: String,
    /// Values that may be set; any if not given.
    #[serde(default)]
    pub values: Vec<String>,
}

/// One entry of `file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileGrant {
    /// The absolute path, exactly.
    pub path: String,
    /// What may be done.
    #[serde(rename = "do")]
    pub verbs: Vec<FileVerb>,
}

/// What may be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileVerb {
    /// Read it.
    Read,
    /// Write it.
    Write,
    /// Remove it.
    Remove,
}

/// What a hook may do to its own virtual host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CarpVerb {
    /// Raise or end its demotion.
    Demote,
    /// Hand over.
    Resign,
}

/// One entry of `command`: a command line written out by the operator, without a shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandGrant {
    /// The program and its arguments; an argument `{name:type}` is a hole that the hook fills.
    /// Types: see [`Hole`].
    pub argv: Vec<String>,
    /// It changes nothing, so `health` may run it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub query: bool,
}

/// For what is not written if it is not so.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
pub(super) const fn is_false(value: &bool) -> bool {
    !*value
}

/// The type of a hole in a command line; what does not fit is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hole {
    /// Letters, digits, `_`, `.`, `-`, `:`, `@`, `/`, not beginning with `-`; 1 to 255 bytes.
    Word,
    /// Any text that does not begin with `-`, or none at all: up to 4096 bytes without control
    /// characters but tabs and ends of lines.
    Text,
    /// A decimal integer within these bounds. Nothing below zero, which a program would take for an
    /// option or a process group, unless the grant says so.
    Int {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
    },
    /// An IPv4 or IPv6 address.
    Ip,
    /// An address with a prefix length.
    Cidr,
    /// A network interface's name.
    Dev,
}

impl Hole {
    /// Reads `{name:type}`, and `{name:int:MIN..MAX}`; `None` if the argument is a plain one.
    ///
    /// # Errors
    /// The text of what is wrong with a thing in braces.
    pub fn parse(argument: &str) -> Result<Option<(&str, Self)>, String> {
        let Some(inner) = argument
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
        else {
            return Ok(None);
        };
        let (name, kind) = inner
            .split_once(':')
            .ok_or_else(|| format!("{argument} needs a type, as in {{{inner}:word}}"))?;
        let hole = match kind {
            "word" => Self::Word,
            "text" => Self::Text,
            "int" => Self::Int { min: 0, max: i64::MAX },
            "ip" => Self::Ip,
            "cidr" => Self::Cidr,
            "dev" => Self::Dev,
            _ => match kind.strip_prefix("int:") {
                Some(range) => Self::range(range).ok_or_else(|| {
                    format!("{range:?} is not a range of integers, which is written {{{name}:int:0..100}}, the least and the most")
                })?,
                None => return Err(format!("{kind:?} is not a type of hole: word, text, int, ip, cidr or dev")),
            },
        };
        if name.is_empty() {
            return Err(format!(
                "{argument} needs a name, as in {{resource:{kind}}}"
            ));
        }
        Ok(Some((name, hole)))
    }

    /// `MIN..MAX`, both included.
    fn range(text: &str) -> Option<Self> {
        let (min, max) = text.split_once("..")?;
        let (min, max) = (integer(min)?, integer(max)?);
        (min <= max).then_some(Self::Int { min, max })
    }

    /// May this text stand in the hole? No text that a program would read as an option does, unless
    /// the grant says so.
    #[must_use]
    pub fn takes(self, text: &str) -> bool {
        match self {
            Self::Word => {
                (1..=255).contains(&text.len())
                    && !text.starts_with('-')
                    && text
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"_.-:@/".contains(&b))
            }
            Self::Text => {
                text.len() <= 4096
                    && !text.starts_with('-')
                    && !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t')
            }
            Self::Int { min, max } => {
                integer(text).is_some_and(|number| (min..=max).contains(&number))
            }
            Self::Ip => text.parse::<IpAddr>().is_ok(),
            Self::Cidr => text.contains('/') && text.parse::<VirtualAddress>().is_ok(),
            Self::Dev => !text.starts_with('-') && text.parse::<IfName>().is_ok(),
        }
    }
}

/// An integer as everybody writes it: no `+5`, `-0` or `007`, which programs read in ways of their
/// own.
fn integer(text: &str) -> Option<i64> {
    text.parse::<i64>()
        .ok()
        .filter(|number| number.to_string() == text)
}

impl CommandGrant {
    /// The command line with its holes filled.
    ///
    /// # Errors
    /// What is missing, left over or of the wrong type.
    pub fn fill(&self, args: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
        let mut used = 0;
        let mut line = Vec::with_capacity(self.argv.len());
        for argument in &self.argv {
            match Hole::parse(argument)? {
                None => line.push(argument.clone()),
                Some((name, hole)) => {
                    let value = args
                        .get(name)
                        .ok_or_else(|| format!("argument {name:?} is missing"))?;
                    if !hole.takes(value) {
                        return Err(format!("{value:?} does not fit {argument}"));
                    }
                    used += 1;
                    line.push(value.clone());
                }
            }
        }
        if let Some(extra) = args.keys().find(|k| {
            !self
                .argv
                .iter()
                .any(|a| matches!(Hole::parse(a), Ok(Some((n, _))) if n == *k))
        }) {
            return Err(format!("there is no hole {extra:?} in this command"));
        }
        debug_assert!(used >= args.len(), "every argument has a hole");
        Ok(line)
    }
}

impl CommandGrant {
    /// Can this command line come of it?
    #[must_use]
    pub fn yields(&self, line: &[String]) -> bool {
        let filled = self.argv.iter().zip(line);
        let holes = filled.filter_map(|(argument, word)| {
            Some((Hole::parse(argument).ok()??.0.to_owned(), word.clone()))
        });
        self.fill(&holes.collect()).is_ok_and(|own| own == line)
    }
}

/// What a virtual host's hooks may do without any grant: touch its own addresses on its own
/// interface.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// Its interface.
    pub dev: &'a IfName,
    /// Its addresses.
    pub addresses: &'a [VirtualAddress],
}

/// An effect that was permitted. Only this module can create one, and a host performs nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    effect: Effect,
    argv: Option<Vec<String>>,
}

impl Granted {
    /// For the daemon's own effects: the virtual host's addresses, and undoing what was granted
    /// before.
    #[must_use]
    #[cfg(feature = "daemon")]
    pub(crate) const fn by_daemon(effect: Effect) -> Self {
        Self { effect, argv: None }
    }

    /// The effect.
    #[must_use]
    pub const fn effect(&self) -> &Effect {
        &self.effect
    }

    /// The full command line of a granted [`Effect::CommandRun`].
    #[must_use]
    pub fn argv(&self) -> Option<&[String]> {
        self.argv.as_deref()
    }
}

/// A refusal that teaches: what was asked, and the TOML that would grant it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// The right that is missing.
    pub capability: Capability,
    /// What was asked for, in words.
    pub what: String,
    /// A line that would grant it, to stand under `[hook.NAME.grant]`.
    pub line: String,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not granted: {}; to grant it, write under [hook.NAME.grant]: {}",
            self.what, self.line
        )
    }
}

impl std::error::Error for Denied {}

impl Grants {
    /// May this effect be done? The only way to a [`Granted`] for a hook.
    ///
    /// # Errors
    /// [`Denied`], with the line that would grant it.
    pub fn permit(&self, effect: Effect, own: Own<'_>) -> Result<Granted, Box<Denied>> {
        let mut argv = None;
        let allowed = match &effect {
            Effect::AddressAdd { .. } | Effect::AddressDelete { .. } | Effect::Announce { .. } => {
                Self::is_own(&effect, own) || self.addr.iter().any(|grant| grant.allows(&effect))
            }
            Effect::RouteReplace(route) => self.route.iter().any(|g| g.allows(route)),
            Effect::RouteDelete(route) => self.route.iter().any(|g| g.allows_named(route)),
            // Of the daemon alone; a hook that asks for one made it up.
            Effect::RouteAdd(_)
            | Effect::RouteRestore(_)
            | Effect::FileRestore { .. }
            | Effect::MacvlanAdd { .. }
            | Effect::MacvlanDelete { .. }
            | Effect::LinkSetArp { .. } => false,
            Effect::RuleReplace(rule) | Effect::RuleDelete(rule) => {
                self.rule.iter().any(|g| g.allows(rule))
            }
            Effect::LinkSetUp { dev, .. } => self.allows_link(dev, LinkVerb::SetUp),
            Effect::LinkSetMac { dev, .. } => self.allows_link(dev, LinkVerb::SetMac),
            Effect::HostnameSet { name } => self.hostname.contains(name),
            Effect::Service { unit, verb } => self
                .service
                .iter()
                .any(|g| same_unit(&g.unit, unit) && g.verbs.contains(verb)),
            Effect::SysctlSet { key, value } => self
                .sysctl
                .iter()
                .any(|g| g.key == *key && (g.values.is_empty() || g.values.contains(value))),
            Effect::FileWrite { path, .. } => self.allows_file(path, FileVerb::Write),
            Effect::FileRemove { path } => self.allows_file(path, FileVerb::Remove),
            Effect::CommandRun { name, args } => {
                match self.command.get(name).map(|grant| grant.fill(args)) {
                    Some(Ok(line)) => {
                        argv = Some(line);
                        true
                    }
                    Some(Err(why)) => {
                        let what = format!("command {name:?}: {why}");
                        let line = grant_line(&effect);
                        return Err(Box::new(Denied {
                            capability: Capability::Command,
                            what,
                            line,
                        }));
                    }
                    None => false,
                }
            }
            Effect::HttpSend(request) => self.http.iter().any(|g| g.allows(request)),
            Effect::Demote { .. } => self.carp.contains(&CarpVerb::Demote),
            Effect::Resign { .. } => self.carp.contains(&CarpVerb::Resign),
        };
        if allowed {
            return Ok(Granted { effect, argv });
        }
        Err(Box::new(Denied {
            capability: effect.requires(),
            what: effect.to_string(),
            line: grant_line(&effect),
        }))
    }

    /// May this be asked?
    ///
    /// # Errors
    /// [`Denied`], with the line that would grant it.
    pub fn permit_query(&self, query: &Query) -> Result<(), Box<Denied>> {
        let (allowed, line) = match query {
            Query::Hostname => (
                !self.hostname.is_empty() || self.read,
                "read = true".to_owned(),
            ),
            Query::ServiceStatus { unit } => (
                self.service.iter().any(|g| same_unit(&g.unit, unit)),
                format!("service = [{{ unit = {unit:?}, do = [] }}]"),
            ),
            Query::Sysctl { key } => (
                self.sysctl.iter().any(|g| g.key == *key),
                format!("sysctl = [{{ key = {key:?} }}]"),
            ),
            Query::FileRead { path } => (
                self.allows_file(path, FileVerb::Read),
                format!("file = [{{ path = {path:?}, do = [\"read\"] }}]"),
            ),
            Query::Links | Query::Addresses { .. } | Query::Routes { .. } => {
                (self.read, "read = true".to_owned())
            }
            Query::CarpState => (true, String::new()),
            Query::HttpGet(request) => (
                self.http.iter().any(|g| g.allows(request)),
                http_line(request),
            ),
            Query::TcpConnect { endpoint, .. } => (
                self.tcp.contains(endpoint),
                format!("tcp = [\"{endpoint}\"]"),
            ),
        };
        if allowed {
            Ok(())
        } else {
            Err(Box::new(Denied {
                capability: query.requires(),
                what: query.to_string(),
                line,
            }))
        }
    }

    /// Whether anything here needs more than the engine's own two capabilities, and so the helper
    /// process.
    #[must_use]
    pub fn needs_helper(&self) -> bool {
        !(self.hostname.is_empty()
            && self.service.is_empty()
            && self.sysctl.is_empty()
            && self.file.is_empty()
            && self.command.is_empty())
    }

    /// Whether what this does is marked as changing nothing (`query`).
    #[must_use]
    pub fn is_query(&self, effect: &Effect) -> bool {
        match effect {
            Effect::CommandRun { name, .. } => {
                self.command.get(name).is_some_and(|grant| grant.query)
            }
            Effect::HttpSend(request) => {
                let mut grants = self.http.iter();
                grants.any(|grant| grant.is_query(request.verb) && grant.allows(request))
            }
            Effect::AddressAdd { .. }
            | Effect::AddressDelete { .. }
            | Effect::Announce { .. }
            | Effect::RouteReplace(_)
            | Effect::RouteAdd(_)
            | Effect::RouteRestore(_)
            | Effect::RouteDelete(_)
            | Effect::RuleReplace(_)
            | Effect::RuleDelete(_)
            | Effect::LinkSetUp { .. }
            | Effect::LinkSetMac { .. }
            | Effect::LinkSetArp { .. }
            | Effect::MacvlanAdd { .. }
            | Effect::MacvlanDelete { .. }
            | Effect::HostnameSet { .. }
            | Effect::Service { .. }
            | Effect::SysctlSet { .. }
            | Effect::FileWrite { .. }
            | Effect::FileRestore { .. }
            | Effect::FileRemove { .. }
            | Effect::Demote { .. }
            | Effect::Resign { .. } => false,
        }
    }

    fn allows_link(&self, dev: &IfName, verb: LinkVerb) -> bool {
        self.link
            .iter()
            .any(|g| g.dev == *dev && (g.verbs.is_empty() || g.verbs.contains(&verb)))
    }

    fn allows_file(&self, path: &str, verb: FileVerb) -> bool {
        self.file
            .iter()
            .any(|g| g.path == path && g.verbs.contains(&verb))
    }
}

impl RouteGrant {
    /// May the route be set? The device follows from the gateway, so that need not be said when
    /// that is the granted one.
    fn allows(&self, route: &Route) -> bool {
        let via = self.via.is_none() || self.via == route.via;
        let dev = self.dev.is_none()
            || self.dev == route.dev
            || (route.dev.is_none() && self.via.is_some());
        via && dev && self.allows_named(route)
    }

    /// May it be deleted? Then what is not said of it is not asked for.
    fn allows_named(&self, route: &Route) -> bool {
        let via = self.via.is_none() || route.via.is_none() || self.via == route.via;
        let dev = self.dev.is_none() || route.dev.is_none() || self.dev == route.dev;
        self.dst == route.dst && via && dev && self.table.unwrap_or(254) == route.table_id()
    }
}

impl RuleGrant {
    fn allows(&self, rule: &Rule) -> bool {
        self.table == rule.table && self.priority.is_none_or(|p| p == rule.priority)
    }
}

/// `httpd` and `httpd.service` name one service.
fn same_unit(a: &str, b: &str) -> bool {
    plain_unit(a) == plain_unit(b)
}

/// The shorter of a service's two names.
pub(super) fn plain_unit(unit: &str) -> &str {
    unit.strip_suffix(".service").unwrap_or(unit)
}
