//! `vrrp_sync_group`.

use toml::Value;

use super::Shared;
use super::lex::Statement;
use super::notify::{self, Owner, Scripts};
use crate::import::Work;
use crate::import::target::Table;
use crate::types::shown;

/// What a group says for its instances.
const TRACKS: [&str; 4] = [
    "track_interface",
    "track_script",
    "track_process",
    "track_file",
];

/// Notes what a group says for its instances.
pub(super) fn prepare(group: &Statement, shared: &mut Shared) {
    let members = members(group);
    for inner in &group.block {
        if TRACKS.contains(&inner.name()) {
            for member in &members {
                shared
                    .of_groups
                    .entry(member.clone())
                    .or_default()
                    .push(inner.clone());
            }
        }
    }
}

/// The instances of a group, by their names in the file.
fn members(group: &Statement) -> Vec<String> {
    let lists = group.block.iter().filter(|inner| inner.name() == "group");
    lists
        .flat_map(|list| &list.block)
        .flat_map(|member| member.words.clone())
        .chain(old_members(group))
        .collect()
}

/// Without `group` around them, as before keepalived 1.2: words that are no key.
fn old_members(group: &Statement) -> impl Iterator<Item = String> {
    let lists = group.block.iter();
    let plain = lists.filter(|inner| inner.words.len() == 1 && inner.block.is_empty());
    plain.map(|inner| inner.name().to_owned())
}

pub(super) fn read(group: &Statement, shared: &mut Shared, work: &mut Work<'_>) {
    let mut scripts = Scripts::default();
    let mut vhosts: Vec<String> = Vec::new();
    for name in members(group) {
        let vhost = shared.names.get(&name);
        vhosts.extend(vhost.filter(|vhost| !vhosts.contains(vhost)).cloned());
    }
    for inner in &group.block {
        one(inner, &vhosts, &mut scripts, shared, work);
    }
    let is_new = |vhost: &String| !shared.grouped.contains(vhost);
    if !vhosts.iter().all(is_new) {
        work.account.untranslated(
            group.id,
            "one of its instances is in another group already, which neither keepalived nor carpd can do",
        );
    } else if vhosts.len() < 2 {
        work.account
            .different(group.id, "a group needs two virtual hosts: it is none");
    } else {
        agree(group, &vhosts, work);
        let mut table = Table::default();
        table.set("members", vhosts.clone());
        shared.grouped.extend(vhosts.iter().cloned());
        let name = work.target.group_names.give(group.value());
        work.account
            .translated(group.id, format!("`[group.{name}]`"));
        work.target.groups.insert(name, table);
    }
    add_scripts(group, &scripts, &vhosts, work);
}

fn one(
    inner: &Statement,
    vhosts: &[String],
    scripts: &mut Scripts,
    shared: &mut Shared,
    work: &mut Work<'_>,
) {
    match inner.name() {
        "group" => {
            work.account.translated(inner.id, "`members`");
            for member in &inner.block {
                let missing = member
                    .words
                    .iter()
                    .find(|name| !shared.names.contains_key(*name));
                match missing {
                    None => work.account.translated(member.id, "`members`"),
                    Some(name) => work.account.untranslated(
                        member.id,
                        format!("there is no vrrp_instance {}", shown(name)),
                    ),
                }
            }
        }
        "global_tracking" | "sync_group_tracking_weight" => work.account.unneeded(
            inner.id,
            "a group of carpd always follows the tracks of all its members",
        ),
        "smtp_alert" => shared.mail.about(inner, vhosts, work),
        "notify_deleted" | "notify_priority_changes" => work.account.untranslated(
            inner.id,
            "no hook runs then; `carpd events --follow --json` says when it happens",
        ),
        "track_bfd" => {
            work.account.untranslated(
                inner.id,
                "carpd has no BFD: a track of the kind icmp is the nearest",
            );
            super::parts(inner, work);
        }
        name if TRACKS.contains(&name) && vhosts.is_empty() => {
            work.account
                .untranslated(inner.id, "the group has no instance that is in the file");
            super::parts(inner, work);
        }
        name if shared.names.contains_key(name) => {
            work.account.translated(inner.id, "`members`");
        }
        _ => {
            scripts.take(inner);
        }
    }
}

/// The hooks of a group run once: with its first member.
fn add_scripts(group: &Statement, scripts: &Scripts, vhosts: &[String], work: &mut Work<'_>) {
    let is_first = |(_, vhost): &(Vec<String>, Table)| {
        let name = vhost.get("name").and_then(Value::as_str);
        name.is_some() && name == vhosts.first().map(String::as_str)
    };
    let Some(at) = work.target.vhosts.iter().position(is_first) else {
        scripts.nowhere(work);
        return;
    };
    let Some((_, vhost)) = work.target.vhosts.get(at) else {
        return;
    };
    let mut vhost = vhost.clone();
    let interface = vhost
        .get("interface")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let owner = Owner {
        name: group.value(),
        group: true,
        priority: None,
        interface: &interface,
        address: None,
    };
    notify::add(scripts, &owner, &mut vhost, work);
    if let Some((_, old)) = work.target.vhosts.get_mut(at) {
        *old = vhost;
    }
}

/// The keys that must be the same for all members: keepalived lets them differ.
fn agree(group: &Statement, members: &[String], work: &mut Work<'_>) {
    for key in [
        "advbase",
        "advskew",
        "dead-ratio",
        "preempt",
        "preempt-delay",
        "startup-delay",
    ] {
        let of = |vhost: &Table| vhost.get(key).map(ToString::to_string);
        let mut values: Vec<Option<String>> = work
            .target
            .vhosts
            .iter()
            .filter(|(_, vhost)| {
                vhost
                    .get("name")
                    .and_then(Value::as_str)
                    .is_some_and(|name| members.iter().any(|member| member == name))
            })
            .map(|(_, vhost)| of(vhost))
            .collect();
        values.dedup();
        if values.len() > 1 {
            work.account.open(
                group.id,
                format!(
                    "`{key}` must be the same for all members of a group, and differs: choose one"
                ),
            );
        }
    }
}
