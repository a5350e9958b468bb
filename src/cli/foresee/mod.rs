//! Commands that show beforehand what would happen.

pub(super) mod check;
mod maintenance;
mod notify;
pub(super) mod owners;
pub(super) mod plan;
pub(super) mod rehearse;
mod tracks;
