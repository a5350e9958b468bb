//! Time for the lab's own processes: `CLOCK_BOOTTIME`, the same clock in every virtual host.
//!
//! The daemon under test reads its clock elsewhere. Here stand stamps on events, and ticks of the prober.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId as Clock, clock_gettime};

use crate::types::Timestamp;

/// Time since boot.
///
/// # Panics
/// Never on Linux: every kernel that has namespaces has this clock.
#[must_use]
pub fn now() -> Timestamp {
    read(Clock::CLOCK_BOOTTIME)
}

/// When a packet was received, from the kernel's stamp on the wall clock: only the stamp's age is used.
#[must_use]
pub fn from_wall(stamp: TimeSpec) -> Timestamp {
    let age = read(Clock::CLOCK_REALTIME).since(timestamp(stamp));
    Timestamp::from_nanos(now().as_nanos().saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)))
}

fn read(clock: Clock) -> Timestamp {
    timestamp(clock_gettime(clock).expect("Linux has this clock"))
}

fn timestamp(time: TimeSpec) -> Timestamp {
    Timestamp::from_nanos(u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX))
}

/// A timer that fires at a fixed rate, first at once.
#[derive(Debug)]
pub struct Ticker(TimerFd);

impl Ticker {
    /// Starts a timer with this period.
    ///
    /// # Errors
    /// What the kernel says, for example when no descriptor is left.
    pub fn new(period: Duration) -> nix::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC)?;
        let first = TimeSpec::from_duration(Duration::from_nanos(1));
        timer.set(Expiration::IntervalDelayed(first, TimeSpec::from_duration(period)), TimerSetTimeFlags::empty())?;
        Ok(Self(timer))
    }

    /// Waits for the next tick; ticks that were missed meanwhile count as one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait(&self) -> nix::Result<()> {
        self.0.wait()
    }
}

impl std::os::fd::AsFd for Ticker {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
