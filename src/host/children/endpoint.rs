//! The HTTP endpoint's process: it answers whoever asks over HTTP how the daemon is. Its program is
//! `carpd-worker`, since it reads what anybody may send. See docs/adr/0062-an-endpoint-without-rights.md.
//!
//! It gets a socket that listens already, and asks the engine for what it shows.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::MsgFlags;
use serde::{Deserialize, Serialize};

use super::descriptors;
use crate::frame::{self, FrameError, HEAD, Inbox};
use crate::types::Timestamp;

/// The argument that makes the worker an endpoint.
pub const ROLE: &str = "__endpoint";

/// What is shown is at most this old. The engine's loop comes round as often, so it is asked for
/// everything at most once in this time, however many clients there are.
pub const HEARTBEAT: Duration = Duration::from_millis(500);

/// The largest message from the engine: more than the status of all virtual hosts that there can
/// be.
pub const ANSWER_MAX: usize = 64 << 20;

/// The largest message to the engine.
pub const ASK_MAX: usize = 1 << 10;

/// To the endpoint, once; the socket comes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Refuse to answer anybody without a full sandbox.
    pub confined: bool,
    /// Is it a unix socket? Otherwise it is TCP.
    pub unix: bool,
    /// This node's name.
    pub node: String,
}

/// From the endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// For [`Content::Status`].
    Status,
    /// For [`Content::Metrics`].
    Metrics,
    /// It cannot work: why.
    Cannot(String),
}

/// From the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Nothing of it is older.
    pub at: Timestamp,
    /// The answer itself.
    pub content: Content,
}

/// What the engine answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// The status, as JSON.
    Status(String),
    /// The metrics, as OpenMetrics text.
    Metrics(String),
}

/// Sends the order and the socket.
///
/// # Errors
/// The endpoint is gone.
pub fn send(
    stream: &UnixStream,
    order: &Order,
    listener: BorrowedFd<'_>,
) -> Result<(), FrameError> {
    let bytes = frame::encode(order, ASK_MAX)?;
    let sent = descriptors::send(stream, &bytes, Some(listener), MsgFlags::empty())?;
    if sent < bytes.len() {
        // A new socket has room for so little.
        return Err(FrameError::Truncated);
    }
    Ok(())
}

/// Receives the order and the socket.
///
/// # Errors
/// There is none, or the engine is gone.
pub fn receive(stream: impl AsFd) -> Result<(Order, OwnedFd), FrameError> {
    let mut buffer = [0; HEAD + ASK_MAX];
    let (length, listener) = descriptors::receive(stream, &mut buffer, MsgFlags::empty())?;
    let mut inbox = Inbox::default();
    inbox.push(buffer.get(..length).unwrap_or_default());
    let order = inbox.next(ASK_MAX)?.ok_or(FrameError::Truncated)?;
    let listener = listener.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok((order, listener))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_brings_the_socket() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let order = Order {
            confined: true,
            unix: false,
            node: "n".repeat(255),
        };
        send(&ours, &order, listener.as_fd()).unwrap();
        let (received, socket) = receive(&theirs).unwrap();
        assert_eq!(received, order);
        let socket = std::net::TcpListener::from(socket);
        assert_eq!(socket.local_addr().unwrap(), listener.local_addr().unwrap());
        drop(ours);
        assert!(receive(&theirs).is_err());
    }
}
