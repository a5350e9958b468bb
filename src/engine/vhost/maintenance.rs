//! What an operator's lasting orders mean for one virtual host, and an order to begin maintenance
//! while it is carried out.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::oneshot;

use super::id::VhostId;
use crate::backoff::Backoff;
use crate::engine::command::BeginMaintenance;
use crate::engine::persist::{LastingOrder, Scope};
use crate::engine::report::Maintained;
use crate::proto::Reluctance;
use crate::types::{Demotion, Timestamp};

/// A master in maintenance asks this often whether another node is there. After each handover that
/// did not last it waits longer.
const RELIEF: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_mins(10));

/// The orders that concern one virtual host, with the scopes that they were given for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::engine) struct Upkeep {
    /// Of several, the one that ends last.
    pub(in crate::engine) maintenance: Option<(Scope, LastingOrder)>,
    pub(in crate::engine) demotions: Vec<(Scope, LastingOrder)>,
}

impl Upkeep {
    /// What they add to its demotion.
    pub(in crate::engine) fn demotion(&self) -> Demotion {
        let maintenance = self.maintenance.iter().map(|(_, order)| order.by);
        let demotions = self.demotions.iter().map(|(_, order)| order.by);
        maintenance
            .chain(demotions)
            .fold(Demotion::NONE, Demotion::plus)
    }

    pub(in crate::engine) fn reluctance(&self) -> Reluctance {
        match &self.maintenance {
            None => Reluctance::None,
            Some((_, order)) if order.never => Reluctance::Never,
            Some(_) => Reluctance::LastResort,
        }
    }
}

/// A master in maintenance, which is master as a last resort, looks for another node.
#[derive(Debug)]
pub(in crate::engine) struct Relief {
    /// When it asks again who is there.
    pub(in crate::engine) due: Option<Timestamp>,
    pauses: Backoff,
    pause: Duration,
}

impl Default for Relief {
    fn default() -> Self {
        let mut pauses = RELIEF;
        let pause = pauses.pause();
        Self {
            due: None,
            pauses,
            pause,
        }
    }
}

impl Relief {
    /// It is master now.
    pub(in crate::engine) fn begin(&mut self, now: Timestamp) {
        self.due = Some(now + self.pause);
    }

    /// It hands over to a node that answered.
    pub(in crate::engine) fn hands_over(&mut self) {
        self.due = None;
        self.pause = self.pauses.pause();
    }
}

/// An order to begin maintenance that is being carried out.
#[derive(Debug)]
pub(in crate::engine) struct Campaign {
    pub(in crate::engine) order: BeginMaintenance,
    pub(in crate::engine) reply: oneshot::Sender<Result<Maintained, String>>,
    /// The virtual hosts that it is about.
    pub(in crate::engine) targets: Vec<VhostId>,
    /// Masters that wait for the answer of a peer, so that nobody has let go yet.
    pub(in crate::engine) calling: BTreeSet<VhostId>,
    /// Masters that hand over.
    pub(in crate::engine) masters: BTreeSet<VhostId>,
    /// Those of which it is not known yet who took over.
    pub(in crate::engine) leaving: BTreeSet<VhostId>,
    /// It is in force: the masters have let go.
    pub(in crate::engine) begun: bool,
    /// What is told to the operator.
    pub(in crate::engine) lines: Vec<String>,
    /// An address was without a master, or may still be.
    pub(in crate::engine) failed: bool,
}
