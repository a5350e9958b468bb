//! What the third host sees: who answers for the address, and what is advertised, with the kernel's
//! time stamps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use carpd::lab::{Lab, PROGRAM, ProbeSpec, Process, Sighted, Sighting};
use carpd::types::{MacAddr, Timestamp};

use crate::rig::{Failed, SOON};

/// Between two questions.
const ASKS_EACH: Duration = Duration::from_millis(4);
/// How long a look takes, at least.
const LOOK: Duration = Duration::from_millis(15);

/// One advertisement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) at: Timestamp,
    /// What its sender says of its interval.
    pub(super) interval: Duration,
}

/// The prober on host `client`.
#[derive(Debug)]
pub(super) struct Eye {
    process: Process,
    /// Who answers now.
    pub(super) answer: BTreeSet<MacAddr>,
    /// All that was seen, without advertisements.
    pub(super) seen: Vec<Sighted>,
    heard: BTreeMap<IpAddr, Vec<Heard>>,
    /// Times during which two answered, until the end; the last one may be open.
    two: Vec<(Timestamp, Option<Timestamp>)>,
}

impl Eye {
    pub(super) fn open(lab: &Lab, address: &str) -> Result<Self, Failed> {
        let spec = ProbeSpec {
            address: address.parse()?,
            arp_interval: ASKS_EACH,
            http_interval: Duration::ZERO,
        };
        let mut process = lab.host("client").spawn(&spec.argv(PROGRAM))?;
        let started = |line: &str| {
            matches!(
                Sighted::parse(line),
                Some(Sighted {
                    what: Sighting::Started,
                    ..
                })
            )
        };
        process.wait_line("its start", SOON, started)?;
        Ok(Self {
            process,
            answer: BTreeSet::new(),
            seen: Vec::new(),
            heard: BTreeMap::new(),
            two: Vec::new(),
        })
    }

    /// Takes in all that comes, for a moment.
    pub(super) fn look(&mut self) {
        while let Ok(line) = self.process.wait_line("a sighting", LOOK, |_| true) {
            if let Some(sighted) = Sighted::parse(&line.text) {
                self.note(sighted);
            }
        }
    }

    fn note(&mut self, sighted: Sighted) {
        let at = sighted.at();
        match &sighted.what {
            Sighting::Advertisement {
                from,
                advbase,
                advskew,
                ..
            } => {
                let interval = Duration::from_secs(u64::from(*advbase))
                    + Duration::from_micros(u64::from(*advskew) * 1_000_000 / 256);
                self.heard
                    .entry(*from)
                    .or_default()
                    .push(Heard { at, interval });
                // A bow-out is an event of its own.
                if *advskew != 255 {
                    return;
                }
            }
            Sighting::Answers { mac, .. } | Sighting::One { mac, .. } => {
                self.end_of_two(at);
                self.answer = BTreeSet::from([*mac]);
            }
            Sighting::Both { macs } => {
                self.two.push((at, None));
                self.answer = macs.iter().copied().collect();
            }
            Sighting::Silent => {
                self.end_of_two(at);
                self.answer.clear();
            }
            _ => {}
        }
        self.seen.push(sighted);
    }

    fn end_of_two(&mut self, at: Timestamp) {
        if let Some((_, end @ None)) = self.two.last_mut() {
            *end = Some(at);
        }
    }

    /// The longest time after `since` for which two answered.
    pub(super) fn longest_two(&self, since: Timestamp, now: Timestamp) -> Duration {
        let clipped = |(from, to): &(Timestamp, Option<Timestamp>)| {
            to.unwrap_or(now).since((*from).max(since))
        };
        self.two
            .iter()
            .filter(|(_, to)| to.is_none_or(|to| to > since))
            .map(clipped)
            .max()
            .unwrap_or_default()
    }

    /// Advertisements from an address since then, the oldest first.
    pub(super) fn heard(&self, from: IpAddr, since: Timestamp) -> Vec<Heard> {
        self.heard
            .get(&from)
            .into_iter()
            .flatten()
            .filter(|heard| heard.at >= since)
            .copied()
            .collect()
    }
}
