//! The entry of the grants that allows an effect, as it is written in the configuration.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{AddrGrant, CarpVerb, FileVerb, Grants, LinkVerb, Own, same_unit};
use crate::effect::{AddressTarget, Effect};
use crate::types::{IfName, VirtualAddress, is_treacherous};

impl Grants {
    /// The line of TOML that allows this effect; `None` if nothing does, or if it needs none: see
    /// [`Self::is_own`].
    #[must_use]
    pub fn entry_for(&self, effect: &Effect) -> Option<String> {
        match effect {
            Effect::AddressAdd { .. } | Effect::AddressDelete { .. } | Effect::Announce { .. } => {
                entry("addr", self.addr.iter().find(|grant| grant.allows(effect)))
            }
            Effect::RouteReplace(route) => {
                entry("route", self.route.iter().find(|grant| grant.allows(route)))
            }
            Effect::RouteDelete(route) => entry(
                "route",
                self.route.iter().find(|grant| grant.allows_named(route)),
            ),
            Effect::RouteAdd(_)
            | Effect::RouteRestore(_)
            | Effect::FileRestore { .. }
            | Effect::MacvlanAdd { .. }
            | Effect::MacvlanDelete { .. }
            | Effect::LinkSetArp { .. } => None,
            Effect::RuleReplace(rule) | Effect::RuleDelete(rule) => {
                entry("rule", self.rule.iter().find(|grant| grant.allows(rule)))
            }
            Effect::LinkSetUp { dev, .. } => self.link_entry(dev, LinkVerb::SetUp),
            Effect::LinkSetMac { dev, .. } => self.link_entry(dev, LinkVerb::SetMac),
            Effect::HostnameSet { name } => entry(
                "hostname",
                self.hostname.iter().find(|granted| *granted == name),
            ),
            Effect::Service { unit, verb } => entry(
                "service",
                self.service
                    .iter()
                    .find(|grant| same_unit(&grant.unit, unit) && grant.verbs.contains(verb)),
            ),
            Effect::SysctlSet { key, value } => entry(
                "sysctl",
                self.sysctl.iter().find(|grant| {
                    grant.key == *key && (grant.values.is_empty() || grant.values.contains(value))
                }),
            ),
            Effect::FileWrite { path, .. } => self.file_entry(path, FileVerb::Write),
            Effect::FileRemove { path } => self.file_entry(path, FileVerb::Remove),
            Effect::CommandRun { name, .. } => self
                .command
                .get(name)
                .map(|grant| format!("command.{} = {}", toml_key(name), inline(grant))),
            Effect::HttpSend(request) => {
                entry("http", self.http.iter().find(|grant| grant.allows(request)))
            }
            Effect::Demote { .. } => entry(
                "carp",
                self.carp.iter().find(|verb| **verb == CarpVerb::Demote),
            ),
            Effect::Resign { .. } => entry(
                "carp",
                self.carp.iter().find(|verb| **verb == CarpVerb::Resign),
            ),
        }
    }

    /// Is it about the virtual host's own address on its own interface? That needs no grant.
    #[must_use]
    pub fn is_own(effect: &Effect, own: Own<'_>) -> bool {
        let covers = |(address, dev)| {
            dev == own.dev
                && own
                    .addresses
                    .iter()
                    .any(|own| AddressTarget::One(*own).takes(address))
        };
        asked_address(effect).is_some_and(covers)
    }

    fn link_entry(&self, dev: &IfName, verb: LinkVerb) -> Option<String> {
        entry(
            "link",
            self.link
                .iter()
                .find(|g| g.dev == *dev && (g.verbs.is_empty() || g.verbs.contains(&verb))),
        )
    }

    fn file_entry(&self, path: &str, verb: FileVerb) -> Option<String> {
        entry(
            "file",
            self.file
                .iter()
                .find(|grant| grant.path == path && grant.verbs.contains(&verb)),
        )
    }
}

/// The address that an effect is about, with what counts of its prefix: that of an address which
/// goes, or is only told of, does not.
pub(super) fn asked_address(effect: &Effect) -> Option<(VirtualAddress, &IfName)> {
    if let Effect::AddressAdd { address, dev } = effect {
        return Some((*address, dev));
    }
    let (Effect::AddressDelete { address, dev } | Effect::Announce { address, dev, .. }) = effect
    else {
        return None;
    };
    Some((
        VirtualAddress {
            prefix: address.family().host_prefix(),
            ..*address
        },
        dev,
    ))
}

impl AddrGrant {
    pub(super) fn allows(&self, effect: &Effect) -> bool {
        let allows = |(address, dev)| {
            self.cidr.takes(address) && self.dev.as_ref().is_none_or(|granted| granted == dev)
        };
        asked_address(effect).is_some_and(allows)
    }
}

fn entry(key: &str, found: Option<&impl Serialize>) -> Option<String> {
    found.map(|grant| format!("{key} = [{}]", inline(grant)))
}

/// A value as TOML on one line.
pub(super) fn inline(value: &impl Serialize) -> String {
    let mut line = String::new();
    // Grants are made of texts, numbers and tables of these: there is nothing that TOML could not
    // write.
    _ = value.serialize(toml::ser::ValueSerializer::new(&mut line));
    // A text of several lines would be written over several lines, and what a terminal obeys as it
    // is.
    if line.contains(is_treacherous) {
        escaped(&line).unwrap_or(line)
    } else {
        line
    }
}

/// The same value, with everything escaped in its texts that would not be seen as it is.
fn escaped(line: &str) -> Option<String> {
    let document = format!("x = {line}");
    let table = DeTable::parse(&document).ok()?;
    table
        .get_ref()
        .iter()
        .next()
        .map(|(_, value)| write(value, &document))
}

fn write(value: &Spanned<DeValue<'_>>, document: &str) -> String {
    match value.get_ref() {
        DeValue::String(text) => toml_string(text),
        DeValue::Array(items) => {
            format!(
                "[{}]",
                items
                    .iter()
                    .map(|item| write(item, document))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
        DeValue::Table(table) => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(key, _)| key.span().start);
            let entry = |(key, value): &(&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
                format!("{} = {}", toml_key(key.get_ref()), write(value, document))
            };
            format!(
                "{{ {} }}",
                entries.iter().map(entry).collect::<Vec<_>>().join(", ")
            )
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            document.get(value.span()).unwrap_or_default().to_owned()
        }
    }
}

/// A key of a table: in quotes if it must be.
pub(super) fn toml_key(name: &str) -> String {
    let is_bare = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if is_bare {
        name.to_owned()
    } else {
        toml_string(name)
    }
}

/// A text as TOML on one line, with everything escaped that a terminal would obey or that nobody
/// would see.
#[must_use]
pub fn toml_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_treacherous(c) => _ = write!(out, "\\U{:08X}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}
