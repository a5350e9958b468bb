//! Undoes one claim: checks the current value, restores the original one if the current one is
//! ours, and records that.

use std::cell::RefCell;
use std::time::Duration;

use tracing::{info, warn};

use crate::effect::{Granted, Resource, Value};
use crate::host::{Host, HostError};
use crate::ledger::{Ledger, Undo};

/// How long the undoing of one effect may take.
pub(in crate::engine) const UNDO_LIMIT: Duration = Duration::from_secs(10);

/// How undoing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Undone {
    /// Claims that are gone.
    pub settled: usize,
    /// Those of them for which the host had to be changed. The others were undone already, or
    /// someone else had changed the resource.
    pub changed: usize,
    /// Claims that remain because undoing failed.
    pub failed: usize,
}

impl Undone {
    /// The result after a second try: what that settled is added, and only what it failed at
    /// remains.
    pub(in crate::engine) const fn settled_and(self, second: Self) -> Self {
        Self {
            failed: second.failed,
            ..self.and(second)
        }
    }

    /// Both together.
    pub(in crate::engine) const fn and(self, other: Self) -> Self {
        Self {
            settled: self.settled + other.settled,
            changed: self.changed + other.changed,
            failed: self.failed + other.failed,
        }
    }

    /// Counts one claim more.
    pub(in crate::engine) fn count<E>(&mut self, result: &Result<Settled, E>) {
        match result {
            Ok(settled) => {
                self.settled += 1;
                self.changed += usize::from(*settled == Settled::PutBack);
            }
            Err(_) => self.failed += 1,
        }
    }
}

/// How a claim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Settled {
    /// The resource was changed, and is as it was.
    PutBack,
    /// It was as it should be already.
    WasBack,
    /// It does not have a value of ours, or another claim is above: it stays as it is.
    LeftAlone,
}

/// Undoes a claim and settles it. What someone else changed is left alone.
///
/// # Errors
/// The host's error; the claim stays.
pub(in crate::engine) async fn undo<H: Host>(
    host: &H,
    ledger: &RefCell<Ledger>,
    undo: &Undo,
    limit: Duration,
) -> Result<Settled, HostError> {
    let result = put_back(host, ledger, undo, limit).await;
    let Undo {
        owner, resource, ..
    } = undo;
    match &result {
        Ok(settled) => {
            let mut ledger = ledger.borrow_mut();
            ledger.settle(owner, resource);
            if *settled != Settled::LeftAlone {
                // It certainly has the value that it goes back to.
                ledger.confirm(resource);
            }
        }
        Err(error) => {
            let back_to = undo
                .back_to
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            warn!(vhost = %owner.vhost, %resource, back_to, %error, "Could not undo an effect");
        }
    }
    result
}

/// The present value of a resource that was set: absent if it is gone together with its device.
///
/// # Errors
/// The host's error.
pub(in crate::engine) async fn find<H: Host>(
    host: &H,
    resource: &Resource,
    limit: Duration,
) -> Result<Value, HostError> {
    let of_device = matches!(
        resource,
        Resource::LinkUp { .. }
            | Resource::LinkMac { .. }
            | Resource::LinkArp { .. }
            | Resource::Sysctl { .. }
    );
    match host.observe(resource, limit).await {
        Err(error) if of_device && (error.is(libc::ENODEV) || error.is(libc::ENOENT)) => {
            Ok(Value::Absent)
        }
        other => other,
    }
}

async fn put_back<H: Host>(
    host: &H,
    ledger: &RefCell<Ledger>,
    undo: &Undo,
    limit: Duration,
) -> Result<Settled, HostError> {
    let Undo {
        owner,
        resource,
        ours,
        back_to,
        ..
    } = undo;
    let (Some(effect), Some(back_to)) = (undo.effect(), back_to) else {
        return Ok(Settled::LeftAlone);
    };
    let there = find(host, resource, limit).await?;
    if back_to.looks_like(&there) {
        return Ok(Settled::WasBack);
    }
    if !undo.is_ours(&there) {
        let ours = ours
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" or ");
        warn!(vhost = %owner.vhost, %resource, ours, found = %there, "Left alone what someone else changed");
        return Ok(Settled::LeftAlone);
    }
    let performed = host.perform(&Granted::by_daemon(effect), limit).await;
    if let (Err(error), Some(effect), Some(found)) = (&performed, undo.fallback(), &undo.found)
        && ledger.borrow_mut().wish_fails(resource)
    {
        warn!(vhost = %owner.vhost, %resource, %back_to, %error, "Could not set what a hook wants to keep; restoring the original value");
        host.perform(&Granted::by_daemon(effect), limit).await?;
        info!(vhost = %owner.vhost, %resource, back_to = %found, "Undid an effect");
        return Ok(Settled::PutBack);
    }
    performed?;
    info!(vhost = %owner.vhost, %resource, %back_to, "Undid an effect");
    Ok(Settled::PutBack)
}
