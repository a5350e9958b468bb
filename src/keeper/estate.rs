//! After the engine's death: letting go of what it held, in its name.

use std::io;

use tracing::{error, info, warn};

use super::will::Will;
use crate::host::HostError;
use crate::host::netlink::Netlink;
use crate::host::socket::Senders;
use crate::types::VirtualAddress;

/// Takes down every address and bows out where the dead engine was master.
pub(super) fn settle(wills: &[Will]) {
    if wills
        .iter()
        .all(|will| will.addresses.is_empty() && will.bow_outs.is_empty())
    {
        return;
    }
    let netlink = Netlink::open();
    let take_down = |will: &Will, address| match &netlink {
        Ok(netlink) => netlink.delete_address(address, &will.interface).map(drop),
        Err(error) => Err(error.clone()),
    };
    // All are closed in the end: until then nobody waits for that.
    let senders = Senders::default();
    settle_by(wills, take_down, |will, frame| {
        senders.send(will.index, frame)
    });
}

/// One virtual host after the other: a successor need not wait for the addresses of the others.
fn settle_by(
    wills: &[Will],
    take_down: impl Fn(&Will, VirtualAddress) -> Result<(), HostError>,
    send: impl Fn(&Will, &[u8]) -> io::Result<()>,
) {
    for will in wills {
        if !let_go(will, &take_down) || will.bow_outs.is_empty() {
            continue;
        }
        match will.bow_outs.iter().try_for_each(|frame| send(will, frame)) {
            Ok(()) => info!(interface = %will.interface, "Bowed out for the dead engine"),
            Err(error) => {
                warn!(interface = %will.interface, %error, "Could not bow out for the dead engine");
            }
        }
    }
}

/// True if nothing of it is up any more. Who still has an address must not call a successor: the
/// kernel's lease takes it down before one comes by itself.
fn let_go(
    will: &Will,
    take_down: &impl Fn(&Will, VirtualAddress) -> Result<(), HostError>,
) -> bool {
    let interface = &will.interface;
    let mut all = true;
    for address in &will.addresses {
        match take_down(will, *address) {
            Ok(()) => info!(%interface, %address, "Took down an address of the dead engine"),
            Err(error) => {
                all = false;
                error!(%interface, %address, %error, "Could not take down an address of the dead engine");
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_still_has_an_address_calls_no_successor() {
        let addresses: Vec<VirtualAddress> = ["10.0.0.1/24", "10.0.0.2/24"]
            .map(|text| text.parse().unwrap())
            .into();
        let will = Will {
            interface: "eth0".parse().unwrap(),
            index: 2,
            addresses,
            bow_outs: vec![vec![7; 70]],
        };
        assert!(let_go(&will, &|_: &Will, _| Ok(())));
        let tried = std::cell::Cell::new(0);
        let first_is_refused = |_: &Will, address: VirtualAddress| {
            tried.set(tried.get() + 1);
            let refusal = HostError {
                message: "the kernel did not answer".into(),
                errno: None,
            };
            if address.ip.to_string() == "10.0.0.1" {
                Err(refusal)
            } else {
                Ok(())
            }
        };
        assert!(!let_go(&will, &first_is_refused));
        assert_eq!(tried.get(), 2, "the others go all the same");
    }

    #[test]
    fn each_bows_out_as_soon_as_its_own_addresses_are_gone() {
        let will = |index, addresses: &[&str]| Will {
            interface: "eth0".parse().unwrap(),
            index,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            bow_outs: vec![vec![7; 70]],
        };
        let wills = [
            will(1, &["10.0.0.1/24", "10.0.0.2/24"]),
            will(2, &["10.0.0.3/24"]),
            will(3, &["10.0.0.4/24"]),
        ];
        let done = std::cell::RefCell::new(Vec::new());
        let take_down = |_: &Will, address: VirtualAddress| {
            done.borrow_mut().push(address.ip.to_string());
            let refusal = HostError {
                message: "the kernel did not answer".into(),
                errno: None,
            };
            if address.ip.to_string() == "10.0.0.3" {
                Err(refusal)
            } else {
                Ok(())
            }
        };
        settle_by(&wills, take_down, |will, _| {
            done.borrow_mut().push(format!("bow-out {}", will.index));
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
                "bow-out 3"
            ]
        );
    }
}
