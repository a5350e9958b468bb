//! What operators are told of a daemon: how it is now, what a reload found wrong, which versions of
//! its hooks there are.

use carpd::lab::Lab;

use crate::rig::{ADDRESS, CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, Watch, lan, mac, sh};
use crate::{Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("told::a_virtual_host_is_headed_by_how_it_is_now", headline),
        Case::new("told::a_reload_that_fails_is_one_line_of_log", one_line),
        Case::new(
            "told::the_versions_of_a_hook_and_a_rollback_are_shown",
            versions,
        ),
    ]
}

fn carpd(lab: &Lab, words: &str) -> Result<String, Failed> {
    Ok(sh(
        lab,
        "a",
        &format!("{CARPD} {words} --config /run/lab/carpd.toml"),
    )?
    .join("\n"))
}

/// The first line of `carpd status` behind the time, and all of it.
fn head(lab: &Lab) -> Result<(String, String), Failed> {
    let status = carpd(lab, "status")?;
    let first = status.lines().next().unwrap_or_default();
    Ok((
        first
            .split_once(", ")
            .map(|(_, condition)| condition.to_owned())
            .unwrap_or_default(),
        status,
    ))
}

fn headline() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let b = Carpd::new("b").start(&lab)?;
    let mut a = Carpd::new("a").advskew(100).start(&lab)?;
    a.wait_state("backup", SOON)?;
    let mut watcher = Watch::start(&lab, ADDRESS)?;
    watcher.wait(&[mac(&lab, "b")?], TAKEOVER)?;
    let (now, status) = head(&lab)?;
    assert_eq!(now, "hears 192.168.32.33", "{status}");
    assert!(status.contains("\n  because: start\n"), "{status}");
    b.stop()?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    let (now, status) = head(&lab)?;
    assert_eq!(now, "holds its addresses", "{status}");
    assert!(
        status.contains("\n  because: the master is leaving"),
        "{status}"
    );
    // It is another now, by the same change of state.
    sh(&lab, "a", "ip link set eth0 down")?;
    a.wait_state("init", SOON)?;
    let (now, status) = head(&lab)?;
    assert_eq!(now, "waiting for the link", "{status}");
    a.stop()
}

fn one_line() -> Outcome {
    let lab = lan(&["a"])?;
    let spec = Carpd::new("a");
    let mut daemon = spec.start(&lab)?;
    daemon.wait_says("Ready", SOON)?;
    let before = daemon.entries().len();
    let broken = spec
        .toml()
        .replace("vhid", "vhidd")
        .replace("interface", "interfaze");
    spec.write_with(&lab, &broken)?;
    let said = sh(
        &lab,
        "a",
        &format!("{CARPD} reload --config /run/lab/carpd.toml 2>&1; echo $?"),
    )?;
    assert_eq!(said.last().map(String::as_str), Some("3"), "{said:?}");
    let refused = daemon.wait_says("Cannot reload", SOON)?;
    for part in ["vhidd", "interfaze"] {
        assert!(refused.text("problem").contains(part), "{refused:?}");
    }
    let faults = |daemon: &Daemon| {
        daemon
            .entries()
            .split_off(before)
            .iter()
            .filter(|entry| is_fault(&entry.text("level")))
            .count()
    };
    assert_eq!(
        faults(&daemon),
        1,
        "{:?}",
        daemon.entries().split_off(before)
    );
    daemon.stop()
}

fn is_fault(level: &str) -> bool {
    ["WARN", "ERROR"].contains(&level.to_uppercase().as_str())
}

fn versions() -> Outcome {
    let lab = lan(&["a"])?;
    let lua = |text: &str| format!("function on_master() log.info('{text}') end\n");
    let mut daemon = Carpd::new("a").hook(&lua("one"), "").start(&lab)?;
    daemon.wait_says("Ready", SOON)?;
    let first = carpd(&lab, "hook list")?;
    assert!(
        first.starts_with("h: generation 1 (") && first.lines().count() == 1,
        "{first}"
    );
    let digest = |line: &str| line.split(['(', ')']).nth(1).unwrap_or_default().to_owned();
    lab.host("a").write("/run/lab/h.new", 0o644, &lua("two"))?;
    sh(&lab, "a", "mv /run/lab/h.new /run/lab/h.lua")?;
    daemon.wait_says("Activated a new version of a hook", SOON)?;
    let list = carpd(&lab, "hook list")?;
    let [second, before] = list.lines().collect::<Vec<_>>()[..] else {
        return Err(list.into());
    };
    assert!(
        second.starts_with("h: generation 2 (") && digest(second) != digest(&first),
        "{list}"
    );
    assert!(
        before.starts_with("  before it: generation 1 (") && digest(before) == digest(&first),
        "{list}"
    );
    assert!(!carpd(&lab, "status")?.contains("rolled back"));
    carpd(&lab, "hook rollback h")?;
    let status = carpd(&lab, "status")?;
    let hook = status
        .lines()
        .find(|line| line.starts_with("hook h: "))
        .unwrap_or_default();
    assert_eq!(digest(hook), digest(&first), "{status}");
    assert!(
        hook.contains(", rolled back from generation 2; the file has another version"),
        "{status}"
    );
    daemon.stop()
}
