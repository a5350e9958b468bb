//! A host that is no peer and has the virtual address.

use std::time::Duration;

use carpd::lab::Lab;

use crate::rig::{ADDRESS, CARPD, Carpd, Daemon, SOON, TAKEOVER, Watch, holds, lan, mac, sh};
use crate::{Case, Outcome};

const LONG: Duration = Duration::from_mins(1);

pub(crate) fn cases() -> Vec<Case> {
    let slow = |name, run| Case {
        limit: LONG,
        ..Case::new(name, run)
    };
    vec![
        slow(
            "conflict::every_node_names_a_stranger_with_the_address",
            named,
        ),
        slow(
            "conflict::a_master_hands_over_if_it_is_to_and_keeps_what_nobody_takes",
            resigns,
        ),
        slow("conflict::a_takeover_is_none", takeover),
        slow("conflict::it_is_seen_over_ipv6_as_well", over_ipv6),
    ]
}

fn quick(host: &str) -> Carpd {
    Carpd::new(host).set("probe-interval", "\"2s\"")
}

fn status(lab: &Lab, host: &str) -> String {
    let words = format!("{CARPD} status --config /run/lab/carpd.toml");
    sh(lab, host, &words).unwrap_or_default().join("\n")
}

fn says(lab: &Lab, host: &str, what: &str) -> Outcome {
    let said = || Ok(status(lab, host).contains(what).then_some(()));
    Ok(lab.until(&format!("{host} to say {what:?}"), 4 * SOON, said)?)
}

fn warned(daemon: &Daemon) -> usize {
    let entries = daemon.entries();
    let warned = entries
        .iter()
        .filter(|entry| entry.says("Another host has this address"));
    warned.count()
}

fn named() -> Outcome {
    let lab = lan(&["a", "b", "c"])?;
    let mut a = quick("a").start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = quick("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    // It says nothing by itself.
    lab.host("c")
        .add_address(format!("{ADDRESS}/24").parse()?)?;
    let stranger = format!("another host, {}, has {ADDRESS}", mac(&lab, "c")?);
    says(&lab, "a", &stranger)?;
    // A backup cannot know which of the two is right.
    says(&lab, "b", &stranger)?;
    says(
        &lab,
        "b",
        &format!("another host, {}, has {ADDRESS}", mac(&lab, "a")?),
    )?;
    let metrics = format!("{CARPD} metrics --config /run/lab/carpd.toml");
    let metrics = sh(&lab, "a", &metrics)?.join("\n");
    assert!(
        metrics.contains("carpd_vhost_conflicts{vhost=\"web\"} 1"),
        "{metrics}"
    );
    assert_eq!(warned(&a), 1);
    // Who asked last had the stranger's answer; the master announces its own again.
    let mut watch = Watch::start(&lab, ADDRESS)?;
    watch.hear_announced(mac(&lab, "a")?, 4 * SOON)?;
    assert_eq!(a.states(), ["backup", "master"]);
    assert_eq!(b.states(), ["backup"]);
    a.stop()?;
    b.stop()
}

fn resigns() -> Outcome {
    let lab = lan(&["a", "b", "c"])?;
    let resigning = |host: &str| quick(host).set("on-conflict", "\"resign\"");
    let mut a = resigning("a").start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = resigning("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    lab.host("c")
        .add_address(format!("{ADDRESS}/24").parse()?)?;
    let left = a.wait_state("backup", 4 * SOON)?;
    assert_eq!(left.text("cause"), "resigned");
    b.wait_state("master", SOON)?;
    // It is no better off; in the end one of them keeps the address.
    let one = || {
        let all: Vec<_> = ["a", "b"]
            .into_iter()
            .filter(|host| status(&lab, host).contains("holds its addresses"))
            .collect();
        Ok((all.len() == 1).then_some(()))
    };
    lab.until("one to hold the address", TAKEOVER, one)?;
    a.stop()?;
    b.stop()
}

fn takeover() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut a = quick("a").start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = quick("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    for _ in 0..3 {
        a.stop()?;
        b.wait_state("master", SOON)?;
        a = quick("a").preempts().start(&lab)?;
        a.wait_state("master", TAKEOVER)?;
        b.wait_state("backup", SOON)?;
    }
    let probed = || {
        let asked = status(&lab, "b").contains("hears 192.168.32.32");
        Ok(asked.then_some(()))
    };
    lab.until("b to hear a", SOON, probed)?;
    assert_eq!(
        (warned(&a), warned(&b)),
        (0, 0),
        "{} {}",
        a.text(),
        b.text()
    );
    assert!(holds(&lab, "a")?);
    a.stop()?;
    b.stop()
}

fn over_ipv6() -> Outcome {
    let lab = crate::rig::dual_lan(&["a", "c"])?;
    let mut a = quick("a")
        .set("addresses", "[\"2001:db8::22/64\"]")
        .start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    lab.host("c").add_address("2001:db8::22/64".parse()?)?;
    says(
        &lab,
        "a",
        &format!("another host, {}, has 2001:db8::22", mac(&lab, "c")?),
    )?;
    a.stop()
}
