//! One at a time for each resource: whoever sets or undoes it has it until that is done, and noted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::effect::Resource;

/// Who has which resource.
#[derive(Debug, Default)]
pub(in crate::engine) struct ResourceLocks {
    taken: RefCell<BTreeMap<Resource, Arc<Mutex<()>>>>,
}

impl ResourceLocks {
    /// Waits until nobody else has it. Whoever waited longest comes first; the turn ends when it is
    /// dropped.
    pub(in crate::engine) async fn take(&self, resource: &Resource) -> OwnedMutexGuard<()> {
        let turn = {
            let mut taken = self.taken.borrow_mut();
            taken.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(taken.entry(resource.clone()).or_default())
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn a_resource_is_had_by_one_and_forgotten_afterwards() {
        let resource_locks = ResourceLocks::default();
        let first = resource_locks.take(&Resource::Hostname).await;
        assert!(
            resource_locks
                .take(&Resource::Hostname)
                .now_or_never()
                .is_none(),
            "it is taken"
        );
        let other = Resource::Sysctl {
            key: "net.ipv4.ip_forward".into(),
        };
        assert!(
            resource_locks.take(&other).now_or_never().is_some(),
            "another is not"
        );
        drop(first);
        assert!(
            resource_locks
                .take(&Resource::Hostname)
                .now_or_never()
                .is_some()
        );
        drop(resource_locks.take(&other).await);
        assert_eq!(resource_locks.taken.borrow().len(), 1);
    }
}
