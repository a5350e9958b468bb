//! Decides what to do if something goes wrong on a master again, depending on whether another node
//! had its chance.
//!
//! At first a node hands over. If no peer took over, or only briefly, no node can do better: it
//! stays master, and retries at growing intervals. If a peer was master for long, others get
//! another chance; the time that counts as long is doubled, so that nodes that all fail, but
//! slowly, do not pass the addresses around forever.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::types::Timestamp;

/// A node that was not master for this long gives the others another chance; doubled each time.
const FIRST: Duration = Duration::from_secs(60);

/// How often it went wrong, and for how long others were master meanwhile.
#[derive(Debug)]
pub(in crate::engine) struct Escalation {
    retries: Backoff,
    /// Since when it is not master.
    away: Option<Timestamp>,
    long: Duration,
}

/// What a master does about another failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Verdict {
    /// Hand over.
    Resign,
    /// No node can do better. Retry after this pause.
    Again(Duration),
}

impl Default for Escalation {
    fn default() -> Self {
        Self {
            retries: Backoff::default(),
            away: None,
            long: FIRST,
        }
    }
}

impl Escalation {
    /// What to do about another failure of a node that has been master since `master`. A node that
    /// preempted a working master gives mastership back.
    pub(in crate::engine) fn again(&mut self, master: Timestamp, pushed_aside: bool) -> Verdict {
        let away = self.away.take().map(|since| master.since(since));
        if away.is_some_and(|away| away >= self.long) {
            self.long = self.long.saturating_mul(2);
            self.retries = Backoff::default();
            return Verdict::Resign;
        }
        if away.is_some() && pushed_aside {
            Verdict::Resign
        } else {
            Verdict::Again(self.pause())
        }
    }

    /// The pause before the next try.
    pub(in crate::engine) fn pause(&mut self) -> Duration {
        self.retries.pause()
    }

    /// Whether it is master, as far as it knows.
    pub(in crate::engine) const fn is_master(&self) -> bool {
        self.away.is_none()
    }

    /// Its mastership ends.
    pub(in crate::engine) const fn leaves(&mut self, now: Timestamp) {
        self.away = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    /// A node that handed over after its first failure.
    fn relieved(now: Timestamp) -> Escalation {
        let mut relief = Escalation::default();
        relief.leaves(now);
        relief
    }

    #[test]
    fn where_nobody_can_it_stays_and_tries_ever_more_seldom() {
        let mut relief = relieved(at(10));
        let pauses: Vec<u64> = (0..8)
            .map(|_| {
                if let Verdict::Again(pause) = relief.again(at(13), false) {
                    pause.as_secs()
                } else {
                    0
                }
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn what_it_took_from_a_living_master_it_gives_back() {
        let mut relief = relieved(at(10));
        for round in 1..5 {
            assert_eq!(relief.again(at(10 + 20 * round), true), Verdict::Resign);
            relief.leaves(at(10 + 20 * round));
        }
        assert_eq!(
            relief.again(at(91), false),
            Verdict::Again(Duration::from_secs(1)),
            "that was no try of its own"
        );
        assert_eq!(
            relief.again(at(91), true),
            Verdict::Again(Duration::from_secs(2)),
            "it was master all the time"
        );
    }

    #[test]
    fn after_long_relief_others_get_another_chance_and_each_must_be_longer() {
        let mut relief = relieved(at(0));
        assert_eq!(relief.again(at(60), false), Verdict::Resign);
        relief.leaves(at(60));
        assert_eq!(
            relief.again(at(160), false),
            Verdict::Again(Duration::from_secs(1))
        );
        relief.leaves(at(160));
        assert_eq!(relief.again(at(280), false), Verdict::Resign);
    }
}
