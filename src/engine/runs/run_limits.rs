//! Limits how many runs there are at one time, and decides whose turn is next.
//!
//! A hook on a thousand virtual hosts must not become a thousand processes. Further runs wait, in
//! order of arrival. Giving up mastership has reserved permits, so that it does not wait for runs
//! that hang.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use tokio::sync::oneshot;

use crate::hooks::EntryPoint;
use crate::host::clock::{self, Waiter};

/// A number of permits, and a few more for giving up mastership.
#[derive(Debug)]
pub(in crate::engine) struct RunLimits(RefCell<Inner>);

#[derive(Debug)]
struct Inner {
    places: usize,
    reserve: usize,
    taken: usize,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    lets_go: bool,
    /// Who waits, for the clock.
    waiter: Option<u64>,
    give: oneshot::Sender<RunPermit>,
}

/// One permit; it is released on drop.
#[derive(Debug)]
pub(in crate::engine) struct RunPermit(Weak<RunLimits>);

impl RunLimits {
    /// So many, and a reserve.
    pub(in crate::engine) const fn new(places: usize, reserve: usize) -> Self {
        Self(RefCell::new(Inner {
            places,
            reserve,
            taken: 0,
            waiting: VecDeque::new(),
        }))
    }

    /// Waits for a place.
    pub(in crate::engine) async fn take(self: &Rc<Self>, lets_go: bool) -> RunPermit {
        let (_waiter, given) = {
            let mut inner = self.0.borrow_mut();
            if inner.has_room(lets_go) {
                inner.taken += 1;
                return RunPermit(Rc::downgrade(self));
            }
            let (give, given) = oneshot::channel();
            let waiter = Waiter::begin();
            inner.waiting.push_back(Waiting {
                lets_go,
                waiter: waiter.number(),
                give,
            });
            (waiter, given)
        };
        // The other end is in `self`, and is only dropped after something was sent.
        given.await.unwrap_or(RunPermit(Weak::new()))
    }

    /// How many are taken.
    pub(in crate::engine) fn taken(&self) -> usize {
        self.0.borrow().taken
    }

    /// Gives free places to those who wait.
    fn hand_out(self: &Rc<Self>) {
        loop {
            let mut inner = self.0.borrow_mut();
            // Superseded runs no longer want one.
            inner.waiting.retain(|waiting| !waiting.give.is_closed());
            let Some(next) = inner
                .waiting
                .iter()
                .position(|waiting| inner.has_room(waiting.lets_go))
            else {
                return;
            };
            let Some(Waiting { waiter, give, .. }) = inner.waiting.remove(next) else {
                return;
            };
            inner.taken += 1;
            drop(inner);
            clock::go_on(waiter);
            drop(give.send(RunPermit(Rc::downgrade(self))));
        }
    }
}

impl Inner {
    const fn has_room(&self, lets_go: bool) -> bool {
        self.taken < self.places + if lets_go { self.reserve } else { 0 }
    }
}

impl Drop for RunPermit {
    fn drop(&mut self) {
        let Some(places) = self.0.upgrade() else {
            return;
        };
        places.0.borrow_mut().taken -= 1;
        places.hand_out();
    }
}

/// Whether this run gives something up. The first `on_backup` after the start does not: there is
/// nothing yet.
pub(in crate::engine) const fn lets_go(entry: EntryPoint, initial: bool) -> bool {
    match entry {
        EntryPoint::BeforeBackup | EntryPoint::OnStop => true,
        EntryPoint::OnBackup => !initial,
        EntryPoint::BeforeMaster
        | EntryPoint::OnMaster
        | EntryPoint::OnPeerClaim
        | EntryPoint::Health => false,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_util::FutureExt as _;

    use super::*;

    type Taking = Pin<Box<dyn Future<Output = RunPermit>>>;

    /// Somebody who waits.
    fn takes(places: &Rc<RunLimits>, lets_go: bool) -> Taking {
        let places = Rc::clone(places);
        let mut taking: Taking = Box::pin(async move { places.take(lets_go).await });
        assert!((&mut taking).now_or_never().is_none());
        taking
    }

    fn takes_at_once(places: &Rc<RunLimits>, lets_go: bool) -> RunPermit {
        places.take(lets_go).now_or_never().expect("there is room")
    }

    #[test]
    fn who_waited_longest_is_next_and_who_gave_up_is_passed_over() {
        let places = Rc::new(RunLimits::new(2, 0));
        let (first, second) = (takes_at_once(&places, false), takes_at_once(&places, false));
        let mut third = takes(&places, false);
        let gives_up = takes(&places, false);
        let mut last = takes(&places, false);
        drop(first);
        assert!((&mut last).now_or_never().is_none());
        let third = (&mut third).now_or_never().expect("its turn");
        drop(gives_up);
        drop((second, third));
        let last = (&mut last).now_or_never().expect("its turn");
        assert_eq!(places.taken(), 1);
        drop(last);
        assert_eq!(places.taken(), 0);
    }

    #[tokio::test]
    async fn who_was_given_a_place_is_no_longer_at_rest_though_it_is_yet_to_take_it() {
        let tasks = tokio::task::LocalSet::new();
        tasks
            .run_until(async {
                let clock = clock::Virtual::start(crate::types::Timestamp::ZERO);
                let places = Rc::new(RunLimits::new(1, 0));
                let first = takes_at_once(&places, false);
                let waits = |places: &Rc<RunLimits>| {
                    let places = Rc::clone(places);
                    tokio::task::spawn_local(async move { drop(places.take(false).await) })
                };
                let (next, gives_up) = (waits(&places), waits(&places));
                assert!(!clock.is_at_rest(next.id()));
                tokio::task::yield_now().await;
                assert!(clock.is_at_rest(next.id()) && clock.is_at_rest(gives_up.id()));
                let given_up = gives_up.id();
                gives_up.abort();
                _ = gives_up.await;
                assert!(!clock.is_at_rest(given_up));
                drop(first);
                assert!(!clock.is_at_rest(next.id()));
                next.await.unwrap();
            })
            .await;
    }

    #[test]
    fn a_place_that_was_given_to_who_gives_up_goes_on() {
        let places = Rc::new(RunLimits::new(1, 0));
        let first = takes_at_once(&places, false);
        let gives_up = takes(&places, false);
        let mut last = takes(&places, false);
        drop(first);
        drop(gives_up);
        assert!((&mut last).now_or_never().is_some());
    }

    #[test]
    fn who_lets_go_does_not_wait_for_those_who_hang() {
        let places = Rc::new(RunLimits::new(2, 1));
        let hang = [takes_at_once(&places, false), takes_at_once(&places, false)];
        let mut before = takes(&places, false);
        let leaves = takes_at_once(&places, true);
        let mut leaves_too = takes(&places, true);
        drop(leaves);
        assert!(
            (&mut before).now_or_never().is_none(),
            "the reserve is not for it"
        );
        let leaves_too = (&mut leaves_too)
            .now_or_never()
            .expect("the reserve is free");
        drop(hang);
        assert!((&mut before).now_or_never().is_some());
        drop(leaves_too);
        assert_eq!(places.taken(), 0);
    }

    #[test]
    fn only_what_leaves_a_mastership_lets_go() {
        let lets_go = |entry| lets_go(entry, false);
        assert!(
            lets_go(EntryPoint::OnBackup)
                && lets_go(EntryPoint::BeforeBackup)
                && lets_go(EntryPoint::OnStop)
        );
        assert!(!lets_go(EntryPoint::OnMaster) && !super::lets_go(EntryPoint::OnBackup, true));
    }
}
