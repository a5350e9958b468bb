//! A floor under the pace of changes of state, whatever causes them.
//!
//! Every rule of the protocol is meant to settle. Where nodes disagree all the same, about what
//! they can hold or whose rules they follow, they would pass mastership on as fast as packets
//! travel. A few changes in a row are as quick as ever; after that each must wait, for less than a
//! master-down time. Only going up waits: letting go never does.

use std::time::Duration;

use crate::types::Timestamp;

/// So many changes may follow each other without a pause.
const BURST: u32 = 5;

/// After that, one in so long.
const EVERY: Duration = Duration::from_secs(2);

/// How many changes there were lately.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// When all of them are forgotten.
    forgotten: Timestamp,
}

impl Pace {
    /// Counts a change.
    ///
    /// # Errors
    /// It must wait until then, and was not counted.
    pub(super) fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let remembered = EVERY * (BURST - 1);
        let wait = self.forgotten.since(now).saturating_sub(remembered);
        if wait > Duration::ZERO {
            return Err(now + wait);
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
