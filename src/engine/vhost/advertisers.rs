//! The nodes that advertise: those of one virtual host, or those on an interface that belong to
//! none here.
//!
//! Also what is refused is in here, so that an operator sees who sends it. Anybody can make up
//! senders, so there are few places, and who was refused longest ago makes room first.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::implementation::{Traits, Wrapping};
use crate::engine::report::{
    AdvertiserStatus, EvictedStatus, Implementation, ProbableCause, SplitStatus, Standing,
    Suspicion, millis,
};
use crate::proto::auth::DIGEST_LEN;
use crate::proto::wire::{self, Advertisement, RollCall};
use crate::proto::{Received, Reject, timer};
use crate::types::{Family, IfName, MacAddr, Name, Timestamp};

/// How many are known of one virtual host, and on one interface of none.
const KNOWN_MAX: usize = 32;
/// How many digests of each are remembered.
const DIGESTS: usize = 8;
/// So many packets that were sent before, in this time, are no coincidence: two backups that take
/// over at the same time sign the same counter once.
const ECHOES: u8 = 3;
const ECHO_WINDOW: Duration = Duration::from_secs(10);
/// A replay is shown for this long: between its packets those of the real node arrive.
const SUSPECTED_FOR: Duration = Duration::from_mins(1);
/// A valid advertisement makes its sender yield to a better master, or us: one that does not after so
/// many does not hear us. Who is refused cannot yield.
const DEAF_AFTER: u8 = 4;
const REFUSED_AFTER: u8 = 2;
/// Another master is still there until it has been silent for so many intervals, at least this long.
const SILENT_INTERVALS: u32 = 3;
const SILENT_MIN: Duration = Duration::from_secs(3);
/// Between two closer looks at one, the longer the more there were: an address that it has may be
/// announced after its first advertisements.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const DOUBLED_MAX: u32 = 5;
/// What arrives this soon after another packet that is the next but one is the same node's, in
/// another family.
const TOGETHER: Duration = Duration::from_millis(100);

/// Who it is. A forger may have a node's address, so the hardware address counts, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Advertiser {
    pub(in crate::engine) address: IpAddr,
    pub(in crate::engine) mac: Option<MacAddr>,
    pub(in crate::engine) vhid: u8,
}

/// A packet that was heard.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Sighting {
    pub(in crate::engine) who: Advertiser,
    said: Said,
    wrapping: Wrapping,
    at: Timestamp,
}

/// What it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Carp(Advertisement),
    RollCall,
    Vrrp {
        version: u8,
        interval: Option<Duration>,
    },
    /// It is too short to tell.
    Unclear,
}

impl Sighting {
    /// `None` if it has no vhid.
    pub(in crate::engine) fn of(
        received: &Received<'_>,
        frame: &[u8],
        at: Timestamp,
    ) -> Option<Self> {
        let payload = received.payload;
        let &[first, vhid, ..] = payload else {
            return None;
        };
        let said = match Advertisement::decode(payload) {
            _ if RollCall::decode(payload).is_some() => Said::RollCall,
            _ if first >> 4 == 3 => Said::Vrrp {
                version: 3,
                interval: vrrp3_interval(payload),
            },
            _ if wire::looks_like_vrrp(payload) => Said::Vrrp {
                version: 2,
                interval: payload.get(5).map(|s| Duration::from_secs((*s).into())),
            },
            Ok(ad) => Said::Carp(ad),
            Err(_) => Said::Unclear,
        };
        Some(Self {
            who: Advertiser {
                address: received.src,
                mac: received.mac,
                vhid,
            },
            said,
            wrapping: Wrapping::of(frame),
            at,
        })
    }

    /// Its advertisement, if it is one of CARP.
    pub(in crate::engine) const fn advertisement(&self) -> Option<&Advertisement> {
        match &self.said {
            Said::Carp(ad) => Some(ad),
            Said::RollCall | Said::Vrrp { .. } | Said::Unclear => None,
        }
    }

    /// Whether it is a message between carpd nodes.
    pub(in crate::engine) const fn is_roll_call(&self) -> bool {
        matches!(self.said, Said::RollCall)
    }

    /// Whether it is VRRP.
    pub(in crate::engine) const fn is_vrrp(&self) -> bool {
        matches!(self.said, Said::Vrrp { .. })
    }

    /// When the sender says that it sends the next.
    fn interval(&self) -> Option<Duration> {
        match &self.said {
            Said::Carp(ad) if !ad.is_bow_out() => Some(timer::interval(ad.advbase, ad.advskew)),
            Said::Vrrp { interval, .. } => *interval,
            Said::Carp(_) | Said::RollCall | Said::Unclear => None,
        }
    }
}

/// RFC 5798, section 5.2.7: the lower twelve bits are hundredths of a second.
fn vrrp3_interval(payload: &[u8]) -> Option<Duration> {
    let bytes: [u8; 2] = payload.get(4..6)?.try_into().ok()?;
    let hundredths = u16::from_be_bytes(bytes) & 0xfff;
    Some(Duration::from_millis(u64::from(hundredths) * 10))
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Verdict {
    Accepted,
    Refused(Reject),
    Unrelated,
}

impl Verdict {
    /// Whether it is said of what a master of this virtual host sends. VRRP is another matter, and
    /// what is damaged or forged is no sign of a master.
    const fn is_of_a_master(self) -> bool {
        match self {
            Self::Accepted => true,
            Self::Refused(reject) => matches!(
                reject,
                Reject::Digest
                    | Reject::Ttl(_)
                    | Reject::Family
                    | Reject::SentToUs
                    | Reject::SentToGroup
                    | Reject::NotAPeer
            ),
            Self::Unrelated => false,
        }
    }

    const fn standing(self) -> Standing {
        match self {
            Self::Accepted => Standing::Accepted,
            Self::Refused(Reject::NotRunning) => Standing::Unchecked,
            Self::Refused(_) => Standing::Refused,
            Self::Unrelated => Standing::Unrelated,
        }
    }
}

/// Those that are known.
#[derive(Debug, Default)]
pub(in crate::engine) struct Advertisers {
    known: Vec<Known>,
    evicted: u64,
}

#[derive(Debug)]
struct Known {
    who: Advertiser,
    first: Timestamp,
    last: Timestamp,
    count: u64,
    refused: u64,
    verdict: Verdict,
    /// What a closer look at a refused one found; how many there were, and when the last began.
    found: Vec<ProbableCause>,
    looked: (u32, Timestamp),
    traits: Traits,
    /// Its last advertisement.
    ad: Option<Advertisement>,
    interval: Option<Duration>,
    jitter: Option<Duration>,
    /// What it has signed lately.
    digests: VecDeque<[u8; DIGEST_LEN]>,
    /// How many of its packets had been sent before, by itself or by others, since when.
    echoes: (u8, Timestamp),
    /// When it was last suspected to be sent again by somebody.
    replayed: Option<Timestamp>,
    /// How many it has sent in a row while we were master, and since when.
    rivalry: (u8, Timestamp),
}

impl Known {
    fn new(who: Advertiser, verdict: Verdict, at: Timestamp) -> Self {
        Self {
            who,
            first: at,
            last: at,
            count: 0,
            refused: 0,
            verdict,
            found: Vec::new(),
            looked: (0, at),
            traits: Traits::default(),
            ad: None,
            interval: None,
            jitter: None,
            digests: VecDeque::with_capacity(DIGESTS),
            echoes: (0, at),
            replayed: None,
            rivalry: (0, at),
        }
    }

    fn note(&mut self, sighting: &Sighting, verdict: Verdict, is_master: bool, is_echo: bool) {
        self.contend(sighting, verdict, is_master, is_echo);
        self.time(sighting);
        self.count += 1;
        self.refused += u64::from(verdict.standing() == Standing::Refused);
        if self.verdict != verdict {
            self.verdict = verdict;
            self.found.clear();
            self.looked = (0, sighting.at);
        }
        if matches!(
            verdict,
            Verdict::Refused(Reject::Contradicted | Reject::Own)
        ) {
            self.replayed = Some(sighting.at);
        }
        match &sighting.said {
            Said::Carp(_) if is_echo => self.echoed(sighting.at),
            Said::Carp(ad) => {
                self.ad = Some(*ad);
                if self.digests.len() == DIGESTS {
                    self.digests.pop_front();
                }
                self.digests.push_back(ad.digest);
                let Sighting { who, wrapping, .. } = sighting;
                self.traits.advertised(*wrapping, who.mac, ad.counter);
            }
            Said::Vrrp { version, .. } => self.traits.spoke_vrrp(*version),
            Said::RollCall | Said::Unclear => {}
        }
    }

    /// Counts what it sends as master while we are master.
    fn contend(&mut self, sighting: &Sighting, verdict: Verdict, is_master: bool, is_echo: bool) {
        let is_claim = sighting.advertisement().is_some_and(|ad| !ad.is_bow_out());
        if !is_master || !is_claim || !verdict.is_of_a_master() {
            self.rivalry = (0, sighting.at);
        } else if self.rivalry.0 == 0 || self.is_silent(sighting.at) {
            self.rivalry = (1, sighting.at);
        } else if !is_echo {
            self.rivalry.0 = self.rivalry.0.saturating_add(1);
        }
    }

    /// Whether it is master as we are, and goes on being so.
    fn is_rival(&self, now: Timestamp) -> bool {
        let enough = match self.verdict {
            Verdict::Accepted => DEAF_AFTER,
            Verdict::Refused(_) | Verdict::Unrelated => REFUSED_AFTER,
        };
        self.rivalry.0 >= enough && !self.is_silent(now)
    }

    fn is_silent(&self, now: Timestamp) -> bool {
        let interval = self.interval.unwrap_or_default();
        now.since(self.last) > (interval * SILENT_INTERVALS).max(SILENT_MIN)
    }

    fn echoed(&mut self, at: Timestamp) {
        let (count, since) = self.echoes;
        self.echoes = if at.since(since) < ECHO_WINDOW {
            (count.saturating_add(1), since)
        } else {
            (1, at)
        };
        if self.echoes.0 >= ECHOES {
            self.replayed = Some(at);
        }
    }

    /// Compares when it came with what its sender had promised. What is early was sent for another
    /// reason, and after a pause there was no promise.
    fn time(&mut self, sighting: &Sighting) {
        let took = sighting.at.since(self.last);
        self.last = sighting.at;
        let promised = std::mem::replace(&mut self.interval, sighting.interval());
        let promised = promised
            .filter(|promised| self.count > 0 && took >= *promised / 2 && took <= *promised * 2);
        let Some(promised) = promised else { return };
        let off = took.abs_diff(promised);
        self.jitter = Some(match self.jitter {
            None => off,
            // As RFC 3550 does it, section 6.4.1.
            Some(jitter) => (jitter * 15 + off) / 16,
        });
    }

    /// Whether it would not send this any more, because it has. OpenBSD always sends the same.
    fn is_past(&self, ad: &Advertisement) -> bool {
        let is_last = self.digests.back() == Some(&ad.digest);
        self.has_sent(ad) && (!is_last || self.traits.counts())
    }

    fn has_sent(&self, ad: &Advertisement) -> bool {
        self.digests.contains(&ad.digest)
    }

    fn causes(&self, now: Timestamp) -> Vec<ProbableCause> {
        let is_recent = |at| now.since(at) < SUSPECTED_FOR;
        if self.replayed.is_some_and(is_recent) {
            return vec![because(
                Suspicion::Replay,
                "somebody sends captured packets again, or the network has a loop",
            )];
        }
        match self.verdict {
            Verdict::Refused(_) if !self.found.is_empty() => self.found.clone(),
            Verdict::Refused(reject) => causes_of(reject),
            Verdict::Accepted | Verdict::Unrelated => Vec::new(),
        }
    }

    /// Whether both are one node, which sends in two families at the same time.
    fn is_together_with(&self, other: &Self) -> bool {
        let (Some(one), Some(two)) = (&self.ad, &other.ad) else {
            return false;
        };
        let is_near = self.last.max(other.last).since(self.last.min(other.last)) < TOGETHER;
        let is_next = one.counter.abs_diff(two.counter) <= 1;
        Family::of(self.who.address) != Family::of(other.who.address) && is_near && is_next
    }
}

fn because(cause: Suspicion, text: impl Into<String>) -> ProbableCause {
    let text = text.into();
    ProbableCause { cause, text }
}

/// What may be wrong if nothing more is known than why it was refused.
fn causes_of(reject: Reject) -> Vec<ProbableCause> {
    let cause = match reject {
        Reject::Digest => {
            return vec![
                because(Suspicion::OtherPassword, "it has another password"),
                because(
                    Suspicion::OtherAddresses,
                    "it has another list of addresses, by one that is not known here",
                ),
            ];
        }
        Reject::NotRunning | Reject::NotCarp => return Vec::new(),
        Reject::Ttl(_) => Suspicion::HopLimit,
        Reject::Version(_) | Reject::VrrpV2 => {
            return vec![because(
                Suspicion::Vrrp,
                "it speaks VRRP, and has our vhid as its virtual router id",
            )];
        }
        Reject::Family => Suspicion::OtherAddresses,
        Reject::SentToUs | Reject::SentToGroup | Reject::NotAPeer => Suspicion::Delivery,
        Reject::Short
        | Reject::Truncated
        | Reject::Fragment
        | Reject::IpChecksum
        | Reject::Checksum => Suspicion::Damaged,
        Reject::Own | Reject::Contradicted => Suspicion::Replay,
        Reject::Vhid(_) => Suspicion::OtherOwner,
    };
    vec![because(cause, reject.likely_cause())]
}

impl Advertisers {
    /// One was heard, while the virtual host was master here or not.
    pub(in crate::engine) fn note(
        &mut self,
        sighting: &Sighting,
        verdict: Verdict,
        is_master: bool,
    ) {
        let who = sighting.who;
        if sighting.said == Said::RollCall {
            if let Some(known) = self.find(who) {
                known.traits.called_roll();
            }
            return;
        }
        let is_echo = sighting
            .advertisement()
            .is_some_and(|ad| self.is_echo(who, ad));
        if self.find(who).is_none() {
            self.make_room();
            self.known.push(Known::new(who, verdict, sighting.at));
        }
        if let Some(known) = self.find(who) {
            known.note(sighting, verdict, is_master, is_echo);
        }
    }

    fn find(&mut self, who: Advertiser) -> Option<&mut Known> {
        self.known.iter_mut().find(|known| known.who == who)
    }

    /// Whether the packet was sent before: by another host, or earlier by the same one.
    fn is_echo(&self, who: Advertiser, ad: &Advertisement) -> bool {
        self.known.iter().any(|known| {
            if known.who == who {
                known.is_past(ad)
            } else {
                Family::of(known.who.address) == Family::of(who.address) && known.has_sent(ad)
            }
        })
    }

    /// Forgets one if there is no room for another. Those that were accepted have shown that they
    /// have the password, so they stay as long as there are others.
    fn make_room(&mut self) {
        if self.known.len() < KNOWN_MAX {
            return;
        }
        let value = |known: &Known| (known.verdict == Verdict::Accepted, known.last);
        let least = (0..self.known.len()).min_by_key(|at| self.known.get(*at).map(value));
        if let Some(least) = least {
            self.known.swap_remove(least);
            self.evicted += 1;
        }
    }

    /// Whether it is time for a closer look at this one. If so, it begins.
    pub(in crate::engine) fn begin_look(&mut self, who: Advertiser, now: Timestamp) -> bool {
        let Some(known) = self.find(who) else {
            return false;
        };
        let (looks, last) = known.looked;
        let pause = (FIRST_PAUSE * (1 << looks)).min(LONGEST_PAUSE);
        if looks > 0 && now.since(last) < pause {
            return false;
        }
        known.looked = ((looks + 1).min(DOUBLED_MAX), now);
        true
    }

    /// A closer look at this one found this; nothing if it cannot be told.
    pub(in crate::engine) fn found(&mut self, who: Advertiser, cause: Option<ProbableCause>) {
        if let Some(known) = self.find(who) {
            known.found = cause.into_iter().collect();
        }
    }

    /// While the virtual host is master here: a node that is master as well, because it does not
    /// hear us, or one of us refuses the other.
    pub(in crate::engine) fn rival(&self, now: Timestamp) -> Option<SplitStatus> {
        let mut rivals = self.known.iter().filter(|known| known.is_rival(now));
        let first = rivals.next()?;
        let longest = rivals.fold(first, |one, other| {
            if other.rivalry.1 < one.rivalry.1 {
                other
            } else {
                one
            }
        });
        Some(SplitStatus {
            address: longest.who.address,
            mac: longest.who.mac,
            for_ms: millis(now.since(longest.rivalry.1)),
            causes: match longest.verdict {
                Verdict::Accepted => Vec::new(),
                Verdict::Refused(_) | Verdict::Unrelated => longest.causes(now),
            },
        })
    }

    /// For operators: where they were heard, and for which virtual host.
    pub(in crate::engine) fn status<'a>(
        &'a self,
        vhost: Option<&'a Name>,
        interface: &'a IfName,
        netns: Option<&'a str>,
        now: Timestamp,
    ) -> impl Iterator<Item = AdvertiserStatus> + 'a {
        let ago = move |at: Timestamp| millis(now.since(at));
        self.known.iter().map(move |known| {
            let reason = match known.verdict {
                Verdict::Refused(reject) => Some(reject.as_str().to_owned()),
                Verdict::Accepted | Verdict::Unrelated => None,
            };
            AdvertiserStatus {
                vhost: vhost.cloned(),
                interface: interface.clone(),
                netns: netns.map(str::to_owned),
                vhid: known.who.vhid,
                address: known.who.address,
                mac: known.who.mac,
                implementation: self.implementation(known),
                interval_ms: known.interval.map(millis),
                jitter_us: known
                    .jitter
                    .map(|jitter| u64::try_from(jitter.as_micros()).unwrap_or(u64::MAX)),
                advbase: known.ad.map(|ad| ad.advbase.0),
                advskew: known.ad.map(|ad| ad.advskew.0),
                count: known.count,
                refused: known.refused,
                first_ago_ms: ago(known.first),
                heard_ago_ms: ago(known.last),
                standing: known.verdict.standing(),
                reason,
                causes: known.causes(now),
            }
        })
    }

    /// What one family does not tell, the other may.
    fn implementation(&self, known: &Known) -> Implementation {
        let own = known.traits.implementation();
        if own != Implementation::Unknown {
            return own;
        }
        let mut others = self.known.iter();
        let same = others.find(|other| other.is_together_with(known));
        same.map_or(own, |other| other.traits.implementation())
    }

    /// How many were forgotten.
    pub(in crate::engine) const fn evicted_count(&self) -> u64 {
        self.evicted
    }

    /// The same for operators, if there are any.
    pub(in crate::engine) fn evicted(
        &self,
        vhost: Option<&Name>,
        interface: &IfName,
    ) -> Option<EvictedStatus> {
        (self.evicted > 0).then(|| EvictedStatus {
            vhost: vhost.cloned(),
            interface: interface.clone(),
            count: self.evicted,
        })
    }
}

#[cfg(test)]
mod tests;
