//! The flight recorder: every input and output of the engine, in order, in two files of bounded
//! size.
//!
//! Recording never fails and never waits: what cannot be written is counted, and after the first
//! failure nothing more is tried until the next file. Each turn of the engine is one `write(2)`, so
//! that a process that is killed loses at most the turn it was in. Nothing is synced: a journal is
//! for the death of a process, not of the machine.

mod cause;
mod entry;
mod read;
mod replay;
mod why;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use tracing::warn;

pub use cause::DaemonCause;
pub use entry::{Entry, InputRecord, Note, OutputRecord, PreviousRecord, SettingsRecord};
pub use read::{Contents, read};
pub use replay::{Difference, Replayed, replay};
pub use why::{Story, stories};

use crate::proto::{Birth, Input, Output, Settings};
use crate::record::{self, MAGIC_LEN, Records};
use crate::resolve;
use crate::types::{IfName, Name, Timestamp};

/// What the file is, and the version of its records.
const MAGIC: [u8; MAGIC_LEN] = *b"carpdJ06";
/// Name of the file in an instance's directory; the one before it has `.1` at its end.
pub const FILE_NAME: &str = "journal";
/// What is gathered before it is written, at most, in bytes.
const BUFFER: usize = 16 * 1024;

/// How large a journal may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file; there are two.
    pub file_bytes: u64,
}

impl Default for Limits {
    /// 8 MiB: at one advertisement a second about a day of a virtual host in each file.
    fn default() -> Self {
        Self {
            file_bytes: 8 * 1024 * 1024,
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
    path: PathBuf,
    limits: Limits,
    file: Option<File>,
    buffer: Vec<u8>,
    written: u64,
    known: BTreeMap<usize, Known>,
    /// `CLOCK_REALTIME` minus `CLOCK_BOOTTIME`, in milliseconds, at the start.
    wall_ms: u64,
    lost: u64,
}

impl Journal {
    /// Records nothing.
    #[must_use]
    pub fn disabled() -> Self {
        Self::default()
    }

    /// Goes on in the file at `path`, or begins one. Where that fails nothing is recorded; that is
    /// logged.
    #[must_use]
    pub fn open(path: &Path, limits: Limits, version: &str, now: Timestamp, wall_ms: u64) -> Self {
        let mut journal = Self {
            path: path.to_owned(),
            limits,
            ..Self::default()
        };
        journal.wall_ms = wall_ms.saturating_sub(millis(now));
        match continue_file(path, limits).and_then(|there| there.map_or_else(|| new_file(path), Ok))
        {
            Ok((file, written)) => (journal.file, journal.written) = (Some(file), written),
            Err(err) => {
                warn!(path = %path.display(), %err, "The flight recorder is off: cannot write the journal");
            }
        }
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
        if self.file.is_some() {
            self.put(&Entry::Input {
                at: now,
                vhost,
                input: input.into(),
            });
        }
    }

    /// It answers.
    pub fn output(&mut self, vhost: usize, output: &Output) {
        if self.file.is_some() {
            self.put(&Entry::Output {
                vhost,
                output: output.into(),
            });
        }
    }

    /// The engine's turn ends: what happened in it is written.
    pub fn end_turn(&mut self, now: Timestamp) {
        if !self.buffer.is_empty() {
            self.flush(now);
        }
    }

    /// Something followed.
    pub fn note(&mut self, now: Timestamp, vhost: usize, note: Note) {
        if self.file.is_some() {
            self.put(&Entry::Note {
                at: now,
                vhost,
                note,
            });
            self.flush(now);
        }
    }

    /// How many records could not be written.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    fn put(&mut self, entry: &Entry) {
        if self.file.is_none() || !frame(entry, &mut self.buffer) {
            self.lost += 1;
        }
        if self.buffer.len() > BUFFER {
            self.write();
        }
    }

    fn flush(&mut self, now: Timestamp) {
        self.write();
        if self.written > self.limits.file_bytes && self.file.is_some() {
            self.rotate(now);
        }
    }

    fn write(&mut self) {
        let Some(file) = &mut self.file else { return };
        if let Err(err) = file.write_all(&self.buffer) {
            warn!(path = %self.path.display(), %err, "The flight recorder stopped: cannot write the journal");
            self.file = None;
            self.lost += 1;
        }
        self.written += u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        self.buffer.clear();
    }

    fn rotate(&mut self, now: Timestamp) {
        match fs::rename(&self.path, older(&self.path)).and_then(|()| new_file(&self.path)) {
            Ok((file, written)) => (self.file, self.written) = (Some(file), written),
            Err(err) => {
                warn!(path = %self.path.display(), %err, "The flight recorder stopped: cannot start a new journal");
                self.file = None;
                return;
            }
        }
        self.put(&Entry::Continued {
            at: now,
            wall_ms: self.wall_ms.saturating_add(millis(now)),
        });
        for (vhost, known) in std::mem::take(&mut self.known) {
            self.put(&known.entry(now, vhost));
            self.known.insert(vhost, known);
        }
        self.write();
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

/// The file that the one at `path` became when it was full.
#[must_use]
pub fn older(path: &Path) -> PathBuf {
    path.with_added_extension("1")
}

fn millis(now: Timestamp) -> u64 {
    u64::try_from(now.since(Timestamp::ZERO).as_millis()).unwrap_or(u64::MAX)
}

fn frame(entry: &Entry, into: &mut Vec<u8>) -> bool {
    postcard::to_stdvec(entry)
        .map(|payload| record::frame(&payload, into))
        .is_ok()
}

fn open(path: &Path, flags: OFlag) -> io::Result<File> {
    resolve::own(path)?.create(OFlag::O_WRONLY | flags, 0o600)
}

fn new_file(path: &Path) -> io::Result<(File, u64)> {
    let mut file = open(path, OFlag::O_TRUNC)?;
    file.write_all(&MAGIC)?;
    Ok((file, u64::try_from(MAGIC_LEN).unwrap_or_default()))
}

/// An earlier life's file, after its last good record. `None` if there is none that could be gone
/// on with.
fn continue_file(path: &Path, limits: Limits) -> io::Result<Option<(File, u64)>> {
    let Some(there) = resolve::own(path)?.open()? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    if there.metadata()?.len() <= limits.file_bytes {
        there.take(limits.file_bytes).read_to_end(&mut bytes)?;
    }
    let Some(mut records) = Records::new(&bytes, MAGIC) else {
        fs::rename(path, older(path))?;
        return Ok(None);
    };
    records.by_ref().for_each(drop);
    let good = u64::try_from(records.position()).unwrap_or(u64::MAX);
    let mut file = open(path, OFlag::empty())?;
    file.set_len(good)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(good))?;
    Ok(Some((file, good)))
}

/// A duration as people read it: `25.3 ms`.
fn readable(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        format!("{:.1} ms", time.as_secs_f64() * 1000.0)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
