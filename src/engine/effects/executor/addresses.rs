//! The virtual hosts' own addresses: held, renewed, announced, released.

use tracing::warn;

use super::Executor;
use super::macvlan::is_of_device;
use crate::config;
use crate::effect::{Effect, Granted, Resource, Value};
use crate::host::{Host, HostError, Lifetimes, Renewal};
use crate::ledger::{Of, Owner, Undo};
use crate::types::{IfName, Name, VirtualAddress};

impl<H: Host> Executor<H> {
    /// Adds the virtual host's own addresses. All or none.
    ///
    /// # Errors
    /// The kernel's error for the first address that failed; those before it are removed again.
    pub(in crate::engine) fn hold_addresses(
        &self,
        spec: &config::Vhost,
        addresses: &[VirtualAddress],
        lifetimes: Lifetimes,
    ) -> Result<(), HostError> {
        let all = || {
            self.raise_device(spec)?;
            let mut addresses = addresses.iter();
            addresses.try_for_each(|address| self.hold_address(spec, *address, lifetimes))
        };
        all().inspect_err(|_| _ = self.drop_addresses(&spec.name))
    }

    /// Adds those of the virtual host's own addresses that the host accepts, and returns the others
    /// with the errors. Nothing is left behind of those.
    pub(in crate::engine) fn hold_those_possible(
        &self,
        spec: &config::Vhost,
        addresses: &[VirtualAddress],
        lifetimes: Lifetimes,
    ) -> Vec<(VirtualAddress, HostError)> {
        if let Err(error) = self.raise_device(spec) {
            let all = addresses.iter();
            return all.map(|address| (*address, error.clone())).collect();
        }
        let refused = |address: &VirtualAddress| {
            Some((
                *address,
                self.hold_address(spec, *address, lifetimes).err()?,
            ))
        };
        let refused: Vec<_> = addresses.iter().filter_map(refused).collect();
        self.release_addresses(spec, refused.iter().map(|(address, _)| *address));
        refused
    }

    fn hold_address(
        &self,
        spec: &config::Vhost,
        address: VirtualAddress,
        lifetimes: Lifetimes,
    ) -> Result<(), HostError> {
        let dev = spec.device();
        let owner = self.claim_address(&spec.name, &dev, address);
        self.put_address(&dev, address, lifetimes)?;
        self.lead(&owner, spec, address)
    }

    /// Records in the ledger that the virtual host has this address, whether it is up yet or not.
    pub(in crate::engine) fn claim_address(
        &self,
        vhost: &Name,
        dev: &IfName,
        address: VirtualAddress,
    ) -> Owner {
        let owner = Owner {
            vhost: vhost.clone(),
            hook: None,
        };
        let resource = Resource::Address {
            dev: dev.clone(),
            ip: address.ip,
        };
        self.ledger
            .borrow_mut()
            .claim_own(&owner, &resource, Value::Address(address));
        owner
    }

    /// Adds one of the virtual host's own addresses (again) to its device.
    ///
    /// # Errors
    /// The kernel's words.
    pub(in crate::engine) fn put_address(
        &self,
        dev: &IfName,
        address: VirtualAddress,
        lifetimes: Lifetimes,
    ) -> Result<(), HostError> {
        self.host.lease(address, dev, lifetimes)
    }

    /// Renews the leases of addresses that are up. Call it only while they cannot have expired: a
    /// renewal after the end would bring the address back.
    pub(in crate::engine) fn renew(&self, of: &[(&Name, Renewal)]) {
        let renewals: Vec<Renewal> = of.iter().map(|(_, renewal)| *renewal).collect();
        let mut refused = self.host.renew(&renewals).into_iter().peekable();
        for (at, (vhost, renewal)) in of.iter().enumerate() {
            let error = refused.next_if(|(refused, _)| *refused == at);
            self.count().renewed(vhost, error.is_none());
            if let Some((_, error)) = error {
                warn!(%vhost, address = %renewal.address, %error, "Could not renew the lease of an address");
            }
        }
    }

    /// Removes some of the virtual host's own addresses.
    pub(in crate::engine) fn release_addresses(
        &self,
        spec: &config::Vhost,
        addresses: impl Iterator<Item = VirtualAddress>,
    ) {
        let dev = spec.device();
        for address in addresses {
            let owner = Owner {
                vhost: spec.name.clone(),
                hook: None,
            };
            let resource = Resource::Address {
                dev: dev.clone(),
                ip: address.ip,
            };
            // What cannot be removed stays in the ledger, and is undone with the rest.
            if self.remove_leftover(&dev, address) {
                self.ledger.borrow_mut().settle(&owner, &resource);
            }
        }
    }

    /// Removes an address that was up before we started. False if that failed.
    pub(in crate::engine) fn remove_leftover(&self, dev: &IfName, address: VirtualAddress) -> bool {
        let effect = Effect::AddressDelete {
            address,
            dev: dev.clone(),
        };
        let result = self.host.perform_now(&Granted::by_daemon(effect));
        if result.is_err()
            && self.is_gone(&Resource::Address {
                dev: dev.clone(),
                ip: address.ip,
            })
        {
            return true;
        }
        if let Err(error) = &result {
            warn!(%address, %error, "Could not remove an address that was left behind");
        }
        result.is_ok()
    }

    /// Removes the virtual host's own addresses, regardless of other claims, and returns how many
    /// could not be removed. Those stay in the ledger, as does a macvlan: see
    /// [`Self::remove_device`].
    pub(in crate::engine) fn drop_addresses(&self, vhost: &Name) -> usize {
        let mut plan = self.ledger.borrow().undo_plan(vhost, Of::Daemon);
        plan.retain(|planned| !is_of_device(&planned.resource));
        // First the addresses, which must not be held twice, then the routes to their networks.
        plan.sort_by_key(|planned| !matches!(planned.resource, Resource::Address { .. }));
        let mut failed = 0;
        for planned in plan {
            let done = letting_go(&planned).map_or(Ok(()), |effect| {
                self.host.perform_now(&Granted::by_daemon(effect)).map(drop)
            });
            match done {
                Ok(()) => self.settle_released(&planned),
                Err(_) if self.is_gone(&planned.resource) => self.settle_released(&planned),
                Err(error) => {
                    failed += 1;
                    warn!(%vhost, resource = %planned.resource, %error, "Could not release a resource");
                }
            }
        }
        failed
    }

    /// Nobody of the virtual host wants what was released. A hook that has set one of the addresses,
    /// too, would have it put back while another host is master.
    fn settle_released(&self, released: &Undo) {
        let Undo {
            owner, resource, ..
        } = released;
        let mut ledger = self.ledger.borrow_mut();
        ledger.settle(owner, resource);
        if matches!(resource, Resource::Address { .. }) {
            for hook in ledger.owners(&owner.vhost, resource) {
                ledger.settle(&hook, resource);
            }
        }
    }

    /// Whether an address that could not be removed is gone already, for example because IPv6 was
    /// switched off.
    fn is_gone(&self, resource: &Resource) -> bool {
        let Resource::Address { dev, ip } = resource else {
            return false;
        };
        self.host
            .address_present(dev, *ip)
            .is_ok_and(|present| !present)
    }

    /// Announces the addresses to the neighbours once.
    pub(in crate::engine) fn announce(&self, spec: &config::Vhost, addresses: &[VirtualAddress]) {
        let (vhost, dev) = (&spec.name, spec.device());
        for address in addresses {
            let effect = Effect::Announce {
                address: *address,
                dev: dev.clone(),
                count: 1,
                interval_ms: 0,
            };
            let announced = self.host.perform_now(&Granted::by_daemon(effect));
            self.count().announced(vhost, announced.is_ok());
            if let Err(error) = announced {
                warn!(%vhost, %address, %error, "Could not announce an address");
            }
        }
    }
}

/// How the daemon releases something of its own; `None` if another virtual host's claim is above
/// it.
pub(in crate::engine) fn letting_go(undo: &Undo) -> Option<Effect> {
    match (&undo.resource, &undo.value, &undo.back_to) {
        // Regardless of other claims, our addresses are removed when we are no longer master.
        (Resource::Address { dev, .. }, Value::Address(address), _) => {
            Some(Effect::AddressDelete {
                address: *address,
                dev: dev.clone(),
            })
        }
        // Exactly our route, and not another one to the same network.
        (_, Value::Route(route), Some(Value::Absent)) => Some(Effect::RouteDelete(route.clone())),
        _ => undo.effect(),
    }
}
