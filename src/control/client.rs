//! The operator's end.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};
use socket2::{Domain, SockAddr, Socket, Type};

use super::condition::{Daemon, Trouble};
use super::{Order, Reply, Request, Response, VERSION};
use crate::process::Patience;

/// A daemon that runs answers in milliseconds; a reload waits for its hooks to load.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a daemon that has not answered is checked.
const LOOK: Duration = Duration::from_millis(100);
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
    /// There is a daemon, and it does not answer.
    #[error("the daemon does not answer: {}", .0.message)]
    Silent(Trouble),
    /// The connection ended before the answer did.
    #[error("the daemon did not finish its answer: {}", .0.message)]
    Cut(Trouble),
    /// The answer makes no sense.
    #[error("could not understand the daemon's answer: {0}")]
    Garbled(String),
    /// The daemon refused, in its words.
    #[error("{0}")]
    Refused(String),
}

/// How long a daemon that is being started may take until it listens.
const BEGINNING: Duration = Duration::from_secs(10);
/// Between two looks at whether it does.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Waits for a daemon that is being started: whether it listens.
#[must_use]
pub fn begins(path: &Path) -> bool {
    let patience = Patience::of(BEGINNING);
    loop {
        if UnixStream::connect(path).is_ok() {
            return true;
        }
        if patience.left().is_zero() {
            return false;
        }
        patience.pause(LOOK_AGAIN);
    }
}

/// Gives one order and waits for its answer, as long as the daemon looks as if one would come.
///
/// # Errors
/// See [`CallError`].
pub fn call(path: &Path, order: Order) -> Result<Reply, CallError> {
    let instance_dir = path.parent().unwrap_or(path);
    let garbled = |error: serde_json::Error| CallError::Garbled(error.to_string());
    let afterwards = afterwards(&order);
    let request = serde_json::to_string(&Request {
        version: VERSION,
        order,
    })
    .map_err(garbled)?;
    // What it looks like says more than what the system says of its socket.
    let failed = |listener, source: io::Error| match Daemon::of(listener, instance_dir).trouble() {
        Some(trouble) => CallError::Silent(trouble),
        // Somebody listens, and what keeps him cannot be seen.
        None if source.kind() == io::ErrorKind::WouldBlock => {
            CallError::Silent(Trouble::unexplained())
        }
        None => CallError::Unreachable {
            path: path.to_owned(),
            source,
        },
    };
    let mut stream = connect(path).map_err(|source| failed(None, source))?;
    let listener = listener(&stream);
    let daemon = Daemon::of(listener, instance_dir);
    let answer = converse(&mut stream, &request, &daemon).map_err(|error| match error {
        Unanswered::Trouble(trouble) => CallError::Silent(trouble),
        Unanswered::Io(source) => failed(listener, source),
    })?;
    let response: Response = match serde_json::from_str(&answer) {
        Ok(response) => response,
        Err(error) if error.is_eof() => return Err(CallError::Cut(cut(&daemon, afterwards))),
        Err(error) => return Err(garbled(error)),
    };
    response.answer.map_err(CallError::Refused)
}

/// What to do if nothing is known of what came of an order.
fn afterwards(order: &Order) -> &'static str {
    match order {
        Order::Status
        | Order::Peers(_)
        | Order::Metrics
        | Order::HookPlan(_)
        | Order::NotifyTest(_) => "ask again in a moment",
        Order::Reload | Order::ForceReload => {
            "it is not known whether the reload was done: run it again in a moment; it reloads what is new, or says `nothing to change`"
        }
        Order::HookRollback(_)
        | Order::HookApply(_)
        | Order::Undemote(_)
        | Order::Promote(_)
        | Order::Demote(_)
        | Order::MaintenanceOn(_)
        | Order::MaintenanceOff(_)
        | Order::Resign { .. } => "it is not known whether it was done: see `carpd status`",
    }
}

/// Why a connection ended in the middle of an answer.
fn cut(daemon: &Daemon, afterwards: &str) -> Trouble {
    let message = daemon.trouble().map_or_else(
        || "it closed the connection".to_owned(),
        |trouble| trouble.message,
    );
    Trouble {
        message,
        hint: afterwards.to_owned(),
    }
}

/// Connects without waiting: if the daemon's queue is full of clients that were not served, this is
/// `WouldBlock`.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(std::os::fd::OwnedFd::from(socket).into())
}

/// The process that listens; `None` if it lives in a process namespace that we cannot see.
fn listener(stream: &UnixStream) -> Option<u32> {
    let peer = getsockopt(stream, sockopt::PeerCredentials).ok()?;
    u32::try_from(peer.pid()).ok().filter(|pid| *pid != 0)
}

enum Unanswered {
    Trouble(Trouble),
    Io(io::Error),
}

impl From<io::Error> for Unanswered {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn converse(stream: &mut UnixStream, request: &str, daemon: &Daemon) -> Result<String, Unanswered> {
    stream.write_all(format!("{request}\n").as_bytes())?;
    let patience = Patience::of(PATIENCE);
    let mut answer = Vec::new();
    let mut bounded = stream.take(ANSWER_BYTES_MAX);
    loop {
        // What it read until a timeout stays in `answer`.
        match bounded.read_to_end(&mut answer) {
            Ok(_) => return Ok(String::from_utf8_lossy(&answer).into_owned()),
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && !patience.left().is_zero() =>
            {
                if let Some(trouble) = daemon.trouble() {
                    return Err(Unanswered::Trouble(trouble));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_dies_during_an_order_is_named_and_so_is_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let daemon = std::thread::spawn(move || {
            for part in ["", "{\"version\":1,\"ans"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).unwrap() > 0);
                stream.write_all(part.as_bytes()).unwrap();
            }
        });
        for _ in 0..2 {
            let error = call(&path, Order::Reload).unwrap_err();
            let text = error.to_string();
            let CallError::Cut(trouble) = error else {
                panic!("{error:?}");
            };
            assert!(text.contains("did not finish its answer"), "{text}");
            assert!(trouble.hint.contains("nothing to change"), "{trouble:?}");
        }
        daemon.join().unwrap();
    }

    #[test]
    fn who_listens_and_answers_nobody_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let waiting: Vec<_> = std::iter::from_fn(|| connect(&path).ok())
            .take(100)
            .collect();
        assert!((1..100).contains(&waiting.len()), "the queue has an end");
        let error = call(&path, Order::Metrics).unwrap_err();
        assert!(
            error.to_string().contains("it looks fine from here"),
            "{error}"
        );
        drop(listener);
        let error = call(&path, Order::Metrics).unwrap_err();
        assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    }
}
