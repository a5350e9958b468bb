//! Virtual hosts whose addresses are on a macvlan with their virtual hardware address
//! ([ADR 0058](../../../docs/adr/0058-virtual-hardware-addresses.md)).

use std::rc::Rc;
use std::time::Duration;

use tracing::{info, warn};

use crate::engine::environment::Environment;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::interface::Interface;
use crate::engine::vhost::node::{Gate, Node};
use crate::host::{Host as _, clock};
use crate::types::{IfName, Timestamp};

/// The delay before looking again whether a macvlan has been removed.
const AGAIN: Duration = Duration::from_millis(5);

/// A device with virtual addresses, and those who have them there.
#[derive(Debug)]
pub(in crate::engine) struct Place {
    pub(in crate::engine) dev: IfName,
    pub(in crate::engine) members: Vec<VhostId>,
}

impl<E: Environment> Engine<E> {
    /// The number of the link that has a virtual host's addresses while it holds them.
    pub(in crate::engine) fn link_with_addresses(&self, node: &Node<E::Host>) -> Option<u32> {
        if node.spec.virtual_mac {
            return node.macvlan;
        }
        let interface = self.interfaces.get(node.interface);
        interface.and_then(Interface::index)
    }

    /// Who has addresses on the link with this number, if that is up or on one that is.
    pub(in crate::engine) fn place_of(&self, link: u32) -> Option<Place> {
        let is_it = |interface: &&Interface<_>| interface.index() == Some(link);
        if let Some(interface) = self.interfaces.iter().find(is_it) {
            let there = |member: &VhostId| {
                let node = self.nodes.get(*member);
                node.is_some_and(|node| !node.spec.virtual_mac)
            };
            let members = interface.members.iter().copied().filter(there);
            return Some(Place {
                dev: interface.name.clone(),
                members: members.collect(),
            });
        }
        let (id, node) = self
            .nodes
            .iter()
            .find(|(_, node)| node.macvlan == Some(link))?;
        Some(Place {
            dev: node.spec.device(),
            members: vec![id],
        })
    }

    /// The addresses are up: on which device?
    pub(in crate::engine) fn note_device(&mut self, index: VhostId) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let found = node.spec.virtual_mac.then(|| node.spec.device());
        let found = found.and_then(|dev| self.shared.executor.host().find_link(&dev).ok()?);
        node.macvlan = found.map(|link| link.index);
    }

    /// The addresses are gone: removes the macvlan, outside the loop.
    pub(in crate::engine) fn remove_device(&mut self, index: VhostId) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.macvlan = None;
        let shared = Rc::clone(&self.shared);
        let Some(removal) = shared.executor.begin_removal(&node.spec.name) else {
            return;
        };
        tokio::task::spawn_local(async move { shared.executor.end_removal(removal).await });
    }

    /// Whether a new master has to wait for the macvlan that it had before to be removed.
    pub(in crate::engine) fn waits_for_device(&mut self, index: VhostId, now: Timestamp) -> bool {
        let waits = self.look_again_for_device(index, now);
        if let Some(node) = self.nodes.get_mut(index).filter(|_| waits) {
            node.gate = Gate::Device;
        }
        waits
    }

    /// Whether the macvlan that it had before is still being removed; then it is looked at again.
    pub(in crate::engine) fn look_again_for_device(
        &mut self,
        index: VhostId,
        now: Timestamp,
    ) -> bool {
        let Some(node) = self.nodes.get_mut(index) else {
            return false;
        };
        if !node.spec.virtual_mac || !self.shared.executor.is_going(&node.spec.device()) {
            return false;
        }
        node.device_again = Some(now + AGAIN);
        true
    }

    /// It may be gone now.
    pub(in crate::engine) fn device_again(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.device_again = None;
        match node.gate {
            Gate::Device if node.is_master() => {
                self.take_addresses(index, now);
                self.publish(index);
            }
            // The members of a group take theirs together.
            Gate::Together => self.flush(index, now),
            _ => {}
        }
    }

    /// The link with this number was set down or removed. If it is the macvlan of a master, somebody
    /// else did that, and it is put back with its addresses.
    pub(in crate::engine) fn device_changed(&mut self, link: u32) {
        let is_it = |node: &Node<E::Host>| node.holding && node.macvlan == Some(link);
        let mut nodes = self.nodes.iter();
        let found = nodes.find(|(_, node)| is_it(node)).map(|(id, _)| id);
        drop(nodes);
        if let Some(id) = found {
            self.look_at_device(id);
        }
    }

    /// Puts a master's macvlan back if it is gone or down.
    pub(in crate::engine) fn look_at_device(&mut self, index: VhostId) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        if !node.holding || !node.spec.virtual_mac {
            return;
        }
        let there = self.shared.executor.host().find_link(&node.spec.device());
        let there = there.ok().flatten();
        let is_well = there.is_some_and(|link| link.up && node.macvlan == Some(link.index));
        // A macvlan goes with the interface that it is on.
        let interface = self.interfaces.get(node.interface);
        if is_well || !interface.is_some_and(Interface::is_up) {
            return;
        }
        let now = clock::now();
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if node.expired(now).is_some() || !node.put_back.may(now) {
            return;
        }
        let Some(lease) = self.lease_now(index, now) else {
            return;
        };
        let Some(node) = self.nodes.get(index).filter(|node| node.holding) else {
            return;
        };
        let (spec, held) = (&node.spec, node.holdable().collect::<Vec<_>>());
        let (vhost, device) = (&spec.name, spec.device());
        match self.shared.executor.hold_addresses(spec, &held, lease) {
            Ok(()) => {
                info!(%vhost, %device, "Restored a macvlan that someone removed or set down");
                self.note_device(index);
                self.announce(index);
            }
            // The interface has gone, and its own event is on the way.
            Err(error) if error.is(libc::ENODEV) => {
                warn!(%vhost, %device, %error, "Could not restore a macvlan");
            }
            Err(error) => {
                self.address_failed(index, &error, now);
                self.flush(index, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::effect::{ArpMode, Effect, Resource, Value};
    use crate::engine::sim::bench::{Bench, Frames, engine, link, play, step};
    use crate::host::SimHost;
    use crate::host::kernel::netlink::HostEvent;
    use crate::proto::Input;
    use crate::types::{MacAddr, State, Vhid};

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 22));

    fn device() -> IfName {
        "eth0.c40".parse().unwrap()
    }

    fn value(engine: &Engine<Bench>, resource: &Resource) -> Value {
        engine.shared.executor.host().value(resource)
    }

    fn address(dev: IfName) -> Resource {
        Resource::Address { dev, ip: IP }
    }

    fn macvlan() -> Resource {
        Resource::Macvlan { dev: device() }
    }

    fn arp() -> Resource {
        Resource::LinkArp { dev: link().name }
    }

    async fn master(clock: &clock::Virtual, wire: &Frames, host: SimHost) -> Engine<Bench> {
        // Without an address of its own, the hardware address tells nodes apart.
        let more = "virtual-mac = true\nsource-address = \"10.0.0.1\"\n";
        let mut engine = engine(host, wire, more).await;
        while !engine.first().is_master() {
            step(&mut engine, clock);
        }
        engine
    }

    /// Until nothing is being removed.
    async fn settled(engine: &Engine<Bench>, clock: &clock::Virtual) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
            if let Some(next) = clock.next() {
                clock.advance(next.max(clock::now()));
                clock.wake_one(|_| 0);
            }
        }
        assert!(!engine.shared.executor.is_going(&device()));
    }

    #[test]
    fn a_master_has_the_device_and_nobody_else() {
        play(async |clock| {
            let wire = Frames::default();
            let mut engine = master(&clock, &wire, SimHost::new().with_link(link())).await;
            let virtual_mac = MacAddr::of_vhid(Vhid::new(40).unwrap());
            assert_eq!(value(&engine, &macvlan()), Value::Macvlan(virtual_mac));
            assert_ne!(value(&engine, &address(device())), Value::Absent);
            assert_eq!(value(&engine, &address(link().name)), Value::Absent);
            let restrained = ArpMode {
                ignore: 1,
                announce: 2,
            };
            assert_eq!(value(&engine, &arp()), Value::Arp(restrained));
            let announced = engine.shared.executor.host().performed();
            let announced = announced
                .iter()
                .any(|effect| matches!(effect, Effect::Announce { dev, .. } if *dev == device()));
            assert!(announced);
            let from_virtual = |frame: &Vec<u8>| frame[6..12] == virtual_mac.0;
            let sent = wire.take();
            assert!(!sent.is_empty() && sent.iter().all(from_virtual));
            engine.handle(VhostId::FIRST, Input::Shutdown, clock::now());
            // The address goes at once, and the bow-out must not teach a switch the old port.
            assert_eq!(value(&engine, &address(device())), Value::Absent);
            let sent = wire.take();
            assert!(!sent.is_empty() && !sent.iter().any(from_virtual));
            settled(&engine, &clock).await;
            assert_eq!(value(&engine, &macvlan()), Value::Absent);
            assert_eq!(value(&engine, &arp()), Value::Arp(ArpMode::default()));
            assert!(engine.shared.executor.is_clean());
        });
    }

    #[test]
    fn who_is_master_again_waits_for_the_device_to_go() {
        play(async |clock| {
            let host = SimHost::new().with_link(link());
            let mut engine = master(&clock, &Frames::default(), host).await;
            let now = clock::now();
            engine.handle(VhostId::FIRST, Input::LinkDown, now);
            engine.handle(VhostId::FIRST, Input::LinkUp, now);
            assert!(engine.shared.executor.is_going(&device()));
            engine.take_addresses(VhostId::FIRST, now);
            let node = engine.first();
            assert_eq!((node.gate, node.holding), (Gate::Device, false));
            settled(&engine, &clock).await;
            while !engine.first().holding {
                step(&mut engine, &clock);
            }
            assert_ne!(value(&engine, &address(device())), Value::Absent);
        });
    }

    #[test]
    fn a_device_that_someone_else_made_is_refused_and_stays() {
        play(async |clock| {
            let foreign = crate::effect::Link {
                name: device(),
                index: 77,
                ..link()
            };
            let host = SimHost::new().with_link(link()).with_link(foreign.clone());
            let mut engine = master(&clock, &Frames::default(), host).await;
            for _ in 0..20 {
                step(&mut engine, &clock);
                assert!(!engine.first().holding);
            }
            settled(&engine, &clock).await;
            assert_eq!(engine.shared.executor.host().link(&device()), Some(foreign));
            assert_eq!(value(&engine, &arp()), Value::Arp(ArpMode::default()));
        });
    }

    #[test]
    fn what_someone_removes_is_put_back() {
        play(async |clock| {
            let host = SimHost::new().with_link(link());
            let mut engine = master(&clock, &Frames::default(), host).await;
            let host = engine.shared.executor.host().clone();
            let there = host.link(&device()).unwrap();
            let removed = Effect::MacvlanDelete { dev: device() };
            host.perform_now(&crate::effect::Granted::by_daemon(removed))
                .unwrap();
            engine.host_event(HostEvent::LinkGone {
                link: there,
                moved: false,
            });
            assert_ne!(value(&engine, &macvlan()), Value::Absent);
            assert_ne!(value(&engine, &address(device())), Value::Absent);
            assert_eq!(engine.first().machine.state(), State::Master);
        });
    }
}
