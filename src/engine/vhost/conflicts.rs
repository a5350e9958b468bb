//! Other hosts that claim a virtual host's addresses: what ARP and neighbour discovery show.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::types::{MacAddr, Timestamp};

/// How many claims are remembered for one virtual host. Hardware addresses are cheap to make up.
const MOST: usize = 16;
/// Claims that are older are forgotten: a few probes were not answered.
const FORGOTTEN: Duration = Duration::from_secs(150);
/// After a change of state, or of the master, announcements of the one before are on their way, and
/// others have not heard yet.
const GRACE: Duration = Duration::from_secs(3);
/// How long two hosts must both claim an address before a backup says so: one may just have become
/// master.
const BOTH: Duration = Duration::from_secs(5);
/// The least time between two defences of an address (RFC 5227, `DEFEND_INTERVAL`).
const DEFENCE: Duration = Duration::from_secs(10);

/// One host's claims of one address.
#[derive(Debug, Clone, Copy)]
struct Claim {
    first: Timestamp,
    last: Timestamp,
    count: u64,
    told: bool,
}

/// A conflict, for status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Conflict {
    pub(in crate::engine) address: IpAddr,
    pub(in crate::engine) mac: MacAddr,
    pub(in crate::engine) last: Timestamp,
    pub(in crate::engine) count: u64,
}

/// What is known of a virtual host's addresses in the hands of others.
#[derive(Debug, Default)]
pub(in crate::engine) struct Conflicts {
    claims: BTreeMap<(IpAddr, MacAddr), Claim>,
    /// Before this nothing counts.
    grace: Timestamp,
    /// Who advertised last, over IPv4 and over IPv6.
    leader: [Option<IpAddr>; 2],
    /// When the next probe is due.
    pub(in crate::engine) probe: Option<Timestamp>,
    /// Which address it begins with.
    pub(in crate::engine) next: usize,
    /// The master answers with the virtual hardware address, so no claim from another is its own.
    masters_are_virtual: bool,
    /// When an address was defended last.
    defended: Option<Timestamp>,
}

impl Conflicts {
    /// The state or the master is another: who claims the addresses is to be seen anew.
    pub(in crate::engine) fn begin_anew(&mut self, now: Timestamp) {
        self.claims.clear();
        self.masters_are_virtual = false;
        self.grace = now + GRACE;
    }

    /// The virtual hardware address claims an address, which only a master's does.
    pub(in crate::engine) const fn masters_are_virtual(&mut self) {
        self.masters_are_virtual = true;
    }

    /// Whether that was so since the last change.
    pub(in crate::engine) const fn are_masters_virtual(&self) -> bool {
        self.masters_are_virtual
    }

    /// This node advertised last.
    pub(in crate::engine) fn led_by(&mut self, node: IpAddr, now: Timestamp) {
        let [v4, v6] = &mut self.leader;
        let before = if node.is_ipv4() { v4 } else { v6 }.replace(node);
        if before.is_some_and(|before| before != node) {
            self.begin_anew(now);
        }
    }

    /// Another host claims an address. True if that is the first sign of a conflict. `alone`: no
    /// other host should, since we are master; otherwise one may.
    pub(in crate::engine) fn note(
        &mut self,
        address: IpAddr,
        mac: MacAddr,
        alone: bool,
        now: Timestamp,
    ) -> bool {
        if now < self.grace {
            return false;
        }
        self.forget(now);
        let key = (address, mac);
        if !self.claims.contains_key(&key) && self.claims.len() == MOST {
            return false;
        }
        let claim = self.claims.entry(key).or_insert(Claim {
            first: now,
            last: now,
            count: 0,
            told: false,
        });
        claim.last = now;
        claim.count += 1;
        if !alone && !self.is_claimed_by_several(address) {
            return false;
        }
        let Some(claim) = self.claims.get_mut(&key) else {
            return false;
        };
        !std::mem::replace(&mut claim.told, true)
    }

    fn forget(&mut self, now: Timestamp) {
        self.claims
            .retain(|_, claim| now.since(claim.last) < FORGOTTEN);
    }

    /// Whether several hosts have claimed it for a while, each more than once.
    fn is_claimed_by_several(&self, address: IpAddr) -> bool {
        let lasting = |claim: &Claim| claim.count > 1 && claim.last.since(claim.first) >= BOTH;
        let of = self.claims.iter().filter(|((ip, _), _)| *ip == address);
        of.filter(|(_, claim)| lasting(claim)).count() > 1
    }

    /// Whether an address may be defended now; then it is.
    pub(in crate::engine) fn defend(&mut self, now: Timestamp) -> bool {
        let may = self.defended.is_none_or(|last| now.since(last) >= DEFENCE);
        if may {
            self.defended = Some(now);
        }
        may
    }

    /// Those that were told and go on.
    pub(in crate::engine) fn present(&self, now: Timestamp) -> Vec<Conflict> {
        self.claims
            .iter()
            .filter(|(_, claim)| claim.told && now.since(claim.last) < FORGOTTEN)
            .map(|((address, mac), claim)| Conflict {
                address: *address,
                mac: *mac,
                last: claim.last,
                count: claim.count,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 22));
    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(1000 + seconds)
    }

    #[test]
    fn a_master_believes_the_first_claim_after_the_grace_and_says_so_once() {
        let mut it = Conflicts::default();
        it.begin_anew(at(0));
        assert!(!it.note(IP, A, true, at(2)), "the former master's");
        assert!(it.note(IP, A, true, at(4)));
        assert!(!it.note(IP, A, true, at(5)));
        let present = it.present(at(6));
        assert_eq!(present.len(), 1);
        assert_eq!((present[0].mac, present[0].count), (A, 2));
        assert!(it.present(at(200)).is_empty(), "it has ended");
    }

    #[test]
    fn a_backup_needs_two_that_go_on() {
        let mut it = Conflicts::default();
        it.begin_anew(at(0));
        for seconds in [10, 40, 70] {
            assert!(!it.note(IP, A, false, at(seconds)), "the master's");
        }
        assert!(!it.note(IP, B, false, at(71)));
        assert!(it.note(IP, B, false, at(80)), "both");
        assert_eq!(it.present(at(80)).len(), 1);
        assert!(it.note(IP, A, false, at(81)), "and the other one");
    }

    #[test]
    fn another_master_is_no_conflict() {
        let mut it = Conflicts::default();
        it.led_by(IP, at(0));
        for seconds in [10, 40, 70] {
            assert!(!it.note(IP, A, false, at(seconds)));
        }
        it.led_by(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 23)), at(71));
        for seconds in [75, 105, 135] {
            assert!(!it.note(IP, B, false, at(seconds)));
        }
    }

    #[test]
    fn made_up_hardware_addresses_cost_nothing() {
        let mut it = Conflicts::default();
        for n in 0..=u8::MAX {
            it.note(IP, MacAddr([2, 0, 0, 0, 0, n]), true, at(10));
        }
        assert_eq!(it.present(at(10)).len(), MOST);
    }

    #[test]
    fn an_address_is_defended_every_ten_seconds_at_most() {
        let mut it = Conflicts::default();
        let defended = (0..60).filter(|seconds| it.defend(at(*seconds))).count();
        assert_eq!(defended, 6);
    }
}
