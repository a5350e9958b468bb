//! What a person wants to know of a journal: each change of state, why, and what followed.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use super::event::change;
use super::{DaemonCause, Event, EventRecord, Note, Subject, readable};
use crate::proto::{Cause, Transition};
use crate::types::{IfName, Name, Page, State, Timestamp};

/// Lines that one story may have; a hook in a loop says no more after that.
const LINES_MAX: usize = 200;

/// The description of an end that was not observed.
const UNSEEN: &str = "the daemon ended without a record: it was killed together with its keeper";

/// One change of state and what followed from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// Milliseconds since 1970.
    pub wall_ms: u64,
    /// When, by the node's clock since boot.
    pub at: Timestamp,
    /// In which boot of the node, counted from the first that is recorded.
    pub boot: usize,
    /// The virtual host.
    pub vhost: Name,
    /// Where.
    pub interface: Option<IfName>,
    /// What changed, why, and by whom.
    pub transition: Transition,
    /// What followed, in order, each with the time since the change.
    pub followed: Vec<(Duration, String)>,
}

/// All changes of state among these events, oldest first.
#[must_use]
pub fn stories(records: &[EventRecord]) -> Vec<Story> {
    let mut teller = Teller::default();
    for record in records {
        teller.hear(record);
    }
    teller.stories
}

/// A time by both clocks, and in which boot.
#[derive(Debug, Clone, Copy, Default)]
struct When {
    wall_ms: u64,
    at: Timestamp,
    boot: usize,
}

#[derive(Default)]
struct Teller {
    stories: Vec<Story>,
    /// The newest story of each virtual host, and when it began.
    open: BTreeMap<usize, (usize, Timestamp)>,
    /// What each is called, its state, and the number of its last transition.
    states: BTreeMap<usize, (Subject, State, u64)>,
    /// The stories of those that died with the life before this one.
    died: Range<usize>,
    /// The last record before this one: when by both clocks, and the number of the boot.
    last: When,
}

impl Teller {
    fn hear(&mut self, record: &EventRecord) {
        match &record.event {
            Event::Started { .. } => {
                self.bury();
                self.open.clear();
                self.last.boot += usize::from(record.at < self.last.at);
            }
            Event::Died { how } => return self.mourn(record, how),
            Event::State(subject, transition) => self.begin(record, subject, transition),
            Event::Removed(subject) => {
                self.states.remove(&subject.vhost);
            }
            Event::Note(subject, note) => self.follow(subject.vhost, record.at, note.to_string()),
            Event::LeftOut { vhost, .. } => {
                let known = self
                    .states
                    .values()
                    .find(|(subject, ..)| vhost.as_ref() == Some(&subject.name));
                if let Some(vhost) = known.map(|(subject, ..)| subject.vhost) {
                    self.follow(vhost, record.at, record.event.to_string());
                }
            }
            Event::Order(_) | Event::Advertisement { .. } => {}
        }
        self.last = self.when(record);
    }

    const fn when(&self, record: &EventRecord) -> When {
        When {
            wall_ms: record.wall_ms,
            at: record.at,
            boot: self.last.boot,
        }
    }

    fn begin(&mut self, record: &EventRecord, subject: &Subject, transition: &Transition) {
        let vhost = subject.vhost;
        let state = (subject.clone(), transition.to, transition.seq);
        self.states.insert(vhost, state);
        let open = (self.stories.len(), record.at);
        let first = self.open.insert(vhost, open).is_none();
        self.stories
            .push(Story::of(subject, transition.clone(), self.when(record)));
        let before = self
            .stories
            .get(self.died.start)
            .filter(|_| first && !self.died.is_empty());
        if let Some(again) = before.map(|story| format!("restarted: {}", story.transition.cause)) {
            self.follow(vhost, record.at, again);
        }
    }

    /// A run is over. Virtual hosts that stopped cleanly were no longer taking part; the others
    /// died.
    fn bury(&mut self) {
        let first = self.stories.len();
        for (subject, state, seq) in std::mem::take(&mut self.states).into_values() {
            if state == State::Init {
                continue;
            }
            let transition = Transition {
                from: state,
                to: State::Init,
                cause: Cause::Asked(DaemonCause::Died.because(UNSEEN)),
                peer: None,
                seq,
            };
            self.stories
                .push(Story::of(&subject, transition, self.last));
        }
        self.died = first..self.stories.len();
    }

    /// Somebody saw how they died, before this life began.
    fn mourn(&mut self, record: &EventRecord, how: &str) {
        for story in self.stories.get_mut(self.died.clone()).unwrap_or_default() {
            story.wall_ms = record.wall_ms;
            // One that died with the boot before is told of by the clock of this one.
            if story.boot == self.last.boot {
                story.at = story.at.max(record.at);
            }
            story.transition.cause = Cause::Asked(DaemonCause::Died.because(how));
        }
    }

    fn follow(&mut self, vhost: usize, at: Timestamp, text: String) {
        let Some((index, began)) = self.open.get(&vhost) else {
            return;
        };
        if let Some(story) = self
            .stories
            .get_mut(*index)
            .filter(|story| story.followed.len() < LINES_MAX)
        {
            story.followed.push((at.since(*began), text));
        }
    }
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
    fn of(subject: &Subject, transition: Transition, when: When) -> Self {
        Self {
            wall_ms: when.wall_ms,
            at: when.at,
            boot: when.boot,
            vhost: subject.name.clone(),
            interface: Some(subject.interface.clone()),
            transition,
            followed: Vec::new(),
        }
    }

    /// Adds it to a page; `when` stands before it: the time of day.
    pub fn tell(&self, when: &str, page: &mut Page) {
        let change = change(&self.transition);
        writeln!(page, "{when}{}: {change}", self.vhost);
        for (after, text) in &self.followed {
            writeln!(page, "    +{:>9}  {text}", readable(*after));
        }
    }
}
