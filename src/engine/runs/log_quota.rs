//! Limits how much a hook may log over time, since it may not log in every run as much as one run
//! may log.

use std::time::Duration;

use crate::types::Timestamp;

/// The burst: a hook may log as much as this many runs before it is limited.
const RUNS: u64 = 16;
/// The time in which it regains as much as one run may log.
const REFILL: Duration = Duration::from_secs(60);
/// The least time between two reports that lines are dropped.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// A line counts at least this much, so that empty ones are not free.
const LINE: u64 = 32;

/// One hook's share of the log, over all of its virtual hosts.
#[derive(Debug)]
pub(in crate::engine) struct LogQuota {
    /// What one run may log, in bytes.
    run: u64,
    /// What it may log now.
    left: u64,
    /// When that was reckoned.
    at: Timestamp,
    /// Lines dropped since that was said.
    dropped: u64,
    said: Option<Timestamp>,
}

/// What to do with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Line {
    /// Write it.
    Take,
    /// Drop it; if there is a number, report that this many were dropped.
    Drop(Option<u64>),
}

impl LogQuota {
    /// For a hook that may log so many bytes in one run.
    pub(in crate::engine) const fn new(run: u64, now: Timestamp) -> Self {
        Self {
            run,
            left: run.saturating_mul(RUNS),
            at: now,
            dropped: 0,
            said: None,
        }
    }

    /// A line of so many bytes comes now.
    pub(in crate::engine) fn line(&mut self, bytes: usize, now: Timestamp) -> Line {
        self.refill(now);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).max(LINE);
        if let Some(left) = self.left.checked_sub(bytes) {
            self.left = left;
            return Line::Take;
        }
        self.dropped += 1;
        if self.said.is_some_and(|said| now.since(said) < SAID_EVERY) {
            return Line::Drop(None);
        }
        self.said = Some(now);
        Line::Drop(Some(std::mem::take(&mut self.dropped)))
    }

    /// Adds whole bytes, and keeps the time for fractions of a byte, so that frequent calls lose
    /// nothing.
    fn refill(&mut self, now: Timestamp) {
        let (passed, whole) = (now.since(self.at).as_micros(), REFILL.as_micros());
        let gained = u128::from(self.run) * passed / whole;
        let Some(time) = (gained * whole).checked_div(self.run.into()) else {
            return;
        };
        self.at = self.at + Duration::from_micros(u64::try_from(time).unwrap_or(u64::MAX));
        let gained = u64::try_from(gained).unwrap_or(u64::MAX);
        self.left = self
            .left
            .saturating_add(gained)
            .min(self.run.saturating_mul(RUNS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_micros(ms * 1000)
    }

    #[test]
    fn what_one_run_may_log_it_may_not_log_in_every_run() {
        let run = 64 << 10;
        let mut quota = LogQuota::new(run, at(0));
        let (mut taken, mut said) = (0, Vec::new());
        // A check a second for an hour, each with all that one run may log, in lines of 1 KiB.
        for second in 0..3600 {
            for _ in 0..64 {
                match quota.line(1 << 10, at(second * 1000)) {
                    Line::Take => taken += 1 << 10,
                    Line::Drop(Some(lines)) => said.push((second, lines)),
                    Line::Drop(None) => {}
                }
            }
        }
        assert!(taken <= run * (RUNS + 60), "{taken} bytes in an hour");
        assert!(
            taken >= run * (RUNS + 59),
            "what it may log, it can: {taken}"
        );
        assert_eq!(said[0], (16, 1), "the first is said at once");
        assert!(
            said.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 60),
            "{said:?}"
        );
        assert!(said[1].1 > 3000, "with the number of lines: {said:?}");
    }

    #[test]
    fn quiet_hooks_are_never_held_back_and_empty_lines_are_not_free() {
        let mut quota = LogQuota::new(64 << 10, at(0));
        assert!(
            (0..36_000).all(|n| quota.line(100, at(n * 100)) == Line::Take),
            "ten lines a second, for an hour"
        );
        let mut quota = LogQuota::new(64 << 10, at(0));
        assert!((0..100_000).any(|_| quota.line(0, at(0)) != Line::Take));
    }

    #[test]
    fn looking_often_loses_nothing() {
        let mut quota = LogQuota::new(7000, at(0));
        while quota.line(32, at(0)) == Line::Take {}
        let taken = (0..600_000)
            .filter(|ms| quota.line(100, at(*ms)) == Line::Take)
            .count();
        assert!(
            (698..=700).contains(&taken),
            "{taken} lines of 100 bytes at 7000 bytes a minute, in ten minutes"
        );
    }
}
