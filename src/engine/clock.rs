//! The only place that reads a clock.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::types::Timestamp;

/// Now, on `CLOCK_BOOTTIME`: it goes on while the machine sleeps.
#[must_use]
pub fn now() -> Timestamp {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// Milliseconds since 1970, only ever shown, never compared.
#[must_use]
pub fn wall_ms() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_REALTIME).map(Duration::from).unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
