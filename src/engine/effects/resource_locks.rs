//! One at a time for each resource: whoever sets or undoes it has it until that is done, and noted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::effect::Resource;
use crate::engine::runs::run_limits::{RunLimits, RunPermit};
use crate::host::clock;

/// Who has which resource: one place for each.
#[derive(Debug, Default)]
pub(in crate::engine) struct ResourceLocks {
    taken: RefCell<BTreeMap<Resource, Rc<RunLimits>>>,
}

impl ResourceLocks {
    /// Waits until nobody else has it. Whoever waited longest comes first; the turn ends when it is
    /// dropped.
    ///
    /// In virtual time those who ask at the same time get it in the order of their virtual hosts,
    /// not in that in which their processes happened to ask.
    pub(in crate::engine) async fn lock(&self, resource: &Resource) -> RunPermit {
        clock::turn().await;
        let turn = {
            let mut taken = self.taken.borrow_mut();
            taken.retain(|_, turn| turn.taken() > 0);
            let turn = taken.entry(resource.clone());
            Rc::clone(turn.or_insert_with(|| Rc::new(RunLimits::new(1, 0))))
        };
        let is_free = turn.taken() == 0;
        let permit = turn.take(false).await;
        if !is_free {
            // Whoever had it is still at work.
            clock::turn().await;
        }
        permit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn a_resource_is_had_by_one_and_forgotten_afterwards() {
        let resource_locks = ResourceLocks::default();
        let first = resource_locks.lock(&Resource::Hostname).await;
        assert!(
            resource_locks
                .lock(&Resource::Hostname)
                .now_or_never()
                .is_none(),
            "it is taken"
        );
        let other = Resource::Sysctl {
            key: "net.ipv4.ip_forward".into(),
        };
        assert!(
            resource_locks.lock(&other).now_or_never().is_some(),
            "another is not"
        );
        drop(first);
        assert!(
            resource_locks
                .lock(&Resource::Hostname)
                .now_or_never()
                .is_some()
        );
        drop(resource_locks.lock(&other).await);
        assert_eq!(resource_locks.taken.borrow().len(), 1);
    }
}
