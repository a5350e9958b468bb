//! What is on the wire, where no daemon runs that would know: who advertises, and who has the
//! addresses. Listens for a while, and asks as the daemon does; it sends nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::{Found, Level, Subject};
use crate::config::Vhost;
use crate::effect::{Link, Medium};
use crate::host::clock;
use crate::host::kernel::claims;
use crate::host::kernel::socket::{Outgoing, PacketSocket};
use crate::process::Patience;
use crate::proto::wire::{Advertisement, RollCall, multicast_mac, parse_frame};
use crate::proto::{self, Input, Output, Received, Reject};
use crate::types::{Family, MacAddr, Timestamp};

/// Longer than any master that is usual is silent between two advertisements.
const LEAST: Duration = Duration::from_secs(3);
/// However long the intervals are.
const MOST: Duration = Duration::from_secs(10);
/// So often the addresses are asked for.
const ASKED: u32 = 3;
/// Between two looks at the sockets.
const LOOK: Duration = Duration::from_millis(20);
/// At most so many addresses of one interface are asked for: a filter has room for them.
const ADDRESSES_MAX: usize = 128;
/// At most so many senders, and hosts with an address, are told apart.
const SENDERS_MAX: usize = 16;
/// The version of VRRP that shares neither CARP's version nor its first byte.
const VRRP: u8 = 3;
/// Longer than what is of interest.
const FRAME_MAX: usize = 1500;

/// How long to listen for these virtual hosts, if nobody says: so long that each master is heard twice.
fn long_enough(vhosts: &[Vhost]) -> Duration {
    let slowest = vhosts.iter().map(|vhost| vhost.advbase.0).max();
    let interval = Duration::from_secs(u64::from(slowest.unwrap_or(1)) + 1);
    (interval * 3 / 2).clamp(LEAST, MOST)
}

pub(super) fn check(subject: &Subject<'_>) -> Vec<Found> {
    let length = subject
        .listen
        .unwrap_or_else(|| long_enough(&subject.config.vhosts));
    // A daemon hears and asks by itself.
    if subject.status.is_some() || length.is_zero() {
        return Vec::new();
    }
    let interfaces = subject.interfaces();
    let opened = interfaces.iter().filter(|(link, _)| link.up);
    let mut ears: Vec<Ear> = opened
        .filter_map(|(link, vhosts)| Ear::open(link, vhosts))
        .collect();
    if ears.is_empty() {
        return Vec::new();
    }
    let patience = Patience::of(length);
    let pause = length / ASKED;
    let mut asked = 0;
    while !patience.left().is_zero() {
        // The last answers need a moment, too.
        if asked < ASKED && patience.left() <= length.saturating_sub(pause * asked) {
            ears.iter().for_each(Ear::ask);
            asked += 1;
        }
        patience.pause(LOOK);
        for ear in &mut ears {
            ear.listen(clock::now());
        }
    }
    ears.iter().flat_map(Ear::found).collect()
}

/// What is heard on one interface.
struct Ear<'a> {
    link: &'a Link,
    socket: PacketSocket,
    listeners: Vec<Listener<'a>>,
    /// Who has answered for an address that was asked for.
    claims: BTreeMap<IpAddr, BTreeSet<MacAddr>>,
}

/// What is heard of one virtual host, by the daemon's own rules.
struct Listener<'a> {
    vhost: &'a Vhost,
    machine: proto::Vhost,
    /// Who advertises, how often, and from which hardware addresses.
    masters: BTreeMap<IpAddr, (u32, BTreeSet<MacAddr>)>,
    /// Whose advertisements a daemon would refuse: how often, and the probable cause.
    refused: BTreeMap<(IpAddr, &'static str), (u32, String)>,
    /// Who signs as this virtual host does, under another vhid.
    misnumbered: BTreeMap<IpAddr, u8>,
    /// VRRP routers with the same number.
    routers: BTreeSet<IpAddr>,
}

impl<'a> Ear<'a> {
    fn open(link: &'a Link, vhosts: &[&'a Vhost]) -> Option<Self> {
        let socket = PacketSocket::open(link.index, link.nature.medium).ok()?;
        let groups = vhosts.iter().filter(|vhost| vhost.unicast.is_empty());
        let groups = groups.flat_map(|vhost| {
            let to = &vhost.destination;
            [IpAddr::from(to.group), IpAddr::from(to.group6)]
        });
        for mac in groups.filter_map(multicast_mac) {
            // Then the card may still pass on what it hears.
            _ = socket.accept(mac);
        }
        let ear = Self {
            link,
            socket,
            listeners: vhosts.iter().map(|vhost| Listener::new(vhost)).collect(),
            claims: BTreeMap::new(),
        };
        _ = ear.socket.watch(&ear.asked());
        Some(ear)
    }

    /// The addresses that are asked for: the virtual ones, and the masters' own, which tell their
    /// hardware.
    fn asked(&self) -> Vec<IpAddr> {
        let own = self
            .listeners
            .iter()
            .flat_map(|listener| &listener.vhost.addresses);
        let masters = self
            .listeners
            .iter()
            .flat_map(|listener| listener.masters.keys());
        masters
            .copied()
            .chain(own.map(|address| address.ip))
            .take(ADDRESSES_MAX)
            .collect()
    }

    fn ask(&self) {
        if self.link.nature.medium != Medium::Ethernet || !self.link.nature.arp {
            return;
        }
        let asked = self.asked();
        _ = self.socket.watch(&asked);
        for address in asked {
            let probe = claims::probe(address, self.link.mac);
            _ = self.socket.send(&Outgoing::Frame(probe));
        }
    }

    fn listen(&mut self, now: Timestamp) {
        let mut buffer = [0; FRAME_MAX];
        while let Ok(Some(frame)) = self.socket.receive(&mut buffer) {
            if let Some((address, mac)) = claims::claim(frame) {
                let hosts = self.claims.entry(address).or_default();
                if mac != self.link.mac && hosts.len() < SENDERS_MAX {
                    hosts.insert(mac);
                }
            } else if let Ok(packet) = parse_frame(frame) {
                for listener in &mut self.listeners {
                    listener.hear(packet, now);
                }
            }
        }
    }

    fn found(&self) -> Vec<Found> {
        let mut found = Vec::new();
        for listener in &self.listeners {
            let advertisers = listener.found();
            let is_explained = !advertisers.is_empty();
            found.extend(advertisers);
            // A node that is refused has the addresses as well: that is said already.
            if !is_explained {
                found.extend(self.duplicates(listener));
            }
        }
        found
    }

    /// Hosts that have a virtual address and are not its master.
    fn duplicates(&self, listener: &Listener<'_>) -> Vec<Found> {
        let vhost = listener.vhost;
        // Those of a master: the virtual one, that of its frames, and those at its own address.
        let mut of_master = BTreeSet::from([MacAddr::of_vhid(vhost.vhid)]);
        for (source, (_, macs)) in &listener.masters {
            of_master.extend(macs);
            of_master.extend(self.claims.get(source).into_iter().flatten());
        }
        let is_known = |family: Family| {
            let masters = listener.masters.keys();
            let of_family = masters.filter(|source| Family::of(**source) == family);
            let mut answers = of_family.filter_map(|source| self.claims.get(source));
            answers.any(|macs| !macs.is_empty())
        };
        let mut found = Vec::new();
        for address in &vhost.addresses {
            let Some(hosts) = self.claims.get(&address.ip) else {
                continue;
            };
            let strangers: Vec<String> = hosts
                .iter()
                .filter(|mac| !of_master.contains(mac))
                .map(ToString::to_string)
                .collect();
            // A master whose own hardware address is not known may be the only one that answers.
            let is_master = hosts.len() == 1
                && !listener.masters.is_empty()
                && !is_known(Family::of(address.ip));
            if strangers.is_empty() || is_master {
                continue;
            }
            let (ip, seen) = (address.ip, strangers.join(", "));
            let master = if listener.masters.is_empty() {
                "and nobody advertises the virtual host"
            } else {
                "and is not the master"
            };
            found.push(
                Found::new(Level::Error, format!("another host has {ip}"))
                    .about([vhost])
                    .seen(format!(
                        "{seen} answers for it on {}, {master}",
                        self.link.name
                    ))
                    .so("neighbours reach that host or the master, whichever they heard last")
                    .mend("find the host by its hardware address, and take the address from it"),
            );
        }
        found
    }
}

impl<'a> Listener<'a> {
    fn new(vhost: &'a Vhost) -> Self {
        let settings = proto::Settings {
            startup_delay: Duration::ZERO,
            ..vhost.settings()
        };
        let mut machine = proto::Vhost::new(settings, 0);
        machine.handle(Input::LinkUp, clock::now());
        let mut listener = Self {
            vhost,
            machine,
            masters: BTreeMap::new(),
            refused: BTreeMap::new(),
            misnumbered: BTreeMap::new(),
            routers: BTreeSet::new(),
        };
        listener.drain();
        listener
    }

    /// What the machine wants is not done. Returns why it refused a packet.
    fn drain(&mut self) -> Option<Reject> {
        let mut refused = None;
        loop {
            match self.machine.poll() {
                Output::Rejected(why, _) => refused = Some(why),
                Output::Idle(_) => return refused,
                _ => {}
            }
        }
    }

    fn hear(&mut self, packet: Received<'_>, now: Timestamp) {
        if RollCall::decode(packet.payload).is_some() {
            return;
        }
        let (from, mac) = (packet.src, packet.mac);
        let number = self.vhost.vhid.get();
        let ad = match Advertisement::decode(packet.payload) {
            Ok(ad) => ad,
            // It has its number in the same place.
            Err(Reject::Version(VRRP) | Reject::VrrpV2)
                if packet.payload.get(1) == Some(&number) && self.routers.len() < SENDERS_MAX =>
            {
                self.routers.insert(from);
                return;
            }
            Err(_) => return,
        };
        if ad.vhid != number {
            if self.machine.would_sign(&ad) && self.misnumbered.len() < SENDERS_MAX {
                self.misnumbered.insert(from, ad.vhid);
            }
            return;
        }
        let leaves = ad.is_bow_out();
        self.machine.handle(Input::Packet(packet), now);
        match self.drain() {
            None if !leaves && self.masters.len() < SENDERS_MAX => {
                let (times, macs) = self.masters.entry(from).or_default();
                *times += 1;
                macs.extend(mac.filter(|_| macs.len() < SENDERS_MAX));
            }
            Some(why) if !why.is_silent() && self.refused.len() < SENDERS_MAX => {
                let trial = || self.machine.trial(ad, from, &BTreeSet::new()).run();
                let found = (why == Reject::Digest).then(trial).flatten();
                let cause =
                    found.map_or_else(|| why.likely_cause().to_owned(), |found| found.to_string());
                let (times, known) = self.refused.entry((from, why.as_str())).or_default();
                *times += 1;
                *known = cause;
            }
            _ => {}
        }
    }

    fn found(&self) -> Vec<Found> {
        let vhost = self.vhost;
        let mut found = Vec::new();
        for ((from, reason), (times, cause)) in &self.refused {
            found.push(
                Found::new(
                    Level::Error,
                    format!("advertisements of {from} would be refused"),
                )
                .about([vhost])
                .seen(format!("{reason}, {times} times while this listened"))
                .so("this node would become master beside it: both would have the address")
                .mend(cause.as_str()),
            );
        }
        for (from, vhid) in &self.misnumbered {
            found.push(
                Found::new(
                    Level::Error,
                    format!("{from} has this virtual host under another vhid"),
                )
                .about([vhost])
                .seen(format!(
                    "vhid {vhid}, signed with the password and the addresses of {}",
                    vhost.name
                ))
                .so("this node would become master beside it: both would have the address")
                .mend(format!(
                    "vhid = {vhid} here, or vhid = {} there",
                    vhost.vhid
                )),
            );
        }
        for family in [Family::V4, Family::V6] {
            let of_family = self.masters.iter();
            let steady = of_family
                .filter(|(source, (times, _))| Family::of(**source) == family && *times > 1);
            let masters: Vec<String> = steady.map(|(source, _)| source.to_string()).collect();
            if masters.len() > 1 {
                found.push(
                    Found::new(Level::Error, "several nodes are master")
                        .about([vhost])
                        .seen(format!("{} advertise it", masters.join(" and ")))
                        .so("they do not hear each other, and each has the address")
                        .mend("carpd doctor on each of them"),
                );
            }
        }
        if let Some(router) = self.routers.first() {
            found.push(
                Found::new(
                    Level::Warning,
                    format!("a VRRP router uses the number {}", vhost.vhid),
                )
                .about([vhost])
                .seen(format!("{router} sends VRRP with it"))
                .so("both use the same virtual hardware address: switches send frames to the wrong one")
                .mend("another vhid, on all nodes"),
            );
        }
        found
    }
}
