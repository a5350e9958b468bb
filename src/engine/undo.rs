//! Undoing one claim: look, put back what is still ours, and note that it is done.

use std::cell::RefCell;
use std::time::Duration;

use tracing::{info, warn};

use crate::effect::Granted;
use crate::host::{Host, HostError};
use crate::ledger::{Ledger, Undo};

/// How long the undoing of one effect may take.
pub(super) const UNDO_LIMIT: Duration = Duration::from_secs(10);

/// How undoing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Undone {
    /// Claims that are gone.
    pub settled: usize,
    /// Claims that remain because undoing failed.
    pub failed: usize,
}

impl Undone {
    /// What is left after a second try: what it settled counts as well, and only what it failed at remains.
    pub(super) const fn settled_and(self, second: Self) -> Self {
        Self { settled: self.settled + second.settled, failed: second.failed }
    }

    /// Both together.
    pub(super) const fn and(self, other: Self) -> Self {
        Self { settled: self.settled + other.settled, failed: self.failed + other.failed }
    }
}

/// Undoes a claim and settles it. What somebody else changed is left alone.
///
/// # Errors
/// What the host said; the claim stays.
pub(super) async fn undo<H: Host>(host: &H, ledger: &RefCell<Ledger>, undo: &Undo, limit: Duration) -> Result<(), HostError> {
    let result = put_back(host, undo, limit).await;
    let Undo { owner, resource, .. } = undo;
    match &result {
        Ok(known) => {
            let mut ledger = ledger.borrow_mut();
            ledger.settle(owner, resource);
            if *known {
                ledger.confirm(resource);
            }
        }
        Err(error) => {
            let back_to = undo.back_to.as_ref().map(ToString::to_string).unwrap_or_default();
            warn!(vhost = %owner.vhost, %resource, back_to, %error, "Could not undo an effect");
        }
    }
    result.map(drop)
}

/// True if the resource certainly has the value that it goes back to.
async fn put_back<H: Host>(host: &H, undo: &Undo, limit: Duration) -> Result<bool, HostError> {
    let Undo { owner, resource, ours, back_to, .. } = undo;
    let (Some(effect), Some(back_to)) = (undo.effect(), back_to) else { return Ok(false) };
    let there = host.observe(resource, limit).await?;
    if back_to.looks_like(&there) {
        return Ok(true);
    }
    if !undo.is_ours(&there) {
        let ours = ours.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        warn!(vhost = %owner.vhost, %resource, ours, found = %there, "Left alone what somebody else changed");
        return Ok(false);
    }
    host.perform(&Granted::by_daemon(effect), limit).await?;
    info!(vhost = %owner.vhost, %resource, %back_to, "Undid an effect");
    Ok(true)
}
