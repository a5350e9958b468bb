//! Virtual addresses that are up but that we did not set. Those left behind by a dead daemon are
//! removed. Those set by someone else are not ours to remove, since the host may depend
//! on them: the virtual host does not take part until they are gone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tracing::{error, info, warn};

use crate::config;
use crate::engine::effects::foreign_addresses::{When, complaint, foreign, foreign_among, has};
use crate::engine::effects::unfit_addresses::{complaints, named};
use crate::engine::environment::Environment;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::host::clock;
use crate::host::{FoundAddress, Host};
use crate::journal::DaemonCause;
use crate::proto::Input;
use crate::types::IfName;

impl<E: Environment> Engine<E> {
    /// A predecessor that was killed leaves its addresses up: they are removed before the first
    /// advertisement.
    pub(in crate::engine) fn remove_leftovers(&mut self) {
        for interface in self.interfaces.ids() {
            let Some(interface) = self.interfaces.get(interface) else {
                continue;
            };
            let Some(there) = self.addresses_on(&interface.name) else {
                continue;
            };
            for node in interface.members.iter().filter_map(|m| self.nodes.get(*m)) {
                for problem in complaints(&named(&node.spec), &node.spec, &there) {
                    error!(vhost = %node.spec.name, "This cannot work: {problem}");
                }
            }
            for member in interface.members.clone() {
                self.sort_out(member, &there, When::Start);
            }
        }
        self.numbers()
            .into_iter()
            .for_each(|index| self.look_elsewhere(index));
    }

    pub(in crate::engine) fn remove_leftovers_of(&mut self, index: VhostId) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        let Some(there) = self.addresses_on(&node.spec.interface) else {
            return;
        };
        self.sort_out(index, &there, When::Start);
        self.look_elsewhere(index);
    }

    /// The addresses on an interface; `None` if they cannot be listed.
    pub(in crate::engine) fn addresses_on(&self, dev: &IfName) -> Option<Vec<FoundAddress>> {
        let there = self.shared.executor.host().addresses_on(dev);
        there
            .inspect_err(|error| warn!(interface = %dev, %error, "Could not list the addresses"))
            .ok()
    }

    /// Handles addresses of a virtual host that are up on its interface while it does not hold
    /// them.
    pub(in crate::engine) fn sort_out(
        &mut self,
        index: VhostId,
        there: &[FoundAddress],
        when: When,
    ) {
        let executor = &self.shared.executor;
        let Some(node) = self
            .nodes
            .get_mut(index)
            .filter(|node| node.spec.manage_addresses && !node.holding)
        else {
            return;
        };
        let spec = &node.spec;
        let mut foreign = foreign_among(executor, spec, there);
        if spec.adopt {
            let may = when == When::Start || foreign.is_empty() || node.put_back.may(clock::now());
            for address in foreign.drain(..).filter(|_| may) {
                warn!(vhost = %spec.name, %address, "Removing an address that another program set, as `adopt` says");
                executor.remove_leftover(&spec.interface, address);
            }
        }
        if when == When::Start {
            let ours = there
                .iter()
                .map(|found| found.address)
                .filter(|address| has(spec, address.ip));
            // An address that is there twice is foreign if one of the two is, since both would be
            // removed.
            for address in
                ours.filter(|address| !foreign.iter().any(|foreign| foreign.ip == address.ip))
            {
                warn!(vhost = %spec.name, %address, "Removing an address that an earlier daemon left behind");
                executor.remove_leftover(&spec.interface, address);
            }
        }
        if node.foreign != foreign {
            node.foreign = foreign;
            self.foreign_changed(index);
        }
    }

    fn foreign_changed(&mut self, index: VhostId) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        let (vhost, interface) = (&node.spec.name, &node.spec.interface);
        for address in &node.foreign {
            error!(%vhost, %address, %interface, "Not taking part: {}", complaint(*address, interface));
        }
        let now = clock::now();
        if let Some(first) = node.foreign.first() {
            let reason = format!("{first} is up on {interface} but was not set by carpd");
            self.handle(
                index,
                Input::StandAside(DaemonCause::AddressFailed.because(&reason)),
                now,
            );
        } else {
            info!(%vhost, %interface, "Can take part again: its addresses are free");
            if self.stopping.is_none() && self.may_take_part(index) {
                self.handle(index, Input::LinkUp, now);
            }
        }
    }

    /// Whether nothing on its interface, and no track, keeps the virtual host from taking part.
    pub(in crate::engine) fn may_take_part(&self, index: VhostId) -> bool {
        let Some(node) = self.nodes.get(index) else {
            return false;
        };
        let usable = self
            .interfaces
            .get(node.interface)
            .is_some_and(|interface| interface.is_usable_by(&node.spec));
        usable && node.foreign.is_empty() && node.aside_until.is_none() && !node.is_kept_out()
    }

    /// Virtual addresses came or went on the link with this number.
    pub(in crate::engine) fn virtual_changed(&mut self, link: u32, addresses: &BTreeSet<IpAddr>) {
        for interface in self.interfaces.ids() {
            let Some(interface) = self
                .interfaces
                .get(interface)
                .filter(|interface| interface.index() == Some(link))
            else {
                continue;
            };
            let of_address = |member: &VhostId| {
                let concerns = |spec: &config::Vhost| {
                    spec.addresses
                        .iter()
                        .any(|address| addresses.contains(&address.ip))
                };
                self.nodes.get(*member).is_some_and(|node| {
                    concerns(&node.spec) && !node.holding && node.spec.manage_addresses
                })
            };
            let members: Vec<VhostId> = interface
                .members
                .iter()
                .copied()
                .filter(of_address)
                .collect();
            if members.is_empty() {
                continue;
            }
            let Some(there) = self.addresses_on(&interface.name) else {
                continue;
            };
            for member in members {
                self.sort_out(member, &there, When::Later);
            }
        }
    }

    /// Addresses that a virtual host names, and did not before, and that no host can have here.
    fn unfit(&self, spec: &config::Vhost, old: Option<&config::Vhost>) -> Vec<String> {
        let had = old.map(named).unwrap_or_default();
        let new = named(spec).difference(&had).copied().collect();
        let there = self.addresses_on(&spec.interface).unwrap_or_default();
        complaints(&new, spec, &there)
            .into_iter()
            .map(|complaint| format!("vhost {}: {complaint}", spec.name))
            .collect()
    }

    /// What would keep the virtual hosts of another configuration from taking part or working here,
    /// one line each.
    pub(in crate::engine) fn foreign_to(&self, config: &config::Config) -> Vec<String> {
        let mut problems = Vec::new();
        for spec in &config.vhosts {
            let old = self
                .nodes
                .values()
                .find(|node| node.spec.name == spec.name && node.spec.interface == spec.interface);
            let had: BTreeSet<IpAddr> = old
                .iter()
                .flat_map(|node| node.spec.addresses.iter().map(|address| address.ip))
                .collect();
            let new = foreign(&self.shared.executor, spec)
                .into_iter()
                .filter(|address| !had.contains(&address.ip));
            problems.extend(new.map(|address| {
                format!(
                    "vhost {}: {}",
                    spec.name,
                    complaint(address, &spec.interface)
                )
            }));
            problems.extend(self.unfit(spec, old.map(|node| &node.spec)));
        }
        problems
    }
}
