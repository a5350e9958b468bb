//! How late advertisements are: our own after the time they were due, and those of a peer after the
//! time at which its last one promised the next.

use std::net::IpAddr;
use std::time::Duration;

use crate::proto::{Heard, timer};
use crate::types::{Family, Timestamp};

/// Upper ends of the buckets, in microseconds.
pub(in crate::engine) const BOUNDS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000,
];

/// How many were how late.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::engine) struct Lateness {
    /// How many were late within each of [`BOUNDS_US`], not counting those in earlier buckets.
    pub(in crate::engine) buckets: [u64; BOUNDS_US.len()],
    pub(in crate::engine) count: u64,
    pub(in crate::engine) total: Duration,
}

impl Lateness {
    pub(in crate::engine) fn note(&mut self, late: Duration) {
        self.count += 1;
        self.total = self.total.saturating_add(late);
        let within = |(bound, _): &(&u64, _)| late <= Duration::from_micros(**bound);
        if let Some((_, bucket)) = BOUNDS_US.iter().zip(&mut self.buckets).find(within) {
            *bucket += 1;
        }
    }
}

/// Of all virtual hosts of an interface.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct OfInterface {
    /// Those that were sent.
    pub(in crate::engine) sent: Lateness,
    /// Those that were heard.
    pub(in crate::engine) heard: Lateness,
}

/// The last advertisement that a virtual host heard, in each family.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Arrivals([Option<Arrival>; 2]);

#[derive(Debug, Clone, Copy)]
struct Arrival {
    from: IpAddr,
    at: Timestamp,
    /// When the next is due, after this one.
    interval: Duration,
}

impl Arrivals {
    /// How late this one is; `None` if nothing promised it: it is the first of its sender, or its
    /// last.
    pub(in crate::engine) fn note(&mut self, heard: &Heard) -> Option<Duration> {
        let [v4, v6] = &mut self.0;
        let last = match Family::of(heard.from) {
            Family::V4 => v4,
            Family::V6 => v6,
        };
        let before = last.take();
        if heard.is_bow_out() {
            return None;
        }
        *last = Some(Arrival {
            from: heard.from,
            at: heard.at,
            interval: timer::interval(heard.advbase, heard.advskew),
        });
        let before = before.filter(|before| before.from == heard.from)?;
        Some(heard.at.since(before.at + before.interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::Advertisement;
    use crate::types::{AdvBase, AdvSkew};

    fn heard(from: &str, at_ms: u64, advskew: u8) -> Heard {
        Heard {
            from: from.parse().unwrap(),
            at: Timestamp::from_micros(at_ms * 1000),
            advbase: AdvBase(1),
            advskew: AdvSkew(advskew),
            demote: 0,
            counter: 0,
        }
    }

    #[test]
    fn late_is_what_comes_after_the_interval_that_its_sender_told() {
        let mut arrivals = Arrivals::default();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(arrivals.note(&heard("10.0.0.1", 0, 0)), None);
        // Each family has its own.
        assert_eq!(arrivals.note(&heard("fe80::1", 1, 0)), None);
        assert_eq!(arrivals.note(&heard("10.0.0.1", 1_003, 128)), ms(3));
        assert_eq!(arrivals.note(&heard("fe80::1", 1_001, 0)), ms(0));
        // The longer interval counts from the one that told it.
        assert_eq!(arrivals.note(&heard("10.0.0.1", 2_513, 0)), ms(10));
        // Too early is not late.
        assert_eq!(arrivals.note(&heard("10.0.0.1", 2_600, 0)), ms(0));
        // Another sender, and back.
        assert_eq!(arrivals.note(&heard("10.0.0.2", 9_000, 0)), None);
        assert_eq!(arrivals.note(&heard("10.0.0.1", 9_001, 0)), None);
        let (advbase, advskew) = Advertisement::BOW_OUT;
        let leaving = Heard {
            advbase,
            advskew,
            ..heard("10.0.0.1", 9_500, 0)
        };
        assert_eq!(arrivals.note(&leaving), None);
        assert_eq!(arrivals.note(&heard("10.0.0.1", 20_000, 0)), None);
    }

    #[test]
    fn each_is_in_one_bucket_and_the_latest_in_none() {
        let mut lateness = Lateness::default();
        for us in [0, 100, 101, 3_000_000] {
            lateness.note(Duration::from_micros(us));
        }
        assert_eq!(lateness.buckets[..2], [2, 1]);
        assert_eq!(lateness.buckets.iter().sum::<u64>(), 3);
        assert_eq!(
            (lateness.count, lateness.total),
            (4, Duration::from_micros(3_000_201))
        );
    }
}
