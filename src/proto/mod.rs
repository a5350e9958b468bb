//! CARP itself, sans-IO: no clock, socket, random source or async.
//!
//! One [`Vhost`] is the protocol machine of one (interface, vhid). It is fed with [`Input`]s, each with the
//! time it happened, and drained of [`Output`]s. Time, packets and luck are arguments: a day of failover runs
//! in a millisecond, and every run repeats from its inputs.
//!
//! ```text
//! bytes -> wire::parse_frame -> Vhost::handle -> auth (HMAC) -> decide -> Output
//! ```

// A new effect, input or verdict must not compile until someone says what follows from it.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod auth;
pub mod decide;
mod settings;
pub mod sim;
mod stats;
pub mod timer;
mod vhost;
pub mod wire;

pub use auth::Key;
pub use settings::{FamilyTimers, Gate, Ipv6Checksum, LinkLocal, Peers, Preempt, Settings, TieBreak};
pub use stats::{Reject, Stats};
pub use vhost::{Birth, Heard, Input, Kind, Output, Transmit, Vhost};
pub use wire::Received;
