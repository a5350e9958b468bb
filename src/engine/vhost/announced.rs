//! The addresses that hosts on an interface have announced lately: one of them may be what the list
//! of a peer has besides ours.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

/// How many are remembered; the newest are.
const ANNOUNCED_MAX: usize = 32;

/// Without ours.
#[derive(Debug, Default)]
pub(in crate::engine) struct Announced(VecDeque<IpAddr>);

impl Announced {
    /// Somebody announces this one.
    pub(in crate::engine) fn note(&mut self, address: IpAddr) {
        if address.is_unspecified() {
            return;
        }
        self.0.retain(|known| *known != address);
        if self.0.len() == ANNOUNCED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(address);
    }

    /// All of them.
    pub(in crate::engine) fn addresses(&self) -> BTreeSet<IpAddr> {
        self.0.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let ip = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        let mut announced = Announced::default();
        for last in 0..=250 {
            announced.note(ip(last));
            announced.note(ip(7));
        }
        announced.note(Ipv4Addr::UNSPECIFIED.into());
        let all = announced.addresses();
        assert_eq!(all.len(), ANNOUNCED_MAX);
        assert!(all.contains(&ip(7)) && all.contains(&ip(220)) && !all.contains(&ip(219)));
    }
}
