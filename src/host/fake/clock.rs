//! A clock that moves only when it is told to.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

/// Time for hosts in memory: it stands still until somebody moves it on. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct VirtualClock(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    now: Cell<Duration>,
    next: Cell<u64>,
    /// When whoever sleeps wants to be woken, with a number of its own.
    sleepers: RefCell<BTreeSet<(Duration, u64)>>,
    moved: Notify,
    fell_asleep: Notify,
}

/// Somebody who sleeps; no longer, when it is dropped.
struct Sleeper<'a>(&'a Inner, (Duration, u64));

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.0.sleepers.borrow_mut().remove(&self.1);
    }
}

impl VirtualClock {
    /// Time since the clock was made.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.now.get()
    }

    /// Waits until the clock has been moved on so far.
    pub async fn sleep(&self, time: Duration) {
        let until = self.now().saturating_add(time);
        let number = self.0.next.get();
        self.0.next.set(number + 1);
        self.0.sleepers.borrow_mut().insert((until, number));
        let _sleeper = Sleeper(&self.0, (until, number));
        loop {
            let moved = self.0.moved.notified();
            if self.now() >= until {
                return;
            }
            self.0.fell_asleep.notify_one();
            moved.await;
        }
    }

    /// When the first of those who sleep wants to be woken.
    #[must_use]
    pub fn next_waking(&self) -> Option<Duration> {
        self.0.sleepers.borrow().first().map(|(until, _)| *until)
    }

    /// Waits until somebody sleeps; at once if somebody does.
    pub async fn somebody_sleeps(&self) {
        while self.next_waking().is_none_or(|until| until <= self.now()) {
            self.0.fell_asleep.notified().await;
        }
    }

    /// Moves the clock to this time, if that is later than now.
    pub fn move_to(&self, time: Duration) {
        self.0.now.set(self.now().max(time));
        self.0.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn whoever_sleeps_wakes_when_the_clock_has_come_so_far() {
        let clock = VirtualClock::default();
        assert!(clock.somebody_sleeps().now_or_never().is_none());
        let mut long = Box::pin(clock.sleep(Duration::from_secs(30)));
        let mut short = Box::pin(clock.sleep(Duration::from_secs(3)));
        assert!((&mut long).now_or_never().is_none() && (&mut short).now_or_never().is_none());
        clock.somebody_sleeps().await;
        assert_eq!(clock.next_waking(), Some(Duration::from_secs(3)));
        clock.move_to(Duration::from_secs(3));
        assert!((&mut long).now_or_never().is_none() && short.now_or_never().is_some());
        drop(long);
        assert_eq!(
            clock.next_waking(),
            None,
            "who no longer waits is forgotten"
        );
        clock.move_to(Duration::from_secs(1));
        assert_eq!(clock.now(), Duration::from_secs(3), "it never goes back");
        assert!(clock.sleep(Duration::ZERO).now_or_never().is_some());
    }
}
