//! A virtual LAN, or several: several virtual hosts, a clock that is only a number, and faults drawn from a
//! seed.
//!
//! For tests and rehearsals: hours pass in milliseconds, and the same seed gives the same run. Each
//! node does what the engine does, but without a host: it passes packets on, answers
//! `before_master`, and keeps time.

mod group;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::settings::Settings;
use super::transition::{Reason, Transition};
use super::vhost::{Input, Output, Transmit, Vhost};
use super::wire::{LEN, Received};
use crate::types::{Family, MacAddr, State, Timestamp};

/// How many packets are queued for a paused node; the rest are lost, as in a socket's receive
/// buffer.
const BACKLOG: usize = 64;

/// One node of a [`Lan`], in the order of joining.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

/// What goes wrong on the wire. Probabilities are in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Probability that a packet is lost.
    pub loss: u16,
    /// But never more than this many in a row in one direction in one family.
    pub loss_run_max: u32,
    /// Probability that a packet arrives twice.
    pub duplicate: u16,
    /// Probability that a packet comes back to its sender.
    pub reflect: u16,
    /// The shortest delivery time.
    pub delay_min: Duration,
    /// The longest delivery time. If it is much longer than the shortest, packets overtake each
    /// other.
    pub delay_max: Duration,
}

impl Default for Faults {
    /// No faults: everything arrives once, after 100 µs.
    fn default() -> Self {
        let delay = Duration::from_micros(100);
        Self {
            loss: 0,
            loss_run_max: u32::MAX,
            duplicate: 0,
            reflect: 0,
            delay_min: delay,
            delay_max: delay,
        }
    }
}

/// How a node answers [`Output::WantMaster`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Whether the answer is yes.
    pub approve: bool,
    /// The delay before the answer.
    pub after: Duration,
}

/// Something worth recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A state changed.
    Transition(Transition),
    /// A packet went out.
    Sent(Transmit),
    /// The node would announce its addresses again.
    Announce,
    /// The node asks whether it may preempt.
    WantMaster,
    /// A backup has answered the node's roll call.
    Answered,
}

/// An [`Event`] with time and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// Where.
    pub node: NodeId,
    /// What.
    pub event: Event,
}

#[derive(Debug, Clone, Copy)]
struct Packet {
    src: IpAddr,
    mac: MacAddr,
    dst: IpAddr,
    payload: [u8; LEN],
}

#[derive(Debug)]
enum Pending {
    Deliver(Packet),
    Answer { approve: bool },
    Resume,
}

#[derive(Debug)]
struct Node {
    /// Only nodes of one network hear each other.
    network: u8,
    /// Its group, by number.
    group: Option<usize>,
    vhost: Vhost,
    source4: Ipv4Addr,
    mac: MacAddr,
    on: bool,
    paused: bool,
    can_send: bool,
    can_hold: bool,
    backlog: VecDeque<Packet>,
    wake: Option<Timestamp>,
    answer: Answer,
}

impl Node {
    fn source(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.source4.into(),
            Family::V6 => {
                Ipv6Addr::from_bits(0xfe80_u128 << 112 | u128::from(self.source4.to_bits())).into()
            }
        }
    }
}

/// A small pseudorandom number generator (xorshift64*): good enough for faults, and no dependency.
#[derive(Debug, Clone)]
pub struct Luck(u64);

impl Luck {
    /// The same seed gives the same sequence.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed | 1 << 63)
    }

    /// Any number.
    pub const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// True in this many of a thousand cases.
    pub fn strikes(&mut self, of_thousand: u16) -> bool {
        (self.next() >> 32) % 1_000 < u64::from(of_thousand)
    }

    /// A duration between these.
    pub fn between(&mut self, min: Duration, max: Duration) -> Duration {
        let spread = u64::try_from(max.saturating_sub(min).as_nanos())
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        min + Duration::from_nanos(self.next() % spread)
    }
}

/// The LAN.
#[derive(Debug)]
pub struct Lan {
    now: Timestamp,
    nodes: Vec<Node>,
    pending: BTreeMap<(Timestamp, u64), (NodeId, Pending)>,
    /// Keeps events at the same time in order.
    order: u64,
    luck: Luck,
    /// May be changed at any time.
    pub faults: Faults,
    lost_in_a_row: BTreeMap<(NodeId, NodeId, Family), u32>,
    cut: Vec<(NodeId, NodeId)>,
    records: Vec<Record>,
    contested: Duration,
    /// The virtual hosts of one machine that are master together.
    groups: Vec<Vec<NodeId>>,
}

impl Lan {
    /// An empty one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            now: Timestamp::from_micros(1),
            nodes: Vec::new(),
            pending: BTreeMap::new(),
            order: 0,
            luck: Luck::new(seed),
            faults: Faults::default(),
            lost_in_a_row: BTreeMap::new(),
            cut: Vec::new(),
            records: Vec::new(),
            contested: Duration::ZERO,
            groups: Vec::new(),
        }
    }

    /// Adds a node with this IPv4 address and switches it on. Its IPv6 address is a link-local one
    /// derived from it, and hardware addresses are assigned in ascending order. With 0.0.0.0 it has
    /// no address.
    pub fn join(&mut self, settings: Settings, source4: Ipv4Addr) -> NodeId {
        self.join_on(0, settings, source4)
    }

    /// As [`Self::join`], on another network.
    pub fn join_on(&mut self, network: u8, settings: Settings, source4: Ipv4Addr) -> NodeId {
        let id = NodeId(self.nodes.len());
        let vhost = Vhost::new(settings, self.luck.next());
        let answer = Answer {
            approve: true,
            after: Duration::ZERO,
        };
        let backlog = VecDeque::new();
        let mac = MacAddr([2, 0, 0, 0, 0, u8::try_from(id.0).unwrap_or(u8::MAX)]);
        self.nodes.push(Node {
            network,
            group: None,
            vhost,
            source4,
            mac,
            on: false,
            paused: false,
            can_send: true,
            can_hold: true,
            backlog,
            wake: None,
            answer,
        });
        self.switch_on(id);
        id
    }

    /// Switches a node on, with no memory of earlier runs. Does nothing if it is on.
    pub fn switch_on(&mut self, id: NodeId) {
        let seed = self.luck.next();
        let Some(node) = self.nodes.get_mut(id.0).filter(|node| !node.on) else {
            return;
        };
        node.vhost = Vhost::new(node.vhost.settings().clone(), seed);
        node.on = true;
        node.paused = false;
        let (mac, sources) = (
            node.mac,
            Family::ALL.map(|family| (family, node.source(family))),
        );
        self.feed(id, Input::Hardware(mac));
        for (family, address) in sources {
            self.feed(
                id,
                Input::OwnAddress {
                    family,
                    address: Some(address),
                },
            );
        }
        self.feed(id, Input::LinkUp);
    }

    /// Replaces the node's IPv4 address.
    pub fn set_address(&mut self, id: NodeId, source4: Ipv4Addr) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.source4 = source4;
        }
        self.feed(
            id,
            Input::OwnAddress {
                family: Family::V4,
                address: Some(source4.into()),
            },
        );
    }

    /// Switches a node off, without a bow-out.
    pub fn switch_off(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.on = false;
            node.wake = None;
            node.backlog.clear();
        }
        self.pending.retain(|_, (to, _)| *to != id);
    }

    /// Stops a node cleanly, with a bow-out, and switches it off.
    pub fn shut_down(&mut self, id: NodeId) {
        self.feed(id, Input::Shutdown);
        self.switch_off(id);
    }

    /// The node does nothing for this long, as if its machine were suspended; packets are queued.
    pub fn pause(&mut self, id: NodeId, length: Duration) {
        if let Some(node) = self
            .nodes
            .get_mut(id.0)
            .filter(|node| node.on && !node.paused)
        {
            node.paused = true;
            self.schedule(self.now + length, id, Pending::Resume);
        }
    }

    /// From now on nothing gets from one node to the other. The opposite direction is not affected.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.push((from, to));
    }

    /// Ends all cuts and all other faults.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.faults = Faults::default();
        for node in &mut self.nodes {
            (node.can_send, node.can_hold) = (true, true);
        }
    }

    /// Makes a node's sends fail, or work again.
    pub fn set_can_send(&mut self, id: NodeId, can_send: bool) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.can_send = can_send;
        }
    }

    /// Makes a node's host refuse the addresses, or accept them again.
    pub fn set_can_hold(&mut self, id: NodeId, can_hold: bool) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.can_hold = can_hold;
        }
    }

    /// Sets how the node will answer when it wants to preempt.
    pub fn set_answer(&mut self, id: NodeId, answer: Answer) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.answer = answer;
        }
    }

    /// Feeds a node that is on, and carries out its outputs.
    pub fn feed(&mut self, id: NodeId, input: Input<'_>) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(id.0).filter(|node| node.on) else {
            return;
        };
        node.vhost.handle(input, now);
        self.drain(id);
        self.settle_group_of(id);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, length: Duration) {
        let end = self.now + length;
        while let Some(next) = self.next_event().filter(|next| *next <= end) {
            self.advance(next);
            self.step();
        }
        self.advance(end);
    }

    /// What time it is.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// A node's virtual host.
    ///
    /// # Panics
    /// If the node belongs to another LAN.
    #[must_use]
    pub fn vhost(&self, id: NodeId) -> &Vhost {
        &self.nodes.get(id.0).expect("a node of this LAN").vhost
    }

    /// The nodes that are master now. A paused master is included; one that is switched off is not.
    #[must_use]
    pub fn masters(&self) -> Vec<NodeId> {
        let masters = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.on && node.vhost.state() == State::Master);
        masters.map(|(at, _)| NodeId(at)).collect()
    }

    /// The total time during which there was more than one master.
    #[must_use]
    pub const fn contested(&self) -> Duration {
        self.contested
    }

    /// Everything that happened, in order.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// All state changes, in order.
    #[must_use]
    pub fn transitions(&self) -> impl DoubleEndedIterator<Item = (Timestamp, NodeId, &Transition)> {
        self.records
            .iter()
            .filter_map(|record| match &record.event {
                Event::Transition(transition) => Some((record.at, record.node, transition)),
                Event::Sent(_) | Event::Announce | Event::WantMaster | Event::Answered => None,
            })
    }

    fn next_event(&self) -> Option<Timestamp> {
        let wakes = self
            .nodes
            .iter()
            .filter(|node| node.on && !node.paused)
            .filter_map(|node| node.wake);
        wakes
            .chain(self.pending.first_key_value().map(|(key, _)| key.0))
            .min()
            .map(|at| at.max(self.now))
    }

    fn advance(&mut self, to: Timestamp) {
        if self.is_contested() {
            self.contested += to - self.now;
        }
        self.now = to;
    }

    /// Timers before packets: the harder order.
    fn step(&mut self) {
        let now = self.now;
        let due =
            |node: &Node| node.on && !node.paused && node.wake.is_some_and(|wake| wake <= now);
        if let Some(at) = self.nodes.iter().position(due) {
            self.feed(NodeId(at), Input::Timer);
            return;
        }
        let Some(entry) = self
            .pending
            .first_entry()
            .filter(|entry| entry.key().0 <= now)
        else {
            return;
        };
        let (id, what) = entry.remove();
        match what {
            Pending::Deliver(packet) => self.deliver(id, packet),
            Pending::Answer { approve: true } => self.feed(id, Input::Approve),
            Pending::Answer { approve: false } => {
                self.feed(
                    id,
                    Input::Refuse {
                        retry_after: Duration::from_secs(10),
                    },
                );
            }
            Pending::Resume => self.resume(id),
        }
    }

    fn resume(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id.0) else {
            return;
        };
        node.paused = false;
        let backlog = std::mem::take(&mut node.backlog);
        self.feed(id, Input::Timer);
        for packet in backlog {
            self.deliver(id, packet);
        }
    }

    fn deliver(&mut self, id: NodeId, packet: Packet) {
        let Some(node) = self.nodes.get_mut(id.0).filter(|node| node.on) else {
            return;
        };
        if node.paused {
            if node.backlog.len() < BACKLOG {
                node.backlog.push_back(packet);
            }
            return;
        }
        let Packet {
            src,
            mac,
            dst,
            payload,
        } = packet;
        self.feed(
            id,
            Input::Packet(Received {
                src,
                dst,
                mac: Some(mac),
                ttl: 255,
                payload: &payload,
            }),
        );
    }

    fn drain(&mut self, id: NodeId) {
        let mut refused = false;
        loop {
            let Some(node) = self.nodes.get_mut(id.0) else {
                return;
            };
            match node.vhost.poll() {
                Output::Idle(_) if std::mem::take(&mut refused) => {
                    let reason = Reason::new("address-failed", "refused");
                    let unfit = true;
                    node.vhost.handle(Input::Resign { reason, unfit }, self.now);
                }
                Output::Idle(wake) => {
                    node.wake = wake;
                    return;
                }
                Output::Transmit(packet) => self.transmit(id, packet),
                Output::Transition(transition) => {
                    refused = transition.to == State::Master && !node.can_hold;
                    self.record(id, Event::Transition(transition));
                }
                Output::PeerClaim { .. } | Output::AnnounceAgain => {
                    self.record(id, Event::Announce);
                }
                Output::WantMaster { .. } => {
                    let Answer { approve, after } = node.answer;
                    self.record(id, Event::WantMaster);
                    self.schedule(self.now + after, id, Pending::Answer { approve });
                }
                Output::Answered { .. } => self.record(id, Event::Answered),
                Output::Rejected(..) => {}
            }
        }
    }

    fn transmit(&mut self, from: NodeId, packet: Transmit) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(from.0) else {
            return;
        };
        let (family, ok) = (packet.family, node.can_send);
        let (src, mac, network) = (node.source(family), node.mac, node.network);
        node.vhost.handle(Input::Sent { family, ok }, now);
        if !ok {
            return;
        }
        self.record(from, Event::Sent(packet));
        let dst = match family {
            Family::V4 => Ipv4Addr::new(224, 0, 0, 18).into(),
            Family::V6 => Settings::IPV6_GROUP.into(),
        };
        let packet = Packet {
            src,
            mac,
            dst,
            payload: packet.payload,
        };
        for to in self.nodes_on(network) {
            let copies = if to == from {
                u8::from(self.luck.strikes(self.faults.reflect))
            } else {
                self.copies(from, to, family)
            };
            for _ in 0..copies {
                let delay = self
                    .luck
                    .between(self.faults.delay_min, self.faults.delay_max);
                self.schedule(now + delay, to, Pending::Deliver(packet));
            }
        }
    }

    /// How many copies of a packet arrive: none, one or two.
    fn copies(&mut self, from: NodeId, to: NodeId, family: Family) -> u8 {
        if self.cut.contains(&(from, to)) {
            return 0;
        }
        let run = self.lost_in_a_row.entry((from, to, family)).or_default();
        if *run < self.faults.loss_run_max && self.luck.strikes(self.faults.loss) {
            *run += 1;
            return 0;
        }
        *run = 0;
        1 + u8::from(self.luck.strikes(self.faults.duplicate))
    }

    fn schedule(&mut self, at: Timestamp, id: NodeId, what: Pending) {
        self.order += 1;
        self.pending.insert((at, self.order), (id, what));
    }

    fn record(&mut self, node: NodeId, event: Event) {
        self.records.push(Record {
            at: self.now,
            node,
            event,
        });
    }
}
