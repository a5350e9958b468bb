//! What comes and goes with the machine's power, and by itself: leases that end, addresses that the
//! kernel refuses, services that start at boot.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Happens, SimHost, Trouble, unit_name};
use crate::effect::{Effect, Link, Resource, Value};
use crate::host::{HostError, Renewal};
use crate::types::{IfName, Timestamp, VirtualAddress};

#[derive(Debug, Default)]
pub(super) struct Power {
    off: Cell<bool>,
    leases: RefCell<BTreeMap<(IfName, IpAddr), Timestamp>>,
    /// Addresses that the kernel does not take.
    refused: RefCell<BTreeSet<IpAddr>>,
    /// The machine starts them at boot.
    at_boot: RefCell<BTreeSet<String>>,
}

pub(super) fn no_power() -> HostError {
    HostError::errno("the machine is off", libc::EIO)
}

impl SimHost {
    /// A machine that was just booted, with these devices and addresses; of its life before, it has
    /// what outlives a boot.
    #[must_use]
    pub fn booted(&self, name: &str, links: &[Link], own: &[(IfName, VirtualAddress)]) -> Self {
        let host = Self::default();
        host.set(Resource::Hostname, Value::Text(name.to_owned()));
        host.0.links.borrow_mut().extend_from_slice(links);
        for (dev, address) in own {
            host.set(address_of(dev, address.ip), Value::Address(*address));
        }
        let Power {
            refused, at_boot, ..
        } = &self.0.power;
        for unit in &*at_boot.borrow() {
            host.set(
                Resource::Service { unit: unit.clone() },
                Value::Running(true),
            );
        }
        host.0.power.refused.replace(refused.borrow().clone());
        host.0.power.at_boot.replace(at_boot.borrow().clone());
        host.0.troubles.replace(self.0.troubles.borrow().clone());
        host.0.others_well.set(self.0.others_well.get());
        host
    }

    /// Without power it does nothing any more.
    pub fn switch_off(&self) {
        self.0.power.off.set(true);
        self.0.power.leases.borrow_mut().clear();
    }

    pub(super) fn is_off(&self) -> bool {
        self.0.power.off.get()
    }

    /// Is the address up?
    #[must_use]
    pub fn has(&self, dev: &IfName, ip: IpAddr) -> bool {
        !self.is_off() && self.value(&address_of(dev, ip)) != Value::Absent
    }

    /// From now on the kernel does not take this address; the devices that had it.
    #[must_use]
    pub fn refuse_address(&self, ip: IpAddr) -> Vec<IfName> {
        let Power {
            refused, leases, ..
        } = &self.0.power;
        refused.borrow_mut().insert(ip);
        leases.borrow_mut().retain(|(_, leased), _| *leased != ip);
        let had = |resource| match resource {
            Resource::Address { dev, ip: there } if there == ip => Some(dev),
            _ => None,
        };
        let devices: Vec<IfName> = self.values().into_keys().filter_map(had).collect();
        for dev in &devices {
            self.set(address_of(dev, ip), Value::Absent);
        }
        devices
    }

    /// From now on it does.
    pub fn accept_address(&self, ip: IpAddr) {
        self.0.power.refused.borrow_mut().remove(&ip);
    }

    pub(super) fn refuses(&self, ip: IpAddr) -> bool {
        self.0.power.refused.borrow().contains(&ip)
    }

    /// Somebody else starts or stops a service; with `at_boot` it runs after each boot as well.
    pub fn set_service(&self, unit: &str, runs: bool, at_boot: bool) {
        let unit = unit_name(unit).to_owned();
        if at_boot {
            self.0.power.at_boot.borrow_mut().insert(unit.clone());
        }
        self.set(Resource::Service { unit }, Value::Running(runs));
    }

    /// From now on this happens whenever the service is to be started; nothing, if not given.
    pub fn starting(&self, unit: &str, happens: Option<&Happens>) {
        let mut troubles = self.0.troubles.borrow_mut();
        for verb in ["start", "restart"] {
            let effect = format!("service.{verb} {}", unit_name(unit));
            troubles.end(&effect);
            if let Some(happens) = happens.cloned() {
                troubles.add(Trouble {
                    effect,
                    happens,
                    after: 0,
                    times: u32::MAX,
                });
            }
        }
    }

    /// When the next lease ends.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.0.power.leases.borrow().values().min().copied()
    }

    /// The kernel takes away what nobody renewed.
    #[must_use]
    pub fn expire(&self, now: Timestamp) -> Vec<(IfName, IpAddr)> {
        let mut leases = self.0.power.leases.borrow_mut();
        let gone: Vec<_> = leases
            .extract_if(.., |_, end| *end <= now)
            .map(|(key, _)| key)
            .collect();
        for (dev, ip) in &gone {
            self.set(address_of(dev, *ip), Value::Absent);
        }
        gone
    }

    /// The address goes at this time; never by itself, if not given.
    pub(super) fn set_lease(&self, dev: IfName, ip: IpAddr, end: Option<Timestamp>) {
        let mut leases = self.0.power.leases.borrow_mut();
        match end {
            Some(end) => _ = leases.insert((dev, ip), end),
            None => _ = leases.remove(&(dev, ip)),
        }
    }

    /// An address stands on one interface of a host here, so its number is not asked for.
    pub(super) fn renew_lease(&self, renewal: &Renewal, now: Timestamp) {
        let mut leases = self.0.power.leases.borrow_mut();
        match renewal.lifetimes.valid {
            Some(lifetime) => {
                let ends = leases
                    .iter_mut()
                    .filter(|((_, ip), _)| *ip == renewal.address.ip);
                ends.for_each(|(_, end)| *end = now + lifetime);
            }
            None => leases.retain(|(_, ip), _| *ip != renewal.address.ip),
        }
    }

    /// What is taken down has no lease.
    pub(super) fn end_lease(&self, effect: &Effect) {
        if let Effect::AddressDelete { address, dev } = effect {
            self.set_lease(dev.clone(), address.ip, None);
        }
    }
}

fn address_of(dev: &IfName, ip: IpAddr) -> Resource {
    Resource::Address {
        dev: dev.clone(),
        ip,
    }
}
