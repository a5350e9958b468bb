//! The hook runs of a virtual host: one at a time, in order, each with a time limit, the newest
//! state first.
//!
//! There is no list of jobs that could grow. There is one slot for the newest state, in which a
//! newer one replaces an older one that has not started (counted as missed), and one slot for calls
//! that are not state changes.

mod check;
mod serve;

pub(in crate::engine) use check::Purpose;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, Id};
use tracing::instrument::WithSubscriber as _;

use super::pool::Pool;
use super::shared::Shared;
use crate::engine::effects::undo::Undone;
use crate::engine::vhost::id::VhostId;
use crate::hooks::{EntryPoint, HookError, HookEvent};
use crate::host::Host;
use crate::host::clock;
use crate::types::{IfName, Name, State, VirtualAddress};

/// The queue of one virtual host.
#[derive(Debug)]
pub(in crate::engine) struct Queue<H> {
    pub(in crate::engine) index: VhostId,
    vhost: RefCell<Name>,
    pub(in crate::engine) dev: IfName,
    pub(in crate::engine) addresses: RefCell<Vec<VirtualAddress>>,
    hooks: RefCell<Vec<Rc<Pool>>>,
    pub(in crate::engine) shared: Rc<Shared<H>>,
    pub(in crate::engine) state: Cell<State>,
    slots: RefCell<Slots>,
    arrived: Notify,
    superseded: Notify,
    /// Increases with every new state; a run that started under an older one is superseded.
    ticket: Cell<u64>,
    busy: Cell<bool>,
    idle: Notify,
    /// The task that serves it.
    task: RefCell<Option<AbortHandle>>,
    /// The tasks that ask hooks for their health.
    checks: RefCell<Vec<AbortHandle>>,
    /// It undoes, and takes nothing new before that is done.
    undoing: Cell<bool>,
}

#[derive(Debug, Default)]
struct Slots {
    newest: Option<Job>,
    aside: Option<HookEvent>,
    missed: u32,
    /// A mastership has ended but has not been undone yet: what was claimed before this mark.
    undo: Option<u64>,
}

#[derive(Debug)]
struct Job {
    event: HookEvent,
    ticket: u64,
    kind: JobKind,
}

/// Why a job is there.
#[derive(Debug)]
enum JobKind {
    /// A new state.
    State,
    /// The same state, after a failure: what is held stays, and what the runs no longer ask for is
    /// undone.
    Again,
    /// The same state, because an operator wants this hook's active version applied.
    Apply(Name, oneshot::Sender<Applied>),
}

/// The outcome of [`Queue::apply`].
pub(in crate::engine) type Applied = Result<Undone, HookError>;

impl<H: Host + 'static> Queue<H> {
    /// For one virtual host; runs begin as soon as something is put in.
    pub(in crate::engine) fn start(
        index: VhostId,
        vhost: Name,
        dev: IfName,
        addresses: Vec<VirtualAddress>,
        hooks: Vec<Rc<Pool>>,
        shared: Rc<Shared<H>>,
    ) -> Rc<Self> {
        let queue = Rc::new(Self {
            index,
            vhost: RefCell::new(vhost),
            dev,
            addresses: RefCell::new(addresses),
            hooks: RefCell::new(hooks),
            shared,
            state: Cell::new(State::Init),
            slots: RefCell::default(),
            arrived: Notify::new(),
            superseded: Notify::new(),
            ticket: Cell::new(0),
            busy: Cell::new(false),
            idle: Notify::new(),
            task: RefCell::new(None),
            checks: RefCell::default(),
            undoing: Cell::default(),
        });
        let serve = Rc::clone(&queue).serve();
        // With an observer, the runs are not the daemon's, and do not belong in its log.
        let task = if queue.shared.executor.observer().is_some() {
            tokio::task::spawn_local(serve.with_current_subscriber())
        } else {
            tokio::task::spawn_local(serve)
        };
        *queue.task.borrow_mut() = Some(task.abort_handle());
        queue
    }

    /// The virtual host's name.
    pub(in crate::engine) fn vhost(&self) -> Name {
        self.vhost.borrow().clone()
    }

    /// The virtual host is called otherwise from now on. Not while a hook runs: see
    /// [`Self::is_busy`].
    pub(in crate::engine) fn rename(&self, vhost: Name) {
        *self.vhost.borrow_mut() = vhost;
    }

    /// Does any hook define this entry point?
    pub(in crate::engine) fn defines(&self, entry: EntryPoint) -> bool {
        self.hooks.borrow().iter().any(|hook| hook.defines(entry))
    }

    /// The most time that one run of this may take.
    pub(in crate::engine) fn longest_run(&self, entry: EntryPoint) -> Duration {
        let hooks = self.hooks.borrow();
        let walls = hooks.iter().map(|hook| hook.budget(entry).wall);
        walls.max().unwrap_or_default()
    }

    /// Runs that start from now on use these; a run that has started finishes in its version.
    pub(in crate::engine) fn set_hooks(&self, hooks: Vec<Rc<Pool>>) {
        *self.hooks.borrow_mut() = hooks;
    }

    /// The virtual host's addresses have changed.
    pub(in crate::engine) fn set_addresses(&self, addresses: Vec<VirtualAddress>) {
        *self.addresses.borrow_mut() = addresses;
    }

    /// Runs one hook again on a master, in its active version. If it succeeds, what it no longer
    /// asks for is undone; otherwise nothing happens. The answer is dropped if a newer state
    /// supersedes the run.
    pub(in crate::engine) fn apply(
        &self,
        hook: Name,
        event: HookEvent,
    ) -> oneshot::Receiver<Applied> {
        let (sender, receiver) = oneshot::channel();
        self.put_job(event, false, JobKind::Apply(hook, sender));
        receiver
    }

    /// Runs all hooks again on a master after one of them failed. If they succeed, what they no
    /// longer ask for is undone.
    pub(in crate::engine) fn run_again(&self, event: HookEvent) {
        self.put_job(event, false, JobKind::Again);
    }

    /// Queues a call that follows from a new state (or is about to lead to one): it supersedes
    /// whatever is running or queued. `ended` means that a mastership is over, so its effects are
    /// undone.
    pub(in crate::engine) fn put(&self, event: HookEvent, ended: bool) {
        self.put_job(event, ended, JobKind::State);
    }

    fn put_job(&self, event: HookEvent, ended: bool, kind: JobKind) {
        self.state.set(event.state);
        self.ticket.set(self.ticket.get() + 1);
        let mut slots = self.slots.borrow_mut();
        if slots
            .newest
            .replace(Job {
                event,
                ticket: self.ticket.get(),
                kind,
            })
            .is_some()
        {
            slots.missed += 1;
        }
        if ended {
            slots.undo = Some(self.shared.executor.mark());
        }
        slots.aside = None;
        drop(slots);
        self.superseded.notify_waiters();
        self.arrived.notify_one();
    }

    /// A mastership is over and no hook is to be called: what is running is ended, and the effects
    /// are undone.
    pub(in crate::engine) fn end(&self) {
        self.ticket.set(self.ticket.get() + 1);
        *self.slots.borrow_mut() = Slots {
            undo: Some(self.shared.executor.mark()),
            ..Slots::default()
        };
        self.superseded.notify_waiters();
        self.arrived.notify_one();
    }

    /// Queues a call that is not a state change; it runs when nothing else does, and only the
    /// newest one.
    pub(in crate::engine) fn put_aside(&self, event: HookEvent) {
        self.slots.borrow_mut().aside = Some(event);
        self.arrived.notify_one();
    }

    /// Whether something is being run or undone now, not counting later retries.
    pub(in crate::engine) fn is_at_work(&self) -> bool {
        let checking = self
            .checks
            .borrow()
            .iter()
            .any(|check| !check.is_finished());
        self.busy.get() || checking
    }

    /// Adds to the number of missed states that the next call reports.
    pub(in crate::engine) fn add_missed(&self, states: u32) {
        self.slots.borrow_mut().missed += states;
    }

    /// Whether something that follows from a state is running or queued.
    pub(in crate::engine) fn is_busy(&self) -> bool {
        let slots = self.slots.borrow();
        self.busy.get() || slots.newest.is_some() || slots.undo.is_some()
    }

    /// Waits until nothing runs or waits.
    pub(in crate::engine) async fn settled(&self) {
        loop {
            let idle = self.idle.notified();
            {
                let slots = self.slots.borrow();
                if !self.busy.get()
                    && slots.newest.is_none()
                    && slots.aside.is_none()
                    && slots.undo.is_none()
                {
                    return;
                }
            }
            idle.await;
        }
    }

    /// Is there nothing to do before the clock moves? Either nothing at all, or what runs waits for
    /// the clock, or for others.
    pub(in crate::engine) fn is_quiet(&self, clock: &clock::Virtual) -> bool {
        let slots = self.slots.borrow();
        // Who undoes may wait for the clock all the same.
        if slots.newest.is_some() && !self.undoing.get() {
            return false;
        }
        let idle = !self.busy.get() && slots.aside.is_none() && slots.undo.is_none();
        let rests = |task: &AbortHandle| task.is_finished() || clock.is_at_rest(task.id());
        self.checks.borrow().iter().all(rests)
            && (idle || self.task.borrow().as_ref().is_some_and(rests))
    }

    /// The tasks that run its hooks, in an order that does not depend on how quick they are.
    pub(in crate::engine) fn tasks(&self) -> Vec<Id> {
        self.task
            .borrow()
            .iter()
            .chain(self.checks.borrow().iter())
            .map(AbortHandle::id)
            .collect()
    }

    /// Stops serving it, whatever is left: its machine has no power.
    pub(in crate::engine) fn abandon(&self) {
        self.task
            .borrow()
            .iter()
            .chain(self.checks.borrow().iter())
            .for_each(AbortHandle::abort);
    }
}

#[cfg(test)]
mod tests;
