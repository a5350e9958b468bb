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
    next: Option<Timestamp>,
    spec: config::Announce,
    /// When all are made once more.
    second_round: Option<Timestamp>,
    /// When one is made again without another reason.
    refresh: Option<Timestamp>,
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
        let from_now = |period: Duration| (!period.is_zero()).then(|| now + period);
        self.claim = None;
        self.spec = spec;
        self.second_round = from_now(spec.delay);
        self.refresh = from_now(spec.refresh);
        self.begin_round(now);
    }

    /// The first of a round is made now.
    fn begin_round(&mut self, now: Timestamp) {
        self.left = self.spec.count.saturating_sub(1);
        self.next = (self.left > 0).then(|| now + self.spec.interval);
    }

    /// Schedules the announcement after the second advertisement. It comes slightly later: a better
    /// master that was only waiting for that advertisement has announced itself by then, and its
    /// announcement must be the last one.
    pub(in crate::engine) fn again(&mut self, now: Timestamp) {
        if self.next.is_none() {
            self.left = 1;
            self.next = Some(now + AGAIN_AFTER);
        }
    }

    /// No longer master: drops pending announcements.
    pub(in crate::engine) fn stop(&mut self) {
        *self = Self::default();
    }

    /// When the next one is due.
    pub(in crate::engine) fn due(&self) -> Option<Timestamp> {
        let all = [self.next, self.second_round, self.refresh];
        all.into_iter().flatten().min()
    }

    /// Is one due? Then the next is planned.
    pub(in crate::engine) fn take_due(&mut self, now: Timestamp) -> bool {
        let has_come = |due: Option<Timestamp>| due.is_some_and(|due| due <= now);
        let (next, second_round) = (has_come(self.next), has_come(self.second_round));
        let refresh = has_come(self.refresh);
        if next {
            self.left = self.left.saturating_sub(1);
            self.next = (self.left > 0).then(|| now + self.spec.interval);
        }
        if second_round {
            self.second_round = None;
            self.begin_round(now);
        }
        if refresh {
            self.refresh = Some(now + self.spec.refresh);
        }
        next || second_round || refresh
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
                ..config::Announce::default()
            },
            at(0),
        );
        let due: Vec<u64> = (0..10)
            .filter(|second| announcer.take_due(at(*second)))
            .collect();
        assert_eq!(due, [1, 2], "the first is made by the caller");
    }

    #[test]
    fn a_second_round_and_refreshes_follow_if_they_are_wanted() {
        let mut announcer = Announcer::default();
        announcer.takeover(
            config::Announce {
                count: 2,
                interval: Duration::from_secs(1),
                delay: Duration::from_secs(5),
                refresh: Duration::from_secs(10),
            },
            at(0),
        );
        let due = |announcer: &mut Announcer, seconds: std::ops::Range<u64>| {
            let due = seconds.filter(|second| announcer.take_due(at(*second)));
            due.collect::<Vec<_>>()
        };
        assert_eq!(due(&mut announcer, 0..40), [1, 5, 6, 10, 20, 30]);
        assert_eq!(announcer.due(), Some(at(40)));
        announcer.stop();
        assert_eq!(due(&mut announcer, 40..80), [] as [u64; 0]);
        assert_eq!(announcer.due(), None);
    }
}
