//! What is shown to a person at a terminal: exit codes, failures with hints, text and data.

mod canvas;
mod exit;
pub mod output;
mod table;

pub(crate) use canvas::{Canvas, Screen, Tone};
pub use exit::{Exit, Failure};
pub(crate) use table::{Cell, Table, cut};
