//! The messages between the lab's processes: JSON, one message per line, over a Unix stream socket.
//!
//! The program that made the lab sends [`Command`]s to the switch. The switch forwards those for a
//! host to the host's process 1, and copies the messages of hosts without parsing them.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::types::{MacAddr, Timestamp, VirtualAddress};

/// One host of the lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSpec {
    /// Its name in the lab.
    pub name: String,
    /// Its host name after it is switched on.
    pub hostname: String,
    /// The addresses of its `eth0` after it is switched on.
    pub addresses: Vec<VirtualAddress>,
    /// The gateway of its default route after it is switched on; `None`: it has no such route.
    pub gateway: Option<IpAddr>,
}

impl HostSpec {
    /// A host whose host name is its name in the lab, and that has no default route.
    #[must_use]
    pub fn new(name: &str, addresses: &[VirtualAddress]) -> Self {
        Self {
            name: name.to_owned(),
            hostname: name.to_owned(),
            addresses: addresses.to_vec(),
            gateway: None,
        }
    }
}

/// A fault of the network between one host and the others. Faults are applied in the switch,
/// because a packet socket in the host would see a frame before any filter there drops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The cable is unplugged: the host notices that its carrier is gone.
    Unplugged,
    /// Nothing passes in either direction, but the carrier stays. Ending it also ends
    /// [`Self::Isolated`] and [`Self::Deaf`].
    Silent,
    /// The host can reach and hear only hosts that are not isolated themselves: a partition of all
    /// isolated hosts from each other, which the others do not notice.
    Isolated,
    /// The host sends, but hears no broadcast, no multicast and no frame to an address that the
    /// switch has not learned: a one-way cut, as far as CARP goes.
    Deaf,
    /// The host hears, but nothing of what it sends arrives: a one-way cut in the other direction.
    Mute,
    /// This many of a hundred frames are lost, in each direction, at random.
    Lossy(u8),
}

/// The commands of the program that made the lab.
#[expect(missing_docs, reason = "the fields' names say it all")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Starts a host.
    PowerOn { spec: HostSpec },
    /// Ends a host as a power cut does.
    PowerOff { host: String },
    /// Sets or ends a fault.
    Fault {
        host: String,
        fault: Fault,
        on: bool,
    },
    /// A command for the host's process 1.
    Host { host: String, command: HostCommand },
}

/// What a host's process 1 can do.
#[expect(missing_docs, reason = "the fields' names say it all")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum HostCommand {
    /// Sets up the interfaces after the switch has created them.
    Configure {
        addresses: Vec<VirtualAddress>,
        gateway: Option<IpAddr>,
    },
    /// Starts a process; `process` is the number that the program that made the lab gave it.
    Spawn {
        process: u64,
        argv: Vec<String>,
        env: BTreeMap<String, String>,
    },
    /// Sends a signal to a process that was spawned and has not ended.
    Signal { process: u64, signal: i32 },
    /// Sends a signal to processes of the host, by their numbers there: first to all of them, then
    /// checks whether that worked.
    Kill { pids: Vec<i32>, signal: i32 },
    /// Writes a file in the host's own file systems, and creates its directories.
    Write {
        path: String,
        mode: u32,
        content: String,
    },
    /// Reads a file.
    Read { path: String },
    /// Sets `eth0` up or down, as an administrator would.
    Link { up: bool },
    /// Changes an address of `eth0`, as an administrator would.
    Address {
        address: VirtualAddress,
        present: bool,
    },
    /// Sends complete Ethernet frames on `eth0`, including forged ones.
    Send { frames: Vec<Vec<u8>> },
    /// Reports the present state of the host.
    Facts,
}

/// A command, and the number that its answer will have.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Request<C> {
    pub(super) id: u64,
    pub(super) command: C,
}

/// The messages that come back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Message {
    /// A step of setting up the lab failed; no more messages will come.
    Failed { step: String, errno: i32 },
    /// The switch is ready, or a host waits for its interface.
    Ready,
    /// The answer to a request.
    Answer {
        id: u64,
        answer: Result<Answer, String>,
    },
    /// Something happened.
    Event(Event),
}

/// The answer to a command that worked.
#[expect(missing_docs, reason = "the fields' names say it all")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// The process runs; this is its number inside the host.
    Spawned { pid: i32 },
    /// A file's text.
    Text(String),
    /// The state of the host.
    Facts(Facts),
}

/// The state of a host at one moment, read inside its namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its host name.
    pub hostname: String,
    /// The addresses of `eth0`, without link-local ones.
    pub addresses: Vec<VirtualAddress>,
    /// The routes of the main table, without those that the kernel added for an address.
    pub routes: Vec<FactRoute>,
    /// `eth0` has a carrier.
    pub carrier: bool,
    /// Hardware address of `eth0`.
    pub mac: MacAddr,
}

impl Facts {
    /// Does `eth0` have this address, whatever its prefix length?
    #[must_use]
    pub fn holds(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.ip == ip)
    }

    /// The gateway of the default route.
    #[must_use]
    pub fn gateway(&self) -> Option<IpAddr> {
        self.routes
            .iter()
            .find(|route| route.dst.is_none())
            .and_then(|route| route.via)
    }
}

/// One route of [`Facts`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactRoute {
    /// The network; `None` is the default route.
    pub dst: Option<VirtualAddress>,
    /// The gateway.
    pub via: Option<IpAddr>,
}

/// Something that happened in a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened, on `CLOCK_BOOTTIME`.
    pub at: Timestamp,
    /// The host.
    pub host: String,
    /// What happened.
    pub what: What,
}

/// The kinds of [`Event`].
#[expect(missing_docs, reason = "the fields' names say it all")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A process wrote a line.
    Line {
        process: u64,
        stream: Stream,
        text: String,
    },
    /// A process closed a stream: all its lines have been reported.
    Closed { process: u64, stream: Stream },
    /// A process ended.
    Exited { process: u64, status: Exit },
    /// The host runs.
    PoweredOn,
    /// The host is gone.
    PoweredOff,
}

/// One of a process's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Together with its host.
    PoweredOff,
}

impl Exit {
    /// Did it end with status 0?
    #[must_use]
    pub const fn success(self) -> bool {
        matches!(self, Self::Code(0))
    }

    /// As text.
    #[must_use]
    pub fn in_words(self) -> String {
        match self {
            Self::Code(code) => format!("exit status {code}"),
            Self::Signal(signal) => format!("killed by signal {signal}"),
            Self::PoweredOff => "switched off".to_owned(),
        }
    }
}

/// The longest line that a process of the lab may send; a longer one means that something else is
/// writing to the socket.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// Sends one message.
pub(super) fn send<T: Serialize>(mut socket: &UnixStream, message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// Sends one message when several threads send.
pub(super) fn send_shared<T: Serialize>(socket: &Mutex<UnixStream>, message: &T) -> io::Result<()> {
    send(
        &socket.lock().unwrap_or_else(PoisonError::into_inner),
        message,
    )
}

/// Receives one message; `None`: the other end has closed the socket.
pub(super) fn receive<T: DeserializeOwned>(reader: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = String::new();
    io::Read::take(reader, LINE_BYTES_MAX).read_line(&mut line)?;
    if line.is_empty() {
        Ok(None)
    } else {
        Ok(Some(serde_json::from_str(&line)?))
    }
}
