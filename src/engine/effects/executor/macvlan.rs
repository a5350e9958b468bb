//! The macvlan that has a virtual host's addresses under its virtual hardware address
//! ([ADR 0058](../../../../docs/adr/0058-virtual-hardware-addresses.md)).
//!
//! It is created in the turn in which the virtual host becomes master. The kernel takes some 20 ms to
//! remove it, so that is done outside the loop; the addresses are gone long before.

use std::time::Duration;

use futures_util::FutureExt as _;
use tracing::warn;

use super::Executor;
use crate::config;
use crate::effect::{ArpMode, Effect, Granted, Resource, Value};
use crate::engine::effects::foreign_addresses::taken;
use crate::engine::effects::undo::Undone;
use crate::host::{Host, HostError};
use crate::ledger::{Of, Owner};
use crate::types::{Family, IfName, MacAddr, Name};

/// A look at one device takes no longer.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// Is it the macvlan of a virtual host, or how its parent takes part in ARP meanwhile?
pub(in crate::engine) const fn is_of_device(resource: &Resource) -> bool {
    matches!(
        resource,
        Resource::Macvlan { .. } | Resource::LinkArp { .. }
    )
}

/// What is to be removed.
#[derive(Debug)]
pub(in crate::engine) struct Removal {
    vhost: Name,
    devices: Vec<IfName>,
}

impl<H: Host> Executor<H> {
    /// Creates the virtual host's macvlan, unless it is there. Its parent must not answer for the
    /// addresses, nor ask from them, with its own hardware address.
    ///
    /// # Errors
    /// The kernel's words; or there is a device of this name that we did not create.
    pub(in crate::engine) fn raise_device(&self, spec: &config::Vhost) -> Result<(), HostError> {
        if !spec.virtual_mac {
            return Ok(());
        }
        let dev = spec.device();
        let resource = Resource::Macvlan { dev: dev.clone() };
        let owner = Owner {
            vhost: spec.name.clone(),
            hook: None,
        };
        let there = self.host.find_link(&dev)?;
        if self.is_going(&dev) {
            let message = format!("the macvlan {dev} is still being removed");
            return Err(HostError::errno(message, libc::EBUSY));
        }
        match there {
            Some(link) if self.ledger.borrow().undo_of(&owner, &resource).is_some() => {
                if link.up {
                    return Ok(());
                }
                let effect = Effect::LinkSetUp { dev, up: true };
                return self.host.perform_now(&Granted::by_daemon(effect)).map(drop);
            }
            Some(_) => return Err(foreign(&dev)),
            None => {}
        }
        self.restrain(&owner, &spec.interface)?;
        let mac = MacAddr::of_vhid(spec.vhid);
        let mut ledger = self.ledger.borrow_mut();
        ledger.claim_own(&owner, &resource, Value::Macvlan(mac));
        drop(ledger);
        let effect = Effect::MacvlanAdd {
            dev: dev.clone(),
            parent: spec.interface.clone(),
            mac,
            ipv6: spec.addresses.iter().any(|a| a.family() == Family::V6),
        };
        let added = self.host.perform_now(&Granted::by_daemon(effect));
        if matches!(&added, Err(error) if error.is(libc::EEXIST)) {
            // It came between the look and now, and is not ours.
            self.ledger.borrow_mut().settle(&owner, &resource);
            return Err(foreign(&dev));
        }
        added.map(drop)
    }

    /// As long as a macvlan on it has virtual addresses, a device takes part in ARP with its own
    /// addresses alone.
    fn restrain(&self, owner: &Owner, parent: &IfName) -> Result<(), HostError> {
        let resource = Resource::LinkArp {
            dev: parent.clone(),
        };
        let observed = self.host.observe(&resource, LOOK_LIMIT).now_or_never();
        let before = observed.transpose()?.unwrap_or(Value::Absent);
        let arp = if let Value::Arp(arp) = before {
            arp
        } else {
            ArpMode::default()
        };
        let wanted = arp.for_own_addresses();
        let held = self.ledger.borrow().holds(&resource);
        if wanted == arp && !held {
            // So it was before us, and so it stays.
            return Ok(());
        }
        let mut ledger = self.ledger.borrow_mut();
        ledger.claim_own_over(owner, &resource, before, Value::Arp(wanted));
        drop(ledger);
        let effect = Effect::LinkSetArp {
            dev: parent.clone(),
            arp: wanted,
        };
        self.host.perform_now(&Granted::by_daemon(effect)).map(drop)
    }

    /// Whether the device of this name is still being removed.
    pub(in crate::engine) fn is_going(&self, dev: &IfName) -> bool {
        let resource = Resource::Macvlan { dev: dev.clone() };
        self.going.borrow().contains(dev) || self.recovery.is_undoing(&resource)
    }

    /// Begins to remove the virtual host's macvlan, whose addresses are gone; `None` if there is
    /// nothing to remove, or it is being removed. [`Self::end_removal`] does it.
    pub(in crate::engine) fn begin_removal(&self, vhost: &Name) -> Option<Removal> {
        let plan = self.ledger.borrow().undo_plan(vhost, Of::Daemon);
        let of_device = || {
            plan.iter()
                .map(|undo| &undo.resource)
                .filter(|resource| is_of_device(resource))
        };
        let device = |resource: &Resource| match resource {
            Resource::Macvlan { dev } => Some(dev.clone()),
            _ => None,
        };
        let devices: Vec<IfName> = of_device().filter_map(device).collect();
        let mut going = self.going.borrow_mut();
        if of_device().next().is_none() || devices.iter().any(|dev| going.contains(dev)) {
            return None;
        }
        going.extend(devices.iter().cloned());
        Some(Removal {
            vhost: vhost.clone(),
            devices,
        })
    }

    /// Removes a macvlan, and lets its parent take part in ARP as before.
    pub(in crate::engine) async fn end_removal(&self, removal: Removal) {
        let Removal { vhost, devices } = removal;
        let undone = self.undo_device(&vhost).await;
        self.going.borrow_mut().retain(|dev| !devices.contains(dev));
        self.gone.notify_waiters();
        if undone.failed > 0 {
            warn!(%vhost, "Something that a virtual hardware address needed is left; it is tried again the next time that the addresses are released");
        }
    }

    /// Undoes what the virtual hardware address of a virtual host needed.
    pub(in crate::engine) async fn undo_device(&self, vhost: &Name) -> Undone {
        let mut plan = self.ledger.borrow().undo_plan(vhost, Of::Daemon);
        plan.retain(|undo| is_of_device(&undo.resource));
        self.undo_all(plan).await
    }

    /// Waits until no macvlan is being removed.
    pub(in crate::engine) async fn devices_gone(&self) {
        loop {
            let gone = self.gone.notified();
            if self.going.borrow().is_empty() {
                return;
            }
            gone.await;
        }
    }
}

fn foreign(dev: &IfName) -> HostError {
    HostError::errno(taken(dev), libc::EEXIST)
}
