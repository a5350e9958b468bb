//! Commands that show beforehand what would happen.

pub(super) mod check;
pub(super) mod owners;
pub(super) mod plan;
pub(super) mod rehearse;
mod tracks;
