//! What the stories of `ucarp` stand on: a lab with a subject, what is seen of a daemon, and how
//! two plays compare.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::process::ExitCode;
use std::time::Duration;

use carpd::lab::{Exit, HostSpec, Lab, LabSpec, PROGRAM, Process};
use carpd::types::Timestamp;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};

pub(crate) const CARPD: &str = env!("CARGO_BIN_EXE_carpd");
pub(crate) const UCARP: &str = "/usr/sbin/ucarp";
pub(crate) const ADDRESS: &str = "192.168.32.22";
/// Longer than anything that ucarp does by itself: 10 s for a link, and a master-down time.
pub(crate) const SOON: Duration = Duration::from_secs(20);
pub(crate) const MASTER: &str = "Switching to state: MASTER";
pub(crate) const BACKUP: &str = "Switching to state: BACKUP";

/// Which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Ucarp,
    Carpd,
}

/// One playing of a story.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    pub(crate) subject: Which,
    pub(crate) sniffer: Process,
}

pub(crate) type Played<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What was seen of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) states: Vec<String>,
    pub(crate) calls: Vec<String>,
    pub(crate) said: BTreeSet<&'static str>,
    pub(crate) exit: Option<Exit>,
    pub(crate) frames: BTreeSet<String>,
}

/// Lines that people grep for, by their beginning. Those that tell of states and scripts are
/// compared in order.
pub(crate) const GREPPED: &[&str] = &[
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

pub(crate) const SCRIPT: &str = "#!/bin/sh\necho \"NAME $*\" >> /run/lab/calls\nSLOWip address VERB \"$2/24\" dev \"$1\" 2>/dev/null\nexit 0\n";

impl Stage {
    pub(crate) fn new(subject: Which) -> Played<Self> {
        let host = |name: &str, n: u8| {
            HostSpec::new(name, &[format!("192.168.32.{n}/24").parse().unwrap()])
        };
        let lab = Lab::start(&LabSpec {
            hosts: vec![host("a", 10), host("b", 11), host("c", 12)],
        })?;
        for name in ["a", "b", "c"] {
            scripts(&lab, name, "")?;
        }
        let mut sniffer = lab.host("c").spawn(&[PROGRAM, "--sniff"])?;
        sniffer.wait_line("the sniffer", SOON, |line| line == "ready")?;
        Ok(Self {
            lab,
            subject,
            sniffer,
        })
    }

    pub(crate) fn start(&self, which: Which, host: &str, more: &str) -> Played<Process> {
        let n = match host {
            "a" => 10,
            "b" => 11,
            _ => 12,
        };
        let line = format!(
            "-i eth0 -s 192.168.32.{n} -v 42 -p love -a {ADDRESS} -u /run/lab/up -d /run/lab/down -x {host} {more}"
        );
        self.start_line(which, host, &line)
    }

    pub(crate) fn start_line(&self, which: Which, host: &str, line: &str) -> Played<Process> {
        // ucarp's standard output would be lost: it is buffered, and ucarp ends by _exit.
        let program: &[&str] = match which {
            Which::Ucarp => &["stdbuf", "-oL", UCARP],
            Which::Carpd => &[CARPD, "ucarp"],
        };
        let argv: Vec<&str> = program
            .iter()
            .copied()
            .chain(line.split_whitespace())
            .collect();
        Ok(self.lab.host(host).spawn(&argv)?)
    }

    pub(crate) fn subject(&self, more: &str) -> Played<Process> {
        self.start(self.subject, "a", more)
    }

    pub(crate) fn peer(&self, more: &str) -> Played<Process> {
        self.start(Which::Ucarp, "b", more)
    }

    /// Waits for so long, on the lab's clock, while the daemons do what they do.
    pub(crate) fn pass(&self, time: Duration) -> Played<()> {
        let end = carpd::lab::clock::now() + time;
        Ok(self.lab.until("time", time + SOON, || {
            Ok((carpd::lab::clock::now() >= end).then_some(()))
        })?)
    }

    pub(crate) fn trace(&self, process: &Process, host: &str, exit: Option<Exit>) -> Trace {
        let lines: Vec<String> = process
            .lines()
            .iter()
            .map(|line| without_stamp(&line.text))
            .collect();
        let states = lines
            .iter()
            .filter(|line| line.contains("Switching to state"))
            .cloned()
            .collect();
        let said = GREPPED
            .iter()
            .copied()
            .filter(|known| lines.iter().any(|line| line.starts_with(known)))
            .collect();
        let calls = self
            .lab
            .host(host)
            .read("/run/lab/calls")
            .unwrap_or_default();
        let calls = calls.lines().map(str::to_owned).collect();
        let n = if host == "a" { 10 } else { 11 };
        Trace {
            states,
            calls,
            said,
            exit,
            frames: self.frames(n),
        }
    }

    /// Advertisements of a host and its announcements, each with what changes from one to the next
    /// left out.
    pub(crate) fn frames(&self, n: u8) -> BTreeSet<String> {
        let source = format!("c0a820{n:02x}");
        let host = if n == 10 { "a" } else { "b" };
        let mac = self
            .lab
            .host(host)
            .facts()
            .map(|facts| facts.mac.0)
            .unwrap_or_default();
        let mac: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        let frames = self.sniffer.lines().into_iter().map(|line| line.text);
        frames
            .filter_map(|frame| normal(&frame, &source, &mac))
            .collect()
    }

    pub(crate) fn holds(&self, host: &str) -> Played<bool> {
        Ok(self.lab.host(host).facts()?.holds(ADDRESS.parse()?))
    }
}

/// `VERB` and `NAME` filled in; `slow` is put before the change of the address.
pub(crate) fn scripts(lab: &Lab, host: &str, slow: &str) -> Played<()> {
    for (name, verb) in [("up", "add"), ("down", "del")] {
        let slow = if name == "up" { slow } else { "" };
        let text = SCRIPT
            .replace("NAME", name)
            .replace("VERB", verb)
            .replace("SLOW", slow);
        lab.host(host)
            .write(&format!("/run/lab/{name}"), 0o755, &text)?;
    }
    Ok(())
}

pub(crate) fn without_stamp(line: &str) -> String {
    line.split_once(": [")
        .filter(|(stamp, _)| stamp.len() == 26)
        .map_or_else(|| line.to_owned(), |(_, rest)| format!("[{rest}"))
}

/// IP identification and checksum, counter and digest change; the sender's own hardware address
/// differs between labs.
pub(crate) fn normal(frame: &str, source: &str, mac: &str) -> Option<String> {
    let of = |from: usize, to: usize| frame.get(2 * from..2 * to);
    if of(12, 14)? == "0806" {
        let known =
            of(28, 32)? == of(38, 42)? && [of(6, 12)?, of(22, 28)?, of(32, 38)?] == [mac; 3];
        let shown = format!("garp {} {} {}", of(0, 6)?, of(12, 22)?, of(28, 32)?);
        return (known && of(28, 32)? == "c0a82016").then_some(shown);
    }
    let shown = format!(
        "{} {} {} {} {}",
        frame.len() / 2,
        of(0, 18)?,
        of(20, 24)?,
        of(26, 40)?,
        bow_out(frame)
    );
    (of(26, 30)? == source).then_some(shown)
}

/// Does this frame hand over?
pub(crate) fn bow_out(frame: &str) -> &'static str {
    if frame.get(72..74) == Some("ff") && frame.get(78..80) == Some("ff") {
        "bow-out"
    } else {
        ""
    }
}

pub(crate) fn without_bow_outs(trace: &Trace) -> Trace {
    let mut trace = trace.clone();
    trace.frames.retain(|frame| !frame.ends_with("bow-out"));
    trace
}

/// Plays a story with both, at the same time.
pub(crate) fn both<T: Send>(story: fn(&Stage) -> Played<T>) -> Result<(T, T), Box<dyn Error>> {
    std::thread::scope(|scope| {
        // A lab ends with the thread that made it.
        let play = |which| scope.spawn(move || story(&Stage::new(which)?));
        let (theirs, ours) = (play(Which::Ucarp), play(Which::Carpd));
        let join = |played: std::thread::ScopedJoinHandle<'_, Played<T>>, name| {
            played
                .join()
                .map_err(|_| format!("{name}: panicked"))?
                .map_err(|error| format!("{name}: {error}"))
        };
        Ok((join(theirs, "ucarp")?, join(ours, "carpd")?))
    })
}

pub(crate) fn master(process: &mut Process) -> Played<Timestamp> {
    Ok(process
        .wait_line("MASTER", SOON, |line| line.ends_with(MASTER))?
        .at)
}

pub(crate) fn backup(process: &mut Process) -> Played<Timestamp> {
    Ok(process
        .wait_line("BACKUP", SOON, |line| line.ends_with(BACKUP))?
        .at)
}

pub(crate) fn said(process: &mut Process, text: &'static str) -> Played<Timestamp> {
    Ok(process
        .wait_line(text, SOON, |line| line.contains(text))?
        .at)
}

/// Until a script that was called has written so many calls.
pub(crate) fn called(stage: &Stage, host: &str, times: usize) -> Played<()> {
    Ok(stage.lab.until("calls of scripts", SOON, || {
        Ok((stage
            .lab
            .host(host)
            .read("/run/lab/calls")
            .unwrap_or_default()
            .lines()
            .count()
            >= times)
            .then_some(()))
    })?)
}

pub(crate) fn end(process: &mut Process) -> Played<Exit> {
    process.signal(Signal::SIGTERM)?;
    Ok(process.wait(SOON)?)
}

/// `--sniff`: prints CARP frames and ARP frames that this host hears, in hexadecimal, one a line.
pub(crate) fn sniff() -> ExitCode {
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )
    .unwrap();
    println!("ready");
    let mut buffer = [0; 2048];
    while let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        let frame = buffer.get(..length).unwrap_or_default();
        let wanted = match frame.get(12..24) {
            Some([8, 6, ..]) => length >= 42,
            Some([8, 0, .., 112]) => true,
            _ => false,
        };
        if wanted {
            let text: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
            println!("{text}");
            let _ = std::io::stdout().flush();
        }
    }
    ExitCode::SUCCESS
}
