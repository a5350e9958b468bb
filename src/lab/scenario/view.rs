//! What can be seen from outside: derived from the prober's lines.

use std::collections::BTreeSet;

use super::ADDRESS;
use crate::lab::probe::{Sighted, Sighting};
use crate::types::{MacAddr, Timestamp};

/// The hosts that answer ARP for the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answerer {
    Nobody,
    One(MacAddr),
    Both,
}

/// The latest state, and the figures of the act.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) answerer: Answerer,
    /// The text of the HTTP answer, and the host that serves it.
    pub(super) http: Option<(String, String)>,
    /// First ARP answers of this act.
    pub(super) first_answers: Vec<(MacAddr, Timestamp)>,
    /// First HTTP answer of this act by each host.
    pub(super) first_served: Vec<(String, Timestamp)>,
    pub(super) silent_us: u64,
    pub(super) unanswered: u64,
    pub(super) both_us: u64,
    /// What was already reported in this act, so that what recurs every second is reported once.
    told: BTreeSet<String>,
}

impl View {
    pub(super) const fn new() -> Self {
        Self {
            answerer: Answerer::Nobody,
            http: None,
            first_answers: Vec::new(),
            first_served: Vec::new(),
            silent_us: 0,
            unanswered: 0,
            both_us: 0,
            told: BTreeSet::new(),
        }
    }

    /// Starts a new act.
    pub(super) fn begin(&mut self) {
        *self = Self {
            answerer: self.answerer,
            http: self.http.take(),
            ..Self::new()
        };
    }

    /// Processes one sighting; returns what to report, with the hosts' names from `name`.
    pub(super) fn take(
        &mut self,
        sighted: &Sighted,
        name: impl Fn(MacAddr) -> String,
    ) -> Option<String> {
        let at = sighted.at();
        match &sighted.what {
            Sighting::Answers {
                mac,
                silent_us,
                unanswered,
                ..
            } => {
                self.answerer = Answerer::One(*mac);
                self.answered(*mac, at);
                self.silent_us += if *unanswered > 0 { *silent_us } else { 0 };
                self.unanswered += unanswered;
                Some(format!("{ADDRESS} answers ARP: {}", name(*mac)))
            }
            Sighting::Silent => {
                self.answerer = Answerer::Nobody;
                Some(format!("{ADDRESS} does not answer ARP"))
            }
            Sighting::Both { macs: [one, other] } => {
                self.answerer = Answerer::Both;
                self.answered(*one, at);
                self.answered(*other, at);
                Some(format!(
                    "{ADDRESS} is answered by two: {} and {}",
                    name(*one),
                    name(*other)
                ))
            }
            Sighting::One { mac, both_us } => {
                self.answerer = Answerer::One(*mac);
                self.both_us += both_us;
                Some(format!(
                    "{ADDRESS} is answered by {} alone, after {}",
                    name(*mac),
                    super::report::milliseconds(*both_us)
                ))
            }
            Sighting::Advertisement {
                from,
                advbase: 255,
                advskew: 255,
                ..
            } => Some(format!("heard {from} bow out")),
            Sighting::Advertisement {
                from,
                advbase,
                advskew,
                vhid,
                ..
            } => {
                let text = format!(
                    "heard {from} advertise vhid {vhid}, advbase {advbase}, advskew {advskew}"
                );
                self.told.insert(text.clone()).then_some(text)
            }
            Sighting::Announcement { ip, mac } if *ip == ADDRESS => {
                let text = format!("heard {ip} announced: {}", name(*mac));
                self.told.insert(text.clone()).then_some(text)
            }
            Sighting::Announcement { .. } | Sighting::Started | Sighting::Summary { .. } => None,
            Sighting::Http { text, host, failed } => {
                self.http = Some((text.clone(), host.clone()));
                if !self.first_served.iter().any(|(served, _)| served == host) {
                    self.first_served.push((host.clone(), at));
                }
                let failed = if *failed == 0 {
                    String::new()
                } else {
                    format!(", after {failed} failed requests")
                };
                Some(format!(
                    "http://{ADDRESS}/ says {text:?}, served by {host}{failed}"
                ))
            }
            Sighting::HttpFailed { error } => {
                self.http = None;
                Some(format!("http://{ADDRESS}/ fails: {error}"))
            }
        }
    }

    fn answered(&mut self, mac: MacAddr, at: Timestamp) {
        if !self
            .first_answers
            .iter()
            .any(|(answered, _)| *answered == mac)
        {
            self.first_answers.push((mac, at));
        }
    }
}
