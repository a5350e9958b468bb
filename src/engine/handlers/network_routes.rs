//! Routes to the networks of virtual addresses: these are held as host addresses, so the kernel
//! does not create any.

use crate::engine::environment::Environment;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::host::FoundAddress;
use crate::types::VirtualAddress;

impl<E: Environment> Engine<E> {
    /// See [`Executor::fit_ways`]; does nothing for a virtual host that holds no addresses.
    pub(in crate::engine) fn fit_ways(&self, index: VhostId, there: &[FoundAddress]) {
        let Some(node) = self.nodes.get(index).filter(|node| node.holding) else {
            return;
        };
        let (spec, held) = (&node.spec, node.holdable().collect::<Vec<_>>());
        self.shared.executor.fit_ways(spec, &held, there, false);
    }

    /// An address was restored: the kernel may have removed the route to its network together with
    /// it.
    pub(in crate::engine) fn lead_again(&self, index: VhostId, address: VirtualAddress) {
        let Some(spec) = self
            .nodes
            .get(index)
            .filter(|node| node.holding)
            .map(|node| &node.spec)
        else {
            return;
        };
        let Some(there) = self.addresses_on(&spec.interface) else {
            return;
        };
        self.shared
            .executor
            .fit_ways(spec, &[address], &there, true);
    }
}
