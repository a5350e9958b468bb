//! What is counted as it happens, and the text form of metrics. Which metrics there are stands in
//! `engine/handlers/metrics.rs`.

mod counters;
mod text;

pub(super) use counters::{BUCKETS_MS, Counters, Ended, Runs, VhostCounters};
pub(super) use text::{Kind, Text};
