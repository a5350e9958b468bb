//! Frames on the socket between engine and runner: a length of 4 bytes, little-endian, then that
//! many bytes of postcard. The length is checked before anything is kept.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest frame to a runner, in bytes: a hook with all its modules, or with the code that it
/// was compiled to.
pub const MAX_TO_RUNNER: usize = 32 << 20;

/// The largest frame from a runner, in bytes.
pub const MAX_FROM_RUNNER: usize = 4 << 20;

/// Room that an empty inbox keeps for the next frame, in bytes: one large frame must not stay in
/// memory for good.
const KEPT: usize = 64 << 10;

/// Why a frame could not be sent or understood.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other end closed the socket between two frames.
    #[error("the other end closed the socket")]
    Closed,
    /// It closed the socket within a frame.
    #[error("the other end closed the socket within a message")]
    Truncated,
    /// A frame is larger than allowed.
    #[error("a message of {length} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// What it said or has.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The bytes are no such message.
    #[error("a message makes no sense: {0}")]
    Garbage(#[from] postcard::Error),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A message as it goes over the socket.
///
/// # Errors
/// [`FrameError::TooLarge`], or [`FrameError::Garbage`] if it cannot be written as postcard.
pub fn encode<T: Serialize>(message: &T, limit: usize) -> Result<Vec<u8>, FrameError> {
    let mut bytes = postcard::to_extend(message, vec![0; 4])?;
    let length = bytes.len() - 4;
    match (u32::try_from(length), bytes.first_chunk_mut()) {
        (Ok(header), Some(place)) if length <= limit => *place = header.to_le_bytes(),
        _ => return Err(FrameError::TooLarge { length, limit }),
    }
    Ok(bytes)
}

/// Bytes as they come, cut into frames. Nothing is lost if a read is given up halfway.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// Takes what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Is a frame half here?
    #[must_use]
    pub const fn is_within_frame(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The next message, if all of it is here.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] as soon as the length is known, [`FrameError::Garbage`].
    pub fn next<T: DeserializeOwned>(&mut self, limit: usize) -> Result<Option<T>, FrameError> {
        let Some((header, rest)) = self.bytes.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
        if length > limit {
            return Err(FrameError::TooLarge { length, limit });
        }
        let Some(frame) = rest.get(..length) else {
            return Ok(None);
        };
        let message = decode(frame)?;
        self.bytes.drain(..4 + length);
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        Ok(Some(message))
    }
}

/// A message from the bytes of exactly one frame.
///
/// # Errors
/// [`FrameError::Garbage`], also if bytes are left over.
pub fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, FrameError> {
    let (message, rest) = postcard::take_from_bytes(frame)?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(FrameError::Garbage(postcard::Error::DeserializeBadEncoding))
    }
}

/// Sends one message and waits until it is gone.
///
/// # Errors
/// See [`FrameError`].
pub fn send<T: Serialize>(mut to: impl Write, message: &T, limit: usize) -> Result<(), FrameError> {
    Ok(to.write_all(&encode(message, limit)?)?)
}

/// Waits for one message.
///
/// # Errors
/// See [`FrameError`].
pub fn receive<T: DeserializeOwned>(
    mut from: impl Read,
    inbox: &mut Inbox,
    limit: usize,
) -> Result<T, FrameError> {
    let mut chunk = [0; 16 << 10];
    loop {
        if let Some(message) = inbox.next(limit)? {
            return Ok(message);
        }
        match from.read(&mut chunk) {
            Ok(0) if inbox.is_within_frame() => return Err(FrameError::Truncated),
            Ok(0) => return Err(FrameError::Closed),
            Ok(n) => inbox.push(chunk.get(..n).unwrap_or_default()),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hooks::message::{FromRunner, ToRunner};
    use crate::hooks::{Answer, Ask};

    fn ask() -> FromRunner {
        FromRunner::Ask(Ask::StateGet {
            key: "k".repeat(100),
        })
    }

    #[test]
    fn a_message_survives_any_cut() {
        let bytes = encode(&ask(), MAX_FROM_RUNNER).unwrap();
        for cut in 0..bytes.len() {
            let mut inbox = Inbox::default();
            inbox.push(&bytes[..cut]);
            assert!(inbox.next::<FromRunner>(MAX_FROM_RUNNER).unwrap().is_none());
            inbox.push(&bytes[cut..]);
            assert_eq!(
                inbox.next::<FromRunner>(MAX_FROM_RUNNER).unwrap(),
                Some(ask())
            );
            assert!(!inbox.is_within_frame());
        }
    }

    #[test]
    fn truncated_oversized_and_garbage_are_told_apart() {
        let bytes = encode(&ask(), MAX_FROM_RUNNER).unwrap();
        let read =
            |bytes: &[u8]| receive::<FromRunner>(bytes, &mut Inbox::default(), MAX_FROM_RUNNER);
        assert!(matches!(read(&[]), Err(FrameError::Closed)));
        assert!(matches!(
            read(&bytes[..bytes.len() - 1]),
            Err(FrameError::Truncated)
        ));
        assert!(matches!(
            read(&[0xff; 4]),
            Err(FrameError::TooLarge {
                length: 0xffff_ffff,
                limit: MAX_FROM_RUNNER
            })
        ));
        assert!(matches!(
            read(&[1, 0, 0, 0, 99]),
            Err(FrameError::Garbage(_))
        ));
        let mut long = encode(&ask(), MAX_FROM_RUNNER).unwrap();
        long.push(0);
        long[0] += 1;
        assert!(matches!(read(&long), Err(FrameError::Garbage(_))));
        assert!(matches!(
            encode(&ask(), 10),
            Err(FrameError::TooLarge { .. })
        ));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<FromRunner>(&bytes);
            let _ = decode::<ToRunner>(&bytes);
            let mut inbox = Inbox::default();
            inbox.push(&bytes);
            while let Ok(Some(_)) = inbox.next::<FromRunner>(MAX_FROM_RUNNER) {}
        }

        #[test]
        fn a_flipped_bit_never_panics(at in 0usize..100, bit in 0u8..8) {
            let mut bytes = encode(&ToRunner::Answer(Answer::State(Some(vec![7; 90]))), MAX_TO_RUNNER).unwrap();
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= 1 << bit;
            let _ = receive::<ToRunner>(bytes.as_slice(), &mut Inbox::default(), MAX_TO_RUNNER);
        }
    }
}
