//! What the lab's processes say to each other: JSON, one message a line, over a Unix stream socket.
//!
//! The program that made the lab sends [`Command`]s to the switch. The switch passes those for a
//! host on to the host's process 1, and copies what hosts say back without looking at it.

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
    /// How the lab calls it.
    pub name: String,
    /// Its host name after power-on.
    pub hostname: String,
    /// Addresses of its `eth0` after power-on.
    pub addresses: Vec<VirtualAddress>,
    /// Gateway of its default route after power-on; `None`: it has no such route.
    pub gateway: Option<IpAddr>,
}

impl HostSpec {
    /// A host that is called by its name and has no default route.
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

/// A fault of the network between one host and the others. Faults are made in the switch, because a
/// packet socket in the host would see a frame before any filter there drops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The cable is out: the host sees that its carrier is gone.
    Unplugged,
    /// Nothing passes in either direction, and the carrier stays. Ends [`Self::Isolated`] and
    /// [`Self::Deaf`] with it.
    Silent,
    /// The host can reach and hear only hosts that are not isolated themselves: a partition of all
    /// isolated hosts from each other, which the others do not notice.
    Isolated,
    /// The host sends, but hears no broadcast, no multicast and no frame to an address that the
    /// switch has not learned: a one-way cut, as far as CARP goes.
    Deaf,
    /// The host hears, but nothing of what it sends arrives: a one-way cut in the other direction.
    Mute,
    /// Of a hundred frames so many are lost, in each direction, at random.
    Lossy(u8),
}

/// What the maker of the lab asks for.
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
    /// Something for the host's process 1.
    Host { host: String, command: HostCommand },
}

/// What a host's process 1 can do.
#[expect(missing_docs, reason = "the fields' names say it all")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum HostCommand {
    /// Sets up the interfaces once the switch has made them.
    Configure {
        addresses: Vec<VirtualAddress>,
        gateway: Option<IpAddr>,
    },
    /// Starts a process; `process` is the maker's number for it.
    Spawn {
        process: u64,
        argv: Vec<String>,
        env: BTreeMap<String, String>,
    },
    /// Sends a signal to a process that was spawned and has not ended.
    Signal { process: u64, signal: i32 },
    /// Sends a signal to processes of the host, by their numbers there: to all of them, then looks
    /// whether that worked.
    Kill { pids: Vec<i32>, signal: i32 },
    /// Writes a file in the host's own file systems, with its directories.
    Write {
        path: String,
        mode: u32,
        content: String,
    },
    /// Reads a file.
    Read { path: String },
    /// Sets `eth0` up or down, as its administrator.
    Link { up: bool },
    /// Changes an address of `eth0`, as its administrator.
    Address {
        address: VirtualAddress,
        present: bool,
    },
    /// Sends whole Ethernet frames by `eth0`, forged ones too.
    Send { frames: Vec<Vec<u8>> },
    /// Says what the host is now.
    Facts,
}

/// A command with the number that its answer will carry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Request<C> {
    pub(super) id: u64,
    pub(super) command: C,
}

/// What comes back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Message {
    /// A step towards the lab failed; nothing more will come.
    Failed { step: String, errno: i32 },
    /// The switch is there, or a host waits for its interface.
    Ready,
    /// To a request.
    Answer {
        id: u64,
        answer: Result<Answer, String>,
    },
    /// Something happened.
    Event(Event),
}

/// To a command that worked.
#[expect(missing_docs, reason = "the fields' names say it all")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// The process runs; the number is that inside the host.
    Spawned { pid: i32 },
    /// A file's text.
    Text(String),
    /// What the host is.
    Facts(Facts),
}

/// What a host is at one moment, read inside its namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its host name.
    pub hostname: String,
    /// Addresses of `eth0`, without link-local ones.
    pub addresses: Vec<VirtualAddress>,
    /// Routes of the main table, without those that the kernel made for an address.
    pub routes: Vec<FactRoute>,
    /// `eth0` has a carrier.
    pub carrier: bool,
    /// Hardware address of `eth0`.
    pub mac: MacAddr,
}

impl Facts {
    /// Does `eth0` hold this address, whatever its prefix length?
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
    /// When, on `CLOCK_BOOTTIME`.
    pub at: Timestamp,
    /// In which host.
    pub host: String,
    /// What.
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
    /// A process closed a stream: all its lines were told.
    Closed { process: u64, stream: Stream },
    /// A process ended.
    Exited { process: u64, status: Exit },
    /// The host runs.
    PoweredOn,
    /// The host is gone.
    PoweredOff,
}

/// Which of a process's two streams.
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
    /// With its host.
    PoweredOff,
}

impl Exit {
    /// Did it end with status 0?
    #[must_use]
    pub const fn success(self) -> bool {
        matches!(self, Self::Code(0))
    }

    /// As a person says it.
    #[must_use]
    pub fn in_words(self) -> String {
        match self {
            Self::Code(code) => format!("exit status {code}"),
            Self::Signal(signal) => format!("killed by signal {signal}"),
            Self::PoweredOff => "switched off".to_owned(),
        }
    }
}

/// Longest line that a process of the lab may send; more means that something else writes to the
/// socket.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// Sends one message.
pub(super) fn send<T: Serialize>(mut socket: &UnixStream, message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// Sends one message where several threads send.
pub(super) fn send_shared<T: Serialize>(socket: &Mutex<UnixStream>, message: &T) -> io::Result<()> {
    send(
        &socket.lock().unwrap_or_else(PoisonError::into_inner),
        message,
    )
}

/// Receives one message; `None` is the end of the conversation.
pub(super) fn receive<T: DeserializeOwned>(reader: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = String::new();
    io::Read::take(reader, LINE_BYTES_MAX).read_line(&mut line)?;
    if line.is_empty() {
        Ok(None)
    } else {
        Ok(Some(serde_json::from_str(&line)?))
    }
}
