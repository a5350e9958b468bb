//! `carpd why` over several nodes: recorders from files, and commands that ask for them.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use carpd::process::Patience;

use super::cli::{Ran, carpd};

/// One event of a node whose clock is off, at this millisecond of the true time.
struct Clock {
    boot_ms: u64,
    day_ms: u64,
}

const WEB: &str = r#""vhost":"web","interface":"eth0","vhid":40"#;

impl Clock {
    fn event(&self, at_ms: u64, what: &str) -> String {
        let boot_ns = (self.boot_ms + at_ms) * 1_000_000;
        let time_ms = 1_700_000_000_000 + self.day_ms + at_ms;
        format!("{{\"cursor\":\"1-1\",\"time_ms\":{time_ms},\"boot_ns\":{boot_ns},{what}}}\n")
    }

    fn state(&self, at_ms: u64, seq: u64, from: &str, to: &str) -> String {
        let what = format!(
            r#"{WEB},"event":"state","from":"{from}","to":"{to}","cause":"c","text":"because","seq":{seq}"#
        );
        self.event(at_ms, &what)
    }

    fn advertisement(&self, at_ms: u64, from: u8, counter: u64, sent: bool) -> String {
        let what = format!(
            r#"{WEB},"event":"advertisement","sent":{sent},"from":"10.0.0.{from}","counter":{counter}"#
        );
        self.event(at_ms, &what)
    }
}

/// Node 1 hands over to node 2, whose clock of the day is 2 s behind: by that it would be told first.
fn two_nodes(directory: &Path) {
    let (one, two) = (
        Clock {
            boot_ms: 90_000,
            day_ms: 2_000,
        },
        Clock {
            boot_ms: 5_000_000,
            day_ms: 0,
        },
    );
    let of_one = [
        one.event(0, r#""event":"started","version":"1""#),
        one.state(10, 1, "init", "master"),
        one.advertisement(11, 1, 256, true),
        one.state(500, 2, "master", "backup"),
        one.advertisement(501, 1, 257, true),
        one.advertisement(504, 2, 900, false),
    ];
    let of_two = [
        two.advertisement(12, 1, 256, false),
        two.advertisement(502, 1, 257, false),
        two.state(502, 1, "backup", "master"),
        two.advertisement(503, 2, 900, true),
    ];
    std::fs::write(directory.join("one"), of_one.concat()).unwrap();
    std::fs::write(directory.join("two"), of_two.concat()).unwrap();
}

/// A program that plays ssh: it gets the host and the command as arguments.
fn ssh(directory: &Path, script: &str) -> String {
    let path = directory.join("ssh");
    std::fs::write(&path, script).unwrap();
    format!("/bin/sh {}", path.display())
}

fn is_plain(ran: &Ran) {
    let is_shown = |c: char| c == '\n' || !carpd::types::is_treacherous(c);
    assert!(
        ran.stdout.chars().chain(ran.stderr.chars()).all(is_shown),
        "{:?}",
        ran.stderr
    );
}

#[test]
fn files_of_two_nodes_are_told_in_the_order_in_which_it_happened() {
    let directory = tempfile::tempdir().unwrap();
    two_nodes(directory.path());
    let ran = carpd(directory.path(), &["why", "--from", "one", "two"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let short: Vec<&str> = ran.stdout.lines().collect();
    let [times, clock, stories @ ..] = short.as_slice() else {
        panic!("{short:?}");
    };
    let (clock, times) = (*clock, *times);
    let is_near = |text: &str| {
        (1_999..=2_001)
            .any(|ms| clock == format!("the clock of {text}").replace("MS", &ms.to_string()))
    };
    let by_one = times == "times are those of one" && is_near("two is MS ms behind");
    let by_two = times == "times are those of two" && is_near("one is MS ms ahead");
    assert!(by_one || by_two, "{short:?}");
    let stories: Vec<String> = stories
        .iter()
        .map(|line| {
            line.split_whitespace()
                .skip_while(|word| *word != "one" && *word != "two")
                .take(5)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(
        stories,
        [
            "one web: init -> master:",
            "one web: master -> backup:",
            "two web: backup -> master:",
        ]
    );
    // The same from a command, which gets the host and what is to be run there.
    let script = "[ \"$2 $3 $4 $5\" = 'carpd events --json --all' ] || exit 9\nexec cat \"$1\"\n";
    let command = ssh(directory.path(), script);
    let asked = carpd(
        directory.path(),
        &["why", "--ssh", &command, "--node", "one", "two"],
    );
    assert_eq!(
        (asked.code, asked.stdout),
        (0, ran.stdout),
        "{}",
        asked.stderr
    );
}

#[test]
fn a_recorder_that_is_cut_newer_or_none_is_said() {
    let directory = tempfile::tempdir().unwrap();
    two_nodes(directory.path());
    let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let two = std::fs::read_to_string(directory.path().join("two")).unwrap();
    file("cut", &two[..two.len() - 20]);
    file(
        "newer",
        &(two.clone() + &two.lines().next().unwrap().replace("advertisement", "song")),
    );
    file(
        "other",
        "{\"time_ms\":1,\"boot_ns\":1,\"event\":\"song\"}\n",
    );
    file("motd", "Welcome to \u{1b}[2Jgw2\n");
    file("binary", "\u{0}\u{1}\u{2}\n");
    file("empty", "");
    file("copy", &two);
    let evil = two.replace("because", r"evil\n\u001b[2J\u202eFORGED");
    file("evil", &evil);
    file("name", &two.replace("\"web\"", r#""we\u001b[31mb""#));
    std::fs::create_dir(directory.path().join("nothing")).unwrap();
    for (name, code, said) in [
        (
            "cut",
            0,
            "note: the recorder of cut is cut in the middle of an event",
        ),
        (
            "newer",
            0,
            "note: 1 events of newer are left out: a newer version",
        ),
        (
            "other",
            4,
            "error: of the 1 events of other none is understood",
        ),
        ("motd", 4, "error: cannot read motd: line 1 is not an event"),
        (
            "binary",
            4,
            "error: cannot read binary: line 1 is not an event",
        ),
        (
            "name",
            4,
            "error: of the 4 events of name none is understood",
        ),
        ("empty", 0, "note: empty has recorded nothing"),
        ("absent", 4, "error: cannot read absent: No such file"),
        ("nothing", 4, "error: cannot read nothing: No such file"),
        ("evil", 0, ""),
    ] {
        let ran = carpd(directory.path(), &["why", "--from", "one", name]);
        assert_eq!(ran.code, code, "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{name}: {}", ran.stderr);
        is_plain(&ran);
        assert!(!ran.stdout.lines().any(|line| line.starts_with("FORGED")));
    }
    let twice = carpd(directory.path(), &["why", "--from", "one", "two", "copy"]);
    assert_eq!(twice.code, 2, "{}", twice.stderr);
    assert!(
        twice
            .stderr
            .contains("two and copy are the same node's recorder")
    );
    let option = carpd(directory.path(), &["why", "--node=-oProxyCommand=x"]);
    assert_eq!(option.code, 2, "{}", option.stderr);
}

#[test]
fn a_node_that_does_not_answer_or_does_not_stop_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    two_nodes(directory.path());
    let mut long = String::new();
    for _ in 0..3 {
        writeln!(
            long,
            "{{\"time_ms\":1,\"boot_ns\":1,\"event\":\"started\",\"version\":\"1\"}}"
        )
        .unwrap();
    }
    std::fs::write(directory.path().join("long"), long).unwrap();
    for (script, said) in [
        ("exec sleep 1000", "gw2 has said nothing for 300ms"),
        // What it started holds its output open.
        ("sleep 1000 & exit 0", "gw2 has said nothing for 300ms"),
        (
            "cat one; sleep 1000 >/dev/null",
            "gw2 has said nothing for 300ms",
        ),
        ("cat one; exec sleep 1000 >&- 2>&-", ""),
        (
            "while :; do cat long; sleep 0.1; done",
            "gw2 does not come to an end",
        ),
        (
            "exec yes",
            "what gw2 says is not understood: line 1 is not an event",
        ),
        (
            "exec cat /dev/zero",
            "what gw2 says is not understood: line 1 is longer than any event",
        ),
        (
            "printf 'bad \\033[2J key\\n' >&2; exit 255",
            "the recorder of gw2 cannot be had: exit status: 255",
        ),
        (
            "cat one; exit 3",
            "the recorder of gw2 cannot be had: exit status: 3",
        ),
        ("kill -9 $$", "the recorder of gw2 cannot be had: signal: 9"),
    ] {
        let command = ssh(directory.path(), script);
        let patience = Patience::of(Duration::from_secs(40));
        let args = [
            "why",
            "--timeout",
            "300ms",
            "--ssh",
            &command,
            "--from",
            "two",
            "--node",
            "gw2",
        ];
        let ran = carpd(directory.path(), &args);
        assert!(!patience.left().is_zero(), "{script}");
        assert_eq!(
            ran.code,
            if said.is_empty() { 0 } else { 4 },
            "{script}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains(said), "{script}: {}", ran.stderr);
        is_plain(&ran);
    }
    let args = ["why", "--ssh", "/nonexistent/ssh", "--node", "gw2"];
    let ran = carpd(directory.path(), &args);
    assert_eq!(ran.code, 4);
    assert!(
        ran.stderr.contains("cannot run /nonexistent/ssh"),
        "{}",
        ran.stderr
    );
}
