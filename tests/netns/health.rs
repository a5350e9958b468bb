//! A hook that looks after its service, on a real wire: the node without it gives way, and comes
//! back.

use std::time::Duration;

use crate::hooks::longest_gap;
use crate::rig::{ADDRESS, CARPD, Carpd, Failed, SOON, TAKEOVER, Watch, holds, lan, mac, sh};
use crate::{ADDRESS_OF_A, Case, Outcome};

/// A minute: for cases that wait for several takeovers.
const LONG: Duration = Duration::from_mins(1);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            limit: LONG,
            ..Case::new(
                "health::a_master_whose_service_dies_hands_over_and_comes_back",
                dies,
            )
        },
        Case {
            limit: LONG,
            ..Case::new(
                "health::a_demoted_master_gives_way_to_a_peer_that_preempts",
                demoted,
            )
        },
        Case::new("health::one_that_hangs_delays_nothing", hangs),
        #[cfg(feature = "wasm")]
        Case {
            limit: LONG,
            ..Case::new("health::the_healthcheck_plugin_does_the_same", plugin)
        },
    ]
}

/// Its config leaves the database out.
const LUA: &str = include_str!("../../examples/hooks/health.lua");
const GRANT: &str = "config = { url = \"http://127.0.0.1/\" }\ngrant = { http = [{ url = \"http://127.0.0.1/\", do = [\"get\"] }] }";

fn quick(more: &str) -> String {
    format!(
        "{GRANT}\nhealth = {{ interval = \"1s\", timeout = \"1s\", fall = 2, rise = 2{more} }}\n"
    )
}

/// Runs one verb of the command line on node a.
fn ask(lab: &carpd::lab::Lab, verb: &str) -> Result<String, Failed> {
    Ok(sh(
        lab,
        "a",
        &format!("{CARPD} {verb} --config /run/lab/carpd.toml"),
    )?
    .join("\n"))
}

fn dies() -> Outcome {
    hands_over(&|host: &str| Carpd::new(host).hook(LUA, &quick("")), "h")
}

/// The service of node a dies and comes back: so does its mastership.
fn hands_over(node: &dyn Fn(&str) -> Carpd, hook: &str) -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    for host in ["a", "b"] {
        sh(&lab, host, "service httpd start")?;
    }
    let mut a = node("a").preempts().start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    // It would be master if it were the first to start, and takes over for another reason later.
    let mut b = node("b").advskew(50).start(&lab)?;
    b.wait_state("backup", TAKEOVER)?;
    lab.until("a to know that it is well", TAKEOVER, || {
        Ok(ask(&lab, "status")
            .is_ok_and(|text| text.contains(&format!("{hook}: healthy")))
            .then_some(()))
    })?;
    sh(&lab, "a", "service httpd stop")?;
    let unwell = a.wait_says("Became unhealthy", TAKEOVER)?;
    assert!(unwell.text("reason").contains("refused"), "{unwell:?}");
    assert_eq!(a.wait_state("backup", SOON)?.text("cause"), "unhealthy");
    assert_eq!(
        b.wait_state("master", SOON)?.text("cause"),
        "master-leaving"
    );
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    assert!(!holds(&lab, "a")?);
    let status = ask(&lab, "status")?;
    assert!(
        status.contains("demoted by 240") && status.contains("unhealthy since"),
        "{status}"
    );
    sh(&lab, "a", "service httpd start")?;
    a.wait_says("Became healthy again", TAKEOVER)?;
    assert_eq!(a.wait_state("master", TAKEOVER)?.text("cause"), "preempt");
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    let why = ask(&lab, "why")?;
    assert!(
        why.contains(&format!("hook {hook}: unhealthy, demotion 240"))
            && why.contains(&format!("hook {hook}: healthy")),
        "{why}"
    );
    a.stop()?;
    b.stop()
}

fn demoted() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    sh(&lab, "a", "service httpd start")?;
    let mut a = Carpd::new("a")
        .preempts()
        .hook(LUA, &quick(", demotion = 100, on-failure = \"demote\""))
        .start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    // The other must not have been master before, and would be if it were the first to start.
    let mut b = Carpd::new("b").preempts().advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    sh(&lab, "a", "service httpd stop")?;
    watch.hear_advskew(100, TAKEOVER)?;
    assert_eq!(b.wait_state("master", TAKEOVER)?.text("cause"), "preempt");
    assert_eq!(a.wait_state("backup", SOON)?.text("cause"), "better-master");
    // A version without `health` is well: what the old one said goes with it.
    lab.host("a")
        .write("/run/lab/h.lua", 0o644, "function on_stop() end")?;
    assert_eq!(a.wait_state("master", TAKEOVER)?.text("cause"), "preempt");
    watch.hear_advskew(0, SOON)?;
    a.stop()?;
    b.stop()
}

fn hangs() -> Outcome {
    let lab = lan(&["a"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let lua = "function health() while true do end end\nfunction on_master() log.info('Runs') end";
    let toml = "runners = 1\nhealth = { interval = \"1s\", timeout = \"1s\", fall = 1, on-failure = \"demote\", demotion = 1 }\n";
    let mut a = Carpd::new("a").hook(lua, toml).start(&lab)?;
    let unwell = a.wait_says("Became unhealthy", SOON)?;
    assert!(
        unwell.text("reason").contains("longer than its budget"),
        "{unwell:?}"
    );
    let master = a.wait_state("master", TAKEOVER)?;
    let run = a.wait_ran("on_master", SOON)?;
    assert_eq!(run.text("outcome"), "done", "{run:?}");
    // Its own runner was there, and free: it did not wait for the one that hangs, even on a busy
    // machine.
    assert!(
        run.at.since(master.at) < Duration::from_millis(700),
        "{:?}",
        run.at.since(master.at)
    );
    watch.hear(ADDRESS_OF_A, 5, TAKEOVER)?;
    let gap = longest_gap(&watch.advertisements(ADDRESS_OF_A)?);
    assert!(gap < Duration::from_millis(1500), "{gap:?}");
    a.stop()
}

/// The plugin, for TCP, with the same end.
#[cfg(feature = "wasm")]
fn plugin() -> Outcome {
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/plugins/healthcheck/healthcheck.wasm"
    );
    let toml = format!(
        "[daemon]\nfile-owners = \"warn\"\n[hook.check]\nsource = \"{source}\"\nconfig = {{ tcp = [\"127.0.0.1:80\"] }}\n\
         health = {{ interval = \"1s\", timeout = \"1s\", fall = 2, rise = 2 }}\n\
         [hook.check.grant]\ntcp = [\"127.0.0.1:80\"]\nhttp = [{{ url = \"http://127.0.0.1/\", do = [\"get\"] }}]\n\
         service = [{{ unit = \"httpd\", do = [] }}]\n"
    );
    hands_over(
        &|host: &str| Carpd::new(host).set("hooks", "[\"check\"]").more(&toml),
        "check",
    )
}
