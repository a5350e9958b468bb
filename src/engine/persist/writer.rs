//! Writes in the background: one job after the other on another thread, and a sync when there is
//! nothing else to do.
//!
//! A job writes one whole file, or makes sure that something is as it should be. So a failed job
//! can be retried, at growing intervals, until it succeeds or is replaced by a newer one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::host::clock;
use crate::types::Timestamp;

/// How many jobs may be queued for a disk that does not respond; beyond that only the newest job of
/// each file is kept.
const WAITING_MAX: usize = 256;
/// A file that was appended to is synced after this time, once for everything appended meanwhile.
const SYNC_AFTER: Duration = Duration::from_millis(100);
/// The intervals at which failed writes are retried.
const RETRIES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// Writes something. May return a file to be synced when there is time. It is idempotent.
type Job = Box<dyn FnMut() -> io::Result<Option<PathBuf>> + Send>;

/// A job with its subject: the file that it is about, of which only the newest job counts.
struct Task {
    what: &'static str,
    subject: PathBuf,
    job: Job,
}

enum Order {
    Do(Task),
    Settle(oneshot::Sender<()>),
}

/// A handle of the writing thread, which ends with the last clone. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::engine) struct DiskWriter {
    orders: mpsc::Sender<Order>,
    health: Arc<Health>,
}

#[derive(Default)]
struct Health {
    /// What could not be written, and why, by subject.
    problems: Mutex<BTreeMap<PathBuf, (&'static str, String)>>,
    /// Jobs for which the queue had no room, by subject.
    refused: Mutex<BTreeMap<PathBuf, Task>>,
    failures: AtomicU64,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health")
            .field("problems", &self.problems())
            .finish_non_exhaustive()
    }
}

impl Health {
    fn problems(&self) -> MutexGuard<'_, BTreeMap<PathBuf, (&'static str, String)>> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Task>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the reason, and logs when that changes: of many files of a kind, the first that fails
    /// and the last that recovers.
    fn note(&self, what: &'static str, subject: &Path, result: io::Result<()>) {
        let mut problems = self.problems();
        match result {
            Ok(()) => {
                if problems.remove(subject).is_some()
                    && !problems.values().any(|(other, _)| *other == what)
                {
                    info!(what, "Persistent state can be written again");
                }
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                let problem = (what, error.to_string());
                if !problems.values().any(|known| *known == problem) {
                    warn!(what, error = problem.1, "Could not write persistent state");
                }
                problems.insert(subject.to_owned(), problem);
            }
        }
    }
}

impl DiskWriter {
    /// Must be called on a tokio `LocalSet`.
    pub(super) fn start() -> Self {
        let (orders, inbox) = mpsc::channel(WAITING_MAX);
        let health = Arc::new(Health::default());
        tokio::task::spawn_local(Writer::new(Arc::clone(&health)).serve(inbox));
        Self { orders, health }
    }

    /// Nothing is ever written.
    pub(super) fn none() -> Self {
        let (orders, _) = mpsc::channel(1);
        Self {
            orders,
            health: Arc::default(),
        }
    }

    /// Whether there is a thread that writes.
    pub(super) fn writes(&self) -> bool {
        !self.orders.is_closed()
    }

    /// Queues a job, to be retried if it fails until a newer one of the same subject comes. False
    /// if the queue is full: then the disk does not respond, and the job is done when there is
    /// time.
    pub(super) fn later(
        &self,
        what: &'static str,
        subject: &Path,
        job: impl FnMut() -> io::Result<Option<PathBuf>> + Send + 'static,
    ) -> bool {
        let task = Task {
            what,
            subject: subject.to_owned(),
            job: Box::new(job),
        };
        self.health.refused().remove(subject);
        if let Err(TrySendError::Full(Order::Do(task))) = self.orders.try_send(Order::Do(task)) {
            self.health.note(
                what,
                subject,
                Err(io::Error::other("the disk does not respond")),
            );
            self.health.refused().insert(subject.to_owned(), task);
            return false;
        }
        true
    }

    /// Waits until all earlier jobs are synced to the disk, or have failed.
    pub(super) async fn settled(&self) {
        let (sender, done) = oneshot::channel();
        if self.orders.send(Order::Settle(sender)).await.is_ok() {
            _ = done.await;
        }
    }

    /// The last failure to write, and its reason.
    pub(super) fn problem(&self) -> Option<String> {
        self.health
            .problems()
            .values()
            .next()
            .map(|(what, why)| format!("cannot write {what}: {why}"))
    }

    /// How many jobs have failed.
    pub(super) fn failures(&self) -> u64 {
        self.health.failures.load(Ordering::Relaxed)
    }
}

/// The task that gets jobs done.
struct Writer {
    health: Arc<Health>,
    unsynced: BTreeSet<PathBuf>,
    sync_at: Option<Timestamp>,
    /// Jobs that failed and were not replaced, by subject.
    failed: BTreeMap<PathBuf, Task>,
    retry_at: Option<Timestamp>,
    retries: Backoff,
}

impl Writer {
    fn new(health: Arc<Health>) -> Self {
        let (unsynced, failed) = (BTreeSet::new(), BTreeMap::new());
        Self {
            health,
            unsynced,
            sync_at: None,
            failed,
            retry_at: None,
            retries: RETRIES,
        }
    }

    async fn serve(mut self, mut inbox: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                // Retries come after new jobs, since these may replace them.
                biased;
                order = inbox.recv() => match order {
                    None => return,
                    Some(Order::Do(task)) => {
                        self.failed.remove(&task.subject);
                        self.perform(task).await;
                    }
                    Some(Order::Settle(done)) => {
                        self.sync().await;
                        _ = done.send(());
                    }
                },
                () = until(self.sync_at) => self.sync().await,
                () = until(self.retry_at) => self.retry().await,
            }
            let is_well = self.failed.is_empty() && self.health.refused().is_empty();
            if is_well {
                (self.retry_at, self.retries) = (None, RETRIES);
            } else if self.retry_at.is_none() {
                self.retry_at = Some(clock::now() + self.retries.pause());
            }
        }
    }

    async fn perform(&mut self, task: Task) {
        let Task {
            what,
            subject,
            mut job,
        } = task;
        let done = tokio::task::spawn_blocking(move || (job(), job)).await;
        match done {
            Ok((Ok(path), _)) => {
                self.health.note(what, &subject, Ok(()));
                if let Some(path) = path {
                    self.unsynced.insert(path);
                    self.sync_at.get_or_insert(clock::now() + SYNC_AFTER);
                }
            }
            Ok((Err(error), job)) => {
                self.health.note(what, &subject, Err(error));
                self.failed
                    .insert(subject.clone(), Task { what, subject, job });
            }
            Err(error) => self
                .health
                .note(what, &subject, Err(io::Error::other(error))),
        }
    }

    async fn retry(&mut self) {
        let refused = std::mem::take(&mut *self.health.refused());
        let mut again = std::mem::take(&mut self.failed);
        again.extend(refused);
        for task in again.into_values() {
            self.perform(task).await;
        }
        self.retry_at = None;
    }

    /// What cannot be synced is synced with the next write.
    async fn sync(&mut self) {
        self.sync_at = None;
        if self.unsynced.is_empty() {
            return;
        }
        let paths = std::mem::take(&mut self.unsynced);
        let all = move || {
            let done = paths
                .iter()
                .try_for_each(|path| File::open(path)?.sync_data());
            (done, paths)
        };
        let done = match tokio::task::spawn_blocking(all).await {
            Ok((Ok(()), _)) => Ok(()),
            Ok((Err(error), paths)) => {
                self.unsynced = paths;
                Err(error)
            }
            Err(error) => Err(io::Error::other(error)),
        };
        self.health.note("to the medium", Path::new(""), done);
    }
}

/// Waits until this time; forever without one.
async fn until(when: Option<Timestamp>) {
    match when.map(|when| when.since(clock::now())) {
        None => std::future::pending().await,
        Some(Duration::ZERO) => {}
        Some(left) => clock::sleep(left).await,
    }
}
