//! What a person wants to know of a journal: each change of state, why, and what followed.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use super::{DaemonCause, Entry, Note, OutputRecord, readable};
use crate::proto::{Cause, Transition};
use crate::types::{Family, IfName, Name, Page, State, Timestamp};

/// Lines that one story may have; a hook in a loop says no more after that.
const LINES_MAX: usize = 200;

/// The description of an end that was not observed.
const UNSEEN: &str = "the daemon ended without a record: it was killed together with its keeper";

/// One change of state and what followed from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// Milliseconds since 1970.
    pub wall_ms: u64,
    /// The virtual host.
    pub vhost: Name,
    /// Where.
    pub interface: Option<IfName>,
    /// What changed, why, and by whom.
    pub transition: Transition,
    /// What followed, in order, each with the time since the change.
    pub followed: Vec<(Duration, String)>,
}

/// All changes of state in a journal, oldest first.
#[must_use]
pub fn stories(entries: &[Entry]) -> Vec<Story> {
    let mut teller = Teller::default();
    for entry in entries {
        teller.hear(entry);
    }
    teller.stories
}

#[derive(Default)]
struct Teller {
    stories: Vec<Story>,
    names: BTreeMap<usize, (Name, IfName)>,
    /// The newest story of each virtual host, and when it began.
    open: BTreeMap<usize, (usize, Timestamp)>,
    /// The state of each, and the number of its last transition.
    states: BTreeMap<usize, (State, u64)>,
    /// The stories of those that died with the life before this one.
    died: Range<usize>,
    now: Timestamp,
    wall: (u64, Timestamp),
}

impl Teller {
    fn hear(&mut self, entry: &Entry) {
        match entry {
            Entry::Start { at, wall_ms, .. } => {
                self.bury();
                (self.now, self.wall) = (*at, (*wall_ms, *at));
                self.names.clear();
                self.open.clear();
            }
            Entry::Continued { at, wall_ms } => (self.now, self.wall) = (*at, (*wall_ms, *at)),
            Entry::Vhost {
                vhost,
                name,
                interface,
                ..
            } => {
                self.names.insert(*vhost, (name.clone(), interface.clone()));
            }
            Entry::Removed { at, vhost } => {
                self.now = *at;
                self.states.remove(vhost);
            }
            Entry::Died { at, how } => self.mourn(*at, how),
            Entry::Reconfigured { at, .. } | Entry::Input { at, .. } => self.now = *at,
            Entry::Output {
                vhost,
                output: OutputRecord::Transition(transition),
            } => self.begin(*vhost, transition),
            Entry::Output { vhost, output } => self.output(*vhost, output),
            Entry::Note { at, vhost, note } => {
                self.now = *at;
                self.follow(*vhost, note.to_string());
            }
        }
    }

    fn begin(&mut self, vhost: usize, transition: &Transition) {
        let wall_ms = self.wall_ms();
        let Some((name, interface)) = self.names.get(&vhost) else {
            return;
        };
        self.states.insert(vhost, (transition.to, transition.seq));
        let first = self
            .open
            .insert(vhost, (self.stories.len(), self.now))
            .is_none();
        self.stories.push(Story {
            wall_ms,
            vhost: name.clone(),
            interface: Some(interface.clone()),
            transition: transition.clone(),
            followed: Vec::new(),
        });
        let before = self
            .stories
            .get(self.died.start)
            .filter(|_| first && !self.died.is_empty());
        if let Some(again) = before.map(|story| format!("restarted: {}", story.transition.cause)) {
            self.follow(vhost, again);
        }
    }

    fn wall_ms(&self) -> u64 {
        let (wall, at) = self.wall;
        wall.saturating_add(millis(self.now.since(at)))
    }

    /// A run is over. Virtual hosts that stopped cleanly were no longer taking part; the others
    /// died.
    fn bury(&mut self) {
        let (first, wall_ms) = (self.stories.len(), self.wall_ms());
        for (vhost, (state, seq)) in std::mem::take(&mut self.states) {
            let Some((name, interface)) = self.names.get(&vhost).filter(|_| state != State::Init)
            else {
                continue;
            };
            let cause = Cause::Asked(DaemonCause::Died.because(UNSEEN));
            self.stories.push(Story {
                wall_ms,
                vhost: name.clone(),
                interface: Some(interface.clone()),
                transition: Transition {
                    from: state,
                    to: State::Init,
                    cause,
                    peer: None,
                    seq,
                },
                followed: Vec::new(),
            });
        }
        self.died = first..self.stories.len();
    }

    /// Somebody saw how they died, before this life began.
    fn mourn(&mut self, at: Timestamp, how: &str) {
        let (wall, began) = self.wall;
        for story in self.stories.get_mut(self.died.clone()).unwrap_or_default() {
            story.wall_ms = wall.saturating_sub(millis(began.since(at)));
            story.transition.cause = Cause::Asked(DaemonCause::Died.because(how));
        }
    }

    fn output(&mut self, vhost: usize, output: &OutputRecord) {
        match output {
            OutputRecord::Transmit {
                bow_out: true,
                family: Family::V4,
                ..
            } => {
                self.follow(vhost, "sent a bow-out over IPv4".to_owned());
            }
            OutputRecord::Transmit {
                bow_out: true,
                family: Family::V6,
                ..
            } => {
                self.follow(vhost, "sent a bow-out over IPv6".to_owned());
            }
            OutputRecord::WantMaster { cause, peer } => {
                self.follow(
                    vhost,
                    format!("asked for permission to become master: {cause}, {peer}"),
                );
            }
            OutputRecord::PeerClaim { peer } => {
                self.follow(vhost, format!("heard a worse master, {peer}"));
            }
            OutputRecord::Answered { peer, .. } => {
                self.follow(vhost, format!("{peer} answered as backup"));
            }
            OutputRecord::Transmit { .. }
            | OutputRecord::Transition(_)
            | OutputRecord::AnnounceAgain
            | OutputRecord::Rejected { .. }
            | OutputRecord::Idle(_) => {}
        }
    }

    fn follow(&mut self, vhost: usize, text: String) {
        let Some((index, began)) = self.open.get(&vhost) else {
            return;
        };
        if let Some(story) = self
            .stories
            .get_mut(*index)
            .filter(|story| story.followed.len() < LINES_MAX)
        {
            story.followed.push((self.now.since(*began), text));
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HookRun {
                hook,
                entry,
                took,
                error,
                ..
            } if error.is_empty() => {
                write!(f, "hook {hook} {entry}: done in {}", readable(*took))
            }
            Self::HookRun {
                hook,
                entry,
                took,
                error,
                ..
            } => {
                write!(
                    f,
                    "hook {hook} {entry}: failed after {}: {error}",
                    readable(*took)
                )
            }
            Self::Health {
                hook, demotion: 0, ..
            } => write!(f, "hook {hook}: healthy"),
            Self::Health {
                hook,
                demotion,
                reason,
            } => write!(f, "hook {hook}: unhealthy, demotion {demotion}: {reason}"),
            Self::Track { track, reason } if reason.is_empty() => write!(f, "track {track}: up"),
            Self::Track { track, reason } => write!(f, "track {track}: down: {reason}"),
            Self::Remark { text } => f.write_str(text),
            Self::Effect {
                hook,
                effect,
                outcome,
            } => write!(f, "hook {hook} {effect}: {outcome}"),
        }
    }
}

impl Story {
    /// Adds it to a page; `when` stands before it: the time of day.
    pub fn tell(&self, when: &str, page: &mut Page) {
        let Transition {
            from,
            to,
            cause,
            peer,
            seq,
        } = &self.transition;
        let peer = peer.map(|peer| format!(" ({peer})")).unwrap_or_default();
        writeln!(
            page,
            "{when}{}: {from} -> {to}: {cause}{peer}, {} #{seq}",
            self.vhost,
            cause.as_str()
        );
        for (after, text) in &self.followed {
            writeln!(page, "    +{:>9}  {text}", readable(*after));
        }
    }
}
