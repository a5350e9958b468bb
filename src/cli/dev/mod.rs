//! Commands for trying out carpd, and for packaging it.

pub(super) mod completions;
pub(super) mod config_reference;
pub(super) mod lab;
pub(super) mod man;
