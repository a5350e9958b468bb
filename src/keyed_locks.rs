//! One lock for each key: of all that want the same, one at a time has it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// The locks that are held or waited for; of other keys nothing is kept.
#[derive(Debug)]
pub(crate) struct KeyedLocks<K>(Mutex<BTreeMap<K, Arc<tokio::sync::Mutex<()>>>>);

impl<K> Default for KeyedLocks<K> {
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }
}

impl<K: Ord + Clone> KeyedLocks<K> {
    /// Waits until nobody else holds this key's lock, in the order of arrival. It is held until
    /// what this gives is dropped; dropping the future gives up the place in the queue.
    pub(crate) async fn lock(&self, key: &K) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(key.clone()).or_default())
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn one_at_a_time_holds_a_key_and_it_is_forgotten_afterwards() {
        let locks = KeyedLocks::default();
        let first = locks.lock(&"a").await;
        assert!(locks.lock(&"a").now_or_never().is_none(), "it is held");
        assert!(locks.lock(&"b").now_or_never().is_some(), "another is not");
        drop(first);
        assert!(locks.lock(&"a").now_or_never().is_some());
        drop(locks.lock(&"b").await);
        assert_eq!(locks.0.lock().unwrap().len(), 1);
    }
}
