//! The smallest grants under which given effects and queries are allowed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::entry::{asked_address, inline, toml_key};
use super::{
    AddrGrant, CarpVerb, CommandGrant, FileGrant, FileVerb, Grants, LinkGrant, LinkVerb, Own,
    RouteGrant, RuleGrant, ServiceGrant, SysctlGrant,
};
use crate::effect::{AddressTarget, Effect, HttpGrant, HttpRequest, Query};
use crate::types::IfName;

impl Grants {
    /// Adds what this effect needs, and no more. Nothing if it is allowed already.
    ///
    /// Of a command line only the name is known: its program stays to be filled in, as
    /// `/path/to/NAME`.
    pub fn widen(&mut self, effect: &Effect, own: Own<'_>) {
        if self.permit(effect.clone(), own).is_ok() {
            return;
        }
        match effect {
            Effect::AddressAdd { .. } | Effect::AddressDelete { .. } | Effect::Announce { .. } => {
                let asked = asked_address(effect);
                let grant = |(address, dev): (_, &IfName)| AddrGrant {
                    cidr: AddressTarget::One(address),
                    dev: Some(dev.clone()),
                };
                self.addr.extend(asked.map(grant));
            }
            Effect::RouteReplace(route) | Effect::RouteDelete(route) => {
                let (dst, via, dev, table) = (route.dst, route.via, route.dev.clone(), route.table);
                self.route.push(RouteGrant {
                    dst,
                    via,
                    dev,
                    table,
                });
            }
            // No grant allows these.
            Effect::RouteAdd(_)
            | Effect::RouteRestore(_)
            | Effect::FileRestore { .. }
            | Effect::MacvlanAdd { .. }
            | Effect::MacvlanDelete { .. }
            | Effect::LinkSetArp { .. } => {}
            Effect::RuleReplace(rule) | Effect::RuleDelete(rule) => {
                self.rule.push(RuleGrant {
                    table: rule.table,
                    priority: Some(rule.priority),
                });
            }
            Effect::LinkSetUp { dev, .. } => self.widen_link(dev, LinkVerb::SetUp),
            Effect::LinkSetMac { dev, .. } => self.widen_link(dev, LinkVerb::SetMac),
            Effect::HostnameSet { name } => self.hostname.push(name.clone()),
            Effect::Service { unit, verb } => self.service_of(unit).verbs.push(*verb),
            Effect::SysctlSet { key, value } => {
                match self.sysctl.iter_mut().find(|grant| grant.key == *key) {
                    Some(grant) => grant.values.push(value.clone()),
                    None => self.sysctl.push(SysctlGrant {
                        key: key.clone(),
                        values: vec![value.clone()],
                    }),
                }
            }
            Effect::FileWrite { path, .. } => self.widen_file(path, FileVerb::Write),
            Effect::FileRemove { path } => self.widen_file(path, FileVerb::Remove),
            Effect::CommandRun { name, args } => {
                let holes = args.keys().map(|hole| format!("{{{hole}:word}}"));
                let argv = std::iter::once(format!("/path/to/{name}"))
                    .chain(holes)
                    .collect();
                self.command
                    .insert(name.clone(), CommandGrant { argv, query: false });
            }
            Effect::HttpSend(request) => self.widen_http(request),
            Effect::Demote { .. } => self.carp.push(CarpVerb::Demote),
            Effect::Resign { .. } => self.carp.push(CarpVerb::Resign),
        }
    }

    /// Adds what this query needs, and no more.
    pub fn widen_query(&mut self, query: &Query) {
        if self.permit_query(query).is_ok() {
            return;
        }
        match query {
            Query::ServiceStatus { unit } => drop(self.service_of(unit)),
            // Without a value it may be read, and set to anything: a value that nobody sets keeps
            // it to reading.
            Query::Sysctl { key } => self.sysctl.push(SysctlGrant {
                key: key.clone(),
                values: vec![String::new()],
            }),
            Query::FileRead { path } => self.widen_file(path, FileVerb::Read),
            Query::Hostname | Query::Links | Query::Addresses { .. } | Query::Routes { .. } => {
                self.read = true;
            }
            Query::HttpGet(request) => self.widen_http(request),
            Query::TcpConnect { endpoint, .. } => self.tcp.push(endpoint.clone()),
            Query::CarpState => {}
        }
    }

    /// The path and what is below it; with any query, since that is where values stand.
    fn widen_http(&mut self, request: &HttpRequest) {
        let url = request
            .url
            .without_query()
            .parse()
            .unwrap_or_else(|_| request.url.clone());
        match self.http.iter_mut().find(|grant| grant.url == url) {
            Some(grant) => grant.verbs.push(request.verb),
            None => self.http.push(HttpGrant {
                url,
                verbs: vec![request.verb],
                query: false,
            }),
        }
    }

    fn widen_link(&mut self, dev: &IfName, verb: LinkVerb) {
        match self.link.iter_mut().find(|grant| grant.dev == *dev) {
            Some(grant) => grant.verbs.push(verb),
            None => self.link.push(LinkGrant {
                dev: dev.clone(),
                verbs: vec![verb],
            }),
        }
    }

    fn widen_file(&mut self, path: &str, verb: FileVerb) {
        match self.file.iter_mut().find(|grant| grant.path == path) {
            Some(grant) => grant.verbs.push(verb),
            None => self.file.push(FileGrant {
                path: path.to_owned(),
                verbs: vec![verb],
            }),
        }
    }

    fn service_of(&mut self, unit: &str) -> &mut ServiceGrant {
        let there = self
            .service
            .iter()
            .position(|grant| super::same_unit(&grant.unit, unit));
        let index = there.unwrap_or_else(|| {
            self.service.push(ServiceGrant {
                unit: unit.to_owned(),
                verbs: Vec::new(),
            });
            self.service.len() - 1
        });
        // The position was found or made just now.
        #[expect(
            clippy::indexing_slicing,
            reason = "the entry is there: found, or pushed"
        )]
        &mut self.service[index]
    }

    /// The table as it would stand under `[hook.NAME.grant]`, a key a line, empty ones left out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let Self {
            addr,
            route,
            rule,
            link,
            hostname,
            service,
            sysctl,
            file,
            command,
            http,
            tcp,
            read,
            carp,
        } = self;
        let mut out = String::new();
        list(&mut out, "addr", addr);
        list(&mut out, "route", route);
        list(&mut out, "rule", rule);
        list(&mut out, "link", link);
        if !hostname.is_empty() {
            _ = writeln!(out, "hostname = {}", inline(hostname));
        }
        list(&mut out, "service", service);
        list(&mut out, "sysctl", sysctl);
        list(&mut out, "file", file);
        commands(&mut out, command);
        list(&mut out, "http", http);
        if !tcp.is_empty() {
            _ = writeln!(out, "tcp = {}", inline(tcp));
        }
        if *read {
            out += "read = true\n";
        }
        if !carp.is_empty() {
            _ = writeln!(out, "carp = {}", inline(carp));
        }
        out
    }
}

fn list(out: &mut String, key: &str, entries: &[impl serde::Serialize]) {
    match entries {
        [] => {}
        [one] => _ = writeln!(out, "{key} = [{}]", inline(one)),
        many => {
            _ = writeln!(out, "{key} = [");
            for entry in many {
                _ = writeln!(out, "  {},", inline(entry));
            }
            out.push_str("]\n");
        }
    }
}

fn commands(out: &mut String, command: &BTreeMap<String, CommandGrant>) {
    for (name, grant) in command {
        _ = writeln!(out, "command.{} = {}", toml_key(name), inline(grant));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::{HttpVerb, Route, ServiceVerb};
    use crate::types::is_treacherous;

    #[test]
    fn what_a_hook_asked_for_is_one_line_of_toml_that_says_the_same() {
        let evil = "a\n[hook.x]\r\u{1b}[2J\u{202e}\u{e0041}\\'\"\t";
        let mut grants = Grants::default();
        let own = Own {
            dev: &"eth0".parse().unwrap(),
            addresses: &[],
        };
        let effects = [
            Effect::HostnameSet { name: evil.into() },
            Effect::SysctlSet {
                key: evil.into(),
                value: evil.into(),
            },
            Effect::CommandRun {
                name: evil.into(),
                args: BTreeMap::new(),
            },
        ];
        for effect in &effects {
            grants.widen(effect, own);
        }
        let text = grants.to_toml();
        assert!(
            text.lines().count() == 3 && text.lines().all(|line| !line.contains(is_treacherous)),
            "{text}"
        );
        assert_eq!(toml::from_str::<Grants>(&text).unwrap(), grants, "{text}");
    }

    fn effects() -> Vec<Effect> {
        let dev = || "eth0".parse().unwrap();
        let route = Route {
            dst: "default".parse().unwrap(),
            via: Some("192.0.2.1".parse().unwrap()),
            dev: None,
            src: None,
            metric: None,
            table: None,
        };
        vec![
            Effect::AddressAdd {
                address: "10.0.0.1/24".parse().unwrap(),
                dev: dev(),
            },
            Effect::RouteReplace(route.clone()),
            Effect::RouteDelete(route),
            Effect::LinkSetUp {
                dev: dev(),
                up: true,
            },
            Effect::LinkSetMac {
                dev: dev(),
                mac: "02:00:00:00:00:01".parse().unwrap(),
            },
            Effect::HostnameSet {
                name: "a \"quoted\" name".into(),
            },
            Effect::Service {
                unit: "httpd".into(),
                verb: ServiceVerb::Start,
            },
            Effect::Service {
                unit: "httpd.service".into(),
                verb: ServiceVerb::Stop,
            },
            Effect::SysctlSet {
                key: "net.ipv4.ip_forward".into(),
                value: "1".into(),
            },
            Effect::SysctlSet {
                key: "net.ipv4.ip_forward".into(),
                value: "0".into(),
            },
            Effect::FileWrite {
                path: "/run/a".into(),
                content: vec![],
            },
            Effect::FileRemove {
                path: "/run/a".into(),
            },
            Effect::CommandRun {
                name: "promote".into(),
                args: [("resource".to_owned(), "r0".to_owned())].into(),
            },
            Effect::HttpSend(HttpRequest {
                verb: HttpVerb::Post,
                url: "https://api.example.net/v1/ip?zone=a".parse().unwrap(),
                headers: Vec::new(),
                body: Vec::new(),
                timeout_ms: 1000,
            }),
            Effect::Demote {
                by: 1,
                reason: String::new(),
            },
            Effect::Resign {
                reason: String::new(),
            },
        ]
    }

    #[test]
    fn each_effect_is_allowed_by_what_is_printed_and_nothing_else_is() {
        let dev: IfName = "eth1".parse().unwrap();
        let own = Own {
            dev: &dev,
            addresses: &[],
        };
        let mut grants = Grants::default();
        for effect in effects() {
            grants.widen(&effect, own);
            grants.widen(&effect, own);
        }
        for query in [
            Query::Links,
            Query::FileRead {
                path: "/run/a".into(),
            },
            Query::ServiceStatus {
                unit: "sshd".into(),
            },
        ] {
            grants.widen_query(&query);
        }
        let printed: Grants = toml::from_str(&grants.to_toml())
            .unwrap_or_else(|e| panic!("{}: {e}", grants.to_toml()));
        assert_eq!(printed, grants);
        assert_eq!(
            (
                printed.service.len(),
                printed.file.len(),
                printed.sysctl.len()
            ),
            (2, 1, 1),
            "{}",
            grants.to_toml()
        );
        for effect in effects() {
            assert!(printed.permit(effect.clone(), own).is_ok(), "{effect}");
            let line = printed
                .entry_for(&effect)
                .unwrap_or_else(|| panic!("{effect} has no entry"));
            let alone: Grants =
                toml::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(
                alone.permit(effect.clone(), own).is_ok(),
                "{effect}: {line}"
            );
        }
        let others = [
            Effect::HostnameSet { name: "b".into() },
            Effect::Service {
                unit: "sshd".into(),
                verb: ServiceVerb::Stop,
            },
            Effect::SysctlSet {
                key: "net.ipv4.ip_forward".into(),
                value: "2".into(),
            },
            Effect::FileWrite {
                path: "/run/b".into(),
                content: vec![],
            },
        ];
        for effect in others {
            assert!(printed.permit(effect.clone(), own).is_err(), "{effect}");
            assert_eq!(printed.entry_for(&effect), None);
        }
    }
}
