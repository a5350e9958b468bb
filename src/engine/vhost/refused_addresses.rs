//! Addresses of a virtual host that the kernel refuses.

use std::net::IpAddr;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::engine::report::RefusedAddress;
use crate::engine::report::millis;
use crate::engine::vhost::escalation::{Escalation, Verdict};
use crate::engine::vhost::node::Node;
use crate::types::{Timestamp, VirtualAddress};

/// The least time for which other nodes are preferred after the first failure; doubled with each
/// failure, up to the following limit.
pub(in crate::engine) const FADE_FIRST: Duration = Duration::from_secs(10);

pub(in crate::engine) const FADE_LONGEST: Duration = Duration::from_mins(10);

/// Addresses that the kernel refuses here.
#[derive(Debug)]
pub(in crate::engine) struct RefusedAddresses {
    /// What the kernel said last.
    pub(in crate::engine) reason: String,
    /// The addresses that a master does not hold, with the kernel's errors.
    pub(in crate::engine) refused: Vec<(VirtualAddress, String)>,
    /// A master tries again then.
    pub(in crate::engine) retry_at: Option<Timestamp>,
    /// Another node is no longer preferred then; not while it is master.
    pub(in crate::engine) fades_at: Option<Timestamp>,
    pub(in crate::engine) unfit: bool,
    pub(in crate::engine) fades: Backoff,
    pub(in crate::engine) relief: Escalation,
}

impl RefusedAddresses {
    pub(in crate::engine) fn new(reason: String) -> Self {
        Self {
            reason,
            refused: Vec::new(),
            retry_at: None,
            fades_at: None,
            unfit: true,
            fades: Backoff::new(FADE_FIRST, FADE_LONGEST),
            relief: Escalation::default(),
        }
    }

    /// Shall others be preferred?
    pub(in crate::engine) const fn is_unfit(&self) -> bool {
        self.unfit
    }

    /// What to do about another failure of a master since `master`; the first of all is for
    /// [`Self::new`].
    pub(in crate::engine) fn again(&mut self, master: Timestamp, pushed_aside: bool) -> Verdict {
        self.unfit = true;
        self.fades_at = None;
        self.relief.again(master, pushed_aside)
    }

    /// Its mastership ends: from now on the demotion fades, after at least `least`.
    pub(in crate::engine) fn leaves(&mut self, now: Timestamp, least: Duration) {
        self.retry_at = None;
        self.refused.clear();
        self.relief.leaves(now);
        if self.unfit {
            self.fades_at = Some(now + self.fades.pause().max(least));
        }
    }

    /// The demotion has faded. The history is kept: another failure counts as such.
    pub(in crate::engine) fn fade(&mut self) {
        self.fades_at = None;
        self.unfit = false;
    }

    /// For operators.
    pub(in crate::engine) fn status(&self, now: Timestamp) -> Vec<RefusedAddress> {
        let retry_in_ms = self
            .retry_at
            .map(|at| millis(at.since(now)))
            .unwrap_or_default();
        let refused = |(address, reason): &(VirtualAddress, String)| RefusedAddress {
            address: *address,
            reason: reason.clone(),
            retry_in_ms,
        };
        self.refused.iter().map(refused).collect()
    }

    /// A master goes without this address.
    pub(in crate::engine) fn misses(&self, ip: IpAddr) -> bool {
        self.refused.iter().any(|(address, _)| address.ip == ip)
    }
}

/// For the log.
pub(in crate::engine) fn in_words(refused: &[(VirtualAddress, String)]) -> String {
    refused
        .iter()
        .map(|(address, reason)| format!("{address}: {reason}"))
        .collect::<Vec<_>>()
        .join("; ")
}

impl<H> Node<H> {
    /// The addresses of its own that it holds as master, or would.
    pub(in crate::engine) fn holdable(&self) -> impl Iterator<Item = VirtualAddress> + '_ {
        let missed = |address: &VirtualAddress| {
            self.refused_addresses
                .as_ref()
                .is_some_and(|refused_addresses| refused_addresses.misses(address.ip))
        };
        self.spec
            .addresses
            .iter()
            .copied()
            .filter(move |address| !missed(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn the_demotion_fades_each_time_later_and_never_before_three_master_down_times() {
        let mut refused_addresses = RefusedAddresses::new(String::new());
        let mut fades = Vec::new();
        for _ in 0..9 {
            refused_addresses.leaves(at(0), Duration::from_secs(15));
            fades.push(refused_addresses.fades_at.unwrap().since(at(0)).as_secs());
        }
        assert_eq!(fades, [15, 20, 40, 80, 160, 320, 600, 600, 600]);
        refused_addresses.fade();
        assert!(!refused_addresses.is_unfit());
        assert_eq!(refused_addresses.again(at(601), true), Verdict::Resign);
        assert!(
            refused_addresses.is_unfit(),
            "and comes back with the next failure"
        );
    }
}
