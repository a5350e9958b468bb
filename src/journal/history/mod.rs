//! The history: events in files of bounded size, of which a flood of one kind takes nothing from the
//! others.
//!
//! There are two pairs of files. `events` has everything; of each kind, and of each virtual host, at
//! most ten a second, and of each kind only as many bytes as fit for a week (`budget`). What is left
//! out is counted. `states` has every state change, and nothing else: the last 1,000 whatever else
//! happened. Both have one row of numbers, so a reader merges them, and sees what is missing.

mod budget;
pub(super) mod read;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::file::{Form, RecordFile};
use super::listen::Listener;
use super::{Entry, Event, EventKind, EventRecord, Limits, Subject};
use crate::record::{MAGIC_LEN, Records};
use crate::types::{Name, Timestamp};
use budget::Budget;

/// What the files are, and the version of their records.
const MAGIC: [u8; MAGIC_LEN] = *b"carpdE01";
/// Name of the file of events in an instance's directory; the one before it has `.1` at its end.
pub const EVENTS_FILE: &str = "events";
/// Name of the file of state changes.
pub const STATES_FILE: &str = "states";

/// How many events of one kind and virtual host are kept of a second.
const OF_A_SECOND: u64 = 10;
const SECOND: Duration = Duration::from_secs(1);
/// In a flood that goes on, summaries get rarer, up to this.
const SUMMARY_MAX: Duration = Duration::from_mins(10);
/// Kinds and virtual hosts that are counted apart; in a flood of more, each further kind is counted as
/// a whole.
const RATES_MAX: usize = 8192;

/// A record of a file of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Row {
    /// The first of each file.
    Head(Head),
    /// The others.
    Event(EventRecord),
}

/// What the next writer must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// Which row of numbers: drawn when it began.
    history: u64,
    /// The first number that may be in this file.
    next: u64,
    at: Timestamp,
    budget: Budget,
}

/// Writes the history of one engine.
#[derive(Debug, Default)]
pub(super) struct History {
    listener: Listener,
    events: RecordFile,
    states: RecordFile,
    /// Which row of numbers, and the next of it.
    row: u64,
    next: u64,
    budget: Budget,
    rates: HashMap<(EventKind, Option<usize>), Rate>,
    /// When something that was left out is to be told.
    due: Option<Timestamp>,
    lost: u64,
}

/// How often a kind of event happens, in the present second or while some are left out.
#[derive(Debug)]
struct Rate {
    began: Timestamp,
    count: u64,
    left_out: Option<LeftOut>,
}

/// Of the kind, those that are not recorded.
#[derive(Debug)]
struct LeftOut {
    vhost: Option<Name>,
    count: u64,
    since_ms: u64,
    /// When it is told.
    due: Timestamp,
    /// How long it was gathered.
    period: Duration,
}

impl History {
    /// Goes on with the history next to the journal at `journal`, or begins one.
    pub(super) fn open(journal: &Path, limits: Limits, now: Timestamp) -> Self {
        let open = |name: &str, limit| {
            let form = Form {
                magic: MAGIC,
                limit,
            };
            RecordFile::open(&journal.with_file_name(name), form)
        };
        let (events, of_events) = open(EVENTS_FILE, limits.events_bytes);
        let (states, of_states) = open(STATES_FILE, limits.states_bytes);
        let mut this = Self {
            events,
            states,
            budget: Budget::of(limits.events_bytes),
            ..Self::default()
        };
        let (of_events, of_states) = (found(&of_events), found(&of_states));
        // The events' word counts: they have the budget.
        let known = of_events.as_ref().or(of_states.as_ref());
        this.row = known.map_or_else(
            || RandomState::new().hash_one(now.as_nanos()),
            |(head, _)| head.history,
        );
        this.next = 1;
        for (head, rows) in of_events.iter().chain(&of_states) {
            let last = rows.iter().map(|record| record.number).max();
            this.next = this
                .next
                .max(head.next)
                .max(last.map_or(0, |last| last.saturating_add(1)));
        }
        if let Some((head, rows)) = &of_events
            && head.at <= now
        {
            this.budget.go_on(&head.budget);
            for record in rows.iter().filter(|record| record.at <= now) {
                let length = postcard::to_stdvec(record).map_or(0, |bytes| bytes.len());
                this.budget.take(record.event.kind(), length, record.at);
            }
        }
        for (is_events, found) in [(true, of_events), (false, of_states)] {
            if found.is_none_or(|(head, _)| head.history != this.row) {
                this.begin(is_events, now);
            }
        }
        this
    }

    /// Whether something can be recorded.
    pub(super) const fn is_on(&self) -> bool {
        self.events.is_on() || self.states.is_on()
    }

    /// How many events could not be written.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// Records what a record of the journal means. `wall_ms`: the time of day at the start of the
    /// clock.
    pub(super) fn hear(&mut self, entry: &Entry, wall_ms: u64) {
        if !self.is_on() {
            return;
        }
        let mut listener = std::mem::take(&mut self.listener);
        let mut events = Vec::new();
        let at = listener.hear(entry, |event| events.push(event));
        self.listener = listener;
        for event in events {
            self.record(at, wall_ms.saturating_add(super::millis(at)), event);
        }
    }

    /// Records an event, or counts it.
    pub(super) fn record(&mut self, at: Timestamp, wall_ms: u64, event: Event) {
        let kind = event.kind();
        let vhost = event.subject().map(|subject: &Subject| subject.vhost);
        let name = event.vhost().cloned();
        let is_state = kind == EventKind::State;
        if !is_state && kind != EventKind::Daemon && !self.is_rare(kind, vhost, at) {
            return self.leave_out(kind, vhost, name, at, wall_ms);
        }
        let mut record = EventRecord {
            number: self.next,
            at,
            wall_ms,
            event,
        };
        record.event.cut();
        let Ok(bytes) = postcard::to_stdvec(&Row::Event(record)) else {
            self.lost += 1;
            return;
        };
        let fits = self.budget.take(kind, bytes.len(), at);
        if !fits && !is_state {
            return self.leave_out(kind, vhost, name, at, wall_ms);
        }
        self.next += 1;
        if is_state && !self.states.put(&bytes) || fits && !self.events.put(&bytes) {
            self.lost += 1;
        }
    }

    /// The engine's turn ends.
    pub(super) fn end_turn(&mut self, now: Timestamp, wall_ms: u64) {
        if self.due.is_some_and(|due| due <= now) {
            self.tell_left_out(now, wall_ms);
        }
        for is_events in [true, false] {
            let file = self.file(is_events);
            let written = file.write();
            let full = file.is_full();
            if !written {
                self.lost += 1;
            }
            if full && self.file(is_events).rotate() {
                self.begin(is_events, now);
            }
        }
    }

    fn file(&mut self, is_events: bool) -> &mut RecordFile {
        if is_events {
            &mut self.events
        } else {
            &mut self.states
        }
    }

    /// Writes the first record of a file.
    fn begin(&mut self, is_events: bool, now: Timestamp) {
        let head = Row::Head(Head {
            history: self.row,
            next: self.next,
            at: now,
            budget: self.budget.clone(),
        });
        let file = self.file(is_events);
        let fresh = !file.is_on() || file.is_new() || file.rotate();
        let put = postcard::to_stdvec(&head).is_ok_and(|bytes| fresh && file.put(&bytes));
        if !(put && file.write()) {
            self.lost += 1;
        }
    }

    /// Whether an event of this kind is one of the first of its second.
    fn is_rare(&mut self, kind: EventKind, vhost: Option<usize>, at: Timestamp) -> bool {
        let rate = self.rate(kind, vhost, at);
        if at.since(rate.began) >= SECOND {
            (rate.began, rate.count) = (at, 0);
        }
        rate.count += 1;
        rate.count <= OF_A_SECOND
    }

    fn rate(&mut self, kind: EventKind, vhost: Option<usize>, at: Timestamp) -> &mut Rate {
        let room = self.rates.len() < RATES_MAX || self.rates.contains_key(&(kind, vhost));
        self.rates
            .entry((kind, vhost.filter(|_| room)))
            .or_insert(Rate {
                began: at,
                count: 0,
                left_out: None,
            })
    }

    fn leave_out(
        &mut self,
        kind: EventKind,
        vhost: Option<usize>,
        name: Option<Name>,
        at: Timestamp,
        wall_ms: u64,
    ) {
        let left_out = self
            .rate(kind, vhost, at)
            .left_out
            .get_or_insert_with(|| LeftOut {
                vhost: name,
                count: 0,
                since_ms: wall_ms,
                due: at + SECOND,
                period: SECOND,
            });
        left_out.count += 1;
        let due = left_out.due;
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// Records how many events were left out.
    fn tell_left_out(&mut self, now: Timestamp, wall_ms: u64) {
        let mut told = Vec::new();
        // What is quiet again need not be known any more.
        self.rates.retain(|(kind, _), rate| {
            match &mut rate.left_out {
                Some(left_out) if left_out.due <= now && left_out.count > 0 => {
                    told.push(Event::LeftOut {
                        kind: *kind,
                        vhost: left_out.vhost.clone(),
                        count: std::mem::take(&mut left_out.count),
                        since_ms: std::mem::replace(&mut left_out.since_ms, wall_ms),
                    });
                    left_out.period = (left_out.period * 2).min(SUMMARY_MAX);
                    left_out.due = now + left_out.period;
                }
                Some(left_out) if left_out.due <= now => rate.left_out = None,
                _ => {}
            }
            rate.left_out.is_some() || now.since(rate.began) < SECOND
        });
        let left_out = self
            .rates
            .values()
            .filter_map(|rate| rate.left_out.as_ref());
        self.due = left_out.map(|left_out| left_out.due).min();
        for event in told {
            self.record(now, wall_ms, event);
        }
    }
}

/// The head and the events of a file; nothing if it is new, or another writer's.
fn found(bytes: &[u8]) -> Option<(Head, Vec<EventRecord>)> {
    let mut rows = Records::new(bytes, MAGIC)?.map(postcard::from_bytes);
    let Some(Ok(Row::Head(head))) = rows.next() else {
        return None;
    };
    let mut events = Vec::new();
    for row in rows {
        match row {
            Ok(Row::Event(record)) => events.push(record),
            Ok(Row::Head(_)) | Err(_) => return None,
        }
    }
    Some((head, events))
}
