//! The engine's only way to a clock, and the only place that waits for it.
//!
//! A rehearsal has a clock of its own: while a `Virtual` lives, everything that happens on its
//! thread happens in its time, which moves only when it is told to.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::task::Id;

use crate::host;
use crate::types::Timestamp;

thread_local! {
    static VIRTUAL: Cell<Option<Timestamp>> = const { Cell::new(None) };
    static SLEEPERS: RefCell<Sleepers> = const { RefCell::new(Sleepers { waiting: BTreeMap::new(), next: 0 }) };
}

/// Who waits for the virtual clock, by the time and in order of arrival.
struct Sleepers {
    waiting: BTreeMap<(Timestamp, u64), (Waker, Option<Id>)>,
    next: u64,
}

/// Now, on `CLOCK_BOOTTIME`: it goes on while the machine sleeps.
#[must_use]
pub fn now() -> Timestamp {
    if let Some(now) = VIRTUAL.get() {
        return now;
    }
    host::clock::now()
}

/// Milliseconds since 1970, only ever shown, never compared. In virtual time, since its start.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "only ever shown")]
pub fn wall_ms() -> u64 {
    if let Some(now) = VIRTUAL.get() {
        return now.as_nanos() / 1_000_000;
    }
    let time = clock_gettime(ClockId::CLOCK_REALTIME)
        .map(Duration::from)
        .unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Does nothing for so long.
pub async fn sleep(length: Duration) {
    match VIRTUAL.get() {
        None => tokio::time::sleep(length).await,
        Some(now) => {
            VirtualSleep {
                until: now + length,
                ticket: None,
            }
            .await;
        }
    }
}

/// In virtual time, waits for its turn among the tasks that want to do something at this instant;
/// in real time not at all.
pub(super) async fn turn() {
    if let Some(now) = VIRTUAL.get()
        && tokio::task::try_id().is_some()
    {
        VirtualSleep {
            until: now,
            ticket: None,
        }
        .await;
    }
}

/// The clock of a rehearsal. One on a thread; real time is back when it is dropped.
#[derive(Debug)]
pub(super) struct Virtual {
    // Of this thread alone.
    _here: PhantomData<*const ()>,
}

impl Virtual {
    /// From now on this thread's time is virtual, and it is `start`.
    pub(super) fn start(start: Timestamp) -> Self {
        VIRTUAL.set(Some(start));
        Self { _here: PhantomData }
    }

    /// Moves the clock. Whoever slept until then still has to be woken, one after the other: see
    /// [`Self::wake_one`].
    #[expect(clippy::unused_self, reason = "only whoever has the clock may move it")]
    pub(super) fn advance(&self, to: Timestamp) {
        VIRTUAL.set(Some(to));
    }

    /// Wakes the first sleeper that is due: by its time, then by the rank of its task, then by
    /// arrival. So what happens at one instant happens in one order, whichever process was quicker.
    /// True if there was one: it has yet to run.
    #[expect(clippy::unused_self, reason = "only whoever has the clock may wake")]
    pub(super) fn wake_one(&self, rank: impl Fn(Option<Id>) -> usize) -> bool {
        let now = now();
        let first = SLEEPERS.with_borrow_mut(|sleepers| {
            let due = sleepers.waiting.iter().filter(|((at, _), _)| *at <= now);
            let key = due
                .min_by_key(|((at, ticket), (_, task))| (*at, rank(*task), *ticket))
                .map(|(key, _)| *key)?;
            sleepers.waiting.remove(&key)
        });
        let Some((waker, _)) = first else {
            return false;
        };
        waker.wake();
        true
    }

    /// When the first sleeper wants to be woken.
    #[expect(clippy::unused_self, reason = "only whoever has the clock may ask")]
    pub(super) fn next(&self) -> Option<Timestamp> {
        SLEEPERS.with_borrow(|sleepers| sleepers.waiting.first_key_value().map(|((at, _), _)| *at))
    }

    /// Does this task wait for the clock?
    #[expect(clippy::unused_self, reason = "only whoever has the clock may ask")]
    pub(super) fn is_asleep(&self, task: Id) -> bool {
        SLEEPERS.with_borrow(|sleepers| {
            sleepers
                .waiting
                .values()
                .any(|(_, sleeper)| *sleeper == Some(task))
        })
    }
}

impl Drop for Virtual {
    fn drop(&mut self) {
        VIRTUAL.set(None);
        SLEEPERS.with_borrow_mut(|sleepers| sleepers.waiting.clear());
    }
}

/// A sleep in virtual time.
struct VirtualSleep {
    until: Timestamp,
    ticket: Option<u64>,
}

impl Future for VirtualSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if VIRTUAL.get().is_none() {
            return Poll::Ready(());
        }
        let until = self.until;
        SLEEPERS.with_borrow_mut(|sleepers| {
            let sleeper = (context.waker().clone(), tokio::task::try_id());
            match self.ticket {
                // Whoever is not on the list any more was woken.
                Some(ticket) if !sleepers.waiting.contains_key(&(until, ticket)) => {
                    return Poll::Ready(());
                }
                Some(ticket) => drop(sleepers.waiting.insert((until, ticket), sleeper)),
                None => {
                    sleepers.next += 1;
                    self.ticket = Some(sleepers.next);
                    drop(sleepers.waiting.insert((until, sleepers.next), sleeper));
                }
            }
            Poll::Pending
        })
    }
}

impl Drop for VirtualSleep {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            _ = SLEEPERS
                .try_with(|sleepers| sleepers.borrow_mut().waiting.remove(&(self.until, ticket)));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn virtual_time_moves_only_when_it_is_told_to() {
        let start = Timestamp::from_micros(5);
        let clock = Virtual::start(start);
        assert_eq!((now(), clock.next()), (start, None));
        let mut sleep = Box::pin(sleep(Duration::from_secs(3)));
        assert!((&mut sleep).now_or_never().is_none());
        assert_eq!(clock.next(), Some(start + Duration::from_secs(3)));
        clock.advance(start + Duration::from_secs(2));
        assert!(!clock.wake_one(|_| 0));
        assert!((&mut sleep).now_or_never().is_none(), "not yet");
        clock.advance(start + Duration::from_secs(3));
        assert!(
            (&mut sleep).now_or_never().is_none(),
            "not before it is woken"
        );
        assert!(clock.wake_one(|_| 0));
        assert!((&mut sleep).now_or_never().is_some());
        drop(sleep);
        assert_eq!(clock.next(), None);
        drop(clock);
        assert_ne!(now(), start + Duration::from_secs(3), "real time is back");
    }

    #[test]
    fn who_gives_up_sleeping_is_forgotten() {
        let clock = Virtual::start(Timestamp::ZERO);
        let mut nap = Box::pin(sleep(Duration::from_secs(1)));
        assert!((&mut nap).now_or_never().is_none());
        drop(nap);
        assert_eq!(clock.next(), None);
    }
}
