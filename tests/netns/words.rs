//! What a hostile hook says, in the log, the status and the flight recorder of a daemon.

use std::time::Duration;

use carpd::lab::Lab;
use carpd::types::is_treacherous;
use nix::sys::signal::Signal;

use crate::rig::{CARPD, Carpd, Failed, SOON, TAKEOVER, lan, sh};
use crate::{Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "words::no_hook_forges_a_log_a_status_or_a_story",
            forges_nothing,
        ),
        Case {
            limit: Duration::from_mins(1),
            ..Case::new(
                "words::a_hook_that_logs_in_every_check_is_held_back",
                logs_always,
            )
        },
    ]
}

const EVIL: &str =
    r#"local E = "evil\nFORGED: master since\r\27[2J\u{9b}31m\u{202e}\u{2066}\u{200b}\u{2028}\7""#;

/// Lines of ours alone, of which no terminal obeys any.
fn is_harmless(what: &str, lines: &[String]) {
    for line in lines {
        assert!(
            !line.contains(is_treacherous) && !line.trim_start().starts_with("FORGED"),
            "{what}: {line:?}"
        );
    }
}

/// What a verb says, which is harmless and has the words.
fn shows(lab: &Lab, verb: &str) -> Result<Vec<String>, Failed> {
    let lines = sh(
        lab,
        "a",
        &format!("{CARPD} {verb} --config /run/lab/carpd.toml 2>&1; true"),
    )?;
    is_harmless(verb, &lines);
    assert!(
        lines.iter().any(|line| line.contains("FORGED")),
        "{verb}: {lines:#?}"
    );
    Ok(lines)
}

fn forges_nothing() -> Outcome {
    let lab = lan(&["a"])?;
    let lua = format!(
        "{EVIL}\nfunction on_master()\n  log.warn(E, {{ [E] = E }})\n  carp.demote(1, E)\n  pcall(function() hostname.set(E) end)\n  \
         error(E)\nend\nfunction health() return 5, E end\n"
    );
    let toml = "on-failure = \"keep\"\nhealth = { interval = \"600ms\", timeout = \"600ms\", fall = 1 }\n[hook.h.grant]\ncarp = [\"demote\"]";
    let node = Carpd::new("a").hook(&lua, toml);
    let mut daemon = node.start(&lab)?;
    daemon.wait_says("Became unhealthy", SOON)?;
    daemon.wait_says("Staying master; will run the hook again", TAKEOVER)?;
    shows(&lab, "status")?;
    shows(&lab, "status --json")?;
    shows(&lab, "why")?;
    shows(&lab, "hook apply h --dry-run")?;
    // A version that cannot be loaded, in the words of its author.
    lab.host("a")
        .write("/run/lab/h.lua", 0o644, &format!("{EVIL}\nerror(E)\n"))?;
    daemon.wait_says("Keeping the last good version of a hook", SOON)?;
    shows(&lab, "reload")?;
    shows(&lab, "hook list")?;
    shows(&lab, "hook show h")?;
    daemon.process.signal(Signal::SIGTERM)?;
    daemon.process.wait(Duration::from_secs(15))?;
    let log: Vec<String> = daemon
        .process
        .lines()
        .iter()
        .map(|line| line.text.clone())
        .collect();
    assert!(log.iter().any(|line| line.contains("FORGED")));
    is_harmless("the log", &log);
    Ok(())
}

fn logs_always() -> Outcome {
    let lab = lan(&["a"])?;
    // Of words that differ: of the same ones the log lets a few through.
    let lua = "function on_backup() end\nfunction health()\n  for n = 1, 20 do log.info('xxx' .. string.char(96 + n) .. string.rep('x', 896)) end\n  return true\nend\n";
    let toml = "log-bytes = \"20KiB\"\nhealth = { interval = \"500ms\", timeout = \"500ms\" }";
    let mut daemon = Carpd::new("a").hook(lua, toml).start(&lab)?;
    let said = daemon.wait_says(
        "Dropping log lines of a hook that logs more than its quota",
        Duration::from_secs(40),
    )?;
    assert_eq!(said.text("hook"), "h");
    let logged = daemon
        .entries()
        .iter()
        .filter(|entry| entry.text("message").starts_with("xxx"))
        .count();
    assert!(
        (300..400).contains(&logged),
        "{logged} lines of 900 bytes, of 16 times 20 KiB and a little"
    );
    daemon.stop()
}
