//! The operator's end.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Order, Reply, Request, Response, VERSION};

/// A daemon that runs answers in milliseconds; a reload waits for its hooks to load.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer in bytes: the status of a few thousand virtual hosts.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Why an order could not be given.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there.
    #[error("no carpd answers at {}: {source}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The answer makes no sense.
    #[error("could not understand the daemon's answer: {0}")]
    Garbled(String),
    /// The daemon refused, in its words.
    #[error("{0}")]
    Refused(String),
}

/// Gives one order and waits for its answer.
///
/// # Errors
/// See [`CallError`].
pub fn call(path: &Path, order: Order) -> Result<Reply, CallError> {
    let unreachable = |source| CallError::Unreachable { path: path.to_owned(), source };
    let garbled = |error: serde_json::Error| CallError::Garbled(error.to_string());
    let mut stream = UnixStream::connect(path).map_err(unreachable)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(unreachable)?;
    let request = serde_json::to_string(&Request { version: VERSION, order }).map_err(garbled)?;
    stream.write_all(format!("{request}\n").as_bytes()).map_err(unreachable)?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).map_err(unreachable)?;
    let response: Response = serde_json::from_str(&answer).map_err(garbled)?;
    response.answer.map_err(CallError::Refused)
}
