//! When a hook is called, what it receives, and what it returns.

use serde::{Deserialize, Serialize};

use crate::types::{IfName, Name, State, Vhid, VirtualAddress};

/// The functions that a hook may define, by the same names in every language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryPoint {
    /// Elected, addresses not yet up; a failure means: do not become master.
    BeforeMaster,
    /// Master, addresses up and announced.
    OnMaster,
    /// Stop or operator's order, addresses still up.
    BeforeBackup,
    /// No longer master, addresses gone; also at start unless `neutral`.
    OnBackup,
    /// Master, and heard a worse master: a split has healed.
    OnPeerClaim,
    /// Is the service well? Only queries.
    Health,
    /// The daemon stops; everything is undone.
    OnStop,
}

impl EntryPoint {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::BeforeMaster,
        Self::OnMaster,
        Self::BeforeBackup,
        Self::OnBackup,
        Self::OnPeerClaim,
        Self::Health,
        Self::OnStop,
    ];

    /// The name of the function in Lua; WIT has `-` for `_`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeMaster => "before_master",
            Self::OnMaster => "on_master",
            Self::BeforeBackup => "before_backup",
            Self::OnBackup => "on_backup",
            Self::OnPeerClaim => "on_peer_claim",
            Self::Health => "health",
            Self::OnStop => "on_stop",
        }
    }

    /// Whether its effects are undone automatically when mastership ends.
    #[must_use]
    pub const fn scoped(self) -> bool {
        matches!(self, Self::BeforeMaster | Self::OnMaster)
    }

    /// Whether it may change anything at all.
    #[must_use]
    pub const fn may_change(self) -> bool {
        !matches!(self, Self::Health)
    }
}

/// What a hook receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookEvent {
    /// Which function is called.
    pub entry: EntryPoint,
    /// The virtual host.
    pub instance: Instance,
    /// Its state now.
    pub state: State,
    /// Its state before.
    pub previous: State,
    /// Why, as a fixed word: the protocol's or the daemon's own.
    pub cause: String,
    /// The cause in words.
    pub cause_text: String,
    /// Whose advertisement led to it.
    pub peer: Option<std::net::IpAddr>,
    /// The transition's number; never reused.
    pub seq: u64,
    /// The first call after the daemon's start, which tells the state and not a change of it.
    pub initial: bool,
    /// How many transitions were overtaken before this one could be told.
    pub missed: u32,
    /// ucarp's `--xparam`.
    pub xparam: Option<String>,
    /// This node's host name when the daemon started.
    pub node: String,
    /// What is left of the budget, in ms, when the call begins.
    pub time_left_ms: u64,
}

/// The virtual host that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its name in the configuration.
    pub name: Name,
    /// Its interface.
    pub interface: IfName,
    /// Its vhid.
    pub vhid: Vhid,
    /// Its addresses.
    pub addresses: Vec<VirtualAddress>,
}

/// What a run that worked gave back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Returned {
    /// Any entry point but `health`.
    Done,
    /// Of `health`.
    Health {
        /// 0 is well; up to 240, as unfit as a node can be.
        demotion: u8,
        /// Why, in the hook's words; may be empty.
        reason: String,
    },
}
