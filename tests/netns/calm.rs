//! Nodes that wait before they take part, or take over.

use std::time::Duration;

use carpd::lab::Fault;
use carpd::lab::clock::Ticker;
use carpd::proto::auth::Authenticator;
use carpd::proto::wire::{self, Advertisement};
use carpd::proto::{Key, LinkLocal};
use carpd::types::{Family, MacAddr, Vhid};

use crate::rig::{
    ADDRESS, CARPD, Carpd, Daemon, Entry, Failed, SOON, TAKEOVER, holds, lan, sh, takes_hold,
};
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
        Case {
            limit: LONG,
            ..Case::new(
                "calm::a_link_that_flaps_ten_times_a_second_is_left_alone",
                flaps,
            )
        },
        Case {
            limit: LONG,
            ..Case::new(
                "calm::a_captured_bow_out_takes_the_address_away_once_at_most",
                captured,
            )
        },
    ]
}

/// Changes of state and runs of hooks.
fn busy(daemon: &Daemon) -> (usize, usize) {
    let ran = |entry: &&Entry| entry.says("Ran a hook");
    let runs = daemon.entries().iter().filter(ran).count();
    (daemon.states().len(), runs)
}

fn with_hook(host: &str) -> Carpd {
    let hook = "function on_master() end\nfunction on_backup() end";
    Carpd::new(host).hook(hook, "")
}

fn flaps() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut a = with_hook("a").preempts().start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = with_hook("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    let before = [busy(&a), busy(&b)];
    let ticker = Ticker::new(Duration::from_millis(50))?;
    for n in 0..240 {
        ticker.wait()?;
        lab.host("a").set_link(n % 2 == 1)?;
    }
    // Its peer took over meanwhile, and is left in peace.
    assert!(holds(&lab, "b")?);
    assert!(!holds(&lab, "a")?);
    for ((states, runs), (daemon, before)) in [busy(&a), busy(&b)]
        .into_iter()
        .zip([("a", before[0]), ("b", before[1])])
    {
        assert!(
            states - before.0 <= 3 && runs - before.1 <= 3,
            "{daemon}: {states} changes of state, {runs} runs; before: {before:?}"
        );
    }
    let status = format!("{CARPD} status --config /run/lab/carpd.toml");
    let said = sh(&lab, "a", &status)?.join("\n");
    assert!(said.contains("the link has flapped"), "{said}");
    assert!(said.contains("link penalty"), "{said}");
    // The link is up, and stays up.
    a.wait_state("master", Duration::from_secs(30))?;
    a.stop()?;
    b.stop()
}

fn captured() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut a = with_hook("a").preempts().start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = with_hook("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    let heard = || {
        let status = format!("{CARPD} status --config /run/lab/carpd.toml");
        let said = sh(&lab, "b", &status).unwrap_or_default().join("\n");
        Ok(said.contains("hears 192.168.32.32").then_some(()))
    };
    lab.until("b to hear a", SOON, heard)?;
    let before = [busy(&a), busy(&b)];
    let frame = bow_out_of_a()?;
    let ticker = Ticker::new(Duration::from_millis(200))?;
    for n in 0..60 {
        ticker.wait()?;
        lab.host("client").send(std::slice::from_ref(&frame))?;
        if n == 0 {
            // It cannot be told from a real one.
            b.wait_state("master", SOON)?;
        }
    }
    assert!(holds(&lab, "a")?);
    assert!(!holds(&lab, "b")?);
    assert_eq!(busy(&a), before[0]);
    let (states, runs) = busy(&b);
    assert!(
        states - before[1].0 <= 3 && runs - before[1].1 <= 3,
        "{states} changes of state, {runs} runs; before: {before:?}"
    );
    // The real one counts as little as the others, and silence as much as ever.
    a.stop()?;
    let took = b.wait_state("master", TAKEOVER)?;
    assert_eq!(took.text("cause"), "master-down");
    b.stop()
}

/// As it was captured: a's, signed with another counter than its own.
fn bow_out_of_a() -> Result<Vec<u8>, Failed> {
    let (vhid, counter) = (Vhid::new(40)?, 0x0123_4567_89ab_cdef);
    let key = Key::new(b"gw22")?;
    let signer = Authenticator::new(&key, vhid, &[ADDRESS.parse()?], None, LinkLocal::Include);
    let (advbase, advskew) = Advertisement::BOW_OUT;
    let bow_out = Advertisement {
        vhid: vhid.get(),
        advbase,
        advskew,
        demote: 0,
        counter,
        digest: signer.sign(counter),
    };
    let (from, to) = ("192.168.32.32".parse()?, "224.0.0.18".parse()?);
    let packet = wire::ipv4_packet(from, to, 0, 1, &bow_out.encode());
    let to = MacAddr([0x01, 0, 0x5e, 0, 0, 0x12]);
    let from = MacAddr([0, 0, 0x5e, 0, 1, 40]);
    Ok(wire::ethernet_frame(to, from, Family::V4, &packet))
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
    takes_hold(&lab, "a")?;
    a.stop()
}
