//! An operator's order to hand over, while it is followed.

use tokio::sync::oneshot;

use crate::engine::report::HandedOver;
use crate::types::Timestamp;

/// Where the answer goes.
pub(in crate::engine) type Reply = oneshot::Sender<Result<HandedOver, String>>;

/// Which order it is.
#[derive(Debug)]
pub(in crate::engine) enum Purpose {
    /// To hand over, for this reason.
    Resign { reason: String, reply: Reply },
    /// The engine's [`super::maintenance::Campaign`].
    Maintenance,
}

/// An order that is being carried out.
#[derive(Debug)]
pub(in crate::engine) struct Handover {
    pub(in crate::engine) purpose: Purpose,
    pub(in crate::engine) stage: Stage,
    pub(in crate::engine) began: Timestamp,
    /// It is over then.
    pub(in crate::engine) until: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Stage {
    /// Asking which peers are there, again at this time.
    Calling { again: Timestamp },
    /// Has given up mastership and bowed out, with the transition of this number.
    LetGo { seq: u64 },
}

impl Handover {
    /// When something is to be done about it.
    pub(in crate::engine) fn due(&self) -> Timestamp {
        match &self.stage {
            Stage::Calling { again } => self.until.min(*again),
            Stage::LetGo { .. } => self.until,
        }
    }
}
