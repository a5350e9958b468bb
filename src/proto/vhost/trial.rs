//! What is different about an advertisement whose digest is refused, found by trial.
//!
//! The digest says nothing but yes or no. But most mistakes are small: one address is missing, or
//! only one family is configured. So the digests of lists that differ from ours by such a mistake
//! are tried, with our password. The work is bounded, and the caller limits how often it is done.

use std::net::IpAddr;

use super::super::auth::Authenticator;
use super::super::settings::LinkLocal;
use super::super::wire::Advertisement;
use super::Vhost;
use crate::types::Family;

/// At most this many lists are tried. Each costs two digests over a list of addresses.
const TRIALS_MAX: usize = 64;

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
            Self::Empty => f.write_str("its list of addresses is empty"),
        }
    }
}

impl Vhost {
    /// How the sender's list of addresses differs from ours, if it has our password and the
    /// difference is one of those that are tried.
    #[must_use]
    pub fn difference(&self, ad: &Advertisement, from: IpAddr) -> Option<Difference> {
        let ours: Vec<IpAddr> = self.settings.addresses.iter().map(|a| a.ip).collect();
        let all = || ours.iter().copied();
        let signed = |list: &[IpAddr]| {
            Authenticator::new(
                &self.settings.key,
                self.settings.vhid,
                list,
                self.settings.openbsd_lladdr,
                LinkLocal::Include,
            )
            .verify(ad.counter, &ad.digest)
        };
        let families = [Family::V4, Family::V6].map(Difference::OnlyFamily);
        families
            .into_iter()
            .chain([Difference::AlsoItsOwn(from)])
            .chain(all().map(Difference::Lacks))
            .chain(all().map(Difference::Only))
            .chain([Difference::Empty])
            .take(TRIALS_MAX)
            .find(|difference| {
                let list: Vec<IpAddr> = match *difference {
                    Difference::OnlyFamily(family) => {
                        all().filter(|ip| Family::of(*ip) == family).collect()
                    }
                    Difference::Lacks(missing) => all().filter(|ip| *ip != missing).collect(),
                    Difference::Only(address) => vec![address],
                    Difference::AlsoItsOwn(address) => all().chain([address]).collect(),
                    Difference::Empty => Vec::new(),
                };
                // An empty list is what is left of several others.
                (list.is_empty() == (*difference == Difference::Empty)) && signed(&list)
            })
    }

    /// The advertisement whose digest was refused last.
    #[must_use]
    pub const fn refused(&self) -> Option<&Advertisement> {
        self.refused.as_ref()
    }
}
