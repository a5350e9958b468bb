//! What happens when the kernel refuses to add an address for a master.
//!
//! Another node may be able to hold all addresses, so the master first hands over, and is demoted
//! for a while, longer each time. If it fails again, [`Escalation`] decides: it hands over again,
//! or no node can hold all of them. In that case some addresses are better than none: it holds
//! those that it can, reports the others, and retries them. As after any silence, the best node
//! gets there first.

use std::time::Duration;

use tracing::{error, info, warn};

use crate::engine::environment::Environment;
use crate::engine::state::Engine;
use crate::engine::vhost::escalation::Verdict;
use crate::engine::vhost::id::{InterfaceId, VhostId};
use crate::engine::vhost::refused_addresses::{RefusedAddresses, in_words};
use crate::host::HostError;
use crate::journal::DaemonCause;
use crate::proto::{Cause, Input};
use crate::types::{Timestamp, VirtualAddress};

/// A change on the interface may have solved the problem: it is retried after this time, whatever
/// the pause.
const HOPE: Duration = Duration::from_secs(1);

impl<E: Environment> Engine<E> {
    /// The kernel refused an address: the master hands over after the current step, or stays with
    /// the others.
    pub(in crate::engine) fn address_failed(
        &mut self,
        index: VhostId,
        error: &HostError,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if !node.is_master() {
            return;
        }
        error!(vhost = %node.spec.name, %error, "Could not add the addresses");
        let pushed_aside = node
            .last
            .as_ref()
            .is_some_and(|last| matches!(last.cause, Cause::Preempt | Cause::PeerDemoted));
        let reason = error.to_string();
        let verdict = match &mut node.refused_addresses {
            Some(refused_addresses) => {
                reason.clone_into(&mut refused_addresses.reason);
                refused_addresses.again(node.changed, pushed_aside)
            }
            first => {
                *first = Some(RefusedAddresses::new(reason.clone()));
                Verdict::Resign
            }
        };
        match verdict {
            Verdict::Again(pause) => {
                let all = node.spec.addresses.clone();
                self.hold_what_it_can(index, &all, pause, now);
            }
            Verdict::Resign => self.follow_ups.push_back((
                index,
                Input::Resign {
                    reason: DaemonCause::AddressFailed.because(&reason),
                    unfit: true,
                },
            )),
        }
        // Only after the addresses are gone: a master that advertised its demotion would be
        // preempted while it still has them.
        self.demotion_follows(index);
    }

    /// Its demotion is advertised after the current step.
    fn demotion_follows(&mut self, index: VhostId) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        self.follow_ups
            .push_back((index, Input::Demote(node.demotion())));
    }

    /// All addresses are up: nothing is refused any more.
    pub(in crate::engine) fn nothing_refused(&mut self, index: VhostId) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if node.refused_addresses.take().is_some() {
            info!(vhost = %node.spec.name, "Holds all its addresses again");
            self.demotion_follows(index);
        }
    }

    /// A master adds those of these addresses that the kernel accepts, and will retry the others
    /// after the pause.
    fn hold_what_it_can(
        &mut self,
        index: VhostId,
        wanted: &[VirtualAddress],
        pause: Duration,
        now: Timestamp,
    ) {
        let lifetimes = self.lease_now(index, now);
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let Some(lifetimes) = lifetimes else {
            // A master that cannot send must not hold anything new.
            if let Some(refused_addresses) = node
                .refused_addresses
                .as_mut()
                .filter(|refused_addresses| refused_addresses.relief.is_master())
            {
                refused_addresses.retry_at = Some(now + pause);
            }
            return;
        };
        let spec = &node.spec;
        let refused = self
            .shared
            .executor
            .hold_those_possible(spec, wanted, lifetimes);
        let held: Vec<_> = wanted
            .iter()
            .copied()
            .filter(|a| !refused.iter().any(|(other, _)| other == a))
            .collect();
        if refused.is_empty() {
            self.nothing_refused(index);
        } else if let Some(refused_addresses) = &mut node.refused_addresses {
            refused_addresses.refused = refused
                .iter()
                .map(|(address, error)| (*address, error.to_string()))
                .collect();
            refused_addresses.retry_at = Some(now + pause);
            let retry_s = pause.as_secs();
            warn!(vhost = %node.spec.name, refused = in_words(&refused_addresses.refused), retry_s, "Cannot hold all its addresses; staying master with the others");
        }
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let none = node.holdable().next().is_none();
        if none {
            node.holding = false;
        } else if node.holding {
            self.shared.executor.announce(&node.spec, &held);
        } else {
            self.serve(index, lifetimes, now);
        }
    }

    /// It is time to end the demotion.
    pub(in crate::engine) fn fade_refused(&mut self, index: VhostId, now: Timestamp) {
        let node = self.nodes.get_mut(index);
        if let Some(refused) = node.and_then(|node| node.refused_addresses.as_mut()) {
            refused.fade();
        }
        self.demote(index, now);
    }

    /// It is time to retry what was refused.
    pub(in crate::engine) fn retry_refused(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let Some(refused_addresses) = &mut node.refused_addresses else {
            return;
        };
        refused_addresses.retry_at = None;
        // A reload may have changed the list.
        refused_addresses
            .refused
            .retain(|(address, _)| node.spec.addresses.contains(address));
        let refused = refused_addresses
            .refused
            .iter()
            .map(|(address, _)| *address)
            .collect();
        let wanted: Vec<_> = if node.holding {
            refused
        } else {
            node.spec.addresses.clone()
        };
        let pause = refused_addresses.relief.pause();
        self.hold_what_it_can(index, &wanted, pause, now);
        // Update what it advertises, and what the keeper knows.
        self.flush(index, now);
        self.publish(index);
    }

    /// Something changed on an interface: the kernel may now accept what it refused. If the link itself
    /// `is_same` as before, that may be what we did in vain to make a macvlan on it, and it would go on
    /// for ever.
    pub(in crate::engine) fn hope(
        &mut self,
        interface: InterfaceId,
        is_same: bool,
        now: Timestamp,
    ) {
        let Some(members) = self
            .interfaces
            .get(interface)
            .map(|interface| interface.members.clone())
        else {
            return;
        };
        for member in members {
            let missing = self
                .nodes
                .get(member)
                .filter(|node| !(is_same && node.spec.virtual_mac))
                .and_then(|node| node.refused_addresses.as_ref())
                .is_some_and(|refused_addresses| refused_addresses.retry_at.is_some());
            if let Some(refused_addresses) = self
                .nodes
                .get_mut(member)
                .filter(|_| missing)
                .and_then(|node| node.refused_addresses.as_mut())
            {
                refused_addresses.retry_at =
                    refused_addresses.retry_at.map(|at| at.min(now + HOPE));
            }
        }
    }
}
