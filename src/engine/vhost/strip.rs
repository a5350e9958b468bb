//! Records what becomes of the advertisement of each interval, for the strip that `carpd top` shows.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::engine::report::{Beat, STRIP_MAX, Strip};
use crate::proto::{Heard, timer};
use crate::types::Timestamp;

/// Less than this is not late, however short the interval.
const TOLERANCE_MIN: Duration = Duration::from_millis(20);

/// How late an advertisement may be that still counts as on time.
fn tolerance(interval: Duration) -> Duration {
    (interval / 10).max(TOLERANCE_MIN).min(interval / 2)
}

/// What was promised for the next interval.
#[derive(Debug, Clone, Copy)]
struct Promise {
    from: IpAddr,
    due: Timestamp,
    interval: Duration,
}

impl Promise {
    /// How many intervals have passed without what they promised, if nothing has come by now.
    fn missed(&self, now: Timestamp) -> usize {
        let late = now.since(self.due);
        let tolerance = tolerance(self.interval);
        if late <= tolerance {
            return 0;
        }
        intervals(late.saturating_sub(tolerance), self.interval) + 1
    }
}

/// Whole intervals, as many as a strip can show.
fn intervals(time: Duration, interval: Duration) -> usize {
    let count = time.as_micros() / interval.as_micros().max(1);
    usize::try_from(count).unwrap_or(STRIP_MAX).min(STRIP_MAX)
}

/// The last intervals of a virtual host.
#[derive(Debug, Default)]
pub(in crate::engine) struct StripRecord {
    beats: VecDeque<Beat>,
    /// By the last advertisement that was heard.
    promise: Option<Promise>,
    /// When this node last sent one.
    sent: Option<Timestamp>,
}

impl StripRecord {
    fn push(&mut self, beat: Beat) {
        if self.beats.len() >= STRIP_MAX {
            self.beats.pop_front();
        }
        self.beats.push_back(beat);
    }

    fn push_all(&mut self, beat: Beat, count: usize) {
        for _ in 0..count.min(STRIP_MAX) {
            self.push(beat);
        }
    }

    /// One cell for an advertisement that came this late, and one for each interval before it that
    /// had none.
    fn note(&mut self, late: Duration, interval: Duration, [well, slow, none]: [Beat; 3]) {
        let tolerance = tolerance(interval);
        let missed = intervals(late.saturating_add(tolerance), interval);
        self.push_all(none, missed);
        let passed = interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX));
        let is_late = late.saturating_sub(passed) > tolerance;
        // After a time that is longer than the whole strip, that is all there is to say.
        self.push(if is_late && missed < STRIP_MAX {
            slow
        } else {
            well
        });
    }

    /// An advertisement was heard. As long as one sender keeps its promise, those of others are not
    /// counted: a master sends one in each family.
    pub(in crate::engine) fn heard(&mut self, heard: &Heard) {
        if heard.is_bow_out() {
            if self
                .promise
                .is_some_and(|promise| promise.from == heard.from)
            {
                self.promise = None;
            }
            return;
        }
        let interval = timer::interval(heard.advbase, heard.advskew);
        match self.promise {
            Some(promise) if promise.from != heard.from && promise.missed(heard.at) == 0 => return,
            Some(promise) => self.note(
                heard.at.since(promise.due),
                promise.interval,
                [Beat::Heard, Beat::HeardLate, Beat::Missing],
            ),
            None => self.push(Beat::Heard),
        }
        self.promise = Some(Promise {
            from: heard.from,
            due: heard.at + interval,
            interval,
        });
    }

    /// This node sent an advertisement that was due then, or could not. The two families share a
    /// cell, which shows the worse of them.
    pub(in crate::engine) fn sent(
        &mut self,
        due: Option<Timestamp>,
        now: Timestamp,
        interval: Duration,
        ok: bool,
    ) {
        let same = self
            .sent
            .is_some_and(|before| now.since(before) < tolerance(interval));
        if same {
            if !ok && let Some(last) = self.beats.back_mut() {
                *last = Beat::NotSent;
            }
            return;
        }
        self.sent = Some(now);
        if !ok {
            return self.push(Beat::NotSent);
        }
        let late = due.map_or(Duration::ZERO, |due| now.since(due));
        self.note(late, interval, [Beat::Sent, Beat::SentLate, Beat::NotSent]);
    }

    /// The state changed: nobody's promise counts any more.
    pub(in crate::engine) fn changed(&mut self, now: Timestamp) {
        if let Some(promise) = self.promise.take() {
            self.push_all(Beat::Missing, promise.missed(now));
        }
        self.sent = None;
    }

    /// As it is now.
    pub(in crate::engine) fn status(&self, now: Timestamp) -> Strip {
        let missed = self.promise.map_or(0, |promise| promise.missed(now));
        let missed = std::iter::repeat_n(Beat::Missing, missed);
        Strip::of(self.beats.iter().copied().chain(missed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::Advertisement;
    use crate::types::{AdvBase, AdvSkew};

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_micros(ms * 1000)
    }

    fn heard(from: &str, ms: u64) -> Heard {
        Heard {
            from: from.parse().unwrap(),
            at: at(ms),
            advbase: AdvBase(1),
            advskew: AdvSkew(0),
            demote: 0,
            counter: 0,
        }
    }

    #[test]
    fn each_interval_has_a_cell_on_time_late_or_missing() {
        let mut record = StripRecord::default();
        for (ms, expected) in [
            (0, "h"),
            (1_003, "hh"),
            (2_200, "hhl"),
            // Late by the interval, or a little less: one is missing.
            (4_195, "hhlmh"),
            (7_700, "hhlmhmml"),
            // Earlier than promised.
            (8_000, "hhlmhmmlh"),
        ] {
            record.heard(&heard("10.0.0.1", ms));
            assert_eq!(record.status(at(ms)).to_string(), expected);
        }
        // Nobody has to come for it to be seen that nothing does.
        for (ms, expected) in [(9_050, ""), (9_101, "m"), (10_050, "m"), (11_150, "mmm")] {
            let strip = record.status(at(ms)).to_string();
            assert_eq!(strip, format!("hhlmhmmlh{expected}"), "{ms}");
        }
        record.changed(at(11_150));
        assert_eq!(record.status(at(60_000)).to_string(), "hhlmhmmlhmmm");
    }

    #[test]
    fn another_sender_counts_when_the_first_is_silent_or_left() {
        let mut record = StripRecord::default();
        for ms in [0, 1_000, 2_000] {
            record.heard(&heard("10.0.0.1", ms));
            record.heard(&heard("fe80::1", ms + 1));
        }
        assert_eq!(record.status(at(2_100)).to_string(), "hhh");
        record.heard(&heard("fe80::1", 3_001));
        record.heard(&heard("fe80::1", 4_001));
        assert_eq!(record.status(at(4_001)).to_string(), "hhhmh");
        let (advbase, advskew) = Advertisement::BOW_OUT;
        record.heard(&Heard {
            advbase,
            advskew,
            ..heard("fe80::1", 4_500)
        });
        assert_eq!(record.status(at(9_000)).to_string(), "hhhmh");
        record.heard(&heard("10.0.0.2", 9_000));
        assert_eq!(record.status(at(9_000)).to_string(), "hhhmhh");
    }

    #[test]
    fn what_is_sent_has_a_cell_for_both_families() {
        let mut record = StripRecord::default();
        let second = Duration::from_secs(1);
        for (due, ms, ok, expected) in [
            (None, 0, true, "s"),
            (Some(1_000), 1_001, true, "ss"),
            (Some(1_000), 1_001, true, "ss"),
            (Some(2_000), 2_001, true, "sss"),
            (Some(2_000), 2_002, false, "ssn"),
            (Some(3_000), 3_300, true, "ssnt"),
            (Some(4_300), 6_300, true, "ssntnns"),
            (Some(7_300), 7_300, false, "ssntnnsn"),
        ] {
            record.sent(due.map(at), at(ms), second, ok);
            assert_eq!(record.status(at(ms)).to_string(), expected);
        }
    }

    #[test]
    fn it_is_bounded_whatever_the_clock_does() {
        let mut record = StripRecord::default();
        record.heard(&heard("10.0.0.1", 0));
        let strip = record.status(Timestamp::from_micros(u64::MAX)).to_string();
        assert_eq!(strip, "m".repeat(STRIP_MAX));
        record.heard(&heard("10.0.0.1", 1 << 40));
        assert_eq!(record.beats.len(), STRIP_MAX);
        assert!(record.beats.capacity() < 4 * STRIP_MAX);
    }
}
