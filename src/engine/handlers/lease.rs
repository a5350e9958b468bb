//! Addresses that let go by themselves: a kernel lifetime that only a living loop renews.
//!
//! The renewal happens with each advertisement that went out, so it proves that the loop that
//! advertises is alive. A node that is frozen or killed with all its processes loses its addresses
//! before a backup may take over: backups count from the last advertisement, so every lease does,
//! also one that begins between two of them.

use std::time::Duration;

use crate::config;
use crate::engine::environment::Environment;
use crate::engine::run::Engine;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::interface::Interface;
use crate::engine::vhost::node::Node;
use crate::host::Renewal;
use crate::host::clock;
use crate::proto::{self, Input};
use crate::types::Timestamp;

/// A lease outlives the time to the next renewal by this much at least.
const SLACK: Duration = Duration::from_millis(250);
/// A lease that is younger than this, as that of a takeover is when its first advertisement goes
/// out, needs no renewal.
const FRESH: Duration = Duration::from_millis(100);
/// The kernel takes an expired address away up to this much late.
const EXPIRY_LATE: Duration = Duration::from_millis(700);

/// How a virtual host's addresses are put up: as host addresses, so that none of them is the first
/// of its network, with which the kernel would take the others down, and whose source address the
/// host's own connections would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Lease {
    /// For ever.
    Off,
    /// Renewed with each advertisement.
    Kernel {
        /// For so long; for ever while the timers leave no room for a lease.
        lifetime: Option<Duration>,
    },
}

impl Lease {
    /// The lease that fits the present timers: whole seconds, longer than the interval to the next
    /// advertisement, and over before a backup with the same settings takes over. The longest of
    /// them, since a busy machine may be late.
    pub(in crate::engine) fn of(machine: &proto::Vhost, wanted: bool) -> Self {
        if !wanted {
            return Self::Off;
        }
        Self::Kernel {
            lifetime: longest(machine.interval(), silence(machine)),
        }
    }

    /// The lifetime, if it ends by itself.
    pub(in crate::engine) const fn lifetime(self) -> Option<Duration> {
        match self {
            Self::Off | Self::Kernel { lifetime: None } => None,
            Self::Kernel { lifetime } => lifetime,
        }
    }
}

/// For how long a master may be silent before the first of the backups with the same timers takes
/// over.
pub(in crate::engine) fn silence(machine: &proto::Vhost) -> Duration {
    let settings = machine.settings();
    Duration::from_secs(u64::from(settings.advbase.0)) * settings.dead_ratio
}

/// What is left of a lease when this much of it is over, in whole seconds as the kernel counts
/// them, if it lasts until the next renewal.
fn rest(lifetime: Duration, spent: Duration, renewal: Duration) -> Option<Duration> {
    let left = Duration::from_secs(lifetime.saturating_sub(spent).as_secs());
    (left >= renewal + SLACK).then_some(left)
}

impl<E: Environment> Engine<E> {
    /// The lease of addresses that are put up now: it ends when that of the last advertisement that
    /// went out does. If too little is left of that, there is another advertisement first, unless
    /// what the machine has to say is being done just now: then one has just gone out, or could not
    /// be sent. `None` if that cannot be sent, or it is no master any more.
    pub(in crate::engine) fn lease_now(&mut self, index: VhostId, now: Timestamp) -> Option<Lease> {
        let lease = self.nodes.get(index)?.lease();
        let Some(lifetime) = lease.lifetime() else {
            return Some(lease);
        };
        let left = |engine: &Self| {
            let Node {
                machine, sending, ..
            } = engine.nodes.get(index)?;
            let (spent, renewal) = (
                now.since(sending.went_out()?),
                machine.deadline()?.since(now),
            );
            Some(Lease::Kernel {
                lifetime: Some(rest(lifetime, spent, renewal)?),
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

    /// Advertisements went out, so the loop that advertises lives: the addresses stay for another
    /// while.
    pub(in crate::engine) fn renew(&mut self) {
        if self.to_renew.is_empty() {
            return;
        }
        // Before the kernel counts from: what is thought to be over too early does no harm.
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
            let (before, lifetime) = (node.leased, node.lease().lifetime());
            if before.is_some_and(|(before, at)| Some(before) == lifetime && now.since(at) < FRESH)
            {
                return false;
            }
            node.leased = lifetime.map(|lifetime| (lifetime, now));
            before.is_some() || lifetime.is_some()
        });
        let mut renewals = Vec::with_capacity(renewed.len());
        for node in renewed.iter().filter_map(|index| self.nodes.get(*index)) {
            let Some(link) = self
                .interfaces
                .get(node.interface)
                .and_then(Interface::index)
            else {
                continue;
            };
            let (name, lifetime) = (&node.spec.name, node.leased.map(|(lifetime, _)| lifetime));
            renewals.extend(node.holdable().map(|address| {
                (
                    name,
                    Renewal {
                        address,
                        link,
                        lifetime,
                    },
                )
            }));
        }
        self.shared.executor.renew(&renewals);
    }

    /// A master whose timers, or whose wish for a lease, changed: its addresses get what fits at
    /// once. With the next advertisement may be too late, since the old lease was made for the old
    /// timers.
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
        let lease = node.lease();
        let (spec, lifetime) = (&node.spec, lease.lifetime());
        if spec.lease == old.lease && lifetime == node.leased.map(|(lifetime, _)| lifetime) {
            return;
        }
        if spec.lease == old.lease {
            // What goes out is followed by a renewal at the end of this turn.
            return self.handle(index, Input::Advertise, now);
        }
        let Some(lease) = self.lease_now(index, now) else {
            return;
        };
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.leased = lease.lifetime().map(|lifetime| (lifetime, now));
        let held: Vec<_> = node.holdable().collect();
        let spec = &node.spec;
        if let Err(error) =
            self.shared
                .executor
                .hold_addresses(&spec.name, &spec.interface, &held, lease)
        {
            self.address_failed(index, &error, now);
        }
    }

    /// A master whose list of addresses changed: those that are gone go first.
    pub(in crate::engine) fn move_addresses(
        &mut self,
        index: VhostId,
        old: &config::Vhost,
        now: Timestamp,
    ) {
        let Some(spec) = self.nodes.get(index).map(|node| node.spec.clone()) else {
            return;
        };
        let gone = old.addresses.iter().filter(|a| !spec.addresses.contains(a));
        self.shared
            .executor
            .release_addresses(&spec.name, &spec.interface, gone.copied());
        let new: Vec<_> = spec
            .addresses
            .iter()
            .filter(|a| !old.addresses.contains(a))
            .copied()
            .collect();
        let lease = self.lease_now(index, now);
        let Some(node) = self.nodes.get_mut(index).filter(|node| node.holding) else {
            return;
        };
        let Some(lease) = lease else {
            // It cannot send. If it soon can, what is missing is put up then.
            node.put_back.later(now);
            return new.into_iter().for_each(|new| {
                _ = self
                    .shared
                    .executor
                    .claim_address(&spec.name, &spec.interface, new);
            });
        };
        if let Err(error) =
            self.shared
                .executor
                .hold_addresses(&spec.name, &spec.interface, &new, lease)
        {
            return self.address_failed(index, &error, now);
        }
        self.shared
            .executor
            .announce(&spec.name, &spec.interface, &new);
        self.publish(index);
    }
}

fn longest(interval: Duration, silence: Duration) -> Option<Duration> {
    let seconds = silence.saturating_sub(EXPIRY_LATE).as_secs();
    let lifetime = Duration::from_secs(seconds);
    (seconds >= 1 && lifetime >= interval + SLACK).then_some(lifetime)
}

impl std::fmt::Display for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("no lease: switched off"),
            Self::Kernel {
                lifetime: Some(lifetime),
            } => write!(f, "lease of {} s", lifetime.as_secs()),
            Self::Kernel { lifetime: None } => {
                f.write_str("no lease: the timers are too short for one")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(interval_ms: u64, silence_s: u64) -> Option<u64> {
        longest(
            Duration::from_millis(interval_ms),
            Duration::from_secs(silence_s),
        )
        .map(|lifetime| lifetime.as_secs())
    }

    #[test]
    fn a_lease_that_begins_late_is_shorter() {
        let millis = Duration::from_millis;
        let rest = |spent| {
            rest(millis(2000), millis(spent), millis(1000 - spent.min(1000)))
                .map(|left| left.as_secs())
        };
        assert_eq!(
            [0, 1, 249, 250, 1000, 1001, 5000].map(rest),
            [Some(2), None, None, Some(1), Some(1), None, None]
        );
    }

    #[test]
    fn a_lease_is_over_before_a_backup_takes_over_and_lasts_to_the_next_renewal() {
        assert_eq!(seconds(1000, 3), Some(2), "the default timers");
        assert_eq!(seconds(1058, 3), Some(2));
        assert_eq!(
            seconds(1937, 3),
            None,
            "demoted by 240: the next advertisement comes too late"
        );
        assert_eq!(seconds(2000, 6), Some(5));
        assert_eq!(seconds(1000, 1), None);
        assert_eq!(seconds(100, 0), None, "advbase 0");
    }
}
