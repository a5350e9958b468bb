//! After the engine's death: letting go of what it held, in its name.

use tracing::{error, info, warn};

use super::will::Will;
use crate::host::netlink::Netlink;
use crate::host::socket::send_frames;

/// Takes down every address and bows out where the dead engine was master: addresses first.
pub(super) fn settle(wills: &[Will]) {
    if wills.iter().all(|will| will.addresses.is_empty() && will.bow_outs.is_empty()) {
        return;
    }
    match Netlink::open() {
        Ok(netlink) => wills.iter().for_each(|will| let_go(&netlink, will)),
        // The kernel's lease takes them down a little later.
        Err(error) => error!(%error, "Could not take the dead engine's addresses down"),
    }
    for will in wills.iter().filter(|will| !will.bow_outs.is_empty()) {
        match send_frames(will.index, &will.bow_outs) {
            Ok(()) => info!(interface = %will.interface, "Bowed out for the dead engine"),
            Err(error) => warn!(interface = %will.interface, %error, "Could not bow out for the dead engine"),
        }
    }
}

fn let_go(netlink: &Netlink, will: &Will) {
    let interface = &will.interface;
    for address in &will.addresses {
        match netlink.delete_address(*address, interface) {
            Ok(_) => info!(%interface, %address, "Took down an address of the dead engine"),
            Err(error) => error!(%interface, %address, %error, "Could not take down an address of the dead engine"),
        }
    }
}
