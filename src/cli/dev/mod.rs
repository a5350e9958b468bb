//! Verbs for trying carpd out, and for those who package it.

pub(super) mod completions;
pub(super) mod config_reference;
pub(super) mod lab;
pub(super) mod man;
