//! The only path to the host: the gate, the ledger, the host. Also undoing, and cleaning up after
//! dead processes.

pub(super) mod executor;
pub(super) mod foreign_addresses;
#[cfg(test)]
mod histories;
pub(super) mod ledger_retry;
pub(super) mod network_routes;
pub(super) mod reassert;
pub(super) mod recover;
pub(super) mod resource_locks;
pub(super) mod undo;
pub(super) mod unfit_addresses;
