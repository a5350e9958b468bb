//! The command lines of ucarp, good and bad, through Debian's ucarp and through carpd under that
//! name.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

#[path = "../netns/ucarp_differences.rs"]
mod differences;

use differences::DIFFERENCES;

/// The real one; Debian's package of that name.
const UCARP: &str = "/usr/sbin/ucarp";
const CARPD: &str = env!("CARGO_BIN_EXE_carpd");

/// What a shell sees of a command that ends at once.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    code: Option<i32>,
    stderr: Vec<String>,
    /// Was the summary of options printed?
    usage: bool,
}

fn run(program: &str, words: &[&str]) -> Seen {
    crate::limit::begin();
    let mut command = Command::new(program);
    command
        .arg0("ucarp")
        .args(words)
        .env_clear()
        .stdin(Stdio::null());
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    let text = String::from_utf8(output.stderr).unwrap();
    Seen {
        code: output.status.code(),
        stderr: text.lines().map(without_stamp).collect(),
        usage: String::from_utf8_lossy(&output.stdout).contains("--interface=<if>"),
    }
}

/// `2026-11-22T17:19:39.209161: [ERROR] text` is `[ERROR] text`.
fn without_stamp(line: &str) -> String {
    line.split_once(": [")
        .filter(|(stamp, _)| stamp.len() == 26)
        .map_or_else(|| line.to_owned(), |(_, rest)| format!("[{rest}"))
}

/// Up to an interface that does not exist: whoever gets there has read the line and liked it.
const GOOD: &[&str] = &[
    "-i",
    "nosuch0",
    "-s",
    "10.0.0.1",
    "-v",
    "42",
    "-p",
    "love",
    "-a",
    "10.0.0.100",
];

/// What is added to or replaces the good line, and the difference that it shows, if it does.
fn cases() -> Vec<(Vec<&'static str>, Option<&'static str>)> {
    let same = |line: &'static str| (line.split_whitespace().collect::<Vec<_>>(), None);
    let good = |line: &'static str| {
        (
            GOOD.iter()
                .copied()
                .chain(line.split_whitespace())
                .collect::<Vec<_>>(),
            None,
        )
    };
    let differs =
        |(words, _): (Vec<&'static str>, Option<&str>), name: &'static str| (words, Some(name));
    let mut cases = vec![
        (vec![], None),
        same("-h"),
        same("--help"),
        same("--hel"),
        same("-v 1 -h"),
    ];
    cases.extend(
        [
            "-u /u -d /d",
            "-u/u -d/d",
            "-z -P -n -S -M -D -u /u -d /d",
            "-zPnSMD",
            "--pre --neu --shut --nom --ign",
        ]
        .map(good),
    );
    cases.extend(
        [
            "extra words -u /u are -d /d ignored",
            "-- -v 300",
            "-v 1 -v 2 --vhid=3",
            "-x a -x b",
            "-k 300 -b 300",
        ]
        .map(good),
    );
    cases.extend(
        [
            "--vhid 0x2a",
            "-v 052",
            "-v 42abc",
            "-r -1",
            "-k -1",
            "-k abc",
            "-f none",
            "-f LOCAL7",
            "-f nothing",
        ]
        .map(good),
    );
    cases.extend(
        [
            "-v 0",
            "-v 256",
            "-v -1",
            "-v abc",
            "-v 99999999999999999999",
            "-v 300 -q",
        ]
        .map(good),
    );
    cases.extend(
        [
            "-s 10.0.0.1/24",
            "-s ::1",
            "-s host",
            "-a 10.0.0.1/24",
            "-a",
            "--mcast 1.2",
            "--mcastip=224.0.0.99",
        ]
        .map(good),
    );
    cases.pop();
    cases.push(good("--mcastip=224.0.0.99"));
    cases.extend(
        [
            "-s 0.0.0.0",
            "-a 0.0.0.0",
            "-r 0",
            "-r x",
            "-b 0",
            "-b x",
            "-b 256",
            "-b 0 -k 1",
        ]
        .map(good),
    );
    cases.extend(
        [
            "-p 1234567890123456789",
            "-p 12345678901234567890",
            "-o /nonexistent",
            "-o /",
            "-o /dev/null",
        ]
        .map(good),
    );
    cases.extend(
        [
            "-i abcdefghijklmnop",
            "-i x/y",
            "-v 1",
            "-i e",
            "-i e -v 1",
            "-i e -v 1 -p x",
        ]
        .map(same),
    );
    cases.extend(
        [
            "-i e -v 1 -p x -s 10.0.0.1",
            "-i e -v 1 -p x -s 10.0.0.1 -a 10.0.0.2 -r 0",
        ]
        .map(same),
    );
    cases.retain(|(words, _)| words.last() != Some(&"-a"));
    for line in [
        "-q",
        "-Pq",
        "-v",
        "--vhid",
        "--nothing",
        "--nothing=1",
        "--preempt=1",
        "--adv 3",
        "--d",
        "--s",
    ] {
        cases.push(differs(same(line), "bad-option"));
    }
    cases.push(differs(good("-m 224.0.0.99"), "option-m"));
    cases.push(differs(good("--timeout=5"), "own-options"));
    cases.push(differs(good("-B"), "errors-before-detaching"));
    cases.push(differs(same("-B -v 300"), "errors-before-detaching"));
    cases.push(same("-v 300 -B"));
    cases
}

#[test]
fn command_lines_end_as_those_of_ucarp() {
    let mut wrong = Vec::new();
    for (words, difference) in cases() {
        let (theirs, ours) = (run(UCARP, &words), run(CARPD, &words));
        if (theirs == ours) == difference.is_some() {
            wrong.push(format!(
                "{words:?} ({difference:?}):\n  ucarp {theirs:?}\n  carpd {ours:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_bad_option_ends_with_2_and_the_words_of_getopt() {
    for words in [["-q"], ["--nothing"], ["-v"], ["--adv"]] {
        let (theirs, ours) = (run(UCARP, &words), run(CARPD, &words));
        assert_eq!((ours.code, ours.usage), (Some(2), false), "{words:?}");
        assert_eq!(ours.stderr.first(), theirs.stderr.first(), "{words:?}");
    }
}

#[test]
fn carpd_ucarp_is_the_same_as_the_name() {
    for words in [vec!["-v", "300"], GOOD.to_vec()] {
        let by_verb: Vec<&str> = ["ucarp"].into_iter().chain(words.clone()).collect();
        let mut command = Command::new(CARPD);
        let output = command
            .args(by_verb)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let by_name = run(CARPD, &words);
        assert_eq!(output.status.code(), by_name.code);
        assert_eq!(
            String::from_utf8(output.stderr)
                .unwrap()
                .lines()
                .map(without_stamp)
                .collect::<Vec<_>>(),
            by_name.stderr
        );
    }
}

#[test]
fn the_documentation_lists_exactly_the_differences() {
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/coming-from-ucarp.md"
    ))
    .unwrap();
    let table = text
        .lines()
        .skip_while(|line| !line.starts_with("| name | ucarp | carpd |"));
    let rows = table.filter_map(|line| {
        line.strip_prefix("| `")?
            .split_once("` |")
            .map(|(name, _)| name)
    });
    assert_eq!(rows.collect::<Vec<_>>(), DIFFERENCES);
}

#[test]
fn every_difference_of_a_case_is_in_the_list() {
    let shown: BTreeSet<&str> = cases()
        .into_iter()
        .filter_map(|(_, difference)| difference)
        .collect();
    assert!(
        shown.iter().all(|name| DIFFERENCES.contains(name)),
        "{shown:?}"
    );
}
