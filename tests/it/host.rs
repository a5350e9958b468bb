//! The host module against a real kernel: each test runs in network, UTS and mount namespaces of
//! its own.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests say what went wrong by panicking"
)]

mod helper;
mod hostile;
#[path = "../../src/host/tests/namespace.rs"]
mod namespace;
mod reader;
mod rebind;
mod rights;
mod role;

use crate::limit;
