//! The order of IPv4 addresses on an interface: the host's own first, then the virtual ones.
//!
//! For a route that names no source, and a gateway in none of the interface's networks, the kernel
//! takes the interface's first address as the source of connections. Addresses are appended, so
//! that is a virtual one if the host's own came later, as with DHCP. IPv4 has nothing like the
//! deprecated addresses of IPv6.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use tracing::{info, warn};

use crate::engine::environment::Environment;
use crate::engine::state::Engine;
use crate::engine::vhost::id::{InterfaceId, VhostId};
use crate::host::{FoundAddress, Host as _, Renewal, clock};
use crate::types::{Family, Timestamp, VirtualAddress};

/// How long until a virtual host is asked again that could not send just now.
const AGAIN: Duration = Duration::from_secs(1);

/// How many are moved in one turn, which takes a few milliseconds; the others follow soon.
const AT_ONCE: usize = 64;
const SOON: Duration = Duration::from_millis(10);

/// The addresses before the host's own first one; none where it has none of its own.
fn before_own(there: &[FoundAddress], floating: &HashSet<IpAddr>) -> HashSet<IpAddr> {
    let ipv4 = || there.iter().filter(|found| found.address.ip.is_ipv4());
    // Before Linux 5.18 the virtual addresses of other processes have no mark. Two processes that
    // take each other's for the host's own would go on moving theirs behind them.
    let has_marks = ipv4().any(|found| found.ours && floating.contains(&found.address.ip));
    let is_own = |found: &FoundAddress| {
        let VirtualAddress { ip, prefix } = found.address;
        let link_local = matches!(ip, IpAddr::V4(v4) if v4.is_link_local());
        let may_be_virtual = !has_marks && prefix == Family::V4.host_prefix();
        !found.ours && !link_local && !may_be_virtual && !floating.contains(&ip)
    };
    if !ipv4().any(is_own) {
        return HashSet::new();
    }
    ipv4()
        .take_while(|found| !is_own(found))
        .map(|found| found.address.ip)
        .collect()
}

impl<E: Environment> Engine<E> {
    /// Moves the virtual addresses that we hold behind the host's own, in the kernel's order. They
    /// are there all the time.
    pub(super) fn put_own_first(
        &mut self,
        id: InterfaceId,
        there: &[FoundAddress],
        floating: &HashSet<IpAddr>,
    ) {
        let Some(interface) = self.interfaces.get(id) else {
            return;
        };
        let Some(link) = interface.index() else {
            return;
        };
        let (name, members) = (interface.name.clone(), interface.members.clone());
        let before = before_own(there, floating);
        if before.is_empty() {
            return;
        }
        let now = clock::now();
        let mut moves = Vec::new();
        for member in members {
            if moves.len() >= AT_ONCE {
                self.look_again = Some(now + SOON);
                break;
            }
            moves.extend(self.moves_of(member, &before, link, now));
        }
        if moves.is_empty() {
            return;
        }
        let refused = self.shared.executor.host().move_last(&moves);
        for (at, error) in &refused {
            let address = moves.get(*at).map(|moved| moved.address);
            warn!(interface = %name, address = address.map(tracing::field::display), %error, "Could not move an address behind the host's own");
            if let Some(address) = address {
                self.put_back(link, address.ip, 0);
            }
        }
        if refused.is_empty() {
            info!(interface = %name, addresses = moves.len(), "Moved virtual addresses behind the host's own, which connections come from again");
        }
    }

    /// Those of a virtual host, with the lifetimes that they have left.
    fn moves_of(
        &mut self,
        member: VhostId,
        before: &HashSet<IpAddr>,
        link: u32,
        now: Timestamp,
    ) -> Vec<Renewal> {
        let Some(node) = self.nodes.get(member).filter(|node| node.holding) else {
            return Vec::new();
        };
        let held = node.holdable().filter(|held| before.contains(&held.ip));
        let held: Vec<_> = held.collect();
        if held.is_empty() || node.expired(now).is_some() {
            return Vec::new();
        }
        let Some(lifetimes) = self.lease_now(member, now) else {
            self.look_again.get_or_insert(now + AGAIN);
            return Vec::new();
        };
        let renewal = |address| Renewal {
            address,
            link,
            lifetimes,
        };
        held.into_iter().map(renewal).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of 10.0.0.0/24 are virtual, and ours.
    fn before(there: &[&str], has_marks: bool) -> Vec<String> {
        let is_ours = |text: &str| text.starts_with("10.0.0.");
        let found = |text: &&str| FoundAddress {
            address: text.parse().unwrap(),
            ours: has_marks && is_ours(text),
        };
        let there: Vec<_> = there.iter().map(found).collect();
        let ips = there.iter().map(|found| found.address.ip);
        let floating = ips.filter(|ip| is_ours(&ip.to_string())).collect();
        let mut before: Vec<_> = before_own(&there, &floating)
            .iter()
            .map(ToString::to_string)
            .collect();
        before.sort();
        before
    }

    #[test]
    fn without_marks_a_host_address_may_be_another_process_s() {
        let none: [&str; 0] = [];
        assert_eq!(before(&["10.0.0.1/32", "192.0.2.1/32"], false), none);
        assert_eq!(
            before(&["10.0.0.1/32", "192.0.2.1/24"], false),
            ["10.0.0.1"]
        );
        assert_eq!(before(&["10.0.0.1/32", "192.0.2.1/32"], true), ["10.0.0.1"]);
    }

    #[test]
    fn what_is_before_the_first_own_address_would_be_the_source() {
        let before = |there: &[&str]| before(there, true);
        let none: [&str; 0] = [];
        assert_eq!(before(&["192.0.2.1/24", "10.0.0.1/32"]), none);
        assert_eq!(before(&["10.0.0.1/32", "10.0.0.2/32"]), none, "no other");
        assert_eq!(
            before(&["10.0.0.1/32", "10.0.0.2/32", "192.0.2.1/24", "10.0.0.3/32"]),
            ["10.0.0.1", "10.0.0.2"]
        );
        let link_local = ["169.254.7.7/16", "10.0.0.1/32"];
        assert_eq!(before(&link_local), none);
        let late = ["169.254.7.7/16", "10.0.0.1/32", "192.0.2.1/24"];
        assert_eq!(before(&late), ["10.0.0.1", "169.254.7.7"]);
        assert_eq!(before(&["10.0.0.1/32", "2001:db8::1/64"]), none);
    }
}
