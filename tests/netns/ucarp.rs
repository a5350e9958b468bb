//! carpd under the name ucarp beside Debian's ucarp, on a real wire.
//!
//! Each case plays the same story twice, at the same time, in two labs: once with ucarp as its subject, once with
//! carpd. What an operator can see is compared: states, calls of scripts with their arguments, lines of the log, exit
//! status, frames. Where carpd differs on purpose, a case shows the difference and names it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::process::ExitCode;
use std::time::Duration;

use carpd::lab::{Exit, Fault, HostSpec, Lab, LabSpec, PROGRAM, Process};
use carpd::types::Timestamp;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};

use crate::{Case, Outcome};

#[path = "ucarp_differences.rs"]
mod differences;

const CARPD: &str = env!("CARGO_BIN_EXE_carpd");
const UCARP: &str = "/usr/sbin/ucarp";
const ADDRESS: &str = "192.168.32.22";
/// Longer than anything that ucarp does by itself: 10 s for a link, and a master-down time.
const SOON: Duration = Duration::from_secs(20);
const MASTER: &str = "Switching to state: MASTER";
const BACKUP: &str = "Switching to state: BACKUP";

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, run| Case { name, limit: Duration::from_secs(60), run };
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
        case("ucarp::a_slow_script", slow_script),
        case("ucarp::a_deaf_worse_master", worse_master),
        case("ucarp::timers_are_exact", timers),
        case("ucarp::an_advbase_of_0_settles", advbase_0),
        case("ucarp::on_the_loopback", loopback),
        case("ucarp::a_foreign_source_address", foreign_source),
        case("ucarp::three_mixed_nodes", three),
        case("ucarp::two_on_one_interface", side_by_side),
        case("ucarp::debian_starts_it_unchanged", debian),
        case("ucarp::scripts_that_misbehave_have_a_known_end", bad_scripts),
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
    "worse-masters",
    "refusals",
    "hidden-password",
];

fn every_difference() -> Outcome {
    let by_command_line = ["bad-option", "option-m", "own-options", "errors-before-detaching"];
    let shown: BTreeSet<&str> = SHOWN_HERE.iter().copied().chain(by_command_line).collect();
    assert_eq!(shown, differences::DIFFERENCES.iter().copied().collect());
    Ok(())
}

/// Which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Ucarp,
    Carpd,
}

/// One playing of a story.
struct Stage {
    lab: Lab,
    subject: Which,
    sniffer: Process,
}

type Played<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What was seen of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trace {
    states: Vec<String>,
    calls: Vec<String>,
    said: BTreeSet<&'static str>,
    exit: Option<Exit>,
    frames: BTreeSet<String>,
}

/// Lines that people grep for, by their beginning. Those that tell of states and scripts are compared in order.
const GREPPED: &[&str] = &[
    "[INFO] Local advertised ethernet address is [",
    "[INFO] BACKUP on eth0 id 42",
    "[INFO] MASTER on eth0 id 42",
    "[WARNING] Switching to state: BACKUP",
    "[WARNING] Switching to state: MASTER",
    "[WARNING] Spawning [/run/lab/down eth0 192.168.32.22 ",
    "[WARNING] Spawning [/run/lab/up eth0 192.168.32.22 ",
    "[WARNING] Putting MASTER down - preemption",
    "[WARNING] Putting MASTER DOWN (going to time out)",
    "[WARNING] Preferred master advertised: going back to BACKUP state",
    "[WARNING] Non-preferred master advertising: reasserting control of VIP with another gratuitous arp",
    "[WARNING] Bad digest -",
    "[ERROR] exiting: pfds[0].revents = ",
];

const SCRIPT: &str =
    "#!/bin/sh\necho \"NAME $*\" >> /run/lab/calls\nSLOWip address VERB \"$2/24\" dev \"$1\" 2>/dev/null\nexit 0\n";

impl Stage {
    fn new(subject: Which) -> Played<Self> {
        let host = |name: &str, n: u8| HostSpec::new(name, &[format!("192.168.32.{n}/24").parse().unwrap()]);
        let lab = Lab::start(&LabSpec { hosts: vec![host("a", 10), host("b", 11), host("c", 12)] })?;
        for name in ["a", "b", "c"] {
            scripts(&lab, name, "")?;
        }
        let mut sniffer = lab.host("c").spawn(&[PROGRAM, "--sniff"])?;
        sniffer.wait_line("the sniffer", SOON, |line| line == "ready")?;
        Ok(Self { lab, subject, sniffer })
    }

    fn start(&self, which: Which, host: &str, more: &str) -> Played<Process> {
        let n = match host {
            "a" => 10,
            "b" => 11,
            _ => 12,
        };
        let line =
            format!("-i eth0 -s 192.168.32.{n} -v 42 -p love -a {ADDRESS} -u /run/lab/up -d /run/lab/down -x {host} {more}");
        self.start_line(which, host, &line)
    }

    fn start_line(&self, which: Which, host: &str, line: &str) -> Played<Process> {
        // ucarp's standard output would be lost: it is buffered, and ucarp ends by _exit.
        let program: &[&str] = match which {
            Which::Ucarp => &["stdbuf", "-oL", UCARP],
            Which::Carpd => &[CARPD, "ucarp"],
        };
        let argv: Vec<&str> = program.iter().copied().chain(line.split_whitespace()).collect();
        Ok(self.lab.host(host).spawn(&argv)?)
    }

    fn subject(&self, more: &str) -> Played<Process> {
        self.start(self.subject, "a", more)
    }

    fn peer(&self, more: &str) -> Played<Process> {
        self.start(Which::Ucarp, "b", more)
    }

    /// Waits for so long, on the lab's clock, while the daemons do what they do.
    fn pass(&self, time: Duration) -> Played<()> {
        let end = carpd::lab::clock::now() + time;
        Ok(self.lab.until("time", time + SOON, || Ok((carpd::lab::clock::now() >= end).then_some(())))?)
    }

    fn trace(&self, process: &Process, host: &str, exit: Option<Exit>) -> Trace {
        let lines: Vec<String> = process.lines().iter().map(|line| without_stamp(&line.text)).collect();
        let states = lines.iter().filter(|line| line.contains("Switching to state")).cloned().collect();
        let said = GREPPED.iter().copied().filter(|known| lines.iter().any(|line| line.starts_with(known))).collect();
        let calls = self.lab.host(host).read("/run/lab/calls").unwrap_or_default();
        let calls = calls.lines().map(str::to_owned).collect();
        let n = if host == "a" { 10 } else { 11 };
        Trace { states, calls, said, exit, frames: self.frames(n) }
    }

    /// Advertisements of a host and its announcements, each with what changes from one to the next left out.
    fn frames(&self, n: u8) -> BTreeSet<String> {
        let source = format!("c0a820{n:02x}");
        let frames = self.sniffer.lines().into_iter().map(|line| line.text);
        frames.filter_map(|frame| normal(&frame, &source)).collect()
    }

    fn holds(&self, host: &str) -> Played<bool> {
        Ok(self.lab.host(host).facts()?.holds(ADDRESS.parse()?))
    }
}

/// `VERB` and `NAME` filled in; `slow` is put before the change of the address.
fn scripts(lab: &Lab, host: &str, slow: &str) -> Played<()> {
    for (name, verb) in [("up", "add"), ("down", "del")] {
        let slow = if name == "up" { slow } else { "" };
        let text = SCRIPT.replace("NAME", name).replace("VERB", verb).replace("SLOW", slow);
        lab.host(host).write(&format!("/run/lab/{name}"), 0o755, &text)?;
    }
    Ok(())
}

fn without_stamp(line: &str) -> String {
    line.split_once(": [").filter(|(stamp, _)| stamp.len() == 26).map_or_else(|| line.to_owned(), |(_, rest)| format!("[{rest}"))
}

/// IP identification and checksum, counter and digest change; the sender's own hardware address differs between labs.
fn normal(frame: &str, source: &str) -> Option<String> {
    let of = |from: usize, to: usize| frame.get(2 * from..2 * to);
    if of(12, 14)? == "0806" {
        let known = of(28, 32)? == of(38, 42)? && of(6, 12)? == of(22, 28)? && of(22, 28)? == of(32, 38)?;
        let shown = format!("garp {} {} {}", of(0, 6)?, of(12, 22)?, of(28, 32)?);
        return (known && of(28, 32)? == "c0a82016").then_some(shown);
    }
    let shown = format!("{} {} {} {} {}", frame.len() / 2, of(0, 18)?, of(20, 24)?, of(26, 40)?, bow_out(frame));
    (of(26, 30)? == source).then_some(shown)
}

/// Does this frame hand over?
fn bow_out(frame: &str) -> &'static str {
    if frame.get(72..74) == Some("ff") && frame.get(78..80) == Some("ff") { "bow-out" } else { "" }
}

fn without_bow_outs(trace: &Trace) -> Trace {
    let mut trace = trace.clone();
    trace.frames.retain(|frame| !frame.ends_with("bow-out"));
    trace
}

/// Plays a story with both, at the same time.
fn both<T: Send>(story: fn(&Stage) -> Played<T>) -> Result<(T, T), Box<dyn Error>> {
    std::thread::scope(|scope| {
        // A lab ends with the thread that made it.
        let play = |which| scope.spawn(move || story(&Stage::new(which)?));
        let (theirs, ours) = (play(Which::Ucarp), play(Which::Carpd));
        let join = |played: std::thread::ScopedJoinHandle<'_, Played<T>>, name| {
            played.join().map_err(|_| format!("{name}: panicked"))?.map_err(|error| format!("{name}: {error}"))
        };
        Ok((join(theirs, "ucarp")?, join(ours, "carpd")?))
    })
}

fn master(process: &mut Process) -> Played<Timestamp> {
    Ok(process.wait_line("MASTER", SOON, |line| line.ends_with(MASTER))?.at)
}

fn backup(process: &mut Process) -> Played<Timestamp> {
    Ok(process.wait_line("BACKUP", SOON, |line| line.ends_with(BACKUP))?.at)
}

fn said(process: &mut Process, text: &'static str) -> Played<Timestamp> {
    Ok(process.wait_line(text, SOON, |line| line.contains(text))?.at)
}

/// Until a script that was called has written so many calls.
fn called(stage: &Stage, host: &str, times: usize) -> Played<()> {
    Ok(stage.lab.until("calls of scripts", SOON, || {
        Ok((stage.lab.host(host).read("/run/lab/calls").unwrap_or_default().lines().count() >= times).then_some(()))
    })?)
}

fn end(process: &mut Process) -> Played<Exit> {
    process.signal(Signal::SIGTERM)?;
    Ok(process.wait(SOON)?)
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
    assert_eq!(ours.calls, ["down eth0 192.168.32.22 a", "up eth0 192.168.32.22 a", "down eth0 192.168.32.22 a"]);
    assert!(ours.frames.iter().any(|frame| frame.starts_with("garp")), "{ours:?}");
    let bowed = |trace: &Trace| trace.frames.iter().any(|frame| frame.ends_with("bow-out"));
    assert_eq!((bowed(&theirs), bowed(&ours)), (false, true), "bow-out");
    Ok(())
}

fn alone_without_z() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut subject = stage.subject("")?;
        master(&mut subject)?;
        called(stage, "a", 2)?;
        stage
            .lab
            .until("the address", SOON, || Ok(stage.lab.host("a").facts()?.holds(ADDRESS.parse().unwrap()).then_some(())))?;
        let words = stage.lab.host("a").read(&format!("/proc/{}/cmdline", subject.pid()))?;
        let exit = end(&mut subject)?;
        Ok((stage.trace(&subject, "a", None), exit, stage.holds("a")?, words.contains("love")))
    })?;
    assert_eq!(without_bow_outs(&ours.0), theirs.0);
    assert_eq!((theirs.1, theirs.2), (Exit::Signal(15), true), "end-without-z");
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
    assert!(theirs.1 > Duration::from_millis(2500), "ucarp's peer waits for silence: {:?}", theirs.1);
    assert!(ours.1 < Duration::from_millis(2000), "usr2-bow-out: {:?}", ours.1);
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
        assert!((Duration::from_millis(5800)..Duration::from_millis(7500)).contains(&away), "{away:?}");
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
        Ok((stage.trace(&subject, "a", None), stage.trace(&peer, "b", None)))
    })?;
    // ucarp hears up to a second late: whether the beaten master is heard again is a matter of luck.
    let quiet = |mut trace: Trace| {
        trace.said.retain(|line| !line.contains("Non-preferred"));
        trace
    };
    assert_eq!((quiet(ours.0), quiet(ours.1)), (quiet(theirs.0), quiet(theirs.1)));
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
        Ok((stage.trace(&subject, "a", None), stage.trace(&peer, "b", None).states))
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
        Ok((stage.trace(&subject, "a", Some(exit)), stage.trace(&peer, "b", None).states))
    })?;
    assert_eq!(ours, theirs);
    assert!(ours.0.calls.is_empty() && ours.0.frames.is_empty(), "neutral, and never master: {:?}", ours.0);
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
        Ok((stage.trace(&subject, "a", None).states, stage.trace(&peer, "b", None).states))
    })?;
    assert_eq!(ours, theirs);
    let (theirs, ours) = both(|stage| {
        stage.lab.partition(&["a", "b"])?;
        let mut subject = stage.start(stage.subject, "b", "-z")?;
        let mut peer = stage.start(Which::Ucarp, "a", "-z")?;
        master(&mut subject)?;
        master(&mut peer)?;
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
    let destination = if option == "-M" { "38 ffffffffffff" } else { "70 01005e000063" };
    let right = ours.0.frames.iter().any(|frame| frame.contains(destination.trim_start_matches("38 ")));
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
    Ok((stage.trace(&subject, "a", None), stage.trace(&peer, "b", None)))
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
        let refused = subject.lines().iter().filter(|line| line.text.contains("Bad digest")).count();
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
        Ok((stage.trace(&subject, "a", None), again - plugged))
    })?;
    assert_eq!(ours.0, theirs.0);
    assert!(ours.1 < Duration::from_secs(4) && theirs.1 > Duration::from_secs(5), "prompt-link: {:?} {:?}", ours.1, theirs.1);
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
        stage.pass(Duration::from_secs(4))?;
        let trace = stage.trace(&subject, "a", None);
        Ok((trace.calls, trace.states.len(), subject.ended()))
    })?;
    assert_eq!((theirs.2, ours.2), (Some(Exit::Code(0)), None), "survives-link");
    assert_eq!(ours.0.get(..3), theirs.0.get(..3));
    assert_eq!((ours.0.len(), ours.1), (4, 4), "master again: {:?}", ours.0);
    Ok(())
}

fn slow_script() -> Outcome {
    let (theirs, ours) = both(|stage| {
        scripts(&stage.lab, "a", "sleep 5\n")?;
        let mut subject = stage.subject("-z")?;
        let mut peer = stage.peer("-z -k 100")?;
        master(&mut subject)?;
        stage.pass(Duration::from_secs(7))?;
        let masters = peer.lines().iter().filter(|line| line.text.ends_with(MASTER)).count();
        let exit = end(&mut subject)?;
        master(&mut peer).ok();
        Ok((stage.trace(&subject, "a", Some(exit)).calls, masters))
    })?;
    assert_eq!(ours.0, theirs.0);
    assert_eq!((theirs.1, ours.1), (1, 0), "scripts-beside: a second master while the script runs");
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
        let times = subject.lines().iter().filter(|line| line.text.contains(LINE)).count();
        Ok((stage.trace(&subject, "a", None), times))
    })?;
    assert_eq!(ours.0, theirs.0);
    assert!(theirs.1 >= 5 && (2..=4).contains(&ours.1), "worse-masters: {} {}", theirs.1, ours.1);
    Ok(())
}

fn timers() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut subject = stage.subject("-z -k 100")?;
        let start = backup(&mut subject)?;
        Ok(master(&mut subject)? - start)
    })?;
    let near = |time: Duration, ms: u64| time.abs_diff(Duration::from_millis(ms)) < Duration::from_millis(350);
    assert!(near(theirs, 4170) && near(ours, 3390), "exact-timers: {theirs:?} {ours:?}");
    Ok(())
}

fn advbase_0() -> Outcome {
    let (theirs, ours) = both(|stage| {
        let mut first = stage.subject("-z -b 0 -k 26")?;
        master(&mut first)?;
        let second = stage.start(stage.subject, "b", "-z -b 0 -k 26")?;
        stage.pass(Duration::from_secs(5))?;
        Ok([first, second].iter().flat_map(Process::lines).filter(|line| line.text.ends_with(MASTER)).count())
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
        let unknown = subject.lines().iter().any(|line| line.text.contains("Unknown hardware type [772]"));
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
        let complaint =
            subject.lines().iter().any(|line| line.text.ends_with("Can't do IP_ADD_MEMBERSHIP errno=No such device (19)"));
        Ok((trace.exit, complaint, trace.calls.len()))
    })?;
    assert_eq!((theirs.0, theirs.1), (ours.0, ours.1));
    assert_eq!((theirs.2, ours.2), (1, 0), "source-first: {:?}", ours.0);
    Ok(())
}

/// Real ones and ours in one group: power cuts hand the address from one to the next.
fn three() -> Outcome {
    let stage = Stage::new(Which::Carpd).map_err(|error| error.to_string())?;
    let story = |stage: &Stage| -> Played<()> {
        let mut first = stage.start(Which::Ucarp, "a", "-z -P")?;
        let mut second = stage.start(Which::Carpd, "b", "-z -P -k 20")?;
        let mut third = stage.start(Which::Ucarp, "c", "-z -P -k 40")?;
        master(&mut first)?;
        stage.pass(Duration::from_secs(3))?;
        stage.lab.power_off("a")?;
        master(&mut second)?;
        called(stage, "b", 2)?;
        stage.pass(Duration::from_secs(3))?;
        let exit = end(&mut second)?;
        assert_eq!(exit, Exit::Code(0));
        master(&mut third)?;
        let masters = |process: &Process| process.lines().iter().filter(|line| line.text.ends_with(MASTER)).count();
        assert_eq!((masters(&first), masters(&second), masters(&third)), (1, 1, 1));
        let again = stage.start(Which::Carpd, "b", "-z -P -k 20")?;
        said(&mut third, "Preferred master advertised")?;
        drop(again);
        Ok(())
    };
    story(&stage).map_err(|error| error.to_string().into())
}

fn side_by_side() -> Outcome {
    let stage = Stage::new(Which::Carpd).map_err(|error| error.to_string())?;
    let story = |stage: &Stage| -> Played<()> {
        let line = |n: u8| {
            format!("-i eth0 -s 192.168.32.10 -v {n} -p love -a 192.168.32.{} -u /run/lab/up -d /run/lab/down -z", 100 + n)
        };
        let mut first = stage.start_line(Which::Carpd, "a", &line(1))?;
        let mut second = stage.start_line(Which::Carpd, "a", &line(2))?;
        master(&mut first)?;
        master(&mut second)?;
        called(stage, "a", 4)?;
        let facts = stage.lab.until("both addresses", SOON, || {
            let facts = stage.lab.host("a").facts()?;
            Ok((facts.addresses.len() == 3).then_some(facts))
        })?;
        assert!(facts.holds("192.168.32.101".parse()?) && facts.holds("192.168.32.102".parse()?), "{facts:?}");
        end(&mut first)?;
        let facts = stage.lab.host("a").facts()?;
        assert!(!facts.holds("192.168.32.101".parse()?) && facts.holds("192.168.32.102".parse()?), "{facts:?}");
        assert_eq!(second.ended(), None);
        Ok(())
    };
    story(&stage).map_err(|error| error.to_string().into())
}

/// Debian's own hook of ifupdown, unchanged, with carpd in ucarp's place.
fn debian() -> Outcome {
    let stage = Stage::new(Which::Carpd).map_err(|error| error.to_string())?;
    let story = |stage: &Stage| -> Played<()> {
        let host = stage.lab.host("a");
        let mounted = host.run(&["mount", "--bind", CARPD, UCARP], SOON)?;
        assert!(mounted.status.success(), "{mounted:?}");
        let environment: BTreeMap<String, String> = [
            ("IFACE", "eth0"),
            ("IF_ADDRESS", "192.168.32.10"),
            ("IF_UCARP_VID", "42"),
            ("IF_UCARP_VIP", ADDRESS),
            ("IF_UCARP_PASSWORD", "love"),
            ("IF_UCARP_UPSCRIPT", "/run/lab/up"),
            ("IF_UCARP_DOWNSCRIPT", "/run/lab/down"),
            ("IF_UCARP_MASTER", "yes"),
            ("IF_UCARP_XPARAM", "word"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let started = host.spawn_with(&["/etc/network/if-up.d/ucarp"], &environment)?;
        assert_eq!(started.wait(SOON)?, Exit::Code(0), "{:?}", started.lines());
        stage.lab.until("the address", SOON, || Ok(host.facts()?.holds(ADDRESS.parse().unwrap()).then_some(())))?;
        assert_eq!(host.run(&["pidof", "ucarp"], SOON)?.stdout.len(), 1);
        let words = host.run(&["ps", "axww", "-o", "args"], SOON)?.stdout.join("\n");
        assert!(words.contains("-B -z -v 42 -p ****") && !words.contains("love"), "{words}");
        assert!(host.run(&["killall", "ucarp"], SOON)?.status.success());
        stage.lab.until("the address to go", SOON, || Ok((!host.facts()?.holds(ADDRESS.parse().unwrap())).then_some(())))?;
        let calls = host.read("/run/lab/calls")?;
        let expected = ["down eth0 192.168.32.22 word", "up eth0 192.168.32.22 word", "down eth0 192.168.32.22 word"];
        assert_eq!(calls.lines().collect::<Vec<_>>(), expected);
        stage.lab.until("its end", SOON, || Ok((!host.run(&["pidof", "ucarp"], SOON)?.status.success()).then_some(())))?;
        Ok(())
    };
    story(&stage).map_err(|error| error.to_string().into())
}

fn bad_scripts() -> Outcome {
    let stage = Stage::new(Which::Carpd).map_err(|error| error.to_string())?;
    let story = |stage: &Stage| -> Played<()> {
        let host = stage.lab.host("a");
        host.write("/run/lab/down", 0o755, "#!/bin/sh\necho down >> /run/lab/calls\nyes flood | head -c 3000000\nexit 7\n")?;
        host.write(
            "/run/lab/up",
            0o755,
            "#!/bin/sh\ntrap '' TERM\necho up >> /run/lab/calls\nsleep 300 &\nwhile :; do sleep 1; done\n",
        )?;
        let mut subject = stage.subject("-z --timeout=2")?;
        said(&mut subject, "ended with status 7")?;
        let up = master(&mut subject)?;
        let ended = said(&mut subject, "Ended a script that ran too long")?;
        let took = ended - up;
        assert!((Duration::from_millis(1900)..Duration::from_secs(6)).contains(&took), "its limit and its grace: {took:?}");
        assert!(!host.run(&["pgrep", "sleep"], SOON)?.status.success(), "its whole group is gone");
        // It has advertised all the time.
        let mut peer = stage.peer("-z -k 100")?;
        backup(&mut peer)?;
        stage.pass(Duration::from_secs(4))?;
        assert!(!peer.lines().iter().any(|line| line.text.ends_with(MASTER)));
        host.write("/run/lab/down", 0o644, "")?;
        subject.signal(Signal::SIGTERM)?;
        said(&mut subject, "Unable to exec /run/lab/down eth0 192.168.32.22 a: Permission denied")?;
        assert_eq!(subject.wait(SOON)?, Exit::Code(0));
        Ok(())
    };
    story(&stage).map_err(|error| error.to_string().into())
}

fn lua() -> Outcome {
    let stage = Stage::new(Which::Carpd).map_err(|error| error.to_string())?;
    let story = |stage: &Stage| -> Played<()> {
        let host = stage.lab.host("a");
        let hook = "function on_master(event)\n  addr.add(event.addresses[1], event.interface)\n  hostname.set('moved')\nend\n\
                    function on_backup(event) end\n";
        host.write("/run/lab/h/hook.lua", 0o644, hook)?;
        host.write("/run/lab/grants", 0o644, "hostname = [\"moved\"]\n")?;
        let line = "-i eth0 -s 192.168.32.10 -v 42 -p love -a 192.168.32.22 -u /run/lab/h/hook.lua -d /run/lab/h/hook.lua \
                    --grants /run/lab/grants -z";
        let mut subject = stage.start_line(Which::Carpd, "a", line)?;
        master(&mut subject)?;
        stage.lab.until("what the hook does", SOON, || {
            let facts = host.facts()?;
            Ok((facts.holds(ADDRESS.parse().unwrap()) && facts.hostname == "moved").then_some(()))
        })?;
        assert_eq!(end(&mut subject)?, Exit::Code(0), "{:?}", subject.lines());
        let facts = host.facts()?;
        assert!(!facts.holds(ADDRESS.parse()?) && facts.hostname == "a", "undone: {facts:?}");
        host.write("/run/lab/h/hook.lua", 0o644, "function on_master( end")?;
        let bad = stage.start_line(Which::Carpd, "a", &format!("{line} -B"))?;
        assert_eq!(bad.wait(SOON)?, Exit::Code(2), "said before it is detached");
        Ok(())
    };
    story(&stage).map_err(|error| error.to_string().into())
}

/// `--sniff`: prints CARP frames and ARP frames that this host hears, in hexadecimal, one a line.
pub(crate) fn sniff() -> ExitCode {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap();
    println!("ready");
    let mut buffer = [0; 2048];
    while let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        let frame = &buffer[..length];
        let wanted = length >= 42 && (frame[12..14] == [8, 6] || (frame[12..14] == [8, 0] && frame[23] == 112));
        if wanted {
            let text: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
            println!("{text}");
            let _ = std::io::stdout().flush();
        }
    }
    ExitCode::SUCCESS
}
