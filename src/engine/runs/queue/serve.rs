//! The task that serves a queue: takes what waits, runs the hooks in order, undoes.

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{debug, error, info, warn};

use super::{Applied, Job, JobKind, Queue};
use crate::backoff::Backoff;
use crate::config::OnFailure;
use crate::engine::effects::undo::Undone;
use crate::engine::metrics::Ended;
use crate::engine::runs::observer::Asker;
use crate::engine::runs::outcome::{Failure, HookOutcome};
use crate::engine::runs::pool::Pool;
use crate::engine::runs::requests::RunRequests;
use crate::engine::runs::run_limits::{RunPermit, lets_go};
use crate::hooks::{EntryPoint, HookError, HookEvent};
use crate::host::{Host, clock};
use crate::journal::Note;
use crate::types::{Name, shown};

/// Something that a queue does, which takes its time.
type Work<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A hook's turn to run, which ends when this is dropped.
#[derive(Debug)]
struct Turn {
    _places: (RunPermit, RunPermit),
    /// How long it took to come.
    waited: Duration,
}

impl<H: Host + 'static> Queue<H> {
    pub(super) async fn serve(self: Rc<Self>) {
        // What dead processes left behind is undone before the first hook.
        self.shared.executor.recovered().await;
        loop {
            if let Some(work) = self.next() {
                self.busy.set(true);
                work.await;
            } else {
                self.busy.set(false);
                self.idle.notify_waiters();
                clock::rest();
                self.arrived.notified().await;
            }
        }
    }

    /// What is to be done now. Boxed: a run needs some kilobytes, and a queue that waits, as hundreds
    /// do, must not keep room for one.
    fn next(&self) -> Option<Work<'_>> {
        let mut slots = self.slots.borrow_mut();
        let missed = std::mem::take(&mut slots.missed);
        let (ticket, undo) = (self.ticket.get(), slots.undo);
        if let Some(mut job) = slots.newest.take() {
            job.event.missed = missed;
            return Some(Box::pin(self.serve_job(job, undo)));
        }
        if let Some(event) = slots.aside.take() {
            return Some(Box::pin(async move {
                // Its outcome is logged with the run; nothing follows from it.
                _ = self.run_list(&event, ticket).await;
            }));
        }
        Some(Box::pin(self.undo(undo?, ticket)))
    }

    async fn serve_job(&self, job: Job, undo: Option<u64>) {
        let leaving = job.event.entry == EntryPoint::OnBackup;
        // Before a new mastership, effects of the previous one are undone as far as possible: a
        // master must not wait for what may never work. When leaving, the hook runs first.
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

    /// Runs the hooks of one entry point: in list order on becoming master, in reverse order on
    /// ceasing to be. In the first case the first failure stops the list; in the second every hook
    /// is run.
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

    /// Waits for this hook's turn, which does not count against the run's time. `None` if a newer
    /// state came first.
    async fn turn(&self, hook: &Rc<Pool>, event: &HookEvent, ticket: u64) -> Option<Turn> {
        let lets_go = lets_go(event.entry, event.initial);
        let begin = clock::now();
        let places = async {
            let of_hook = hook.places().take(lets_go).await;
            let of_daemon = self.shared.limits_of_daemon.runs.take(lets_go).await;
            (of_hook, of_daemon)
        };
        let places = tokio::select! {
            biased;
            places = places => Some(places),
            () = self.overtaken(ticket) => None,
        };
        Some(Turn {
            _places: places?,
            waited: clock::now().since(begin),
        })
    }

    /// A newer state came before the hook's turn. If no hook was called for this state, the next
    /// call reports it as missed.
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
            error: error.clone(),
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
        self.shared.recent.borrow_mut().ran(
            &self.vhost(),
            (hook.name(), entry.as_str()),
            ended,
            took,
            &error,
        );
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
                let notices = &self.shared.notices;
                notices.hook_failed((&vhost, &self.dev), (hook, entry), error);
                if let HookError::Raised { backtrace, .. } = error
                    && !backtrace.is_empty()
                {
                    debug!(%vhost, %hook, entry, backtrace = %shown(backtrace), "Backtrace of the failed hook");
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

    /// Undoes what the hooks claimed before the mark, and retries at growing intervals until it is
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
            warn!(vhost = %self.vhost(), failed = undone.failed, "Will retry undoing what could not be undone");
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
