//! Rehearsals: real configurations and real hooks on virtual machines, in virtual time.
//!
//! Each node is the engine itself in another `Environment`: the daemon's own code makes the
//! decisions. Its hooks run in real runners with the real gate; behind the gate is a host in
//! memory. Time moves only when there is nothing left to do, so a day passes in a second, and the
//! same seed gives the same rehearsal.

mod inject;
mod lan;
mod own;
mod record;
pub mod scenario;
mod simulation;

use std::path::PathBuf;

use serde::Serialize;

pub use simulation::{RehearseError, rehearse};

use crate::config::Config;

/// One node of a rehearsal.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// What the scenario calls it.
    pub name: String,
    /// Where its configuration is from.
    pub path: PathBuf,
    /// Its configuration.
    pub config: Config,
}

/// How a rehearsal went. Times are microseconds since its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// What luck was drawn from.
    pub seed: u64,
    /// When it was over.
    pub end_us: u64,
    /// What the scenario did.
    pub events: Vec<Happening>,
    /// The nodes, in the order given.
    pub nodes: Vec<NodeLine>,
    /// The virtual hosts, in the order of the first configuration that has them.
    pub vhosts: Vec<VhostLine>,
    /// What a reader must know beside it.
    pub notes: Vec<String>,
}

/// Something that the scenario did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Happening {
    /// What happened earlier has a lower one, over the whole rehearsal.
    pub seq: u64,
    /// When.
    pub at_us: u64,
    /// What, in the words of the scenario.
    pub text: String,
}

/// The timeline of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeLine {
    /// Its name.
    pub name: String,
    /// A lane for each of its virtual hosts.
    pub lanes: Vec<Lane>,
    /// What it did, in order.
    pub marks: Vec<Mark>,
}

/// The states of one virtual host on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lane {
    /// The virtual host.
    pub vhost: String,
    /// One after the other, without a gap.
    pub states: Vec<StateSpan>,
}

/// For a while it was in one state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StateSpan {
    /// See [`Happening::seq`].
    pub seq: u64,
    /// From when.
    pub from_us: u64,
    /// Until when.
    pub to_us: u64,
    /// What it was.
    pub state: Shown,
    /// Why it became so.
    pub why: String,
}

/// What a lane shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shown {
    /// No power.
    Off,
    /// The daemon does not run.
    Stopped,
    /// The whole machine stands still.
    Frozen,
    /// Takes no part: the link is down.
    Init,
    /// Listens.
    Backup,
    /// Acquired the addresses.
    Master,
}

impl Shown {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Stopped => "stopped",
            Self::Frozen => "frozen",
            Self::Init => "init",
            Self::Backup => "backup",
            Self::Master => "master",
        }
    }
}

/// Something that a node did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// See [`Happening::seq`].
    pub seq: u64,
    /// When.
    pub at_us: u64,
    /// What kind.
    pub kind: MarkKind,
    /// What, for a person.
    pub text: String,
    /// Did it work?
    pub good: bool,
    /// What was asked of its host, in the words of plans and of tests of hooks.
    pub effect: Option<String>,
}

/// Kinds of what a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkKind {
    /// The daemon put an address up or took it down, or the kernel took it away.
    Address,
    /// The neighbours were told where an address is.
    Announce,
    /// A hook, or undoing what one did, changed something.
    Effect,
    /// A list of hooks ended, or a hook's health became another.
    Hook,
}

/// How one virtual host was served, by any node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VhostLine {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Who could be reached at them.
    pub served: Vec<Served>,
    /// When no node could be reached.
    pub outages: Vec<Outage>,
    /// More than one node held them and could be reached by somebody.
    pub contested: Vec<Span>,
}

/// One node served for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Served {
    /// The node.
    pub node: String,
    /// From when.
    pub from_us: u64,
    /// Until when.
    pub to_us: u64,
}

/// Nobody served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// From when.
    pub from_us: u64,
    /// Until when.
    pub to_us: u64,
    /// Whether this was before any node ever served: the nodes had just been started.
    pub initial: bool,
}

/// A while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    /// From when.
    pub from_us: u64,
    /// Until when.
    pub to_us: u64,
}

impl VhostLine {
    /// The outages after a node had served for the first time.
    pub fn failures(&self) -> impl Iterator<Item = &Outage> {
        self.outages.iter().filter(|outage| !outage.initial)
    }
}
