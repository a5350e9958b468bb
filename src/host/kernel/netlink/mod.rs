//! The kernel's addresses, routes, rules and links.
//!
//! Changes go through one synchronous, unsubscribed socket with a timeout; watching has its own
//! socket. On a socket used for both, an event with the sequence number of a pending request would
//! be taken for its answer, and a full buffer would lose the answer for good.
//!
//! A table of unbounded size (routes, rules, all devices, all addresses) is read by a [`Reader`],
//! off the engine's loop. The kernel has no query for what is at exactly one place, so the whole
//! table is read; only what is wanted is kept.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what the kernel may say has no end; what is not asked for is passed over"
)]

mod address;
mod link;
mod macvlan;
mod message;
mod reader;
mod route;
mod rule;
mod watch;
mod way;

use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

pub use address::{AddressOptions, PROTOCOL, PresentAddress};
pub(in crate::host) use link::Role;
pub use link::{index_of, own_name_of};
pub use reader::Reader;
pub(in crate::host) use route::{does, is_our, satisfies};
pub use watch::{HostEvent, Watch};
pub use way::NextHop;
pub(in crate::host) use way::RouteChanges;

use message::Message;

use crate::host::HostError;
use crate::host::services::spawn::Deadline;
use crate::types::Family;
use netlink_packet_route::AddressFamily;

/// The kernel answers within microseconds; one that does not within this time is broken.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Larger than any datagram that the kernel makes for rtnetlink (32 KiB for dumps).
const BUFFER: usize = 64 * 1024;

/// The most changes that go to the kernel in one write: their refusals must fit into the socket's
/// buffer.
const BATCH: usize = 64;

/// How often a dump is repeated if the kernel reports that it was interrupted.
const DUMP_ATTEMPTS: u8 = 5;

/// The most entries that are kept of one dump.
const KEPT: usize = 16_384;

/// The socket for changes and queries. Each call is one exchange with the kernel, complete when it
/// returns.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    port: u32,
    sequence: Cell<u32>,
    buffer: RefCell<Box<[u8]>>,
}

/// A refusal by the kernel, before it is known what was requested.
#[derive(Debug)]
struct Refusal {
    errno: Errno,
    /// The extended acknowledgement: the reason in words, if the kernel gives one.
    words: Option<String>,
}

impl From<io::Error> for Refusal {
    fn from(err: io::Error) -> Self {
        let words = err.raw_os_error().is_none().then(|| err.to_string());
        Self {
            errno: err.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
            words,
        }
    }
}

impl Refusal {
    /// Adds what was requested to the reason.
    fn while_doing(self, what: impl std::fmt::Display) -> HostError {
        let said = self.errno.desc();
        let hint = match self.errno {
            Errno::EPERM => " (needs CAP_NET_ADMIN)",
            Errno::EAGAIN => " (the kernel did not answer in time)",
            _ => "",
        };
        let words = self
            .words
            .map_or_else(String::new, |words| format!(": {words}"));
        HostError::errno(format!("{what}: {said}{words}{hint}"), self.errno as i32)
    }
}

impl Netlink {
    /// Opens in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`HostError`] if the kernel provides no such socket.
    pub fn open() -> Result<Self, HostError> {
        Self::connect().map_err(|err| Refusal::from(err).while_doing("opening a netlink socket"))
    }

    fn connect() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        let millis = i64::try_from(TIMEOUT.as_millis()).unwrap_or(i64::MAX);
        setsockopt(
            &socket,
            sockopt::ReceiveTimeout,
            &TimeVal::milliseconds(millis),
        )?;
        // Reasons in words, without a copy of our message; dumps that the kernel filters.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        let buffer = RefCell::new(vec![0; BUFFER].into_boxed_slice());
        Ok(Self {
            socket,
            port,
            sequence: Cell::new(0),
            buffer,
        })
    }

    /// The number by which the kernel identifies this socket, also to watchers, as the origin of a
    /// change.
    #[must_use]
    pub const fn port(&self) -> u32 {
        self.port
    }

    /// One change: done or refused.
    fn change(&self, message: &Message, flags: u16) -> Result<(), Refusal> {
        self.exchange(message, NLM_F_ACK | flags, |_| Ok(()))
    }

    /// Many changes at once, each done or refused: returns the refusals, with the position of what
    /// was refused.
    fn change_all(&self, messages: Vec<Message>, flags: u16) -> Vec<(usize, Refusal)> {
        let mut refused = Vec::new();
        let mut first = 0;
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            let batch: Vec<_> = messages.by_ref().take(BATCH).collect();
            let length = batch.len();
            match self.change_batch(batch, flags) {
                Ok(of_batch) => refused.extend(
                    of_batch
                        .into_iter()
                        .map(|(at, refusal)| (first + at, refusal)),
                ),
                // It is not known whether the kernel did any of them.
                Err(refusal) => refused.push((first, refusal)),
            }
            first += length;
        }
        refused
    }

    fn change_batch(
        &self,
        messages: Vec<Message>,
        flags: u16,
    ) -> Result<Vec<(usize, Refusal)>, Refusal> {
        let first = self.sequence.get().wrapping_add(1).max(1);
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let last = first.saturating_add(count - 1);
        self.sequence.set(last);
        let mut buffer = self.buffer.borrow_mut();
        let mut end = 0;
        for (message, sequence) in messages.into_iter().zip(first..=last) {
            // Refusals come without being requested. The kernel answers in order, so the last
            // answer shows that all are done.
            let acknowledge = if sequence == last { NLM_F_ACK } else { 0 };
            end += put(
                &message,
                sequence,
                flags | acknowledge,
                buffer.get_mut(end..).unwrap_or_default(),
            )?;
        }
        self.socket.send(buffer.get(..end).unwrap_or_default(), 0)?;
        let mut refused = Vec::new();
        loop {
            let length = receive(&self.socket, &mut buffer, 0)?;
            for part in Parts::of(buffer.get(..length).unwrap_or_default()) {
                let Some(at) = part.sequence.checked_sub(first).filter(|at| *at < count) else {
                    continue;
                };
                if let Some(refusal) = part.is_end().then(|| part.refusal()).flatten() {
                    refused.push((usize::try_from(at).unwrap_or(usize::MAX), refusal));
                }
                if part.sequence == last {
                    return Ok(refused);
                }
            }
        }
    }

    /// The entries of a table that `pick` selects. Each entry is examined as it arrives, and kept
    /// only if selected. Stops at `deadline`.
    fn pick<T>(
        &self,
        message: &Message,
        deadline: Option<Deadline>,
        pick: impl Fn(&RawPart<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Refusal> {
        for _ in 1..DUMP_ATTEMPTS {
            match self.pick_once(message, deadline, &pick) {
                Err(Refusal {
                    errno: Errno::EINTR,
                    ..
                }) => {}
                other => return other,
            }
        }
        self.pick_once(message, deadline, &pick)
    }

    fn pick_once<T>(
        &self,
        message: &Message,
        deadline: Option<Deadline>,
        pick: impl Fn(&RawPart<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Refusal> {
        let mut picked = Vec::new();
        self.exchange(message, NLM_F_DUMP, |part| {
            if deadline.is_some_and(|deadline| deadline.left().is_zero()) {
                return Err(Refusal {
                    errno: Errno::ETIMEDOUT,
                    words: Some("the table could not be read completely in time".to_owned()),
                });
            }
            picked.extend(pick(part));
            if picked.len() > KEPT {
                return Err(Refusal {
                    errno: Errno::EMSGSIZE,
                    words: Some(format!("there are more than {KEPT}")),
                });
            }
            Ok(())
        })?;
        Ok(picked)
    }

    /// The answers to a query that has few.
    fn ask(&self, message: &Message, flags: u16) -> Result<Vec<Message>, Refusal> {
        let mut answers = Vec::new();
        self.exchange(message, flags, |part| {
            answers.extend(part.message());
            Ok(())
        })?;
        Ok(answers)
    }

    /// Sends one request, and calls `each` for every answer. If `each` refuses one, this ends; the
    /// remaining answers are skipped later.
    fn exchange(
        &self,
        message: &Message,
        flags: u16,
        mut each: impl FnMut(&RawPart<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let sequence = self.sequence.get().wrapping_add(1).max(1);
        self.sequence.set(sequence);
        let mut buffer = self.buffer.borrow_mut();
        let length = put(message, sequence, flags, &mut buffer)?;
        self.socket
            .send(buffer.get(..length).unwrap_or_default(), 0)?;
        let mut disturbed = false;
        loop {
            let length = receive(&self.socket, &mut buffer, 0)?;
            for part in Parts::of(buffer.get(..length).unwrap_or_default()) {
                // An answer to an earlier query that timed out.
                if part.sequence != sequence {
                    continue;
                }
                disturbed |= part.flags & NLM_F_DUMP_INTR != 0;
                if !part.is_end() {
                    each(&part)?;
                    continue;
                }
                return match part.refusal() {
                    Some(refusal) => Err(refusal),
                    None if disturbed => Err(Refusal {
                        errno: Errno::EINTR,
                        words: None,
                    }),
                    None => Ok(()),
                };
            }
        }
    }
}

/// Writes a request to the beginning of `buffer`; returns its length.
fn put(message: &Message, sequence: u32, flags: u16, buffer: &mut [u8]) -> io::Result<usize> {
    let body = message.body();
    let end = HEADER + body.buffer_len();
    // Requests follow each other, each aligned to four bytes.
    let length = end.next_multiple_of(4);
    let room = buffer
        .get_mut(..length)
        .ok_or(io::ErrorKind::InvalidInput)?;
    // The library does not clear padding and the ends of strings.
    room.fill(0);
    let size = u32::try_from(end).map_err(|_| io::ErrorKind::InvalidInput)?;
    let header = [
        &size.to_ne_bytes()[..],
        &message.kind().to_ne_bytes(),
        &(NLM_F_REQUEST | flags).to_ne_bytes(),
        &sequence.to_ne_bytes(),
        // The kernel fills in the port.
        &[0; 4],
    ]
    .concat();
    let (start, rest) = room.split_at_mut(HEADER);
    start.copy_from_slice(&header);
    body.emit(rest.get_mut(..end - HEADER).unwrap_or_default());
    Ok(length)
}

/// Reads one datagram; returns its length. A truncated one is an error: half an answer is useless.
fn receive(socket: &Socket, mut buffer: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    let room = buffer.len();
    loop {
        match socket.recv(&mut buffer, flags | libc::MSG_TRUNC) {
            Ok(length) if length > room => {
                return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
            }
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The messages of one datagram.
struct Parts<'a>(&'a [u8]);

/// One message, its header read.
struct RawPart<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    /// The socket that asked for it, or that caused an event; 0: the kernel did, or it does not
    /// say.
    port: u32,
    bytes: &'a [u8],
}

const HEADER: usize = 16;
/// In a refusal: the reason in words.
const NLMSGERR_ATTR_MSG: u16 = 1;
/// The upper two bits of an attribute's kind are flags.
const KIND_MASK: u16 = 0x3fff;
const ERROR: u16 = netlink_packet_core::NLMSG_ERROR;
const DONE: u16 = netlink_packet_core::NLMSG_DONE;

impl<'a> Parts<'a> {
    const fn of(datagram: &'a [u8]) -> Self {
        Self(datagram)
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = RawPart<'a>;

    fn next(&mut self) -> Option<RawPart<'a>> {
        let length = usize::try_from(u32::from_ne_bytes(at(self.0, 0)?))
            .ok()
            .filter(|l| *l >= HEADER)?;
        let bytes = self.0.get(..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        let (sequence, port) = (
            u32::from_ne_bytes(at(bytes, 8)?),
            u32::from_ne_bytes(at(bytes, 12)?),
        );
        Some(RawPart {
            kind: u16::from_ne_bytes(at(bytes, 4)?),
            flags: u16::from_ne_bytes(at(bytes, 6)?),
            sequence,
            port,
            bytes,
        })
    }
}

impl<'a> RawPart<'a> {
    /// Does it end the exchange?
    const fn is_end(&self) -> bool {
        matches!(self.kind, ERROR | DONE)
    }

    /// Its content, if it is understood here.
    fn message(&self) -> Option<Message> {
        Message::parse(self.kind, self.bytes.get(HEADER..)?)
    }

    /// The attribute of this kind, after a header of this length; the others are not parsed.
    fn attribute(&self, header: usize, kind: u16) -> Option<&'a [u8]> {
        Attributes(self.bytes.get(HEADER + header..).unwrap_or_default())
            .find_map(|(k, value)| (k == kind).then_some(value))
    }

    /// The error number at the end of an exchange, and the text that came with it.
    fn refusal(&self) -> Option<Refusal> {
        let code = i32::from_ne_bytes(at(self.bytes, HEADER)?);
        if code == 0 {
            return None;
        }
        // After the number comes, in an error only, the header of the request; then attributes.
        let words = self.attribute(
            4 + if self.kind == ERROR { HEADER } else { 0 },
            NLMSGERR_ATTR_MSG,
        );
        let words = words.map(|words| {
            String::from_utf8_lossy(words)
                .trim_end_matches('\0')
                .to_owned()
        });
        Some(Refusal {
            errno: Errno::from_raw(code.saturating_neg()),
            words,
        })
    }
}

/// A sequence of attributes: their kinds and values.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(at(self.0, 0)?));
        let kind = u16::from_ne_bytes(at(self.0, 2)?) & KIND_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

const fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}
