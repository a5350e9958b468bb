//! A virtual host's hook runs: one at a time, in order, each with a known end, the newest state
//! first.
//!
//! There is no list of jobs that could grow: one slot for the newest state, in which a newer one
//! replaces an older one that had not begun (counted as missed), and one slot for what is not a
//! change of state.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, Id};
use tracing::instrument::WithSubscriber as _;
use tracing::{debug, error, info, warn};

use super::observer::Asker;
use super::outcome::{Failure, HookOutcome};
use super::pool::Pool;
use super::requests::RunRequests;
use super::run_limits::{RunPermit, lets_go};
use super::shared::Shared;
use crate::backoff::Backoff;
use crate::config::OnFailure;
use crate::engine::effects::undo::Undone;
use crate::engine::metrics::Ended;
use crate::engine::vhost::id::VhostId;
use crate::hooks::{EntryPoint, HookError, HookEvent};
use crate::host::Host;
use crate::host::clock;
use crate::journal::Note;
use crate::types::{IfName, Name, State, VirtualAddress, shown};

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
    /// Grows with every new state; a run that began under an older one is overtaken.
    ticket: Cell<u64>,
    busy: Cell<bool>,
    idle: Notify,
    /// The task that serves it.
    task: RefCell<Option<AbortHandle>>,
    /// The tasks that ask hooks for their health.
    checks: RefCell<Vec<AbortHandle>>,
    /// How many of those wait until others have been asked.
    checks_waiting: Cell<usize>,
    /// What it runs waits until others have run.
    waits: Rc<Cell<bool>>,
    /// It undoes, and takes nothing new before that is done.
    undoing: Cell<bool>,
}

#[derive(Debug, Default)]
struct Slots {
    newest: Option<Job>,
    aside: Option<HookEvent>,
    missed: u32,
    /// A mastership ended whose leftovers have not been undone yet: what was claimed before this
    /// mark.
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
    /// The same state, after a failure: what is held stays, and what the runs no longer ask for
    /// goes.
    Again,
    /// The same state, because an operator wants this hook's present code to be in effect.
    Apply(Name, oneshot::Sender<Applied>),
}

/// A hook's turn to run, which ends when this is dropped.
#[derive(Debug)]
struct Turn {
    _places: (RunPermit, RunPermit),
    /// How long it took to come.
    waited: Duration,
}

/// What became of [`Queue::apply`].
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
            checks_waiting: Cell::new(0),
            waits: Rc::default(),
            undoing: Cell::default(),
        });
        let serve = Rc::clone(&queue).serve();
        // What somebody looks on at is not the daemon's doing, and not for its log.
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

    /// Runs that begin from now on use these; a run that has begun ends in the one it began in.
    pub(in crate::engine) fn set_hooks(&self, hooks: Vec<Rc<Pool>>) {
        *self.hooks.borrow_mut() = hooks;
    }

    /// The virtual host's addresses have changed.
    pub(in crate::engine) fn set_addresses(&self, addresses: Vec<VirtualAddress>) {
        *self.addresses.borrow_mut() = addresses;
    }

    /// Runs one hook anew on a master, in its present version. What it no longer asks for is undone
    /// if it has ended well; if not, nothing follows. The answer is dropped if a newer state
    /// overtakes it.
    pub(in crate::engine) fn apply(
        &self,
        hook: Name,
        event: HookEvent,
    ) -> oneshot::Receiver<Applied> {
        let (sender, receiver) = oneshot::channel();
        self.put_job(event, false, JobKind::Apply(hook, sender));
        receiver
    }

    /// Runs all hooks anew on a master after one of them failed. What they no longer ask for is
    /// undone if they have ended well.
    pub(in crate::engine) fn run_again(&self, event: HookEvent) {
        self.put_job(event, false, JobKind::Again);
    }

    /// Puts in a call that follows from a new state (or is about to lead to one): overtakes
    /// whatever is running or waiting. `ended` says that a mastership is over, so its leftovers are
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

    /// A mastership is over and no hook is to hear of it: what runs is ended, and what is left is
    /// undone.
    pub(in crate::engine) fn end(&self) {
        self.ticket.set(self.ticket.get() + 1);
        *self.slots.borrow_mut() = Slots {
            undo: Some(self.shared.executor.mark()),
            ..Slots::default()
        };
        self.superseded.notify_waiters();
        self.arrived.notify_one();
    }

    /// Puts in a call that is no change of state; runs when nothing else does, and only the newest.
    pub(in crate::engine) fn put_aside(&self, event: HookEvent) {
        self.slots.borrow_mut().aside = Some(event);
        self.arrived.notify_one();
    }

    /// Is something being run or undone just now, other than what is tried again later?
    pub(in crate::engine) fn is_at_work(&self) -> bool {
        let checking = self
            .checks
            .borrow()
            .iter()
            .any(|check| !check.is_finished());
        self.busy.get() || checking
    }

    /// The next that is told of a state is told that so many more were missed.
    pub(in crate::engine) fn add_missed(&self, states: u32) {
        self.slots.borrow_mut().missed += states;
    }

    /// Does something run or wait that follows from a state?
    pub(in crate::engine) fn is_busy(&self) -> bool {
        let slots = self.slots.borrow();
        self.busy.get() || slots.newest.is_some() || slots.undo.is_some()
    }

    /// Asks one hook for its health, beside whatever else runs.
    pub(in crate::engine) fn begin_check(
        self: &Rc<Self>,
        hook: Rc<Pool>,
        event: HookEvent,
        ticket: u64,
    ) {
        let task = tokio::task::spawn_local(Rc::clone(self).check(hook, event, ticket));
        let mut checks = self.checks.borrow_mut();
        checks.retain(|task| !task.is_finished());
        checks.push(task.abort_handle());
    }

    async fn check(self: Rc<Self>, hook: Rc<Pool>, mut event: HookEvent, ticket: u64) {
        let (seq, budget) = (event.seq, hook.budget(EntryPoint::Health));
        self.checks_waiting.update(|waiting| waiting + 1);
        let waits = Rc::default();
        let place = (
            hook.checks().take(false, &waits).await,
            self.shared
                .limits_of_daemon
                .checks
                .take(false, &waits)
                .await,
        );
        self.checks_waiting.update(|waiting| waiting - 1);
        event.time_left_ms = u64::try_from(budget.wall.as_millis()).unwrap_or(u64::MAX);
        let mut desk = RunRequests::new(&self, &hook, EntryPoint::Health, budget);
        let (asker, observer) = (
            Asker {
                vhost: self.index.number(),
                hook: hook.name(),
                entry: EntryPoint::Health,
            },
            self.shared.executor.observer(),
        );
        if let Some(observer) = &observer {
            observer.begins(asker, &event);
        }
        let result = hook.check(event, budget, &mut desk).await;
        if let Some(observer) = &observer {
            observer.ended(asker, result.as_ref().map(|_| ()));
        }
        drop(place);
        let (vhost, outcome) = (self.vhost(), result.as_ref().map_or("failed", |_| "done"));
        debug!(%vhost, hook = %hook.name(), outcome, "Asked for the health");
        clock::rest();
        let hook = hook.name().clone();
        _ = self.shared.outcomes.send(HookOutcome::Checked {
            vhost: self.index,
            hook,
            ticket,
            seq,
            result,
        });
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
    /// the clock.
    pub(in crate::engine) fn is_quiet(&self, clock: &clock::Virtual) -> bool {
        let slots = self.slots.borrow();
        // Who undoes may wait for the clock all the same.
        if slots.newest.is_some() && !self.undoing.get() {
            return false;
        }
        let idle =
            self.waits.get() || (!self.busy.get() && slots.aside.is_none() && slots.undo.is_none());
        let rests = |task: &AbortHandle| task.is_finished() || clock.is_asleep(task.id());
        let checking = self
            .checks
            .borrow()
            .iter()
            .filter(|task| !rests(task))
            .count();
        checking <= self.checks_waiting.get()
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

    /// Nobody serves it any longer, whatever is left: its machine has no power.
    pub(in crate::engine) fn abandon(&self) {
        self.task
            .borrow()
            .iter()
            .chain(self.checks.borrow().iter())
            .for_each(AbortHandle::abort);
    }

    async fn serve(self: Rc<Self>) {
        // What dead processes left is undone before the first hook.
        self.shared.executor.recovered().await;
        loop {
            let (ticket, undo, job, aside) = {
                let mut slots = self.slots.borrow_mut();
                let missed = std::mem::take(&mut slots.missed);
                let job = slots.newest.take().map(|mut job| {
                    job.event.missed = missed;
                    job
                });
                let aside = if job.is_none() {
                    slots.aside.take()
                } else {
                    None
                };
                (self.ticket.get(), slots.undo, job, aside)
            };
            if job.is_none() && aside.is_none() && undo.is_none() {
                self.busy.set(false);
                self.idle.notify_waiters();
                clock::rest();
                self.arrived.notified().await;
                continue;
            }
            self.busy.set(true);
            // Boxed: a run needs some kilobytes, a queue that waits, as hundreds do, shall not.
            match (job, aside, undo) {
                (Some(job), _, undo) => Box::pin(self.serve_job(job, undo)).await,
                (None, Some(event), _) => {
                    // Its outcome is logged with the run; nothing follows from it.
                    _ = Box::pin(self.run_list(&event, ticket)).await;
                }
                (None, None, Some(mark)) => Box::pin(self.undo(mark, ticket)).await,
                (None, None, None) => {}
            }
        }
    }

    async fn serve_job(&self, job: Job, undo: Option<u64>) {
        let leaving = job.event.entry == EntryPoint::OnBackup;
        // Leftovers of the mastership before a new one are undone first, as far as they can be: a
        // master must not wait for what may never work. When leaving, the hook goes first.
        if let Some(mark) = undo.filter(|_| !leaving) {
            self.undo_once(mark).await;
        }
        let entry = job.event.entry;
        let seq = job.event.seq;
        let result = match job.kind {
            JobKind::State => self.run_list(&job.event, job.ticket).await,
            JobKind::Again => self.run_list_again(&job).await,
            JobKind::Apply(hook, told) => {
                return self.serve_apply(&hook, &job.event, job.ticket, told).await;
            }
        };
        let failed = result.is_err();
        let overtaken = matches!(&result, Err(failure) if failure.error == HookError::Superseded);
        if let Some(mark) = undo.filter(|_| leaving) {
            self.undo(mark, job.ticket).await;
        }
        if !overtaken {
            _ = self.shared.outcomes.send(HookOutcome::Finished {
                vhost: self.index,
                entry,
                seq,
                result,
            });
        }
        if failed && leaving && !overtaken {
            self.retry_backup(&job.event, job.ticket).await;
        }
    }

    async fn run_list_again(&self, job: &Job) -> Result<(), Failure> {
        let before = self.shared.executor.mark();
        self.run_list(&job.event, job.ticket).await?;
        self.undo_older(None, before).await;
        Ok(())
    }

    async fn serve_apply(
        &self,
        name: &Name,
        event: &HookEvent,
        ticket: u64,
        told: oneshot::Sender<Applied>,
    ) {
        let hook = self
            .hooks
            .borrow()
            .iter()
            .find(|hook| hook.name() == name && hook.defines(event.entry))
            .cloned();
        let before = self.shared.executor.mark();
        let result = match hook {
            Some(hook) => match self.turn(&hook, event, ticket).await {
                Some(turn) => self.run(&hook, event.clone(), ticket, turn).await,
                None => Err(HookError::Superseded),
            },
            // Whatever an older version claimed, this one asks for nothing.
            None => Ok(()),
        };
        let applied = match result {
            Ok(()) => Ok(self.undo_older(Some(name), before).await),
            // Told by dropping the way back.
            Err(HookError::Superseded) => return,
            Err(error) => Err(error),
        };
        if applied.is_ok() {
            _ = self
                .shared
                .outcomes
                .send(HookOutcome::Applied { vhost: self.index });
        }
        _ = told.send(applied);
    }

    /// Runs the hooks of one entry point: in list order going up, in reverse going down. Up, the
    /// first failure ends the list; down, every hook gets its chance.
    async fn run_list(&self, event: &HookEvent, ticket: u64) -> Result<(), Failure> {
        let down = matches!(
            event.entry,
            EntryPoint::BeforeBackup | EntryPoint::OnBackup | EntryPoint::OnStop
        );
        let mut hooks: Vec<Rc<Pool>> = self
            .hooks
            .borrow()
            .iter()
            .filter(|hook| hook.defines(event.entry))
            .cloned()
            .collect();
        if down {
            hooks.reverse();
        }
        let mut first = Ok(());
        let mut told = false;
        for hook in hooks {
            let ran = match self.turn(&hook, event, ticket).await {
                Some(turn) => {
                    told = true;
                    self.run(&hook, event.clone(), ticket, turn).await
                }
                None => Err(self.passed_over(event, told)),
            };
            let Err(error) = ran else { continue };
            let failure = Failure {
                hook: hook.name().clone(),
                error,
                policy: hook.spec().on_failure,
            };
            let overtaken = failure.error == HookError::Superseded;
            if first.is_ok() && (overtaken || failure.policy != OnFailure::Ignore) {
                first = Err(failure);
            }
            if overtaken || (!down && first.is_err()) {
                break;
            }
        }
        first
    }

    /// Waits for this hook's turn, which takes nothing of the run's time. `None` if a newer state
    /// came first.
    async fn turn(&self, hook: &Rc<Pool>, event: &HookEvent, ticket: u64) -> Option<Turn> {
        let lets_go = lets_go(event.entry, event.initial);
        let begin = clock::now();
        let places = async {
            let of_hook = hook.places().take(lets_go, &self.waits).await;
            (
                of_hook,
                self.shared
                    .limits_of_daemon
                    .runs
                    .take(lets_go, &self.waits)
                    .await,
            )
        };
        let places = tokio::select! {
            biased;
            places = places => Some(places),
            () = self.overtaken(ticket) => None,
        };
        self.waits.set(false);
        Some(Turn {
            _places: places?,
            waited: clock::now().since(begin),
        })
    }

    /// A newer state came before the hook's turn. If no other has heard of this one, the next is
    /// told so.
    fn passed_over(&self, event: &HookEvent, told: bool) -> HookError {
        if !told && event.entry != EntryPoint::OnPeerClaim {
            self.slots.borrow_mut().missed += event.missed + 1;
        }
        HookError::Superseded
    }

    async fn run(
        &self,
        hook: &Rc<Pool>,
        mut event: HookEvent,
        ticket: u64,
        turn: Turn,
    ) -> Result<(), HookError> {
        let entry = event.entry;
        let budget = hook.budget(entry);
        event.time_left_ms = u64::try_from(budget.wall.as_millis()).unwrap_or(u64::MAX);
        let seq = event.seq;
        let ready = hook.ready(budget).await;
        let begin = clock::now();
        let asker = Asker {
            vhost: self.index.number(),
            hook: hook.name(),
            entry,
        };
        let observer = self.shared.executor.observer();
        if let Some(observer) = &observer {
            observer.begins(asker, &event);
        }
        let result = match ready {
            Ok(ready) => {
                let desk = RunRequests::new(self, hook, entry, budget);
                let mut desk = desk.in_runner(ready.runner());
                ready
                    .call(event, budget, &mut desk, self.overtaken(ticket))
                    .await
                    .map(drop)
            }
            Err(error) => Err(error),
        };
        if let Some(observer) = &observer {
            observer.ended(asker, result.as_ref().copied());
        }
        let now = clock::now();
        let took = now.since(begin);
        let duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let error = result
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default();
        let note = Note::HookRun {
            hook: hook.name().clone(),
            entry: entry.as_str().to_owned(),
            seq,
            took,
            error,
        };
        self.shared
            .journal
            .borrow_mut()
            .note(now, self.index.number(), note);
        let ended = match &result {
            Ok(()) => Ended::Done,
            Err(HookError::Superseded) => Ended::Superseded,
            Err(_) => Ended::Failed,
        };
        self.shared
            .executor
            .count()
            .ran(hook.name(), entry, ended, took);
        let (vhost, hook, entry, waited_ms) = (
            self.vhost(),
            hook.name(),
            entry.as_str(),
            turn.waited.as_millis(),
        );
        match &result {
            Ok(()) => {
                info!(%vhost, %hook, entry, seq, outcome = "done", duration_us, waited_ms, "Ran a hook");
            }
            Err(HookError::Superseded) => {
                info!(%vhost, %hook, entry, seq, outcome = "superseded", duration_us, waited_ms, "Ran a hook");
            }
            Err(error) => {
                error!(%vhost, %hook, entry, seq, outcome = "failed", duration_us, waited_ms, %error, "Ran a hook");
                if let HookError::Raised { backtrace, .. } = error
                    && !backtrace.is_empty()
                {
                    debug!(%vhost, %hook, entry, backtrace = %shown(backtrace), "Shows where the hook failed");
                }
            }
        }
        result
    }

    /// Resolves when a newer state than that of `ticket` has come.
    async fn overtaken(&self, ticket: u64) {
        loop {
            let notified = self.superseded.notified();
            if self.ticket.get() > ticket {
                return;
            }
            notified.await;
        }
    }

    /// Undoes what the hooks claimed before the mark; tries again, ever more seldom, until it is
    /// done or a new state comes.
    async fn undo(&self, mark: u64, ticket: u64) {
        let mut backoff = Backoff::default();
        while !self.undo_once(mark).await && self.pause(backoff.pause(), ticket).await {}
    }

    /// True if nothing of it is left.
    async fn undo_once(&self, mark: u64) -> bool {
        let vhost = self.vhost();
        let undoing = self.undo_older(None, mark);
        let undone = self
            .shared
            .activity
            .during(format_args!("undoing what hooks of {vhost} did"), undoing)
            .await;
        if undone.failed > 0 {
            warn!(vhost = %self.vhost(), failed = undone.failed, "Will undo again what could not be undone");
            return false;
        }
        // Another mastership may have ended meanwhile.
        let mut slots = self.slots.borrow_mut();
        slots.undo = slots.undo.filter(|newer| *newer != mark);
        true
    }

    /// As the executor does.
    async fn undo_older(&self, hook: Option<&Name>, mark: u64) -> Undone {
        self.undoing.set(true);
        let undone = self
            .shared
            .executor
            .undo_older(&self.vhost(), hook, mark)
            .await;
        self.undoing.set(false);
        undone
    }

    async fn retry_backup(&self, event: &HookEvent, ticket: u64) {
        let mut backoff = Backoff::default();
        while self.pause(backoff.pause(), ticket).await {
            if self.run_list(event, ticket).await.is_ok() {
                return;
            }
        }
    }

    /// False if a newer state than that of `ticket` came before the time was over, or is there
    /// already.
    async fn pause(&self, pause: Duration, ticket: u64) -> bool {
        self.busy.set(false);
        self.idle.notify_waiters();
        let over = tokio::select! {
            () = clock::sleep(pause) => true,
            () = self.overtaken(ticket) => false,
        };
        self.busy.set(true);
        over
    }
}

#[cfg(test)]
mod tests;
