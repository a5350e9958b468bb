//! Routes to the networks of virtual addresses, which are held as host addresses.

use tracing::{info, warn};

use crate::config;
use crate::effect::{Effect, Granted, Resource, Route, RouteTarget, Value};
use crate::engine::effects::executor::{Executor, letting_go};
use crate::host::{FoundAddress, Host, HostError};
use crate::ledger::Owner;
use crate::types::{Family, IfName, VirtualAddress};

/// Any other route to the network is preferred, above all the kernel's own when the host gets an
/// address there.
pub(in crate::engine) const METRIC: u32 = u32::MAX;

/// The route to the network of an address. If the host has another address there, the kernel
/// chooses the source of connections: those from a virtual address would break when mastership
/// ends. In a VRF the route belongs into its `table`, as the kernel's own do.
pub(in crate::engine) fn way(
    address: VirtualAddress,
    dev: &IfName,
    table: Option<u32>,
    there: &[FoundAddress],
) -> Route {
    let alone = !there.iter().any(|other| is_source_beside(other, address));
    Route {
        dst: RouteTarget::network_of(address),
        via: None,
        dev: Some(dev.clone()),
        src: alone.then_some(address.ip),
        metric: Some(METRIC),
        table,
    }
}

/// Whether this address could be the source of connections instead.
pub(in crate::engine) fn is_source_beside(other: &FoundAddress, address: VirtualAddress) -> bool {
    let link_local =
        matches!(other.address.ip, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local());
    !other.ours
        && !link_local
        && other.address.ip != address.ip
        && other.address.family() == address.family()
}

/// Whether another address is on its network, in which case the kernel has made a route there.
pub(in crate::engine) fn is_connected(address: VirtualAddress, there: &[FoundAddress]) -> bool {
    let leads_there = |other: &VirtualAddress| {
        other.ip != address.ip && RouteTarget::network_of(*other).contains(address)
    };
    there.iter().any(|found| leads_there(&found.address))
}

pub(in crate::engine) const fn is_of_network(address: VirtualAddress) -> bool {
    match address.family() {
        Family::V4 => address.prefix < 32,
        Family::V6 => address.prefix < 128,
    }
}

impl<H: Host> Executor<H> {
    /// Adds a route to the network of an address that was added, unless there is one.
    ///
    /// # Errors
    /// The kernel's words.
    pub(in crate::engine) fn lead(
        &self,
        owner: &Owner,
        spec: &config::Vhost,
        address: VirtualAddress,
    ) -> Result<(), HostError> {
        // What is connected is so by the interface, also where a macvlan on it has the addresses.
        let interface = &spec.interface;
        if !is_of_network(address) || self.host().is_connected(address, interface)? {
            return Ok(());
        }
        let there = self.host().addresses_on(interface)?;
        let table = self.table_of(interface);
        self.lead_by(owner, way(address, &spec.device(), table, &there))
    }

    /// The routing table of the device's VRF, if it belongs to one.
    pub(in crate::engine) fn table_of(&self, dev: &IfName) -> Option<u32> {
        let link = self.host().find_link(dev);
        link.ok().flatten().and_then(|link| link.nature.table)
    }

    pub(in crate::engine) fn lead_by(&self, owner: &Owner, route: Route) -> Result<(), HostError> {
        let resource = Resource::route(&route);
        // A route in the ledger is ours to replace: another virtual host's, or one that an earlier
        // daemon left behind.
        let ours = self.ledger().holds(&resource);
        self.ledger_mut()
            .claim_own(owner, &resource, Value::Route(route.clone()));
        let effect = if ours {
            Effect::RouteReplace(route)
        } else {
            Effect::RouteAdd(route)
        };
        match self.host().perform_now(&Granted::by_daemon(effect)) {
            // Then something else decides how the network is reached, also after the address is
            // gone.
            Err(error) if error.is(libc::EEXIST) => {
                warn!(vhost = %owner.vhost, %resource, %error, "Left alone a route that someone else created");
                self.ledger_mut().settle(owner, &resource);
                Ok(())
            }
            added => added.map(drop),
        }
    }

    /// Other addresses came or went: adjusts the routes to the networks of those that a virtual
    /// host holds. `anew`: the kernel may have removed ours together with an address.
    pub(in crate::engine) fn fit_ways(
        &self,
        spec: &config::Vhost,
        addresses: &[VirtualAddress],
        there: &[FoundAddress],
        anew: bool,
    ) {
        let vhost = &spec.name;
        let owner = Owner {
            vhost: vhost.clone(),
            hook: None,
        };
        for address in addresses
            .iter()
            .copied()
            .filter(|address| is_of_network(*address))
        {
            if let Err(error) = self.fit_way(&owner, spec, address, there, anew) {
                warn!(%vhost, %address, %error, "Could not adjust the route to the network of an address");
            }
        }
    }

    pub(in crate::engine) fn fit_way(
        &self,
        owner: &Owner,
        spec: &config::Vhost,
        address: VirtualAddress,
        there: &[FoundAddress],
        anew: bool,
    ) -> Result<(), HostError> {
        let table = self.table_of(&spec.interface);
        let wanted = way(address, &spec.device(), table, there);
        let resource = Resource::route(&wanted);
        let claim = self.ledger().undo_of(owner, &resource);
        match (is_connected(address, there), claim) {
            (true, Some(claim)) => {
                if let Some(effect) = letting_go(&claim) {
                    self.host().perform_now(&Granted::by_daemon(effect))?;
                }
                self.ledger_mut().settle(owner, &resource);
                info!(vhost = %owner.vhost, %resource, "Removed a route: an address of the host's own leads there now");
                Ok(())
            }
            (true, None) => Ok(()),
            (false, Some(claim)) if !anew && claim.value == Value::Route(wanted.clone()) => Ok(()),
            (false, Some(_)) => self.lead_by(owner, wanted),
            (false, None) => self.lead(owner, spec, address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, ours: bool) -> FoundAddress {
        FoundAddress {
            address: text.parse().unwrap(),
            ours,
        }
    }

    #[test]
    fn connections_come_from_a_virtual_address_only_where_there_is_no_other() {
        let (dev, address) = ("eth0".parse().unwrap(), "192.168.32.22/24".parse().unwrap());
        let src =
            |there: &[FoundAddress]| way(address, &dev, None, there).src.map(|ip| ip.to_string());
        let virtual_ones = [
            found("192.168.32.22/32", true),
            found("10.9.0.22/32", true),
            found("fe80::1/64", false),
        ];
        assert_eq!(src(&virtual_ones).as_deref(), Some("192.168.32.22"));
        assert_eq!(src(&[virtual_ones[0], found("10.9.0.1/24", false)]), None);
        let six = "2001:db8::22/64".parse().unwrap();
        assert!(
            way(six, &dev, None, &virtual_ones).src.is_some(),
            "a link-local address is no source for others"
        );
        assert!(
            way(six, &dev, None, &[found("2001:db8:1::9/64", false)])
                .src
                .is_none()
        );
    }

    #[test]
    fn only_an_address_with_its_network_leads_there() {
        let address = "192.168.32.22/24".parse().unwrap();
        for (other, leads) in [
            ("192.168.32.23/32", false),
            ("192.168.32.22/24", false),
            ("192.168.32.10/24", true),
            ("10.0.0.1/8", false),
        ] {
            assert_eq!(
                is_connected(address, &[found(other, false)]),
                leads,
                "{other}"
            );
        }
    }
}
