//! Effects in order: the gate, the ledger, the host, the answer.

mod addresses;
mod ask;
mod macvlan;

use std::cell::{Ref, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tokio::sync::Notify;
use tracing::{info, warn};

use super::recover::Recovery;
use super::resource_locks::ResourceLocks;
use super::undo::{self, Settled, UNDO_LIMIT, Undone};
use crate::effect::Resource;
use crate::engine::metrics::Counters;
use crate::engine::report::HeldStatus;
use crate::engine::runs::observer::Observer;
use crate::host::Host;
use crate::ledger::{self, Holding, Ledger, Of, Undo};
use crate::types::{IfName, Name};
pub(in crate::engine) use addresses::letting_go;
pub(in crate::engine) use ask::{Behalf, outcome_word};

/// The only place that acts on the host.
#[derive(Debug)]
pub(in crate::engine) struct Executor<H> {
    host: H,
    ledger: RefCell<Ledger>,
    resource_locks: ResourceLocks,
    recovery: Recovery,
    counters: RefCell<Counters>,
    /// What hooks hold but is no longer as they set it, and why.
    troubles: RefCell<BTreeMap<Resource, String>>,
    observer: RefCell<Option<Rc<dyn Observer>>>,
    /// Macvlans that are being removed.
    going: RefCell<BTreeSet<IfName>>,
    /// One of them is gone.
    gone: Notify,
}

impl<H: Host> Executor<H> {
    /// On this host, with this ledger. What dead processes left behind is still to be undone: see
    /// [`Self::recover_addresses`].
    pub(in crate::engine) fn new(host: H, ledger: Ledger, recovery: Recovery) -> Self {
        let (resource_locks, counters, troubles) = (
            ResourceLocks::default(),
            RefCell::default(),
            RefCell::default(),
        );
        Self {
            host,
            ledger: RefCell::new(ledger),
            resource_locks,
            recovery,
            counters,
            troubles,
            observer: RefCell::default(),
            going: RefCell::default(),
            gone: Notify::new(),
        }
    }

    /// Sets an observer of all effects.
    pub(in crate::engine) fn observe(&self, observer: Rc<dyn Observer>) {
        *self.observer.borrow_mut() = Some(observer);
    }

    /// The observer, if there is one.
    pub(in crate::engine) fn observer(&self) -> Option<Rc<dyn Observer>> {
        self.observer.borrow().clone()
    }

    /// What was counted so far.
    pub(in crate::engine) fn counters(&self) -> Ref<'_, Counters> {
        self.counters.borrow()
    }

    /// For counting something.
    pub(in crate::engine) fn count(&self) -> RefMut<'_, Counters> {
        self.counters.borrow_mut()
    }

    /// Rewrites the ledger if it could not be written and can be now. True if it is writable.
    pub(in crate::engine) async fn mend_ledger(&self) -> bool {
        let failing = self.ledger.borrow().failing();
        if failing.is_empty() {
            return true;
        }
        // On another thread first: a disk that does not respond must not hold up the protocol.
        let usable = tokio::task::spawn_blocking(move || {
            failing
                .iter()
                .try_for_each(|directory| ledger::probe(directory))
        });
        if matches!(usable.await, Ok(Ok(()))) {
            self.ledger.borrow_mut().mend();
        }
        self.ledger.borrow().health().is_none()
    }

    /// At the end, nothing on disk may list what has been undone: a cleanup would look for it.
    pub(in crate::engine) async fn close_ledger(&self) {
        if self.mend_ledger().await {
            return;
        }
        let void = self.ledger.borrow().void_files();
        let count = void.len();
        let removed =
            tokio::task::spawn_blocking(move || void.iter().try_for_each(std::fs::remove_file))
                .await;
        match removed {
            Ok(Ok(())) if count > 0 => info!(
                "Removed a ledger that cannot be written: nothing listed in it is held any more"
            ),
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(%error, "The ledger still lists what has been undone: `carpd cleanup` will find it gone");
            }
            Err(error) => warn!(%error, "Could not maintain the ledger"),
        }
    }

    /// What is held, for status.
    pub(in crate::engine) fn ledger(&self) -> Ref<'_, Ledger> {
        self.ledger.borrow()
    }

    /// The ledger, for recording something in it.
    pub(in crate::engine) fn ledger_mut(&self) -> RefMut<'_, Ledger> {
        self.ledger.borrow_mut()
    }

    /// Removes the addresses that dead processes left behind, before the first advertisement.
    pub(in crate::engine) fn recover_addresses(&self) {
        self.recovery.addresses(&self.host, &self.ledger);
    }

    /// Undoes the rest of what dead processes left behind, and retries what fails until nothing is
    /// left. Hooks may run after the first round: see [`Self::recovered`].
    pub(in crate::engine) async fn recover_rest(&self) {
        self.recovery
            .rest(&self.host, &self.ledger, &self.resource_locks)
            .await;
    }

    /// One round of [`Self::recover_rest`].
    #[cfg(test)]
    pub(in crate::engine) async fn recover_once(&self) -> Undone {
        self.recovery.once(&self.host, &self.ledger).await
    }

    /// The name that this node has once everything set by dead processes is undone.
    pub(in crate::engine) fn own_name(&self, now: String) -> String {
        self.recovery.own_name(&self.ledger.borrow(), now)
    }

    /// Waits for the first round of [`Self::recover_rest`].
    pub(in crate::engine) async fn recovered(&self) {
        self.recovery.first_round().await;
    }

    /// What dead processes left.
    pub(in crate::engine) const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Whether everything that dead processes left behind is undone.
    pub(in crate::engine) fn is_recovered(&self) -> bool {
        self.recovery.is_empty()
    }

    /// The host itself, for queries.
    pub(in crate::engine) const fn host(&self) -> &H {
        &self.host
    }

    /// Renames virtual hosts, all at once; nothing on the host changes.
    pub(in crate::engine) fn rename(&self, names: &BTreeMap<Name, Name>) {
        self.ledger.borrow_mut().rename(names);
        self.count().rename(names);
    }

    /// Whether nothing is held any more.
    pub(in crate::engine) fn is_clean(&self) -> bool {
        self.ledger.borrow().is_empty()
    }

    /// What is held, in words, with who holds it.
    pub(in crate::engine) fn held(&self) -> Vec<HeldStatus> {
        let (ledger, troubles) = (self.ledger.borrow(), self.troubles.borrow());
        let told = |Holding {
                        resource,
                        value,
                        owners,
                        ..
                    }: Holding<'_>| HeldStatus {
            resource: resource.to_string(),
            value: value.to_string(),
            owners: owners.iter().map(ToString::to_string).collect(),
            trouble: troubles.get(resource).cloned(),
        };
        ledger.iter().map(told).collect()
    }

    /// The current problems with what hooks hold.
    pub(in crate::engine) fn troubles(&self) -> RefMut<'_, BTreeMap<Resource, String>> {
        self.troubles.borrow_mut()
    }

    /// Whose turn it is with which resource.
    pub(in crate::engine) const fn resource_locks(&self) -> &ResourceLocks {
        &self.resource_locks
    }

    /// A point in the order of claims: those made later are newer than it.
    pub(in crate::engine) fn mark(&self) -> u64 {
        self.ledger.borrow().mark()
    }

    /// Undoes what the virtual host's hooks, or one of them, claimed before `mark` and have not
    /// claimed again since.
    pub(in crate::engine) async fn undo_older(
        &self,
        vhost: &Name,
        hook: Option<&Name>,
        mark: u64,
    ) -> Undone {
        let mut plan = self.ledger.borrow().undo_plan_before(vhost, mark);
        plan.retain(|undo| hook.is_none_or(|hook| undo.owner.hook.as_ref() == Some(hook)));
        self.undo_all(plan).await
    }

    /// Undoes everything that the virtual host's hooks hold, newest first. What fails stays in the
    /// ledger.
    pub(in crate::engine) async fn undo_hooks(&self, vhost: &Name) -> Undone {
        let plan = self.ledger.borrow().undo_plan(vhost, Of::Hooks);
        self.undo_all(plan).await
    }

    async fn undo_all(&self, plan: Vec<Undo>) -> Undone {
        let mut undone = Undone::default();
        for planned in plan {
            let _turn = self.resource_locks.lock(&planned.resource).await;
            // Other virtual hosts may have come and gone while the previous entry was being undone.
            let Some(undo) = self
                .ledger
                .borrow()
                .undo_of(&planned.owner, &planned.resource)
            else {
                continue;
            };
            let settled = undo::undo(&self.host, &self.ledger, &undo, UNDO_LIMIT).await;
            if let (Ok(Settled::PutBack), Some(observer)) = (&settled, self.observer())
                && let Some(effect) = undo.effect()
            {
                observer.undone(&undo.owner.vhost, &effect);
            }
            undone.count(&settled);
        }
        self.count().undone(undone.settled, undone.failed);
        undone
    }
}
