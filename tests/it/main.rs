//! The one test binary.

#[cfg(feature = "daemon")]
mod cli;
#[cfg(feature = "daemon")]
mod config;
mod tidy;
