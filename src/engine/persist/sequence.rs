//! The numbers of transitions: never reused by an instance, even across restarts, crashes and
//! reboots.
//!
//! A block of numbers is reserved on disk ahead of its use, so that no transition waits for the
//! disk. Numbers that a killed daemon had reserved but not used are skipped; a clean stop gives
//! them back.

use std::io;
use std::path::PathBuf;

use tracing::warn;

use super::DiskWriter;
use crate::record::{MAGIC_LEN, whole};

/// The kind of file, and its format version.
const MAGIC: [u8; MAGIC_LEN] = *b"carpdN01";
/// How many are reserved at a time. Half of it is left when the next block is reserved.
const BLOCK: u64 = 256;

/// Which numbers are used.
#[derive(Debug)]
pub(in crate::engine) struct Sequence {
    file: Option<(PathBuf, DiskWriter)>,
    /// The highest number that was used.
    highest: u64,
    /// All numbers up to this one are reserved.
    reserved: u64,
}

impl Sequence {
    /// Continues where the predecessor ended; starts at 1 if there was none. If that is unknown,
    /// numbers start from the seconds since 1970, which is larger than any earlier number.
    pub(super) async fn open(path: Option<PathBuf>, disk: DiskWriter, wall_ms: u64) -> Self {
        let by_clock = wall_ms / 1000;
        let Some(path) = path else {
            return Self {
                file: None,
                highest: by_clock,
                reserved: u64::MAX,
            };
        };
        let from = path.clone();
        let read = tokio::task::spawn_blocking(move || read(&from)).await;
        let highest = match read {
            Ok(Ok(highest)) => highest,
            Ok(Err(error)) => {
                warn!(%error, "Starting the count of transitions from the clock");
                by_clock
            }
            Err(_) => by_clock,
        };
        let mut numbers = Self {
            file: Some((path, disk)),
            highest,
            reserved: highest,
        };
        numbers.reserve();
        numbers
    }

    /// Counts from 1, only for this process.
    pub(super) const fn none() -> Self {
        Self {
            file: None,
            highest: 0,
            reserved: u64::MAX,
        }
    }

    /// The start for a new virtual host: its first transition has the next number.
    pub(in crate::engine) const fn highest(&self) -> u64 {
        self.highest
    }

    /// A transition has this number.
    pub(in crate::engine) fn used(&mut self, number: u64) {
        self.highest = self.highest.max(number);
        if self.highest.saturating_add(BLOCK / 2) >= self.reserved {
            self.reserve();
        }
    }

    /// The daemon stops cleanly: gives back unused numbers.
    pub(in crate::engine) fn give_back(&mut self) {
        self.reserved = self.highest;
        self.write();
    }

    fn reserve(&mut self) {
        self.reserved = self.highest.saturating_add(BLOCK);
        self.write();
    }

    fn write(&self) {
        let Some((path, disk)) = &self.file else {
            return;
        };
        let (subject, path, value) = (path, path.clone(), self.reserved.to_le_bytes());
        disk.later("the transitions' numbers", subject, move || {
            whole::write(&path, MAGIC, &value).map(|()| None)
        });
    }
}

fn read(path: &std::path::Path) -> io::Result<u64> {
    let Some(bytes) = whole::read(path, MAGIC, 8).map_err(io::Error::other)? else {
        return Ok(0);
    };
    let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| io::Error::other("not a number"))?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(path: &std::path::Path) -> (Sequence, DiskWriter) {
        let disk = DiskWriter::start();
        (
            Sequence::open(Some(path.to_owned()), disk.clone(), 5_000_000).await,
            disk,
        )
    }

    fn on_a_local_set(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test);
    }

    #[test]
    fn no_number_is_given_twice_whatever_ends_the_process() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("transitions");
        on_a_local_set(async {
            let (mut numbers, disk) = open(&path).await;
            assert_eq!(numbers.highest(), 0);
            for number in 1..=1000 {
                numbers.used(number);
            }
            disk.settled().await;
            // Killed here.
            drop(numbers);
            let (mut numbers, disk) = open(&path).await;
            assert!(
                (1000..=1000 + BLOCK).contains(&numbers.highest()),
                "{}",
                numbers.highest()
            );
            let last = numbers.highest() + 3;
            numbers.used(last);
            numbers.give_back();
            disk.settled().await;
            let (numbers, disk) = open(&path).await;
            assert_eq!(numbers.highest(), last, "an orderly stop leaves no hole");
            disk.settled().await;
            std::fs::write(&path, "nonsense").unwrap();
            let (numbers, _) = open(&path).await;
            assert_eq!(numbers.highest(), 5000, "from the clock");
        });
    }
}
