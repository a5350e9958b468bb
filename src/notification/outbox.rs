//! What waits to be told, and how often something may be.

use std::collections::VecDeque;
use std::time::Duration;

use crate::types::Timestamp;

/// What a rate is counted over.
const WINDOW: Duration = Duration::from_mins(1);

/// What waits to be told: when there is no room, the oldest makes it.
#[derive(Debug)]
pub struct Outbox<T> {
    waiting: VecDeque<T>,
    room: usize,
    /// Since the last one that was taken.
    held_back: u64,
}

impl<T> Outbox<T> {
    /// With room for so many.
    #[must_use]
    pub const fn new(room: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            room,
            held_back: 0,
        }
    }

    /// Adds one. False: another one will not be told for it.
    pub fn put(&mut self, one: T) -> bool {
        self.waiting.push_back(one);
        let fits = self.waiting.len() <= self.room;
        if !fits {
            self.waiting.pop_front();
            self.held_back += 1;
        }
        fits
    }

    /// The oldest, and how many before it were dropped since the last one.
    pub fn take(&mut self) -> Option<(T, u64)> {
        let one = self.waiting.pop_front()?;
        Some((one, std::mem::take(&mut self.held_back)))
    }

    /// So many more were not told.
    pub const fn hold_back(&mut self, more: u64) {
        self.held_back = self.held_back.saturating_add(more);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// So many in any minute.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the last ones were sent, oldest first.
    sent: VecDeque<Timestamp>,
}

impl Pace {
    /// When the next may be sent, if so many may be in a minute.
    #[must_use]
    pub fn next(&self, in_a_minute: u16) -> Option<Timestamp> {
        let before = self.sent.len().checked_sub(usize::from(in_a_minute))?;
        self.sent.get(before).map(|sent| *sent + WINDOW)
    }

    /// One is sent.
    pub fn sent(&mut self, now: Timestamp) {
        while self.sent.front().is_some_and(|sent| *sent + WINDOW <= now) {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_is_counted() {
        let mut outbox = Outbox::new(3);
        let fits: Vec<bool> = (1..=5).map(|number| outbox.put(number)).collect();
        assert_eq!(fits, [true, true, true, false, false]);
        assert_eq!(outbox.len(), 3);
        assert_eq!(outbox.take(), Some((3, 2)));
        assert_eq!(outbox.take(), Some((4, 0)));
        assert_eq!(outbox.take(), Some((5, 0)));
        assert_eq!(outbox.take(), None);
        assert!(outbox.is_empty());
    }

    /// Sends as early as it may, when there is always something to send.
    fn flood(in_a_minute: u16, for_secs: u64) -> Vec<Timestamp> {
        let mut pace = Pace::default();
        let end = Timestamp::ZERO + Duration::from_secs(for_secs);
        let mut sent = Vec::new();
        let mut now = Timestamp::ZERO;
        loop {
            now = pace.next(in_a_minute).map_or(now, |next| next.max(now));
            if now >= end {
                return sent;
            }
            pace.sent(now);
            sent.push(now);
            now = now + Duration::from_millis(1);
        }
    }

    #[test]
    fn no_minute_has_more_than_the_rate() {
        for rate in [1, 10, 1000] {
            let sent = flood(rate, 300);
            assert_eq!(sent.len(), usize::from(rate) * 5);
            let apart = sent.windows(usize::from(rate) + 1);
            for pair in apart {
                let (first, last) = (pair[0], pair[pair.len() - 1]);
                assert!(last.since(first) >= WINDOW, "{rate}");
            }
        }
    }

    #[test]
    fn a_rate_that_changes_counts_what_was_sent_before() {
        let mut pace = Pace::default();
        let at = |secs| Timestamp::ZERO + Duration::from_secs(secs);
        for secs in 1..=10 {
            pace.sent(at(secs));
        }
        assert_eq!(pace.next(20), None);
        assert_eq!(pace.next(10), Some(at(61)));
        assert_eq!(pace.next(1), Some(at(70)));
        assert_eq!(Pace::default().next(1), None);
    }
}
