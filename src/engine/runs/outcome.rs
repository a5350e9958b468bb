//! What the hook runs of a virtual host report to the engine.

use crate::config::OnFailure;
use crate::engine::vhost::id::VhostId;
use crate::hooks::{EntryPoint, HookError, Returned};
use crate::types::Name;

/// What the engine hears from the hook runs.
#[derive(Debug)]
pub(in crate::engine) enum HookOutcome {
    /// A run over the list of hooks ended.
    Finished {
        /// Index of the virtual host.
        vhost: VhostId,
        /// Which entry point.
        entry: EntryPoint,
        /// The transition's number.
        seq: u64,
        /// The first failure ended the list.
        result: Result<(), Failure>,
    },
    /// One hook ran again by an operator's order, and succeeded.
    Applied {
        /// Index of the virtual host.
        vhost: VhostId,
    },
    /// A hook asked to raise or end the demotion of its virtual host.
    Demote {
        /// Index of the virtual host.
        vhost: VhostId,
        /// 0..=240.
        by: u8,
        /// Hook and reason.
        reason: String,
    },
    /// A hook was asked for its health.
    Checked {
        /// Index of the virtual host.
        vhost: VhostId,
        /// Which hook.
        hook: Name,
        /// The check's number.
        ticket: u64,
        /// The transition's number when it began.
        seq: u64,
        /// What it said, or how it failed.
        result: Result<Returned, HookError>,
    },
    /// A hook was asked for a track.
    Answered {
        /// Index of the virtual host on whose behalf.
        vhost: VhostId,
        /// For which one.
        track: Name,
        /// The question's number.
        number: u64,
        /// What it said, or how it failed.
        result: Result<Returned, HookError>,
    },
    /// A hook asked to hand over.
    Resign {
        /// Index of the virtual host.
        vhost: VhostId,
        /// Hook and reason.
        reason: String,
    },
}

impl HookOutcome {
    /// The virtual host.
    pub(in crate::engine) const fn vhost(&self) -> VhostId {
        match self {
            Self::Finished { vhost, .. }
            | Self::Demote { vhost, .. }
            | Self::Checked { vhost, .. }
            | Self::Answered { vhost, .. }
            | Self::Resign { vhost, .. }
            | Self::Applied { vhost, .. } => *vhost,
        }
    }

    /// Outcomes at the same time are handled in this order, whichever process was quicker: by
    /// virtual host, first those of its queue and then its checks.
    pub(in crate::engine) const fn order(&self) -> (VhostId, Option<&Name>) {
        let check = match self {
            Self::Checked { hook: name, .. } | Self::Answered { track: name, .. } => Some(name),
            _ => None,
        };
        (self.vhost(), check)
    }
}

/// A hook that failed.
#[derive(Debug)]
pub(in crate::engine) struct Failure {
    /// Which one.
    pub(in crate::engine) hook: Name,
    /// How.
    pub(in crate::engine) error: HookError,
    /// What the operator wants done about it.
    pub(in crate::engine) policy: OnFailure,
}
