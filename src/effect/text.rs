//! Effects and queries as text: for the log, and for error messages.

use std::fmt;

use super::{Effect, FoundRoute, HttpRequest, Query};
use crate::types::shown_within;

/// The line of TOML that would grant exactly this effect.
pub(super) fn grant_line(effect: &Effect) -> String {
    match effect {
        Effect::AddressAdd { address, dev }
        | Effect::AddressDelete { address, dev }
        | Effect::Announce { address, dev, .. } => {
            format!("addr = [{{ cidr = \"{address}\", dev = \"{dev}\" }}]")
        }
        Effect::RouteReplace(route)
        | Effect::RouteAdd(route)
        | Effect::RouteRestore(FoundRoute { route, .. })
        | Effect::RouteDelete(route) => {
            let mut line = format!("route = [{{ dst = \"{}\"", route.dst);
            if let Some(via) = route.via {
                line += &format!(", via = \"{via}\"");
            }
            if let Some(dev) = &route.dev {
                line += &format!(", dev = \"{dev}\"");
            }
            if let Some(table) = route.table {
                line += &format!(", table = {table}");
            }
            line + " }]"
        }
        Effect::RuleReplace(rule) | Effect::RuleDelete(rule) => {
            format!(
                "rule = [{{ table = {}, priority = {} }}]",
                rule.table, rule.priority
            )
        }
        // No grant allows the last three: they are the daemon's own.
        Effect::LinkSetUp { dev, .. }
        | Effect::MacvlanAdd { dev, .. }
        | Effect::MacvlanDelete { dev }
        | Effect::LinkSetArp { dev, .. } => {
            format!("link = [{{ dev = \"{dev}\", do = [\"set_up\"] }}]")
        }
        Effect::LinkSetMac { dev, .. } => {
            format!("link = [{{ dev = \"{dev}\", do = [\"set_mac\"] }}]")
        }
        Effect::HostnameSet { name } => format!("hostname = [{name:?}]"),
        Effect::Service { unit, verb } => format!(
            "service = [{{ unit = {unit:?}, do = [\"{}\"] }}]",
            verb.as_str()
        ),
        Effect::SysctlSet { key, value } => {
            format!("sysctl = [{{ key = {key:?}, values = [{value:?}] }}]")
        }
        Effect::FileWrite { path, .. } | Effect::FileRestore { path, .. } => {
            format!("file = [{{ path = {path:?}, do = [\"write\"] }}]")
        }
        Effect::FileRemove { path } => format!("file = [{{ path = {path:?}, do = [\"remove\"] }}]"),
        Effect::CommandRun { name, args } => {
            let holes: String = args.keys().map(|k| format!(", \"{{{k}:word}}\"")).collect();
            format!("command.{name} = {{ argv = [\"/path/to/{name}\"{holes}] }}")
        }
        Effect::HttpSend(request) => http_line(request),
        Effect::Demote { .. } => "carp = [\"demote\"]".to_owned(),
        Effect::Resign { .. } => "carp = [\"resign\"]".to_owned(),
    }
}

/// The line that would grant this request and what lies below it.
pub(super) fn http_line(request: &HttpRequest) -> String {
    format!(
        "http = [{{ url = \"{}\", do = [\"{}\"] }}]",
        request.url.without_query(),
        request.verb.as_str()
    )
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressAdd { address, dev } => write!(f, "addr.add {address} dev {dev}"),
            Self::AddressDelete { address, dev } => write!(f, "addr.delete {address} dev {dev}"),
            Self::Announce {
                address,
                dev,
                count,
                ..
            } => write!(f, "announce {address} dev {dev} count {count}"),
            Self::RouteReplace(route) => write!(f, "route.replace {route}"),
            Self::RouteAdd(route) => write!(f, "route.add {route}"),
            Self::RouteRestore(found) => write!(f, "route.restore {found}"),
            Self::RouteDelete(route) => write!(f, "route.delete {route}"),
            Self::RuleReplace(rule) => write!(f, "rule.replace {rule}"),
            Self::RuleDelete(rule) => write!(f, "rule.delete {rule}"),
            Self::LinkSetUp { dev, up } => write!(f, "link.set_up {dev} {up}"),
            Self::LinkSetMac { dev, mac } => write!(f, "link.set_mac {dev} {mac}"),
            Self::MacvlanAdd {
                dev, parent, mac, ..
            } => write!(f, "macvlan.add {dev} on {parent} with {mac}"),
            Self::MacvlanDelete { dev } => write!(f, "macvlan.delete {dev}"),
            Self::LinkSetArp { dev, arp } => write!(f, "link.set_arp {dev} {arp}"),
            Self::HostnameSet { name } => write!(f, "hostname.set {name}"),
            Self::Service { unit, verb } => write!(f, "service.{} {unit}", verb.as_str()),
            Self::SysctlSet { key, value } => write!(f, "sysctl.set {key} {value}"),
            Self::FileWrite { path, content } => {
                write!(f, "file.write {path} ({} bytes)", content.len())
            }
            Self::FileRestore { path, found } => {
                write!(f, "file.restore {path} ({} bytes)", found.content.len())
            }
            Self::FileRemove { path } => write!(f, "file.remove {path}"),
            Self::CommandRun { name, args } => {
                write!(f, "command.run {name}")?;
                // A value may have several lines, and an effect is one.
                let value = |v: &String| shown_within(v, usize::MAX);
                args.iter()
                    .try_for_each(|(k, v)| write!(f, " {k}={}", value(v)))
            }
            Self::HttpSend(request) => request.fmt(f),
            Self::Demote { by, reason } => write!(f, "carp.demote {by} ({reason})"),
            Self::Resign { reason } => write!(f, "carp.resign ({reason})"),
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hostname => f.write_str("hostname.get"),
            Self::ServiceStatus { unit } => write!(f, "service.status {unit}"),
            Self::Sysctl { key } => write!(f, "sysctl.get {key}"),
            Self::FileRead { path } => write!(f, "file.read {path}"),
            Self::Links => f.write_str("facts.links"),
            Self::Addresses { dev: Some(dev) } => write!(f, "facts.addresses {dev}"),
            Self::Addresses { dev: None } => f.write_str("facts.addresses"),
            Self::Routes { .. } => f.write_str("facts.routes"),
            Self::CarpState => f.write_str("carp.state"),
            Self::HttpGet(request) => request.fmt(f),
            Self::TcpConnect { endpoint, .. } => write!(f, "tcp.connect {endpoint}"),
        }
    }
}
