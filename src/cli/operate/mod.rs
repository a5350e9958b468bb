//! Commands for operating a daemon: running it, querying it, giving it orders.

mod age;
mod answers;
pub(super) mod cleanup;
pub(super) mod daemon;
pub(super) mod demote;
pub(super) mod doctor;
pub(super) mod events;
pub(super) mod hook;
pub(super) mod maintenance;
pub(super) mod metrics;
pub(super) mod nodes;
pub(super) mod notify;
pub(super) mod peers;
pub(super) mod reload;
pub(super) mod replay;
pub(super) mod resign;
pub(super) mod run;
pub(super) mod status;
#[cfg(feature = "top")]
pub(super) mod top;
pub(super) mod why;
