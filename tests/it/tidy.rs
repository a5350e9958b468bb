//! Reads the sources and holds the rules that no compiler knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules of the crate a module may use. `a::b` allows only that part of `a`.
const EDGES: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("proto", &["types"]),
    ("effect", &["types"]),
    ("trust", &[]),
    ("notification", &["types"]),
    (
        "config",
        &[
            "types",
            "proto",
            "effect",
            "trust",
            "notification",
            "resolve",
        ],
    ),
    ("backoff", &[]),
    ("frame", &[]),
    ("process", &[]),
    ("record", &["resolve"]),
    ("resolve", &[]),
    ("sandbox", &[]),
    (
        "ledger",
        &["types", "proto", "effect", "process", "record", "resolve"],
    ),
    (
        "journal",
        &["types", "proto", "effect", "record", "resolve"],
    ),
    (
        "hooks",
        &["types", "effect", "trust", "frame", "sandbox", "resolve"],
    ),
    (
        "host",
        &[
            "types", "effect", "frame", "process", "record", "sandbox", "resolve",
        ],
    ),
    (
        "reader",
        &[
            "trust", "config", "frame", "process", "resolve", "sandbox", "hooks", "host",
        ],
    ),
    (
        "keeper",
        &[
            "backoff",
            "types",
            "ledger",
            "host",
            "hooks::contract",
            "reader::ROLE",
            "telemetry::child",
            "telemetry::stderr",
            "programs",
        ],
    ),
    (
        "engine",
        &[
            "telemetry::stderr",
            "backoff",
            "types",
            "frame",
            "record",
            "resolve",
            "proto",
            "effect",
            "trust",
            "notification",
            "config",
            "ledger",
            "journal",
            "hooks",
            "host",
            "reader",
            "keeper",
            "programs",
        ],
    ),
    (
        "control",
        &[
            "types",
            "process",
            "resolve",
            "ledger",
            "journal",
            "host::clock",
            "keeper",
            "engine",
        ],
    ),
    (
        "endpoint",
        &[
            "types", "backoff", "frame", "process", "config", "host", "keeper", "engine", "control",
        ],
    ),
    ("telemetry", &["types"]),
    ("programs", &["telemetry", "resolve"]),
    ("terminal", &["types", "config", "telemetry"]),
    (
        "daemon",
        &[
            "types",
            "backoff",
            "ledger",
            "resolve",
            "proto",
            "effect",
            "config",
            "host",
            "reader",
            "keeper",
            "engine",
            "control",
            "endpoint",
            "telemetry",
            "programs",
            "terminal",
        ],
    ),
    // The programs: they see the library from outside.
    ("carpd-daemon", &["daemon"]),
    (
        "carpd-worker",
        &[
            "types",
            "effect",
            "frame",
            "sandbox",
            "hooks",
            "host",
            "programs::role",
            "terminal",
        ],
    ),
    ("registry", &["types", "trust"]),
    (
        "lab",
        &[
            "types",
            "proto",
            "effect",
            "config",
            "ledger",
            "journal",
            "hooks",
            "host",
            "engine",
            "keeper",
            "control",
            "telemetry",
            "programs",
        ],
    ),
    ("port", &["types", "effect", "config", "hooks"]),
    ("import", &["types", "config", "port"]),
    (
        "testing",
        &[
            "types",
            "proto",
            "effect",
            "config",
            "frame",
            "sandbox",
            "journal",
            "hooks",
            "host",
            "engine",
            "keeper",
            "programs::role",
        ],
    ),
    (
        "cli",
        &[
            "types",
            "process",
            "resolve",
            "proto",
            "effect",
            "trust",
            "config",
            "ledger",
            "journal",
            "hooks",
            "host",
            "reader",
            "engine",
            "keeper",
            "control",
            "telemetry",
            "programs",
            "terminal",
            "daemon",
            "registry",
            "lab",
            "port",
            "import",
            "testing",
        ],
    ),
];

const LINES_MAX: usize = 960;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a directory of the project.
pub(super) fn sources(below: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut todo = vec![root().join(below)];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{below} has sources");
    found
}

/// The code of a file: what stands before `//` in each line.
pub(super) fn code(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .fold(String::new(), |all, line| all + line + "\n")
}

/// `src/config/read.rs` belongs to `config`, `src/telemetry.rs` to `telemetry`; `main.rs`,
/// `lib.rs` and `build.rs` to none; what is in `src/bin` belongs to its program.
fn module(path: &Path) -> Option<String> {
    let path = path.strip_prefix("src").ok()?;
    let path = path.strip_prefix("bin").unwrap_or(path);
    let first = path.components().next()?;
    let name = Path::new(first.as_os_str())
        .file_stem()?
        .to_str()?
        .to_owned();
    (!["main", "lib", "build"].contains(&name.as_str())).then_some(name)
}

/// What a file names of its crate: `a` or `a::b`, from `crate::a::b` and from `use crate::{a,
/// a::b}`.
fn uses(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, prefix) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(items(list).iter().map(|item| two_names(item))),
            None => drop(found.insert(two_names(rest))),
        }
    }
    found
}

/// The items of a list in braces, without those of inner braces.
fn items(list: &str) -> Vec<String> {
    let (mut items, mut depth) = (vec![String::new()], 0);
    for c in list.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            c if depth == 0 => items.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    items
        .into_iter()
        .map(|item| item.trim().to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

fn two_names(path: &str) -> String {
    let name = |part: &str| {
        part.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut parts = path.split("::").map(name).take(2);
    let first = parts.next().unwrap_or_default();
    match parts
        .next()
        .filter(|second| !second.is_empty() && path[first.len()..].starts_with("::"))
    {
        Some(second) => format!("{first}::{second}"),
        None => first,
    }
}

fn allowed(used: &str, edges: &[&str]) -> bool {
    let module = used.split("::").next().unwrap_or_default();
    edges.contains(&module) || edges.contains(&used)
}

#[test]
fn modules_use_only_what_the_design_allows() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let Some(module) = module(&path) else {
            continue;
        };
        let Some((_, edges)) = EDGES.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!(
                "{}: module {module} is not in the table",
                path.display()
            ));
            continue;
        };
        let mut code = code(&text);
        if path.starts_with("src/bin") {
            // A program names the library as any crate does; `crate` is itself.
            code = code.replace("crate::", "").replace("carpd::", "crate::");
        }
        for used in uses(&code).iter().filter(|used| !allowed(used, edges)) {
            if used.split("::").next() != Some(module.as_str()) {
                wrong.push(format!("{}: {module} may not use {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a crate does is only in the program that is to have it: the library, and with it
/// `carpd-daemon`, cannot reach what it does not name.
#[test]
fn interpreters_and_compilers_are_named_by_the_worker_alone() {
    let mut worker = BTreeSet::new();
    for (path, text) in sources("src") {
        let code = code(&text);
        for name in ["mlua", "wasmtime"] {
            let named = code.match_indices(name).any(|(at, _)| {
                let rest = &code[at + name.len()..];
                let before = code[..at].chars().next_back();
                rest.starts_with("::") && !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            });
            if !named {
                continue;
            }
            let is_worker = module(&path).as_deref() == Some("carpd-worker");
            assert!(is_worker, "{} names {name}", path.display());
            worker.insert(name);
        }
    }
    assert_eq!(worker.len(), 2, "{worker:?}");
}

/// A chain of `super::` that leaves its top-level module would go round the table.
#[test]
fn no_module_climbs_out_by_super() {
    for (path, text) in sources("src") {
        let code = code(&text);
        let names = path.components().count() - 1;
        let depth = if path.file_name().is_some_and(|f| f == "mod.rs") {
            names - 1
        } else {
            names
        };
        let inline = usize::from(code.contains("mod tests {"));
        let climbs = "super::".repeat(depth + inline);
        assert!(
            module(&path).is_none() || !code.contains(&climbs),
            "{}: write crate:: for what is outside",
            path.display()
        );
    }
}

#[test]
fn the_reading_of_uses_is_right() {
    let text = "use crate::types::{A, B};\nuse crate::{effect, hooks::message::X, host::{a, b}};\nlet x = crate::proto::f();\n// crate::cli\n\
                other_crate::y;\n";
    let expected = ["effect", "hooks::message", "host", "proto::f", "types"];
    assert_eq!(
        uses(&code(text))
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
        expected
    );
    assert!(
        allowed("hooks::message", &["hooks::message"])
            && !allowed("hooks::runner", &["hooks::message"])
    );
    assert!(allowed("types::Vhid", &["types"]) && !allowed("proto", &["types"]));
}

#[test]
fn no_file_is_longer_than_can_be_read() {
    let long: Vec<_> = ["src", "tests"]
        .iter()
        .flat_map(|below| sources(below))
        .filter(|(_, text)| text.lines().count() > LINES_MAX)
        .map(|(path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(
        long.is_empty(),
        "more than {LINES_MAX} lines:\n{}",
        long.join("\n")
    );
}

#[test]
fn no_test_is_skipped_and_no_lint_is_silenced_for_good() {
    // Put together here, so that this file does not contain them.
    let forbidden = [
        ["#[", "ignore"].concat(),
        ["#[", "allow("].concat(),
        ["#![", "allow("].concat(),
    ];
    // What needs another init has a command of its own, which the reason names.
    let elsewhere =
        |line: &str| line.contains("run tests/systemd") || line.contains("run tests/openrc");
    for (path, text) in ["src", "tests"].iter().flat_map(|below| sources(below)) {
        let text: String = text
            .lines()
            .filter(|line| !elsewhere(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        for word in &forbidden {
            assert!(
                !code(&text).contains(word),
                "{}: {word} (a lint is silenced with expect and a reason)",
                path.display()
            );
        }
    }
}

/// The numbers after `marker` in a text: `a.md, sections 4 and 6` has 4 and 6.
fn sections_after(text: &str, marker: &str) -> BTreeSet<String> {
    let number = |word: &str| word.trim_matches(|c: char| !c.is_ascii_digit()).to_owned();
    let cited = text
        .match_indices(marker)
        .map(|(at, _)| &text[at + marker.len()..]);
    cited
        .filter_map(|rest| {
            rest.strip_prefix(", section ")
                .or_else(|| rest.strip_prefix(", sections "))
        })
        .flat_map(|rest| {
            rest.split_whitespace()
                .take_while(|word| *word == "and" || word.starts_with(|c: char| c.is_ascii_digit()))
        })
        .map(number)
        .filter(|number| !number.is_empty())
        .collect()
}

#[test]
fn every_cited_section_of_the_protocol_exists() {
    let page = fs::read_to_string(root().join("docs/protocol.md")).unwrap();
    let headings: BTreeSet<String> = page
        .lines()
        .filter(|line| line.starts_with("##"))
        .filter_map(|line| line.split_whitespace().nth(1))
        .map(|number| number.trim_end_matches('.').to_owned())
        .collect();
    let cited: BTreeSet<String> = sources("src")
        .iter()
        .flat_map(|(_, text)| sections_after(text, "docs/protocol.md"))
        .collect();
    assert!(cited.contains("1.2") && cited.contains("6"), "{cited:?}");
    let missing: Vec<_> = cited.difference(&headings).collect();
    assert!(
        missing.is_empty(),
        "docs/protocol.md has no section {missing:?}"
    );
}

/// Each step of a walk in the architecture names a file and a function of it.
#[test]
fn the_walks_lead_to_functions_that_are_there() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let (_, walks) = text.split_once("## Four walks").unwrap();
    let (walks, _) = walks.split_once("\n## ").unwrap();
    let quoted = |cell: &str| -> Option<String> {
        Some(cell.trim().strip_prefix('`')?.strip_suffix('`')?.to_owned())
    };
    let mut steps = 0;
    for row in walks.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = row.split('|').skip(1).map(quoted);
        let (Some(Some(file)), Some(Some(function))) = (cells.next(), cells.next()) else {
            panic!("no file and function in {row}");
        };
        let code = fs::read_to_string(root().join("src").join(&file))
            .unwrap_or_else(|error| panic!("src/{file}: {error}"));
        assert!(
            code.contains(&format!("fn {function}(")) || code.contains(&format!("fn {function}<")),
            "src/{file} has no function {function}"
        );
        steps += 1;
    }
    assert!(steps > 25, "only {steps} steps");
}
