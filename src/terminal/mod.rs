//! What a person at a terminal is told: exit codes, failures with their remedy, text and data.

mod exit;
pub mod output;

pub use exit::{Exit, Failure};
