//! What an instance stores below `state-dir` so that it survives the process and a reboot: the last
//! good hooks, their `state`, the number of the last transition, and an operator's lasting orders.
//!
//! Nothing here delays the protocol. Files are read once, at the start; later writes happen one
//! after the other on another thread, and only the hook that asked waits for them.

mod last_good;
mod lasting_orders;
mod sequence;
mod state_files;
pub(super) mod state_store;
mod writer;

use std::cell::RefCell;
use std::path::PathBuf;

use tracing::warn;

pub(super) use last_good::{LastGood, LastGoodHook};
pub(super) use lasting_orders::{Clocks, LastingOrder, LastingOrders, OrderKind, Scope};
pub use lasting_orders::{Maintenance, maintenance_in};
pub(super) use sequence::Sequence;
pub(super) use state_files::{Saved, StateFiles, Values};
pub(super) use writer::DiskWriter;

use super::persist::state_store::StateStore;
use crate::ledger::Instance;

/// All of it.
#[derive(Debug)]
pub(super) struct Persist {
    pub(super) kept: LastGood,
    pub(super) numbers: RefCell<Sequence>,
    pub(super) orders: RefCell<LastingOrders>,
    disk: DiskWriter,
    /// Why nothing is persistent, if the directory cannot be used.
    problem: Option<String>,
}

impl Persist {
    /// Opens the instance's directory and reads the persistent state. If that fails, the node
    /// starts like a new one, nothing will survive the process, and [`Self::problem`] says why;
    /// that is no reason not to start.
    pub(super) async fn open(instance: &mut Instance, clocks: Clocks) -> (Self, StateStore) {
        let disk = DiskWriter::start();
        let (root, problem) = match instance.take_lasting() {
            Ok(root) => (Some(root.to_owned()), None),
            Err(error) => {
                warn!(path = %instance.lasting_dir().display(), %error, "State will not survive this process: cannot use its directory");
                (None, Some(format!("nothing survives the daemon: {error}")))
            }
        };
        let below = |name: &str| root.as_ref().map(|root: &PathBuf| root.join(name));
        let kept = LastGood::new(below("hooks"), disk.clone());
        let numbers = Sequence::open(below("transitions"), disk.clone(), clocks.wall_ms).await;
        let boot = instance.origin().boot;
        let orders =
            LastingOrders::open(below(lasting_orders::FILE_NAME), disk.clone(), boot, clocks).await;
        let store = match below("state") {
            Some(path) => StateStore::persist(StateFiles::open(path, disk.clone()).await),
            None => StateStore::new(),
        };
        (
            Self {
                kept,
                numbers: RefCell::new(numbers),
                orders: RefCell::new(orders),
                disk,
                problem,
            },
            store,
        )
    }

    /// Without persistent state, for simulations.
    pub(super) fn none() -> Self {
        let disk = DiskWriter::none();
        let numbers = RefCell::new(Sequence::none());
        Self {
            kept: LastGood::new(None, disk.clone()),
            numbers,
            orders: RefCell::default(),
            disk,
            problem: None,
        }
    }

    /// Whether anything is written at all; not in a simulation.
    pub(super) fn writes(&self) -> bool {
        self.disk.writes()
    }

    /// Why something is not persistent, if that is so.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.clone().or_else(|| self.disk.problem())
    }

    /// How often something could not be written.
    pub(super) fn failures(&self) -> u64 {
        self.disk.failures()
    }

    /// Waits until everything has been written to the disk.
    pub(super) async fn settled(&self) {
        self.disk.settled().await;
    }
}
