//! The CARP protocol itself, sans-IO: no clock, socket, random source or async.
//!
//! A [`Vhost`] is the protocol state machine for one (interface, vhid). It is fed [`Input`]s, each
//! with the time at which it happened, and drained of [`Output`]s. Time, packets and randomness are
//! arguments: a day of failover runs in a millisecond, and every run can be repeated from its
//! inputs.
//!
//! ```text
//! bytes -> wire::parse_frame -> Vhost::handle -> auth (HMAC) -> decide -> Output
//! ```
//!
//! # A node
//!
//! All that is needed around a [`Vhost`] is a loop: feed what happened, do what comes out until
//! [`Output::Idle`], and wait for a packet or for the time given there. Here the wire is a list and
//! the clock a number; a real node uses a packet socket and a monotonic clock instead, and removes
//! its addresses when it gets a transition *from* master, before it sends what follows.
//!
//! ```
//! use std::net::Ipv4Addr;
//! use carpd::proto::{Input, Key, Output, Received, Settings, Vhost};
//! use carpd::types::{Family, MacAddr, State, Timestamp, Vhid};
//!
//! struct Node { vhost: Vhost, own: Ipv4Addr, wake: Option<Timestamp> }
//!
//! impl Node {
//!     fn new(own: Ipv4Addr, seed: u64) -> Self {
//!         let (vhid, vip) = (Vhid::new(40).unwrap(), "192.168.32.22".parse().unwrap());
//!         let settings = Settings::new(vhid, vec![vip], Key::new(b"gw22").unwrap());
//!         Self { vhost: Vhost::new(settings, seed), own, wake: None }
//!     }
//!     /// Feeds what happened; returns the packets to send.
//!     fn feed(&mut self, input: Input<'_>, now: Timestamp) -> Vec<[u8; 36]> {
//!         let mut packets = Vec::new();
//!         self.vhost.handle(input, now);
//!         loop {
//!             match self.vhost.poll() {
//!                 Output::Transmit(packet) => {
//!                     packets.push(packet.payload);
//!                     self.vhost.handle(Input::Sent { family: packet.family, ok: true }, now);
//!                 }
//!                 Output::Transition(to) => {
//!                     println!("{now:?} {} is {}: {}", self.own, to.to, to.cause);
//!                 }
//!                 Output::Idle(wake) => { self.wake = wake; return packets }
//!                 _ => {} // Announcements and questions: this node has no host and no gate.
//!             }
//!         }
//!     }
//!     fn hear(&mut self, payload: &[u8], from: Ipv4Addr, now: Timestamp) {
//!         let packet = Received {
//!             src: from.into(),
//!             dst: Ipv4Addr::new(224, 0, 0, 18).into(),
//!             mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
//!             ttl: 255,
//!             payload,
//!         };
//!         self.feed(Input::Packet(packet), now);
//!     }
//! }
//!
//! let (a, b) = (Ipv4Addr::new(192, 168, 32, 1), Ipv4Addr::new(192, 168, 32, 2));
//! let (mut one, mut two) = (Node::new(a, 1), Node::new(b, 2));
//! for node in [&mut one, &mut two] {
//!     let own = Input::OwnAddress { family: Family::V4, address: Some(node.own.into()) };
//!     node.feed(own, Timestamp::ZERO);
//! }
//! one.feed(Input::LinkUp, Timestamp::ZERO);
//! two.feed(Input::LinkUp, Timestamp::from_micros(500_000));
//! // Nobody advertises: the first becomes master after 3 s, and the second hears it.
//! let mut last = Timestamp::ZERO;
//! for _ in 0..5 {
//!     last = one.wake.unwrap();
//!     for packet in one.feed(Input::Timer, last) { two.hear(&packet, a, last) }
//! }
//! assert_eq!((one.vhost.state(), two.vhost.state()), (State::Master, State::Backup));
//! // The first falls silent: the second takes over, three intervals after the last word.
//! let then = two.wake.unwrap();
//! two.feed(Input::Timer, then);
//! assert_eq!((two.vhost.state(), then.since(last).as_secs()), (State::Master, 3));
//! ```
//!
//! [`sim`] is such a loop for a whole LAN with faults; carpd's own loop is `carpd::engine`.

// A new effect, input or verdict must not compile until its consequences are written down.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod auth;
pub mod decide;
pub mod group;
mod settings;
pub mod sim;
mod stats;
pub mod timer;
mod transition;
mod vhost;
pub mod wire;

pub use auth::Key;
pub use settings::{
    Claims, Damping, Delivery, FamilyTimers, Gate, Ipv6Checksum, LinkLocal, Peers, Preempt,
    Previous, Settings, TieBreak, Unicast,
};
pub use stats::{Reject, Stats};
pub use transition::{Cause, Reason, Transition};
pub use vhost::{
    Birth, Difference, Heard, Input, Kind, Output, Reluctance, Transmit, Trial, Vhost,
};
pub use wire::Received;
