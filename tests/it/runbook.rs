//! The runbook: everything that raises an alarm or is given as a cause has its page, and the commands
//! on the pages are such.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use carpd::journal::DaemonCause;
use carpd::proto::{Cause, Stats};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = docs().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages in a directory of the runbook, without their ending.
fn pages(room: &str) -> BTreeSet<String> {
    fs::read_dir(docs().join("runbook").join(room))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.strip_suffix(".md").unwrap().to_owned())
        .collect()
}

fn index() -> String {
    read("runbook/README.md")
}

fn is_listed(word: &str, room: &str, page: &str) -> bool {
    index().contains(&format!("[`{word}`]({room}/{page}.md)"))
}

#[test]
fn each_alert_has_its_page() {
    let rules = read("monitoring/carpd.rules.yml");
    let overview = read("monitoring/README.md");
    let mut alerts = BTreeSet::new();
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap().trim();
        let place = format!("runbook/alerts/{name}.md");
        assert!(
            rule.contains(&format!("runbook_url: \"{place}\"")),
            "{name} does not name its page"
        );
        assert!(
            is_listed(name, "alerts", name),
            "{name} is not in the index"
        );
        assert!(overview.contains(&format!("(../{place})")), "{name}");
        alerts.insert(name.to_owned());
    }
    assert!(alerts.len() > 20);
    assert_eq!(pages("alerts"), alerts);
}

#[test]
fn each_cause_has_its_page() {
    let protocol = Cause::protocol().map(|cause| cause.as_str().to_owned());
    let daemon = DaemonCause::ALL.map(|cause| cause.as_str().to_owned());
    let causes: BTreeSet<String> = protocol.into_iter().chain(daemon).collect();
    for cause in &causes {
        assert!(is_listed(cause, "causes", cause), "{cause}");
    }
    assert_eq!(pages("causes"), causes);
}

#[test]
fn each_reason_to_refuse_has_a_page() {
    let index = index();
    let mut used = BTreeSet::new();
    for (reason, _) in Stats::default().rejects() {
        let link = format!("[`{reason}`](refused/");
        let rest = index.split(&link).nth(1);
        let page = rest.and_then(|rest| rest.split(".md)").next());
        let page = page.unwrap_or_else(|| panic!("{reason} is not in the index"));
        let text = read(format!("runbook/refused/{page}.md"));
        assert!(text.contains(&format!("`{reason}`")), "{page}: {reason}");
        used.insert(page.to_owned());
    }
    assert_eq!(pages("refused"), used);
}

#[test]
fn each_page_says_what_to_do_and_leads_on() {
    for room in ["alerts", "causes", "refused"] {
        for page in pages(room) {
            let place = format!("runbook/{room}/{page}.md");
            let text = read(&place);
            assert!(text.starts_with(&format!("# {page}\n")), "{place}");
            for heading in ["## Look\n", "## Do\n", "## When it does not matter\n"] {
                assert!(text.contains(heading), "{place}: {heading}");
            }
            let directory = docs().join("runbook").join(room);
            for link in text.split("](").skip(1) {
                let target = link.split([')', '#']).next().unwrap();
                assert!(directory.join(target).exists(), "{place}: {target}");
            }
        }
    }
}

/// The words of a command, up to where another one begins or its output goes elsewhere.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut last) = (None, ' ');
    for c in line.chars() {
        match (quoted, c) {
            (Some(quote), _) if c == quote => quoted = None,
            (None, '"' | '\'') => quoted = Some(c),
            (None, '|' | ';' | '&' | '>' | '#') if last == ' ' => break,
            (None, ' ') => words.push(String::new()),
            _ => words.last_mut().unwrap().push(c),
        }
        last = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A command line of carpd on a page.
struct Command {
    line: String,
    /// It stands in the text, where it may be the name of a verb without what that needs.
    is_named: bool,
}

impl Command {
    fn fault(&self) -> Option<String> {
        let mut words = words(&self.line);
        words.remove(0);
        let fault = carpd::cli::understands(&words).err()?;
        words.push("--help".to_owned());
        let is_name = self.is_named && carpd::cli::understands(&words).is_ok();
        (!is_name).then_some(fault)
    }
}

/// The command lines of carpd on a page: in its text, and after the prompts of its examples.
fn commands(text: &str) -> Vec<Command> {
    let mut all = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        let (is_named, found): (_, Vec<&str>) = if line.starts_with("```") {
            is_code = !is_code;
            continue;
        } else if is_code {
            (false, line.strip_prefix("$ ").into_iter().collect())
        } else {
            (true, line.split('`').skip(1).step_by(2).collect())
        };
        let found = found.into_iter().filter(|line| line.starts_with("carpd "));
        all.extend(found.map(|line| Command {
            line: line.to_owned(),
            is_named,
        }));
    }
    all
}

#[test]
fn the_commands_can_be_given() {
    let rooms = ["alerts", "causes", "refused"];
    let of_runbook = rooms.iter().flat_map(|room| {
        let pages = pages(room).into_iter();
        pages.map(move |page| format!("runbook/{room}/{page}.md"))
    });
    let others = [
        "runbook/README.md",
        "monitoring/README.md",
        "monitoring/carpd.rules.yml",
    ];
    let (mut count, mut faults) = (0, Vec::new());
    for place in of_runbook.chain(others.map(str::to_owned)) {
        // What Prometheus puts in is a name.
        let text = read(&place)
            .replace("{{ $labels.vhost }}", "web")
            .replace("{{ $labels.hook }}", "web");
        for command in commands(&text) {
            let fault = command.fault();
            faults.extend(fault.map(|fault| format!("{place}: {}: {fault}", command.line)));
            count += 1;
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 100, "{count}");
}

/// The page about failures names the tests that show what it says.
#[test]
fn every_test_that_the_failure_modes_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases: String = ["tests/netns", "tests/netns/faults"]
        .into_iter()
        .flat_map(|room| fs::read_dir(root.join(room)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let page = read("failure-modes.md");
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let mut named = 0;
    for row in rows.filter(|row| !row.ends_with("| shown by |")) {
        let shown_by = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        assert!(shown_by.contains('`') || shown_by.contains("adr/"), "{row}");
        for name in shown_by.split('`').skip(1).step_by(2) {
            let program = name.split(' ').next().unwrap();
            let exists = cases.contains(&format!("\"{name}\"")) || root.join(program).is_file();
            assert!(exists, "{name}");
            named += 1;
        }
    }
    assert!(named > 60, "{named}");
}
