//! Reports refused packets: enough to find a wrong password, but too little for a flood to fill the
//! log.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::engine::report::RefusalStatus;
use crate::engine::report::millis;
use crate::proto::Reject;
use crate::types::Timestamp;

/// What goes on is told again after this long.
const TELL_AGAIN: Duration = Duration::from_mins(1);

/// Decides when to report something that happens repeatedly.
#[derive(Debug, Default)]
pub(in crate::engine) struct LogPace {
    told: Option<Timestamp>,
    since: u64,
}

impl LogPace {
    /// Records one occurrence. If it is time to report it, returns the number since the last
    /// report.
    pub(in crate::engine) fn note(&mut self, now: Timestamp) -> Option<u64> {
        self.since += 1;
        if self.told.is_some_and(|told| now.since(told) < TELL_AGAIN) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

/// The refusals of one virtual host, by kind. There are few kinds, so this stays small whatever is
/// sent.
#[derive(Debug, Default)]
pub(in crate::engine) struct RejectLog(BTreeMap<&'static str, Kind>);

/// What was refused for one reason.
#[derive(Debug)]
struct Kind {
    reject: Reject,
    telling: LogPace,
    count: u64,
    /// Since the state changed last.
    lately: u64,
    /// The last one.
    from: IpAddr,
    at: Timestamp,
    /// What a closer look at one of this sender found.
    found: Option<(IpAddr, String)>,
}

impl Kind {
    fn cause(&self) -> &str {
        match &self.found {
            Some((from, found)) if *from == self.from => found,
            _ => self.reject.likely_cause(),
        }
    }

    fn in_words(&self, count: u64) -> String {
        in_words(self.reject, count, self.from, self.cause())
    }
}

impl RejectLog {
    /// Records one. If it is time to report it, returns the number since the last report.
    pub(in crate::engine) fn note(
        &mut self,
        reject: Reject,
        from: IpAddr,
        now: Timestamp,
    ) -> Option<u64> {
        if reject.is_silent() {
            return None;
        }
        let new = || Kind {
            reject,
            telling: LogPace::default(),
            count: 0,
            lately: 0,
            from,
            at: now,
            found: None,
        };
        let kind = self.0.entry(reject.as_str()).or_insert_with(new);
        (kind.reject, kind.from, kind.at) = (reject, from, now);
        kind.count += 1;
        kind.lately += 1;
        kind.telling.note(now)
    }

    /// Records what a closer look at one of this sender found; nothing if that cannot be told.
    pub(in crate::engine) fn looked(
        &mut self,
        reject: Reject,
        from: IpAddr,
        found: Option<String>,
    ) {
        if let Some(kind) = self.0.get_mut(reject.as_str()) {
            kind.found = found.map(|found| (from, found));
        }
    }

    /// What the last one of this kind probably means.
    pub(in crate::engine) fn cause(&self, reject: Reject) -> &str {
        let kind = self.0.get(reject.as_str());
        kind.map_or_else(|| reject.likely_cause(), Kind::cause)
    }

    /// What the last one of this kind and their number mean.
    pub(in crate::engine) fn told(&self, reject: Reject, count: u64) -> Option<String> {
        self.0.get(reject.as_str()).map(|kind| kind.in_words(count))
    }

    /// The state changed. Returns a text about what was refused since the last state change, but
    /// nothing older than this.
    pub(in crate::engine) fn changed(&mut self, now: Timestamp, oldest: Duration) -> Vec<String> {
        let mut told = Vec::new();
        for kind in self.0.values_mut() {
            let count = std::mem::take(&mut kind.lately);
            if count > 0 && now.since(kind.at) <= oldest {
                told.push(kind.in_words(count));
            }
        }
        told
    }

    /// For operators.
    pub(in crate::engine) fn status(&self, now: Timestamp) -> Vec<RefusalStatus> {
        let status = |kind: &Kind| RefusalStatus {
            reason: kind.reject.as_str().to_owned(),
            count: kind.count,
            from: kind.from.to_string(),
            ago_ms: millis(now.since(kind.at)),
            cause: kind.cause().to_owned(),
        };
        self.0.values().map(status).collect()
    }
}

/// So many were refused, and what that probably means.
fn in_words(reject: Reject, count: u64, from: IpAddr, cause: &str) -> String {
    let advertisements = if count == 1 {
        "1 advertisement".to_owned()
    } else {
        format!("{count} advertisements")
    };
    format!(
        "refused {advertisements} of {from} ({}): {cause}",
        reject.as_str(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn the_first_of_a_kind_is_told_and_then_one_a_minute() {
        let mut refusals = RejectLog::default();
        let mut note = |reject, second| refusals.note(reject, PEER, at(second));
        assert_eq!(note(Reject::Digest, 5), Some(1));
        assert_eq!(note(Reject::Ttl(3), 5), Some(1));
        for second in 6..65 {
            assert_eq!(note(Reject::Digest, second), None);
        }
        assert_eq!(note(Reject::Digest, 65), Some(60));
        assert_eq!(note(Reject::Ttl(9), 66), Some(1));
        assert_eq!(note(Reject::Own, 70), None);
    }

    #[test]
    fn what_a_closer_look_found_is_said_of_this_sender_only() {
        let other = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 8));
        let mut refusals = RejectLog::default();
        let cause = |refusals: &RejectLog| refusals.status(at(9))[0].cause.clone();
        refusals.note(Reject::Digest, PEER, at(5));
        refusals.looked(Reject::Digest, PEER, Some("it lacks one".into()));
        assert_eq!(cause(&refusals), "it lacks one");
        refusals.note(Reject::Digest, other, at(5));
        assert_eq!(cause(&refusals), Reject::Digest.likely_cause());
        refusals.note(Reject::Digest, PEER, at(6));
        assert_eq!(cause(&refusals), "it lacks one");
        refusals.looked(Reject::Digest, PEER, None);
        assert_eq!(cause(&refusals), Reject::Digest.likely_cause());
    }

    #[test]
    fn a_change_of_state_hears_of_what_was_refused_before_it() {
        let mut refusals = RejectLog::default();
        for second in 5..8 {
            refusals.note(Reject::Digest, PEER, at(second));
        }
        refusals.note(Reject::Ttl(3), PEER, at(1));
        let told = refusals.changed(at(8), Duration::from_secs(3));
        assert_eq!(
            told,
            [
                "refused 3 advertisements of 10.0.0.9 (digest): another password, or another list of addresses"
            ]
        );
        assert!(refusals.changed(at(9), Duration::from_secs(3)).is_empty());
        let status = refusals.status(at(10));
        assert_eq!(
            (status.len(), status[0].count, status[0].ago_ms),
            (2, 3, 3000)
        );
    }
}
