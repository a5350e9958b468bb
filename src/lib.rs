//! carpd, a CARP daemon for Linux whose transition hooks are sandboxed Lua scripts and WebAssembly
//! components.
//!
//! Modules in reading order; each may use only those above it (`docs/ARCHITECTURE.md` has the
//! table, `tests/it/tidy.rs` checks it).

// Without one of the two languages some of what they share has no user; it is not worth a condition
// at each place.
#![cfg_attr(
    all(feature = "daemon", not(all(feature = "lua", feature = "wasm"))),
    allow(dead_code, clippy::unused_self, reason = "what the languages share")
)]

// Some unit tests are shared with `tests/it`.
#[cfg(test)]
extern crate self as carpd;

pub mod types;

pub mod effect;
pub mod notification;
pub mod proto;
pub mod trust;

#[cfg(feature = "daemon")]
mod backoff;
#[cfg(feature = "daemon")]
pub mod frame;
#[cfg(feature = "daemon")]
#[cfg(feature = "daemon")]
pub mod process;
#[cfg(feature = "daemon")]
pub mod record;
#[cfg(feature = "daemon")]
pub mod resolve;
#[cfg(feature = "daemon")]
pub mod sandbox;

pub mod config;
#[cfg(feature = "daemon")]
pub mod journal;
#[cfg(feature = "daemon")]
pub mod ledger;

#[cfg(feature = "daemon")]
pub mod hooks;
#[cfg(feature = "daemon")]
pub mod host;

#[cfg(feature = "daemon")]
pub mod reader;

#[cfg(feature = "daemon")]
pub mod control;
#[cfg(feature = "daemon")]
pub mod keeper;
#[cfg(feature = "daemon")]
pub mod programs;

#[cfg(feature = "daemon")]
pub mod endpoint;
#[cfg(feature = "daemon")]
pub mod engine;
#[cfg(feature = "daemon")]
pub mod telemetry;
#[cfg(feature = "daemon")]
pub mod terminal;

#[cfg(feature = "daemon")]
pub mod daemon;

#[cfg(feature = "daemon")]
pub mod import;
#[cfg(feature = "daemon")]
pub mod lab;
#[cfg(feature = "daemon")]
pub mod port;
#[cfg(feature = "daemon")]
pub mod testing;

#[cfg(feature = "wasm")]
pub mod registry;

#[cfg(feature = "daemon")]
pub mod cli;
