//! Decides when to announce addresses to the neighbours again. Advertisements come first, so
//! nothing here is sent in the turn of an advertisement's timer, but after it.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::config;
use crate::types::Timestamp;

/// From the second advertisement to the announcement that follows it.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Least time between announcements on hearing a worse master, which may never yield.
const CLAIMS: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// Without a worse master for this long, the next one is answered at once again.
const CLAIM_FORGET: Duration = Duration::from_secs(180);

/// The pending announcements of one virtual host.
#[derive(Debug, Default)]
pub(in crate::engine) struct Announcer {
    left: u8,
    due: Option<Timestamp>,
    interval: Duration,
    claim: Option<Claim>,
}

#[derive(Debug)]
struct Claim {
    last: Timestamp,
    /// So long none is answered.
    pause: Duration,
    next: Backoff,
}

impl Announcer {
    /// At takeover: the caller makes the first announcement now; the rest become due one by one.
    pub(in crate::engine) fn takeover(&mut self, spec: config::Announce, now: Timestamp) {
        self.claim = None;
        self.left = spec.count.saturating_sub(1);
        self.interval = spec.interval;
        self.due = (self.left > 0).then(|| now + self.interval);
    }

    /// Schedules the announcement after the second advertisement. It comes slightly later: a better
    /// master that was only waiting for that advertisement has announced itself by then, and its
    /// announcement must be the last one.
    pub(in crate::engine) fn again(&mut self, now: Timestamp) {
        if self.due.is_none() {
            self.left = 1;
            self.due = Some(now + AGAIN_AFTER);
        }
    }

    /// No longer master: drops pending announcements.
    pub(in crate::engine) fn stop(&mut self) {
        *self = Self::default();
    }

    /// When the next one is due.
    pub(in crate::engine) const fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// Is one due? Then the next is planned.
    pub(in crate::engine) fn take_due(&mut self, now: Timestamp) -> bool {
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        self.left = self.left.saturating_sub(1);
        self.due = (self.left > 0).then(|| now + self.interval);
        true
    }

    /// A worse master was heard. True if it is to be answered: at most once a second, then at
    /// growing intervals.
    pub(in crate::engine) fn claimed(&mut self, now: Timestamp) -> bool {
        let mut next = match &self.claim {
            Some(claim) if now.since(claim.last) < claim.pause => return false,
            Some(claim) if now.since(claim.last) < CLAIM_FORGET => claim.next,
            Some(_) | None => CLAIMS,
        };
        self.claim = Some(Claim {
            last: now,
            pause: next.pause(),
            next,
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_worse_master_is_answered_ever_more_seldom() {
        let mut announcer = Announcer::default();
        let answered: Vec<u64> = (0..200)
            .filter(|second| announcer.claimed(at(*second)))
            .collect();
        assert_eq!(answered, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
    }

    #[test]
    fn a_takeover_owes_count_announcements_in_all() {
        let mut announcer = Announcer::default();
        announcer.takeover(
            config::Announce {
                count: 3,
                interval: Duration::from_secs(1),
            },
            at(0),
        );
        let due: Vec<u64> = (0..10)
            .filter(|second| announcer.take_due(at(*second)))
            .collect();
        assert_eq!(due, [1, 2], "the first is made by the caller");
    }
}
