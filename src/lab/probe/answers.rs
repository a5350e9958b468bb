//! Which host answers: derived from requests sent and answers received.

use std::time::Duration;

use super::Sighting;
use crate::types::{MacAddr, Timestamp};

/// A silence is reported this long after the first request without an answer.
const SILENT_AFTER: Duration = Duration::from_millis(25);

/// One request and which host answered it.
#[derive(Debug, Clone, Copy, Default)]
struct Request {
    sent: Timestamp,
    answered: Option<MacAddr>,
    by_another: bool,
}

/// What the requests and answers so far show. Times are those of the frames, so the figures are
/// right on a busy machine too.
#[derive(Debug)]
pub(super) struct Answers {
    requests: Vec<Request>,
    next: u8,
    current: Option<MacAddr>,
    last_answer: Timestamp,
    silent: bool,
    both_since: Option<Timestamp>,
    /// Requests without an answer since the last answer, and when the first of them was sent.
    unanswered: u64,
    unanswered_since: Timestamp,
    sent_total: u64,
    answered_total: u64,
    both_total: u64,
}

impl Answers {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            requests: vec![Request::default(); 256],
            next: 0,
            current: None,
            last_answer: now,
            silent: true,
            both_since: None,
            unanswered: 0,
            unanswered_since: now,
            sent_total: 0,
            answered_total: 0,
            both_total: 0,
        }
    }

    /// Returns the number for the next request, which is sent now, and what sending it shows.
    pub(super) fn send(&mut self, now: Timestamp) -> (u8, Option<Sighting>) {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.sent_total += 1;
        if self.unanswered == 0 {
            self.unanswered_since = now;
        }
        self.unanswered += 1;
        if let Some(request) = self.requests.get_mut(usize::from(number)) {
            *request = Request {
                sent: now,
                ..Request::default()
            };
        }
        let silent = !self.silent && now.since(self.unanswered_since) > SILENT_AFTER;
        if silent {
            self.silent = true;
            self.both_since = None;
        }
        (number, silent.then_some(Sighting::Silent))
    }

    /// An answer was received.
    pub(super) fn answer(&mut self, number: u8, mac: MacAddr, at: Timestamp) -> Option<Sighting> {
        let request = self.requests.get_mut(usize::from(number))?;
        match request.answered {
            None => {
                request.answered = Some(mac);
                self.answered_total += 1;
                let sighting = self.first_answer(number, mac, at);
                self.last_answer = at;
                self.unanswered = 0;
                self.silent = false;
                sighting
            }
            Some(first) if first != mac => {
                request.by_another = true;
                self.both_total += 1;
                self.last_answer = at;
                let news = self.both_since.is_none();
                self.both_since.get_or_insert(at);
                news.then_some(Sighting::Both { macs: [first, mac] })
            }
            Some(_) => None,
        }
    }

    fn first_answer(&mut self, number: u8, mac: MacAddr, at: Timestamp) -> Option<Sighting> {
        if let Some(since) = self.both_since {
            // While two hosts answer, this may be the first of two answers. The request before is
            // the last one whose answers have all arrived.
            let before = self.requests.get(usize::from(number.wrapping_sub(1)))?;
            let (one, only) = (before.answered?, !before.by_another && before.sent >= since);
            if !only {
                return None;
            }
            self.both_since = None;
            self.current = Some(one);
            return Some(Sighting::One {
                mac: one,
                both_us: micros(at.since(since)),
            });
        }
        let previous = self.current.replace(mac);
        let silent_us = micros(at.since(self.last_answer));
        let unanswered = self.unanswered.saturating_sub(1);
        (self.silent || previous != Some(mac)).then_some(Sighting::Answers {
            mac,
            previous,
            silent_us,
            unanswered,
        })
    }

    /// The figures so far.
    pub(super) fn summary(&self) -> Sighting {
        Sighting::Summary {
            requests: self.sent_total,
            answered: self.answered_total,
            by_two: self.both_total,
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    /// One request per ms; `answer` returns which host answers the n-th.
    fn play(count: u64, answer: impl Fn(u64) -> Vec<MacAddr>) -> (Vec<Sighting>, Answers) {
        let mut answers = Answers::new(Timestamp::ZERO);
        let mut seen = Vec::new();
        for n in 0..count {
            let at = Timestamp::from_micros(n * 1000);
            let (number, sighting) = answers.send(at);
            seen.extend(sighting);
            for mac in answer(n) {
                seen.extend(answers.answer(number, mac, at + Duration::from_micros(100)));
            }
        }
        (seen, answers)
    }

    #[test]
    fn a_takeover_after_silence_is_measured() {
        let (seen, answers) = play(600, |n| match n {
            0..100 => vec![A],
            100..400 => vec![],
            _ => vec![B],
        });
        let first = Sighting::Answers {
            mac: A,
            previous: None,
            silent_us: 100,
            unanswered: 0,
        };
        let second = Sighting::Answers {
            mac: B,
            previous: Some(A),
            silent_us: 301_000,
            unanswered: 300,
        };
        assert_eq!(seen, [first, Sighting::Silent, second]);
        assert_eq!(
            answers.summary(),
            Sighting::Summary {
                requests: 600,
                answered: 300,
                by_two: 0
            }
        );
    }

    #[test]
    fn two_that_answer_are_seen_from_first_to_last() {
        let (seen, _) = play(300, |n| match n {
            0..100 => vec![A],
            100..150 => vec![A, B],
            150..160 => vec![B, A],
            _ => vec![B],
        });
        let [_, Sighting::Both { macs }, Sighting::One { mac, both_us }] = seen.as_slice() else {
            panic!("{seen:?}")
        };
        assert_eq!((*macs, *mac), ([A, B], B));
        assert!((60_000..=62_000).contains(both_us), "{both_us}");
    }

    #[test]
    fn a_prober_that_was_held_up_does_not_take_that_for_silence() {
        let mut answers = Answers::new(Timestamp::ZERO);
        let mut seen = Vec::new();
        for at_ms in [0, 1, 2, 200, 201, 900] {
            let at = Timestamp::from_micros(at_ms * 1000);
            let (number, sighting) = answers.send(at);
            seen.extend(sighting);
            seen.extend(answers.answer(number, A, at));
        }
        assert_eq!(seen.len(), 1, "{seen:?}");
    }

    #[test]
    fn a_switch_without_a_gap_is_one_event() {
        let (seen, _) = play(20, |n| vec![if n < 10 { A } else { B }]);
        let switch = Sighting::Answers {
            mac: B,
            previous: Some(A),
            silent_us: 1000,
            unanswered: 0,
        };
        assert_eq!(seen.get(1..), Some([switch].as_slice()));
    }
}
