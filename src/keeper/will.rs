//! What the keeper is to do when the engine dies: written down by the engine while it lives.
//!
//! A memory file that both have open. The engine writes one slot for each virtual host whenever
//! something about it changes, and a heartbeat; the keeper reads them when it must. Each slot has
//! two halves that are written in turn and sealed, so that a death in the middle of a write leaves
//! the one before. Plain file calls, no mapping: nothing here is unsafe, and a write costs about a
//! microsecond.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::types::{IfName, Timestamp, VirtualAddress};

/// Name of the memory file, as `/proc` shows it.
pub const FILE_NAME: &str = "carpd-will";
/// Bytes of half a slot: room for as many addresses as a virtual host may have, and both bow-outs.
/// Only what is written takes memory.
const HALF: u64 = 16 << 10;
/// Bytes before and after the content: a number, a length, the number again.
const FRAME: usize = 8 + 4 + 8;
/// The slot of the heartbeat.
const HEARTBEAT: usize = 0;
/// The slot of what the engine is at: a length and so many bytes of text.
const STEP: usize = 1;
/// The first slot of a virtual host.
const WILLS: usize = 2;
/// Slots that are looked at: more virtual hosts than a configuration has room for. An engine that
/// somebody has taken over makes the file as long as it likes, and its keeper has more to do.
const SLOTS_MAX: usize = 1 << 15;
/// Bytes of a text about what the engine is at.
const STEP_MAX: usize = 120;

/// One virtual host's last will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Will {
    /// The device with the addresses.
    pub interface: IfName,
    /// Its number.
    pub index: u32,
    /// Addresses that are up and must go.
    pub addresses: Vec<VirtualAddress>,
    /// Bow-outs as whole Ethernet frames, with counters that were never sent. Empty unless it is
    /// master.
    pub bow_outs: Vec<Vec<u8>>,
}

/// Proof of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// When the engine's loop last came round.
    pub at: Timestamp,
    /// A loop that does not come round for so long is hung.
    pub limit: Duration,
}

/// The engine's end.
#[derive(Debug)]
pub struct Writer {
    file: File,
    /// How often each slot was written.
    numbers: Vec<u64>,
}

/// The keeper's end.
#[derive(Debug)]
pub struct Reader {
    file: File,
}

/// Notes what the engine's thread is at.
#[derive(Debug)]
pub struct Steps {
    file: File,
}

impl Steps {
    /// From now on it is this, until something else is noted; nothing that could be named, if it is
    /// empty.
    pub fn note(&self, what: &str) {
        let text = what
            .get(..what.floor_char_boundary(STEP_MAX))
            .unwrap_or_default();
        let mut bytes = Vec::with_capacity(1 + text.len());
        bytes.extend(u8::try_from(text.len()));
        bytes.extend(text.as_bytes());
        // It is for the log of an accident: nothing follows from it.
        _ = self.file.write_all_at(&bytes, offset(STEP, 0));
    }
}

impl Writer {
    /// An empty will, with the descriptor to give to the keeper.
    ///
    /// # Errors
    /// The system has no memory files.
    pub fn create() -> io::Result<(Self, OwnedFd)> {
        let file = File::from(memfd_create(FILE_NAME, MFdFlags::MFD_CLOEXEC)?);
        let theirs = file.try_clone()?.into();
        Ok((
            Self {
                file,
                numbers: Vec::new(),
            },
            theirs,
        ))
    }

    /// For noting what the engine is at, from wherever that is.
    ///
    /// # Errors
    /// The system is out of descriptors.
    pub fn steps(&self) -> io::Result<Steps> {
        Ok(Steps {
            file: self.file.try_clone()?,
        })
    }

    /// Says that the engine lives.
    ///
    /// # Errors
    /// The system is out of memory.
    pub fn beat(&mut self, heartbeat: Heartbeat) -> io::Result<()> {
        self.put(HEARTBEAT, &heartbeat)
    }

    /// Writes a virtual host's will in place of the one before.
    ///
    /// # Errors
    /// It is too large, or the system is out of memory.
    pub fn write(&mut self, slot: usize, will: &Will) -> io::Result<()> {
        self.put(slot + WILLS, will)
    }

    fn put<T: Serialize>(&mut self, slot: usize, content: &T) -> io::Result<()> {
        let content = postcard::to_stdvec(content).map_err(io::Error::other)?;
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        if content.len() + FRAME > usize::try_from(HALF).unwrap_or(usize::MAX) {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "too many addresses for the keeper to know them all",
            ));
        }
        if self.numbers.len() <= slot {
            self.numbers.resize(slot + 1, 0);
        }
        let Some(number) = self.numbers.get_mut(slot) else {
            return Ok(());
        };
        // Each slot counts for itself: whatever happens to the others, its halves are written in
        // turn.
        *number += 1;
        let seal = number.to_le_bytes();
        let bytes = [&seal[..], &length.to_le_bytes(), &content, &seal].concat();
        self.file.write_all_at(&bytes, offset(slot, *number % 2))
    }
}

impl Reader {
    /// Of the descriptor that the engine gave.
    #[must_use]
    pub fn new(descriptor: OwnedFd) -> Self {
        Self {
            file: File::from(descriptor),
        }
    }

    /// The last sign of life; `None` before the first.
    #[must_use]
    pub fn heartbeat(&self) -> Option<Heartbeat> {
        self.newest(HEARTBEAT)
    }

    /// What the engine was at when it noted something last; a hook may have had a say in the words.
    /// `None` if that was nothing.
    #[must_use]
    pub fn step(&self) -> Option<String> {
        let mut bytes = [0; 1 + STEP_MAX];
        let got = self.file.read_at(&mut bytes, offset(STEP, 0)).ok()?;
        let (length, text) = bytes.get(..got)?.split_first()?;
        let text = text.get(..usize::from(*length))?;
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).escape_debug().to_string())
    }

    /// Every will. Slots that are empty or broken are passed over: there is nobody left to ask.
    #[must_use]
    pub fn wills(&self) -> Vec<Will> {
        let length = self.file.metadata().map_or(0, |metadata| metadata.len());
        let slots = usize::try_from(length.div_ceil(2 * HALF)).unwrap_or(usize::MAX);
        (WILLS..slots.min(SLOTS_MAX))
            .filter_map(|slot| self.newest(slot))
            .collect()
    }

    fn newest<T: for<'a> Deserialize<'a>>(&self, slot: usize) -> Option<T> {
        let halves = [0, 1].into_iter().filter_map(|half| self.half(slot, half));
        let (_, content) = halves.max_by_key(|(number, _)| *number)?;
        postcard::from_bytes(&content).ok()
    }

    /// The content of a half that was written to its end.
    fn half(&self, slot: usize, half: u64) -> Option<(u64, Vec<u8>)> {
        let at = offset(slot, half);
        let mut number = [0; 8];
        if self.file.read_at(&mut number, at).ok()? < number.len() || number == [0; 8] {
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
        let number = u64::from_le_bytes(*bytes.first_chunk()?);
        let length = usize::try_from(u32::from_le_bytes(*bytes.get(8..)?.first_chunk()?)).ok()?;
        let content = bytes.get(12..)?.get(..length)?;
        let seal = u64::from_le_bytes(*bytes.get(12 + length..)?.first_chunk()?);
        (number != 0 && number == seal).then(|| (number, content.to_vec()))
    }
}

fn offset(slot: usize, half: u64) -> u64 {
    (slot as u64) * 2 * HALF + half * HALF
}

#[cfg(test)]
mod tests {
    use super::*;

    fn will(addresses: &[&str]) -> Will {
        Will {
            interface: "eth0".parse().unwrap(),
            index: 2,
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            bow_outs: vec![vec![7; 70]],
        }
    }

    #[test]
    fn the_last_will_counts() {
        let (mut writer, theirs) = Writer::create().unwrap();
        let reader = Reader::new(theirs);
        assert_eq!(reader.heartbeat(), None);
        for n in 0..5 {
            writer
                .write(0, &will(&[&format!("10.0.0.{}/24", n + 1)]))
                .unwrap();
            writer.write(2, &will(&[])).unwrap();
        }
        let heartbeat = Heartbeat {
            at: Timestamp::from_nanos(5),
            limit: Duration::from_secs(2),
        };
        writer.beat(heartbeat).unwrap();
        assert_eq!(reader.heartbeat(), Some(heartbeat));
        assert_eq!(reader.wills(), [will(&["10.0.0.5/24"]), will(&[])]);
    }

    #[test]
    fn what_the_engine_is_at_is_bounded_and_shown_on_one_line() {
        let (mut writer, theirs) = Writer::create().unwrap();
        let (steps, reader) = (writer.steps().unwrap(), Reader::new(theirs));
        assert_eq!(reader.step(), None);
        writer.write(0, &will(&["10.0.0.1/24"])).unwrap();
        steps.note(&format!("file.write {}\u{1b}\nä", "x".repeat(200)));
        assert_eq!(
            reader.step().unwrap(),
            format!("file.write {}", "x".repeat(STEP_MAX - 11))
        );
        steps.note("file.write /run/\u{1b}[2J\nx");
        assert_eq!(reader.step().unwrap(), "file.write /run/\\u{1b}[2J\\nx");
        steps.note("");
        assert_eq!(reader.step(), None);
        assert_eq!(reader.wills(), [will(&["10.0.0.1/24"])]);
    }

    #[test]
    fn a_write_that_was_cut_short_leaves_the_one_before() {
        let (mut writer, theirs) = Writer::create().unwrap();
        let reader = Reader::new(theirs);
        writer.write(0, &will(&["10.0.0.1/24"])).unwrap();
        let first = writer.numbers[WILLS] % 2;
        // What is written for others must not make the next one overwrite it.
        writer.write(1, &will(&[])).unwrap();
        writer.file.set_len(offset(WILLS + 1, 0)).unwrap();
        writer.write(0, &will(&["10.0.0.2/24"])).unwrap();
        assert_eq!(reader.wills(), [will(&["10.0.0.2/24"])]);
        // A third begins in the half of the first and does not reach its seal.
        writer
            .file
            .write_all_at(&9_u64.to_le_bytes(), offset(WILLS, first))
            .unwrap();
        assert_eq!(reader.wills(), [will(&["10.0.0.2/24"])]);
    }

    #[test]
    fn a_file_that_was_made_huge_is_read_as_far_as_it_may_say_something() {
        let (mut writer, theirs) = Writer::create().unwrap();
        writer.write(0, &will(&["10.0.0.1/24"])).unwrap();
        writer.file.set_len(1 << 60).unwrap();
        assert_eq!(Reader::new(theirs).wills(), [will(&["10.0.0.1/24"])]);
    }

    #[test]
    fn the_largest_virtual_host_fits_and_more_is_refused() {
        let (mut writer, theirs) = Writer::create().unwrap();
        let longest = |count: usize| -> Vec<String> {
            (0..count)
                .map(|n| format!("2001:db8:1111:2222:3333:4444:5555:{:04x}/128", n + 0x1000))
                .collect()
        };
        let of = |count| Will {
            addresses: longest(count).iter().map(|a| a.parse().unwrap()).collect(),
            ..will(&[])
        };
        writer
            .write(0, &of(VirtualAddress::MAX_OF_A_VHOST))
            .unwrap();
        assert_eq!(
            Reader::new(theirs).wills(),
            [of(VirtualAddress::MAX_OF_A_VHOST)]
        );
        assert!(writer.write(0, &of(1000)).is_err());
    }
}
