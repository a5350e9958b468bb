//! Virtual addresses that are up on another interface of this machine, such as `lo` or a bridge.
//! Linux answers for all its addresses on any interface, so a backup with such an address answers
//! as well as the master, and status must say so.
//!
//! The virtual host takes part anyway: where such addresses do not answer (`arp_ignore`), they are
//! there on purpose.

use std::net::IpAddr;

use tracing::{info, warn};

use crate::engine::environment::Environment;
use crate::engine::report::Elsewhere;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::host::Host as _;
use crate::types::IfName;

impl<E: Environment> Engine<E> {
    /// Checks whether a virtual host's addresses are up on other interfaces: one exchange with the
    /// kernel for each.
    pub(in crate::engine) fn look_elsewhere(&mut self, index: VhostId) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let (spec, interface) = (&node.spec, self.interfaces.get(node.interface));
        let device = spec.device();
        let host = self.shared.executor.host();
        // The kernel uses the primary name, the configuration perhaps another one.
        let is_its_own = |dev: &IfName| {
            *dev == spec.interface
                || (node.holding && *dev == device)
                || interface
                    .and_then(|interface| interface.link())
                    .is_some_and(|link| link.is_called(dev))
        };
        let other = |ip: IpAddr| {
            let interface = host
                .device_of(ip)
                .ok()
                .flatten()
                .filter(|dev| !is_its_own(dev))?;
            Some(Elsewhere {
                address: ip,
                interface,
            })
        };
        let found: Vec<_> = spec
            .addresses
            .iter()
            .filter_map(|address| other(address.ip))
            .collect();
        if found == node.elsewhere {
            return;
        }
        let vhost = &spec.name;
        for Elsewhere { address, interface } in &found {
            warn!(%vhost, %address, %interface, "A virtual address is up on another interface: this host answers for it, master or not");
        }
        if found.is_empty() {
            info!(%vhost, "Its addresses are no longer up on other interfaces");
        }
        node.elsewhere = found;
    }
}
