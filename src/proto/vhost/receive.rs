//! Receiving: from a packet to a verdict, and from the verdict to a state.

use std::net::IpAddr;

use super::super::decide::{Claim, Own, Rules, Theirs, Verdict, Yield, decide, is_tie};
use super::super::settings::{Gate, TieBreak};
use super::super::stats::Reject;
use super::super::transition::Cause;
use super::super::wire::{Advertisement, LEN, Received, RollCall, is_intact, known, vrrp_or};
use super::io::{Heard, Kind, Output};
use super::{Asked, Leader, Phase, Reluctance, Vhost};
use crate::types::{Demotion, Family, MacAddr, Timestamp, Vhid};

impl Vhost {
    pub(super) fn receive(&mut self, packet: &Received<'_>, now: Timestamp) {
        if let Some(said) = RollCall::decode(packet.payload) {
            return self.hear_word(&said, packet, now);
        }
        match self.check(packet) {
            Ok(ad) => self.accept(&ad, packet.src, packet.mac, now),
            Err(why) => {
                self.stats.reject(why);
                self.outbox.push_back(Output::Rejected(why, packet.src));
            }
        }
    }

    /// Checks every reason to refuse a packet, in the BSDs' order (docs/protocol.md, section 5),
    /// the most expensive check last.
    fn check(&mut self, packet: &Received<'_>) -> Result<Advertisement, Reject> {
        let delivery = &self.settings.delivery;
        delivery.admits(packet.src, packet.dst, packet.ttl)?;
        let ad = Advertisement::decode(packet.payload)?;
        if ad.vhid != self.settings.vhid.get() {
            return Err(Reject::Vhid(ad.vhid));
        }
        let bytes = packet.payload.first_chunk::<LEN>().ok_or(Reject::Short)?;
        if !is_intact(bytes, packet.src, packet.dst) {
            return Err(vrrp_or(Reject::Checksum, packet.payload));
        }
        let family = Family::of(packet.src);
        if !self.settings.uses(family) {
            return Err(Reject::Family);
        }
        if matches!(self.phase, Phase::Init) {
            return Err(Reject::NotRunning);
        }
        let own = self.source.of(family).and_then(known);
        let from_us = own.map_or(
            self.hardware.is_some() && packet.mac == self.hardware,
            |own| own == packet.src,
        );
        if from_us && self.counter.is_ours(ad.counter) {
            return Err(Reject::Own);
        }
        if self.signature_of(ad.counter, &ad.digest).is_none() {
            return Err(vrrp_or(Reject::Digest, packet.payload));
        }
        Ok(ad)
    }

    /// Whether an advertisement of another vhid is signed with our password and our addresses.
    #[must_use]
    pub fn would_sign(&self, ad: &Advertisement) -> bool {
        let Ok(vhid) = Vhid::new(ad.vhid.into()) else {
            return false;
        };
        Self::authenticator(&self.settings, vhid).verify(ad.counter, &ad.digest)
    }

    fn accept(&mut self, ad: &Advertisement, from: IpAddr, mac: Option<MacAddr>, now: Timestamp) {
        self.counter.adopt(ad.counter);
        self.stats.received += 1;
        self.stats.bow_outs_received += u64::from(ad.is_bow_out());
        let (advbase, advskew, demote, counter) = (ad.advbase, ad.advskew, ad.demote, ad.counter);
        self.heard = Some(Heard {
            from,
            at: now,
            advbase,
            advskew,
            demote,
            counter,
        });

        let family = Family::of(from);
        if !ad.is_bow_out() {
            self.contradiction.advertised(from, now);
            self.membership.served();
        }
        let (own, theirs, rules) = (self.as_own(), Theirs::new(ad, from, mac), self.rules());
        let verdict = decide(self.state(), &own, &theirs, rules);
        let settled_together =
            self.settings.claims.is_together() && is_tie(&own, &theirs, rules.peers);
        match verdict {
            Verdict::Yield(Yield::Tie) if settled_together => {
                self.tied(true, self.leader_in(ad, from, now));
            }
            Verdict::Stay if settled_together => {
                self.tied(false, self.leader_in(ad, from, now));
                self.claimed(from);
            }
            Verdict::Ignore | Verdict::Undecided => {}
            Verdict::Listen => {
                self.worse_since = None;
                self.listen_on(family, now);
                self.follows(ad, from, now);
                self.membership.forbid();
                // The master is better after all: the question whether we may preempt is withdrawn.
                self.asked = self.asked.take().map(|asked| Asked {
                    still: false,
                    ..asked
                });
            }
            // While a better master is heard, a worse one need not be preempted, nor a leaving one
            // followed.
            Verdict::Claim(_) if self.another_leads(from, now) => {}
            // We recently could not hold all the addresses: a node that leaves now may have the
            // same problem.
            Verdict::Claim(Claim::Leaving) if now < self.uninvited_before => {}
            Verdict::Claim(Claim::Leaving) if !self.contradiction.is_believed(from, now) => {
                self.stats.reject(Reject::Contradicted);
                self.outbox
                    .push_back(Output::Rejected(Reject::Contradicted, from));
            }
            Verdict::Claim(Claim::Leaving) if self.reluctance != Reluctance::None => {
                let tag = if ad.is_bow_out() { self.tag_of(ad) } else { 0 };
                self.follow_reluctantly(from, tag, now);
            }
            Verdict::Claim(Claim::Leaving) if self.settings.claims.is_together() => {
                let tag = if ad.is_bow_out() { self.tag_of(ad) } else { 0 };
                self.get_ready(Cause::MasterLeaving, Some(from), tag, now);
            }
            Verdict::Claim(Claim::Leaving) => self.take_over(Cause::MasterLeaving, Some(from), now),
            Verdict::Claim(Claim::Preempt) if self.is_patient_with(ad, now) => {
                self.membership.hears_worse();
                self.listen_on(family, now);
            }
            Verdict::Claim(Claim::Preempt) => self.preempt(Cause::Preempt, from, now),
            Verdict::Claim(Claim::PeerDemoted) => self.preempt(Cause::PeerDemoted, from, now),
            Verdict::Yield(Yield::Better) => {
                self.follows(ad, from, now);
                self.yield_to(Cause::BetterMaster, from, now);
            }
            Verdict::Yield(Yield::Tie) => {
                self.follows(ad, from, now);
                self.yield_to(Cause::Tie, from, now);
            }
            // Who leaves claims nothing.
            Verdict::Stay if ad.is_bow_out() => {}
            Verdict::Stay => self.claimed(from),
        }
    }

    /// Another node claims to be the master, and will yield to us.
    fn claimed(&mut self, peer: IpAddr) {
        self.stats.peer_claims += 1;
        self.outbox.push_back(Output::PeerClaim { peer });
    }

    /// This node is the master.
    fn follows(&mut self, ad: &Advertisement, from: IpAddr, at: Timestamp) {
        *self.leader.of_mut(Family::of(from)) = Some(self.leader_in(ad, from, at));
    }

    fn leader_in(&self, ad: &Advertisement, from: IpAddr, at: Timestamp) -> Leader {
        let tag = self.tag_of(ad);
        Leader { from, at, tag }
    }

    /// The mark of the sender's group in an advertisement; 0 if it has none.
    fn tag_of(&self, ad: &Advertisement) -> u8 {
        if self.settings.sends_demotion() {
            0
        } else {
            ad.demote
        }
    }

    fn preempt(&mut self, cause: Cause, peer: IpAddr, now: Timestamp) {
        self.membership.hears_worse();
        self.listen_on(Family::of(peer), now);
        if let Some(asked) = &mut self.asked {
            *asked = Asked {
                still: true,
                cause,
                peer,
            };
        } else if now < self.no_preempt_before || self.reluctance != Reluctance::None {
        } else if self.settings.claims.is_together() {
            self.get_ready(cause, Some(peer), 0, now);
        } else if self.settings.gate == Gate::Free {
            self.take_over(cause, Some(peer), now);
        } else {
            self.asked = Some(Asked {
                still: true,
                cause: cause.clone(),
                peer,
            });
            self.outbox.push_back(Output::WantMaster { cause, peer });
        }
    }

    /// Whether a worse master may stay for now. Not one that is demoted as far as possible.
    fn is_patient_with(&mut self, ad: &Advertisement, now: Timestamp) -> bool {
        let since = *self.worse_since.get_or_insert(now);
        ad.advskew.0 < Demotion::MAX.get() && now - since < self.settings.preempt_delay
    }

    /// Whether a node other than `from` has recently shown that it is the master. If so, it does
    /// not matter what `from` claims, or that it leaves.
    fn another_leads(&self, from: IpAddr, now: Timestamp) -> bool {
        let leader = self.leader.of(Family::of(from));
        leader.is_some_and(|leader| leader.from != from && now - leader.at < self.master_down())
    }

    pub(super) fn yield_to(&mut self, cause: Cause, peer: IpAddr, now: Timestamp) {
        self.become_backup(cause, Some(peer), now);
        if self.settings.tie_break == TieBreak::Ucarp {
            // docs/protocol.md, section 13.3: the better master answers it by announcing the
            // addresses again.
            self.transmit(Kind::Advertisement);
        }
    }

    fn listen_on(&mut self, family: Family, now: Timestamp) {
        let patience = self.patience();
        if let Phase::Backup(silence) = &mut self.phase {
            silence.heard(family, now, patience);
        }
    }

    fn as_own(&self) -> Own {
        let tie_family = self.settings.tie_family();
        Own {
            advbase: self.settings.advbase,
            advskew: self.effective_advskew(),
            demote: self.demotion().get(),
            dead_ratio: self.settings.dead_ratio,
            source: *self.source.of(tie_family),
            tie_family,
            mac: self.hardware,
        }
    }

    const fn rules(&self) -> Rules {
        Rules {
            preempt: self.settings.preempt,
            peers: self.settings.peers,
            tie_break: self.settings.tie_break,
        }
    }
}
