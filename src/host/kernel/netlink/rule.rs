//! Policy rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use nix::errno::Errno;

use super::message::Message;
use super::{Netlink, Reader, Refusal, address_family};
use crate::effect::{Outcome, RouteTarget, Rule};
use crate::host::HostError;
use crate::types::Family;

impl Netlink {
    /// Makes sure that the rule exists.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn replace_rule(&self, rule: &Rule) -> Result<Outcome, HostError> {
        match self.change(
            &Message::NewRule(as_message(rule)),
            NLM_F_CREATE | NLM_F_EXCL,
        ) {
            Ok(()) => Ok(Outcome::Changed),
            Err(Refusal {
                errno: Errno::EEXIST,
                ..
            }) => Ok(Outcome::Unchanged),
            Err(refusal) => Err(refusal.while_doing(format_args!("adding the rule {rule}"))),
        }
    }

    /// Removes the rule; if it is absent, this is [`Outcome::Unchanged`].
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn delete_rule(&self, rule: &Rule) -> Result<Outcome, HostError> {
        match self.change(&Message::DelRule(as_message(rule)), 0) {
            Ok(()) => Ok(Outcome::Changed),
            Err(Refusal {
                errno: Errno::ENOENT,
                ..
            }) => Ok(Outcome::Unchanged),
            Err(refusal) => Err(refusal.while_doing(format_args!("deleting the rule {rule}"))),
        }
    }
}

impl Reader {
    /// Does this rule exist?
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn has_rule(&self, rule: &Rule) -> Result<bool, HostError> {
        let family = rule.family();
        let mut query = RuleMessage::default();
        query.header.family = address_family(family);
        let found = self.pick(&Message::GetRule(query), |part| match part.message()? {
            Message::NewRule(message) => parsed(&message, family).filter(|found| same(found, rule)),
            _ => None,
        });
        Ok(!found
            .map_err(|refusal| refusal.while_doing("listing the rules"))?
            .is_empty())
    }
}

fn as_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = address_family(rule.family());
    message.header.action = RuleAction::ToTable;
    message.header.table = u8::try_from(rule.table).unwrap_or(0);
    message.attributes = vec![
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::Table(rule.table),
    ];
    if let Some(RouteTarget::Network { ip, prefix }) = rule.from {
        message.header.src_len = prefix;
        message.attributes.push(RuleAttribute::Source(ip));
    }
    if let Some(RouteTarget::Network { ip, prefix }) = rule.to {
        message.header.dst_len = prefix;
        message.attributes.push(RuleAttribute::Destination(ip));
    }
    // A rule can refer to an interface only by its own name; the kernel refuses a longer one.
    message.attributes.extend(
        rule.iif
            .iter()
            .map(|iif| RuleAttribute::Iifname(iif.to_string())),
    );
    message
        .attributes
        .extend(rule.fwmark.map(RuleAttribute::FwMark));
    message
}

fn parsed(message: &RuleMessage, family: Family) -> Option<Rule> {
    if message.header.action != RuleAction::ToTable {
        return None;
    }
    let mut rule = Rule {
        from: None,
        to: None,
        iif: None,
        fwmark: None,
        table: u32::from(message.header.table),
        priority: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::Source(ip) => {
                rule.from = Some(RouteTarget::Network {
                    ip: *ip,
                    prefix: message.header.src_len,
                });
            }
            RuleAttribute::Destination(ip) => {
                rule.to = Some(RouteTarget::Network {
                    ip: *ip,
                    prefix: message.header.dst_len,
                });
            }
            RuleAttribute::Iifname(name) => rule.iif = name.parse().ok(),
            RuleAttribute::FwMark(mark) => rule.fwmark = Some(*mark),
            _ => {}
        }
    }
    if family == Family::V6 && rule.from.is_none() && rule.to.is_none() {
        // A rule without a prefix is taken for IPv4; `from ::/0` is the same rule with the family
        // stated.
        rule.from = Some(RouteTarget::Network {
            ip: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            prefix: 0,
        });
    }
    Some(rule)
}

/// Do two rules select the same packets, however "everything" is written?
fn same(a: &Rule, b: &Rule) -> bool {
    let plain = |target: Option<RouteTarget>| match target {
        Some(RouteTarget::Default | RouteTarget::Network { prefix: 0, .. }) => None,
        other => other,
    };
    let key = |r: &Rule| {
        (
            plain(r.from),
            plain(r.to),
            r.iif.clone(),
            r.fwmark,
            r.table,
            r.priority,
        )
    };
    a.family() == b.family() && key(a) == key(b)
}

/// All zero: the address of a default.
pub(super) const fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
