//! The failsafe: what the keeper must do if the engine crashes, written by the engine while it
//! runs.
//!
//! It is a memory file that both have open. The engine writes an entry for each virtual host
//! whenever something about it changes, and a heartbeat; the keeper reads them when it has to. Each
//! slot has two halves that are written in turn, each with its sequence number at both ends, so
//! that a crash in the middle of a write leaves the previous content intact. These are plain file
//! calls without a mapping: nothing here is unsafe, and a write takes about a microsecond.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::host::kernel::socket::Outgoing;
use crate::types::{IfName, Timestamp, VirtualAddress};

/// Name of the memory file, as `/proc` shows it.
pub const FILE_NAME: &str = "carpd-failsafe";
/// Bytes of half a slot: room for as many addresses as a virtual host may have, and for all
/// bow-outs. Only what is written uses memory.
const HALF: u64 = 32 << 10;
/// Bytes before and after the content: a sequence number, a length, the sequence number again.
const FRAME: usize = 8 + 4 + 8;
/// The slot of the heartbeat.
const HEARTBEAT: usize = 0;
/// The slot of the engine's activity: a length and a text of that length.
const ACTIVITY: usize = 1;
/// The first slot of a virtual host.
const ENTRIES: usize = 2;
/// The most slots that are read: more than a configuration can have virtual hosts. A compromised
/// engine can make the file as long as it likes, and must not keep the keeper busy with it.
const SLOTS_MAX: usize = 1 << 15;
/// The longest text about the engine's activity, in bytes.
const ACTIVITY_MAX: usize = 120;

/// What the keeper must do for one virtual host if the engine crashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailSafe {
    /// The interface that has the addresses.
    pub interface: IfName,
    /// Its index.
    pub index: u32,
    /// Addresses that are up and must be removed.
    pub addresses: Vec<VirtualAddress>,
    /// Complete bow-outs, with counters that were never sent. Empty unless the virtual host is
    /// master.
    pub bow_outs: Vec<Outgoing>,
    /// The number of its group: no member's bow-outs before the addresses of all are gone.
    pub group: Option<u32>,
}

/// A sign that the engine's loop runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// When the loop last came round.
    pub at: Timestamp,
    /// A loop that does not come round for this long hangs.
    pub limit: Duration,
}

/// The engine's end.
#[derive(Debug)]
pub struct Writer {
    file: File,
    /// How often each slot was written: its sequence number.
    sequence: Vec<u64>,
}

/// The keeper's end.
#[derive(Debug)]
pub struct Reader {
    file: File,
}

/// Records what the engine's thread is doing.
#[derive(Debug)]
pub struct ActivityWriter {
    file: File,
}

impl ActivityWriter {
    /// Records the present activity, which holds until the next call. An empty text means nothing
    /// in particular.
    pub fn note(&self, what: &str) {
        let text = what
            .get(..what.floor_char_boundary(ACTIVITY_MAX))
            .unwrap_or_default();
        let mut bytes = Vec::with_capacity(1 + text.len());
        bytes.extend(u8::try_from(text.len()));
        bytes.extend(text.as_bytes());
        // This is only for the log of a crash; nothing else depends on it.
        _ = self.file.write_all_at(&bytes, offset(ACTIVITY, 0));
    }
}

impl Writer {
    /// An empty failsafe, and the descriptor to give to the keeper.
    ///
    /// # Errors
    /// The system has no memory files.
    pub fn create() -> io::Result<(Self, OwnedFd)> {
        let file = File::from(memfd_create(FILE_NAME, MFdFlags::MFD_CLOEXEC)?);
        let theirs = file.try_clone()?.into();
        Ok((
            Self {
                file,
                sequence: Vec::new(),
            },
            theirs,
        ))
    }

    /// For recording the engine's activity, from anywhere in it.
    ///
    /// # Errors
    /// The system is out of descriptors.
    pub fn activity(&self) -> io::Result<ActivityWriter> {
        Ok(ActivityWriter {
            file: self.file.try_clone()?,
        })
    }

    /// Writes a heartbeat.
    ///
    /// # Errors
    /// The system is out of memory.
    pub fn beat(&mut self, heartbeat: Heartbeat) -> io::Result<()> {
        self.put(HEARTBEAT, &heartbeat)
    }

    /// Writes a virtual host's entry in place of the previous one.
    ///
    /// # Errors
    /// It is too large, or the system is out of memory.
    pub fn write(&mut self, slot: usize, entry: &FailSafe) -> io::Result<()> {
        self.put(slot + ENTRIES, entry)
    }

    fn put<T: Serialize>(&mut self, slot: usize, content: &T) -> io::Result<()> {
        let content = postcard::to_stdvec(content).map_err(io::Error::other)?;
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        if content.len() + FRAME > usize::try_from(HALF).unwrap_or(usize::MAX) {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "too many addresses to pass to the keeper",
            ));
        }
        if self.sequence.len() <= slot {
            self.sequence.resize(slot + 1, 0);
        }
        let Some(sequence) = self.sequence.get_mut(slot) else {
            return Ok(());
        };
        // Each slot has its own count, so that its halves are written in turn whatever happens to
        // the other slots.
        *sequence += 1;
        let mark = sequence.to_le_bytes();
        let bytes = [&mark[..], &length.to_le_bytes(), &content, &mark].concat();
        self.file.write_all_at(&bytes, offset(slot, *sequence % 2))
    }
}

impl Reader {
    /// Reads from the descriptor that the engine sent.
    #[must_use]
    pub fn new(descriptor: OwnedFd) -> Self {
        Self {
            file: File::from(descriptor),
        }
    }

    /// The last heartbeat; `None` before the first.
    #[must_use]
    pub fn heartbeat(&self) -> Option<Heartbeat> {
        self.newest(HEARTBEAT)
    }

    /// The activity that the engine recorded last; a part of the text may come from a hook. `None`
    /// if it was nothing in particular.
    #[must_use]
    pub fn activity(&self) -> Option<String> {
        let mut bytes = [0; 1 + ACTIVITY_MAX];
        let got = self.file.read_at(&mut bytes, offset(ACTIVITY, 0)).ok()?;
        let (length, text) = bytes.get(..got)?.split_first()?;
        let text = text.get(..usize::from(*length))?;
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).escape_debug().to_string())
    }

    /// Every virtual host's entry. Empty and damaged slots are skipped: there is nobody left to
    /// ask.
    #[must_use]
    pub fn entries(&self) -> Vec<FailSafe> {
        let length = self.file.metadata().map_or(0, |metadata| metadata.len());
        let slots = usize::try_from(length.div_ceil(2 * HALF)).unwrap_or(usize::MAX);
        (ENTRIES..slots.min(SLOTS_MAX))
            .filter_map(|slot| self.newest(slot))
            .collect()
    }

    fn newest<T: for<'a> Deserialize<'a>>(&self, slot: usize) -> Option<T> {
        let halves = [0, 1].into_iter().filter_map(|half| self.half(slot, half));
        let (_, content) = halves.max_by_key(|(sequence, _)| *sequence)?;
        postcard::from_bytes(&content).ok()
    }

    /// The sequence number and the content of a half, if it was written completely.
    fn half(&self, slot: usize, half: u64) -> Option<(u64, Vec<u8>)> {
        let at = offset(slot, half);
        let mut mark = [0; 8];
        if self.file.read_at(&mut mark, at).ok()? < mark.len() || mark == [0; 8] {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(HALF).ok()?];
        let mut got = 0;
        while got < bytes.len() {
            match self
                .file
                .read_at(bytes.get_mut(got..)?, at + u64::try_from(got).ok()?)
            {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(_) => return None,
            }
        }
        let sequence = u64::from_le_bytes(*bytes.first_chunk()?);
        let length = usize::try_from(u32::from_le_bytes(*bytes.get(8..)?.first_chunk()?)).ok()?;
        let content = bytes.get(12..)?.get(..length)?;
        let end = u64::from_le_bytes(*bytes.get(12 + length..)?.first_chunk()?);
        (sequence != 0 && sequence == end).then(|| (sequence, content.to_vec()))
    }
}

fn offset(slot: usize, half: u64) -> u64 {
    (slot as u64) * 2 * HALF + half * HALF
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(addresses: &[&str]) -> FailSafe {
        FailSafe {
            interface: "eth0".parse().unwrap(),
            index: 2,
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            bow_outs: vec![Outgoing::Frame(vec![7; 70])],
            group: Some(3),
        }
    }

    #[test]
    fn the_last_entry_of_a_virtual_host_counts() {
        let (mut writer, theirs) = Writer::create().unwrap();
        let reader = Reader::new(theirs);
        assert_eq!(reader.heartbeat(), None);
        for n in 0..5 {
            writer
                .write(0, &entry(&[&format!("10.0.0.{}/24", n + 1)]))
                .unwrap();
            writer.write(2, &entry(&[])).unwrap();
        }
        let heartbeat = Heartbeat {
            at: Timestamp::from_nanos(5),
            limit: Duration::from_secs(2),
        };
        writer.beat(heartbeat).unwrap();
        assert_eq!(reader.heartbeat(), Some(heartbeat));
        assert_eq!(reader.entries(), [entry(&["10.0.0.5/24"]), entry(&[])]);
    }

    #[test]
    fn the_activity_is_bounded_and_shown_on_one_line() {
        let (mut writer, theirs) = Writer::create().unwrap();
        let (activity, reader) = (writer.activity().unwrap(), Reader::new(theirs));
        assert_eq!(reader.activity(), None);
        writer.write(0, &entry(&["10.0.0.1/24"])).unwrap();
        activity.note(&format!("file.write {}\u{1b}\nä", "x".repeat(200)));
        assert_eq!(
            reader.activity().unwrap(),
            format!("file.write {}", "x".repeat(ACTIVITY_MAX - 11))
        );
        activity.note("file.write /run/\u{1b}[2J\nx");
        assert_eq!(reader.activity().unwrap(), "file.write /run/\\u{1b}[2J\\nx");
        activity.note("");
        assert_eq!(reader.activity(), None);
        assert_eq!(reader.entries(), [entry(&["10.0.0.1/24"])]);
    }

    #[test]
    fn an_incomplete_write_leaves_the_previous_entry() {
        let (mut writer, theirs) = Writer::create().unwrap();
        let reader = Reader::new(theirs);
        writer.write(0, &entry(&["10.0.0.1/24"])).unwrap();
        let first = writer.sequence[ENTRIES] % 2;
        // Writes to other slots must not make the next one overwrite this half.
        writer.write(1, &entry(&[])).unwrap();
        writer.file.set_len(offset(ENTRIES + 1, 0)).unwrap();
        writer.write(0, &entry(&["10.0.0.2/24"])).unwrap();
        assert_eq!(reader.entries(), [entry(&["10.0.0.2/24"])]);
        // A third write begins in the half of the first and does not reach its end.
        writer
            .file
            .write_all_at(&9_u64.to_le_bytes(), offset(ENTRIES, first))
            .unwrap();
        assert_eq!(reader.entries(), [entry(&["10.0.0.2/24"])]);
    }

    #[test]
    fn of_a_huge_file_only_the_possible_slots_are_read() {
        let (mut writer, theirs) = Writer::create().unwrap();
        writer.write(0, &entry(&["10.0.0.1/24"])).unwrap();
        writer.file.set_len(1 << 60).unwrap();
        assert_eq!(Reader::new(theirs).entries(), [entry(&["10.0.0.1/24"])]);
    }

    #[test]
    fn the_largest_virtual_host_fits_and_more_is_refused() {
        let (mut writer, theirs) = Writer::create().unwrap();
        let longest = |count: usize| -> Vec<String> {
            (0..count)
                .map(|n| format!("2001:db8:1111:2222:3333:4444:5555:{:04x}/128", n + 0x1000))
                .collect()
        };
        let of = |count| FailSafe {
            addresses: longest(count).iter().map(|a| a.parse().unwrap()).collect(),
            // To 32 peers, as signed before a reload as well.
            bow_outs: vec![
                Outgoing::Packet {
                    to: "2001:db8::1".parse().unwrap(),
                    bytes: vec![7; 76],
                };
                64
            ],
            ..entry(&[])
        };
        writer
            .write(0, &of(VirtualAddress::MAX_OF_A_VHOST))
            .unwrap();
        assert_eq!(
            Reader::new(theirs).entries(),
            [of(VirtualAddress::MAX_OF_A_VHOST)]
        );
        assert!(writer.write(0, &of(2000)).is_err());
    }
}
