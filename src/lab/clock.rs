//! Time for the lab's own processes: `CLOCK_BOOTTIME`, the same clock in every virtual host.
//!
//! The daemon under test reads its own clock. This one is for the time stamps of events and the
//! ticks of the prober.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId as Clock, clock_gettime};

use crate::host;
use crate::types::Timestamp;

/// Time since boot.
#[must_use]
pub fn now() -> Timestamp {
    host::clock::now()
}

/// When a packet was received, from the kernel's wall-clock time stamp: only the age of the time
/// stamp is used.
///
/// # Panics
/// Never: Linux has this clock.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the kernel's stamps are on the wall clock"
)]
pub fn from_wall(stamp: TimeSpec) -> Timestamp {
    let wall = clock_gettime(Clock::CLOCK_REALTIME).expect("Linux has this clock");
    let age = timestamp(wall).since(timestamp(stamp));
    Timestamp::from_nanos(
        now()
            .as_nanos()
            .saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)),
    )
}

fn timestamp(time: TimeSpec) -> Timestamp {
    Timestamp::from_nanos(u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX))
}

/// A timer that fires at a fixed rate, the first time immediately.
#[derive(Debug)]
pub struct Ticker(TimerFd);

impl Ticker {
    /// Starts a timer with this period.
    ///
    /// # Errors
    /// The kernel's error, for example when no descriptor is left.
    pub fn new(period: Duration) -> nix::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC)?;
        let first = TimeSpec::from_duration(Duration::from_nanos(1));
        timer.set(
            Expiration::IntervalDelayed(first, TimeSpec::from_duration(period)),
            TimerSetTimeFlags::empty(),
        )?;
        Ok(Self(timer))
    }

    /// Waits for the next tick; ticks that were missed count as one.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn wait(&self) -> nix::Result<()> {
        self.0.wait()
    }
}

impl std::os::fd::AsFd for Ticker {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
