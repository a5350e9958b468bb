//! The clock used for all timing, and the only place that waits for it.
//!
//! A simulation has its own clock: while a [`Virtual`] exists, everything on its thread happens in
//! virtual time, which moves only on request.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;
use tokio::task::Id;

use crate::types::Timestamp;

thread_local! {
    static VIRTUAL: Cell<Option<Timestamp>> = const { Cell::new(None) };
    static SLEEPERS: RefCell<Sleepers> = const { RefCell::new(Sleepers::new()) };
    static TICKETS: Cell<u64> = const { Cell::new(0) };
    /// The tasks that wait for another one.
    static WAITERS: RefCell<BTreeMap<u64, Option<Id>>> = const { RefCell::new(BTreeMap::new()) };
    static RESTED: Rc<Notify> = Rc::new(Notify::new());
}

/// Tasks that wait for the virtual clock, by time and in order of arrival.
type Sleepers = BTreeMap<(Timestamp, u64), (Waker, Option<Id>)>;

/// Now, on `CLOCK_BOOTTIME`: it goes on while the machine sleeps.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where it is read")]
pub fn now() -> Timestamp {
    if let Some(now) = VIRTUAL.get() {
        return now;
    }
    // Linux has had it since 2.6.39.
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// The time since the boot without that in which the machine slept: the kernel's log counts so.
/// `None` where the system does not say.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where it is read")]
pub fn awake() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .ok()
        .map(Duration::from)
}

/// In virtual time, notifies the driver of the clock that something came to rest.
pub fn rest() {
    if is_virtual() {
        RESTED.with(|rested| rested.notify_one());
    }
}

/// A task that waits for another one, and has nothing to do before that lets it go on. It is at rest
/// in virtual time, as one that sleeps; in real time this is nothing.
#[derive(Debug)]
pub struct Waiter(Option<u64>);

impl Waiter {
    /// This task waits from now on, until this is dropped.
    #[must_use]
    pub fn begin() -> Self {
        let number = is_virtual().then(|| {
            let number = next_ticket();
            WAITERS.with_borrow_mut(|waiters| waiters.insert(number, tokio::task::try_id()));
            number
        });
        rest();
        Self(number)
    }

    /// For whoever lets it go on: see [`go_on`].
    #[must_use]
    pub const fn number(&self) -> Option<u64> {
        self.0
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        go_on(self.0);
    }
}

/// A waiter has something to do again, though its task has yet to see it.
pub fn go_on(waiter: Option<u64>) {
    if let Some(number) = waiter {
        _ = WAITERS.try_with(|waiters| waiters.borrow_mut().remove(&number));
    }
}

fn next_ticket() -> u64 {
    TICKETS.set(TICKETS.get() + 1);
    TICKETS.get()
}

/// Waits until somebody comes to rest, or has done so since this was asked last; not for longer
/// than this, in real time.
pub async fn rested(patience: Duration) -> bool {
    let rested = RESTED.with(Rc::clone);
    tokio::time::timeout(patience, rested.notified())
        .await
        .is_ok()
}

/// Does this thread live in virtual time?
#[must_use]
pub fn is_virtual() -> bool {
    VIRTUAL.get().is_some()
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

/// Sleeps for this long.
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

/// In virtual time, waits for its turn among the tasks that are to run at this time; in real time,
/// does not wait.
pub async fn turn() {
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

/// The clock of a simulation. One on a thread; real time is back when it is dropped.
#[derive(Debug)]
pub struct Virtual {
    // Of this thread alone.
    _here: PhantomData<*const ()>,
}

/// Only whoever has the clock may ask it, and move it.
impl Virtual {
    /// From now on this thread's time is virtual, and it is `start`.
    #[must_use]
    pub fn start(start: Timestamp) -> Self {
        VIRTUAL.set(Some(start));
        Self { _here: PhantomData }
    }

    /// Moves the clock. Sleepers that are due still have to be woken, one after the other: see
    /// [`Self::wake_one`].
    pub fn advance(&self, to: Timestamp) {
        VIRTUAL.set(Some(to));
    }

    /// Wakes the first sleeper that is due: by time, then by the rank of its task, then by arrival.
    /// So events at the same time happen in a fixed order, whichever process was quicker. True if
    /// there was one; it has yet to run.
    pub fn wake_one(&self, rank: impl Fn(Option<Id>) -> usize) -> bool {
        let now = now();
        let first = SLEEPERS.with_borrow_mut(|sleepers| {
            let due = sleepers.iter().filter(|((at, _), _)| *at <= now);
            let key = due
                .min_by_key(|((at, ticket), (_, task))| (*at, rank(*task), *ticket))
                .map(|(key, _)| *key)?;
            sleepers.remove(&key)
        });
        let Some((waker, _)) = first else {
            return false;
        };
        waker.wake();
        true
    }

    /// When the first sleeper wants to be woken.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        SLEEPERS.with_borrow(|sleepers| sleepers.first_key_value().map(|((at, _), _)| *at))
    }

    /// Does this task wait for the clock, or for another task?
    #[must_use]
    pub fn is_at_rest(&self, task: Id) -> bool {
        SLEEPERS
            .with_borrow(|sleepers| sleepers.values().any(|(_, sleeper)| *sleeper == Some(task)))
            || WAITERS.with_borrow(|waiters| waiters.values().any(|waiter| *waiter == Some(task)))
    }
}

impl Virtual {
    /// Sets the clock aside, with all its sleepers, so that another one can be started or resumed.
    #[must_use]
    pub fn pause(self) -> Paused {
        let now = now();
        Paused {
            now,
            sleepers: SLEEPERS.take(),
        }
    }
}

/// A virtual clock that was set aside: its tasks must not run.
#[derive(Debug)]
pub struct Paused {
    now: Timestamp,
    sleepers: Sleepers,
}

impl Paused {
    /// What it shows.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// It is this thread's time again.
    #[must_use]
    pub fn resume(self) -> Virtual {
        SLEEPERS.set(self.sleepers);
        Virtual::start(self.now)
    }
}

impl Drop for Virtual {
    fn drop(&mut self) {
        VIRTUAL.set(None);
        SLEEPERS.with_borrow_mut(Sleepers::clear);
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
                Some(ticket) if !sleepers.contains_key(&(until, ticket)) => {
                    return Poll::Ready(());
                }
                Some(ticket) => drop(sleepers.insert((until, ticket), sleeper)),
                None => {
                    let ticket = next_ticket();
                    self.ticket = Some(ticket);
                    drop(sleepers.insert((until, ticket), sleeper));
                    rest();
                }
            }
            Poll::Pending
        })
    }
}

impl Drop for VirtualSleep {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            _ = SLEEPERS.try_with(|sleepers| sleepers.borrow_mut().remove(&(self.until, ticket)));
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
    fn each_of_two_clocks_keeps_its_time_and_its_sleepers() {
        let (one, other) = (Timestamp::from_micros(1), Timestamp::from_micros(9));
        let clock = Virtual::start(one);
        let mut nap = Box::pin(sleep(Duration::from_secs(1)));
        assert!((&mut nap).now_or_never().is_none());
        let first = clock.pause();
        let clock = Virtual::start(other);
        let mut short = Box::pin(sleep(Duration::from_millis(1)));
        assert!((&mut short).now_or_never().is_none());
        assert_eq!(clock.next(), Some(other + Duration::from_millis(1)));
        drop(short);
        drop(clock);
        let clock = first.resume();
        assert_eq!(
            (now(), clock.next()),
            (one, Some(one + Duration::from_secs(1)))
        );
        clock.advance(one + Duration::from_secs(1));
        assert!(clock.wake_one(|_| 0) && (&mut nap).now_or_never().is_some());
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
