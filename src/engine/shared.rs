//! What all queues of an engine share.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::mpsc;

use super::doing::Doing;
use super::execute::Executor;
use super::lasting::Lasting;
use super::news::HookNews;
use super::places::Places;
use super::recover::Recovery;
use super::store::Store;
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
pub(super) struct Shared<H> {
    /// Does effects.
    pub(super) executor: Executor<H>,
    /// The hooks' lasting state.
    pub(super) store: RefCell<Store>,
    /// What else outlives the process.
    pub(super) lasting: Lasting,
    /// The flight recorder.
    pub(super) journal: RefCell<Journal>,
    /// To the engine.
    pub(super) news: mpsc::UnboundedSender<HookNews>,
    /// How many hooks run at one time.
    pub(super) crowd: Crowd,
    /// What the thread is at.
    pub(super) doing: Doing,
}

impl<H: Host> Shared<H> {
    /// Of a machine in memory: nothing outlives it, and nothing is recorded.
    pub(super) fn in_memory(host: H, news: mpsc::UnboundedSender<HookNews>) -> Rc<Self> {
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
    pub(super) fn copied<D: Host>(
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
pub(super) struct Crowd {
    pub(super) runs: Rc<Places>,
    pub(super) checks: Rc<Places>,
}

impl Default for Crowd {
    fn default() -> Self {
        Self {
            runs: Rc::new(Places::new(RUNS_AT_ONCE, RUNS_RESERVE)),
            checks: Rc::new(Places::new(CHECKS_AT_ONCE, 0)),
        }
    }
}
