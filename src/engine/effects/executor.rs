//! Effects in order: the gate, the ledger, the host, the answer.

use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tracing::{info, warn};

use super::recover::Recovery;
use super::resource_locks::ResourceLocks;
use super::undo::{self, Settled, UNDO_LIMIT, Undone};
use crate::effect::{Effect, Granted, Grants, Outcome, Own, Query, Reply, Resource, Value};
use crate::engine::metrics::Counters;
use crate::engine::report::HeldStatus;
use crate::engine::runs::observer::Observer;
use crate::engine::vhost::lease::Lease;
use crate::hooks::AskError;
use crate::host::{Host, HostError, Renewal};
use crate::ledger::{self, Holding, Ledger, LedgerError, Of, Owner, Undo, Verdict, Written};
use crate::types::{IfName, Name, VirtualAddress, shown};

/// The one place where something is done to the host.
#[derive(Debug)]
pub(in crate::engine) struct Executor<H> {
    host: H,
    ledger: RefCell<Ledger>,
    resource_locks: ResourceLocks,
    recovery: Recovery,
    counters: RefCell<Counters>,
    /// What hooks hold and is not as they set it, with what is the matter.
    troubles: RefCell<BTreeMap<Resource, String>>,
    observer: RefCell<Option<Rc<dyn Observer>>>,
}

/// On whose behalf an effect is done.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Behalf<'a> {
    /// Virtual host and hook.
    pub(in crate::engine) owner: &'a Owner,
    /// What the hook was granted.
    pub(in crate::engine) grants: &'a Grants,
    /// What it may touch without a grant.
    pub(in crate::engine) own: Own<'a>,
    /// Is it undone by itself when mastership ends?
    pub(in crate::engine) scoped: bool,
    /// What is left of the budget.
    pub(in crate::engine) left: Duration,
}

impl From<HostError> for AskError {
    fn from(error: HostError) -> Self {
        Self::Host {
            message: error.message,
            errno: error.errno,
        }
    }
}

impl<H: Host> Executor<H> {
    /// On this host, with this ledger. What dead processes left is still to be undone: see
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
        }
    }

    /// From now on somebody looks on.
    pub(in crate::engine) fn observe(&self, observer: Rc<dyn Observer>) {
        *self.observer.borrow_mut() = Some(observer);
    }

    /// Who looks on, if anybody does.
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

    /// Writes the ledger anew if it could not be written and can be now. True if all is well.
    pub(in crate::engine) async fn mend_ledger(&self) -> bool {
        let failing = self.ledger.borrow().failing();
        if failing.is_empty() {
            return true;
        }
        // On another thread first: a disk that does not answer must not hold up the protocol.
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

    /// At the end nothing on disk may speak of what is undone: whoever cleans up would look for it.
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
                "Removed a ledger that cannot be written: nothing of what it says is held any more"
            ),
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(%error, "The ledger still has what is undone: `carpd cleanup` will find it gone");
            }
            Err(error) => warn!(%error, "Could not look after the ledger"),
        }
    }

    /// What is held, for status.
    pub(in crate::engine) fn ledger(&self) -> Ref<'_, Ledger> {
        self.ledger.borrow()
    }

    /// To note something in it.
    pub(in crate::engine) fn ledger_mut(&self) -> RefMut<'_, Ledger> {
        self.ledger.borrow_mut()
    }

    /// Takes down the addresses that dead processes left: before the first advertisement.
    pub(in crate::engine) fn recover_addresses(&self) {
        self.recovery.addresses(&self.host, &self.ledger);
    }

    /// Undoes the rest of what dead processes left, and tries again what fails until nothing is
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

    /// What this node is called when nothing of what dead processes set is left.
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

    /// Is nothing left of what dead processes left?
    pub(in crate::engine) fn is_recovered(&self) -> bool {
        self.recovery.is_empty()
    }

    /// The host itself, for looking.
    pub(in crate::engine) const fn host(&self) -> &H {
        &self.host
    }

    /// Virtual hosts are called otherwise from now on, all at once; nothing on the host changes.
    pub(in crate::engine) fn rename(&self, names: &BTreeMap<Name, Name>) {
        self.ledger.borrow_mut().rename(names);
        self.count().rename(names);
    }

    /// Is nothing held any more?
    pub(in crate::engine) fn is_clean(&self) -> bool {
        self.ledger.borrow().is_empty()
    }

    /// Puts the virtual host's own addresses up. All or none.
    ///
    /// # Errors
    /// The kernel's words about the first address that failed; those before it are taken down
    /// again.
    pub(in crate::engine) fn hold_addresses(
        &self,
        vhost: &Name,
        dev: &IfName,
        addresses: &[VirtualAddress],
        lease: Lease,
    ) -> Result<(), HostError> {
        for address in addresses {
            if let Err(error) = self.hold_address(vhost, dev, *address, lease) {
                self.drop_addresses(vhost);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Puts up those of the virtual host's own addresses that the host takes, and gives the others,
    /// with its words. Nothing of those is left behind.
    pub(in crate::engine) fn hold_those_possible(
        &self,
        vhost: &Name,
        dev: &IfName,
        addresses: &[VirtualAddress],
        lease: Lease,
    ) -> Vec<(VirtualAddress, HostError)> {
        let refused = |address: &VirtualAddress| {
            Some((
                *address,
                self.hold_address(vhost, dev, *address, lease).err()?,
            ))
        };
        let refused: Vec<_> = addresses.iter().filter_map(refused).collect();
        self.release_addresses(vhost, dev, refused.iter().map(|(address, _)| *address));
        refused
    }

    fn hold_address(
        &self,
        vhost: &Name,
        dev: &IfName,
        address: VirtualAddress,
        lease: Lease,
    ) -> Result<(), HostError> {
        let owner = self.claim_address(vhost, dev, address);
        self.put_address(dev, address, lease)?;
        self.lead(&owner, dev, address)
    }

    /// Notes in the ledger that the virtual host has this address, whether it is up yet or not.
    pub(in crate::engine) fn claim_address(
        &self,
        vhost: &Name,
        dev: &IfName,
        address: VirtualAddress,
    ) -> Owner {
        let owner = Owner {
            vhost: vhost.clone(),
            hook: None,
        };
        let resource = Resource::Address {
            dev: dev.clone(),
            ip: address.ip,
        };
        self.ledger
            .borrow_mut()
            .claim_own(&owner, &resource, Value::Address(address));
        owner
    }

    /// Puts one of the virtual host's own addresses (back) on its device.
    ///
    /// # Errors
    /// The kernel's words.
    pub(in crate::engine) fn put_address(
        &self,
        dev: &IfName,
        address: VirtualAddress,
        lease: Lease,
    ) -> Result<(), HostError> {
        self.host.lease(address, dev, lease.lifetime())
    }

    /// Renews the leases of addresses that are up. Call it only while they cannot have expired: a
    /// renewal after the end would bring the address back.
    pub(in crate::engine) fn renew(&self, of: &[(&Name, Renewal)]) {
        let renewals: Vec<Renewal> = of.iter().map(|(_, renewal)| *renewal).collect();
        let mut refused = self.host.renew(&renewals).into_iter().peekable();
        for (at, (vhost, renewal)) in of.iter().enumerate() {
            let error = refused.next_if(|(refused, _)| *refused == at);
            self.count().renewed(vhost, error.is_none());
            if let Some((_, error)) = error {
                warn!(%vhost, address = %renewal.address, %error, "Could not renew the lease of an address");
            }
        }
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

    /// What is the matter with what hooks hold.
    pub(in crate::engine) fn troubles(&self) -> RefMut<'_, BTreeMap<Resource, String>> {
        self.troubles.borrow_mut()
    }

    /// Whose turn it is with which resource.
    pub(in crate::engine) const fn resource_locks(&self) -> &ResourceLocks {
        &self.resource_locks
    }

    /// Takes some of the virtual host's own addresses down.
    pub(in crate::engine) fn release_addresses(
        &self,
        vhost: &Name,
        dev: &IfName,
        addresses: impl Iterator<Item = VirtualAddress>,
    ) {
        for address in addresses {
            let owner = Owner {
                vhost: vhost.clone(),
                hook: None,
            };
            let resource = Resource::Address {
                dev: dev.clone(),
                ip: address.ip,
            };
            // What cannot be taken down stays in the ledger, and goes with the rest.
            if self.remove_leftover(dev, address) {
                self.ledger.borrow_mut().settle(&owner, &resource);
            }
        }
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

    /// Takes down an address that was up before we began. False if that failed.
    pub(in crate::engine) fn remove_leftover(&self, dev: &IfName, address: VirtualAddress) -> bool {
        let effect = Effect::AddressDelete {
            address,
            dev: dev.clone(),
        };
        let result = self.host.perform_now(&Granted::by_daemon(effect));
        if result.is_err()
            && self.is_gone(&Resource::Address {
                dev: dev.clone(),
                ip: address.ip,
            })
        {
            return true;
        }
        if let Err(error) = &result {
            warn!(%address, %error, "Could not take down an address that was left behind");
        }
        result.is_ok()
    }

    /// Takes the virtual host's own addresses down, whoever else claims them, and says how many
    /// could not be. Those stay in the ledger.
    pub(in crate::engine) fn drop_addresses(&self, vhost: &Name) -> usize {
        let mut plan = self.ledger.borrow().undo_plan(vhost, Of::Daemon);
        // What must not be held twice goes first, the way to its network after it.
        plan.sort_by_key(|planned| !matches!(planned.resource, Resource::Address { .. }));
        let mut failed = 0;
        for planned in plan {
            let done = letting_go(&planned).map_or(Ok(()), |effect| {
                self.host.perform_now(&Granted::by_daemon(effect)).map(drop)
            });
            match done {
                Ok(()) => self
                    .ledger
                    .borrow_mut()
                    .settle(&planned.owner, &planned.resource),
                Err(_) if self.is_gone(&planned.resource) => self
                    .ledger
                    .borrow_mut()
                    .settle(&planned.owner, &planned.resource),
                Err(error) => {
                    failed += 1;
                    warn!(%vhost, resource = %planned.resource, %error, "Could not let go");
                }
            }
        }
        failed
    }

    /// Has an address that could not be taken down been taken away already, as by a kernel whose
    /// IPv6 was switched off?
    fn is_gone(&self, resource: &Resource) -> bool {
        let Resource::Address { dev, ip } = resource else {
            return false;
        };
        self.host
            .address_present(dev, *ip)
            .is_ok_and(|present| !present)
    }

    /// Tells the neighbours once where the addresses are.
    pub(in crate::engine) fn announce(
        &self,
        vhost: &Name,
        dev: &IfName,
        addresses: &[VirtualAddress],
    ) {
        for address in addresses {
            let effect = Effect::Announce {
                address: *address,
                dev: dev.clone(),
                count: 1,
                interval_ms: 0,
            };
            let announced = self.host.perform_now(&Granted::by_daemon(effect));
            self.count().announced(vhost, announced.is_ok());
            if let Err(error) = announced {
                warn!(%vhost, %address, %error, "Could not announce an address");
            }
        }
    }

    /// Does what a hook asked for, if it may.
    ///
    /// # Errors
    /// The refusal or the failure, for the hook.
    pub(in crate::engine) async fn ask(
        &self,
        behalf: &Behalf<'_>,
        effect: Effect,
        keep: bool,
    ) -> Result<Reply, AskError> {
        let text = shown(&effect);
        let granted = behalf
            .grants
            .permit(effect, behalf.own)
            .map_err(|denied| AskError::Denied(*denied));
        let result = match granted {
            Ok(granted) => self.perform(behalf, &granted, keep).await,
            Err(denied) => Err(denied),
        };
        let Owner { vhost, hook } = behalf.owner;
        let hook = hook.as_ref().map_or("", Name::as_str);
        self.count().effect(match &result {
            Ok(reply) => outcome_word(reply),
            Err(AskError::Denied(_)) => "denied",
            Err(_) => "failed",
        });
        match &result {
            Ok(reply) => {
                info!(%vhost, hook, effect = text, outcome = outcome_word(reply), "Did an effect");
            }
            Err(error) => {
                warn!(%vhost, hook, effect = text, outcome = "failed", error = %shown(error), "Could not do an effect");
            }
        }
        result
    }

    async fn perform(
        &self,
        behalf: &Behalf<'_>,
        granted: &Granted,
        keep: bool,
    ) -> Result<Reply, AskError> {
        let Some((resource, value)) = granted.effect().assigns() else {
            return Ok(self.host.perform(granted, behalf.left).await?);
        };
        // One at a time for each resource: its ledger entry and its value must not drift apart.
        let _turn = self.resource_locks.take(&resource).await;
        if !behalf.scoped {
            return self.assign(behalf, granted, &resource, value).await;
        }
        if keep {
            let unwritable = self.ledger.borrow().health().cloned();
            return match unwritable {
                Some(error) => Err(error.into()),
                None => self.assign(behalf, granted, &resource, value).await,
            };
        }
        let before = self.before(&resource, behalf.left).await?;
        let earlier = self
            .ledger
            .borrow()
            .undo_of(behalf.owner, &resource)
            .map(|undo| undo.value);
        let shown = self
            .ledger
            .borrow()
            .wanted(&resource)
            .cloned()
            .unwrap_or_else(|| before.clone());
        let written = self
            .ledger
            .borrow_mut()
            .claim(behalf.owner, &resource, before, value)?;
        synced(written).await?;
        match self.host.perform(granted, behalf.left).await {
            Ok(reply) => {
                self.ledger.borrow_mut().confirm(&resource);
                self.adopt_shown(behalf, &resource).await;
                Ok(reply)
            }
            Err(error) => {
                self.retract(behalf, &resource, earlier, &shown, &error)
                    .await;
                Err(error.into())
            }
        }
    }

    /// The kernel shows some parameters in another form than they were written in (`01` as `1`).
    /// What it shows is what we have to know again later.
    async fn adopt_shown(&self, behalf: &Behalf<'_>, resource: &Resource) {
        if !matches!(resource, Resource::Sysctl { .. }) {
            return;
        }
        let Ok(shown) = self.host.observe(resource, behalf.left).await else {
            return;
        };
        let mut ledger = self.ledger.borrow_mut();
        if ledger
            .wanted(resource)
            .is_some_and(|wanted| *wanted != shown)
        {
            // If it cannot be written it is not known after a crash, and left alone then.
            drop(ledger.claim(behalf.owner, resource, Value::Absent, shown));
            ledger.confirm(resource);
        }
    }

    /// An effect failed. Its claim goes only where it is certain that nothing came of it: the host
    /// refused it, and still has what was `shown` before. Otherwise half of it may have been done,
    /// or may still be, and undoing what is not there is nothing.
    async fn retract(
        &self,
        behalf: &Behalf<'_>,
        resource: &Resource,
        earlier: Option<Value>,
        shown: &Value,
        error: &HostError,
    ) {
        let refused = error
            .errno
            .is_some_and(|errno| !matches!(errno, libc::ETIMEDOUT | libc::EPIPE));
        // A service that failed to start may be started again by its manager.
        if !refused || matches!(resource, Resource::Service { .. }) {
            return;
        }
        let Ok(there) = self.host.observe(resource, behalf.left).await else {
            return;
        };
        if !shown.looks_like(&there) {
            return;
        }
        let mut ledger = self.ledger.borrow_mut();
        match earlier {
            // If it cannot be written the failed value stays a possible one of ours, which is true.
            Some(earlier) => drop(ledger.claim(behalf.owner, resource, Value::Absent, earlier)),
            None => ledger.settle(behalf.owner, resource),
        }
        // Claimed again, it may stand above the one that shows: then the host has another value of
        // ours.
        if ledger.wanted(resource) == Some(shown) {
            ledger.confirm(resource);
        }
    }

    /// An effect that stays when mastership ends.
    async fn assign(
        &self,
        behalf: &Behalf<'_>,
        granted: &Granted,
        resource: &Resource,
        value: Value,
    ) -> Result<Reply, AskError> {
        let vhost = &behalf.owner.vhost;
        let before = self.ledger.borrow().goes_back_to(resource).cloned();
        let verdict = self.ledger.borrow_mut().retarget(vhost, resource, &value);
        let own = self.ledger.borrow().owners(vhost, resource);
        if verdict == Verdict::Deferred {
            for owner in &own {
                let undo = self.ledger.borrow().undo_of(owner, resource);
                if let Some(undo) = undo {
                    undo::undo(&self.host, &self.ledger, &undo, behalf.left).await?;
                }
            }
            info!(%vhost, %resource, %value, "Noted for when the master that holds it leaves");
            return Ok(Reply::Outcome(Outcome::Unchanged));
        }
        let performed = self.host.perform(granted, behalf.left).await;
        let mut ledger = self.ledger.borrow_mut();
        match &performed {
            Ok(_) => own.iter().for_each(|owner| ledger.settle(owner, resource)),
            // Another virtual host may have noted a value that is to stay before.
            Err(_) => before
                .into_iter()
                .for_each(|before| ledger.withdraw(resource, before)),
        }
        drop(ledger);
        Ok(performed?)
    }

    /// What the resource goes back to; only asked of the host if nobody holds it yet.
    async fn before(&self, resource: &Resource, limit: Duration) -> Result<Value, HostError> {
        if self.ledger.borrow().holds(resource) {
            return Ok(Value::Absent);
        }
        self.host.observe(resource, limit).await
    }

    /// Answers a hook's query, if it may ask.
    ///
    /// # Errors
    /// The refusal or the failure, for the hook.
    pub(in crate::engine) async fn query(
        &self,
        behalf: &Behalf<'_>,
        query: &Query,
    ) -> Result<Reply, AskError> {
        behalf
            .grants
            .permit_query(query)
            .map_err(|denied| AskError::Denied(*denied))?;
        Ok(self.host.answer(query, behalf.left).await?)
    }

    /// Undoes all that the virtual host's hooks hold, newest first. What fails stays in the ledger.
    pub(in crate::engine) async fn undo_hooks(&self, vhost: &Name) -> Undone {
        let plan = self.ledger.borrow().undo_plan(vhost, Of::Hooks);
        self.undo_all(plan).await
    }

    async fn undo_all(&self, plan: Vec<Undo>) -> Undone {
        let mut undone = Undone::default();
        for planned in plan {
            let _turn = self.resource_locks.take(&planned.resource).await;
            // Other virtual hosts may have come and gone while the one before was undone.
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

impl From<LedgerError> for AskError {
    fn from(error: LedgerError) -> Self {
        Self::Host {
            message: error.to_string(),
            errno: error.errno,
        }
    }
}

/// Waits until a record is on the medium, if it has to be, without holding up the protocol.
async fn synced(written: Written) -> Result<(), HostError> {
    if !written.needs_sync() {
        return Ok(());
    }
    let failed = |message: String, errno| HostError {
        message: format!("syncing the ledger: {message}"),
        errno,
    };
    match tokio::task::spawn_blocking(|| written.sync()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(err)) => Err(failed(err.to_string(), err.raw_os_error())),
        Err(err) => Err(failed(err.to_string(), None)),
    }
}

/// How the daemon lets go of something of its own; `None` if another virtual host's claim stands
/// above it.
pub(in crate::engine) fn letting_go(undo: &Undo) -> Option<Effect> {
    match (&undo.resource, &undo.value, &undo.back_to) {
        // Whoever else claims it: an address of ours goes when we are no longer master.
        (Resource::Address { dev, .. }, Value::Address(address), _) => {
            Some(Effect::AddressDelete {
                address: *address,
                dev: dev.clone(),
            })
        }
        // Exactly ours, and no other way to the same network.
        (_, Value::Route(route), Some(Value::Absent)) => Some(Effect::RouteDelete(route.clone())),
        _ => undo.effect(),
    }
}

/// What an effect did, in a word.
pub(in crate::engine) fn outcome_word(reply: &Reply) -> &'static str {
    match reply {
        Reply::Outcome(outcome) => outcome.as_str(),
        Reply::Command(_) => "ran",
        Reply::Text(_)
        | Reply::File(_)
        | Reply::Unit(_)
        | Reply::Links(_)
        | Reply::Addresses(_)
        | Reply::Routes(_)
        | Reply::State(_)
        | Reply::Http(_)
        | Reply::Took(_) => "answered",
    }
}
