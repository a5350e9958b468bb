//! carpd under the name ucarp beside Debian's ucarp, on a real wire.
//!
//! Each case plays the same story twice, at the same time, in two labs: once with ucarp as its
//! subject, once with carpd. What an operator can see is compared: states, calls of scripts with
//! their arguments, lines of the log, exit status, frames. Where carpd differs on purpose, a case
//! shows the difference and names it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use carpd::lab::{Exit, Fault, Process};
use carpd::proto::wire::{self, Advertisement, checksum};
use carpd::proto::{Key, LinkLocal, auth::Authenticator};
use carpd::types::{AdvBase, AdvSkew, Family, MacAddr, Vhid};
use nix::sys::signal::Signal;

use crate::ucarp_own::{bad_scripts, debian, lua, side_by_side, three};
use crate::ucarp_stage::{
    ADDRESS, CARPD, MASTER, Played, SOON, Stage, Trace, Which, backup, both, called, end, master,
    said, scripts, without_bow_outs, without_stamp,
};
use crate::{Case, Outcome};

#[path = "ucarp_differences.rs"]
mod differences;

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, run| Case {
        name,
        limit: Duration::from_secs(60),
        run,
    };
    vec![
        case("ucarp::alone_with_z", alone_with_z),
        case("ucarp::alone_without_z", alone_without_z),
        case("ucarp::usr2_hands_over", usr2_hands_over),
        case("ucarp::usr2_alone_comes_back", usr2_alone),
        case("ucarp::a_better_subject_preempts", preempts),
        case("ucarp::a_better_peer_preempts", is_preempted),
        case("ucarp::without_preempt_nobody_moves", stays_backup),
        case("ucarp::of_equals_the_lower_address_wins", equals),
        case("ucarp::broadcast_instead_of_multicast", || groups("-M")),
        case("ucarp::another_group", || groups("--mcastip=224.0.0.99")),
        case("ucarp::another_password_is_refused", wrong_password),
        case("ucarp::a_cable_is_pulled_and_plugged", link_flap),
        case("ucarp::an_interface_goes_down_and_up", admin_down),
        case("ucarp::a_cable_is_out_at_the_start", no_cable),
        case("ucarp::an_interface_is_down_at_the_start", down_at_start),
        case("ucarp::a_hardware_address_changes", new_mac),
        case("ucarp::a_fragment_that_claims_mastership", fragment),
        case("ucarp::a_second_one_of_a_vhid", second_start),
        case(
            "ucarp::without_a_worker_it_says_so_and_fails",
            without_worker,
        ),
        case("ucarp::a_slow_script", slow_script),
        case("ucarp::a_deaf_worse_master", worse_master),
        case("ucarp::timers_are_exact", timers),
        case("ucarp::an_advbase_of_0_settles", advbase_0),
        case("ucarp::on_the_loopback", loopback),
        case("ucarp::a_foreign_source_address", foreign_source),
        case("ucarp::three_mixed_nodes", three),
        case("ucarp::two_on_one_interface", side_by_side),
        case("ucarp::debian_starts_it_unchanged", debian),
        case(
            "ucarp::scripts_that_misbehave_have_a_known_end",
            bad_scripts,
        ),
        case("ucarp::one_lua_hook_for_both", lua),
        case("ucarp::every_difference_is_shown", every_difference),
    ]
}

/// Differences that the cases here show; the others are shown by `it::ucarp`.
const SHOWN_HERE: &[&str] = &[
    "source-first",
    "loopback",
    "bow-out",
    "end-without-z",
    "usr2-bow-out",
    "exact-timers",
    "advbase-0",
    "scripts-beside",
    "survives-link",
    "prompt-link",
    "no-cable",
    "new-mac",
    "second-start",
    "worse-masters",
    "refusals",
    "odd-packets",
    "hidden-password",
];

fn every_difference() -> Outcome {
    let by_command_line = [
        "bad-option",
        "option-m",
        "own-options",
        "errors-before-detaching",
    ];
    let shown: BTreeSet<&str> = SHOWN_HERE.iter().copied().chain(by_command_line).collect();
    let listed = differences::DIFFERENCES
        .iter()
        .copied()
        .collect::<BTreeSet<_>>();
    if shown == listed {
        Ok(())
    } else {
        Err(format!("{:?}", shown.symmetric_difference(&listed)).into())
    }
}

fn alone_with_z() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut subject = stage.subject("-z")?;
        backup(&mut subject)?;
        called(stage, "a", 1)?;
        subject.signal(Signal::SIGUSR1)?;
        said(&mut subject, "BACKUP on eth0 id 42")?;
        master(&mut subject)?;
        called(stage, "a", 2)?;
        subject.signal(Signal::SIGUSR1)?;
        said(&mut subject, "MASTER on eth0 id 42")?;
        stage.pass(Duration::from_millis(2500))?;
        assert!(stage.holds("a")?);
        let exit = end(&mut subject)?;
        assert!(!stage.holds("a")?);
        Ok(stage.trace(&subject, "a", Some(exit)))
    })?;
    assert_eq!(without_bow_outs(&ours), theirs);
    assert_eq!(
        ours.calls,
        [
            "down eth0 192.168.32.22 a",
            "up eth0 192.168.32.22 a",
            "down eth0 192.168.32.22 a"
        ]
    );
    assert!(
        ours.frames.iter().any(|frame| frame.starts_with("garp")),
        "{ours:?}"
    );
    let bowed = |trace: &Trace| trace.frames.iter().any(|frame| frame.ends_with("bow-out"));
    assert_eq!((bowed(&theirs), bowed(&ours)), (false, true), "bow-out");
    Ok(())
}

fn alone_without_z() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut subject = stage.subject("")?;
        master(&mut subject)?;
        called(stage, "a", 2)?;
        stage.lab.until("the address", SOON, || {
            Ok(stage
                .lab
                .host("a")
                .facts()?
                .holds(ADDRESS.parse().unwrap())
                .then_some(()))
        })?;
        stage.pass(Duration::from_millis(1200))?;
        let words = stage
            .lab
            .host("a")
            .read(&format!("/proc/{}/cmdline", subject.pid()))?;
        let exit = end(&mut subject)?;
        Ok((
            stage.trace(&subject, "a", None),
            exit,
            stage.holds("a")?,
            words.contains("love"),
        ))
    })?;
    assert_eq!(without_bow_outs(&ours.0), theirs.0);
    assert_eq!(
        (theirs.1, theirs.2),
        (Exit::Signal(15), true),
        "end-without-z"
    );
    assert_eq!((ours.1, ours.2), (Exit::Code(0), false), "end-without-z");
    assert_eq!((theirs.3, ours.3), (true, false), "hidden-password");
    Ok(())
}

fn usr2_hands_over() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut subject = stage.subject("-z")?;
        master(&mut subject)?;
        let mut peer = stage.peer("-z -k 10")?;
        backup(&mut peer)?;
        stage.pass(Duration::from_millis(1500))?;
        subject.signal(Signal::SIGUSR2)?;
        let down = backup(&mut subject)?;
        let up = master(&mut peer)?;
        called(stage, "a", 3)?;
        stage.pass(Duration::from_secs(4))?;
        Ok((stage.trace(&subject, "a", None), up - down))
    })?;
    assert_eq!(without_bow_outs(&ours.0), without_bow_outs(&theirs.0));
    assert!(
        theirs.1 > Duration::from_millis(2500),
        "ucarp's peer waits for silence: {:?}",
        theirs.1
    );
    assert!(
        ours.1 < Duration::from_millis(2000),
        "usr2-bow-out: {:?}",
        ours.1
    );
    Ok(())
}

fn usr2_alone() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut subject = stage.subject("-z")?;
        master(&mut subject)?;
        called(stage, "a", 2)?;
        subject.signal(Signal::SIGUSR2)?;
        let down = backup(&mut subject)?;
        let up = master(&mut subject)?;
        called(stage, "a", 4)?;
        Ok((stage.trace(&subject, "a", None), up - down))
    })?;
    assert_eq!(without_bow_outs(&ours.0), theirs.0);
    for away in [theirs.1, ours.1] {
        assert!(
            (Duration::from_millis(5800)..Duration::from_millis(7500)).contains(&away),
            "{away:?}"
        );
    }
    Ok(())
}

fn preempts() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut peer = stage.peer("-z -k 50")?;
        master(&mut peer)?;
        let mut subject = stage.subject("-z -P")?;
        master(&mut subject)?;
        said(&mut subject, "Putting MASTER down - preemption")?;
        said(&mut peer, "Preferred master advertised")?;
        called(stage, "a", 2)?;
        stage.pass(Duration::from_millis(2500))?;
        Ok((
            stage.trace(&subject, "a", None),
            stage.trace(&peer, "b", None),
        ))
    })?;
    // ucarp hears up to a second late: whether the beaten master is heard again is a matter of
    // luck.
    let quiet = |mut trace: Trace| {
        trace.said.retain(|line| !line.contains("Non-preferred"));
        trace
    };
    assert_eq!(
        (quiet(ours.0), quiet(ours.1)),
        (quiet(theirs.0), quiet(theirs.1))
    );
    Ok(())
}

fn is_preempted() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut subject = stage.subject("-z -k 50")?;
        master(&mut subject)?;
        called(stage, "a", 2)?;
        let mut peer = stage.peer("-z -P")?;
        master(&mut peer)?;
        said(&mut subject, "Preferred master advertised")?;
        called(stage, "a", 3)?;
        Ok((
            stage.trace(&subject, "a", None),
            stage.trace(&peer, "b", None).states,
        ))
    })?;
    assert_eq!(ours, theirs);
    Ok(())
}

fn stays_backup() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut peer = stage.peer("-z -k 50")?;
        master(&mut peer)?;
        let mut subject = stage.subject("-z -n")?;
        backup(&mut subject)?;
        stage.pass(Duration::from_secs(5))?;
        let exit = end(&mut subject)?;
        Ok((
            stage.trace(&subject, "a", Some(exit)),
            stage.trace(&peer, "b", None).states,
        ))
    })?;
    assert_eq!(ours, theirs);
    assert!(
        ours.0.calls.is_empty() && ours.0.frames.is_empty(),
        "neutral, and never master: {:?}",
        ours.0
    );
    Ok(())
}

fn equals() -> Outcome {
    // Both hold themselves for the only one until they can hear each other.
    let (theirs, ours) = both(|stage| {
        stage.lab.partition(&["a", "b"])?;
        let mut subject = stage.subject("-z")?;
        let mut peer = stage.peer("-z")?;
        master(&mut subject)?;
        master(&mut peer)?;
        stage.lab.reunite(&["a", "b"])?;
        said(&mut peer, "Preferred master advertised")?;
        // ...and once more with the higher address.
        stage.pass(Duration::from_secs(2))?;
        Ok((
            stage.trace(&subject, "a", None).states,
            stage.trace(&peer, "b", None).states,
        ))
    })?;
    assert_eq!(ours, theirs);
    let (theirs, ours) = both(|stage| {
        stage.lab.partition(&["a", "b"])?;
        let mut subject = stage.start(stage.subject, "b", "-z")?;
        let mut peer = stage.start(Which::Ucarp, "a", "-z")?;
        master(&mut subject)?;
        master(&mut peer)?;
        // A script that has not begun when it is overtaken is left out, and then there would be one
        // call less.
        called(stage, "b", 2)?;
        stage.lab.reunite(&["a", "b"])?;
        said(&mut subject, "Preferred master advertised")?;
        called(stage, "b", 3)?;
        let mut trace = stage.trace(&subject, "b", None);
        trace.said.retain(|line| !line.contains("Non-preferred"));
        Ok(trace)
    })?;
    assert_eq!(ours, theirs);
    Ok(())
}

fn groups(option: &'static str) -> Outcome {
    let story: fn(&Stage) -> Played<(Trace, Trace)> = match option {
        "-M" => |stage| group(stage, "-M"),
        _ => |stage| group(stage, "--mcastip=224.0.0.99"),
    };
    let (theirs, ours) = both(story)?;
    assert_eq!(ours, theirs);
    let destination = if option == "-M" {
        "38 ffffffffffff"
    } else {
        "70 01005e000063"
    };
    let right = ours
        .0
        .frames
        .iter()
        .any(|frame| frame.contains(destination.trim_start_matches("38 ")));
    assert!(right, "{:?}", ours.0.frames);
    Ok(())
}

fn group(stage: &Stage, option: &str) -> Played<(Trace, Trace)> {
    let mut subject = stage.subject(&format!("-z {option}"))?;
    master(&mut subject)?;
    called(stage, "a", 2)?;
    let mut peer = stage.peer(&format!("-z -k 9 {option}"))?;
    backup(&mut peer)?;
    stage.pass(Duration::from_secs(4))?;
    Ok((
        stage.trace(&subject, "a", None),
        stage.trace(&peer, "b", None),
    ))
}

fn wrong_password() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut peer = stage.peer("-z -p hate")?;
        master(&mut peer)?;
        let mut subject = stage.subject("-z")?;
        said(&mut subject, "Bad digest")?;
        master(&mut subject)?;
        called(stage, "a", 2)?;
        stage.pass(Duration::from_secs(3))?;
        let refused = subject
            .lines()
            .iter()
            .filter(|line| line.text.contains("Bad digest"))
            .count();
        Ok((stage.trace(&subject, "a", None), refused))
    })?;
    assert_eq!(ours.0, theirs.0);
    assert!(theirs.1 > 3, "{}", theirs.1);
    assert_eq!(ours.1, 1, "refusals");
    Ok(())
}

fn link_flap() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut subject = stage.subject("-z")?;
        master(&mut subject)?;
        called(stage, "a", 2)?;
        stage.lab.set_fault("a", Fault::Unplugged)?;
        backup(&mut subject)?;
        called(stage, "a", 3)?;
        let plugged = carpd::lab::clock::now();
        stage.lab.clear_fault("a", Fault::Unplugged)?;
        let again = master(&mut subject)?;
        called(stage, "a", 4)?;
        // Who listens may come to its processor later.
        stage.lab.until("its frames", SOON, || {
            Ok((stage.frames(10).len() > 1).then_some(()))
        })?;
        Ok((stage.trace(&subject, "a", None), again - plugged))
    })?;
    assert_eq!(ours.0, theirs.0);
    assert!(
        ours.1 < Duration::from_secs(4) && theirs.1 > Duration::from_secs(5),
        "prompt-link: {:?} {:?}",
        ours.1,
        theirs.1
    );
    Ok(())
}

fn admin_down() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut subject = stage.subject("-z")?;
        master(&mut subject)?;
        called(stage, "a", 2)?;
        stage.lab.host("a").set_link(false)?;
        called(stage, "a", 3)?;
        stage.lab.host("a").set_link(true)?;
        if stage.subject == Which::Ucarp {
            // At once, or when it has slept for 10 s because it looked at the link before it
            // polled.
            subject.wait(SOON)?;
        } else {
            master(&mut subject)?;
            called(stage, "a", 4)?;
        }
        let trace = stage.trace(&subject, "a", None);
        Ok((
            trace.calls,
            trace.states.len(),
            subject.ended(),
            subject.lines(),
        ))
    })?;
    assert_eq!(
        (theirs.2, ours.2),
        (Some(Exit::Code(0)), None),
        "survives-link: {:?}",
        theirs.3
    );
    assert_eq!(ours.0.get(..3), theirs.0.get(..3));
    assert_eq!((ours.0.len(), ours.1), (4, 4), "master again: {:?}", ours.0);
    Ok(())
}

fn no_cable() -> Outcome {
    let (theirs, ours) = both(|stage| {
        stage.lab.set_fault("a", Fault::Unplugged)?;
        let mut subject = stage.subject("-z")?;
        stage.pass(Duration::from_secs(7))?;
        let before = stage.trace(&subject, "a", None);
        stage.lab.clear_fault("a", Fault::Unplugged)?;
        master(&mut subject)?;
        called(stage, "a", 2)?;
        let after = stage.trace(&subject, "a", None);
        Ok((
            before.states,
            before.calls,
            after.states,
            after.calls,
            subject.ended(),
        ))
    })?;
    assert_eq!(
        (&ours.2, &ours.3, &ours.4),
        (&theirs.2, &theirs.3, &theirs.4),
        "the same in the end"
    );
    assert_eq!((theirs.0.len(), theirs.1.len()), (1, 1), "{theirs:?}");
    assert_eq!((ours.0.len(), ours.1.len()), (0, 0), "no-cable: {ours:?}");
    Ok(())
}

fn new_mac() -> Outcome {
    const NEW: &str = "020000000077";
    // Whom each announcement names.
    fn announced(stage: &Stage) -> Vec<String> {
        let of =
            |frame: &str, from: usize, to: usize| frame.get(2 * from..2 * to).map(str::to_owned);
        let garp = |frame: &String| {
            of(frame, 12, 14).as_deref() == Some("0806") && of(frame, 28, 32) == of(frame, 38, 42)
        };
        let frames = stage.sniffer.lines().into_iter().map(|line| line.text);
        frames
            .filter(garp)
            .filter_map(|frame| of(&frame, 22, 28))
            .collect()
    }
    let (theirs, ours) = both(|stage| {
        let mut subject = stage.subject("-z")?;
        master(&mut subject)?;
        called(stage, "a", 2)?;
        let changed = stage.lab.host("a").run(
            &[
                "ip",
                "link",
                "set",
                "dev",
                "eth0",
                "address",
                "02:00:00:00:00:77",
            ],
            SOON,
        )?;
        assert!(changed.status.success(), "{changed:?}");
        subject.signal(Signal::SIGUSR2)?;
        backup(&mut subject)?;
        let before = announced(stage).len();
        master(&mut subject)?;
        Ok(stage.lab.until("an announcement", SOON, || {
            Ok(announced(stage).get(before).cloned())
        })?)
    })?;
    assert!(theirs != NEW && ours == NEW, "new-mac: {theirs} {ours}");
    Ok(())
}

fn fragment() -> Outcome {
    /// A better master's advertisement, rightly signed, in the first fragment of a packet.
    fn claim() -> Vec<u8> {
        let (vhid, group) = (Vhid::new(42).unwrap(), Ipv4Addr::new(224, 0, 0, 18));
        let auth = Authenticator::new(
            &Key::new(b"love").unwrap(),
            vhid,
            &[ADDRESS.parse().unwrap()],
            None,
            LinkLocal::Include,
        );
        let digest = auth.sign(7);
        let ad = Advertisement {
            vhid: 42,
            advbase: AdvBase(1),
            advskew: AdvSkew(0),
            demote: 0,
            counter: 7,
            digest,
        };
        let mut packet = wire::ipv4_packet(
            Ipv4Addr::new(192, 168, 32, 11),
            group,
            0x10,
            0,
            &ad.encode(),
        );
        packet[6..8].copy_from_slice(&[0x20, 0]);
        packet[10..12].fill(0);
        let sum = checksum(&packet[..20]).to_be_bytes();
        packet[10..12].copy_from_slice(&sum);
        wire::ethernet_frame(
            wire::multicast_mac(group.into()).unwrap(),
            MacAddr([2, 0xca, 1, 0, 0, 9]),
            Family::V4,
            &packet,
        )
    }
    let (theirs, ours) = both(|stage| {
        let mut subject = stage.subject("-z -k 100")?;
        master(&mut subject)?;
        called(stage, "a", 2)?;
        stage.lab.host("b").send(&[claim()])?;
        // ucarp may see it a second later.
        stage.pass(Duration::from_millis(2500))?;
        Ok(stage.trace(&subject, "a", None).states)
    })?;
    assert_eq!(
        (theirs.len(), ours.len()),
        (3, 2),
        "odd-packets: {theirs:?} {ours:?}"
    );
    Ok(())
}

fn down_at_start() -> Outcome {
    let (theirs, ours) = both(|stage| {
        stage.lab.host("a").set_link(false)?;
        let subject = stage.subject("-z")?;
        let exit = subject.wait(SOON)?;
        // Two streams: which line is read first says nothing.
        let lines: BTreeSet<String> = subject
            .lines()
            .iter()
            .map(|line| without_stamp(&line.text))
            .collect();
        Ok((exit, lines, stage.trace(&subject, "a", None).calls))
    })?;
    assert_eq!(ours, theirs);
    Ok(())
}

fn second_start() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut first = stage.subject("-z")?;
        master(&mut first)?;
        let mut seen = Vec::new();
        for more in ["-z -B", "-z"] {
            let second = stage.subject(more)?;
            let running = || {
                Ok(stage
                    .lab
                    .host("a")
                    .run(&["pgrep", "-c", "-x", "ucarp"], SOON)?
                    .stdout
                    .concat())
            };
            let exit = if stage.subject == Which::Carpd || more.ends_with("-B") {
                Some(second.wait(SOON)?)
            } else {
                None
            };
            let lines = second
                .lines()
                .iter()
                .map(|line| without_stamp(&line.text))
                .collect::<Vec<_>>();
            let running: Played<String> = running();
            seen.push((exit, lines, running?));
        }
        assert_eq!(first.ended(), None);
        Ok((seen, stage.holds("a")?))
    })?;
    assert_eq!(
        (&theirs.0[0].0, &theirs.0[0].2[..]),
        (&Some(Exit::Code(0)), "2"),
        "second-start: {theirs:?}"
    );
    for (exit, lines, running) in &ours.0 {
        assert_eq!(
            (exit, &running[..]),
            (&Some(Exit::Code(2)), "1"),
            "second-start: {ours:?}"
        );
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("[ERROR] another carpd already has vhid 42 on eth0")),
            "{lines:?}"
        );
    }
    assert!(ours.1, "the first one goes on as it was");
    Ok(())
}

/// Whoever starts it with `-B` must not believe that it runs.
fn without_worker() -> Outcome {
    let stage = Stage::new(Which::Carpd).map_err(|error| error.to_string())?;
    let host = stage.lab.host("a");
    let copy = format!("mkdir /run/lab/bin && cp {CARPD} {CARPD}-daemon /run/lab/bin");
    host.run(&["bash", "-c", &copy], SOON)?;
    let line =
        "/run/lab/bin/carpd ucarp -i eth0 -s 192.168.32.10 -v 42 -p gw22 -a 192.168.32.22 -B";
    let started = host.run(&line.split(' ').collect::<Vec<_>>(), SOON)?;
    let said = [started.stdout, started.stderr].concat().join("\n");
    assert!(
        !started.status.success() && said.contains("Unable to start: carpd-worker is missing"),
        "{said}"
    );
    Ok(())
}

fn slow_script() -> Outcome {
    let (theirs, ours) = both(|stage| {
        scripts(&stage.lab, "a", "sleep 5\n")?;
        let mut subject = stage.subject("-z")?;
        let mut peer = stage.peer("-z -k 100")?;
        master(&mut subject)?;
        stage.pass(Duration::from_secs(7))?;
        let masters = peer
            .lines()
            .iter()
            .filter(|line| line.text.ends_with(MASTER))
            .count();
        let exit = end(&mut subject)?;
        master(&mut peer).ok();
        Ok((stage.trace(&subject, "a", Some(exit)).calls, masters))
    })?;
    assert_eq!(ours.0, theirs.0);
    assert_eq!(
        (theirs.1, ours.1),
        (1, 0),
        "scripts-beside: a second master while the script runs"
    );
    Ok(())
}

fn worse_master() -> Outcome {
    const LINE: &str = "Non-preferred master advertising";
    let (theirs, ours) = both(|stage| {
        let mut peer = stage.peer("-z -k 50")?;
        master(&mut peer)?;
        stage.lab.set_fault("b", Fault::Deaf)?;
        let mut subject = stage.subject("-z -P")?;
        said(&mut subject, LINE)?;
        stage.pass(Duration::from_millis(6500))?;
        let times = subject
            .lines()
            .iter()
            .filter(|line| line.text.contains(LINE))
            .count();
        Ok((stage.trace(&subject, "a", None), times))
    })?;
    assert_eq!(ours.0, theirs.0);
    assert!(
        theirs.1 >= 5 && (2..=4).contains(&ours.1),
        "worse-masters: {} {}",
        theirs.1,
        ours.1
    );
    Ok(())
}

fn timers() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut subject = stage.subject("-z -k 100")?;
        let start = backup(&mut subject)?;
        Ok(master(&mut subject)? - start)
    })?;
    let near = |time: Duration, ms: u64| {
        time.abs_diff(Duration::from_millis(ms)) < Duration::from_millis(350)
    };
    assert!(
        near(theirs, 4170) && near(ours, 3390),
        "exact-timers: {theirs:?} {ours:?}"
    );
    Ok(())
}

fn advbase_0() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut first = stage.subject("-z -b 0 -k 26")?;
        master(&mut first)?;
        let second = stage.start(stage.subject, "b", "-z -b 0 -k 26")?;
        stage.pass(Duration::from_secs(5))?;
        Ok([first, second]
            .iter()
            .flat_map(Process::lines)
            .filter(|line| line.text.ends_with(MASTER))
            .count())
    })?;
    assert!(theirs > 2 && ours == 1, "advbase-0: {theirs} {ours}");
    Ok(())
}

fn loopback() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let line = "-i lo -s 127.0.0.1 -v 42 -p love -a 192.168.32.22 -u /run/lab/up -d /run/lab/down -M -n -z";
        let mut subject = stage.start_line(stage.subject, "a", line)?;
        master(&mut subject)?;
        called(stage, "a", 1)?;
        let unknown = subject
            .lines()
            .iter()
            .any(|line| line.text.contains("Unknown hardware type [772]"));
        let exit = end(&mut subject)?;
        Ok((stage.trace(&subject, "a", Some(exit)), unknown))
    })?;
    assert_eq!(ours.0, theirs.0);
    assert_eq!((theirs.1, ours.1), (true, false), "loopback");
    Ok(())
}

fn foreign_source() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let line = "-i eth0 -s 192.168.99.1 -v 42 -p love -a 192.168.32.22 -u /run/lab/up -d /run/lab/down";
        let subject = stage.start_line(stage.subject, "a", line)?;
        let exit = subject.wait(SOON)?;
        let trace = stage.trace(&subject, "a", Some(exit));
        let complaint = subject.lines().iter().any(|line| {
            line.text
                .ends_with("Can't do IP_ADD_MEMBERSHIP errno=No such device (19)")
        });
        Ok((trace.exit, complaint, trace.calls.len()))
    })?;
    assert_eq!((theirs.0, theirs.1), (ours.0, ours.1));
    assert_eq!((theirs.2, ours.2), (1, 0), "source-first: {:?}", ours.0);
    Ok(())
}
