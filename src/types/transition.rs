//! States and the way from one to the next.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The three states of carp(4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not taking part: the link is down, or not started yet.
    Init,
    /// Listening to a master.
    Backup,
    /// Holding the addresses and advertising.
    Master,
}

impl State {
    /// The lower-case word, as in logs, metrics and hooks.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Backup => "backup",
            Self::Master => "master",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a virtual host changed its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The daemon started, or the link came up.
    Startup,
    /// No advertisement for the master-down time.
    MasterDown {
        /// How long no advertisement had been heard.
        silent: Duration,
    },
    /// We preempt a master that is worse than we are.
    Preempt,
    /// The master said, by its advertisement, that it is leaving or would time out anyway.
    MasterLeaving,
    /// The peer says it is less fit than we are (`peers = "openbsd"`).
    PeerDemoted,
    /// A better master advertised.
    BetterMaster,
    /// An equal master advertised and the tie-break decided for it.
    Tie,
    /// The link went down, or the interface away.
    LinkDown,
    /// We woke later than the master-down time allows and must listen first.
    Late {
        /// How late.
        by: Duration,
    },
    /// A hook failed and its `on-failure` is `resign`.
    HookFailed {
        /// The hook's name and what went wrong, in a few words.
        reason: String,
    },
    /// A hook called `carp.resign`, or an operator asked for it.
    Resigned {
        /// Who asked, and why.
        reason: String,
    },
    /// The virtual host's addresses could not be put up.
    AddressFailed {
        /// What the kernel said.
        reason: String,
    },
    /// The daemon stops in good order.
    Shutdown,
    /// A hook's `health` failed and its `on-failure` is `resign`.
    Unhealthy {
        /// The hook's name and what it said.
        reason: String,
    },
    /// The daemon died. Nobody saw that transition: it is told afterwards.
    Died {
        /// What is known of it.
        how: String,
    },
    /// Advertisements could not be sent for so long that the lease of the addresses ran out.
    SendFailed {
        /// What the kernel said.
        reason: String,
    },
}

impl Cause {
    /// A fixed kebab-case word for logs, metrics and hooks.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::MasterDown { .. } => "master-down",
            Self::Preempt => "preempt",
            Self::MasterLeaving => "master-leaving",
            Self::PeerDemoted => "peer-demoted",
            Self::BetterMaster => "better-master",
            Self::Tie => "tie",
            Self::LinkDown => "link-down",
            Self::Late { .. } => "late",
            Self::HookFailed { .. } => "hook-failed",
            Self::Resigned { .. } => "resigned",
            Self::AddressFailed { .. } => "address-failed",
            Self::Shutdown => "shutdown",
            Self::Unhealthy { .. } => "unhealthy",
            Self::SendFailed { .. } => "send-failed",
            Self::Died { .. } => "died",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MasterDown { silent } => {
                write!(f, "no advertisement for {} ms", silent.as_millis())
            }
            Self::Late { by } => write!(f, "woke {} ms too late", by.as_millis()),
            Self::HookFailed { reason }
            | Self::Resigned { reason }
            | Self::AddressFailed { reason }
            | Self::SendFailed { reason }
            | Self::Unhealthy { reason } => {
                write!(f, "{}: {reason}", self.as_str())
            }
            Self::Died { how } => f.write_str(how),
            Self::Startup => f.write_str("start"),
            Self::Preempt => f.write_str("preempting a worse master"),
            Self::MasterLeaving => f.write_str("the master is leaving"),
            Self::PeerDemoted => f.write_str("the peer is less fit"),
            Self::BetterMaster => f.write_str("a better master advertised"),
            Self::Tie => f.write_str("an equal master won the tie-break"),
            Self::LinkDown => f.write_str("the link is down"),
            Self::Shutdown => f.write_str("stopping"),
        }
    }
}

/// One change of state: all that hooks, log and metrics hear of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// Whose advertisement led to it, if one did.
    pub peer: Option<IpAddr>,
    /// Grows by one with each transition of the virtual host; never reused.
    pub seq: u64,
}
