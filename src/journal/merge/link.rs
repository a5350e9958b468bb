//! What the advertisements that two boots have in common say of their clocks.
//!
//! Nothing here looks at all samples for each time that is asked for: what another node told may be
//! long.

use super::Nanos;

/// The most by which the clocks since boot of two nodes drift apart, in millionths of the time: twice
/// what the kernel lets a time service change.
const DRIFT: i128 = 1_000;
const MILLION: i128 = 1_000_000;
/// How many of the nearest samples are compared where each may be late.
const NEAREST: usize = 5;

/// What an advertisement says of two clocks: at this time of the second, it is so far ahead of the
/// first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sample {
    pub(super) at: Nanos,
    pub(super) ahead: Nanos,
}

/// How the clock of one boot is translated into that of another.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// The second heard it later than the first sent it: ahead by this or less.
    pub(super) at_most: Vec<Sample>,
    /// The first heard it later than the second sent it: ahead by this or more.
    pub(super) at_least: Vec<Sample>,
    /// Both heard it at about the same time.
    pub(super) about: Vec<Sample>,
}

impl Link {
    pub(super) const fn len(&self) -> usize {
        self.at_most.len() + self.at_least.len() + self.about.len()
    }

    pub(super) fn clock(mut self) -> Clock {
        self.about.sort_unstable();
        Clock {
            most: Bound::new(self.at_most, 1),
            least: Bound::new(self.at_least, -1),
            about: self.about,
        }
    }
}

/// A link, prepared to be asked for many times.
#[derive(Debug)]
pub(super) struct Clock {
    most: Bound,
    least: Bound,
    /// Sorted by time.
    about: Vec<Sample>,
}

impl Clock {
    /// How far the second clock is ahead at this time of it.
    pub(super) fn ahead(&self, at: Nanos) -> Nanos {
        let bounds = [self.most.nearest(at), self.least.nearest(at)];
        let best = bounds
            .into_iter()
            .flatten()
            .min_by_key(|sample| (sample.at - at).abs());
        best.map_or_else(|| self.middle(at), |sample| sample.ahead)
    }

    /// The middle one of the nearest of those that may be late on either side.
    fn middle(&self, at: Nanos) -> Nanos {
        let middle = self.about.partition_point(|sample| sample.at < at);
        let (before, after) = self.about.split_at(middle);
        let (mut before, mut after) = (before.iter().rev().peekable(), after.iter().peekable());
        let mut near: Vec<Nanos> = (0..NEAREST)
            .filter_map(|_| match (before.peek(), after.peek()) {
                (Some(one), Some(other)) if at - one.at <= other.at - at => before.next(),
                (Some(_), None) => before.next(),
                _ => after.next(),
            })
            .map(|sample| sample.ahead)
            .collect();
        near.sort_unstable();
        near.get(near.len() / 2).copied().unwrap_or(0)
    }
}

/// Samples that are all late on the same side. What is far away may have drifted since, and what is
/// near may have been delayed, so the best one is that which says most after the drift is allowed for.
#[derive(Debug)]
struct Bound {
    /// 1 if less is closer to the truth, -1 if more is.
    sign: i128,
    /// Sorted by time.
    samples: Vec<Sample>,
    /// The best of each one and those before it.
    before: Vec<Sample>,
    /// The best of each one and those after it.
    after: Vec<Sample>,
}

impl Bound {
    fn new(mut samples: Vec<Sample>, sign: i128) -> Self {
        samples.sort_unstable();
        // For all times on one side of two samples the same one is better.
        let best = |towards: i128| {
            let mut best: Option<Sample> = None;
            move |sample: &Sample| {
                let cost =
                    |sample: &Sample| sign * sample.ahead * MILLION + towards * sample.at * DRIFT;
                let better = best
                    .filter(|best| cost(best) <= cost(sample))
                    .unwrap_or(*sample);
                best = Some(better);
                better
            }
        };
        let before = samples.iter().map(best(-1)).collect();
        let mut after: Vec<Sample> = samples.iter().rev().map(best(1)).collect();
        after.reverse();
        Self {
            sign,
            samples,
            before,
            after,
        }
    }

    fn nearest(&self, at: Nanos) -> Option<Sample> {
        let middle = self.samples.partition_point(|sample| sample.at <= at);
        let before = middle.checked_sub(1).and_then(|last| self.before.get(last));
        let after = self.after.get(middle);
        let cost =
            |sample: &&Sample| self.sign * sample.ahead * MILLION + (sample.at - at).abs() * DRIFT;
        before.into_iter().chain(after).min_by_key(cost).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::sim::Luck;

    #[test]
    fn the_best_sample_is_that_of_looking_at_all() {
        let mut luck = Luck::new(5);
        let mut below = |limit: u64| Nanos::from(luck.next() % limit);
        for round in 0..200 {
            let samples: Vec<Sample> = (0..round)
                .map(|_| Sample {
                    at: below(1_000_000_000),
                    ahead: below(1_000_000),
                })
                .collect();
            for sign in [1, -1] {
                let bound = Bound::new(samples.clone(), sign);
                for _ in 0..20 {
                    let at = below(1_000_000_000);
                    let cost = |sample: &Sample| {
                        sign * sample.ahead * MILLION + (sample.at - at).abs() * DRIFT
                    };
                    assert_eq!(
                        bound.nearest(at).as_ref().map(cost),
                        samples.iter().map(cost).min()
                    );
                }
            }
        }
    }

    #[test]
    fn where_both_may_be_late_the_middle_of_the_nearest_counts() {
        let about = [
            (0, 900),
            (10, 1),
            (20, 2),
            (30, 3),
            (40, 4),
            (50, 5),
            (900, 0),
        ];
        let about = about.map(|(at, ahead)| Sample { at, ahead }).to_vec();
        let clock = Link {
            about,
            ..Link::default()
        }
        .clock();
        assert_eq!(clock.ahead(30), 3);
        assert_eq!(clock.ahead(-5), 3);
        assert_eq!(clock.ahead(2_000), 3);
        assert_eq!(Link::default().clock().ahead(7), 0);
    }
}
