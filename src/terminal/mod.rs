//! What is shown to a person at a terminal: exit codes, failures with hints, text and data.

mod exit;
pub mod output;

pub use exit::{Exit, Failure};
