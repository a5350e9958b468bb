//! Plans: what hooks and the daemon itself would do, listed without doing it.
//!
//! A hook really runs, in its runner and with the real gate; behind the gate is a host that only
//! records ([`RecordingHost`](crate::host::RecordingHost)) over the facts of this machine.

mod planner;
pub(super) mod steps;
mod text;

use serde::{Deserialize, Serialize};

pub use planner::{Learned, PlanError, Planner, Wanted};
pub use text::text;

use super::offline::oneshot::LogLine;
use crate::hooks::EntryPoint;
use crate::types::{IfName, Name, State, VirtualAddress};

/// What happens to a virtual host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// It is about to become master: only `before_master`.
    BeforeMaster,
    /// It becomes master: `before_master`, the addresses, `on_master`.
    Master,
    /// It is about to give up mastership cleanly: only `before_backup`.
    BeforeBackup,
    /// It is no longer master: the addresses go, `on_backup`, undoing.
    Backup,
    /// As master it heard a worse one: `on_peer_claim`.
    PeerClaim,
    /// Its health is checked: `health`.
    Health,
    /// The daemon stops: `on_stop`.
    Stop,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::BeforeMaster,
        Self::Master,
        Self::BeforeBackup,
        Self::Backup,
        Self::PeerClaim,
        Self::Health,
        Self::Stop,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeMaster => "before-master",
            Self::Master => "master",
            Self::BeforeBackup => "before-backup",
            Self::Backup => "backup",
            Self::PeerClaim => "peer-claim",
            Self::Health => "health",
            Self::Stop => "stop",
        }
    }

    /// The current and the previous state, as passed to hooks.
    const fn states(self) -> (State, State) {
        match self {
            Self::BeforeMaster => (State::Backup, State::Backup),
            Self::Master => (State::Master, State::Backup),
            Self::BeforeBackup | Self::PeerClaim | Self::Health => (State::Master, State::Master),
            Self::Backup => (State::Backup, State::Master),
            Self::Stop => (State::Init, State::Backup),
        }
    }
}

/// What one event would do to one virtual host of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The virtual host.
    pub vhost: Name,
    /// Its interface.
    pub interface: IfName,
    /// Its addresses.
    pub addresses: Vec<VirtualAddress>,
    /// What becomes of it.
    pub event: Event,
    /// Further remarks for the reader.
    pub notes: Vec<String>,
    /// In the order in which it would be done.
    pub parts: Vec<Part>,
}

/// One part of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Who does it.
    pub by: By,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// What the hook would log.
    pub log: Vec<LogLine>,
    /// How the hook failed, if it did.
    pub failure: Option<String>,
}

/// Who does a part of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The daemon itself: the virtual host's addresses.
    Daemon,
    /// A hook.
    Hook {
        /// Its name.
        name: Name,
        /// Which of its functions.
        entry: EntryPoint,
    },
    /// The daemon, undoing what hooks did.
    Undo,
}

/// One effect that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The effect, as `hostname.set nodevir2`.
    pub effect: String,
    /// The expected outcome.
    pub verdict: Verdict,
    /// What it sets, if it sets something.
    pub resource: Option<String>,
    /// The value now.
    pub before: Option<String>,
    /// The value afterwards.
    pub after: Option<String>,
    /// The line of TOML that allows it; of a refused one, the line that would.
    pub grant: Option<String>,
    /// What undoing would give back; `None` if it stays, or leaves nothing behind.
    pub undo: Option<String>,
    /// Why it failed or was refused.
    pub error: Option<String>,
}

/// What would come of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It changes something.
    Change,
    /// It is in place already.
    Already,
    /// It leaves nothing behind that could be compared: a command, an announcement.
    Act,
    /// It is not granted.
    Denied,
    /// It cannot work here.
    Failed,
}

/// A summary of plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Steps that change something.
    pub change: usize,
    /// Steps that find it so already.
    pub already: usize,
    /// Steps that act and leave nothing behind.
    pub act: usize,
    /// Steps that are not granted.
    pub denied: usize,
    /// Steps that cannot work, and hooks that failed.
    pub failed: usize,
}

impl Totals {
    /// Of these plans together.
    #[must_use]
    pub fn of(plans: &[Plan]) -> Self {
        let mut totals = Self::default();
        for part in plans.iter().flat_map(|plan| &plan.parts) {
            // What a hook dies of is counted as its step where there is one.
            let told = part
                .steps
                .iter()
                .any(|step| matches!(step.verdict, Verdict::Denied | Verdict::Failed));
            totals.failed += usize::from(part.failure.is_some() && !told);
            for step in &part.steps {
                match step.verdict {
                    Verdict::Change => totals.change += 1,
                    Verdict::Already => totals.already += 1,
                    Verdict::Act => totals.act += 1,
                    Verdict::Denied => totals.denied += 1,
                    Verdict::Failed => totals.failed += 1,
                }
            }
        }
        totals
    }

    /// Whether everything would work.
    #[must_use]
    pub const fn is_good(self) -> bool {
        self.denied == 0 && self.failed == 0
    }
}
