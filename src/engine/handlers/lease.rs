//! Addresses that expire by themselves: they have a kernel lifetime that only a running loop
//! renews.
//!
//! They are renewed with each advertisement that was sent, so a renewal proves that the loop that
//! advertises is alive. A node that is frozen or killed with all its processes loses its addresses
//! before a backup may take over. Backups count from the last advertisement, so every lease does
//! too, even one that begins between two advertisements.

use std::time::Duration;

use crate::config;
use crate::engine::environment::Environment;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::lease::rest;
use crate::engine::vhost::node::Node;
use crate::host::clock;
use crate::host::{Lifetimes, Renewal};
use crate::proto::Input;
use crate::types::Timestamp;

/// A lease that is younger than this needs no renewal; that of a takeover is, when its first
/// advertisement is sent.
const FRESH: Duration = Duration::from_millis(100);

impl<E: Environment> Engine<E> {
    /// The lease of addresses that are added now: it ends together with that of the last
    /// advertisement that was sent. If too little of that is left, another advertisement is sent
    /// first, unless the machine's outputs are just being carried out: then one has just been sent,
    /// or could not be. `None` if it cannot be sent, or if the node is no longer master.
    pub(in crate::engine) fn lease_now(
        &mut self,
        index: VhostId,
        now: Timestamp,
    ) -> Option<Lifetimes> {
        let full = self.nodes.get(index)?.lifetimes();
        let Some(lifetime) = full.valid else {
            return Some(full);
        };
        let left = |engine: &Self| {
            let Node {
                machine, sending, ..
            } = engine.nodes.get(index)?;
            let (spent, renewal) = (
                now.since(sending.went_out()?),
                machine.deadline()?.since(now),
            );
            Some(Lifetimes {
                valid: Some(rest(lifetime, spent, renewal)?),
                ..full
            })
        };
        left(self).or_else(|| {
            if self.draining {
                return None;
            }
            self.handle(index, Input::Advertise, now);
            left(self)
        })
    }

    /// Advertisements were sent, so the loop that advertises is alive: the leases are renewed.
    pub(in crate::engine) fn renew(&mut self) {
        if self.to_renew.is_empty() {
            return;
        }
        // Earlier than the time from which the kernel counts: assuming a slightly early end does no
        // harm.
        let now = clock::now();
        let mut renewed = std::mem::take(&mut self.to_renew);
        renewed.retain(|index| {
            let Some(node) = self
                .nodes
                .get_mut(*index)
                .filter(|node| node.holding && node.expired(now).is_none())
            else {
                return false;
            };
            let (before, lifetime) = (node.leased, node.lifetimes().valid);
            if before.is_some_and(|(before, at)| Some(before) == lifetime && now.since(at) < FRESH)
            {
                return false;
            }
            node.leased = lifetime.map(|lifetime| (lifetime, now));
            before.is_some() || lifetime.is_some()
        });
        let mut renewals = Vec::with_capacity(renewed.len());
        for node in renewed.iter().filter_map(|index| self.nodes.get(*index)) {
            let Some(link) = self.link_with_addresses(node) else {
                continue;
            };
            let name = &node.spec.name;
            let lifetimes = Lifetimes {
                valid: node.leased.map(|(lifetime, _)| lifetime),
                ..node.lifetimes()
            };
            renewals.extend(node.holdable().map(|address| {
                (
                    name,
                    Renewal {
                        address,
                        link,
                        lifetimes,
                    },
                )
            }));
        }
        self.shared.executor.renew(&renewals);
    }

    /// A master's timers changed, or what it says about lifetimes: its addresses get fitting ones at
    /// once. The next advertisement may be too late, since the old lease was made for the old timers.
    pub(in crate::engine) fn fit_lease(
        &mut self,
        index: VhostId,
        old: &config::Vhost,
        now: Timestamp,
    ) {
        let Some(node) = self
            .nodes
            .get_mut(index)
            .filter(|node| node.holding && node.expired(now).is_none())
        else {
            return;
        };
        let says = |spec: &config::Vhost| (spec.lease, spec.preferred_lifetime);
        if says(&node.spec) == says(old) {
            if node.lifetimes().valid != node.leased.map(|(lifetime, _)| lifetime) {
                // The advertisement is followed by a renewal at the end of this turn.
                self.handle(index, Input::Advertise, now);
            }
            return;
        }
        let Some(lifetimes) = self.lease_now(index, now) else {
            return;
        };
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.leased = lifetimes.valid.map(|valid| (valid, now));
        let held: Vec<_> = node.holdable().collect();
        let spec = &node.spec;
        if let Err(error) = self.shared.executor.hold_addresses(spec, &held, lifetimes) {
            self.address_failed(index, &error, now);
        }
    }

    /// A master's list of addresses changed: those no longer listed are removed first.
    pub(in crate::engine) fn move_addresses(
        &mut self,
        index: VhostId,
        old: &config::Vhost,
        now: Timestamp,
    ) {
        let Some(spec) = self.nodes.get(index).map(|node| node.spec.clone()) else {
            return;
        };
        let moves = spec.virtual_mac != old.virtual_mac;
        let mut gone = old.addresses.clone();
        gone.retain(|address| moves || !spec.addresses.contains(address));
        let executor = &self.shared.executor;
        executor.release_addresses(old, gone.into_iter());
        if moves {
            // Also the routes to their networks, by the other device.
            executor.drop_addresses(&spec.name);
            self.remove_device(index);
        }
        let mut new = spec.addresses.clone();
        new.retain(|address| moves || !old.addresses.contains(address));
        let lifetimes = self.lease_now(index, now);
        let Some(node) = self.nodes.get_mut(index).filter(|node| node.holding) else {
            return;
        };
        let Some(lifetimes) = lifetimes else {
            // It cannot send. If it soon can, the missing addresses are added then.
            node.put_back.later(now);
            return new.into_iter().for_each(|new| {
                _ = self
                    .shared
                    .executor
                    .claim_address(&spec.name, &spec.device(), new);
            });
        };
        if let Err(error) = self.shared.executor.hold_addresses(&spec, &new, lifetimes) {
            return self.address_failed(index, &error, now);
        }
        self.note_device(index);
        self.shared.executor.announce(&spec, &new);
        self.publish(index);
    }
}
