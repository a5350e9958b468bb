//! The flight recorder: every input and output of the engine, in order, in two files of bounded
//! size; and next to them what a person asks for later, the events, for a week and longer
//! (`history`).
//!
//! Recording never fails and never waits: what cannot be written is counted, and after the first
//! failure nothing more is tried until the next file. Each turn of the engine is one `write(2)`, so
//! that a process that is killed loses at most the turn it was in. Nothing is synced: a journal is
//! for the death of a process, not of the machine.

mod cause;
mod entry;
mod event;
mod file;
mod history;
mod listen;
mod merge;
mod read;
mod replay;
mod retold;
mod told;
mod why;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

pub use cause::DaemonCause;
pub use entry::{Entry, InputRecord, Note, OutputRecord, PreviousRecord, SettingsRecord};
pub use event::{Event, EventKind, EventRecord, OrderRecord, Subject};
pub use file::older;
pub use history::read::{Cursor, Found, Reader};
pub use history::{EVENTS_FILE, STATES_FILE};
pub use listen::events;
pub use merge::{Merged, NodeHistory, merge};
pub use read::{Contents, read};
pub use replay::{Difference, Replayed, replay};
pub use retold::Retold;
pub use told::{Told, What};
pub use why::{Story, stories};

use crate::proto::{Birth, Input, Output, Settings};
use crate::record::MAGIC_LEN;
use crate::types::{IfName, Name, Timestamp};
use file::{Form, RecordFile};
use history::History;

/// What the file is, and the version of its records.
const MAGIC: [u8; MAGIC_LEN] = *b"carpdJ06";
/// Name of the file in an instance's directory; the one before it has `.1` at its end.
pub const FILE_NAME: &str = "journal";

/// How large a journal may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file of inputs and outputs; there are two.
    pub file_bytes: u64,
    /// Bytes of one file of events; there are two.
    pub events_bytes: u64,
    /// Bytes of one file of state changes; there are two.
    pub states_bytes: u64,
}

impl Default for Limits {
    /// Inputs and outputs: 8 MiB, which is at one advertisement a second about a day of a virtual host
    /// in each file. Events: a week (`History`). State changes: more than 1,000 of the longest.
    fn default() -> Self {
        Self {
            file_bytes: 8 * 1024 * 1024,
            events_bytes: 4 * 1024 * 1024,
            states_bytes: 768 * 1024,
        }
    }
}

/// A virtual host, as the head of the next file tells of it.
#[derive(Debug, Clone)]
struct Known {
    name: Name,
    interface: IfName,
    birth: Birth,
    settings: SettingsRecord,
}

/// Writes the journal of one engine.
#[derive(Debug, Default)]
pub struct Journal {
    file: RecordFile,
    history: History,
    known: BTreeMap<usize, Known>,
    /// `CLOCK_REALTIME` minus `CLOCK_BOOTTIME`, in milliseconds, as it was last known.
    wall_ms: u64,
    lost: u64,
}

impl Journal {
    /// Records nothing.
    #[must_use]
    pub fn disabled() -> Self {
        Self::default()
    }

    /// Goes on in the files at `path` and next to it, or begins them. Where that fails nothing is
    /// recorded; that is logged.
    #[must_use]
    pub fn open(path: &Path, limits: Limits, version: &str, now: Timestamp, wall_ms: u64) -> Self {
        let form = Form {
            magic: MAGIC,
            limit: limits.file_bytes,
        };
        let mut journal = Self {
            file: RecordFile::open(path, form).0,
            history: History::open(path, limits, now),
            wall_ms: wall_ms.saturating_sub(millis(now)),
            ..Self::default()
        };
        journal.put(&Entry::Start {
            at: now,
            wall_ms,
            version: version.to_owned(),
        });
        journal.flush(now);
        journal
    }

    /// The engine before this one died.
    pub fn died(&mut self, at: Timestamp, how: &str) {
        self.put(&Entry::Died {
            at,
            how: how.to_owned(),
        });
    }

    /// A virtual host is born.
    pub fn vhost(
        &mut self,
        now: Timestamp,
        vhost: usize,
        name: &Name,
        interface: &IfName,
        birth: impl Into<Birth>,
        settings: &Settings,
    ) {
        let known = Known {
            name: name.clone(),
            interface: interface.clone(),
            birth: birth.into(),
            settings: settings.into(),
        };
        self.put(&known.entry(now, vhost));
        self.known.insert(vhost, known);
    }

    /// It is called otherwise from now on.
    pub fn renamed(&mut self, now: Timestamp, vhost: usize, name: &Name) {
        if let Some(known) = self.known.get_mut(&vhost) {
            known.name = name.clone();
            let entry = known.entry(now, vhost);
            self.put(&entry);
        }
    }

    /// Its settings change.
    pub fn reconfigured(&mut self, now: Timestamp, vhost: usize, settings: &Settings) {
        let settings = SettingsRecord::from(settings);
        self.put(&Entry::Reconfigured {
            at: now,
            vhost,
            settings: Box::new(settings.clone()),
        });
        if let Some(known) = self.known.get_mut(&vhost) {
            known.settings = settings;
        }
    }

    /// It is removed.
    pub fn removed(&mut self, now: Timestamp, vhost: usize) {
        self.known.remove(&vhost);
        self.put(&Entry::Removed { at: now, vhost });
    }

    /// A virtual host is fed.
    pub fn input(&mut self, now: Timestamp, vhost: usize, input: &Input<'_>) {
        if self.is_on() {
            self.put(&Entry::Input {
                at: now,
                vhost,
                input: input.into(),
            });
        }
    }

    /// It answers.
    pub fn output(&mut self, vhost: usize, output: &Output) {
        if self.is_on() {
            self.put(&Entry::Output {
                vhost,
                output: output.into(),
            });
        }
    }

    /// The engine's turn ends: what happened in it is written. `wall_ms`: the time of day, which may
    /// have been set meanwhile.
    pub fn end_turn(&mut self, now: Timestamp, wall_ms: u64) {
        self.wall_ms = wall_ms.saturating_sub(millis(now));
        self.flush(now);
    }

    /// Something followed.
    pub fn note(&mut self, now: Timestamp, vhost: usize, note: Note) {
        if self.is_on() {
            self.put(&Entry::Note {
                at: now,
                vhost,
                note,
            });
            self.flush(now);
        }
    }

    /// An operator gave an order, which was carried out or refused. It is no input of the protocol,
    /// so it is an event only.
    pub fn order(&mut self, now: Timestamp, order: OrderRecord) {
        self.history
            .record(now, self.wall_at(now), Event::Order(order));
        self.flush(now);
    }

    /// How many records could not be written.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost + self.history.lost()
    }

    const fn is_on(&self) -> bool {
        self.file.is_on() || self.history.is_on()
    }

    fn wall_at(&self, now: Timestamp) -> u64 {
        self.wall_ms.saturating_add(millis(now))
    }

    fn put(&mut self, entry: &Entry) {
        if !postcard::to_stdvec(entry).is_ok_and(|payload| self.file.put(&payload)) {
            self.lost += 1;
        }
        self.history.hear(entry, self.wall_ms);
    }

    fn flush(&mut self, now: Timestamp) {
        self.history.end_turn(now, self.wall_at(now));
        if !self.file.write() {
            self.lost += 1;
        }
        if self.file.is_full() {
            self.rotate(now);
        }
    }

    fn rotate(&mut self, now: Timestamp) {
        if !self.file.rotate() {
            return;
        }
        let continued = Entry::Continued {
            at: now,
            wall_ms: self.wall_at(now),
        };
        let vhosts = self
            .known
            .iter()
            .map(|(vhost, known)| known.entry(now, *vhost));
        // What is repeated here is no news for the history.
        for entry in std::iter::once(continued).chain(vhosts) {
            if !postcard::to_stdvec(&entry).is_ok_and(|payload| self.file.put(&payload)) {
                self.lost += 1;
            }
        }
        self.file.write();
    }
}

impl Known {
    fn entry(&self, at: Timestamp, vhost: usize) -> Entry {
        let Self {
            name,
            interface,
            birth: Birth { seed, seq },
            settings,
        } = self.clone();
        Entry::Vhost {
            at,
            vhost,
            name,
            interface,
            seed,
            seq,
            settings: Box::new(settings),
        }
    }
}

fn millis(now: Timestamp) -> u64 {
    u64::try_from(now.since(Timestamp::ZERO).as_millis()).unwrap_or(u64::MAX)
}

/// A duration as people read it: `25.3 ms`.
fn readable(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        format!("{:.1} ms", time.as_secs_f64() * 1000.0)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
