//! The table at the heart of CARP: how a virtual host reacts to one valid advertisement
//! (docs/protocol.md, section 6).
//!
//! ```text
//!            a better or equal master          a worse master
//! Backup     listen                            listen; with preempt, claim
//!            (one that leaves, or would be silent too long: claim)
//! Master     yield (equal: by the tie-break)   stay
//! ```
//! "Better" is a lower (advbase, advskew). Demotion counts into advskew; among OpenBSD peers it
//! outranks both.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::settings::{Peers, Preempt, TieBreak};
use super::timer;
use super::wire::{Advertisement, known};
use crate::types::{AdvBase, AdvSkew, Family, MacAddr, State};

/// What the table knows about us.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// Our interval, whole seconds.
    pub advbase: AdvBase,
    /// Our interval, 1/256 s, including demotion where it counts towards it.
    pub advskew: AdvSkew,
    /// Our demotion. Used only with [`Peers::OpenBsd`].
    pub demote: u8,
    /// How many intervals a master may be silent.
    pub dead_ratio: u32,
    /// Our source address in the family that decides ties.
    pub source: Option<IpAddr>,
    /// That family.
    pub tie_family: Family,
    /// The hardware address of our interface: it decides between two nodes without an address.
    pub mac: Option<MacAddr>,
}

/// What the table knows about the sender.
#[derive(Debug, Clone, Copy)]
pub struct Theirs {
    /// Its interval, whole seconds.
    pub advbase: AdvBase,
    /// Its interval, 1/256 s.
    pub advskew: AdvSkew,
    /// Byte 4. Used only with [`Peers::OpenBsd`].
    pub demote: u8,
    /// The source address of the packet.
    pub source: IpAddr,
    /// The source hardware address of its frame, if known.
    pub mac: Option<MacAddr>,
}

impl Theirs {
    /// From an advertisement, the source address of its packet and the hardware address of its
    /// frame.
    #[must_use]
    pub const fn new(ad: &Advertisement, source: IpAddr, mac: Option<MacAddr>) -> Self {
        Self {
            advbase: ad.advbase,
            advskew: ad.advskew,
            demote: ad.demote,
            source,
            mac,
        }
    }
}

/// The rules of the group.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether a backup may preempt a worse master.
    pub preempt: Preempt,
    /// Whose rules apply.
    pub peers: Peers,
    /// Which of two equal masters stays master.
    pub tie_break: TieBreak,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// In state init: nothing.
    Ignore,
    /// Backup: the master is alive; restart the master-down timer.
    Listen,
    /// Backup: become master.
    Claim(Claim),
    /// Master: become backup.
    Yield(Yield),
    /// Master: stay master. The sender will yield to our next advertisement.
    Stay,
    /// Master: the other family's packet decides the tie; stay master and send nothing.
    Undecided,
}

/// Why a backup becomes master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The master is leaving, or will be silent for longer than we wait.
    Leaving,
    /// It is worse than us, and we may preempt.
    Preempt,
    /// It says that it is less fit than us.
    PeerDemoted,
}

/// Why a master becomes backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Yield {
    /// To a better one.
    Better,
    /// To an equal one, by the tie-break.
    Tie,
}

/// Decides. A pure, total function without a wildcard arm.
#[must_use]
pub fn decide(state: State, own: &Own, theirs: &Theirs, rules: Rules) -> Verdict {
    match state {
        State::Init => Verdict::Ignore,
        State::Backup => as_backup(own, theirs, rules),
        State::Master => as_master(own, theirs, rules),
    }
}

fn as_backup(own: &Own, theirs: &Theirs, rules: Rules) -> Verdict {
    // First, because a leaving master must be followed even without `preempt`.
    if would_be_silent_too_long(own, theirs, rules.peers) {
        return Verdict::Claim(Claim::Leaving);
    }
    let better = priority(own.advbase, own.advskew) < priority(theirs.advbase, theirs.advskew);
    let may_preempt = rules.preempt == Preempt::On && better;
    match (rules.peers, theirs.demote.cmp(&own.demote)) {
        (Peers::OpenBsd, Ordering::Greater) => Verdict::Claim(Claim::PeerDemoted),
        (Peers::Bsd, _) | (Peers::OpenBsd, Ordering::Equal) if may_preempt => {
            Verdict::Claim(Claim::Preempt)
        }
        (Peers::Bsd, _) | (Peers::OpenBsd, Ordering::Equal | Ordering::Less) => Verdict::Listen,
    }
}

fn as_master(own: &Own, theirs: &Theirs, rules: Rules) -> Verdict {
    match compare(own, theirs, rules.peers) {
        Ordering::Less => Verdict::Stay,
        Ordering::Greater => Verdict::Yield(Yield::Better),
        Ordering::Equal => break_tie(own, theirs, rules.tie_break),
    }
}

/// Whether neither is better.
#[must_use]
pub fn is_tie(own: &Own, theirs: &Theirs, peers: Peers) -> bool {
    compare(own, theirs, peers) == Ordering::Equal
}

/// Greater: we are the worse one.
fn compare(own: &Own, theirs: &Theirs, peers: Peers) -> Ordering {
    let demote = match peers {
        Peers::Bsd => Ordering::Equal,
        Peers::OpenBsd => own.demote.cmp(&theirs.demote),
    };
    let ours = priority(own.advbase, own.advskew);
    demote.then(ours.cmp(&priority(theirs.advbase, theirs.advskew)))
}

fn break_tie(own: &Own, theirs: &Theirs, rule: TieBreak) -> Verdict {
    if Family::of(theirs.source) != own.tie_family {
        return if rule == TieBreak::Yield {
            Verdict::Yield(Yield::Tie)
        } else {
            Verdict::Undecided
        };
    }
    let order = match (own.source.and_then(known), known(theirs.source)) {
        // Under every rule, a node without an address loses.
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (None, None) => by_hardware(own.mac, theirs.mac),
        (Some(ours), Some(theirs)) => match rule {
            TieBreak::Yield => Ordering::Greater,
            TieBreak::Address => key_numeric(ours).cmp(&key_numeric(theirs)),
            TieBreak::Ucarp => key_raw(ours).cmp(&key_raw(theirs)),
        },
    };
    match order {
        Ordering::Less => Verdict::Stay,
        Ordering::Equal | Ordering::Greater => Verdict::Yield(Yield::Tie),
    }
}

/// If neither hardware address is known, both yield and race again.
fn by_hardware(own: Option<MacAddr>, theirs: Option<MacAddr>) -> Ordering {
    match (own, theirs) {
        (Some(own), Some(theirs)) => own.cmp(&theirs),
        (None, _) | (_, None) => Ordering::Greater,
    }
}

fn key_numeric(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// `s_addr` as an integer on a little-endian machine (docs/protocol.md, section 13.3).
fn key_raw(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from_le_bytes(v4.octets())),
        IpAddr::V6(v6) => u128::from_le_bytes(v6.octets()),
    }
}

/// Lower is better.
const fn priority(base: AdvBase, skew: AdvSkew) -> (u8, u8) {
    (base.0, skew.0)
}

/// Whether our master-down time would pass before its next advertisement. For a bow-out that is
/// true on every node, including one with an advbase of 86 or more, which the BSDs' arithmetic
/// overlooks.
fn would_be_silent_too_long(own: &Own, theirs: &Theirs, peers: Peers) -> bool {
    // OpenBSD with advbase 0 does not check this at all.
    if peers == Peers::OpenBsd && own.advbase.0 == 0 {
        return false;
    }
    if (theirs.advbase, theirs.advskew) == Advertisement::BOW_OUT {
        return true;
    }
    // On all BSDs, including OpenBSD, the ratio multiplies only advbase here.
    timer::interval(theirs.advbase, theirs.advskew)
        > timer::master_down(own.advbase, own.advskew, own.dead_ratio, Peers::Bsd)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn own(skew: u8) -> Own {
        let source = Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)));
        Own {
            advbase: AdvBase(1),
            advskew: AdvSkew(skew),
            demote: 0,
            dead_ratio: 3,
            source,
            tie_family: Family::V4,
            mac: Some(MacAddr([2, 0, 0, 0, 0, 5])),
        }
    }

    fn theirs(base: u8, skew: u8, source: &str) -> Theirs {
        Theirs {
            advbase: AdvBase(base),
            advskew: AdvSkew(skew),
            demote: 0,
            source: source.parse().unwrap(),
            mac: None,
        }
    }

    const fn rules(tie_break: TieBreak) -> Rules {
        Rules {
            preempt: Preempt::Off,
            peers: Peers::Bsd,
            tie_break,
        }
    }

    fn tie(source: &str, rule: TieBreak) -> Verdict {
        decide(State::Master, &own(0), &theirs(1, 0, source), rules(rule))
    }

    #[test]
    fn the_lower_address_stays_master() {
        assert_eq!(
            tie("10.0.0.1", TieBreak::Address),
            Verdict::Yield(Yield::Tie)
        );
        assert_eq!(tie("10.0.0.3", TieBreak::Address), Verdict::Stay);
        assert_eq!(
            tie("10.0.0.2", TieBreak::Address),
            Verdict::Yield(Yield::Tie)
        );
        assert_eq!(tie("10.0.0.3", TieBreak::Yield), Verdict::Yield(Yield::Tie));
    }

    #[test]
    fn who_has_no_address_loses_the_tie() {
        assert_eq!(tie("0.0.0.0", TieBreak::Address), Verdict::Stay);
        let nameless = Own {
            source: None,
            ..own(0)
        };
        let verdict = decide(
            State::Master,
            &nameless,
            &theirs(1, 0, "10.0.0.9"),
            rules(TieBreak::Address),
        );
        assert_eq!(verdict, Verdict::Yield(Yield::Tie));
        for rule in [TieBreak::Address, TieBreak::Yield, TieBreak::Ucarp] {
            assert_eq!(tie("0.0.0.0", rule), Verdict::Stay, "{rule:?}");
            // Between two of the kind, the hardware decides as far as it is known.
            let against = |last: u8| {
                let peer = Theirs {
                    mac: Some(MacAddr([2, 0, 0, 0, 0, last])),
                    ..theirs(1, 0, "0.0.0.0")
                };
                decide(State::Master, &nameless, &peer, rules(rule))
            };
            assert_eq!(
                (against(4), against(6)),
                (Verdict::Yield(Yield::Tie), Verdict::Stay),
                "{rule:?}"
            );
            assert_eq!(against(5), Verdict::Yield(Yield::Tie), "{rule:?}");
            let unknown = decide(
                State::Master,
                &nameless,
                &theirs(1, 0, "0.0.0.0"),
                rules(rule),
            );
            assert_eq!(unknown, Verdict::Yield(Yield::Tie), "{rule:?}");
        }
    }

    #[test]
    fn ipv6_does_not_decide_a_tie_of_a_dual_stack_vhost() {
        assert_eq!(tie("fe80::1", TieBreak::Address), Verdict::Undecided);
        let better = decide(
            State::Master,
            &own(1),
            &theirs(1, 0, "fe80::1"),
            rules(TieBreak::Address),
        );
        assert_eq!(better, Verdict::Yield(Yield::Better));
    }

    #[test]
    fn ucarp_lets_the_last_octet_count_most() {
        // As measured: 10.99.1.1 beats 10.99.0.2.
        let ours = Own {
            source: Some("10.99.0.2".parse().unwrap()),
            ..own(0)
        };
        let peer = theirs(1, 0, "10.99.1.1");
        assert_eq!(
            decide(State::Master, &ours, &peer, rules(TieBreak::Ucarp)),
            Verdict::Yield(Yield::Tie)
        );
        assert_eq!(
            decide(State::Master, &ours, &peer, rules(TieBreak::Address)),
            Verdict::Stay
        );
    }

    #[test]
    fn a_bow_out_reaches_a_backup_with_a_long_advbase() {
        let slow = Own {
            advbase: AdvBase(100),
            ..own(0)
        };
        let verdict = decide(
            State::Backup,
            &slow,
            &theirs(255, 255, "10.0.0.1"),
            rules(TieBreak::Address),
        );
        assert_eq!(verdict, Verdict::Claim(Claim::Leaving));
    }

    #[test]
    fn dead_ratio_counts_into_would_be_silent_too_long() {
        let patient = Own {
            dead_ratio: 10,
            ..own(0)
        };
        let verdict = |own: &Own| {
            decide(
                State::Backup,
                own,
                &theirs(4, 0, "10.0.0.1"),
                rules(TieBreak::Address),
            )
        };
        assert_eq!(verdict(&patient), Verdict::Listen);
        assert_eq!(verdict(&own(0)), Verdict::Claim(Claim::Leaving));
    }

    #[test]
    fn init_ignores_everything() {
        let verdict = decide(
            State::Init,
            &own(0),
            &theirs(255, 255, "10.0.0.1"),
            rules(TieBreak::Address),
        );
        assert_eq!(verdict, Verdict::Ignore);
    }
}
