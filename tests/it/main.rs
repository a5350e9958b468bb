//! The one test binary.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets a surprise shall fail, and clippy knows only test functions, not their helpers"
)]

#[cfg(feature = "lua")]
mod agreement;
#[cfg(feature = "lua")]
mod attacks;
#[cfg(feature = "lua")]
mod check;
#[cfg(feature = "daemon")]
mod cli;
#[cfg(feature = "daemon")]
mod config;
#[cfg(all(feature = "wasm", feature = "lua"))]
mod examples;
#[cfg(all(feature = "wasm", feature = "lua"))]
mod fuzz;
#[cfg(feature = "lua")]
mod groups;
mod guide;
#[cfg(feature = "lua")]
mod hooks;
#[cfg(feature = "daemon")]
mod host;
#[cfg(feature = "lua")]
mod http_workers;
#[cfg(feature = "daemon")]
mod import;
mod limit;
#[cfg(feature = "wasm")]
mod links;
#[cfg(feature = "lua")]
mod maintenance;
#[cfg(all(feature = "wasm", feature = "lua"))]
mod new;
mod nodes;
#[cfg(feature = "lua")]
mod overlap;
#[cfg(feature = "lua")]
mod owners;
#[cfg(feature = "daemon")]
mod packaging;
#[cfg(feature = "lua")]
mod plan;
mod port;
#[cfg(all(feature = "wasm", feature = "lua"))]
mod registry;
#[cfg(feature = "lua")]
mod rehearse;
mod rooms;
#[cfg(feature = "lua")]
mod runbook;
mod simulation;
#[cfg(feature = "lua")]
mod testing;
mod tidy;
#[cfg(feature = "daemon")]
mod tracks;
mod ucarp;
mod vectors;
#[cfg(all(feature = "wasm", feature = "lua"))]
mod vetting;
#[cfg(all(feature = "wasm", feature = "lua"))]
mod wasm;
#[cfg(all(feature = "wasm", feature = "lua"))]
mod wasm_attacks;
#[cfg(feature = "wasm")]
mod wasm_contract;
#[cfg(all(feature = "wasm", feature = "lua"))]
mod wasm_versions;
#[cfg(all(feature = "wasm", feature = "lua"))]
mod words;
