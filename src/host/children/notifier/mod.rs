//! Notifiers: each runs one program once, to tell somebody what happened, reports how that went,
//! and ends. See docs/adr/0067-notifications.md.
//!
//! What it runs, and as whom, it reads from the configuration itself; the engine says only which
//! target is meant, and what the program gets to read.

mod process;

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

pub use process::main;

use crate::frame::{self, FrameError, Inbox};
use crate::types::Name;

/// The argument that makes the daemon's program a notifier.
pub const ROLE: &str = "__notifier";

/// Every variable that comes with a message begins like this: no other of the program's is for the
/// engine to choose.
pub const PREFIX: &str = "CARPD_";

/// The largest message.
const MESSAGE_MAX: usize = 192 << 10;

/// What a notifier runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// For which target.
    pub target: Name,
    /// As whom.
    pub user: String,
    /// The program, or why it is not run.
    pub argv: Result<Vec<String>, String>,
    /// What is added to its environment.
    pub environment: Vec<(String, String)>,
    /// How long it may take.
    pub timeout: Duration,
}

/// To a notifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// For which target; a notifier that reads another configuration says so.
    pub target: Name,
    /// What the program reads.
    pub input: Vec<u8>,
    /// What is added to its environment.
    pub variables: Vec<(String, String)>,
}

/// From a notifier: why it failed, if it did.
type Outcome = Result<(), String>;

/// Has the notifier at the other end of this socket deliver a letter. Dropping the future ends it
/// and what it has started.
///
/// # Errors
/// Why the letter was not delivered.
pub async fn deliver(stream: StdStream, letter: &Letter) -> Result<(), String> {
    match exchange(stream, letter).await {
        Ok(outcome) => outcome,
        Err(error) => Err(error.to_string()),
    }
}

async fn exchange(stream: StdStream, letter: &Letter) -> io::Result<Outcome> {
    stream.set_nonblocking(true)?;
    let mut stream = UnixStream::from_std(stream)?;
    let bytes = frame::encode(letter, MESSAGE_MAX)?;
    stream.write_all(&bytes).await?;
    let outcome = frame::next(&mut stream, &mut Inbox::default(), MESSAGE_MAX).await;
    outcome.map_err(|error| match error {
        FrameError::Closed | FrameError::Truncated => {
            io::Error::other("the notifier process ended without an answer")
        }
        error => io::Error::other(format!("the notifier process: {error}")),
    })
}
