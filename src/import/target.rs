//! The configuration that an import makes, and how it is written.

use std::collections::BTreeMap;

use toml::Value;

use crate::types::{Name, shown};

/// The most characters of a name that come from its source: there is room for what is added.
const NAME_MAX: usize = 40;

/// The keys of a table, in the order in which they are written.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    keys: Vec<(&'static str, Value)>,
}

impl Table {
    /// Writes a key, or another value for it.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        let value = value.into();
        match self.keys.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.keys.push((key, value)),
        }
    }

    /// Appends to a list.
    pub(super) fn push(&mut self, key: &'static str, value: impl Into<Value>) {
        let value = value.into();
        match self.keys.iter_mut().find(|(name, _)| *name == key) {
            Some((_, Value::Array(list))) => {
                if !list.contains(&value) {
                    list.push(value);
                }
            }
            _ => self.set(key, vec![value]),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let mut keys = self.keys.iter();
        keys.find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// As TOML.
    pub(super) fn text(&self) -> String {
        let lines = self
            .keys
            .iter()
            .map(|(key, value)| format!("{key} = {value}\n"));
        lines.collect()
    }
}

/// A file beside the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path, relative to the configuration.
    pub path: String,
    /// What is in it.
    pub text: String,
    /// Is it a password, which nobody else may read?
    pub secret: bool,
}

/// All that is made.
#[derive(Debug, Default)]
pub(super) struct Target {
    pub(super) daemon: Table,
    pub(super) log: Table,
    /// Each with what stands above it, as comments.
    pub(super) vhosts: Vec<(Vec<String>, Table)>,
    pub(super) groups: BTreeMap<String, Table>,
    pub(super) tracks: BTreeMap<String, Table>,
    pub(super) notify: BTreeMap<String, Table>,
    /// `[hook.NAME]` and the tables in it, as TOML.
    pub(super) hooks: BTreeMap<String, String>,
    pub(super) files: Vec<File>,
    pub(super) vhost_names: Names,
    pub(super) track_names: Names,
    /// The names of the tracks, by what is in their tables.
    pub(super) track_names_of: BTreeMap<String, String>,
    pub(super) group_names: Names,
    hook_names: Names,
}

impl Target {
    /// A name for a hook. It stands in the headers of tables that others write, so it has no dot.
    pub(super) fn hook_name(&mut self, wanted: &str) -> String {
        self.hook_names.give(&wanted.replace('.', "-"))
    }

    /// The text of `carpd.toml`; `head` stands above it, as a comment.
    pub(super) fn write(&self, head: &[String]) -> String {
        let mut text: String = head.iter().map(|line| comment(line)).collect();
        let section = |header: String, table: &Table, text: &mut String| {
            text.push_str(&format!("\n{header}\n"));
            text.push_str(&table.text());
        };
        for (header, table) in [("[daemon]", &self.daemon), ("[daemon.log]", &self.log)] {
            if !table.keys.is_empty() {
                section(header.to_owned(), table, &mut text);
            }
        }
        for (comments, table) in &self.vhosts {
            text.push('\n');
            text.extend(comments.iter().map(|line| comment(line)));
            text.push_str("[[vhost]]\n");
            text.push_str(&table.text());
        }
        for (name, table) in &self.groups {
            section(format!("[group.{}]", key(name)), table, &mut text);
        }
        for (name, table) in &self.tracks {
            section(format!("[track.{}]", key(name)), table, &mut text);
        }
        for (name, table) in &self.notify {
            section(format!("[notify.{}]", key(name)), table, &mut text);
        }
        for hook in self.hooks.values() {
            text.push('\n');
            text.push_str(hook.trim_end());
            text.push('\n');
        }
        text
    }
}

/// The names that are given to things of one kind.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Each with the number that the next one that wants it gets.
    given: BTreeMap<String, u32>,
}

impl Names {
    /// A name that no other one has: as near to `wanted` as the rules for names allow.
    pub(super) fn give(&mut self, wanted: &str) -> String {
        let allowed = |c: char| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        };
        let mut name: String = wanted.chars().map(allowed).take(NAME_MAX).collect();
        if Name::new(&name).is_err() {
            name = format!("v{name}");
        }
        let mut number = self.given.get(&name).copied().unwrap_or(1);
        let mut given = name.clone();
        while self.given.contains_key(&given) {
            number += 1;
            given = format!("{name}-{number}");
        }
        self.given.insert(given.clone(), 1);
        self.given.insert(name, number);
        given
    }
}

/// A name as a part of a header: a dot in it would end it.
fn key(name: &str) -> String {
    if name.contains('.') {
        Value::from(name).to_string()
    } else {
        name.to_owned()
    }
}

/// A line of a comment; control characters would end it.
fn comment(line: &str) -> String {
    let line: String = line
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("# {line}").trim_end().to_owned() + "\n"
}

/// A number of seconds, perhaps with a fraction, as a duration.
///
/// # Errors
/// Words: it is none, or it is not within these bounds, in milliseconds.
pub(super) fn duration(
    text: &str,
    bounds: std::ops::RangeInclusive<u64>,
) -> Result<String, String> {
    let not_one = || format!("{:?} is no number of seconds", shown(text));
    let seconds: f64 = text.parse().map_err(|_| not_one())?;
    if !(0.0..=1e9).contains(&seconds) {
        return Err(not_one());
    }
    let ms = std::time::Duration::from_secs_f64(seconds).as_millis();
    let ms = u64::try_from(ms).map_err(|_| not_one())?;
    if !bounds.contains(&ms) {
        return Err(format!(
            "carpd takes {} to {} here: choose another value",
            written(*bounds.start()),
            written(*bounds.end())
        ));
    }
    Ok(written(ms))
}

/// Milliseconds as a duration of the configuration.
fn written(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}
