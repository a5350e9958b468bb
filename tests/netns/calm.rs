//! Nodes that wait before they take part, or take over.

use std::time::Duration;

use carpd::lab::Fault;

use crate::rig::{CARPD, Carpd, SOON, TAKEOVER, holds, lan, sh};
use crate::{Case, Outcome};

/// The delays are several seconds each.
const LONG: Duration = Duration::from_mins(1);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            limit: LONG,
            ..Case::new(
                "calm::a_port_that_forwards_late_makes_no_second_master",
                late_port,
            )
        },
        Case {
            limit: LONG,
            ..Case::new(
                "calm::the_better_node_takes_back_after_its_delay_and_follows_at_once",
                take_back,
            )
        },
    ]
}

/// The switch port of b passes nothing on until well after its daemon has started.
fn late_port() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut a = Carpd::new("a").advskew(50).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    lab.set_fault("b", Fault::Deaf)?;
    lab.set_fault("b", Fault::Mute)?;
    let mut b = Carpd::new("b").set("startup-delay", "\"8s\"").start(&lab)?;
    let words = format!("{CARPD} status --config /run/lab/carpd.toml");
    lab.until(
        "b to have waited for longer than a master-down time",
        TAKEOVER,
        || {
            let said = sh(&lab, "b", &words).unwrap_or_default().join("\n");
            Ok(said.contains("not taking part for 3 s more").then_some(()))
        },
    )?;
    assert!(b.states().is_empty(), "{:?}", b.states());
    lab.clear_fault("b", Fault::Deaf)?;
    lab.clear_fault("b", Fault::Mute)?;
    b.wait_state("backup", TAKEOVER)?;
    lab.until("b to hear a", SOON, || {
        let said = sh(&lab, "b", &words).unwrap_or_default().join("\n");
        Ok(said.contains("hears 192.168.32.32").then_some(()))
    })?;
    a.stop()?;
    b.wait_state("master", SOON)?;
    // Nobody was disturbed before a stopped.
    assert_eq!(a.states(), ["backup", "master", "init"]);
    assert_eq!(b.states(), ["backup", "master"]);
    b.stop()
}

fn take_back() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let better = Carpd::new("a").preempts().set("preempt-delay", "\"6s\"");
    let mut b = Carpd::new("b").advskew(50).start(&lab)?;
    b.wait_state("master", TAKEOVER)?;
    let mut a = better.start(&lab)?;
    let listens = a.wait_state("backup", SOON)?;
    let back = a.wait_state("master", TAKEOVER)?;
    let waited = back.at.since(listens.at);
    assert!((6..9).contains(&waited.as_secs()), "{waited:?}");
    assert_eq!(back.text("cause"), "preempt");
    b.wait_state("backup", SOON)?;
    // A bow-out is followed without delay.
    a.stop()?;
    b.wait_state("master", SOON)?;
    let mut a = better.start(&lab)?;
    a.wait_state("backup", SOON)?;
    b.stop()?;
    let took = a.wait_state("master", Duration::from_secs(4))?;
    assert_eq!(took.text("cause"), "master-leaving");
    assert!(holds(&lab, "a")?);
    a.stop()
}
