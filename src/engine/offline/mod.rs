//! What is done without a daemon: one hook run by hand, and cleaning up.

pub(super) mod cleanup;
pub mod oneshot;
