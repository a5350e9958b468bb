//! Echo requests (ICMP, ICMPv6).

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use carpd::host::children::prober::remote::{Ask, RemoteJob};
use carpd::host::clock;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// The head of an ICMP message, in bytes.
const HEAD: usize = 8;
/// What comes back with an echo and can be known only to who was asked.
const NONCE: usize = 16;
/// As many messages are read at one time: others may send, too.
const AT_ONCE: usize = 64;

/// The types of a request and of the answer to it.
const V4: (u8, u8) = (8, 0);
const V6: (u8, u8) = (128, 129);

/// Sockets that were opened while that was allowed.
#[derive(Debug)]
pub(super) struct Pinger {
    v4: Option<Raw>,
    v6: Option<Raw>,
    sequence: u16,
}

#[derive(Debug)]
struct Raw {
    socket: Socket,
    types: (u8, u8),
    /// What is received begins with the head of an IPv4 packet.
    has_head: bool,
    /// The kernel sums up.
    sums_up: bool,
}

impl Pinger {
    /// For jobs that need one.
    pub(super) fn of(job: &RemoteJob) -> Option<Self> {
        matches!(job.ask, Ask::Echo(_)).then(|| Self {
            v4: Raw::open(Domain::IPV4).ok(),
            v6: Raw::open(Domain::IPV6).ok(),
            sequence: 0,
        })
    }

    /// Waits for the answer to one request.
    ///
    /// # Errors
    /// None came in time, or what the system said.
    pub(super) fn ping(&mut self, host: IpAddr, limit: Duration) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let raw = match host {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        let raw = raw.as_ref().ok_or(io::ErrorKind::PermissionDenied)?;
        raw.ping(host, self.sequence, limit)
    }
}

impl Raw {
    /// A raw socket, which takes CAP_NET_RAW; without that, what `ping_group_range` allows.
    fn open(domain: Domain) -> io::Result<Self> {
        let (protocol, types) = if domain == Domain::IPV4 {
            (Protocol::ICMPV4, V4)
        } else {
            (Protocol::ICMPV6, V6)
        };
        let raw = Socket::new(domain, Type::RAW, Some(protocol));
        let is_raw = raw.is_ok();
        let socket = raw.or_else(|_| Socket::new(domain, Type::DGRAM, Some(protocol)))?;
        Ok(Self {
            socket,
            types,
            has_head: is_raw && domain == Domain::IPV4,
            sums_up: !is_raw || domain == Domain::IPV6,
        })
    }

    fn ping(&self, host: IpAddr, sequence: u16, limit: Duration) -> io::Result<()> {
        let end = clock::now() + limit;
        // From here on only messages of this host arrive.
        self.socket
            .connect(&SockAddr::from(SocketAddr::new(host, 0)))?;
        self.drain()?;
        let nonce = nonce();
        self.socket
            .send(&request(self.types.0, sequence, nonce, !self.sums_up))?;
        loop {
            let left = end.since(clock::now());
            if left.is_zero() {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no answer after {:.1} s", limit.as_secs_f64()),
                ));
            }
            self.socket.set_read_timeout(Some(left))?;
            match self.receive() {
                Ok(message) if self.answers(&message, sequence, nonce) => return Ok(()),
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Drops what has arrived since.
    fn drain(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        for _ in 0..AT_ONCE {
            if self.receive().is_err() {
                break;
            }
        }
        self.socket.set_nonblocking(false)
    }

    fn receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 512];
        let length = (&self.socket).read(&mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    fn answers(&self, message: &[u8], sequence: u16, nonce: [u8; NONCE]) -> bool {
        let message = if self.has_head {
            // No head is shorter than five words.
            match message.first().map(|first| usize::from(first & 0xf)) {
                Some(words @ 5..) => message.get(words * 4..).unwrap_or_default(),
                _ => return false,
            }
        } else {
            message
        };
        let [high, low] = sequence.to_be_bytes();
        // The number of who asks is the kernel's to choose on some sockets; the nonce is ours.
        matches!(message, [kind, 0, _, _, _, _, a, b, rest @ ..]
            if *kind == self.types.1 && [*a, *b] == [high, low] && rest == nonce)
    }
}

/// Random to everybody else: the keys of these hashes are the kernel's.
fn nonce() -> [u8; NONCE] {
    let word = || RandomState::new().build_hasher().finish();
    (u128::from(word()) << 64 | u128::from(word())).to_be_bytes()
}

fn request(kind: u8, sequence: u16, nonce: [u8; NONCE], sum_up: bool) -> [u8; HEAD + NONCE] {
    let mut message = [0; HEAD + NONCE];
    let [high, low] = sequence.to_be_bytes();
    let words = [kind, 0, 0, 0, nonce[0], nonce[1], high, low];
    let all = words.into_iter().chain(nonce);
    message
        .iter_mut()
        .zip(all)
        .for_each(|(to, from)| *to = from);
    if sum_up {
        let [high, low] = checksum(&message).to_be_bytes();
        (message[2], message[3]) = (high, low);
    }
    message
}

/// RFC 1071.
fn checksum(message: &[u8]) -> u16 {
    let words = message.chunks(2).map(|pair| {
        let high = pair.first().copied().unwrap_or_default();
        let low = pair.get(1).copied().unwrap_or_default();
        u32::from(u16::from_be_bytes([high, low]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(has_head: bool) -> Raw {
        Raw {
            // Any socket: nothing is sent.
            socket: Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap(),
            types: V4,
            has_head,
            sums_up: false,
        }
    }

    #[test]
    fn only_the_answer_to_the_request_is_one() {
        let nonce = *b"0123456789abcdef";
        let mut answer = request(V4.1, 7, nonce, true).to_vec();
        assert_eq!(checksum(&answer), 0);
        assert!(raw(false).answers(&answer, 7, nonce));
        // The kernel may choose who it was that asked.
        answer[5] ^= 1;
        assert!(raw(false).answers(&answer, 7, nonce));
        let packet: Vec<u8> = [vec![0x46; 1], vec![0; 23], answer.clone()].concat();
        assert!(raw(true).answers(&packet, 7, nonce));
        assert!(!raw(true).answers(&answer, 7, nonce));
        assert!(!raw(false).answers(&answer, 8, nonce));
        assert!(!raw(false).answers(&request(V4.0, 7, nonce, true), 7, nonce));
        for at in [0, 1, 6, 7, 8, 23] {
            let mut other = answer.clone();
            other[at] ^= 1;
            assert!(!raw(false).answers(&other, 7, nonce), "{at}");
        }
        for length in 0..answer.len() {
            assert!(!raw(false).answers(&answer[..length], 7, nonce));
            assert!(!raw(true).answers(&packet[..length], 7, nonce));
        }
        assert!(!raw(true).answers(&[0x4f], 7, nonce));
    }

    #[test]
    fn no_two_requests_are_alike() {
        assert_ne!(nonce(), nonce());
    }
}
