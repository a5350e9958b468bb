//! Being woken in time.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{self, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

use super::sys;
use crate::types::Timestamp;

/// An alarm on `CLOCK_BOOTTIME`: tens of microseconds late, where tokio's own timers are a
/// millisecond late and stop while the machine sleeps.
#[derive(Debug)]
pub struct Alarm {
    fd: AsyncFd<Raw>,
    set_for: Option<Timestamp>,
}

/// `TimerFd` has `AsFd` only; tokio wants `AsRawFd`.
#[derive(Debug)]
pub(in crate::host) struct Raw(TimerFd);

impl AsRawFd for Raw {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    /// An alarm that is not set. Must be made inside a tokio runtime.
    ///
    /// # Errors
    /// If the process has no descriptors left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(timerfd::ClockId::CLOCK_BOOTTIME, flags)?;
        Ok(Self {
            fd: sys::watch(Raw(timer))?,
            set_for: None,
        })
    }

    /// Sets it for a point in time, or for never. A time that has passed rings at once.
    ///
    /// # Errors
    /// None that the kernel is known to give.
    pub fn set(&mut self, when: Option<Timestamp>) -> io::Result<()> {
        if when == self.set_for {
            return Ok(());
        }
        match when {
            None => self.fd.get_ref().0.unset()?,
            Some(when) => {
                // Zero would disarm it.
                let time = TimeSpec::from_duration(Duration::from_nanos(when.as_nanos().max(1)));
                self.fd.get_ref().0.set(
                    Expiration::OneShot(time),
                    TimerSetTimeFlags::TFD_TIMER_ABSTIME,
                )?;
            }
        }
        self.set_for = when;
        Ok(())
    }

    /// Waits until it rings. Cancel-safe.
    ///
    /// # Errors
    /// If the descriptor is broken.
    pub async fn ring(&mut self) -> io::Result<()> {
        let mut guard = self.fd.readable().await?;
        // A clock that jumped, or one already read: compare with the clock, not with the readiness.
        let _ = guard.get_inner().0.wait();
        guard.clear_ready();
        self.set_for = None;
        Ok(())
    }
}
