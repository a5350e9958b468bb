//! The messages between carpd nodes besides CARP: a master asks who is there, and its backups
//! answer.
//!
//! They have the 36 bytes of an advertisement, with a version that is not CARP's, so that all other
//! nodes drop them.

use super::{AUTHLEN, LEN, checksum};
use crate::proto::auth::DIGEST_LEN;
use crate::types::Demotion;

/// Used in place of CARP's version. VRRP has 2 and 3.
pub(super) const VERSION: u8 = 12;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// A master: who is there?
    Call,
    /// A backup: I am.
    Answer,
}

/// The decoded 36 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollCall {
    /// Who speaks.
    pub word: Word,
    /// The virtual host id, unchecked.
    pub vhid: u8,
    /// How unfit the sender is.
    pub demotion: Demotion,
    /// In a call, the next counter of the sender's advertisements; in an answer, the counter of the
    /// call.
    pub counter: u64,
    /// HMAC-SHA1, as that of an advertisement with this counter.
    pub digest: [u8; DIGEST_LEN],
}

impl RollCall {
    /// Decodes the first 36 bytes, if they are a roll-call message. The caller must check checksum
    /// and digest.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let &[
            first,
            vhid,
            _,
            _,
            demotion,
            _,
            _,
            _,
            c0,
            c1,
            c2,
            c3,
            c4,
            c5,
            c6,
            c7,
            ref digest @ ..,
        ] = payload.first_chunk::<LEN>()?;
        let word = match (first >> 4, first & 0xf) {
            (VERSION, 1) => Word::Call,
            (VERSION, 2) => Word::Answer,
            _ => return None,
        };
        let counter = u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]);
        Some(Self {
            word,
            vhid,
            demotion: Demotion::new(demotion),
            counter,
            digest: *digest,
        })
    }

    /// Encodes it with its checksum.
    #[must_use]
    pub fn encode(&self) -> [u8; LEN] {
        let word = match self.word {
            Word::Call => 1,
            Word::Answer => 2,
        };
        let head = [
            VERSION << 4 | word,
            self.vhid,
            0,
            AUTHLEN,
            self.demotion.get(),
            0,
            0,
            0,
        ];
        let mut bytes = [0; LEN];
        for (to, from) in bytes.iter_mut().zip(
            head.into_iter()
                .chain(self.counter.to_be_bytes())
                .chain(self.digest),
        ) {
            *to = from;
        }
        [bytes[6], bytes[7]] = checksum(&bytes).to_be_bytes();
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::{Advertisement, Reject, is_intact, peek_vhid};

    #[test]
    fn a_word_comes_back_and_is_no_advertisement() {
        for word in [Word::Call, Word::Answer] {
            let said = RollCall {
                word,
                vhid: 40,
                demotion: Demotion::new(7),
                counter: 1 << 40 | 3,
                digest: [9; DIGEST_LEN],
            };
            let bytes = said.encode();
            assert_eq!(RollCall::decode(&bytes), Some(said));
            assert!(is_intact(
                &bytes,
                "10.0.0.1".parse().unwrap(),
                "224.0.0.18".parse().unwrap()
            ));
            assert_eq!(
                (Advertisement::decode(&bytes), peek_vhid(&bytes)),
                (Err(Reject::Version(VERSION)), Some(40))
            );
            assert_eq!(RollCall::decode(&bytes[..LEN - 1]), None);
        }
        let mut other = RollCall {
            word: Word::Call,
            vhid: 1,
            demotion: Demotion::NONE,
            counter: 1,
            digest: [0; DIGEST_LEN],
        }
        .encode();
        for first in (0..=255).filter(|first| ![0xc1, 0xc2].contains(first)) {
            other[0] = first;
            assert_eq!(RollCall::decode(&other), None, "{first:#x}");
        }
    }
}
