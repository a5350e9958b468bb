//! Limits the rate of state changes, whatever causes them.
//!
//! Every rule of the protocol is meant to converge. If nodes nevertheless disagree, about what they
//! can hold or whose rules they follow, they would pass mastership back and forth as fast as
//! packets travel. A few changes in a row are not delayed; after that each must wait, for less than
//! a master-down time. Only becoming master is delayed, never giving up mastership.

use std::time::Duration;

use crate::types::Timestamp;

/// This many changes may follow each other without delay.
const BURST: u32 = 5;

/// After that, one change per this time.
const EVERY: Duration = Duration::from_secs(2);

/// The number of recent changes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// When all of them are forgotten.
    forgotten: Timestamp,
}

impl Pace {
    /// When the next change may be: now or later.
    pub(super) fn free(self, now: Timestamp) -> Timestamp {
        let remembered = EVERY * (BURST - 1);
        now + self.forgotten.since(now).saturating_sub(remembered)
    }

    /// Counts a change.
    ///
    /// # Errors
    /// The time until which it must wait; the change was not counted.
    pub(super) fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let free = self.free(now);
        if free > now {
            return Err(free);
        }
        self.forgotten = self.forgotten.max(now) + EVERY;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_in_a_row_are_free_and_then_one_in_so_long() {
        let mut pace = Pace::default();
        let mut now = Timestamp::ZERO + Duration::from_hours(1);
        for _ in 0..BURST {
            assert_eq!(pace.take(now), Ok(()));
        }
        for _ in 0..100 {
            let ready = now + EVERY;
            assert_eq!(pace.take(now), Err(ready));
            now = now + EVERY / 2;
            assert_eq!(pace.take(now), Err(ready), "asking costs nothing");
            now = ready;
            assert_eq!(pace.take(now), Ok(()));
        }
        now = now + EVERY * BURST;
        assert!(
            (0..BURST).all(|_| pace.take(now).is_ok()),
            "and all is forgotten"
        );
    }
}
