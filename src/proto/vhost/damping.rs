//! Damping of a link that flaps, as routers do it for interfaces and routes.
//!
//! Each time the link goes down, a penalty grows; with time it decays. Above one threshold the
//! virtual host no longer takes part when the link comes up, until the penalty has fallen below the
//! other. Only taking part is delayed, never letting go.

use super::super::settings::Damping;
use crate::types::Timestamp;

/// What one flap costs.
const FLAP: u32 = 1000;
/// The longest suppression after the last flap, in half-lives.
const HALVES_MAX: u32 = 4;

/// The penalty of one link.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Penalty {
    /// As it was then.
    value: u32,
    at: Timestamp,
    suppressed: bool,
}

impl Penalty {
    /// The link went down.
    pub(super) fn flap(&mut self, by: Damping, now: Timestamp) {
        if by.half_life.is_zero() {
            return;
        }
        let most = by.reuse.saturating_mul(1 << HALVES_MAX);
        self.value = self.now(by, now).saturating_add(FLAP).min(most);
        self.at = now;
        self.suppressed |= self.value >= by.suppress;
    }

    /// What is left of it.
    pub(super) fn now(&self, by: Damping, now: Timestamp) -> u32 {
        if by.half_life.is_zero() {
            return 0;
        }
        let (half_life, past) = (by.half_life.as_micros(), now.since(self.at).as_micros());
        let halves = u32::try_from(past / half_life).unwrap_or(u32::MAX);
        let left = self.value.checked_shr(halves).unwrap_or(0);
        // A straight line from one half to the next is near enough.
        let part = u128::from(left / 2) * (past % half_life) / half_life;
        left.saturating_sub(u32::try_from(part).unwrap_or(u32::MAX))
    }

    /// Until when the virtual host must not take part; `None` if it may.
    pub(super) fn suppressed(&mut self, by: Damping, now: Timestamp) -> Option<Timestamp> {
        self.suppressed &= self.now(by, now) > by.reuse;
        self.suppressed.then(|| self.reused(by))
    }

    /// When it will have fallen to the lower threshold.
    fn reused(&self, by: Damping) -> Timestamp {
        let (mut left, mut at) = (self.value, self.at);
        while left / 2 > by.reuse {
            left /= 2;
            at = at + by.half_life;
        }
        let (above, half) = (left.saturating_sub(by.reuse), (left / 2).max(1));
        // One unit more than needed: rounding must not lead to a time at which it is still too high.
        at + by.half_life * (above + 1) / half
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BY: Damping = Damping::USUAL;

    fn at(ms: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(3_600_000 + ms)
    }

    #[test]
    fn it_halves_in_a_half_life_and_is_gone_in_the_end() {
        let mut penalty = Penalty::default();
        penalty.flap(BY, at(0));
        let left = |ms| penalty.now(BY, at(ms));
        assert_eq!(
            [left(0), left(2_500), left(5_000), left(10_000)],
            [1000, 750, 500, 250]
        );
        assert_eq!(left(10_000_000), 0);
    }

    #[test]
    fn one_flap_is_free_and_a_second_soon_after_is_not() {
        for (apart_ms, is_free) in [(100, false), (4_900, false), (5_100, true)] {
            let mut penalty = Penalty::default();
            penalty.flap(BY, at(0));
            assert_eq!(penalty.suppressed(BY, at(1)), None);
            penalty.flap(BY, at(apart_ms));
            let waits = penalty.suppressed(BY, at(apart_ms));
            assert_eq!(waits.is_none(), is_free, "{apart_ms} ms: {waits:?}");
        }
    }

    #[test]
    fn it_ends_at_the_time_that_was_told_and_never_later_than_four_half_lives() {
        for flaps in 2..200 {
            let mut penalty = Penalty::default();
            (0..flaps).for_each(|n| penalty.flap(BY, at(n * 100)));
            let last = at((flaps - 1) * 100);
            let ends = penalty.suppressed(BY, last).expect("it is suppressed");
            assert!(ends - last <= BY.half_life * HALVES_MAX + Duration::from_millis(20));
            let nearly = last + (ends - last).saturating_sub(Duration::from_millis(100));
            assert!(penalty.suppressed(BY, nearly).is_some(), "{flaps}");
            assert_eq!(penalty.suppressed(BY, ends), None, "{flaps}");
        }
    }

    #[test]
    fn without_a_half_life_there_is_none() {
        let mut penalty = Penalty::default();
        (0..100).for_each(|n| penalty.flap(Damping::OFF, at(n)));
        assert_eq!(penalty.suppressed(Damping::OFF, at(100)), None);
        assert_eq!(penalty.now(Damping::OFF, at(100)), 0);
    }
}
