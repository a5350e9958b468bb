//! Packets that must be refused, from a host that hears the real ones: each kind of refusal, many
//! times over.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use carpd::lab::PROGRAM;
use carpd::lab::clock::Ticker;
use carpd::proto::wire::{self, Advertisement, checksum};
use carpd::proto::{Key, LinkLocal, auth::Authenticator};
use carpd::types::{AdvBase, AdvSkew, Family, MacAddr, Vhid};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};

use crate::rig::{ADDRESS, Carpd, SOON, TAKEOVER, Watch, lan, mac};
use crate::{ADDRESS_OF_A, ADDRESS_OF_B, Case, Outcome};

/// How many packets of each kind.
const COUNT: usize = 50;
/// The role of the program that sends them; its argument is the address of the master.
pub(crate) const ROLE: &str = "--forge";
const MASTER: Ipv4Addr = Ipv4Addr::new(192, 168, 32, 32);
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new(
        "forge::fifty_packets_of_each_kind_of_refusal_change_nothing",
        refusals,
    )]
}

/// What is sent, by the name of the counter that must count it; `None`: the kernel's filter must
/// drop it.
pub(crate) const KINDS: [(Kind, Option<&str>); 14] = [
    (Kind::OtherProtocol, None),
    (Kind::Tagged, None),
    (Kind::OtherIp, Some("not_carp")),
    (Kind::Truncated, Some("truncated")),
    (Kind::Fragment, Some("fragment")),
    (Kind::IpChecksum, Some("ip_checksum")),
    (Kind::Ttl, Some("ttl")),
    (Kind::Short, Some("short")),
    (Kind::Version, Some("version")),
    (Kind::VrrpV2, Some("vrrp_v2")),
    (Kind::Checksum, Some("checksum")),
    (Kind::Vhid, Some("vhid")),
    (Kind::Family, Some("family")),
    (Kind::Digest, Some("digest")),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OtherProtocol,
    Tagged,
    OtherIp,
    Truncated,
    Fragment,
    IpChecksum,
    Ttl,
    Short,
    Version,
    VrrpV2,
    Checksum,
    Vhid,
    Family,
    Digest,
}

fn refusals() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let log = "info,carpd::engine=trace";
    let mut a = Carpd::new("a").advskew(10).log(log).start(&lab)?;
    let mut b = Carpd::new("b").advskew(50).log(log).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    b.wait_state("backup", SOON)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    let output = lab.host("client").run(&[PROGRAM, ROLE], TAKEOVER)?;
    assert!(output.status.success(), "{output:?}");
    // What came before it in the socket was heard before it.
    watch.hear(ADDRESS_OF_A, 3, SOON)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    for (name, daemon) in [("a", &mut a), ("b", &mut b)] {
        let mut refused: BTreeMap<String, usize> = BTreeMap::new();
        for entry in daemon
            .entries()
            .iter()
            .filter(|entry| entry.says("Refused a packet"))
        {
            *refused.entry(entry.text("reason")).or_default() += 1;
        }
        for reason in KINDS.iter().filter_map(|(_, reason)| *reason) {
            let count = refused.get(reason).copied().unwrap_or(0);
            // The mutated ones are refused for whatever was hit first.
            assert!(count >= COUNT, "{name}: {reason}: {count} of {refused:?}");
        }
        // A replay of its own packets is known for what it is; to the other it is the master that
        // speaks.
        assert!(
            name != "a" || refused.get("own").copied() >= Some(COUNT),
            "{refused:?}"
        );
        // Had the other protocol, or the VLAN's packets, come through, there would be twice as
        // many.
        assert!(
            refused.get("not_carp").copied() < Some(2 * COUNT),
            "{refused:?}"
        );
    }
    assert_eq!(a.states(), ["backup", "master"]);
    assert_eq!(b.states(), ["backup"]);
    assert!(watch.advertisements(ADDRESS_OF_B)?.is_empty());
    a.stop()?;
    b.wait_state("master", SOON)?;
    b.stop()
}

/// The role: hears one advertisement of the master, sends the forged ones, ends.
pub(crate) fn run() -> ExitCode {
    let sent = Forger::open().and_then(|mut forger| forger.run());
    sent.map_or_else(
        |err| {
            eprintln!("{err}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

pub(crate) struct Forger {
    wire: OwnedFd,
    random: u64,
}

impl Forger {
    pub(crate) fn open() -> io::Result<Self> {
        let wire = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )?;
        let eth0 = nix::ifaddrs::getifaddrs()?
            .filter(|found| found.interface_name == "eth0")
            .find_map(|found| {
                found
                    .address
                    .and_then(|address| address.as_link_addr().copied())
            });
        bind(wire.as_raw_fd(), &eth0.ok_or(io::ErrorKind::NotFound)?)?;
        Ok(Self {
            wire,
            random: 0x9e37_79b9_7f4a_7c15,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let ticker = Ticker::new(Duration::from_millis(5))?;
        let heard = self.hear()?;
        for n in 0..COUNT {
            // Some at a time: the daemon's receive buffer is small on purpose.
            ticker.wait()?;
            for (kind, _) in KINDS {
                let frame = self.forge(kind, n, &heard);
                self.send(&frame)?;
            }
            self.send(&heard)?;
            for _ in 0..4 {
                let frame = self.mutate(&heard);
                self.send(&frame)?;
            }
        }
        Ok(())
    }

    /// The master's next advertisement.
    pub(crate) fn hear(&self) -> io::Result<Vec<u8>> {
        loop {
            let mut buffer = [0; 2048];
            let length = recv(self.wire.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let frame = &buffer[..length];
            if wire::parse_frame(frame).is_ok_and(|packet| packet.src == MASTER) {
                return Ok(frame.to_vec());
            }
        }
    }

    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        send(self.wire.as_raw_fd(), frame, MsgFlags::empty())?;
        Ok(())
    }

    /// Of a number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % limit as u64).unwrap_or(0)
    }

    /// The real one with one bit turned, anywhere in what is checked.
    pub(crate) fn mutate(&mut self, heard: &[u8]) -> Vec<u8> {
        let mut frame = heard.to_vec();
        let bit = self.below((heard.len() - 14) * 8);
        frame[14 + bit / 8] ^= 1 << (bit % 8);
        frame
    }

    pub(crate) fn forge(&mut self, kind: Kind, n: usize, heard: &[u8]) -> Vec<u8> {
        let real = &heard[34..70];
        let mut ad = better();
        let small = u8::try_from(n).unwrap_or(0);
        match kind {
            Kind::OtherProtocol => ip(|packet| packet[9] = 17, &ad.encode()),
            Kind::Tagged => {
                let frame = ip(|_| {}, &ad.encode());
                [&frame[..12], &[0x81, 0, 0, 7], &frame[12..]].concat()
            }
            Kind::OtherIp => ip(
                |packet| packet[0] = [0x55, 0x05, 0x65, 0xf5][n % 4],
                &ad.encode(),
            ),
            Kind::Truncated => ip(|packet| packet[3] += 1 + small, &ad.encode()),
            Kind::Fragment => ip(
                |packet| packet[6..8].copy_from_slice(&[0x20 * (small & 1), 1 + small]),
                &ad.encode(),
            ),
            Kind::IpChecksum => {
                let mut frame = ip(|_| {}, &ad.encode());
                frame[24] ^= 1 + small;
                frame
            }
            Kind::Ttl => ip(|packet| packet[8] = 254 - small, &ad.encode()),
            Kind::Short => ip(|_| {}, &real[..2 + n % 34]),
            Kind::Version => {
                let mut payload = ad.encode();
                payload[0] = [0x31, 0x11, 0x41, 0xf1][n % 4];
                ip(|_| {}, &payload)
            }
            Kind::VrrpV2 => {
                let mut payload = [
                    0x21, 40, 100, 1, 0, 1, 0, 0, 192, 168, 32, 22, 0, 0, 0, 0, 0, 0, 0, small,
                ];
                [payload[6], payload[7]] = checksum(&payload).to_be_bytes();
                ip(|_| {}, &payload)
            }
            Kind::Checksum => {
                let mut payload = ad.encode();
                payload[6] ^= 1 + small;
                ip(|_| {}, &payload)
            }
            Kind::Vhid => {
                ad.vhid = 41 + small;
                ip(|_| {}, &ad.encode())
            }
            Kind::Family => {
                let (src, dst) = (
                    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9),
                    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12),
                );
                let packet = wire::ipv6_packet(src, dst, 0, &ad.encode());
                wire::ethernet_frame(
                    wire::multicast_mac(dst.into()).unwrap(),
                    SENDER,
                    Family::V6,
                    &packet,
                )
            }
            Kind::Digest => {
                let at = self.below(ad.digest.len());
                ad.digest[at] ^= 1 + small;
                ip(|_| {}, &ad.encode())
            }
        }
    }
}

/// Nobody's hardware address.
const SENDER: MacAddr = MacAddr([2, 0xca, 1, 0, 0, 9]);

/// A claim of a better master, rightly signed: wherever such a packet gets through, the state
/// changes.
fn better() -> Advertisement {
    let vhid = Vhid::new(40).unwrap();
    let auth = Authenticator::new(
        &Key::new(b"gw22").unwrap(),
        vhid,
        &[ADDRESS.parse().unwrap()],
        None,
        LinkLocal::Include,
    );
    Advertisement {
        vhid: 40,
        advbase: AdvBase(1),
        advskew: AdvSkew(0),
        demote: 0,
        counter: 7,
        digest: auth.sign(7),
    }
}

/// A frame around a packet from an address of this network; `spoil` changes its IP header, whose
/// checksum is then made anew.
fn ip(spoil: impl FnOnce(&mut [u8]), payload: &[u8]) -> Vec<u8> {
    let mut packet = wire::ipv4_packet(Ipv4Addr::new(192, 168, 32, 50), GROUP, 0x10, 0, payload);
    spoil(&mut packet);
    packet[10..12].fill(0);
    let sum = checksum(&packet[..20]).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    wire::ethernet_frame(
        wire::multicast_mac(GROUP.into()).unwrap(),
        SENDER,
        Family::V4,
        &packet,
    )
}
