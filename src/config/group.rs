//! Reads `[group.NAME]`, and compares the members of each group.

use std::collections::BTreeMap;
use std::ops::Range;

use super::model::{Group, Place, Vhost};
use super::problem::Findings;
use super::read::{At, Table, nearest, parse};
use super::reference::{group as key, vhost};
use super::{reference, vhost as vhosts};
use crate::types::Name;

/// A group as far as it could be read.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) span: Range<usize>,
    pub(super) members: Vec<At<Name>>,
}

/// All groups by name.
pub(super) fn read_all(root: &Table<'_>, out: &mut Findings) -> BTreeMap<Name, Draft> {
    let groups = root.read(&reference::GROUP, out);
    let mut drafts = BTreeMap::new();
    for (name, table) in groups.map(|groups| groups.value).unwrap_or_default() {
        let span = name.span.clone();
        let name = parse(name, out);
        let members = table.and_then(|table| table.read(&key::MEMBERS, out));
        if let (Some(name), Some(members)) = (name, members) {
            let members = members.value;
            drafts.insert(name.value, Draft { span, members });
        }
    }
    drafts
}

/// The groups as they are used. What is wrong with them has been reported.
pub(super) fn finish(drafts: BTreeMap<Name, Draft>) -> BTreeMap<Name, Group> {
    let group = |draft: Draft| Group {
        members: draft.members.into_iter().map(|name| name.value).collect(),
        place: Place(draft.span),
    };
    let groups = drafts.into_iter();
    groups.map(|(name, draft)| (name, group(draft))).collect()
}

/// Each member must exist, be in one group, and be as the others of its group.
pub(super) fn check(groups: &BTreeMap<Name, Draft>, vhosts: &[vhosts::Draft], out: &mut Findings) {
    let mut seen: BTreeMap<&Name, &Range<usize>> = BTreeMap::new();
    for (name, group) in groups {
        if group.members.len() < 2 {
            out.error(
                group.span.clone(),
                format!("group {name} has fewer than two members"),
            );
        }
        for member in &group.members {
            known(member, vhosts, out);
            if let Some(first) = seen.insert(&member.value, &member.span) {
                out.error(
                    member.span.clone(),
                    format!("{:?} is already in a group", member.value.as_str()),
                )
                .related(first.clone(), "here");
            }
        }
        alike(group, vhosts, out);
    }
}

fn known(member: &At<Name>, vhosts: &[vhosts::Draft], out: &mut Findings) {
    let names = || vhosts.iter().filter_map(|vhost| vhost.name.as_ref());
    if names().any(|name| name.value == member.value) {
        return;
    }
    let known: Vec<&str> = names().map(|name| name.value.as_str()).collect();
    let problem = out.error(
        member.span.clone(),
        format!("no virtual host is called {:?}", member.value.as_str()),
    );
    if let Some(near) = nearest(member.value.as_str(), known.into_iter()) {
        problem.hint(format!("did you mean {near:?}?"));
    }
}

/// What all members of a group need alike: they are compared with other nodes as one.
fn alike(group: &Draft, vhosts: &[vhosts::Draft], out: &mut Findings) {
    let of = |member: &At<Name>| -> Option<(&Vhost, Range<usize>)> {
        let found = |draft: &&vhosts::Draft| {
            let name = draft.name.as_ref();
            name.is_some_and(|name| name.value == member.value)
        };
        let draft = vhosts.iter().find(found)?;
        Some((draft.done.as_ref()?, draft.span.clone()))
    };
    let mut members = group.members.iter().filter_map(of);
    let Some((first, first_span)) = members.next() else {
        return;
    };
    for (other, span) in members {
        let differing = [
            (vhost::NETNS.name, first.netns != other.netns),
            (vhost::ADVBASE.name, first.advbase != other.advbase),
            (vhost::ADVSKEW.name, first.advskew != other.advskew),
            (vhost::DEAD_RATIO.name, first.dead_ratio != other.dead_ratio),
            (vhost::PREEMPT.name, first.preempt != other.preempt),
            (
                vhost::PREEMPT_DELAY.name,
                first.preempt_delay != other.preempt_delay,
            ),
            (
                vhost::STARTUP_DELAY.name,
                first.startup_delay != other.startup_delay,
            ),
            (vhost::HOLD_DOWN.name, first.hold_down != other.hold_down),
            (vhost::PEERS.name, first.peers != other.peers),
            (
                vhost::SEND_DEMOTE_BYTE.name,
                first.send_demote_byte != other.send_demote_byte,
            ),
            (vhost::TIE_BREAK.name, first.tie_break != other.tie_break),
        ];
        for (key, _) in differing.into_iter().filter(|(_, differs)| *differs) {
            let message = format!(
                "{} and {} are in one group, and their {key} differs",
                first.name, other.name
            );
            out.error(span.clone(), message)
                .related(first_span.clone(), "the first member")
                .hint(format!("give all members of the group the same {key}"));
        }
    }
    for (member, span) in group.members.iter().filter_map(of) {
        if !member.manage_addresses {
            let message = format!(
                "{} is in a group, so the daemon must manage its addresses",
                member.name
            );
            out.error(span, message)
                .hint("remove manage-addresses = false: a node must release the addresses of all members before it bows out for any".to_owned());
        }
    }
}
