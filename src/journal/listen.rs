//! Makes events of a journal's records: while they are written, and when they are read.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::event::bow_out;
use super::{Entry, Event, EventRecord, InputRecord, Note, OutputRecord, Subject, millis};
use crate::proto::wire::Advertisement;
use crate::types::{Family, State, Timestamp};

/// Advertisements of a new master that are kept.
const OF_A_NEW_MASTER: u8 = 3;
/// Of one virtual host's advertisements every so many is kept; of two every twice as many.
const ONE_IN: u64 = 256;

/// Hears the records of one engine after the other.
#[derive(Debug, Default)]
pub(super) struct Listener {
    vhosts: BTreeMap<usize, Followed>,
    now: Timestamp,
}

/// What is known of a virtual host.
#[derive(Debug)]
struct Followed {
    subject: Subject,
    own4: Option<IpAddr>,
    own6: Option<IpAddr>,
    /// An advertisement that was heard, and perhaps refused.
    heard: Option<Heard>,
    /// Whose advertisements are heard in each family, and how many more of them are kept.
    master: [Option<(IpAddr, u8)>; 2],
    /// How many more of our own are kept in each family.
    sends: [u8; 2],
    /// Those of the present turn that are not. A new master sends before it says that it is one.
    unkept: [Option<u64>; 2],
}

/// An advertisement that was heard.
#[derive(Debug, Clone, Copy)]
struct Heard {
    from: IpAddr,
    counter: u64,
    bow_out: bool,
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

impl Listener {
    /// Returns when a record was made, and tells the events that it means.
    pub(super) fn hear(&mut self, entry: &Entry, mut tell: impl FnMut(Event)) -> Timestamp {
        match entry {
            Entry::Start { at, version, .. } => {
                self.now = *at;
                self.vhosts.clear();
                let version = version.clone();
                tell(Event::Started { version });
            }
            Entry::Continued { at, .. } => self.now = *at,
            Entry::Died { at, how } => {
                // It was before this start.
                tell(Event::Died { how: how.clone() });
                return *at;
            }
            Entry::Vhost {
                at,
                vhost,
                name,
                interface,
                settings,
                ..
            } => {
                self.now = *at;
                let subject = Subject {
                    vhost: *vhost,
                    name: name.clone(),
                    interface: interface.clone(),
                    vhid: settings.vhid,
                };
                if let Some(known) = self.vhosts.get_mut(vhost) {
                    known.subject = subject;
                } else {
                    self.vhosts.insert(*vhost, Followed::new(subject));
                }
            }
            Entry::Reconfigured {
                at,
                vhost,
                settings,
            } => {
                self.now = *at;
                if let Some(known) = self.vhosts.get_mut(vhost) {
                    known.subject.vhid = settings.vhid;
                }
            }
            Entry::Removed { at, vhost } => {
                self.now = *at;
                if let Some(known) = self.vhosts.remove(vhost) {
                    tell(Event::Removed(known.subject));
                }
            }
            Entry::Input { at, vhost, input } => {
                self.now = *at;
                if let Some(known) = self.vhosts.get_mut(vhost) {
                    known.input(input);
                }
            }
            Entry::Output { vhost, output } => {
                let one_in = ONE_IN.saturating_mul(self.vhosts.len().next_power_of_two() as u64);
                if let Some(known) = self.vhosts.get_mut(vhost) {
                    known.output(output, one_in, tell);
                }
            }
            Entry::Note { at, vhost, note } => {
                self.now = *at;
                if let Some(known) = self.vhosts.get(vhost) {
                    tell(Event::Note(known.subject.clone(), note.clone()));
                }
            }
        }
        self.now
    }
}

impl Followed {
    const fn new(subject: Subject) -> Self {
        Self {
            subject,
            own4: None,
            own6: None,
            heard: None,
            master: [None; 2],
            sends: [0; 2],
            unkept: [None; 2],
        }
    }

    const fn own(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.own4,
            Family::V6 => self.own6,
        }
    }

    fn input(&mut self, input: &InputRecord) {
        match input {
            InputRecord::OwnAddress { family, address } => match family {
                Family::V4 => self.own4 = *address,
                Family::V6 => self.own6 = *address,
            },
            InputRecord::Packet { src, payload, .. } | InputRecord::Framed { src, payload, .. } => {
                self.heard = Advertisement::decode(payload).ok().map(|ad| Heard {
                    from: *src,
                    counter: ad.counter,
                    bow_out: ad.is_bow_out(),
                });
            }
            _ => {}
        }
    }

    fn output(&mut self, output: &OutputRecord, one_in: u64, mut tell: impl FnMut(Event)) {
        let subject = &self.subject;
        let mut remark = |text| tell(Event::Note(subject.clone(), Note::Remark { text }));
        match output {
            OutputRecord::Transition(transition) => {
                tell(Event::State(subject.clone(), transition.clone()));
                if transition.to == State::Master {
                    self.sends = [OF_A_NEW_MASTER; 2];
                    // Whoever follows is a new one, also if it is the one before.
                    self.master = [None; 2];
                    let sent = std::mem::take(&mut self.unkept);
                    for (family, counter) in FAMILIES.into_iter().zip(sent) {
                        if let Some(counter) = counter {
                            self.sent(family, counter, &mut tell);
                        }
                    }
                }
            }
            OutputRecord::Transmit {
                family,
                bow_out: leaves,
                counter,
                ..
            } => {
                if *leaves {
                    remark(bow_out(*family));
                }
                // A roll call has none that is an advertisement's.
                if *counter == 0 {
                    return;
                }
                let left = *of(*family, &mut self.sends);
                if *leaves || left > 0 || counter % one_in == 0 {
                    self.sent(*family, *counter, tell);
                } else {
                    *of(*family, &mut self.unkept) = Some(*counter);
                }
            }
            OutputRecord::WantMaster { cause, peer } => {
                remark(format!(
                    "asked for permission to become master: {cause}, {peer}"
                ));
            }
            OutputRecord::PeerClaim { peer } => remark(format!("heard a worse master, {peer}")),
            OutputRecord::Answered { peer, .. } => remark(format!("{peer} answered as backup")),
            OutputRecord::Rejected { .. } => self.heard = None,
            // Whatever follows from a packet comes before this.
            OutputRecord::Idle(_) => {
                self.unkept = [None; 2];
                self.accepted(one_in, tell);
            }
            OutputRecord::AnnounceAgain => {}
        }
    }

    /// One of our own is kept.
    fn sent(&mut self, family: Family, counter: u64, mut tell: impl FnMut(Event)) {
        let left = of(family, &mut self.sends);
        *left = left.saturating_sub(1);
        if let Some(from) = self.own(family) {
            tell(Event::Advertisement {
                subject: self.subject.clone(),
                from,
                counter,
                sent: true,
            });
        }
    }

    /// What was heard has been accepted.
    fn accepted(&mut self, one_in: u64, mut tell: impl FnMut(Event)) {
        let Some(Heard {
            from,
            counter,
            bow_out,
        }) = self.heard.take()
        else {
            return;
        };
        let family = if from.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        let master = of(family, &mut self.master);
        let left = match master {
            Some((master, left)) if *master == from => *left,
            _ => OF_A_NEW_MASTER,
        };
        *master = (!bow_out).then(|| (from, left.saturating_sub(1)));
        if bow_out || left > 0 || counter % one_in == 0 {
            tell(Event::Advertisement {
                subject: self.subject.clone(),
                from,
                counter,
                sent: false,
            });
        }
    }
}

/// That of this family.
const fn of<T>(family: Family, [v4, v6]: &mut [T; 2]) -> &mut T {
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
    }
}

/// The events of a journal, oldest first; of a history that has them it says more.
#[must_use]
pub fn events(entries: &[Entry]) -> Vec<EventRecord> {
    let (mut listener, mut records) = (Listener::default(), Vec::new());
    let mut wall_ms = 0_u64;
    for entry in entries {
        if let Entry::Start {
            at, wall_ms: wall, ..
        }
        | Entry::Continued { at, wall_ms: wall } = entry
        {
            wall_ms = wall.saturating_sub(millis(*at));
        }
        let first = records.len();
        let at = listener.hear(entry, |event| {
            records.push(EventRecord {
                number: 0,
                at: Timestamp::ZERO,
                wall_ms: 0,
                event,
            });
        });
        for (record, number) in records.iter_mut().zip(1..).skip(first) {
            (record.number, record.at) = (number, at);
            record.wall_ms = wall_ms.saturating_add(millis(at));
        }
    }
    records
}
