//! Files of records: a magic word, then records of length, CRC32 and bytes, appended.
//!
//! A writer that dies in the middle of a record leaves a torn tail. Reading ends at the first
//! record that is not whole; what comes after it was never promised to anybody.

pub mod whole;

/// Bytes of a file's magic word: what it is, and the version of its form.
pub const MAGIC_LEN: usize = 8;

/// Longest record: a file's old content and its new one, with room to spare.
pub const RECORD_MAX: usize = 4 * 1024 * 1024;

/// Length and CRC32 of a record, both little-endian.
const HEAD_LEN: usize = 8;

/// Appends one record to `into`.
pub fn frame(payload: &[u8], into: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    into.extend(length.to_le_bytes());
    into.extend(crc(length, payload).to_le_bytes());
    into.extend(payload);
}

/// The length is part of it: else a hole of zeros would be a row of good, empty records.
fn crc(length: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// The records of a file's bytes, up to the first that is not whole.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    /// `None` if the file is of another kind or version.
    #[must_use]
    pub fn new(bytes: &'a [u8], magic: [u8; MAGIC_LEN]) -> Option<Self> {
        bytes.starts_with(&magic).then_some(Self {
            bytes,
            at: MAGIC_LEN,
        })
    }

    /// Bytes up to the end of the last record that was given: where the next one may be written.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Is there something after the last good record?
    #[must_use]
    pub fn torn(&self) -> bool {
        self.clone().next().is_none() && self.at < self.bytes.len()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.bytes.get(self.at..)?.split_first_chunk()?;
        let (expected, rest) = rest.split_first_chunk()?;
        let length = u32::from_le_bytes(*length);
        let payload = usize::try_from(length)
            .ok()
            .filter(|n| *n <= RECORD_MAX)
            .and_then(|n| rest.get(..n))?;
        if u32::from_le_bytes(*expected) != crc(length, payload) {
            return None;
        }
        self.at += HEAD_LEN + payload.len();
        Some(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; MAGIC_LEN] = *b"carpdT01";

    fn file(records: &[&[u8]]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for record in records {
            frame(record, &mut bytes);
        }
        bytes
    }

    #[test]
    fn a_file_cut_anywhere_gives_the_records_that_are_whole() {
        let records: [&[u8]; 3] = [b"one", b"", b"three"];
        let whole = file(&records);
        let ends: Vec<usize> = (0..=3).map(|n| file(&records[..n]).len()).collect();
        for cut in MAGIC_LEN..=whole.len() {
            let mut read = Records::new(&whole[..cut], MAGIC).unwrap();
            let got: Vec<&[u8]> = read.by_ref().collect();
            let expected = ends.iter().rposition(|end| *end <= cut).unwrap();
            assert_eq!(got, records[..expected]);
            assert_eq!(read.position(), ends[expected]);
            assert_eq!(read.torn(), cut != ends[expected]);
        }
    }

    #[test]
    fn a_changed_bit_anywhere_ends_the_reading() {
        let whole = file(&[b"one", b"two"]);
        for bit in MAGIC_LEN * 8..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let count = Records::new(&bytes, MAGIC).unwrap().count();
            assert_eq!(
                count,
                usize::from(bit / 8 >= file(&[b"one"]).len()),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn zeros_and_absurd_lengths_are_no_records() {
        let zeros = [MAGIC.as_slice(), &[0; 64]].concat();
        assert_eq!(Records::new(&zeros, MAGIC).unwrap().count(), 0);
        let huge = [MAGIC.as_slice(), &[0xff; 64]].concat();
        assert_eq!(Records::new(&huge, MAGIC).unwrap().count(), 0);
        assert!(Records::new(b"another file", MAGIC).is_none());
    }
}
