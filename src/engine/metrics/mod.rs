//! Counters, and the text format of metrics. The list of metrics is in
//! `engine/handlers/metrics.rs`.

mod counters;
mod text;

pub(super) use counters::{BUCKETS_MS, Counters, Ended, Runs, VhostCounters};
pub(super) use text::Kind;
pub use text::Text;
