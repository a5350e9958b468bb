//! The prober: which host answers for a virtual address, and what can be heard on the network.
//!
//! A role of its own (`__lab-probe`), to be started in a host. It sends an ARP request every few
//! ms, fetches `http://ADDRESS/` repeatedly, listens to all frames, and writes each [`Sighted`] as
//! one line of JSON.

mod answers;
mod frame;

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind,
    recvmsg, send, setsockopt, socket, sockopt,
};
use serde::{Deserialize, Serialize};

use self::answers::Answers;
use self::frame::Frame;
use super::clock::{self, Ticker};
use super::httpd::HOST_HEADER;
use super::role::{PROBE, Step, StepError};
use crate::types::{MacAddr, Timestamp};

/// How long one HTTP request may take. It is short, because a new connection notices a takeover,
/// but one that waits for its retransmission does not.
const HTTP_MAX: Duration = Duration::from_millis(200);
/// `PACKET_OUTGOING`: frames that this host itself sent.
const OUTGOING: u8 = 4;
/// The most bytes of an HTTP answer that are read.
const HTTP_BYTES_MAX: u64 = 4096;

/// One line of the prober's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighted {
    /// µs since boot (`CLOCK_BOOTTIME`); for frames, when the kernel received them.
    pub at_us: u64,
    /// What.
    #[serde(flatten)]
    pub what: Sighting,
}

/// What the prober reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Sighting {
    /// It is listening from now on.
    Started,
    /// A different host than before answers ARP, or the same one again after a silence.
    Answers {
        /// The hardware address in the answer.
        mac: MacAddr,
        /// The one that answered before.
        previous: Option<MacAddr>,
        /// µs since the last answer.
        silent_us: u64,
        /// Requests since then that nobody answered.
        unanswered: u64,
    },
    /// No host answers ARP any more.
    Silent,
    /// Two hosts answered one ARP request.
    Both {
        /// Who.
        macs: [MacAddr; 2],
    },
    /// Only one host answers again.
    One {
        /// Who.
        mac: MacAddr,
        /// How long two did, in µs.
        both_us: u64,
    },
    /// A CARP advertisement.
    Advertisement {
        /// Source address.
        from: IpAddr,
        /// Source hardware address.
        mac: MacAddr,
        /// Its fields.
        vhid: u8,
        /// Seconds.
        advbase: u8,
        /// 1/256 s.
        advskew: u8,
        /// OpenBSD's demotion byte.
        demote: u8,
    },
    /// A gratuitous ARP, or a neighbour advertisement to all nodes.
    Announcement {
        /// The address.
        ip: IpAddr,
        /// The hardware address for it.
        mac: MacAddr,
    },
    /// HTTP answers with a different text than before, from a different host, or again after a
    /// failure.
    Http {
        /// The text, without the line break.
        text: String,
        /// The lab's name for the host that served it, whatever its host name.
        host: String,
        /// Requests before it that failed.
        failed: u64,
    },
    /// HTTP no longer answers.
    HttpFailed {
        /// The reason: the system's error.
        error: String,
    },
    /// The figures, at the end.
    Summary {
        /// ARP requests sent.
        requests: u64,
        /// Answered by any host.
        answered: u64,
        /// Answered by two hosts.
        by_two: u64,
    },
}

impl Sighted {
    /// Reads one line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    /// When.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        Timestamp::from_micros(self.at_us)
    }
}

/// What the prober should do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSpec {
    /// The virtual address; an IPv6 address is queried by neighbour discovery.
    pub address: IpAddr,
    /// Time between ARP requests (or neighbour solicitations); zero: none.
    pub arp_interval: Duration,
    /// Time between HTTP requests; zero: none.
    pub http_interval: Duration,
}

impl ProbeSpec {
    /// The prober's command line, where `program` is this program.
    #[must_use]
    pub fn argv(&self, program: &str) -> Vec<String> {
        let mut argv = vec![
            program.to_owned(),
            PROBE.to_owned(),
            format!("address={}", self.address),
        ];
        argv.push(format!("arp-us={}", self.arp_interval.as_micros()));
        argv.push(format!("http-us={}", self.http_interval.as_micros()));
        argv
    }

    fn parse(args: &[String]) -> io::Result<Self> {
        let args: BTreeMap<&str, &str> =
            args.iter().filter_map(|arg| arg.split_once('=')).collect();
        let invalid = |key: &str| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{key}= is missing or wrong"),
            )
        };
        let micros = |key: &str| {
            let value = args.get(key).and_then(|value| value.parse().ok());
            value.map(Duration::from_micros).ok_or_else(|| invalid(key))
        };
        let address = args
            .get("address")
            .and_then(|address| address.parse().ok())
            .ok_or_else(|| invalid("address"))?;
        Ok(Self {
            address,
            arp_interval: micros("arp-us")?,
            http_interval: micros("http-us")?,
        })
    }
}

/// The role.
pub(super) fn run(args: &[String]) -> Result<(), StepError> {
    let spec = ProbeSpec::parse(args).step("read the arguments")?;
    let end = SigSet::from(Signal::SIGTERM);
    end.thread_block().step("block SIGTERM")?;
    let end = SignalFd::with_flags(&end, SfdFlags::SFD_CLOEXEC).step("watch for SIGTERM")?;
    let wire = open("eth0").step("open a packet socket")?;
    tell(clock::now(), &Sighting::Started).step("write")?;
    if !spec.http_interval.is_zero() {
        let ticker = Ticker::new(spec.http_interval).step("start a timer")?;
        let address = SocketAddr::new(spec.address, 80);
        std::thread::spawn(move || Http::default().run(&ticker, address));
    }
    let asks = (!spec.arp_interval.is_zero()).then_some(spec.address);
    // Without requests the timer does not matter; a long period keeps the loop simple.
    let period = if asks.is_some() {
        spec.arp_interval
    } else {
        Duration::from_hours(1)
    };
    let ticker = Ticker::new(period).step("start a timer")?;
    Prober {
        wire,
        asks,
        answers: Answers::new(clock::now()),
    }
    .run(&ticker, &end)
    .step("probe")
}

/// A socket that receives all frames of an interface, with the kernel's time stamps.
fn open(interface: &str) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let wire = socket(
        AddressFamily::Packet,
        SockType::Raw,
        flags,
        SockProtocol::EthAll,
    )?;
    setsockopt(&wire, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&wire, sockopt::RcvBuf, &(1 << 20))?;
    bind(wire.as_raw_fd(), &link_address(interface)?)?;
    Ok(wire)
}

/// Sends complete frames on an interface.
pub(super) fn send_frames(interface: &str, frames: &[Vec<u8>]) -> io::Result<()> {
    let wire = open(interface)?;
    frames
        .iter()
        .try_for_each(|frame| send(wire.as_raw_fd(), frame, MsgFlags::empty()).map(drop))
        .map_err(Into::into)
}

/// The interface's address for packet sockets, which refers to it by number and leaves the protocol
/// unchanged.
fn link_address(interface: &str) -> io::Result<LinkAddr> {
    nix::ifaddrs::getifaddrs()?
        .filter(|found| found.interface_name == interface)
        .find_map(|found| {
            found
                .address
                .and_then(|address| address.as_link_addr().copied())
        })
        .ok_or_else(|| Errno::ENODEV.into())
}

fn tell(at: Timestamp, what: &Sighting) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Sighted {
        at_us: at.as_nanos() / 1000,
        what: what.clone(),
    })?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

struct Prober {
    wire: OwnedFd,
    asks: Option<IpAddr>,
    answers: Answers,
}

impl Prober {
    fn run(mut self, ticker: &Ticker, end: &SignalFd) -> io::Result<()> {
        loop {
            let (wire, tick, done) = {
                let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
                let mut fds = [
                    watch(self.wire.as_fd()),
                    watch(ticker.as_fd()),
                    watch(end.as_fd()),
                ];
                poll(&mut fds, PollTimeout::NONE)?;
                let [wire, tick, done] = fds.map(|fd| fd.any().unwrap_or(false));
                (wire, tick, done)
            };
            // Read the answers before the next request, which would make them look late.
            if wire {
                self.receive()?;
            }
            if tick {
                ticker.wait()?;
                self.ask()?;
            }
            if done {
                return tell(clock::now(), &self.answers.summary());
            }
        }
    }

    fn ask(&mut self) -> io::Result<()> {
        let Some(ip) = self.asks else { return Ok(()) };
        let now = clock::now();
        let (number, sighting) = self.answers.send(now);
        let request = match ip {
            IpAddr::V4(ip) => frame::arp_request(number, ip),
            IpAddr::V6(ip) => frame::neighbour_solicitation(number, ip),
        };
        // While the link is down nothing can be sent: then no host answers, which is what should be
        // seen.
        let _ = send(self.wire.as_raw_fd(), &request, MsgFlags::empty());
        sighting.map_or(Ok(()), |sighting| tell(now, &sighting))
    }

    fn receive(&mut self) -> io::Result<()> {
        loop {
            let mut bytes = [0; 2048];
            let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let message = match recvmsg::<LinkAddr>(
                self.wire.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                MsgFlags::empty(),
            ) {
                Ok(message) => message,
                Err(Errno::EAGAIN | Errno::ENETDOWN) => return Ok(()),
                Err(err) => return Err(err.into()),
            };
            let ours = message
                .address
                .is_some_and(|address| address.pkttype() == OUTGOING);
            let stamp = message.cmsgs()?.find_map(|found| {
                if let ControlMessageOwned::ScmTimestampns(stamp) = found {
                    Some(clock::from_wall(stamp))
                } else {
                    None
                }
            });
            let length = message.bytes;
            let seen = if ours {
                None
            } else {
                bytes.get(..length).and_then(frame::decode)
            };
            let at = stamp.unwrap_or_else(clock::now);
            match seen {
                Some(Frame::Reply { number, ip, mac }) if Some(ip) == self.asks => {
                    if let Some(sighting) = self.answers.answer(number, mac, at) {
                        tell(at, &sighting)?;
                    }
                }
                Some(Frame::Seen(sighting)) => tell(at, &sighting)?,
                Some(Frame::Reply { .. }) | None => {}
            }
        }
    }
}

/// The HTTP client: reports changes.
#[derive(Default)]
struct Http {
    last: Option<Result<Page, String>>,
    failed: u64,
}

impl Http {
    fn run(mut self, ticker: &Ticker, address: SocketAddr) {
        while ticker.wait().is_ok() && self.fetch(address).is_ok() {}
    }

    fn fetch(&mut self, address: SocketAddr) -> io::Result<()> {
        let answer = get(address).map_err(|err| match err.kind() {
            // The system's error for a read that took too long does not mention it.
            io::ErrorKind::WouldBlock => "timed out".to_owned(),
            _ => err.to_string(),
        });
        let failed = self.failed;
        self.failed = if answer.is_ok() { 0 } else { failed + 1 };
        if self.last.as_ref() == Some(&answer)
            || (answer.is_err() && self.last.as_ref().is_some_and(Result::is_err))
        {
            return Ok(());
        }
        let sighting = match answer.clone() {
            Ok(Page { text, host }) => Sighting::Http { text, host, failed },
            Err(error) => Sighting::HttpFailed { error },
        };
        self.last = Some(answer);
        tell(clock::now(), &sighting)
    }
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Page {
    text: String,
    host: String,
}

/// Fetches `/`: the first line of the body, and which host served it.
fn get(address: SocketAddr) -> io::Result<Page> {
    let mut stream = TcpStream::connect_timeout(&address, HTTP_MAX)?;
    stream.set_read_timeout(Some(HTTP_MAX))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(HTTP_BYTES_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    if !head.contains(" 200 ") {
        return Err(io::Error::other(
            head.lines().next().unwrap_or_default().to_owned(),
        ));
    }
    let host = head
        .lines()
        .find_map(|line| line.strip_prefix(HOST_HEADER))
        .unwrap_or_default();
    Ok(Page {
        text: body.lines().next().unwrap_or_default().to_owned(),
        host: host.to_owned(),
    })
}
