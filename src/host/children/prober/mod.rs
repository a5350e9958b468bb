//! Probers: processes that look at what tracks of this host follow, again and again, and tell the
//! engine what they find. See docs/adr/0051-probers.md.
//!
//! There is one for each user that the configuration names, which it becomes before it looks at
//! anything. What it looks at it reads from the configuration itself; the engine asks for nothing.

pub(super) mod command;
mod file;
mod leftovers;
mod process;
pub mod remote;
mod route;
mod running;
mod service;
mod teller;

use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::time::timeout;

pub use process::main;
pub use teller::Teller;

use crate::frame::{self, FrameError, Inbox};
use crate::host::services::manager::ServiceBackend;
use crate::types::{IfName, Name};

/// The argument that makes the daemon's program a prober.
pub const ROLE: &str = "__prober";

/// The largest message.
const MESSAGE_MAX: usize = 16 << 10;

/// How often a prober says that it is alive.
pub const ALIVE_EVERY: Duration = Duration::from_secs(2);

/// One that says nothing for this long hangs.
const SILENT_MAX: Duration = Duration::from_secs(10);

/// What is kept of the output of a command that fails, in bytes: its end.
pub(in crate::host) const OUTPUT_MAX: usize = 1 << 10;

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// For which track.
    pub track: Name,
    /// What it is.
    pub what: What,
    /// From the start of one look to that of the next.
    pub interval: Duration,
    /// For one look.
    pub timeout: Duration,
    /// The same finding counts so many times at most; more often it need not be told.
    pub counts: u32,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The number in this file.
    File(PathBuf),
    /// The exit status of a program.
    Command {
        /// It and its arguments.
        argv: Vec<String>,
        /// What is added to its environment.
        environment: Vec<(String, String)>,
    },
    /// Whether a program of this name is running.
    Process(String),
    /// Whether a service is active.
    Service {
        /// Its name.
        unit: String,
        /// Who starts services here; `None`: what is found.
        backend: Option<ServiceBackend>,
    },
    /// Whether and how packets would be sent to an address.
    Route {
        /// This one.
        to: IpAddr,
        /// Only through this gateway.
        via: Option<IpAddr>,
        /// Only through this interface.
        dev: Option<IfName>,
    },
    /// Nothing, for this reason.
    Refused(String),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// All is well.
    Well,
    /// It is not, or that cannot be known.
    Bad {
        /// Why, in a line.
        reason: String,
        /// The end of what a command wrote, in lines.
        output: String,
    },
    /// The number in a file. 0: all is well.
    Number(u8),
}

impl Finding {
    /// Not well, for this reason.
    #[must_use]
    pub fn bad(reason: impl Into<String>) -> Self {
        Self::Bad {
            reason: reason.into(),
            output: String::new(),
        }
    }
}

/// From a prober.
#[derive(Debug, Serialize, Deserialize)]
enum Told {
    /// It works.
    Alive,
    /// It looked.
    Found { track: Name, finding: Finding },
}

/// The engine's end of a prober's socket. Dropping it ends the prober.
#[derive(Debug)]
pub struct ProberClient {
    stream: UnixStream,
    inbox: Inbox,
}

impl ProberClient {
    /// The socket whose other end is the prober's standard input. Must be called inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// The runtime cannot watch the socket.
    pub fn new(stream: StdStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: UnixStream::from_std(stream)?,
            inbox: Inbox::default(),
        })
    }

    /// Tells a net prober what to ask.
    ///
    /// # Errors
    /// It has gone, or there is too much to ask.
    pub async fn order(&mut self, order: &remote::Order) -> io::Result<()> {
        let bytes = remote::encoded(order)?;
        self.stream.write_all(&bytes).await
    }

    /// The next finding. May be given up halfway.
    ///
    /// # Errors
    /// Why there will be no more.
    pub async fn next(&mut self) -> Result<(Name, Finding), String> {
        loop {
            let told = frame::next(&mut self.stream, &mut self.inbox, MESSAGE_MAX);
            match timeout(SILENT_MAX, told).await {
                Ok(Ok(Told::Alive)) => {}
                Ok(Ok(Told::Found { track, finding })) => return Ok((track, finding)),
                Ok(Err(FrameError::Closed)) => return Err("it ended".to_owned()),
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err(format!("it was silent for {} s", SILENT_MAX.as_secs())),
            }
        }
    }
}
