//! Sending: counters, advertisements and bow-outs, and the consequences of failing to send.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::super::settings::Ipv6Checksum;
use super::super::wire::{Advertisement, known};
use super::io::{Kind, Output, Transmit};
use super::silence::PerFamily;
use super::{Phase, Signature, Vhost};
use crate::types::{Demotion, Family, Timestamp};

/// The advertisement after which addresses are announced once more, counted from the takeover's
/// own.
const ANNOUNCE_AGAIN_AT: u8 = 2;

/// This many failed sends in a row demote us, and this many successful ones end that
/// (docs/protocol.md, section 7).
const IN_A_ROW: u8 = 3;

/// The least time after the end of mastership until a demotion for failed sends fades.
const REST: Duration = Duration::from_secs(10);

/// How often that time can double.
const DOUBLINGS_MAX: u32 = 6;

/// How many of our own counters we remember, to recognise our packets when a network loop brings
/// them back.
const REMEMBERED: usize = 16;

/// The counter of our advertisements (docs/protocol.md, section 3): it starts anywhere, increases
/// by one, follows the counter of the group's master, is never 0, and never equals what a peer just
/// sent (OpenBSD takes that for a replay).
#[derive(Debug, Clone)]
pub(super) struct Counter {
    last: u64,
    received: Option<u64>,
    sent: VecDeque<u64>,
}

impl Counter {
    /// `seed` is spread over all bits, so that small seeds are good enough for tests.
    pub(super) fn new(seed: u64) -> Self {
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self {
            last: mixed ^ (mixed >> 31),
            received: None,
            sent: VecDeque::with_capacity(REMEMBERED),
        }
    }

    /// Adopts a peer's counter.
    pub(super) const fn adopt(&mut self, received: u64) {
        self.last = received;
        self.received = Some(received);
    }

    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// The counter after this many advertisements.
    pub(super) fn ahead(&self, by: u64) -> Self {
        Self {
            last: self.last.wrapping_add(by),
            ..self.clone()
        }
    }

    /// The next unused value, which is then marked as used.
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

    /// Whether we sent this value recently.
    pub(super) fn is_ours(&self, counter: u64) -> bool {
        self.sent.contains(&counter)
    }
}

/// Whether sending works, in one family.
///
/// Only a node that sends can prove that sending works, and a backup does not send. So a demotion
/// from failures as master fades with time. After that the node is on probation: at the next
/// failure it is demoted for twice as long.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SendHealth {
    failed: u8,
    good: u8,
    demoted: bool,
    /// When the demotion ends, now that mastership has ended.
    fades: Option<Timestamp>,
    /// The demotion faded, but nothing has yet proved that sending works.
    on_trial: bool,
    /// How often the time has been doubled.
    doublings: u32,
}

impl SendHealth {
    /// Records one result; true if sending has just been judged to be failing.
    pub(super) fn note(&mut self, ok: bool) -> bool {
        if ok {
            self.failed = 0;
            self.good = self.good.saturating_add(1);
            if self.good >= IN_A_ROW {
                *self = Self {
                    good: self.good,
                    ..Self::default()
                };
            }
            return false;
        }
        self.good = 0;
        self.failed = self.failed.saturating_add(1);
        let turned = !self.demoted && (self.on_trial || self.failed >= IN_A_ROW);
        if turned {
            self.doublings = if self.on_trial {
                (self.doublings + 1).min(DOUBLINGS_MAX)
            } else {
                0
            };
            (self.demoted, self.on_trial) = (true, false);
        }
        turned
    }

    pub(super) const fn demotion(self) -> Demotion {
        if self.demoted {
            Demotion::MAX
        } else {
            Demotion::NONE
        }
    }

    /// Mastership has ended: from now on the demotion fades, after at least this time.
    fn rest(&mut self, now: Timestamp, least: Duration) {
        if self.demoted && self.fades.is_none() {
            self.fades = Some(now + (REST * (1 << self.doublings)).max(least));
        }
    }

    /// Master again: what is sent now decides.
    const fn prove(&mut self) {
        self.fades = None;
    }

    fn fade(&mut self, now: Timestamp) {
        if self.fades.is_some_and(|at| at <= now) {
            *self = Self {
                on_trial: true,
                doublings: self.doublings,
                ..Self::default()
            };
        }
    }
}

impl Vhost {
    /// Sends the advertisement that was due at this time. The next one keeps the rhythm, unless its
    /// time has already passed.
    pub(super) fn advertise(&mut self, due: Timestamp, now: Timestamp) {
        self.transmit(Kind::Advertisement);
        let interval = self.interval();
        let Phase::Master(reign) = &mut self.phase else {
            return;
        };
        reign.last = now;
        reign.next = if due + interval > now {
            due + interval
        } else {
            now + interval
        };
        if reign.sent < ANNOUNCE_AGAIN_AT {
            reign.sent += 1;
            if reign.sent == ANNOUNCE_AGAIN_AT {
                self.contradiction.unsure();
                self.outbox.push_back(Output::AnnounceAgain);
            }
        }
    }

    /// Sends one packet in each form. Always in all families: a peer with a timer for each family
    /// would claim otherwise.
    pub(super) fn transmit(&mut self, kind: Kind) {
        for form in self.forms() {
            let counter = self.counter.take();
            let packet = self.packet(form, kind, counter);
            self.outbox.push_back(Output::Transmit(packet));
            match kind {
                Kind::Advertisement => self.stats.sent += 1,
                Kind::BowOut => self.stats.bow_outs_sent += 1,
                Kind::RollCall => {}
            }
        }
    }

    pub(super) fn packet(
        &self,
        (family, signature): (Family, Signature),
        kind: Kind,
        counter: u64,
    ) -> Transmit {
        let (advbase, advskew) = match kind {
            Kind::Advertisement | Kind::RollCall => {
                (self.settings.advbase, self.effective_advskew())
            }
            Kind::BowOut => Advertisement::BOW_OUT,
        };
        let demote = match kind {
            _ if self.settings.sends_demotion() => self.demotion().get(),
            Kind::BowOut if self.membership.leaves_alone() => 0,
            Kind::Advertisement | Kind::BowOut | Kind::RollCall => self.settings.tag(),
        };
        let digest = self.signer(signature).sign(counter);
        let ad = Advertisement {
            vhid: self.settings.vhid.get(),
            advbase,
            advskew,
            demote,
            counter,
            digest,
        };
        let payload = match (
            family,
            self.settings.ipv6_checksum,
            self.source.of(Family::V6),
        ) {
            (Family::V6, Ipv6Checksum::PseudoHeader, Some(IpAddr::V6(src))) => {
                ad.encode_with_pseudo_header(*src, self.settings.ipv6_destination)
            }
            _ => ad.encode(),
        };
        Transmit {
            family,
            kind,
            payload,
        }
    }

    pub(super) fn demote(&mut self, demotion: Demotion, now: Timestamp) {
        let before = self.demotion();
        self.demoted = demotion;
        if self.demotion() != before {
            self.advertise_at_once(now);
        }
    }

    /// A node is preferred if it has its own address, so a change is advertised at once.
    pub(super) fn own_address(&mut self, family: Family, address: Option<IpAddr>, now: Timestamp) {
        let before = self.effective_advskew();
        *self.source.of_mut(family) = address;
        *self.nameless.of_mut(family) = address.and_then(known).is_none();
        if self.effective_advskew() != before {
            self.advertise_at_once(now);
        }
    }

    pub(super) fn sent(&mut self, family: Family, ok: bool, now: Timestamp) {
        self.stats.send_failures += u64::from(!ok);
        if self.sending.of_mut(family).note(ok) {
            self.advertise_at_once(now);
            if !matches!(self.phase, Phase::Master(_)) {
                self.rest_sends(now);
            }
        }
    }

    /// The families in which sending failed so often that it demotes us, each with when that fades;
    /// not while we are master.
    pub fn send_demotions(&self) -> impl Iterator<Item = (Family, Option<Timestamp>)> + '_ {
        let of = |family: Family| (family, self.sending.of(family));
        Family::ALL
            .into_iter()
            .map(of)
            .filter(|(_, health)| health.demoted)
            .map(|(family, health)| (family, health.fades))
    }

    pub(super) fn rest_sends(&mut self, now: Timestamp) {
        let least = self.master_down() * 3;
        self.sending
            .each_mut()
            .into_iter()
            .for_each(|health| health.rest(now, least));
    }

    pub(super) fn prove_sends(&mut self) {
        self.sending
            .each_mut()
            .into_iter()
            .for_each(SendHealth::prove);
    }

    pub(super) fn fade_sends(&mut self, now: Timestamp) {
        self.sending
            .each_mut()
            .into_iter()
            .for_each(|health| health.fade(now));
    }

    /// When the next of them fades.
    pub(super) fn sends_fade(&self) -> Option<Timestamp> {
        Family::ALL
            .into_iter()
            .filter_map(|family| self.sending.of(family).fades)
            .min()
    }

    pub(super) fn forgive_sends(&mut self, now: Timestamp) {
        let before = self.demotion();
        self.sending = PerFamily::default();
        if self.demotion() != before {
            self.advertise_at_once(now);
        }
    }

    /// Advertises now, because something is measured from the last advertisement. The members of a
    /// group keep their rhythm: what they send at once arrives at once.
    pub(super) fn advertise_between(&mut self, now: Timestamp) {
        let Phase::Master(reign) = &self.phase else {
            return;
        };
        let next = reign.next;
        self.advertise(now, now);
        if let Phase::Master(reign) = &mut self.phase
            && self.settings.claims.is_together()
        {
            reign.next = next.max(now);
        }
    }

    /// Advertises now rather than at the next interval, so that a fitter node takes over at once.
    pub(super) fn advertise_at_once(&mut self, now: Timestamp) {
        if matches!(self.phase, Phase::Master(_)) {
            self.advertise(now, now);
        }
    }
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
        assert!(
            starts
                .windows(2)
                .all(|pair| pair[0].abs_diff(pair[1]) > 1 << 32)
        );
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

    #[test]
    fn what_nobody_proves_fades_and_the_next_failure_brings_it_back_for_longer() {
        let mut health = SendHealth::default();
        let mut now = Timestamp::ZERO + Duration::from_secs(1);
        let fails = |health: &mut SendHealth| {
            std::iter::from_fn(|| Some(health.note(false)))
                .take_while(|bad| !bad)
                .count()
                + 1
        };
        assert_eq!(fails(&mut health), 3);
        for seconds in [10, 20, 40, 80, 160, 320, 640, 640] {
            health.rest(now, Duration::ZERO);
            assert_eq!(health.fades, Some(now + Duration::from_secs(seconds)));
            now = now + Duration::from_secs(seconds - 1);
            health.fade(now);
            assert_eq!(health.demotion(), Demotion::MAX);
            now = now + Duration::from_secs(1);
            health.fade(now);
            assert_eq!((health.demotion(), health.fades), (Demotion::NONE, None));
            assert_eq!(fails(&mut health), 1, "on trial");
        }
        assert!((0..3).all(|_| !health.note(true)));
        assert_eq!(fails(&mut health), 3, "three good ones are a proof");
        health.rest(now, Duration::from_secs(60));
        assert_eq!(
            health.fades,
            Some(now + Duration::from_secs(60)),
            "three master-down times, if they are longer"
        );
    }
}
