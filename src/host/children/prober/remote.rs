//! The net prober: one process for everything that is asked over the network. It is in
//! `carpd-worker`, since it reads what servers answer.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Finding, MESSAGE_MAX, Told};
use crate::effect::{Endpoint, Url};
use crate::frame::{self, FrameError, Inbox};
use crate::types::{Name, Timestamp};

/// The argument that makes the worker a net prober.
pub const ROLE: &str = "__net-prober";

/// The largest order: so many tracks are more than there are.
const ORDER_MAX: usize = 8 << 20;

/// To the net prober, once.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// Refuse to ask anything without a full sandbox.
    pub confined: bool,
    /// What it asks.
    pub jobs: Vec<RemoteJob>,
}

/// Something to ask again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteJob {
    /// For which track.
    pub track: Name,
    /// What it is.
    pub ask: Ask,
    /// From the start of one attempt to that of the next.
    pub interval: Duration,
    /// For one attempt.
    pub timeout: Duration,
    /// As of [`super::Job`].
    pub counts: u32,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// A connection.
    Connect(Endpoint),
    /// The status of a page.
    Get {
        /// Its address.
        url: Url,
        /// The first and the last of each range that is good.
        good: Vec<(u16, u16)>,
    },
    /// An echo, of a name or an address.
    Echo(String),
}

impl Ask {
    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Connect(endpoint) => Some(endpoint.port()),
            Self::Get { url, .. } => Some(url.endpoint().port()),
            Self::Echo(_) => None,
        }
    }
}

/// The net prober's end of its socket. Blocking.
#[derive(Debug)]
pub struct Outlet(UnixStream);

impl Outlet {
    /// Takes the order, which comes first.
    ///
    /// # Errors
    /// It is not one, or the engine has gone.
    pub fn open(stream: UnixStream) -> Result<(Self, Order), FrameError> {
        let order = frame::receive(&stream, &mut Inbox::default(), ORDER_MAX)?;
        Ok((Self(stream), order))
    }

    /// Tells what was found.
    ///
    /// # Errors
    /// The engine has gone.
    pub fn found(&mut self, track: Name, finding: Finding) -> Result<(), FrameError> {
        self.tell(&Told::Found { track, finding })
    }

    /// Says that the process works.
    ///
    /// # Errors
    /// The engine has gone.
    pub fn alive(&mut self) -> Result<(), FrameError> {
        self.tell(&Told::Alive)
    }

    fn tell(&mut self, told: &Told) -> Result<(), FrameError> {
        Ok(self.0.write_all(&frame::encode(told, MESSAGE_MAX)?)?)
    }
}

/// An order as it goes over the socket.
pub(super) fn encoded(order: &Order) -> Result<Vec<u8>, FrameError> {
    frame::encode(order, ORDER_MAX)
}

/// When an attempt that began then is late: its own time, and a little for the answer to arrive.
#[must_use]
pub fn late_at(began: Timestamp, timeout: Duration) -> Timestamp {
    began + timeout + Duration::from_millis(20)
}
