//! What all queues of an engine share.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::mpsc;

use super::outcome::HookOutcome;
use super::recent::RecentRecord;
use super::run_limits::RunLimits;
use crate::engine::activity::Activity;
use crate::engine::effects::executor::Executor;
use crate::engine::effects::recover::Recovery;
use crate::engine::notices::Notices;
use crate::engine::persist::Persist;
use crate::engine::persist::state_store::StateStore;
use crate::host::Host;
use crate::journal::Journal;
use crate::ledger::Ledger;

/// The limit for simultaneous runs of all hooks. It equals the limit for one hook, so that a single
/// hook can use all its `runners`.
const RUNS_AT_ONCE: usize = 64;

/// Additional runs for giving up mastership.
const RUNS_RESERVE: usize = 8;

/// Checks of all hooks at one time.
const CHECKS_AT_ONCE: usize = 32;

/// What all queues of an engine share.
#[derive(Debug)]
pub(in crate::engine) struct Shared<H> {
    /// Does effects.
    pub(in crate::engine) executor: Executor<H>,
    /// The hooks' persistent state.
    pub(in crate::engine) store: RefCell<StateStore>,
    /// What else outlives the process.
    pub(in crate::engine) persist: Persist,
    /// The flight recorder.
    pub(in crate::engine) journal: RefCell<Journal>,
    /// Who is told what happens.
    pub(in crate::engine) notices: Notices,
    /// To the engine.
    pub(in crate::engine) outcomes: mpsc::UnboundedSender<HookOutcome>,
    /// How many hooks run at one time.
    pub(in crate::engine) limits_of_daemon: DaemonLimits,
    /// What has happened lately.
    pub(in crate::engine) recent: RefCell<RecentRecord>,
    /// What the thread is doing.
    pub(in crate::engine) activity: Activity,
}

impl<H: Host> Shared<H> {
    /// For a machine in memory: nothing is persistent, and nothing is recorded.
    pub(in crate::engine) fn in_memory(
        host: H,
        outcomes: mpsc::UnboundedSender<HookOutcome>,
    ) -> Rc<Self> {
        Rc::new(Self {
            executor: Executor::new(host, Ledger::new(), Recovery::default()),
            store: RefCell::new(StateStore::new()),
            persist: Persist::none(),
            journal: RefCell::new(Journal::disabled()),
            notices: Notices::default(),
            outcomes,
            limits_of_daemon: DaemonLimits::default(),
            recent: RefCell::default(),
            activity: Activity::default(),
        })
    }
}

impl<H: Host> Shared<H> {
    /// For a plan of what a daemon would do: its ledger and its hooks' state as they are now, on
    /// another host.
    pub(in crate::engine) fn copied<D: Host>(
        daemon: &Shared<D>,
        host: H,
        outcomes: mpsc::UnboundedSender<HookOutcome>,
    ) -> Rc<Self> {
        let ledger = daemon.executor.ledger().copy();
        Rc::new(Self {
            executor: Executor::new(host, ledger, Recovery::default()),
            store: RefCell::new(daemon.store.borrow().copy()),
            persist: Persist::none(),
            journal: RefCell::new(Journal::disabled()),
            notices: Notices::default(),
            outcomes,
            limits_of_daemon: DaemonLimits::default(),
            recent: RefCell::default(),
            activity: Activity::default(),
        })
    }
}

/// The limits of the whole daemon, shared by all hooks and virtual hosts.
#[derive(Debug)]
pub(in crate::engine) struct DaemonLimits {
    pub(in crate::engine) runs: Rc<RunLimits>,
    pub(in crate::engine) checks: Rc<RunLimits>,
}

impl Default for DaemonLimits {
    fn default() -> Self {
        Self {
            runs: Rc::new(RunLimits::new(RUNS_AT_ONCE, RUNS_RESERVE)),
            checks: Rc::new(RunLimits::new(CHECKS_AT_ONCE, 0)),
        }
    }
}
