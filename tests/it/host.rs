//! The host module against a real kernel: each test runs in network, UTS and mount namespaces of
//! its own.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests say what went wrong by panicking"
)]

mod contract;
mod helper;
mod hostile;
mod namespace;
mod network;
mod openrc;
mod reader;
mod rebind;
mod rights;
mod routes;
mod systemd;
