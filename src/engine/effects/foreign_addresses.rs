//! Virtual addresses that are up but that we did not set: who they belong to.

use std::net::IpAddr;

use crate::config;
use crate::effect::{Resource, Value};
use crate::engine::effects::executor::Executor;
use crate::host::kernel::netlink::{Netlink, index_of};
use crate::host::{FoundAddress, Host};
use crate::ledger::{self, Origin};
use crate::types::{IfName, VirtualAddress};

/// Who an address belongs to that is up here while the virtual host is not master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Whose {
    /// A dead daemon of ours.
    Ours,
    /// Someone else. A lifetime says nothing of that: a DHCP server sets one as well, and leases
    /// that nobody renews any more are over before another node takes over.
    Foreign,
}

/// When this is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum When {
    /// Before the virtual host takes part: any address that is there was left behind.
    Start,
    /// Later: someone has added it, for however long.
    Later,
}

pub(in crate::engine) const fn whose(found: &FoundAddress, is_known: bool) -> Whose {
    if found.ours || is_known {
        Whose::Ours
    } else {
        Whose::Foreign
    }
}

/// The message about an address that keeps a virtual host from taking part.
pub(in crate::engine) fn complaint(address: VirtualAddress, dev: &IfName) -> String {
    format!("{address} is already an address of this machine, but not set by carpd")
        + &format!(
            "; remove it (ip address delete {address} dev {dev}) or, if another daemon left it, set adopt = true"
        )
}

/// The message about an interface in the place of the macvlan of a virtual host.
pub(in crate::engine) fn taken(device: &IfName) -> String {
    format!("there is an interface {device} already, which was not created by carpd")
}

/// The addresses of a virtual host that are up on its interface but were not set by us.
pub(in crate::engine) fn foreign<H: Host>(
    executor: &Executor<H>,
    spec: &config::Vhost,
) -> Vec<VirtualAddress> {
    if !spec.manage_addresses || spec.adopt {
        return Vec::new();
    }
    let there = executor
        .host()
        .addresses_on(&spec.interface)
        .unwrap_or_default();
    foreign_among(executor, spec, &there)
}

pub(in crate::engine) fn foreign_among<H: Host>(
    executor: &Executor<H>,
    spec: &config::Vhost,
    there: &[FoundAddress],
) -> Vec<VirtualAddress> {
    let is_foreign = |found: &&FoundAddress| {
        let known = executor.knows_address(&spec.interface, found.address.ip);
        has(spec, found.address.ip) && whose(found, known) == Whose::Foreign
    };
    there
        .iter()
        .filter(is_foreign)
        .map(|found| found.address)
        .collect()
}

pub(in crate::engine) fn has(spec: &config::Vhost, ip: IpAddr) -> bool {
    spec.addresses.iter().any(|address| address.ip == ip)
}

/// For `carpd check`: the virtual hosts, by index in the configuration, that would not take part
/// here because this machine already has one of their addresses, or an interface with the name of
/// their macvlan, and why. Those held by a
/// carpd, running or killed, do not count.
#[must_use]
pub fn check(config: &config::Config) -> Vec<(usize, String)> {
    let (Ok(netlink), Ok(origin)) = (Netlink::open(), Origin::current()) else {
        return Vec::new();
    };
    let known = ledger::ledgers_here(&config.daemon.run_dir, origin);
    let mut found = Vec::new();
    for (number, spec) in config
        .vhosts
        .iter()
        .enumerate()
        .filter(|(_, spec)| spec.manage_addresses && !spec.adopt)
    {
        let device = spec.device();
        let macvlan = Resource::Macvlan {
            dev: device.clone(),
        };
        let is_there = || {
            netlink
                .macvlan(&device)
                .is_ok_and(|value| value != Value::Absent)
        };
        if spec.virtual_mac && is_there() && !known.iter().any(|ledger| ledger.holds(&macvlan)) {
            found.push((number, taken(&device)));
        }
        let there = index_of(&spec.interface)
            .and_then(|index| netlink.addresses(index))
            .unwrap_or_default();
        let of_vhost = there
            .iter()
            .map(FoundAddress::from)
            .filter(|found| has(spec, found.address.ip));
        let is_known = |found: &FoundAddress| {
            let resource = resource(&spec.interface, found.address.ip);
            known.iter().any(|ledger| ledger.holds(&resource))
        };
        let foreign = of_vhost.filter(|found| whose(found, is_known(found)) == Whose::Foreign);
        found.extend(foreign.map(|foreign| (number, complaint(foreign.address, &spec.interface))));
    }
    found
}

pub(in crate::engine) fn resource(dev: &IfName, ip: IpAddr) -> Resource {
    Resource::Address {
        dev: dev.clone(),
        ip,
    }
}

impl<H: Host> Executor<H> {
    /// Whether our ledger, or that of a dead process, lists this address.
    pub(in crate::engine) fn knows_address(&self, dev: &IfName, ip: IpAddr) -> bool {
        let resource = resource(dev, ip);
        self.ledger().holds(&resource) || self.recovery().holds(&resource)
    }
}
