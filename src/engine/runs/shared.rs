//! What all queues of an engine share.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::mpsc;

use super::outcome::HookNews;
use super::run_limits::Places;
use crate::engine::activity::Doing;
use crate::engine::effects::executor::Executor;
use crate::engine::effects::recover::Recovery;
use crate::engine::persist::Lasting;
use crate::engine::persist::state_store::Store;
use crate::host::Host;
use crate::journal::Journal;
use crate::ledger::Ledger;

/// Runs of all hooks at one time. As many as one hook may have, so that one alone can have its
/// `runners`.
const RUNS_AT_ONCE: usize = 64;

/// Beyond those, for runs that let go.
const RUNS_RESERVE: usize = 8;

/// Checks of all hooks at one time.
const CHECKS_AT_ONCE: usize = 32;

/// What all queues of an engine share.
#[derive(Debug)]
pub(in crate::engine) struct Shared<H> {
    /// Does effects.
    pub(in crate::engine) executor: Executor<H>,
    /// The hooks' lasting state.
    pub(in crate::engine) store: RefCell<Store>,
    /// What else outlives the process.
    pub(in crate::engine) lasting: Lasting,
    /// The flight recorder.
    pub(in crate::engine) journal: RefCell<Journal>,
    /// To the engine.
    pub(in crate::engine) news: mpsc::UnboundedSender<HookNews>,
    /// How many hooks run at one time.
    pub(in crate::engine) crowd: Crowd,
    /// What the thread is at.
    pub(in crate::engine) doing: Doing,
}

impl<H: Host> Shared<H> {
    /// Of a machine in memory: nothing outlives it, and nothing is recorded.
    pub(in crate::engine) fn in_memory(host: H, news: mpsc::UnboundedSender<HookNews>) -> Rc<Self> {
        Rc::new(Self {
            executor: Executor::new(host, Ledger::new(), Recovery::default()),
            store: RefCell::new(Store::new()),
            lasting: Lasting::none(),
            journal: RefCell::new(Journal::disabled()),
            news,
            crowd: Crowd::default(),
            doing: Doing::default(),
        })
    }
}

impl<H: Host> Shared<H> {
    /// For a plan of what a daemon would do: its ledger and its hooks' state as they are now, on
    /// another host.
    pub(in crate::engine) fn copied<D: Host>(
        daemon: &Shared<D>,
        host: H,
        news: mpsc::UnboundedSender<HookNews>,
    ) -> Rc<Self> {
        let ledger = daemon.executor.ledger().copy();
        Rc::new(Self {
            executor: Executor::new(host, ledger, Recovery::default()),
            store: RefCell::new(daemon.store.borrow().copy()),
            lasting: Lasting::none(),
            journal: RefCell::new(Journal::disabled()),
            news,
            crowd: Crowd::default(),
            doing: Doing::default(),
        })
    }
}

/// The places of the whole daemon: hooks on many virtual hosts, or many hooks, share them.
#[derive(Debug)]
pub(in crate::engine) struct Crowd {
    pub(in crate::engine) runs: Rc<Places>,
    pub(in crate::engine) checks: Rc<Places>,
}

impl Default for Crowd {
    fn default() -> Self {
        Self {
            runs: Rc::new(Places::new(RUNS_AT_ONCE, RUNS_RESERVE)),
            checks: Rc::new(Places::new(CHECKS_AT_ONCE, 0)),
        }
    }
}
