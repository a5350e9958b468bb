//! What we send: counters, advertisements and bow-outs, and what failing to send does to us.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::super::auth::Authenticator;
use super::super::settings::{Ipv6Checksum, Settings};
use super::super::wire::Advertisement;
use super::io::{Kind, Transmit};
use crate::types::{AdvBase, AdvSkew, Demotion, Family};

/// So many failed sends in a row demote us, and so many good ones undo it (PROTOCOL.md, section 7).
const IN_A_ROW: u8 = 3;

/// How many of our own counters we remember, to know our packets when a loop in the network brings them back.
const REMEMBERED: usize = 16;

/// The counter of our advertisements (PROTOCOL.md, section 3): starts anywhere, grows by one, follows what the group's
/// master counts, is never 0 and never just what a peer sent (OpenBSD takes that for a replay).
#[derive(Debug, Clone)]
pub(super) struct Counter {
    last: u64,
    received: Option<u64>,
    sent: VecDeque<u64>,
}

impl Counter {
    /// `seed` is spread over all bits, so that small seeds do for tests.
    pub(super) fn new(seed: u64) -> Self {
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self { last: mixed ^ (mixed >> 31), received: None, sent: VecDeque::with_capacity(REMEMBERED) }
    }

    /// Takes over what a peer counted.
    pub(super) const fn adopt(&mut self, received: u64) {
        self.last = received;
        self.received = Some(received);
    }

    /// The next unused one, marked as used.
    pub(super) fn take(&mut self) -> u64 {
        self.last = self.after(self.last);
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(self.last);
        self.last
    }

    fn after(&self, counter: u64) -> u64 {
        let mut next = counter.wrapping_add(1);
        while next == 0 || Some(next) == self.received {
            next = next.wrapping_add(1);
        }
        next
    }

    /// Was it one of our last ones?
    pub(super) fn is_ours(&self, counter: u64) -> bool {
        self.sent.contains(&counter)
    }
}

/// Whether sending works, in one family.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SendHealth {
    failed: u8,
    good: u8,
    demoted: bool,
}

impl SendHealth {
    /// Notes one result; true if it has just become bad.
    pub(super) const fn note(&mut self, ok: bool) -> bool {
        if ok {
            self.failed = 0;
            self.good = self.good.saturating_add(1);
            if self.good >= IN_A_ROW {
                self.demoted = false;
            }
            return false;
        }
        self.good = 0;
        self.failed = self.failed.saturating_add(1);
        let turned = self.failed >= IN_A_ROW && !self.demoted;
        self.demoted |= turned;
        turned
    }

    pub(super) const fn demotion(self) -> Demotion {
        if self.demoted { Demotion::MAX } else { Demotion::NONE }
    }
}

/// Builds one packet.
pub(super) fn build(
    settings: &Settings,
    auth: &Authenticator,
    source6: Option<IpAddr>,
    (family, kind, counter): (Family, Kind, u64),
    (advbase, advskew, demote): (AdvBase, AdvSkew, u8),
) -> Transmit {
    let ad = Advertisement { vhid: settings.vhid.get(), advbase, advskew, demote, counter, digest: auth.sign(counter) };
    let payload = match (family, settings.ipv6_checksum, source6) {
        (Family::V6, Ipv6Checksum::PseudoHeader, Some(IpAddr::V6(src))) => {
            ad.encode_with_pseudo_header(src, settings.ipv6_destination)
        }
        _ => ad.encode(),
    };
    Transmit { family, kind, payload }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_skips_zero_and_what_was_received() {
        let mut counter = Counter::new(1);
        let first = counter.take();
        assert_eq!(counter.take(), first + 1);
        counter.adopt(u64::MAX);
        assert_eq!(counter.take(), 1);
        counter.adopt(41);
        assert_eq!(counter.take(), 42);
        counter.received = Some(43);
        assert_eq!(counter.take(), 44);
        assert!(counter.is_ours(44) && counter.is_ours(first) && !counter.is_ours(43));
    }

    #[test]
    fn seeds_give_far_apart_starts() {
        let starts: Vec<u64> = (0..4).map(|seed| Counter::new(seed).take()).collect();
        assert!(starts.windows(2).all(|pair| pair[0].abs_diff(pair[1]) > 1 << 32));
    }

    #[test]
    fn three_failures_demote_and_three_good_ones_undo_it() {
        let mut health = SendHealth::default();
        assert!(!health.note(false) && !health.note(false) && !health.note(true));
        assert!(!health.note(false) && !health.note(false) && health.note(false));
        assert!(!health.note(false), "said once");
        assert_eq!(health.demotion(), Demotion::MAX);
        assert!(!health.note(true) && !health.note(true));
        assert_eq!(health.demotion(), Demotion::MAX);
        health.note(true);
        assert_eq!(health.demotion(), Demotion::NONE);
    }
}
