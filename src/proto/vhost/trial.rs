//! What is different about an advertisement whose digest is refused, found by trial.
//!
//! The digest says nothing but yes or no. But most mistakes are small: one address is missing, or
//! only one family is configured. So the digests of lists that differ from ours by such a mistake
//! are tried, with our password. The work is bounded. It takes up to some milliseconds, so a
//! [`Trial`] has all that it needs, and can be run beside what must not wait for it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::super::auth::{Authenticator, Key};
use super::super::settings::LinkLocal;
use super::super::wire::Advertisement;
use super::Vhost;
use crate::types::{Family, MacAddr, Vhid};

/// At most this many lists are tried. Each costs a few digests over a list of addresses.
const TRIALS_MAX: usize = 256;
/// How many lists from before changes are remembered.
const EARLIER_MAX: usize = 4;

/// How the list of addresses of a peer that has our password differs from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// It has the addresses of this family only.
    OnlyFamily(Family),
    /// It lacks this address.
    Lacks(IpAddr),
    /// It has this address only.
    Only(IpAddr),
    /// It has one more: the peer's own address.
    AlsoItsOwn(IpAddr),
    /// It has one more, which we had once, or which somebody announces.
    Also(IpAddr),
    /// It has the second of these instead of the first.
    Instead(IpAddr, IpAddr),
    /// It is the list that we had before a change.
    Earlier,
    /// It has no addresses.
    Empty,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OnlyFamily(Family::V4) => f.write_str("its list has the IPv4 addresses only"),
            Self::OnlyFamily(Family::V6) => f.write_str("its list has the IPv6 addresses only"),
            Self::Lacks(address) => write!(f, "its list of addresses lacks {address}"),
            Self::Only(address) => write!(f, "its list of addresses has only {address}"),
            Self::AlsoItsOwn(address) => write!(
                f,
                "its list of addresses includes its own address, {address}"
            ),
            Self::Also(address) => write!(
                f,
                "its list of addresses includes {address}, which is not in the list here"
            ),
            Self::Instead(ours, theirs) => {
                write!(f, "its list of addresses has {theirs} instead of {ours}")
            }
            Self::Earlier => {
                f.write_str("its list of addresses is the one that was configured here before")
            }
            Self::Empty => f.write_str("its list of addresses is empty"),
        }
    }
}

/// What is needed to find out how the sender of an advertisement differs from us.
#[derive(Debug, Clone)]
pub struct Trial {
    key: Key,
    lladdr: Option<MacAddr>,
    vhid: Vhid,
    ours: Vec<IpAddr>,
    /// Addresses that it may have besides ours.
    others: Vec<IpAddr>,
    /// Whole lists that we once had.
    earlier: Vec<Vec<IpAddr>>,
    ad: Advertisement,
    from: IpAddr,
}

impl Trial {
    /// How the sender's list of addresses differs from ours, if it has our password and the
    /// difference is one of those that are tried.
    #[must_use]
    pub fn run(&self) -> Option<Difference> {
        let ours = || self.ours.iter().copied();
        let others = || self.others.iter().copied();
        let instead = others().flat_map(|other| {
            let same = move |ip: &IpAddr| Family::of(*ip) == Family::of(other);
            let replaced = ours().filter(same);
            replaced.map(move |our| Difference::Instead(our, other))
        });
        let families = [Family::V4, Family::V6].map(Difference::OnlyFamily);
        families
            .into_iter()
            .chain([Difference::AlsoItsOwn(self.from)])
            .chain(ours().map(Difference::Lacks))
            .chain(ours().map(Difference::Only))
            .chain([Difference::Empty, Difference::Earlier])
            .chain(others().map(Difference::Also))
            .chain(instead)
            .take(TRIALS_MAX)
            .find(|difference| self.is(*difference))
    }

    /// Whether a node with our password and our list would sign like that, had it the vhid of the
    /// advertisement.
    #[must_use]
    pub fn differs_by_vhid(&self) -> bool {
        let Ok(vhid) = Vhid::new(self.ad.vhid.into()) else {
            return false;
        };
        self.signs(vhid, &self.ours)
    }

    fn is(&self, difference: Difference) -> bool {
        let ours = || self.ours.iter().copied();
        let list: Vec<IpAddr> = match difference {
            Difference::OnlyFamily(family) => {
                ours().filter(|ip| Family::of(*ip) == family).collect()
            }
            Difference::Lacks(missing) => ours().filter(|ip| *ip != missing).collect(),
            Difference::Only(address) => vec![address],
            Difference::AlsoItsOwn(address) | Difference::Also(address) => {
                ours().chain([address]).collect()
            }
            Difference::Instead(our, other) => {
                let rest = ours().filter(|ip| *ip != our);
                rest.chain([other]).collect()
            }
            Difference::Earlier => {
                return self.earlier.iter().any(|list| self.signs(self.vhid, list));
            }
            Difference::Empty => Vec::new(),
        };
        // An empty list is what is left of several others.
        list.is_empty() == (difference == Difference::Empty) && self.signs(self.vhid, &list)
    }

    /// Whether a node with our password and this list signs like that.
    fn signs(&self, vhid: Vhid, list: &[IpAddr]) -> bool {
        Authenticator::new(&self.key, vhid, list, self.lladdr, LinkLocal::Include)
            .verify(self.ad.counter, &self.ad.digest)
    }
}

impl Vhost {
    /// What is needed to find out how the sender of an advertisement differs from us. `others` are
    /// addresses that it may have as well.
    #[must_use]
    pub fn trial(&self, ad: Advertisement, from: IpAddr, others: &BTreeSet<IpAddr>) -> Trial {
        let ours: Vec<IpAddr> = self.settings.addresses.iter().map(|a| a.ip).collect();
        let others = self.earlier.iter().flatten().chain(others);
        let others: BTreeSet<IpAddr> = others.filter(|ip| !ours.contains(ip)).copied().collect();
        Trial {
            key: self.settings.key.clone(),
            lladdr: self.settings.openbsd_lladdr,
            vhid: self.settings.vhid,
            ours,
            others: others.into_iter().collect(),
            earlier: self.earlier.clone(),
            ad,
            from,
        }
    }

    /// Remembers the list of addresses from before a change.
    pub(super) fn remember_addresses(&mut self, before: Vec<IpAddr>) {
        self.earlier.retain(|list| *list != before);
        self.earlier.truncate(EARLIER_MAX - 1);
        self.earlier.insert(0, before);
    }
}
