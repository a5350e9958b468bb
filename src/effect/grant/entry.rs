//! Which entry of the grants allows an effect, as it stands in the configuration.

use serde::Serialize;

use super::{AddrGrant, CarpVerb, FileVerb, Grants, LinkVerb, Own, same_unit};
use crate::effect::Effect;
use crate::types::{IfName, VirtualAddress};

impl Grants {
    /// The line of TOML that allows this effect; `None` if nothing does, or if it needs none: see [`Self::is_own`].
    #[must_use]
    pub fn entry_for(&self, effect: &Effect) -> Option<String> {
        match effect {
            Effect::AddressAdd { address, dev }
            | Effect::AddressDelete { address, dev }
            | Effect::Announce { address, dev, .. } => entry("addr", self.addr.iter().find(|grant| grant.allows(*address, dev))),
            Effect::RouteReplace(route) | Effect::RouteDelete(route) => {
                entry("route", self.route.iter().find(|grant| grant.allows(route)))
            }
            Effect::RuleReplace(rule) | Effect::RuleDelete(rule) => {
                entry("rule", self.rule.iter().find(|grant| grant.allows(rule)))
            }
            Effect::LinkSetUp { dev, .. } => self.link_entry(dev, LinkVerb::SetUp),
            Effect::LinkSetMac { dev, .. } => self.link_entry(dev, LinkVerb::SetMac),
            Effect::HostnameSet { name } => entry("hostname", self.hostname.iter().find(|granted| *granted == name)),
            Effect::Service { unit, verb } => {
                entry("service", self.service.iter().find(|grant| same_unit(&grant.unit, unit) && grant.verbs.contains(verb)))
            }
            Effect::SysctlSet { key, value } => entry(
                "sysctl",
                self.sysctl.iter().find(|grant| grant.key == *key && (grant.values.is_empty() || grant.values.contains(value))),
            ),
            Effect::FileWrite { path, .. } => self.file_entry(path, FileVerb::Write),
            Effect::FileRemove { path } => self.file_entry(path, FileVerb::Remove),
            Effect::CommandRun { name, .. } => self.command.get(name).map(|grant| format!("command.{name} = {}", inline(grant))),
            Effect::HttpSend(request) => entry("http", self.http.iter().find(|grant| grant.allows(request))),
            Effect::Demote { .. } => entry("carp", self.carp.iter().find(|verb| **verb == CarpVerb::Demote)),
            Effect::Resign { .. } => entry("carp", self.carp.iter().find(|verb| **verb == CarpVerb::Resign)),
        }
    }

    /// Is it about the virtual host's own address on its own interface? That needs no grant.
    #[must_use]
    pub fn is_own(effect: &Effect, own: Own<'_>) -> bool {
        match effect {
            Effect::AddressAdd { address, dev }
            | Effect::AddressDelete { address, dev }
            | Effect::Announce { address, dev, .. } => own.covers(*address, dev),
            _ => false,
        }
    }

    fn link_entry(&self, dev: &IfName, verb: LinkVerb) -> Option<String> {
        entry("link", self.link.iter().find(|g| g.dev == *dev && (g.verbs.is_empty() || g.verbs.contains(&verb))))
    }

    fn file_entry(&self, path: &str, verb: FileVerb) -> Option<String> {
        entry("file", self.file.iter().find(|grant| grant.path == path && grant.verbs.contains(&verb)))
    }
}

impl AddrGrant {
    pub(super) fn allows(&self, address: VirtualAddress, dev: &IfName) -> bool {
        let host = VirtualAddress { prefix: address.family().host_prefix(), ..address };
        self.cidr.contains(host) && self.dev.as_ref().is_none_or(|granted| granted == dev)
    }
}

impl Own<'_> {
    pub(super) fn covers(self, address: VirtualAddress, dev: &IfName) -> bool {
        dev == self.dev && self.addresses.iter().any(|own| own.ip == address.ip)
    }
}

fn entry(key: &str, found: Option<&impl Serialize>) -> Option<String> {
    found.map(|grant| format!("{key} = [{}]", inline(grant)))
}

/// A value as TOML on one line.
pub(super) fn inline(value: &impl Serialize) -> String {
    let mut line = String::new();
    // Grants are made of texts, numbers and tables of these: there is nothing that TOML could not write.
    _ = value.serialize(toml::ser::ValueSerializer::new(&mut line));
    line
}
