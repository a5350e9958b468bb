//! What to say to a name that does not exist.

use super::{FUNCTIONS, groups};
use crate::hooks::EntryPoint;
use crate::types::shown_within;

/// One field of an event.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it is, with its unit.
    pub doc: &'static str,
}

macro_rules! fields {
    ($($name:literal: $doc:literal,)*) => { &[$(Field { name: $name, doc: $doc }),*] };
}

/// The fields of the event that an entry point is given.
pub const EVENT_FIELDS: &[Field] = fields! {
    "entry": "The entry point's name.",
    "instance": "The virtual host: name, interface, vhid, addresses.",
    "state": "Its state now: \"init\", \"backup\" or \"master\".",
    "previous": "Its state before.",
    "cause": "Why it changed, as a fixed word such as \"master-down\".",
    "cause_text": "Why it changed, in words.",
    "peer": "The address whose advertisement led to it, or nil.",
    "seq": "The transition's number; grows, never reused.",
    "initial": "true for the first call after the daemon's start, which tells the state and not a change of it.",
    "missed": "How many transitions were overtaken before this one could be told.",
    "xparam": "ucarp's --xparam, or nil.",
    "node": "This node's host name when the daemon started.",
    "time_left_ms": "What is left of the time budget when the call begins, in ms.",
};

/// The fields of `event.instance`.
pub const INSTANCE_FIELDS: &[Field] = fields! {
    "name": "Its name in the configuration.",
    "interface": "Its interface.",
    "vhid": "Its virtual host id, 1 to 255.",
    "addresses": "A list of its addresses with prefix lengths, as text.",
};

/// Names that other Lua programs have, and what a hook uses instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("io", "hooks have no io; use file.read and file.write"),
    (
        "os",
        "hooks have no os; use command.run, clock.wall and clock.now",
    ),
    (
        "package",
        "hooks have no package; require finds modules below the hook's directory",
    ),
    ("load", "hooks cannot load code from text; use require"),
    (
        "loadstring",
        "hooks cannot load code from text; use require",
    ),
    ("loadfile", "hooks cannot load files; use require"),
    ("dofile", "hooks cannot load files; use require"),
    ("getfenv", "hooks have no getfenv"),
    ("setfenv", "hooks have no setfenv"),
    ("newproxy", "hooks have no newproxy"),
    (
        "collectgarbage",
        "hooks have no collectgarbage; each run has its own heap",
    ),
    ("unpack", "use table.unpack"),
    (
        "event",
        "the event is the entry point's argument: function on_master(event)",
    ),
];

/// Names of Lua's own, and what every script has besides, that a mistyped global may mean.
pub(in crate::hooks) const LUA: &[&str] = &[
    "assert",
    "bit32",
    "buffer",
    "config",
    "coroutine",
    "error",
    "getmetatable",
    "ipairs",
    "math",
    "next",
    "pairs",
    "pcall",
    "print",
    "rawequal",
    "rawget",
    "rawlen",
    "rawset",
    "require",
    "select",
    "setmetatable",
    "string",
    "table",
    "tolerant",
    "tonumber",
    "tostring",
    "type",
    "typeof",
    "utf8",
    "xpcall",
];

/// The candidate that was most likely meant; `None` if none is near.
pub fn nearest<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if given.len() > 64 {
        return None;
    }
    let distance = |c: &str| strsim::damerau_levenshtein(given, c);
    candidates
        .map(|c| (distance(c), c))
        .filter(|(d, c)| *d <= (c.len().max(given.len()) / 3).max(1))
        .min()
        .map(|(_, c)| c)
}

fn shown(name: &str) -> String {
    shown_within(name, 64)
}

fn hint(found: Option<String>) -> String {
    found
        .map(|name| format!("; did you mean {name}?"))
        .unwrap_or_default()
}

/// `addr.ad` does not exist.
#[must_use]
pub fn unknown_function(group: &str, name: &str) -> String {
    let here = || {
        FUNCTIONS
            .iter()
            .filter(|f| f.group == group)
            .map(|f| f.name)
    };
    let found = nearest(name, here()).map(|found| format!("{group}.{found}"));
    let elsewhere = || {
        FUNCTIONS
            .iter()
            .find(|f| f.name == name)
            .map(|f| format!("{}.{}", f.group, f.name))
    };
    let known = if found.is_none() && elsewhere().is_none() {
        format!("; {group} has {}", here().collect::<Vec<_>>().join(", "))
    } else {
        String::new()
    };
    format!(
        "no function {group}.{}{}{known}",
        shown(name),
        hint(found.or_else(elsewhere))
    )
}

/// The global `adr` does not exist.
#[must_use]
pub fn unknown_global(name: &str) -> String {
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
        return (*instead).to_owned();
    }
    let found = nearest(name, groups().chain(LUA.iter().copied())).map(str::to_owned);
    format!("there is no {}{}", shown(name), hint(found))
}

/// A field that `event` or `event.instance` does not have; `None` if it may be there but has no
/// value now.
#[must_use]
pub fn unknown_field(table: &str, name: &str) -> Option<String> {
    let fields = if table == "event" {
        EVENT_FIELDS
    } else {
        INSTANCE_FIELDS
    };
    if fields.iter().any(|f| f.name == name) {
        return None;
    }
    let found =
        nearest(name, fields.iter().map(|f| f.name)).map(|found| format!("{table}.{found}"));
    Some(format!("no field {table}.{}{}", shown(name), hint(found)))
}

/// A function that a hook defines and that nobody calls, because its name is nearly an entry
/// point's.
#[must_use]
pub fn unknown_entry_point(name: &str) -> Option<&'static str> {
    let names = || EntryPoint::ALL.iter().map(|e| e.as_str());
    if names().any(|n| n == name) || !(name.starts_with("on") || name.starts_with("before")) {
        return None;
    }
    names()
        .map(|n| (strsim::damerau_levenshtein(name, n), n))
        .filter(|(d, _)| *d <= 2)
        .min()
        .map(|(_, n)| n)
}
