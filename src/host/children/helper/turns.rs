//! Work on the same file, unit or script's turn is done one after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use crate::host::HostError;

/// The locks that are held or waited for, by name.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits until nobody else works on what has this name, in the order of arrival. The turn lasts
    /// until the returned guard is dropped.
    ///
    /// # Errors
    /// `cancelled` has completed, or the turn did not come within `limit`.
    pub(super) async fn take(
        &self,
        name: &str,
        limit: Duration,
        cancelled: impl Future<Output = ()>,
    ) -> Result<OwnedMutexGuard<()>, HostError> {
        let given_up = |why: &str, errno| HostError::errno(format!("{name}: {why}"), errno);
        tokio::select! {
            biased;
            () = cancelled => Err(given_up("cancelled before it started", libc::ECANCELED)),
            taken = timeout(limit, self.lock(name)) => taken.map_err(|_| {
                given_up("what was started before has not finished in time", libc::ETIMEDOUT)
            }),
        }
    }

    async fn lock(&self, name: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(name.to_owned()).or_default())
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test]
    async fn a_name_is_taken_by_one_at_a_time_and_forgotten_afterwards() {
        let turns = Turns::default();
        let errno = |refused: Result<_, HostError>| refused.unwrap_err().errno;
        let first = turns.take("a", Duration::MAX, pending()).await.unwrap();
        let late = turns.take("a", Duration::ZERO, pending()).await;
        assert_eq!(errno(late), Some(libc::ETIMEDOUT));
        let cancelled = turns.take("b", Duration::MAX, ready(())).await;
        assert_eq!(errno(cancelled), Some(libc::ECANCELED));
        drop(turns.take("b", Duration::MAX, pending()).await.unwrap());
        drop(first);
        drop(turns.take("a", Duration::ZERO, pending()).await.unwrap());
        drop(turns.take("c", Duration::MAX, pending()).await.unwrap());
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
