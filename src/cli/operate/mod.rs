//! Verbs for those who operate a daemon: run it, ask it, tell it what to do.

pub(super) mod cleanup;
pub(super) mod daemon;
pub(super) mod hook;
pub(super) mod metrics;
pub(super) mod reload;
pub(super) mod replay;
pub(super) mod resign;
pub(super) mod run;
pub(super) mod status;
pub(super) mod undemote;
pub(super) mod why;
