//! Virtual addresses that are up without our doing: whose they are.

use std::net::IpAddr;

use crate::config;
use crate::effect::Resource;
use crate::engine::effects::executor::Executor;
use crate::host::kernel::netlink::{Netlink, index_of};
use crate::host::{FoundAddress, Host};
use crate::ledger::{self, Origin};
use crate::types::{IfName, VirtualAddress};

/// Whose is an address that is up here, while the virtual host is not master?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Whose {
    /// A dead daemon's, or it is about to go.
    Ours,
    /// Somebody else's, for good.
    Foreign,
}

/// When is it asked?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum When {
    /// Before the virtual host takes part: whatever is there was left behind by somebody.
    Start,
    /// Later: somebody has put it up, for however long.
    Later,
}

pub(in crate::engine) fn whose(found: &FoundAddress, is_known: bool, when: When) -> Whose {
    let left_behind = found.ours || is_known || (when == When::Start && !found.permanent);
    if left_behind {
        Whose::Ours
    } else {
        Whose::Foreign
    }
}

/// What to say of an address that keeps a virtual host from taking part.
pub(in crate::engine) fn complaint(address: VirtualAddress, dev: &IfName) -> String {
    format!("{address} is already an address of this machine, but not set by carpd")
        + &format!(
            "; remove it (ip address delete {address} dev {dev}) or, if another daemon left it, set adopt = true"
        )
}

/// The addresses of a virtual host that are up on its interface for good and not by our doing.
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
    foreign_among(executor, spec, &there, When::Start)
}

pub(in crate::engine) fn foreign_among<H: Host>(
    executor: &Executor<H>,
    spec: &config::Vhost,
    there: &[FoundAddress],
    when: When,
) -> Vec<VirtualAddress> {
    let is_foreign = |found: &&FoundAddress| {
        let known = executor.knows_address(&spec.interface, found.address.ip);
        has(spec, found.address.ip) && whose(found, known, when) == Whose::Foreign
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

/// What `carpd check` has to say: the virtual hosts, by their place in the configuration, that
/// would take no part here for an address that this machine has already, and why. What a carpd
/// holds, running or killed, is none.
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
        let foreign =
            of_vhost.filter(|found| whose(found, is_known(found), When::Start) == Whose::Foreign);
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
    /// Does the ledger, ours or that of a dead process, have this address?
    pub(in crate::engine) fn knows_address(&self, dev: &IfName, ip: IpAddr) -> bool {
        let resource = resource(dev, ip);
        self.ledger().holds(&resource) || self.recovery().holds(&resource)
    }
}
