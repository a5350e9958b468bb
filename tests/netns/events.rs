//! `carpd events`: what happened, with the daemon running, restarted, killed and stopped.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::rig::{CARPD, Carpd, Failed, SOON, TAKEOVER, lan, sh};
use crate::{Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new(
        "events::go_on_after_a_cursor_whatever_became_of_the_daemon",
        resumed,
    )]
}

const EVENTS: &str = "events --config /run/lab/carpd.toml";

const HOOK: &str = "function on_master() hostname.set('virtual') end";

fn events(lab: &carpd::lab::Lab, more: &str) -> Result<Vec<Value>, Failed> {
    let lines = sh(lab, "a", &format!("{CARPD} {EVENTS} --json {more}"))?;
    Ok(lines
        .iter()
        .map(|line| serde_json::from_str(line))
        .collect::<Result<_, _>>()?)
}

/// What happened, in short.
fn short(events: &[Value]) -> Vec<String> {
    let said = events.iter().filter(|event| event["event"] != "remark");
    let words = said.map(|event| {
        let keys = ["event", "to", "entry", "effect", "order"];
        let words: Vec<&str> = keys.iter().filter_map(|key| event[key].as_str()).collect();
        words.join(" ")
    });
    words.collect()
}

fn resumed() -> Outcome {
    let lab = lan(&["a"])?;
    let spec = Carpd::new("a").hook(HOOK, "grant = { hostname = [\"virtual\"] }");
    let mut daemon = spec.start(&lab)?;
    daemon.wait_ran("on_master", TAKEOVER)?;
    let follower = lab.host("a").spawn(&[
        "bash",
        "-c",
        &format!("exec {CARPD} {EVENTS} --json --follow --last 1000"),
    ])?;
    sh(
        &lab,
        "a",
        &format!("{CARPD} reload --config /run/lab/carpd.toml"),
    )?;
    let first = events(&lab, "")?;
    assert_eq!(
        short(&first),
        [
            "started",
            "state backup",
            "state master",
            "effect hostname.set virtual",
            "hook on_master",
            "order reload",
        ],
        "{first:?}"
    );
    let order = first.last().ok_or("no events")?;
    assert_eq!(order["uid"], 0, "{order}");
    assert_eq!(order["program"], "carpd", "{order}");
    let down = first.iter().filter(|event| event["cause"] == "master-down");
    assert_eq!(down.count(), 1, "{first:?}");
    assert!(order.get("refused").is_none(), "{order}");
    let cursor = order["cursor"].as_str().ok_or("no cursor")?;
    assert_eq!(events(&lab, &format!("--after {cursor}"))?.len(), 0);
    // Its engine is killed: the keeper starts another.
    let tree = crate::tree::Tree::of(&lab, "a", &daemon)?;
    tree.signal(tree.engine()?, Signal::SIGKILL)?;
    daemon.wait_state("master", TAKEOVER)?;
    daemon.wait_ran("on_master", TAKEOVER)?;
    daemon.stop()?;
    let after = events(&lab, &format!("--after {cursor}"))?;
    let words = short(&after);
    for wanted in [
        "started",
        "died",
        "state backup",
        "state master",
        "state init",
    ] {
        assert!(
            words.iter().any(|word| word == wanted),
            "{wanted}: {words:?}"
        );
    }
    // With the daemon stopped, and after another start: all there is, and no event twice.
    let daemon = spec.restart(&lab)?;
    let all = events(&lab, "")?;
    let cursors: Vec<&str> = all
        .iter()
        .filter_map(|event| event["cursor"].as_str())
        .collect();
    assert!(all.starts_with(&[first.as_slice(), after.as_slice()].concat()));
    let mut once = cursors.clone();
    once.dedup();
    assert_eq!(once, cursors);
    // Who followed all the time has seen the same.
    let seen = lab.until("the follower to see it", SOON, || {
        let lines = follower.lines();
        let seen: Vec<Value> = lines
            .iter()
            .filter_map(|line| serde_json::from_str(&line.text).ok())
            .collect();
        Ok((seen.len() >= all.len()).then_some(seen))
    })?;
    assert!(
        seen.starts_with(&all),
        "{:?}\n{:?}",
        short(&seen),
        short(&all)
    );
    // For a person, of one virtual host.
    let text = sh(&lab, "a", &format!("{CARPD} {EVENTS} web --since 1h"))?.join("\n");
    assert!(
        text.contains("web: backup -> master: no advertisement for"),
        "{text}"
    );
    assert!(text.contains("order of user 0 (carpd, process"), "{text}");
    daemon.stop()
}
