//! An engine on a simulated machine, in virtual time: for rehearsals, tests of hooks and our own
//! tests. The daemon's own code makes the decisions.

#[cfg(test)]
pub(super) mod bench;
mod machine;
mod scripted;
mod settle;
mod wire;

pub use scripted::{Change, Counted, LoadedHook, Scripted, compiled};

pub(super) use machine::{Down, SimMachine, Turn};
pub(super) use settle::{Endless, PATIENCE, Settling, Turns, settle, wake};
pub(super) use wire::SimWire;

use super::environment::Environment;
use crate::host::SimHost;

/// A simulated machine on a simulated LAN.
#[derive(Debug, Clone, Copy)]
pub(super) struct Simulated;

impl Environment for Simulated {
    type Host = SimHost;
    type Wire = SimWire;
    type Ties = ();
}
