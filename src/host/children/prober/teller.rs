//! What of its findings a prober tells: a thousand commands that go well need not wake the engine.

use std::time::Duration;

use super::Finding;
use crate::types::Timestamp;

/// Of findings that differ in their words only, at most one is told in this time.
const WORDS_EVERY: Duration = Duration::from_secs(1);

/// What was told of one job.
#[derive(Debug)]
pub struct Teller {
    /// The same finding counts so many times at most.
    counts: u32,
    last: Option<Finding>,
    /// How many in a row were like it.
    run: u32,
    at: Timestamp,
}

impl Teller {
    /// Of a job whose same finding counts so many times at most.
    #[must_use]
    pub const fn new(counts: u32) -> Self {
        Self {
            counts,
            last: None,
            run: 0,
            at: Timestamp::ZERO,
        }
    }

    /// Is this to be told now?
    pub fn tells(&mut self, finding: &Finding, now: Timestamp) -> bool {
        let alike = self
            .last
            .as_ref()
            .is_some_and(|last| match (last, finding) {
                (Finding::Bad { .. }, Finding::Bad { .. }) => true,
                (last, finding) => last == finding,
            });
        self.run = if alike { self.run.saturating_add(1) } else { 1 };
        let other_words = self.last.as_ref() != Some(finding) && now.since(self.at) >= WORDS_EVERY;
        let tells = self.run <= self.counts || other_words;
        if tells {
            self.last = Some(finding.clone());
            self.at = now;
        }
        tells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_change_anything_is_not_told() {
        let mut teller = Teller::new(2);
        let bad = |words: &str| Finding::bad(words);
        let mut now = Timestamp::ZERO + Duration::from_hours(1);
        for (finding, after_ms, tells) in [
            (Finding::Well, 50, true),
            (Finding::Well, 50, true),
            (Finding::Well, 5_000, false),
            (bad("a"), 50, true),
            (bad("b"), 50, true),
            (bad("c"), 50, false),
            (bad("d"), 1_000, true),
            (bad("d"), 1_000, false),
            (Finding::Well, 0, true),
            (Finding::Number(1), 0, true),
            (Finding::Number(2), 0, true),
            (Finding::Number(2), 0, true),
            (Finding::Number(2), 0, false),
        ] {
            now = now + Duration::from_millis(after_ms);
            assert_eq!(teller.tells(&finding, now), tells, "{finding:?}");
        }
    }
}
