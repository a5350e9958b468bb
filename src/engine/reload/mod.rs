//! Reads, vets, tests and loads hooks, at the start and at run time, and manages their versions.

pub(super) mod artifact;
pub(super) mod file_watch;
pub(super) mod generations;
pub(super) mod hook_check;
pub mod hook_test;
pub(super) mod load;
pub(super) mod moves;
pub(super) mod prepare;
pub(super) mod prepared;
