//! How many bytes each kind of event may take of a file that is to last for a week.
//!
//! Of its share a kind may use what has gathered in a week, and no more: in any week it then takes
//! at most twice what a week brings, and the file has room for that. A kind that is used up gets
//! room again at the pace of its share.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::journal::EventKind;
use crate::types::Timestamp;

/// How far back the events of an ordinary node reach, whatever floods there were since.
const WEEK: Duration = Duration::from_hours(7 * 24);

/// What each kind has used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Budget {
    file_bytes: u64,
    /// Of each kind, in the order of [`EventKind::ALL`]: until when its share is used. It is used up
    /// when that is a week ahead.
    used: [Timestamp; EventKind::ALL.len()],
}

/// In hundredths of the file.
const fn share(kind: EventKind) -> u64 {
    match kind {
        EventKind::State => 25,
        EventKind::Hook => 20,
        EventKind::Effect => 15,
        EventKind::Order
        | EventKind::Fitness
        | EventKind::Remark
        | EventKind::Advertisement
        | EventKind::Daemon => 8,
    }
}

impl Budget {
    /// Nothing of a file of this length is used.
    pub(super) fn of(file_bytes: u64) -> Self {
        Self {
            file_bytes,
            ..Self::default()
        }
    }

    /// Takes over what an earlier writer used.
    pub(super) fn go_on(&mut self, before: &Self) {
        self.used = before.used;
    }

    /// Takes so many bytes at this time, if they are there.
    pub(super) fn take(&mut self, kind: EventKind, bytes: usize, now: Timestamp) -> bool {
        let weekly = u128::from(self.file_bytes * share(kind) / 100 / 2).max(1);
        let cost = WEEK.as_nanos() * (bytes as u128) / weekly;
        let cost = Duration::from_nanos(u64::try_from(cost).unwrap_or(u64::MAX));
        let all = EventKind::ALL.iter().zip(&mut self.used);
        let Some((_, used)) = all.into_iter().find(|(one, _)| **one == kind) else {
            return false;
        };
        let then = (*used).max(now) + cost;
        let there = then.since(now) <= WEEK;
        if there {
            *used = then;
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_those_of_one_file() {
        let sum: u64 = EventKind::ALL.into_iter().map(share).sum();
        assert!((99..=100).contains(&sum), "{sum}");
    }

    #[test]
    fn no_week_takes_more_than_a_file_whoever_floods() {
        let mut budget = Budget::of(1 << 20);
        let mut taken: Vec<(u64, usize)> = Vec::new();
        // Three weeks, each minute more than there is room for.
        for minute in 0..3 * 7 * 24 * 60 {
            let now = Timestamp::from_micros(minute * 60_000_000);
            for kind in EventKind::ALL {
                for _ in 0..20 {
                    if budget.take(kind, 100, now) {
                        taken.push((minute, 100));
                    }
                }
            }
        }
        let week = 7 * 24 * 60;
        for start in (0..2 * week).step_by(60) {
            let bytes: usize = taken
                .iter()
                .filter(|(minute, _)| (start..start + week).contains(minute))
                .map(|(_, bytes)| bytes)
                .sum();
            assert!(bytes <= (1 << 20) + 8 * 100, "{bytes} from {start} on");
        }
        // And later ones still get something.
        let last_day = taken
            .iter()
            .filter(|(minute, _)| *minute >= 3 * week - 24 * 60);
        assert!(last_day.count() > 300);
    }
}
