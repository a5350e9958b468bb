//! Refused packets by the hundred thousand: whoever is on the link may send them, and no
//! advertisement may be late for it.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use carpd::lab::clock::{Ticker, now};
use carpd::lab::{Lab, PROGRAM, Sighting};
use carpd::types::{MacAddr, Timestamp};

use crate::forge::{Forger, KINDS};
use crate::rig::{ADDRESS, CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, Watch, lan, mac, sh};
use crate::tree::Tree;
use crate::{ADDRESS_OF_A, Case, Outcome};

/// The role of the program that sends them. Arguments: seconds, then the hardware addresses of
/// those who get them.
pub(crate) const ROLE: &str = "--flood";
const SECONDS: u64 = 5;
/// Frames a second, to all receivers together.
const RATE: usize = 100_000;
/// How many different frames are sent, over and over.
const VARIETY: usize = 1024;
const VHIDS: std::ops::RangeInclusive<u8> = 40..=43;
/// Advertisements come each second.
const INTERVAL: Duration = Duration::from_secs(1);
/// What is promised.
const LATE_MAX: Duration = Duration::from_millis(10);
/// What a busy machine may add to that.
const LATE_BUSY: Duration = Duration::from_millis(40);
/// What the allocator keeps, and the journal's buffers.
const GROWTH_MAX_KIB: u64 = 2048;
/// Lines that a daemon may log in the whole time: each kind of refusal says so now and then, with
/// its count.
const LINES_MAX: usize = 400;

pub(crate) fn cases() -> Vec<Case> {
    vec![Case {
        limit: Duration::from_secs(60),
        ..Case::new(
            "flood::a_hundred_thousand_forged_packets_a_second_delay_no_advertisement",
            flood,
        )
    }]
}

fn vhosts(advskew: u8) -> String {
    let vhost = |vhid: u8| {
        format!(
            "[[vhost]]\nname = \"web{vhid}\"\ninterface = \"eth0\"\nvhid = {vhid}\naddresses = [\"192.168.32.{}/24\"]\n\
             password-file = \"/run/lab/web.pass\"\nadvskew = {advskew}\n",
            vhid - 18
        )
    };
    VHIDS.map(vhost).collect()
}

/// What an engine has used so far.
#[derive(Debug, Clone, Copy)]
struct Usage {
    resident_kib: u64,
    lines: usize,
}

fn usage(lab: &Lab, host: &str, daemon: &Daemon) -> Result<Usage, Failed> {
    let engine = Tree::of(lab, host, daemon)?.engine()?;
    let status = lab.host(host).read(&format!("/proc/{engine}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident
        .and_then(|line| line.split_whitespace().next())
        .ok_or("no VmRSS")?;
    Ok(Usage {
        resident_kib: kib.parse()?,
        lines: daemon.entries().len(),
    })
}

fn flood() -> Outcome {
    let lab = lan(&["a", "b", "c"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let mut a = Carpd::new("a").vhosts(vhosts(0)).start(&lab)?;
    for _ in VHIDS {
        a.wait_state("master", TAKEOVER)?;
    }
    let mut b = Carpd::new("b").vhosts(vhosts(100)).start(&lab)?;
    for _ in VHIDS {
        b.wait_state("backup", SOON)?;
    }
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    let before = [usage(&lab, "a", &a)?, usage(&lab, "b", &b)?];
    let began = now();
    let argv = [
        PROGRAM,
        ROLE,
        &SECONDS.to_string(),
        &mac(&lab, "a")?.to_string(),
        &mac(&lab, "b")?.to_string(),
    ];
    let output = lab
        .host("c")
        .run(&argv, Duration::from_secs(SECONDS + 15))?;
    assert!(output.status.success(), "{output:?}");
    let ended = now();
    // Those that were due while the last frames were worked off.
    watch.hear(ADDRESS_OF_A, 2 * VHIDS.count(), SOON)?;
    let after = [usage(&lab, "a", &a)?, usage(&lab, "b", &b)?];
    let late = latest(&watch, began)?;
    println!(
        "{}, late by {late:?} at most; before {before:?}, after {after:?}",
        output.stdout.join(" ")
    );
    assert!(late <= LATE_MAX + LATE_BUSY, "{late:?}");
    for (before, after) in before.into_iter().zip(after) {
        assert!(
            after.resident_kib <= before.resident_kib + GROWTH_MAX_KIB,
            "{before:?} {after:?}"
        );
        assert!(
            after.lines <= before.lines + LINES_MAX,
            "{before:?} {after:?}"
        );
    }
    assert!(ended.since(began) >= Duration::from_secs(SECONDS));
    for (host, daemon, states) in [
        ("a", &a, ["backup", "master"].as_slice()),
        ("b", &b, &["backup"]),
    ] {
        let mut each = BTreeMap::<String, Vec<String>>::new();
        for entry in daemon
            .entries()
            .iter()
            .filter(|entry| entry.says("Changed state"))
        {
            each.entry(entry.text("vhost"))
                .or_default()
                .push(entry.text("to"));
        }
        assert!(
            each.values().all(|found| found == states),
            "{host}: {each:?}"
        );
        assert!(
            refused(&lab, host)? >= 1000,
            "{host} has not counted what it refused"
        );
    }
    a.stop()?;
    b.stop()
}

/// By how much an advertisement of the master was later than its interval, at most.
fn latest(watch: &Watch, since: Timestamp) -> Result<Duration, Failed> {
    let mut last = BTreeMap::<u8, Timestamp>::new();
    let (mut late, mut count) = (Duration::ZERO, 0);
    for sighted in watch.sightings() {
        let Sighting::Advertisement { from, vhid, .. } = &sighted.what else {
            continue;
        };
        // The flood goes to the nodes alone; what is heard here is real.
        if from.to_string() != ADDRESS_OF_A {
            continue;
        }
        let before = last.insert(*vhid, sighted.at());
        if let Some(before) = before.filter(|_| sighted.at() > since) {
            count += 1;
            late = late.max(sighted.at().since(before).saturating_sub(INTERVAL));
        }
    }
    let expected = VHIDS.count() * usize::try_from(SECONDS)?;
    if count < expected - VHIDS.count() {
        return Err(format!("{count} advertisements, expected {expected}").into());
    }
    Ok(late)
}

/// All that a daemon has counted as refused.
fn refused(lab: &Lab, host: &str) -> Result<u64, Failed> {
    let lines = sh(
        lab,
        host,
        &format!("{CARPD} metrics --config /run/lab/carpd.toml"),
    )?;
    let counts = [
        "carpd_advertisements_refused_total",
        "carpd_unmatched_packets_total",
    ];
    let of = |line: &String| {
        let counted = counts.iter().any(|name| line.starts_with(name));
        counted
            .then(|| {
                line.rsplit(' ')
                    .next()
                    .and_then(|count| count.parse::<u64>().ok())
            })
            .flatten()
    };
    Ok(lines.iter().filter_map(of).sum())
}

/// The role: hears one advertisement of the master, sends what must be refused at an even pace, and
/// says how many.
pub(crate) fn run(args: &[String]) -> ExitCode {
    match send(args) {
        Ok(sent) => {
            println!("{sent} frames");
            ExitCode::SUCCESS
        }
        Err(err) => {
            eprintln!("{err}");
            ExitCode::FAILURE
        }
    }
}

fn send(args: &[String]) -> io::Result<usize> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let (seconds, receivers) = args.split_first().ok_or_else(invalid)?;
    let seconds: usize = seconds.parse().map_err(|_| invalid())?;
    let receivers: Vec<MacAddr> = receivers
        .iter()
        .map(|mac| mac.parse().map_err(|_| invalid()))
        .collect::<io::Result<_>>()?;
    let mut forger = Forger::open()?;
    let heard = forger.hear()?;
    let frames: Vec<Vec<u8>> = (0..VARIETY)
        .map(|n| frame(&mut forger, n, &heard, &receivers))
        .collect();
    // Some at a time, as many each time: a flood, not bursts.
    let (ticker, at_once) = (Ticker::new(Duration::from_millis(1))?, RATE / 1000);
    let (end, mut sent) = (now() + Duration::from_secs(seconds as u64), 0);
    while now() < end {
        ticker.wait()?;
        for frame in frames.iter().cycle().skip(sent % VARIETY).take(at_once) {
            // A full queue drops it, as any switch would.
            sent += usize::from(forger.send(frame).is_ok());
        }
    }
    Ok(sent)
}

/// One of all kinds of refusal, a replay, or the real one with a bit turned; of this or of any
/// other virtual host.
fn frame(forger: &mut Forger, n: usize, heard: &[u8], receivers: &[MacAddr]) -> Vec<u8> {
    let mut frame = match n % (KINDS.len() + 3) {
        kind if kind < KINDS.len() => forger.forge(KINDS[kind].0, n % 50, heard),
        kind if kind == KINDS.len() => heard.to_vec(),
        _ => forger.mutate(heard),
    };
    // The second byte of a CARP header is the vhid: some are hosted here, most are nobody's.
    if n % 2 == 1 && frame.len() > 36 {
        frame[35] = u8::try_from(forger.below(256)).unwrap_or(0);
    }
    // To the nodes alone, so that what the third host hears is real.
    frame[..6].copy_from_slice(&receivers[n % receivers.len()].0);
    frame
}
