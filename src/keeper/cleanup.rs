//! After a crash of the engine: releases the addresses that it held, and bows out in its place.

use std::collections::BTreeSet;
use std::io;

use tracing::{error, info, warn};

use super::failsafe::FailSafe;
use crate::host::HostError;
use crate::host::kernel::netlink::Netlink;
use crate::host::kernel::socket::{Outgoing, Senders};
use crate::types::VirtualAddress;

/// Removes every address and bows out where the dead engine was master.
pub(super) fn release_on_death(entries: &[FailSafe]) {
    if entries
        .iter()
        .all(|entry| entry.addresses.is_empty() && entry.bow_outs.is_empty())
    {
        return;
    }
    let netlink = Netlink::open();
    let remove = |entry: &FailSafe, address| match &netlink {
        Ok(netlink) => netlink.delete_address(address, &entry.interface).map(drop),
        Err(error) => Err(error.clone()),
    };
    // Closing a socket takes time: all are closed at the end.
    let senders = Senders::default();
    release_by(entries, remove, |entry, bow_out| {
        senders.send(entry.index, bow_out)
    });
}

/// Handles one virtual host after the other, so that its successor need not wait for the others; the
/// members of a group together, since its successor takes all.
fn release_by(
    entries: &[FailSafe],
    remove: impl Fn(&FailSafe, VirtualAddress) -> Result<(), HostError>,
    send: impl Fn(&FailSafe, &Outgoing) -> io::Result<()>,
) {
    let mut done = BTreeSet::new();
    for entry in entries {
        let together: Vec<&FailSafe> = match entry.group {
            None => vec![entry],
            Some(group) if done.insert(group) => {
                let all = entries.iter();
                all.filter(|other| other.group == Some(group)).collect()
            }
            Some(_) => continue,
        };
        let held = together
            .iter()
            .filter(|entry| !release(entry, &remove))
            .count();
        if held == 0 {
            for entry in together {
                bow_out(entry, &send);
            }
        }
    }
}

fn bow_out(entry: &FailSafe, send: &impl Fn(&FailSafe, &Outgoing) -> io::Result<()>) {
    if entry.bow_outs.is_empty() {
        return;
    }
    match entry
        .bow_outs
        .iter()
        .try_for_each(|bow_out| send(entry, bow_out))
    {
        Ok(()) => info!(interface = %entry.interface, "Bowed out in place of the dead engine"),
        Err(error) => {
            warn!(interface = %entry.interface, %error, "Could not bow out in place of the dead engine");
        }
    }
}

/// Removes the addresses of one virtual host. True if all are gone: while one is left there must be
/// no bow-out, which would call a successor. The kernel's lease removes that address before a
/// successor comes by itself.
fn release(
    entry: &FailSafe,
    remove: &impl Fn(&FailSafe, VirtualAddress) -> Result<(), HostError>,
) -> bool {
    let interface = &entry.interface;
    let mut all = true;
    for address in &entry.addresses {
        match remove(entry, *address) {
            Ok(()) => info!(%interface, %address, "Removed an address of the dead engine"),
            Err(error) => {
                all = false;
                error!(%interface, %address, %error, "Could not remove an address of the dead engine");
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_successor_is_called_while_an_address_is_left() {
        let addresses: Vec<VirtualAddress> = ["10.0.0.1/24", "10.0.0.2/24"]
            .map(|text| text.parse().unwrap())
            .into();
        let entry = FailSafe {
            interface: "eth0".parse().unwrap(),
            index: 2,
            addresses,
            bow_outs: vec![Outgoing::Frame(vec![7; 70])],
            group: None,
        };
        assert!(release(&entry, &|_: &FailSafe, _| Ok(())));
        let tried = std::cell::Cell::new(0);
        let first_is_refused = |_: &FailSafe, address: VirtualAddress| {
            tried.set(tried.get() + 1);
            let refusal = HostError::new("the kernel did not answer");
            if address.ip.to_string() == "10.0.0.1" {
                Err(refusal)
            } else {
                Ok(())
            }
        };
        assert!(!release(&entry, &first_is_refused));
        assert_eq!(tried.get(), 2, "the others are removed all the same");
    }

    #[test]
    fn each_bows_out_as_soon_as_its_own_addresses_are_gone_and_those_of_its_group() {
        let entry = |index, group, addresses: &[&str]| FailSafe {
            interface: "eth0".parse().unwrap(),
            index,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            bow_outs: vec![Outgoing::Frame(vec![7; 70])],
            group,
        };
        let entries = [
            entry(1, None, &["10.0.0.1/24", "10.0.0.2/24"]),
            entry(2, None, &["10.0.0.3/24"]),
            entry(3, None, &["10.0.0.4/24"]),
            entry(4, Some(0), &["10.0.0.5/24"]),
            entry(5, Some(1), &["10.0.0.6/24"]),
            entry(6, Some(0), &["10.0.0.7/24"]),
            entry(7, Some(1), &["10.0.0.3/24"]),
        ];
        let done = std::cell::RefCell::new(Vec::new());
        let remove = |_: &FailSafe, address: VirtualAddress| {
            done.borrow_mut().push(address.ip.to_string());
            let refusal = HostError::new("the kernel did not answer");
            if address.ip.to_string() == "10.0.0.3" {
                Err(refusal)
            } else {
                Ok(())
            }
        };
        release_by(&entries, remove, |entry, _| {
            done.borrow_mut().push(format!("bow-out {}", entry.index));
            Ok(())
        });
        assert_eq!(
            done.take(),
            [
                "10.0.0.1",
                "10.0.0.2",
                "bow-out 1",
                "10.0.0.3",
                "10.0.0.4",
                "bow-out 3",
                "10.0.0.5",
                "10.0.0.7",
                "bow-out 4",
                "bow-out 6",
                "10.0.0.6",
                "10.0.0.3"
            ]
        );
    }
}
