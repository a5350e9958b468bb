//! Effects in order: the gate, the ledger, the host, the answer.

use std::cell::RefCell;
use std::time::Duration;

use tracing::{info, warn};

use super::lease::Lease;
use crate::effect::{Effect, Granted, Grants, Outcome, Own, Query, Reply, Resource, Route, RouteTarget, Value};
use crate::hooks::AskError;
use crate::host::{Host, HostError};
use crate::ledger::{Ledger, Of, Owner, Undo, Verdict};
use crate::types::{IfName, Name, VirtualAddress};

/// How long the undoing of one effect may take.
const UNDO_LIMIT: Duration = Duration::from_secs(10);

/// The one place where something is done to the host.
#[derive(Debug)]
pub(super) struct Executor<H> {
    host: H,
    ledger: RefCell<Ledger>,
}

/// On whose behalf an effect is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Behalf<'a> {
    /// Virtual host and hook.
    pub(super) owner: &'a Owner,
    /// What the hook was granted.
    pub(super) grants: &'a Grants,
    /// What it may touch without a grant.
    pub(super) own: Own<'a>,
    /// Is it undone by itself when mastership ends?
    pub(super) scoped: bool,
    /// What is left of the budget.
    pub(super) left: Duration,
}

/// How undoing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Undone {
    /// Claims that are gone.
    pub(super) settled: usize,
    /// Claims that remain because undoing failed.
    pub(super) failed: usize,
}

impl From<HostError> for AskError {
    fn from(error: HostError) -> Self {
        Self::Host { message: error.message, errno: error.errno }
    }
}

impl<H: Host> Executor<H> {
    /// On this host, holding nothing.
    pub(super) fn new(host: H) -> Self {
        Self { host, ledger: RefCell::new(Ledger::new()) }
    }

    /// The host itself, for looking.
    pub(super) const fn host(&self) -> &H {
        &self.host
    }

    /// Is nothing held any more?
    pub(super) fn is_clean(&self) -> bool {
        self.ledger.borrow().is_empty()
    }

    /// Puts the virtual host's own addresses up. All or none.
    ///
    /// # Errors
    /// The kernel's words about the first address that failed; those before it are taken down again.
    pub(super) fn hold_addresses(
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

    fn hold_address(&self, vhost: &Name, dev: &IfName, address: VirtualAddress, lease: Lease) -> Result<(), HostError> {
        let owner = Owner { vhost: vhost.clone(), hook: None };
        let resource = Resource::Address { dev: dev.clone(), ip: address.ip };
        self.ledger.borrow_mut().claim(&owner, &resource, Value::Absent, Value::Address(address));
        self.put_address(dev, address, lease)?;
        if lease == Lease::Off || address.prefix == address.family().host_prefix() || self.host.is_connected(address, dev)? {
            return Ok(());
        }
        // A leased address is a host address, so the way to its network is a route of its own.
        let route = Route {
            dst: RouteTarget::network_of(address),
            via: None,
            dev: Some(dev.clone()),
            src: Some(address.ip),
            metric: None,
            table: None,
        };
        let resource = Resource::route(&route);
        self.ledger.borrow_mut().claim(&owner, &resource, Value::Absent, Value::Route(route.clone()));
        self.host.perform_now(&Granted::by_daemon(Effect::RouteReplace(route))).map(drop)
    }

    /// Puts one of the virtual host's own addresses (back) on its device.
    ///
    /// # Errors
    /// The kernel's words.
    pub(super) fn put_address(&self, dev: &IfName, address: VirtualAddress, lease: Lease) -> Result<(), HostError> {
        match lease {
            Lease::Off => {
                let effect = Effect::AddressAdd { address, dev: dev.clone() };
                self.host.perform_now(&Granted::by_daemon(effect)).map(drop)
            }
            Lease::Kernel { lifetime } => self.host.lease(address, dev, lifetime),
        }
    }

    /// Renews the leases of addresses that are up. Call it only while they cannot have expired: a renewal after the
    /// end would bring the address back.
    pub(super) fn renew(&self, vhost: &Name, dev: &IfName, addresses: &[VirtualAddress], lifetime: Option<Duration>) {
        for address in addresses {
            if let Err(error) = self.host.lease(*address, dev, lifetime) {
                warn!(%vhost, %address, %error, "Could not renew the lease of an address");
            }
        }
    }

    /// What is held, in words, with who holds it.
    pub(super) fn held(&self) -> Vec<(String, String, Vec<String>)> {
        let ledger = self.ledger.borrow();
        ledger
            .iter()
            .map(|(resource, value, owners)| {
                (resource.to_string(), value.to_string(), owners.iter().map(ToString::to_string).collect())
            })
            .collect()
    }

    /// Takes some of the virtual host's own addresses down.
    pub(super) fn release_addresses(&self, vhost: &Name, dev: &IfName, addresses: impl Iterator<Item = VirtualAddress>) {
        for address in addresses {
            let owner = Owner { vhost: vhost.clone(), hook: None };
            let resource = Resource::Address { dev: dev.clone(), ip: address.ip };
            self.remove_leftover(dev, address);
            self.ledger.borrow_mut().settle(&owner, &resource);
        }
    }

    /// A point in the order of claims: those made later are newer than it.
    pub(super) fn mark(&self) -> u64 {
        self.ledger.borrow().mark()
    }

    /// Undoes what the virtual host's hooks claimed before `mark` and have not claimed again since.
    pub(super) async fn undo_older(&self, vhost: &Name, mark: u64) -> Undone {
        let plan = self.ledger.borrow().undo_plan_before(vhost, mark);
        self.undo_all(vhost, plan).await
    }

    /// Takes down an address that was up before we began.
    pub(super) fn remove_leftover(&self, dev: &IfName, address: VirtualAddress) {
        let effect = Effect::AddressDelete { address, dev: dev.clone() };
        if let Err(error) = self.host.perform_now(&Granted::by_daemon(effect)) {
            warn!(%address, %error, "Could not take down an address that was left behind");
        }
    }

    /// Takes the virtual host's own addresses down, and says how many could not be. Those stay in the ledger.
    pub(super) fn drop_addresses(&self, vhost: &Name) -> usize {
        let plan = self.ledger.borrow().undo_plan(vhost, Of::Daemon);
        let mut failed = 0;
        for undo in plan {
            let done = undo.effect().map_or(Ok(()), |effect| self.host.perform_now(&Granted::by_daemon(effect)).map(drop));
            match done {
                Ok(()) => self.ledger.borrow_mut().settle(&undo.owner, &undo.resource),
                Err(error) => {
                    failed += 1;
                    warn!(%vhost, resource = %undo.resource, %error, "Could not take an address down");
                }
            }
        }
        failed
    }

    /// Tells the neighbours once where the addresses are.
    pub(super) fn announce(&self, vhost: &Name, dev: &IfName, addresses: &[VirtualAddress]) {
        for address in addresses {
            let effect = Effect::Announce { address: *address, dev: dev.clone(), count: 1, interval_ms: 0 };
            if let Err(error) = self.host.perform_now(&Granted::by_daemon(effect)) {
                warn!(%vhost, %address, %error, "Could not announce an address");
            }
        }
    }

    /// Does what a hook asked for, if it may.
    ///
    /// # Errors
    /// The refusal or the failure, for the hook.
    pub(super) async fn ask(&self, behalf: &Behalf<'_>, effect: Effect, keep: bool) -> Result<Reply, AskError> {
        let text = effect.to_string();
        let granted = behalf.grants.permit(effect, behalf.own).map_err(|denied| AskError::Denied(*denied));
        let result = match granted {
            Ok(granted) => self.perform(behalf, &granted, keep).await,
            Err(denied) => Err(denied),
        };
        let Owner { vhost, hook } = behalf.owner;
        let hook = hook.as_ref().map_or("", Name::as_str);
        match &result {
            Ok(reply) => info!(%vhost, hook, effect = text, outcome = outcome_word(reply), "Did an effect"),
            Err(error) => warn!(%vhost, hook, effect = text, outcome = "failed", %error, "Could not do an effect"),
        }
        result
    }

    async fn perform(&self, behalf: &Behalf<'_>, granted: &Granted, keep: bool) -> Result<Reply, AskError> {
        let Some((resource, value)) = granted.effect().assigns() else {
            return Ok(self.host.perform(granted, behalf.left).await?);
        };
        if behalf.scoped && !keep {
            let before = self.before(&resource, behalf.left).await?;
            self.ledger.borrow_mut().claim(behalf.owner, &resource, before, value);
        } else if self.ledger.borrow_mut().assign(behalf.owner, &resource, &value) == Verdict::Deferred {
            info!(vhost = %behalf.owner.vhost, %resource, %value, "Noted for when the master that holds it leaves");
            return Ok(Reply::Outcome(Outcome::Unchanged));
        }
        // A claim stays even if this fails: the host may have done half of it, and undoing what is not there is nothing.
        Ok(self.host.perform(granted, behalf.left).await?)
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
    pub(super) async fn query(&self, behalf: &Behalf<'_>, query: &Query) -> Result<Reply, AskError> {
        behalf.grants.permit_query(query).map_err(|denied| AskError::Denied(*denied))?;
        Ok(self.host.answer(query, behalf.left).await?)
    }

    /// Undoes all that the virtual host's hooks hold, newest first. What fails stays in the ledger.
    pub(super) async fn undo_hooks(&self, vhost: &Name) -> Undone {
        let plan = self.ledger.borrow().undo_plan(vhost, Of::Hooks);
        self.undo_all(vhost, plan).await
    }

    async fn undo_all(&self, vhost: &Name, plan: Vec<Undo>) -> Undone {
        let mut undone = Undone::default();
        for planned in plan {
            // Other virtual hosts may have come and gone while the one before was undone.
            let Some(undo) = self.ledger.borrow().undo_of(&planned.owner, &planned.resource) else { continue };
            match self.undo(&undo).await {
                Ok(()) => {
                    self.ledger.borrow_mut().settle(&undo.owner, &undo.resource);
                    undone.settled += 1;
                }
                Err(error) => {
                    warn!(%vhost, resource = %undo.resource, back_to = %undo.back_to, %error, "Could not undo an effect");
                    undone.failed += 1;
                }
            }
        }
        undone
    }

    async fn undo(&self, undo: &Undo) -> Result<(), HostError> {
        let Some(effect) = undo.effect() else { return Ok(()) };
        let Undo { owner, resource, ours, back_to } = undo;
        let there = self.host.observe(resource, UNDO_LIMIT).await?;
        if back_to.looks_like(&there) {
            return Ok(());
        }
        if !ours.looks_like(&there) {
            warn!(vhost = %owner.vhost, %resource, %ours, found = %there, "Left alone what somebody else changed");
            return Ok(());
        }
        self.host.perform(&Granted::by_daemon(effect), UNDO_LIMIT).await?;
        info!(vhost = %owner.vhost, %resource, %back_to, "Undid an effect");
        Ok(())
    }
}

fn outcome_word(reply: &Reply) -> &'static str {
    match reply {
        Reply::Outcome(outcome) => outcome.as_str(),
        Reply::Command(_) => "ran",
        Reply::Text(_)
        | Reply::File(_)
        | Reply::Unit(_)
        | Reply::Links(_)
        | Reply::Addresses(_)
        | Reply::Routes(_)
        | Reply::State(_) => "answered",
    }
}
