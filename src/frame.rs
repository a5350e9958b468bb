//! Frames on every stream between our own processes: a length of 4 bytes, little-endian, then that
//! many bytes of postcard. The length is checked before anything is kept.
//!
//! Only the keeper's socket needs none: it keeps messages apart by itself.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes of the length.
pub const HEAD: usize = 4;

/// Room that an empty inbox keeps for the next frame, in bytes: one large frame must not stay in
/// memory for good.
const KEPT: usize = 64 << 10;

/// What is read at one time, in bytes.
const CHUNK: usize = 4 << 10;

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
    #[error("a message is invalid: {0}")]
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
    let mut bytes = postcard::to_extend(message, vec![0; HEAD])?;
    let length = bytes.len() - HEAD;
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

impl From<FrameError> for io::Error {
    fn from(err: FrameError) -> Self {
        let kind = match err {
            FrameError::Io(err) => return err,
            FrameError::Closed | FrameError::Truncated => io::ErrorKind::UnexpectedEof,
            FrameError::TooLarge { .. } | FrameError::Garbage(_) => io::ErrorKind::InvalidData,
        };
        Self::new(kind, err)
    }
}

impl Inbox {
    /// Takes what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes what was read, of which nothing is the end of the stream.
    fn take(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        match bytes {
            [] if self.is_within_frame() => Err(FrameError::Truncated),
            [] => Err(FrameError::Closed),
            bytes => {
                self.push(bytes);
                Ok(())
            }
        }
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
        let Some((header, rest)) = self.bytes.split_first_chunk() else {
            return Ok(None);
        };
        let length = length(*header, limit)?;
        let Some(frame) = rest.get(..length) else {
            return Ok(None);
        };
        let message = decode(frame)?;
        self.bytes.drain(..HEAD + length);
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        Ok(Some(message))
    }
}

/// How many bytes come after these.
///
/// # Errors
/// [`FrameError::TooLarge`].
pub fn length(head: [u8; HEAD], limit: usize) -> Result<usize, FrameError> {
    let length = usize::try_from(u32::from_le_bytes(head)).unwrap_or(usize::MAX);
    if length > limit {
        return Err(FrameError::TooLarge { length, limit });
    }
    Ok(length)
}

/// A message from the bytes of exactly one frame, without its length.
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
    let mut chunk = [0; CHUNK];
    loop {
        if let Some(message) = inbox.next(limit)? {
            return Ok(message);
        }
        match from.read(&mut chunk) {
            Ok(n) => inbox.take(chunk.get(..n).unwrap_or_default())?,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err.into()),
        }
    }
}

/// The next message. May be given up halfway: what was read stays in the inbox.
///
/// # Errors
/// See [`FrameError`].
pub async fn next<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    inbox: &mut Inbox,
    limit: usize,
) -> Result<T, FrameError> {
    let mut chunk = [0; CHUNK];
    loop {
        if let Some(message) = inbox.next(limit)? {
            return Ok(message);
        }
        let n = from.read(&mut chunk).await?;
        inbox.take(chunk.get(..n).unwrap_or_default())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 100;

    #[test]
    fn a_message_survives_any_cut() {
        let bytes = encode(&"a message", LIMIT).unwrap();
        for cut in 0..bytes.len() {
            let mut inbox = Inbox::default();
            inbox.push(&bytes[..cut]);
            assert_eq!(inbox.next::<String>(LIMIT).unwrap(), None);
            inbox.push(&bytes[cut..]);
            assert_eq!(
                inbox.next::<String>(LIMIT).unwrap().as_deref(),
                Some("a message")
            );
            assert!(!inbox.is_within_frame());
        }
    }

    /// What blocks and what waits read alike.
    #[tokio::test]
    async fn the_end_is_told_from_a_cut_and_from_what_makes_no_sense() {
        async fn read(bytes: &[u8]) -> Result<u8, FrameError> {
            let waited = next::<u8>(&mut &*bytes, &mut Inbox::default(), LIMIT).await;
            let blocked = receive::<u8>(bytes, &mut Inbox::default(), LIMIT);
            assert_eq!(format!("{waited:?}"), format!("{blocked:?}"));
            waited
        }
        assert!(matches!(read(&[]).await, Err(FrameError::Closed)));
        assert!(matches!(read(&[1, 0, 0]).await, Err(FrameError::Truncated)));
        assert!(matches!(
            read(&[1, 0, 0, 0]).await,
            Err(FrameError::Truncated)
        ));
        assert!(matches!(
            read(&[101, 0, 0, 0]).await,
            Err(FrameError::TooLarge {
                length: 101,
                limit: LIMIT
            })
        ));
        // A byte too many within the frame.
        assert!(matches!(
            read(&[2, 0, 0, 0, 7, 7]).await,
            Err(FrameError::Garbage(_))
        ));
        assert_eq!(read(&[1, 0, 0, 0, 7]).await.unwrap(), 7);
        assert!(matches!(
            encode(&[0_u8; LIMIT + 1].as_slice(), LIMIT),
            Err(FrameError::TooLarge { .. })
        ));
    }
}
