//! HTTP workers: each makes one request of a hook, returns the answer, and ends.
//!
//! A server's answer is as untrusted as any packet, and the engine is privileged. So a separate
//! process talks to the server, which has no privileges and can reach only a name server and that
//! one port; it is in `carpd-worker`. It gets one message and sends one. To stop waiting is to kill
//! it, whatever it was doing. See docs/adr/0016-a-courier-for-each-request.md.

mod certificates;

use std::fmt;
use std::future::Future;
use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use certificates::certificates;

use crate::effect::outgoing::{BODY_MAX, HEADER_BYTES_MAX};
use crate::effect::{HttpResponse, OutgoingRequest, Reply};
use crate::frame::{self, FrameError, Inbox};
use crate::host::HostError;

/// The argument that makes the worker an HTTP worker.
pub const ROLE: &str = "__http-worker";

/// The argument after [`ROLE`] that makes it a daemon's: the file of certificates that its
/// configuration names follows, if it names one, and no other is read.
pub const OF_DAEMON: &str = "daemon";

/// The largest message: a body and all headers, with room for what is around them.
pub const MESSAGE_MAX: usize = BODY_MAX + 4 * HEADER_BYTES_MAX;

/// HTTP workers at one time; further requests wait, which counts against their own time.
const AT_ONCE: usize = 32;

/// The additional time that an HTTP worker gets to report which step took too long.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// To the HTTP worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// Refuse to make the request without a full sandbox.
    pub confined: bool,
    /// What for.
    pub request: OutgoingRequest,
    /// How long it may take.
    pub limit: Duration,
    /// Certificates that are trusted in addition to the system's; a daemon's HTTP worker uses the
    /// keeper's argument instead.
    pub ca_file: Option<PathBuf>,
}

/// From the HTTP worker.
pub type Report = Result<Brought, HostError>;

/// What an HTTP worker reports.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Brought {
    /// An answer, whatever it says.
    Answer(HttpResponse),
    /// A connection, after so long.
    Connected(Duration),
}

/// An HTTP worker that has been started and waits for its order.
pub struct HttpWorker {
    stream: StdStream,
    dismiss: Option<Box<dyn FnOnce()>>,
}

impl HttpWorker {
    /// An HTTP worker at the other end of this socket; `dismiss` ends the process, and is called on
    /// drop.
    #[must_use]
    pub fn new(stream: StdStream, dismiss: impl FnOnce() + 'static) -> Self {
        Self {
            stream,
            dismiss: Some(Box::new(dismiss)),
        }
    }
}

impl fmt::Debug for HttpWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpWorker")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl Drop for HttpWorker {
    fn drop(&mut self) {
        if let Some(dismiss) = self.dismiss.take() {
            dismiss();
        }
    }
}

/// Starts an HTTP worker.
pub type Spawn = Rc<dyn Fn() -> Pin<Box<dyn Future<Output = io::Result<HttpWorker>>>>>;

/// Has requests made by HTTP workers.
#[derive(Clone)]
pub struct HttpWorkers {
    spawn: Spawn,
    confined: bool,
    ca_file: Option<PathBuf>,
    places: Rc<Semaphore>,
}

impl fmt::Debug for HttpWorkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpWorkers")
            .field("confined", &self.confined)
            .finish_non_exhaustive()
    }
}

impl HttpWorkers {
    /// That are started so; with `confined` only in a full sandbox.
    #[must_use]
    pub fn new(spawn: Spawn, confined: bool) -> Self {
        Self {
            spawn,
            confined,
            ca_file: None,
            places: Rc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// With the certificates in this PEM file, in addition to the system's. Each HTTP worker reads
    /// it again.
    #[must_use]
    pub fn with_ca_file(self, ca_file: Option<PathBuf>) -> Self {
        Self { ca_file, ..self }
    }

    /// Has a request made within `limit` and the request's own limit. Dropping the future ends the
    /// HTTP worker.
    ///
    /// # Errors
    /// [`HostError`]. Its first word is one of `name`, `refused`, `unreachable`, `timeout`, `tls`,
    /// `too-large`, `protocol`, `lost`, each with a number of errno(3).
    pub async fn send(
        &self,
        request: OutgoingRequest,
        limit: Duration,
    ) -> Result<Reply, HostError> {
        let limit = limit.min(Duration::from_millis(u64::from(request.timeout_ms())));
        let endpoint = request.endpoint();
        let late = |_| {
            Trouble::Timeout.error(
                &endpoint,
                &format!("no answer after {:.1} s", limit.as_secs_f64()),
            )
        };
        let lost = |err: io::Error| Trouble::Lost.error(&endpoint, &err.to_string());
        match timeout(limit + ANSWER_MARGIN, self.exchange(request, limit))
            .await
            .map_err(late)?
            .map_err(lost)??
        {
            Brought::Answer(answer) => Ok(Reply::Http(answer)),
            Brought::Connected(took) => Ok(Reply::Took(took)),
        }
    }

    async fn exchange(&self, request: OutgoingRequest, limit: Duration) -> io::Result<Report> {
        let _place = self.places.acquire().await.map_err(io::Error::other)?;
        let worker = (self.spawn)().await?;
        let stream = worker.stream.try_clone()?;
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream)?;
        let order = Order {
            confined: self.confined,
            request,
            limit,
            ca_file: self.ca_file.clone(),
        };
        stream
            .write_all(&frame::encode(&order, MESSAGE_MAX)?)
            .await?;
        let report = frame::next(&mut stream, &mut Inbox::default(), MESSAGE_MAX).await;
        report.map_err(|err| match err {
            FrameError::Closed | FrameError::Truncated => {
                io::Error::other("the HTTP worker ended without an answer")
            }
            err => io::Error::other(format!("the HTTP worker's answer cannot be read: {err}")),
        })
    }
}

/// What can go wrong on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The name cannot be looked up.
    Name,
    /// The connection was refused.
    Refused,
    /// There is no route to it.
    Unreachable,
    /// It took too long.
    Timeout,
    /// No connection that could be trusted.
    Tls,
    /// The answer is too large.
    TooLarge,
    /// The answer is not HTTP.
    Protocol,
    /// The connection, or the HTTP worker, ended early.
    Lost,
}

impl Trouble {
    const fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::TooLarge => "too-large",
            Self::Protocol => "protocol",
            Self::Lost => "lost",
        }
    }

    /// A number of errno(3) that a program can compare.
    const fn errno(self) -> i32 {
        match self {
            Self::Name => libc::ENOENT,
            Self::Refused => libc::ECONNREFUSED,
            Self::Unreachable => libc::EHOSTUNREACH,
            Self::Timeout => libc::ETIMEDOUT,
            Self::Tls => libc::EKEYREJECTED,
            Self::TooLarge => libc::EMSGSIZE,
            Self::Protocol => libc::EPROTO,
            Self::Lost => libc::EPIPE,
        }
    }

    /// The error that a hook gets to see.
    #[must_use]
    pub fn error(self, endpoint: &crate::effect::Endpoint, why: &str) -> HostError {
        HostError::errno(format!("{}: {endpoint}: {why}", self.word()), self.errno())
    }
}
