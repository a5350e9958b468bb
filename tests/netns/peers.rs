//! carpd beside Debian's ucarp, in both roles.

use std::time::Duration;

use carpd::lab::Lab;

use crate::rig::{Carpd, SOON, TAKEOVER, Ucarp, Watch, lan, lets_go, mac, wait_ucarp};
use crate::{ADDRESS_OF_A, ADDRESS_OF_B, Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "peers::ucarp_takes_over_from_a_dead_carpd_and_gives_back_to_its_preemption",
            carpd_is_master,
        ),
        Case::new(
            "peers::carpd_takes_over_from_a_dead_ucarp_and_gives_back_to_its_preemption",
            ucarp_is_master,
        ),
        Case::new(
            "peers::without_preemption_a_worse_carpd_stays_master",
            worse_carpd_stays,
        ),
        Case::new(
            "peers::without_preemption_a_worse_ucarp_stays_master",
            worse_ucarp_stays,
        ),
        Case::new(
            "peers::a_carpd_that_stops_hands_over_to_ucarp_at_once",
            bow_out,
        ),
        Case::new(
            "peers::with_another_password_both_are_master_and_refusals_are_told",
            || differing_secrets("other", "192.168.32.22"),
        ),
        Case::new(
            "peers::with_another_address_both_are_master_and_refusals_are_told",
            || differing_secrets("gw22", "192.168.32.23"),
        ),
    ]
}

fn started() -> Result<(Lab, Watch), crate::rig::Failed> {
    let lab = lan(&["a", "b"])?;
    let watch = Watch::start(&lab, crate::rig::ADDRESS)?;
    Ok((lab, watch))
}

fn carpd_is_master() -> Outcome {
    let (lab, mut watch) = started()?;
    let (a, b) = (mac(&lab, "a")?, mac(&lab, "b")?);
    let carpd = Carpd::new("a").preempts();
    carpd.start(&lab)?.wait_state("master", TAKEOVER)?;
    watch.wait(&[a], SOON)?;
    let mut ucarp = Ucarp::on_b(100, false).start(&lab)?;
    wait_ucarp(&mut ucarp, "BACKUP", SOON)?;
    watch.hear(ADDRESS_OF_A, 3, SOON)?;

    lab.power_off("a")?;
    watch.wait(&[b], TAKEOVER)?;
    wait_ucarp(&mut ucarp, "MASTER", SOON)?;

    lab.power_on("a")?;
    let mut carpd = carpd.start(&lab)?;
    let master = carpd.wait_state("master", SOON)?;
    assert_eq!(master.text("cause"), "preempt");
    wait_ucarp(&mut ucarp, "BACKUP", SOON)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    lets_go(&lab, "b")?;
    carpd.stop()
}

fn ucarp_is_master() -> Outcome {
    let (lab, mut watch) = started()?;
    let (a, b) = (mac(&lab, "a")?, mac(&lab, "b")?);
    let mut ucarp = Ucarp::on_b(0, true).start(&lab)?;
    wait_ucarp(&mut ucarp, "MASTER", TAKEOVER)?;
    let mut carpd = Carpd::new("a").advskew(100).start(&lab)?;
    carpd.wait_says("Ready", SOON)?;
    watch.hear(ADDRESS_OF_B, 5, TAKEOVER)?;
    assert_eq!(carpd.states(), ["backup"]);

    lab.power_off("b")?;
    let master = carpd.wait_state("master", TAKEOVER)?;
    assert_eq!(master.text("cause"), "master-down");
    watch.wait(&[a], SOON)?;

    lab.power_on("b")?;
    let mut ucarp = Ucarp::on_b(0, true).start(&lab)?;
    wait_ucarp(&mut ucarp, "MASTER", TAKEOVER)?;
    let backup = carpd.wait_state("backup", SOON)?;
    assert_eq!(
        (backup.text("cause").as_str(), backup.text("peer").as_str()),
        ("better-master", ADDRESS_OF_B)
    );
    watch.wait(&[b], SOON)?;
    lets_go(&lab, "a")?;
    carpd.stop()
}

fn worse_carpd_stays() -> Outcome {
    let (lab, mut watch) = started()?;
    let mut carpd = Carpd::new("a").advskew(100).start(&lab)?;
    carpd.wait_state("master", TAKEOVER)?;
    let mut ucarp = Ucarp::on_b(0, false).start(&lab)?;
    wait_ucarp(&mut ucarp, "BACKUP", SOON)?;
    // Longer than ucarp's master-down time, and what it took to hear it.
    watch.hear(ADDRESS_OF_A, 5, TAKEOVER)?;
    assert_eq!(carpd.states(), ["backup", "master"]);
    assert!(
        !ucarp
            .lines()
            .iter()
            .any(|line| line.text.contains("MASTER")),
        "{:?}",
        ucarp.lines()
    );
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    carpd.stop()
}

fn worse_ucarp_stays() -> Outcome {
    let (lab, mut watch) = started()?;
    let mut ucarp = Ucarp::on_b(100, false).start(&lab)?;
    wait_ucarp(&mut ucarp, "MASTER", TAKEOVER)?;
    let mut carpd = Carpd::new("a").start(&lab)?;
    carpd.wait_says("Ready", SOON)?;
    watch.hear(ADDRESS_OF_B, 4, TAKEOVER)?;
    assert_eq!(carpd.states(), ["backup"]);
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    carpd.stop()
}

fn bow_out() -> Outcome {
    let (lab, mut watch) = started()?;
    let mut carpd = Carpd::new("a").start(&lab)?;
    carpd.wait_state("master", TAKEOVER)?;
    let mut ucarp = Ucarp::on_b(100, false).start(&lab)?;
    wait_ucarp(&mut ucarp, "BACKUP", SOON)?;
    watch.hear(ADDRESS_OF_A, 2, SOON)?;
    let stopped = carpd::lab::clock::now();
    carpd.stop()?;
    // ucarp is told of a packet up to 1 s after it came; by silence alone it would be 3.4 s.
    let master = wait_ucarp(&mut ucarp, "MASTER", TAKEOVER)?;
    assert!(
        master.since(stopped) < Duration::from_secs(2),
        "{:?}",
        master.since(stopped)
    );
    watch.wait(&[mac(&lab, "b")?], SOON).map(drop)
}

/// carpd and ucarp that do not believe each other.
fn differing_secrets(password: &'static str, address: &str) -> Outcome {
    let (lab, _) = started()?;
    let mut carpd = Carpd::new("a")
        .set("addresses", format!("[\"{address}/24\"]"))
        .start(&lab)?;
    let ucarp = Ucarp {
        password,
        ..Ucarp::on_b(0, false)
    };
    let mut ucarp = ucarp.start(&lab)?;
    // Either may be master first, and carpd tells of the first packet that it refuses, also as
    // backup.
    let mut told = None;
    let mut is_master = false;
    while told.is_none() || !is_master {
        let entry = carpd.wait("mastership and the refusal", TAKEOVER, |e| {
            e.becomes("master") || e.text("reason") == "digest"
        })?;
        is_master |= entry.becomes("master");
        told = told.or_else(|| (entry.text("reason") == "digest").then_some(entry));
    }
    let told = told.ok_or("no refusal")?;
    wait_ucarp(&mut ucarp, "MASTER", TAKEOVER)?;
    assert_eq!(
        (told.text("level").as_str(), told.text("src").as_str()),
        ("WARN", ADDRESS_OF_B),
        "{told:?}"
    );
    assert_eq!(carpd.states(), ["backup", "master"]);
    for (host, held) in [("a", address), ("b", crate::rig::ADDRESS)] {
        let held = held.parse()?;
        lab.until("both to hold what they are master of", SOON, || {
            Ok(lab.host(host).facts()?.holds(held).then_some(()))
        })?;
    }
    if address == crate::rig::ADDRESS {
        Watch::start(&lab, address)?.wait(&[mac(&lab, "a")?, mac(&lab, "b")?], SOON)?;
    }
    carpd.stop()
}
