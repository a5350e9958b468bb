//! Reads the sources and holds which room of a module uses which, and that the files of a room are
//! no ball of wool.

use std::collections::{BTreeMap, BTreeSet};

use super::tidy::{code, sources};

/// Rooms, each with those that it may use.
type Table = &'static [(&'static str, &'static [&'static str])];

/// Which rooms of a module a room may use; a file beside the rooms is a room by itself.
const ROOMS: &[(&str, Table)] = &[
    (
        "engine",
        &[
            ("activity", &[]),
            ("command", &["metrics", "plan", "report"]),
            ("effects", &["metrics", "report", "runs", "vhost"]),
            ("environment", &["reload", "report", "runs", "vhost"]),
            ("error", &[]),
            (
                "handlers",
                &[
                    "command",
                    "effects",
                    "environment",
                    "metrics",
                    "notices",
                    "persist",
                    "plan",
                    "reload",
                    "report",
                    "runs",
                    "signals",
                    "state",
                    "vhost",
                ],
            ),
            ("metrics", &[]),
            ("notices", &["report"]),
            ("offline", &["effects", "error", "reload", "runs", "vhost"]),
            ("persist", &[]),
            (
                "plan",
                &["effects", "offline", "reload", "runs", "sim", "vhost"],
            ),
            ("rehearse", &["reload", "report", "runs", "sim", "vhost"]),
            (
                "reload",
                &[
                    "command", "error", "persist", "report", "rights", "runs", "vhost",
                ],
            ),
            ("report", &[]),
            ("rights", &["report", "runs"]),
            (
                "run",
                &[
                    "command",
                    "environment",
                    "handlers",
                    "reload",
                    "report",
                    "runs",
                    "signals",
                    "start",
                    "state",
                    "vhost",
                ],
            ),
            (
                "runs",
                &[
                    "activity", "effects", "metrics", "notices", "persist", "reload", "report",
                    "vhost",
                ],
            ),
            ("signals", &[]),
            (
                "sim",
                &[
                    "command",
                    "environment",
                    "rehearse",
                    "reload",
                    "runs",
                    "state",
                    "vhost",
                ],
            ),
            (
                "start",
                &[
                    "activity",
                    "command",
                    "effects",
                    "environment",
                    "error",
                    "notices",
                    "persist",
                    "reload",
                    "report",
                    "rights",
                    "runs",
                    "signals",
                    "state",
                    "vhost",
                ],
            ),
            (
                "state",
                &["command", "environment", "reload", "runs", "vhost"],
            ),
            ("vhost", &["command", "persist", "report", "runs"]),
        ],
    ),
    (
        "host",
        &[
            ("children", &["clock", "kernel", "services"]),
            ("clock", &[]),
            ("kernel", &["clock", "services"]),
            ("linux", &["children", "kernel", "services"]),
            ("recording", &[]),
            ("services", &[]),
            ("sim", &["clock"]),
        ],
    ),
    (
        "hooks",
        &[
            ("artifact", &["contract", "process", "runtime"]),
            ("contract", &[]),
            ("process", &["artifact", "contract"]),
            ("runtime", &["contract"]),
        ],
    ),
    (
        "cli",
        &[
            ("dev", &[]),
            ("excerpt", &[]),
            ("foresee", &["excerpt", "xml"]),
            ("operate", &["foresee"]),
            ("plugin", &["foresee", "write"]),
            ("ucarp", &[]),
            ("write", &["excerpt", "foresee", "xml"]),
            ("xml", &[]),
        ],
    ),
];

/// Files of one room that need each other in a circle, at most.
const CIRCLE_MAX: usize = 3;

type Path = Vec<String>;

/// The files of a top-level module by their path of modules, with what each names of the others.
/// Tests do not count.
fn files(top: &str) -> BTreeMap<Path, BTreeSet<Path>> {
    let texts: BTreeMap<Path, (bool, String)> = sources(&format!("src/{top}"))
        .into_iter()
        .map(|(path, text)| {
            let is_mod = path.file_name().is_some_and(|name| name == "mod.rs");
            let path = path.with_extension("");
            let mut names: Path = path
                .components()
                .skip(2)
                .map(|part| part.as_os_str().to_str().unwrap().to_owned())
                .collect();
            if is_mod {
                names.pop();
            }
            let code = code(&text);
            let before_tests = code.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            (names, (is_mod, before_tests.to_owned()))
        })
        .filter(|(names, _)| !names.iter().any(|name| name == "tests"))
        .collect();
    let used = |names: &Path, text: &str| -> BTreeSet<Path> {
        let known = |path: &Path| {
            let prefixes = (1..=path.len()).rev().map(|length| path[..length].to_vec());
            prefixes
                .into_iter()
                .find(|prefix| texts.contains_key(prefix))
        };
        let found = named(text, top, names);
        found
            .iter()
            .filter_map(known)
            .filter(|used| used != names)
            .collect()
    };
    texts
        .iter()
        .map(|(names, (_, text))| (names.clone(), used(names, text)))
        .collect()
}

/// Every path in a text that leads into the module `top`, without its name.
fn named(text: &str, top: &str, own: &Path) -> Vec<Path> {
    let mut found = Vec::new();
    let absolute = format!("crate::{top}::");
    for (at, _) in text.match_indices(&absolute) {
        found.extend(expand(&[], &text[at + absolute.len()..]));
    }
    for (at, _) in text.match_indices("super::") {
        let before = &text[..at];
        if before.ends_with("super::")
            || before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
        {
            continue;
        }
        let mut rest = &text[at..];
        let mut base = own.len();
        while let Some(further) = rest.strip_prefix("super::") {
            (rest, base) = (further, base.saturating_sub(1));
        }
        found.extend(expand(&own[..base], rest));
    }
    found
}

/// `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(base: &[String], text: &str) -> Vec<Path> {
    let mut path = base.to_vec();
    let mut rest = text;
    loop {
        if let Some(list) = rest.strip_prefix('{') {
            return items(list)
                .iter()
                .flat_map(|item| expand(&path, item))
                .collect();
        }
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let (name, further) = rest.split_at(end);
        if name != "self" && !name.is_empty() {
            path.push(name.to_owned());
        }
        match further.strip_prefix("::") {
            Some(further) => rest = further,
            None => return vec![path],
        }
    }
}

/// The items of a list in braces, each with the braces in it.
fn items(list: &str) -> Vec<String> {
    let (mut items, mut depth) = (vec![String::new()], 0);
    for c in list.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        match items.last_mut() {
            Some(item) if c != ',' || depth > 0 => item.push(c),
            _ => items.push(String::new()),
        }
    }
    let trimmed = items.iter().map(|item| item.trim().to_owned());
    trimmed.filter(|item| !item.is_empty()).collect()
}

fn room(path: &Path) -> &str {
    path.first().map_or("", String::as_str)
}

/// The largest set of files of which each leads to each other.
fn largest_circle(files: &BTreeMap<Path, BTreeSet<Path>>) -> Vec<&Path> {
    let reach = |from: &Path| {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(next) = todo.pop() {
            for used in files.get(&next).into_iter().flatten() {
                if files.contains_key(used) && seen.insert(used.clone()) {
                    todo.push(used.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Path, BTreeSet<Path>> =
        files.keys().map(|path| (path, reach(path))).collect();
    let circle = |of: &Path| -> Vec<&Path> {
        let with = |other: &&Path| reached[of].contains(*other) && reached[*other].contains(of);
        files.keys().filter(with).collect()
    };
    files
        .keys()
        .map(circle)
        .max_by_key(Vec::len)
        .unwrap_or_default()
}

#[test]
fn rooms_use_only_the_rooms_that_the_design_allows() {
    let mut wrong = Vec::new();
    for (top, table) in ROOMS {
        for (path, used) in files(top).into_iter().filter(|(path, _)| !path.is_empty()) {
            let Some((_, may)) = table.iter().find(|(name, _)| *name == room(&path)) else {
                wrong.push(format!("src/{top}: {} is not in the table", room(&path)));
                continue;
            };
            let elsewhere = |other: &&Path| room(other) != room(&path);
            for other in used.iter().filter(elsewhere) {
                if !may.contains(&room(other)) {
                    wrong.push(format!(
                        "src/{top}: {} may not use {}",
                        path.join("/"),
                        other.join("/")
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_more_than_three_files_of_a_room_need_each_other() {
    for (top, table) in ROOMS {
        let all = files(top);
        for (name, _) in *table {
            let of_room = all.iter().filter(|(path, _)| room(path) == *name);
            let of_room = of_room
                .map(|(path, used)| (path.clone(), used.clone()))
                .collect();
            let circle = largest_circle(&of_room);
            assert!(circle.len() <= CIRCLE_MAX, "src/{top}/{name}: {circle:?}");
        }
    }
}

#[test]
fn the_reading_of_paths_is_right() {
    let own: Path = ["a".to_owned(), "b".to_owned()].into();
    let text = "use crate::top::{c::{self, D}, e::f::G};\nuse super::h;\nsuper::super::i::J::k();\nother_super::l;\n";
    let found: Vec<_> = named(text, "top", &own)
        .iter()
        .map(|path| path.join("/"))
        .collect();
    assert_eq!(found, ["c", "c/D", "e/f/G", "a/h", "i/J/k"]);
    let circle = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")];
    let files = circle
        .iter()
        .map(|(from, to)| {
            (
                vec![(*from).to_owned()],
                BTreeSet::from([vec![(*to).to_owned()]]),
            )
        })
        .collect();
    assert_eq!(largest_circle(&files).len(), 3);
}
