//! One round: a master is ended, comes back, and loses its power.

use std::time::Duration;

use carpd::lab::clock::{Ticker, now};
use carpd::lab::{HostSpec, Lab, LabSpec, PROGRAM, ProbeSpec, Process, Sighted, Sighting};
use carpd::types::{MacAddr, Timestamp};
use nix::sys::signal::Signal;

use crate::Failed;
use crate::daemon::{A, ADDRESS, B, Kind, Node, Running};

/// What follows at once.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// A takeover by silence, with all that goes before it.
pub(crate) const TAKEOVER: Duration = Duration::from_secs(15);
/// Time between the client's requests.
pub(crate) const PROBE: Duration = Duration::from_micros(200);
/// The advertisement interval of the master.
const INTERVAL: Duration = Duration::from_secs(1);

pub(crate) const ANSWERS: &str = "decision to the address answering ARP";
pub(crate) const ANNOUNCED: &str = "decision to the gratuitous ARP";
pub(crate) const HOOK: &str = "decision to the end of the hook";
pub(crate) const HOOK_ALONE: &str = "the same without the service's init script";
pub(crate) const STOPPED: &str = "SIGTERM of the master to the other answering";
pub(crate) const SILENT: &str =
    "last advertisement of a master that lost its power to the other answering";
pub(crate) const BACK_LOST: &str = "take-back: requests without an answer";
/// How often a round had to be played again, because something in it did not come.
pub(crate) const REPEATED: &str = "rounds played again";
pub(crate) const BACK_BOTH: &str = "take-back: both answer";

/// The client's prober.
struct Probe(Process);

impl Probe {
    fn start(lab: &Lab) -> Result<Self, Failed> {
        let spec = ProbeSpec {
            address: ADDRESS.parse()?,
            arp_interval: PROBE,
            http_interval: Duration::ZERO,
        };
        let mut process = lab.host("client").spawn(&spec.argv(PROGRAM))?;
        process.wait_line("its start", SOON, |line| line.contains("started"))?;
        Ok(Self(process))
    }

    fn wait(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Sighting) -> bool,
    ) -> Result<Timestamp, Failed> {
        let wanted = |line: &str| Sighted::parse(line).is_some_and(|sighted| wanted(&sighted.what));
        let line = self.0.wait_line(what, TAKEOVER, wanted)?;
        Ok(Sighted::parse(&line.text).map_or(line.at, |sighted| sighted.at()))
    }

    /// Waits until `mac` answers, and nobody else.
    fn wait_alone(&mut self, who: MacAddr) -> Result<Timestamp, Failed> {
        let alone = |what: &Sighting| match what {
            Sighting::Answers { mac, .. } | Sighting::One { mac, .. } => *mac == who,
            _ => false,
        };
        self.wait(&format!("{who} to answer alone"), alone)
    }

    fn hear(&mut self, node: Node, mut count: usize) -> Result<Timestamp, Failed> {
        let address: std::net::IpAddr = node.address.parse()?;
        self.wait(&format!("advertisements of {}", node.host), |what| {
            count -= usize::from(
                matches!(what, Sighting::Advertisement { from, .. } if *from == address),
            );
            count == 0
        })
    }

    fn since(&self, from: Timestamp) -> Vec<Sighted> {
        let lines = self.0.lines();
        lines
            .iter()
            .filter_map(|line| Sighted::parse(&line.text))
            .filter(|sighted| sighted.at() >= from)
            .collect()
    }
}

/// First sighting of a kind.
fn first(seen: &[Sighted], wanted: impl Fn(&Sighting) -> bool) -> Option<Timestamp> {
    seen.iter()
        .find(|sighted| wanted(&sighted.what))
        .map(Sighted::at)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// What was measured in one round.
pub(crate) type Measured = Vec<(&'static str, f64)>;

/// The `n`-th of `count` rounds with a daemon: each begins its faults at another moment of the
/// interval.
pub(crate) fn play(kind: Kind, n: usize, count: usize) -> Result<Measured, Failed> {
    let hosts = [A.address, B.address, "192.168.32.50"];
    let names = [A.host, B.host, "client"];
    let host = |(name, address): (&str, &str)| {
        Ok::<_, Failed>(HostSpec::new(name, &[format!("{address}/24").parse()?]))
    };
    let hosts = names
        .into_iter()
        .zip(hosts)
        .map(host)
        .collect::<Result<_, _>>()?;
    let lab = Lab::start(&LabSpec { hosts })?;
    let phase = INTERVAL.mul_f64(f64::from(u32::try_from(n)?) / f64::from(u32::try_from(count)?));
    let mut round = Round {
        kind,
        phase,
        probe: Probe::start(&lab)?,
        lab: &lab,
        measured: Vec::new(),
    };
    round.run()?;
    Ok(round.measured)
}

struct Round<'a> {
    kind: Kind,
    phase: Duration,
    lab: &'a Lab,
    probe: Probe,
    measured: Measured,
}

impl Round<'_> {
    fn run(&mut self) -> Result<(), Failed> {
        let mac = |node: Node| Ok::<_, Failed>(self.lab.host(node.host).facts()?.mac);
        let (mac_a, mac_b) = (mac(A)?, mac(B)?);
        let mut on_a = self.kind.start(self.lab, A)?;
        self.probe.wait_alone(mac_a)?;
        on_a.wait_hook(Timestamp::ZERO)?;
        let mut on_b = self.kind.start(self.lab, B)?;
        on_b.wait_backup()?;

        self.settle(A)?;
        let ended = now();
        on_a.process.signal(Signal::SIGTERM)?;
        let answered = self.taken_over(B, mac_b, &mut on_b, ended)?;
        self.note(STOPPED, millis(answered.since(ended)));
        on_a.wait_end()?;

        self.probe.hear(B, 1)?;
        let began = now();
        let mut on_a = self.kind.start(self.lab, A)?;
        self.probe.wait_alone(mac_a)?;
        on_a.wait_hook(began)?;
        self.probe.hear(A, 1)?;
        self.taken_back(began);

        self.settle(A)?;
        let ended = now();
        self.lab.power_off(A.host)?;
        let answered = self.taken_over(B, mac_b, &mut on_b, ended)?;
        let seen = self.probe.since(began);
        let address: std::net::IpAddr = A.address.parse()?;
        let last = seen
            .iter()
            .rfind(|s| matches!(s.what, Sighting::Advertisement { from, .. } if from == address));
        let last = last.map(Sighted::at).ok_or("the master was never heard")?;
        self.note(SILENT, millis(answered.since(last)));
        Ok(())
    }

    fn note(&mut self, figure: &'static str, value: f64) {
        self.measured.push((figure, value));
    }

    /// Waits until things are quiet, and then for this round's moment of the interval.
    fn settle(&mut self, master: Node) -> Result<(), Failed> {
        self.probe.hear(master, 2)?;
        if !self.phase.is_zero() {
            let ticker = Ticker::new(self.phase)?;
            // The first tick comes at once.
            ticker.wait()?;
            ticker.wait()?;
        }
        Ok(())
    }

    /// A takeover by `node`: waits for all of it, notes its parts, and says when the address
    /// answered.
    fn taken_over(
        &mut self,
        node: Node,
        mac: MacAddr,
        on: &mut Running,
        from: Timestamp,
    ) -> Result<Timestamp, Failed> {
        self.probe.wait_alone(mac)?;
        let hook = on.wait_hook(from)?;
        self.probe.hear(node, 1)?;
        let seen = self.probe.since(from);
        let address: std::net::IpAddr = node.address.parse()?;
        let vip: std::net::IpAddr = ADDRESS.parse()?;
        let advertised = first(
            &seen,
            |what| matches!(what, Sighting::Advertisement { from, .. } if *from == address),
        );
        let decided = advertised
            .into_iter()
            .chain(on.said_master(from))
            .min()
            .ok_or("no decision was seen")?;
        let answered = first(&seen, |what| match what {
            Sighting::Answers { mac: of, .. } => *of == mac,
            Sighting::Both { macs } => macs.contains(&mac),
            _ => false,
        });
        let answered = answered.ok_or("no answer was seen")?;
        let announced = first(
            &seen,
            |what| matches!(what, Sighting::Announcement { ip, mac: of } if *ip == vip && *of == mac),
        );
        // What comes before the decision was seen, within the precision of the stamps, took no
        // time.
        self.note(ANSWERS, millis(answered.since(decided)));
        self.note(
            ANNOUNCED,
            millis(announced.ok_or("no announcement was seen")?.since(decided)),
        );
        self.note(HOOK, millis(hook.end.since(decided)));
        self.note(
            HOOK_ALONE,
            millis(hook.end.since(decided).saturating_sub(hook.service)),
        );
        Ok(answered)
    }

    fn taken_back(&mut self, began: Timestamp) {
        let seen = self.probe.since(began);
        let (mut lost, mut both) = (0, 0);
        for sighted in &seen {
            match sighted.what {
                Sighting::Answers { unanswered, .. } => lost += unanswered,
                Sighting::One { both_us, .. } => both += both_us,
                _ => {}
            }
        }
        self.note(
            BACK_LOST,
            f64::from(u32::try_from(lost).unwrap_or(u32::MAX)),
        );
        self.note(
            BACK_BOTH,
            f64::from(u32::try_from(both).unwrap_or(u32::MAX)) / 1000.0,
        );
    }
}
