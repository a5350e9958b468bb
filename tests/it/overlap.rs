//! Rehearsals of how two hosts could come to hold one address.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::cli::carpd;

/// A virtual host's configuration for each node: what differs, and its hook.
fn place(nodes: &[(&str, &str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("web.pass", "love\n");
    fs::set_permissions(
        directory.path().join("web.pass"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    for (name, keys, lua) in nodes {
        write(&format!("{name}.lua"), lua);
        write(
            &format!("{name}.toml"),
            &format!(
                "[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\nvhid = 40\naddresses = [\"192.168.32.22/24\"]\n\
                 password-file = \"web.pass\"\nhooks = [\"h\"]\n{keys}\n\
                 [hook.h]\nsource = \"{name}.lua\"\nbefore-timeout = \"8s\"\n"
            ),
        );
    }
    directory
}

fn rehearse(directory: &Path, events: &[&str]) -> Value {
    let mut args = vec!["rehearse", "--json", "--end", "60s", "a.toml", "b.toml"];
    if directory.join("c.toml").exists() {
        args.push("c.toml");
    }
    args.extend(events.iter().flat_map(|event| ["-e", event]));
    let ran = carpd(directory, &args);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    serde_json::from_str(&ran.stdout).unwrap()
}

/// What a node did after this time, in ms: when, and what.
fn marks(timeline: &Value, node: usize, after_ms: u64) -> Vec<(u64, String)> {
    let all = timeline["nodes"][node]["marks"].as_array().unwrap();
    let mark = |mark: &Value| {
        (
            mark["at_us"].as_u64().unwrap() / 1000,
            mark["text"].as_str().unwrap().to_owned(),
        )
    };
    all.iter()
        .map(mark)
        .filter(|(at, _)| *at > after_ms)
        .collect()
}

fn at(marks: &[(u64, String)], text: &str) -> u64 {
    marks
        .iter()
        .find(|(_, said)| said.contains(text))
        .unwrap_or_else(|| panic!("{text}: {marks:#?}"))
        .0
}

const SLOW_GATE: &str = "function before_master() clock.sleep(5000) end";
const NOTHING: &str = "function on_stop() end";

/// The hook was asked whether the node may preempt. While it thinks, the master dies: that is
/// another question, and its addresses wait for the answer to that one.
#[test]
fn a_takeover_that_was_not_asked_about_waits_for_its_own_word() {
    let directory = place(&[
        ("a", "preempt = true", SLOW_GATE),
        ("b", "advskew = 100", NOTHING),
    ]);
    let timeline = rehearse(
        directory.path(),
        &["10s a dies", "20s a returns", "22s b dies"],
    );
    let done = marks(&timeline, 0, 20_000);
    let (word, up) = (
        at(&done, "before_master done"),
        at(&done, "address 192.168.32.22 on eth0: absent ->"),
    );
    assert!(
        word <= up && up > 27_000,
        "the word at {word} ms, the address up at {up} ms: {done:#?}"
    );
}

/// The hook allowed a preemption that was no longer wanted. Its word is not kept for the next
/// takeover.
#[test]
fn a_word_that_came_too_late_is_not_kept() {
    let nodes = [
        ("a", "advskew = 60\npreempt = true", SLOW_GATE),
        ("b", "advskew = 100", NOTHING),
        ("c", "advskew = 50", NOTHING),
    ];
    let directory = place(&nodes);
    // The worse one is master when a comes and asks; then a better one is heard, which dies later.
    let events = [
        "0s a dies",
        "0s partition a b / c",
        "10s a returns",
        "12500ms heal",
        "30s b dies",
        "30s c dies",
    ];
    let timeline = rehearse(directory.path(), &events);
    let done = marks(&timeline, 0, 30_000);
    let (word, up) = (
        at(&done, "before_master done"),
        at(&done, "address 192.168.32.22 on eth0: absent ->"),
    );
    assert!(
        word <= up && up > 36_000,
        "the word at {word} ms, the address up at {up} ms: {done:#?}"
    );
    assert!(
        !done.iter().any(|(_, text)| text.contains("the lease of")),
        "it is renewed in time: {done:#?}"
    );
}

/// A lease that begins between two advertisements ends with the last one's, since that is what a
/// backup counts from.
#[test]
fn a_node_that_freezes_right_after_a_late_takeover_loses_its_addresses_in_time() {
    let slow = "function before_master() clock.sleep(1400) end";
    let directory = place(&[("a", "advskew = 150", slow), ("b", "", NOTHING)]);
    let timeline = rehearse(
        directory.path(),
        &["10s b resigns", "11450ms a freezes for 20s"],
    );
    let lapsed = at(&marks(&timeline, 0, 11_000), "the lease of 192.168.32.22");
    let taken = at(
        &marks(&timeline, 1, 11_000),
        "address 192.168.32.22 on eth0: absent ->",
    );
    assert!(
        lapsed < taken,
        "the lease ends at {lapsed} ms, the other has the address at {taken} ms"
    );
}
