//! `vrrp_script`, `vrrp_track_process` and `vrrp_track_file`, and what an instance says of them.

use toml::Value;

use super::Shared;
use super::lex::Statement;
use crate::import::account::Id;
use crate::import::target::{Table, duration};
use crate::import::{Work, common};

/// A thing that instances track.
#[derive(Debug, Clone)]
pub(super) struct Track {
    /// Its keys, but for what follows from it.
    table: Table,
    weight: Option<i32>,
    /// The name in the result, once an instance has named it, for each weight.
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Script,
    Process,
    File,
}

/// Reads a definition.
pub(super) fn define(statement: &Statement, shared: &mut Shared, work: &mut Work<'_>) {
    let name = statement.value().to_owned();
    let kind = match statement.name() {
        "vrrp_script" => Kind::Script,
        name if name.ends_with("process") => Kind::Process,
        _ => Kind::File,
    };
    work.account.translated(
        statement.id,
        format!("`[track.{}]`", crate::types::shown(&name)),
    );
    let mut track = Track {
        table: Table::default(),
        weight: None,
        kind,
    };
    match kind {
        Kind::Script => script(statement, shared, &mut track, work),
        Kind::Process => process(statement, &mut track, work),
        Kind::File => file(statement, &mut track, work),
    }
    let lacks = match kind {
        Kind::Script => (statement
            .part("script")
            .map_or("", Statement::value)
            .is_empty())
        .then_some("it names no script"),
        Kind::Process => {
            let name = track.table.get("process").and_then(Value::as_str);
            let is_one = name.is_some_and(|name| !name.is_empty());
            (!is_one).then_some("it names no program")
        }
        Kind::File => {
            let path = track.table.get("path").and_then(Value::as_str);
            let is_absolute = path.is_some_and(|path| path.starts_with('/'));
            (!is_absolute).then_some("it names no file by an absolute path")
        }
    };
    match lacks {
        Some(why) => work.account.untranslated(statement.id, why),
        None => {
            shared.tracks.insert(name, track);
        }
    }
}

fn script(statement: &Statement, shared: &Shared, track: &mut Track, work: &mut Work<'_>) {
    let line = statement
        .part("script")
        .map(Statement::rest)
        .unwrap_or_default();
    let process = process_of(&line);
    let table = &mut track.table;
    if let Some(process) = &process {
        table.set("kind", "process");
        table.set("process", process.as_str());
    } else {
        table.set("kind", "command");
        table.set("argv", argv(&line));
    }
    let mut of_it = Timing::default();
    let mut user = shared.script_user.clone();
    for inner in &statement.block {
        match inner.name() {
            "script" if process.is_some() => {
                work.account.different(inner.id, "a track of the kind `process`: the kernel tells of its end, so that nothing need be run");
            }
            "script" => work.account.translated(inner.id, "`argv`"),
            "interval" | "timeout" | "rise" | "fall" => of_it.take(inner, process.is_some(), work),
            "weight" => weight(inner, track, work),
            "user" => {
                user = Some(inner.value().to_owned());
                work.account.translated(inner.id, "`user`");
            }
            "init_fail" => work
                .account
                .unneeded(inner.id, "the first result counts at once"),
            _ => {}
        }
    }
    let table = &mut track.table;
    let interval = of_it.interval.unwrap_or_else(|| "1s".to_owned());
    if process.is_none() {
        let timeout = of_it.timeout.or(of_it.as_timeout);
        table.set("interval", interval.as_str());
        table.set("timeout", timeout.unwrap_or_else(|| "1s".to_owned()));
        table.set("rise", of_it.rise.unwrap_or(1));
        table.set("fall", of_it.fall.unwrap_or(1));
        let user = user.filter(|user| !user.is_empty());
        if user.is_none() {
            work.account.different(statement.id, "it runs as root, as in keepalived where there is no user keepalived_script; most checks need not (`user`)");
        }
        table.set("user", user.unwrap_or_else(|| "root".to_owned()));
    }
}

/// When a script runs, and how many results count.
#[derive(Default)]
struct Timing {
    interval: Option<String>,
    timeout: Option<String>,
    /// The interval, as far as it can be a time limit: keepalived's default.
    as_timeout: Option<String>,
    rise: Option<i64>,
    fall: Option<i64>,
}

impl Timing {
    fn take(&mut self, statement: &Statement, is_process: bool, work: &mut Work<'_>) {
        let (name, value, id) = (statement.name(), statement.value(), statement.id);
        if is_process {
            work.account
                .unneeded(id, "the kernel tells of the program's end at once");
            return;
        }
        let set = match name {
            "interval" => duration(value, 50..=3_600_000).map(|time| {
                self.as_timeout = duration(value, 50..=60_000)
                    .ok()
                    .or_else(|| Some("1m".to_owned()));
                self.interval = Some(time);
            }),
            "timeout" => duration(value, 10..=60_000).map(|time| self.timeout = Some(time)),
            _ => match value.parse::<i64>() {
                Ok(n) if (1..=100).contains(&n) => {
                    let place = if name == "rise" {
                        &mut self.rise
                    } else {
                        &mut self.fall
                    };
                    *place = Some(n);
                    Ok(())
                }
                _ => Err("carpd takes 1 to 100 here: choose another value".to_owned()),
            },
        };
        match set {
            Ok(()) => work.account.translated(id, format!("`{name}`")),
            Err(why) => work.account.untranslated(id, why),
        }
    }
}

/// `killall -0 NAME`, `pidof NAME`, `pgrep -x NAME`: the program that it looks for.
fn process_of(line: &str) -> Option<String> {
    let words = common::words(line)?;
    let program = words.first()?.rsplit('/').next()?;
    let options = words.get(1..words.len().checked_sub(1)?)?;
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let name = words.last()?;
    let plain = !name.starts_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let looks = matches!(
        (program, options.as_slice()),
        ("killall", ["-0"] | ["-q", "-0"] | ["-0", "-q"])
            | ("pidof", [] | ["-q"])
            | ("pgrep", ["-x"])
    );
    (plain && looks && words.len() > 1).then(|| name.clone())
}

/// The program and its arguments; a shell where the line needs one.
fn argv(line: &str) -> Vec<String> {
    let needs_shell = line.contains(['|', '&', ';', '<', '>', '$', '`', '*', '(', '~']);
    match common::words(line) {
        Some(words)
            if !needs_shell
                && words
                    .first()
                    .is_some_and(|program| program.starts_with('/')) =>
        {
            words
        }
        _ => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()],
    }
}

fn process(statement: &Statement, track: &mut Track, work: &mut Work<'_>) {
    track.table.set("kind", "process");
    for inner in &statement.block {
        match inner.name() {
            "process" => {
                let words = inner.words.get(1..).unwrap_or_default();
                let program = words
                    .first()
                    .map_or("", |word| word.rsplit('/').next().unwrap_or_default());
                track.table.set("process", program);
                if words.len() > 1 {
                    work.account.different(
                        inner.id,
                        "its arguments are not looked at: any process of the program counts",
                    );
                } else {
                    work.account.translated(inner.id, "`process`");
                }
            }
            "weight" => weight(inner, track, work),
            "quorum" if inner.value() == "1" => {
                work.account.translated(inner.id, "one process is enough");
            }
            "quorum" | "quorum_max" => work.account.untranslated(
                inner.id,
                "one process of the program is enough for carpd, however many there are: a script can count them",
            ),
            "delay" | "fork_delay" | "terminate_delay" => work
                .account
                .different(inner.id, "the program's start and end count at once"),
            "full_command" | "param_match" => {
                work.account.different(
                    inner.id,
                    "its arguments are not looked at: any process of the program counts",
                );
            }
            _ => {}
        }
    }
}

fn file(statement: &Statement, track: &mut Track, work: &mut Work<'_>) {
    track.table.set("kind", "file");
    // keepalived's default.
    track.weight = Some(1);
    for inner in &statement.block {
        match inner.name() {
            "file" => {
                track.table.set("path", inner.value());
                work.account.translated(inner.id, "`path`");
            }
            "weight" => weight(inner, track, work),
            "init_file" => work.account.different(
                inner.id,
                "carpd writes no such file; one that is missing counts as 0",
            ),
            _ => {}
        }
    }
}

fn weight(inner: &Statement, track: &mut Track, work: &mut Work<'_>) {
    match inner.value().parse::<i32>() {
        Ok(weight) if inner.words.len() == 2 && in_range(weight) => {
            track.weight = Some(weight);
            work.account.translated(inner.id, "`demote`");
        }
        Ok(_) if inner.words.len() > 2 => work.account.untranslated(
            inner.id,
            "carpd cannot take a good result for a bad one: turn the result round",
        ),
        _ => work
            .account
            .untranslated(inner.id, "its weight is no number from -254 to 254"),
    }
}

/// keepalived's own bounds.
fn in_range(weight: i32) -> bool {
    (-254..=254).contains(&weight)
}

/// What an instance has of a `track_script`, `track_process`, `track_file` or `track_interface`.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    /// The names in the result.
    pub(super) names: Vec<String>,
    /// By how much all good results raise the priority.
    pub(super) raised: i32,
}

/// Reads a block of names with weights, as `chk_haproxy weight -20`.
pub(super) fn of_instance(
    statement: &Statement,
    shared: &Shared,
    tracked: &mut Tracked,
    work: &mut Work<'_>,
) {
    work.account.translated(statement.id, "`tracks`");
    for inner in &statement.block {
        let own = inner
            .words
            .iter()
            .position(|word| word == "weight")
            .map(|at| inner.words.get(at + 1));
        let has_weight = own.is_some();
        let own = match own {
            Some(_) if inner.words.last().is_some_and(|last| last == "reverse") => {
                work.account.untranslated(
                    inner.id,
                    "carpd cannot take a good result for a bad one: turn the result round",
                );
                continue;
            }
            Some(Some(text)) => text.parse::<i32>().ok().filter(|weight| in_range(*weight)),
            None | Some(None) => None,
        };
        if own.is_none() && has_weight {
            work.account
                .untranslated(inner.id, "its weight is no number from -254 to 254");
            continue;
        }
        if statement.name() == "track_interface" {
            interface(inner, own, tracked, work);
            continue;
        }
        let Some(track) = shared.tracks.get(inner.name()) else {
            work.account.untranslated(
                inner.id,
                format!(
                    "{} is not defined, or its definition is not translated",
                    crate::types::shown(inner.name())
                ),
            );
            continue;
        };
        let weight = own.or(track.weight).unwrap_or(0);
        if track.kind == Kind::File && weight > 0 {
            work.account.untranslated(
                inner.id,
                "the number in the file raises the priority: carpd can only be demoted, so turn its sign round and give a weight below 0",
            );
            continue;
        }
        enter(
            inner.id,
            inner.name(),
            track.table.clone(),
            weight,
            tracked,
            work,
        );
    }
}

fn interface(inner: &Statement, weight: Option<i32>, tracked: &mut Tracked, work: &mut Work<'_>) {
    if inner.name().parse::<crate::types::IfName>().is_err() {
        work.account
            .untranslated(inner.id, "no interface has such a name");
        return;
    }
    let mut table = Table::default();
    table.set("kind", "link");
    table.set("interface", inner.name());
    enter(
        inner.id,
        inner.name(),
        table,
        weight.unwrap_or(0),
        tracked,
        work,
    );
}

/// Enters the track with what follows from this weight. Instances may track one thing with several
/// weights: that is one track each.
fn enter(
    id: Id,
    wanted: &str,
    mut table: Table,
    weight: i32,
    tracked: &mut Tracked,
    work: &mut Work<'_>,
) {
    if weight != 0 {
        let by = weight.unsigned_abs().min(240);
        table.set("demote", i64::from(by));
    }
    if weight > 0 {
        tracked.raised += weight;
    }
    let same = table.text();
    let name = if let Some(name) = work.target.track_names_of.get(&same) {
        name.clone()
    } else {
        let name = work.target.track_names.give(wanted);
        work.target.tracks.insert(name.clone(), table.clone());
        work.target.track_names_of.insert(same, name.clone());
        name
    };
    let follows = match table.get("demote") {
        Some(Value::Integer(by)) => format!("`[track.{name}]`, which demotes by {by}"),
        _ => format!("`[track.{name}]`"),
    };
    work.account.translated(id, follows);
    if !tracked.names.contains(&name) {
        tracked.names.push(name);
    }
}
