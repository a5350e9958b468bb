//! Writing behind the engine's back: one job after the other on another thread, and a sync when it is quiet.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

/// Jobs that may wait for a disk that does not answer; beyond that they are refused.
const WAITING_MAX: usize = 256;
/// A file that was appended to is synced so much later, once for all that was appended meanwhile.
const SYNC_AFTER: Duration = Duration::from_millis(100);

/// Writes something. May give back a file that is to be synced when there is time.
type Job = Box<dyn FnOnce() -> io::Result<Option<PathBuf>> + Send>;

enum Order {
    Do { what: &'static str, job: Job },
    Settle(oneshot::Sender<()>),
}

/// The way to the thread that writes. Cheap to clone; it ends with the last clone.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Disk {
    orders: mpsc::Sender<Order>,
    health: Arc<Health>,
}

#[derive(Debug, Default)]
struct Health {
    /// By what could not be written.
    problems: Mutex<BTreeMap<&'static str, String>>,
    failures: AtomicU64,
}

impl Health {
    fn problems(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the reason, and logs when that changes.
    fn note(&self, what: &'static str, result: io::Result<()>) {
        let mut problems = self.problems();
        match result {
            Ok(()) => {
                if problems.remove(what).is_some() {
                    info!(what, "Can write again what shall outlive the daemon");
                }
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                let error = error.to_string();
                if problems.get(what) != Some(&error) {
                    warn!(what, error, "Could not write what shall outlive the daemon");
                }
                problems.insert(what, error);
            }
        }
    }
}

impl Disk {
    /// Must be called on a tokio `LocalSet`.
    pub(super) fn start() -> Self {
        let (orders, inbox) = mpsc::channel(WAITING_MAX);
        let health = Arc::new(Health::default());
        tokio::task::spawn_local(serve(inbox, Arc::clone(&health)));
        Self { orders, health }
    }

    /// Nothing is ever written.
    pub(super) fn none() -> Self {
        let (orders, _) = mpsc::channel(1);
        Self { orders, health: Arc::default() }
    }

    /// Has a job done after those before it. False if too many wait: then the disk does not answer, and nothing is done.
    pub(super) fn later(&self, what: &'static str, job: impl FnOnce() -> io::Result<Option<PathBuf>> + Send + 'static) -> bool {
        match self.orders.try_send(Order::Do { what, job: Box::new(job) }) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.health.note(what, Err(io::Error::other("the disk does not answer")));
                false
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }

    /// Waits until all that was ordered before is on the medium.
    pub(super) async fn settled(&self) {
        let (sender, done) = oneshot::channel();
        if self.orders.send(Order::Settle(sender)).await.is_ok() {
            _ = done.await;
        }
    }

    /// What could not be written last, and why.
    pub(super) fn problem(&self) -> Option<String> {
        self.health.problems().iter().next().map(|(what, why)| format!("cannot write {what}: {why}"))
    }

    /// How many jobs have failed.
    pub(super) fn failures(&self) -> u64 {
        self.health.failures.load(Ordering::Relaxed)
    }
}

async fn serve(mut inbox: mpsc::Receiver<Order>, health: Arc<Health>) {
    let mut unsynced = BTreeSet::new();
    let mut sync_at = None;
    loop {
        let quiet = async {
            match sync_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = inbox.recv() => match order {
                None => return,
                Some(Order::Do { what, job }) => {
                    if let Some(path) = perform(what, job, &health).await {
                        unsynced.insert(path);
                        sync_at.get_or_insert(Instant::now() + SYNC_AFTER);
                    }
                }
                Some(Order::Settle(done)) => {
                    sync(std::mem::take(&mut unsynced), &health).await;
                    sync_at = None;
                    _ = done.send(());
                }
            },
            () = quiet => {
                sync(std::mem::take(&mut unsynced), &health).await;
                sync_at = None;
            }
        }
    }
}

async fn perform(what: &'static str, job: Job, health: &Health) -> Option<PathBuf> {
    let done = tokio::task::spawn_blocking(job).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    match done {
        Ok(path) => {
            health.note(what, Ok(()));
            path
        }
        Err(error) => {
            health.note(what, Err(error));
            None
        }
    }
}

async fn sync(paths: BTreeSet<PathBuf>, health: &Health) {
    if paths.is_empty() {
        return;
    }
    let all = move || paths.iter().try_for_each(|path| File::open(path)?.sync_data());
    let done = tokio::task::spawn_blocking(all).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    health.note("to the medium", done);
}
