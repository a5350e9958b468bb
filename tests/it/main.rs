//! The one test binary.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do, and clippy knows only tests")]

#[cfg(feature = "daemon")]
mod cli;
#[cfg(feature = "daemon")]
mod config;
mod tidy;
