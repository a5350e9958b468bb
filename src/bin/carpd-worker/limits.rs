//! When a run must end: because of its time limit, or an order from the engine.

use std::cell::Cell;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use carpd::hooks::{Budget, HookError};

/// How much wall time may pass between two checks of the CPU clock, which costs a system call.
const CPU_EVERY: Duration = Duration::from_millis(1);

/// Why a run must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The wall time is used up.
    Wall,
    /// The CPU time is used up.
    Cpu,
    /// A newer state overtook the run, according to the engine.
    Superseded,
}

/// Watches one run. The interpreter consults it at every jump, call and step of a pattern.
#[derive(Debug)]
pub(crate) struct Watch {
    budget: Budget,
    started: Duration,
    cpu_started: Duration,
    cpu_looked: Cell<Duration>,
    stop: Cell<Option<Stop>>,
}

/// A clock's time; zero if the kernel refuses, which never happens with these clocks.
#[expect(
    clippy::disallowed_methods,
    reason = "the runner is a process of its own, and counts its own time"
)]
fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}

/// Time since the machine started, including suspend.
pub(crate) fn since_boot() -> Duration {
    read(ClockId::CLOCK_BOOTTIME)
}

/// Time since 1970.
pub(crate) fn wall_clock() -> Duration {
    read(ClockId::CLOCK_REALTIME)
}

impl Watch {
    /// Starts both clocks.
    pub(crate) fn start(budget: Budget) -> Self {
        let started = since_boot();
        let cpu_started = read(ClockId::CLOCK_THREAD_CPUTIME_ID);
        Self {
            budget,
            started,
            cpu_started,
            cpu_looked: Cell::new(started),
            stop: Cell::new(None),
        }
    }

    /// Must the run end? Once yes, always yes: a hook may catch the error that ends it.
    pub(crate) fn check(&self) -> Option<Stop> {
        if self.stop.get().is_none() {
            let now = since_boot();
            if now.saturating_sub(self.started) >= self.budget.wall {
                self.stop.set(Some(Stop::Wall));
            } else if now.saturating_sub(self.cpu_looked.get()) >= CPU_EVERY {
                self.cpu_looked.set(now);
                if read(ClockId::CLOCK_THREAD_CPUTIME_ID).saturating_sub(self.cpu_started)
                    >= self.budget.cpu
                {
                    self.stop.set(Some(Stop::Cpu));
                }
            }
        }
        self.stop.get()
    }

    /// Ends the run at the next check.
    pub(crate) fn stop(&self, why: Stop) {
        self.stop.set(Some(why));
    }

    /// How the run failed, if it was ended here.
    pub(crate) fn verdict(&self) -> Option<HookError> {
        Some(match self.stop.get()? {
            Stop::Wall => HookError::TimedOut(self.budget.wall),
            Stop::Cpu => HookError::TimedOut(self.budget.cpu),
            Stop::Superseded => HookError::Superseded,
        })
    }
}
