//! The fastest timers while everything else on the machine is busy: who changes state, and how long
//! after a master's last word the other answers.

use std::net::IpAddr;
use std::time::Duration;

use carpd::lab::clock::now;
use carpd::lab::{HostSpec, Lab, LabSpec, PROGRAM, ProbeSpec, Process, Sighted, Sighting};
use carpd::types::Timestamp;

use crate::Failed;
use crate::daemon::{CARPD, Kind, words};
use crate::idle::pause;
use crate::round::{SOON, TAKEOVER};

/// advskew of the nodes with advbase 0: 12 ms and 16 ms.
const SKEWS: [u8; 2] = [3, 4];
/// Their own addresses.
const ADDRESSES: [&str; 2] = ["10.0.0.1", "10.0.0.2"];
const ADDRESS: &str = "10.0.1.1";
/// How long a carpd backup of these waits, in ms.
const LIMIT_MS: f64 = 46.9;
/// Busy programs on the machine: more than most have processors to spare.
const LOAD: usize = 4;
/// Until everything has settled.
const QUIET: Duration = Duration::from_secs(3);

/// Which daemon, and with real-time priority?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) kind: Kind,
    pub(crate) realtime: bool,
}

const ALL: [Variant; 4] = [
    Variant {
        kind: Kind::Carpd,
        realtime: true,
    },
    Variant {
        kind: Kind::Carpd,
        realtime: false,
    },
    Variant {
        kind: Kind::Keepalived,
        realtime: true,
    },
    Variant {
        kind: Kind::Keepalived,
        realtime: false,
    },
];

/// What was measured of one pair.
pub(crate) struct Fast {
    pub(crate) variant: Variant,
    /// Of both nodes, after they had settled.
    pub(crate) changes: usize,
    /// From the last advertisement of the master to the first of the other.
    pub(crate) silence: Option<Duration>,
}

struct Pair {
    variant: Variant,
    lab: Lab,
    daemons: Vec<Process>,
    settled: Timestamp,
}

/// All daemons side by side for so long, each pair in a lab of its own.
pub(crate) fn measure(time: Duration) -> Result<Vec<Fast>, Failed> {
    let mut pairs = Vec::new();
    for variant in ALL {
        pairs.push(start(variant)?);
    }
    let lab = Lab::start(&LabSpec {
        hosts: vec![HostSpec::new("busy", &[])],
    })?;
    let busy = lab.host("busy");
    let load = (0..LOAD).map(|_| busy.spawn(&["sh", "-c", "while :; do :; done"]));
    let load: Vec<Process> = load.collect::<Result<_, _>>()?;
    pause(QUIET)?;
    for pair in &mut pairs {
        pair.settled = now();
    }
    pause(time)?;
    let counted: Vec<usize> = pairs.iter().map(Pair::changes).collect();
    if let Some(exit) = load.iter().find_map(Process::ended) {
        return Err(format!("a busy program ended: {exit:?}").into());
    }
    pairs
        .into_iter()
        .zip(counted)
        .map(|(pair, changes)| {
            Ok(Fast {
                variant: pair.variant,
                changes,
                silence: pair.silence()?,
            })
        })
        .collect()
}

fn start(variant: Variant) -> Result<Pair, Failed> {
    let host = |name: &str, cidr: &str| Ok::<_, Failed>(HostSpec::new(name, &[cidr.parse()?]));
    let lab = Lab::start(&LabSpec {
        hosts: vec![
            host("a", "10.0.0.1/16")?,
            host("b", "10.0.0.2/16")?,
            host("client", "10.0.0.3/16")?,
        ],
    })?;
    let mut daemons = Vec::new();
    for (name, place) in [("a", 0), ("b", 1)] {
        let host = lab.host(name);
        let argv = match variant.kind {
            Kind::Carpd => {
                host.write("/run/lab/web.pass", 0o600, "gw22\n")?;
                host.write("/run/lab/carpd.toml", 0o644, &carpd_toml(variant, place))?;
                words(&format!(
                    "{CARPD} run --config /run/lab/carpd.toml --log-format json"
                ))
            }
            Kind::Keepalived => {
                host.write(
                    "/run/lab/keepalived.conf",
                    0o644,
                    &keepalived_conf(variant, place),
                )?;
                words(
                    "keepalived --dont-fork --vrrp --log-console --log-detail --use-file=/run/lab/keepalived.conf",
                )
            }
            Kind::Ucarp => return Err("ucarp's shortest interval that settles is a second".into()),
        };
        let mut daemon = host.spawn(&argv)?;
        // The better one first: from then on nothing should change.
        let master = name == "a";
        daemon.wait_line("its state", TAKEOVER, |line| {
            variant.kind.is_change(line, master)
        })?;
        daemons.push(daemon);
    }
    Ok(Pair {
        variant,
        lab,
        daemons,
        settled: now(),
    })
}

impl Pair {
    fn changes(&self) -> usize {
        let kind = self.variant.kind;
        let is_change = |line: &str| kind.is_change(line, true) || kind.is_change(line, false);
        self.daemons
            .iter()
            .flat_map(Process::lines)
            .filter(|line| line.at >= self.settled && is_change(&line.text))
            .count()
    }

    /// The master loses its power, if there is one master: from its last advertisement to the first of
    /// the other. Advertisements of other protocols are not seen.
    fn silence(self) -> Result<Option<Duration>, Failed> {
        if self.variant.kind != Kind::Carpd {
            return Ok(None);
        }
        let [a, b] = ADDRESSES;
        let spec = ProbeSpec {
            address: ADDRESS.parse()?,
            arp_interval: Duration::ZERO,
            http_interval: Duration::ZERO,
        };
        let mut probe = self.lab.host("client").spawn(&spec.argv(PROGRAM))?;
        let mut advertised = |from: &str, what: &str| {
            let from: IpAddr = from.parse()?;
            probe.wait_line(what, SOON, |line| {
                sender(line).is_some_and(|(it, _)| it == from)
            })?;
            Ok::<_, Failed>(())
        };
        advertised(a, "the master")?;
        self.lab.power_off("a")?;
        advertised(b, "a takeover")?;
        let (mut last, b) = (None, b.parse::<IpAddr>()?);
        for (from, at) in probe.lines().iter().filter_map(|line| sender(&line.text)) {
            if from == b {
                return Ok(last.map(|last| at.since(last)));
            }
            last = Some(at);
        }
        Ok(None)
    }
}

/// Who sent this advertisement, and when.
pub(crate) fn sender(line: &str) -> Option<(IpAddr, Timestamp)> {
    let sighted = Sighted::parse(line)?;
    match sighted.what {
        Sighting::Advertisement { from, .. } => Some((from, sighted.at())),
        _ => None,
    }
}

fn carpd_toml(variant: Variant, place: usize) -> String {
    let advskew = SKEWS.get(place).copied().unwrap_or_default();
    format!(
        "[daemon]\nrealtime = {}\n\n[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\nvhid = 1\n\
         addresses = [\"10.0.1.1/32\"]\npassword-file = \"/run/lab/web.pass\"\nadvbase = 0\nadvskew = {advskew}\nlease = \"off\"\n",
        variant.realtime
    )
}

fn keepalived_conf(variant: Variant, place: usize) -> String {
    let priority = if place == 0 { 150 } else { 100 };
    let realtime = if variant.realtime {
        " vrrp_rt_priority 50\n vrrp_no_swap\n"
    } else {
        ""
    };
    format!(
        "global_defs {{\n vrrp_version 3\n{realtime}}}\nvrrp_instance web {{\n state BACKUP\n nopreempt\n interface eth0\n \
         virtual_router_id 1\n priority {priority}\n advert_int 0.01\n virtual_ipaddress {{\n 10.0.1.1/32\n }}\n}}\n"
    )
}

/// The table.
pub(crate) fn table(rows: &[Fast], time: Duration) -> String {
    let mut text = format!(
        "\n## The fastest timers under load\n\nAll pairs side by side, on as many processors as the machine has.\n\n| {} s with intervals of 12 ms (carpd) and 10 ms (keepalived), {LOAD} busy programs | changes of state | takeover when the master loses its power (limit {LIMIT_MS} ms) |\n|---|---|---|\n",
        time.as_secs()
    );
    for Fast {
        variant,
        changes,
        silence,
    } in rows
    {
        let realtime = if variant.realtime {
            ", real-time priority"
        } else {
            ""
        };
        let silence = silence.map_or("not measured".to_owned(), |time| {
            format!("{:.1} ms", time.as_secs_f64() * 1000.0)
        });
        text += &format!(
            "| {}{realtime} | {changes} | {silence} |\n",
            variant.kind.name()
        );
    }
    text
}
