//! What is said about refused packets: enough to find a wrong password, too little for a flood to fill the log.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::proto::Reject;
use crate::types::Timestamp;

/// A kind of refusal that goes on is told again after this long.
const TELL_AGAIN: Duration = Duration::from_mins(1);

/// The refusals of one virtual host, by kind. There are few kinds, so this stays small whatever is sent.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<&'static str, Kind>);

#[derive(Debug)]
struct Kind {
    told: Timestamp,
    since: u64,
}

impl Refusals {
    /// Notes one. If it is time to tell the operator: how many there were since he was told.
    pub(super) fn note(&mut self, reject: Reject, now: Timestamp) -> Option<u64> {
        if reject.is_silent() {
            return None;
        }
        let Some(kind) = self.0.get_mut(reject.as_str()) else {
            self.0.insert(reject.as_str(), Kind { told: now, since: 0 });
            return Some(1);
        };
        kind.since += 1;
        if now.since(kind.told) < TELL_AGAIN {
            return None;
        }
        kind.told = now;
        Some(std::mem::take(&mut kind.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_is_told_and_then_one_a_minute() {
        let mut refusals = Refusals::default();
        let at = |seconds: u64| Timestamp::from_micros(seconds * 1_000_000);
        assert_eq!(refusals.note(Reject::Digest, at(5)), Some(1));
        assert_eq!(refusals.note(Reject::Ttl(3), at(5)), Some(1));
        for second in 6..65 {
            assert_eq!(refusals.note(Reject::Digest, at(second)), None);
        }
        assert_eq!(refusals.note(Reject::Digest, at(65)), Some(60));
        assert_eq!(refusals.note(Reject::Ttl(9), at(66)), Some(1));
        assert_eq!(refusals.note(Reject::Own, at(70)), None);
    }
}
