//! Which entry of the grants allows an effect, as it stands in the configuration.

use serde::Serialize;

use super::{AddrGrant, CarpVerb, FileVerb, Grants, LinkVerb, Own, same_unit};
use crate::effect::{AddressTarget, Effect};
use crate::types::{IfName, VirtualAddress};

impl Grants {
    /// The line of TOML that allows this effect; `None` if nothing does, or if it needs none: see [`Self::is_own`].
    #[must_use]
    pub fn entry_for(&self, effect: &Effect) -> Option<String> {
        match effect {
            Effect::AddressAdd { .. } | Effect::AddressDelete { .. } | Effect::Announce { .. } => {
                entry("addr", self.addr.iter().find(|grant| grant.allows(effect)))
            }
            Effect::RouteReplace(route) => entry("route", self.route.iter().find(|grant| grant.allows(route))),
            Effect::RouteDelete(route) => entry("route", self.route.iter().find(|grant| grant.allows_named(route))),
            Effect::RouteAdd(_) | Effect::RouteRestore(_) | Effect::FileRestore { .. } => None,
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
        let covers = |(address, dev)| dev == own.dev && own.addresses.iter().any(|own| AddressTarget::One(*own).takes(address));
        asked_address(effect).is_some_and(covers)
    }

    fn link_entry(&self, dev: &IfName, verb: LinkVerb) -> Option<String> {
        entry("link", self.link.iter().find(|g| g.dev == *dev && (g.verbs.is_empty() || g.verbs.contains(&verb))))
    }

    fn file_entry(&self, path: &str, verb: FileVerb) -> Option<String> {
        entry("file", self.file.iter().find(|grant| grant.path == path && grant.verbs.contains(&verb)))
    }
}

/// The address that an effect is about, with what counts of its prefix: that of an address which goes, or is only told of,
/// does not.
pub(super) fn asked_address(effect: &Effect) -> Option<(VirtualAddress, &IfName)> {
    if let Effect::AddressAdd { address, dev } = effect {
        return Some((*address, dev));
    }
    let (Effect::AddressDelete { address, dev } | Effect::Announce { address, dev, .. }) = effect else { return None };
    Some((VirtualAddress { prefix: address.family().host_prefix(), ..*address }, dev))
}

impl AddrGrant {
    pub(super) fn allows(&self, effect: &Effect) -> bool {
        let allows = |(address, dev)| self.cidr.takes(address) && self.dev.as_ref().is_none_or(|granted| granted == dev);
        asked_address(effect).is_some_and(allows)
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
