//! What hooks ask for: granted or refused, noted in the ledger, done, answered.

use std::time::Duration;

use tracing::{info, warn};

use super::Executor;
use crate::effect::{Effect, Granted, Grants, Outcome, Own, Query, Reply, Resource, Value};
use crate::engine::effects::undo;
use crate::hooks::AskError;
use crate::host::{Host, HostError};
use crate::ledger::{LedgerError, Owner, Verdict, Written};
use crate::types::{Name, shown};

/// On whose behalf an effect is done.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Behalf<'a> {
    /// Virtual host and hook.
    pub(in crate::engine) owner: &'a Owner,
    /// What the hook was granted.
    pub(in crate::engine) grants: &'a Grants,
    /// What it may touch without a grant.
    pub(in crate::engine) own: Own<'a>,
    /// Whether it is undone automatically when mastership ends.
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

impl From<LedgerError> for AskError {
    fn from(error: LedgerError) -> Self {
        Self::Host {
            message: error.to_string(),
            errno: error.errno,
        }
    }
}

impl<H: Host> Executor<H> {
    /// Carries out what a hook asked for, if it may.
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
                info!(%vhost, hook, effect = text, outcome = outcome_word(reply), "Applied an effect");
            }
            Err(error) => {
                warn!(%vhost, hook, effect = text, outcome = "failed", error = %shown(error), "Could not apply an effect");
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
        // One at a time for each resource: its ledger entry and its value must stay consistent.
        let _turn = self.resource_locks.lock(&resource).await;
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

    /// The kernel shows some parameters in another form than they were written in (`01` as `1`). We
    /// must be able to recognise later what it shows.
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
            // If that cannot be written, it is unknown after a crash, and left alone then.
            drop(ledger.claim(behalf.owner, resource, Value::Absent, shown));
            ledger.confirm(resource);
        }
    }

    /// An effect failed. Its claim is removed only if it certainly had no effect: the host refused
    /// it, and still has what was `shown` before. Otherwise part of it may have been done, or may
    /// still be done, and undoing what is not there does no harm.
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
            // If that cannot be written, the failed value stays a possible value of ours, which is
            // true.
            Some(earlier) => drop(ledger.claim(behalf.owner, resource, Value::Absent, earlier)),
            None => ledger.settle(behalf.owner, resource),
        }
        // Claimed again, it may be above the claim that is in effect: then the host has another
        // value of ours.
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
            info!(%vhost, %resource, %value, "Recorded for when the master that holds it gives it up");
            return Ok(Reply::Outcome(Outcome::Unchanged));
        }
        let performed = self.host.perform(granted, behalf.left).await;
        let mut ledger = self.ledger.borrow_mut();
        match &performed {
            Ok(_) => own.iter().for_each(|owner| ledger.settle(owner, resource)),
            // Another virtual host may already have recorded a value that is to stay.
            Err(_) => before
                .into_iter()
                .for_each(|before| ledger.withdraw(resource, before)),
        }
        drop(ledger);
        Ok(performed?)
    }

    /// The value to which the resource reverts; the host is queried only if nothing holds it yet.
    async fn before(&self, resource: &Resource, limit: Duration) -> Result<Value, HostError> {
        if self.ledger.borrow().holds(resource) {
            return Ok(Value::Absent);
        }
        self.host.observe(resource, limit).await
    }

    /// Does what a hook asked for, if it may, and if it is marked as changing nothing: like a query it
    /// is neither logged nor counted, since it is done again and again.
    ///
    /// # Errors
    /// The refusal or the failure, for the hook.
    pub(in crate::engine) async fn ask_harmless(
        &self,
        behalf: &Behalf<'_>,
        effect: Effect,
    ) -> Result<Reply, AskError> {
        if !behalf.grants.is_query(&effect) {
            return Err(AskError::only_looks(&effect));
        }
        let granted = behalf.grants.permit(effect, behalf.own);
        let granted = granted.map_err(|denied| AskError::Denied(*denied))?;
        Ok(self.host.perform(&granted, behalf.left).await?)
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
}

/// Waits until a record is on the medium, if it has to be, without holding up the protocol.
async fn synced(written: Written) -> Result<(), HostError> {
    if !written.needs_sync() {
        return Ok(());
    }
    let failed =
        |message: String, errno| HostError::with(format!("syncing the ledger: {message}"), errno);
    match tokio::task::spawn_blocking(|| written.sync()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(err)) => Err(failed(err.to_string(), err.raw_os_error())),
        Err(err) => Err(failed(err.to_string(), None)),
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
