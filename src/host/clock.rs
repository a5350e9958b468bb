//! The clock that everything is timed by.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::types::Timestamp;

/// Now, on `CLOCK_BOOTTIME`: it goes on while the machine sleeps. The engine reads it through
/// `engine/clock.rs`, which can also be virtual; this is for the other processes.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where it is read")]
pub fn now() -> Timestamp {
    // Linux has had it since 2.6.39.
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
