//! Other hosts that claim our addresses. They are listened to all the time and asked sparsely
//! (RFC 5227); no takeover waits for any of it.

use std::net::IpAddr;
use std::time::Duration;

use tracing::warn;

use crate::config::OnConflict;
use crate::engine::environment::Environment;
use crate::engine::notices::of_vhost;
use crate::engine::state::Engine;
use crate::engine::vhost::id::{InterfaceId, VhostId};
use crate::engine::vhost::node::Node;
use crate::host::kernel::claims;
use crate::journal::Note;
use crate::notification::{EventKind, Subject};
use crate::types::{MacAddr, State, Timestamp};

/// How many addresses are asked for at a time.
const PROBES: usize = 8;
/// After a change of state everything else comes first.
const FIRST: Duration = Duration::from_secs(4);

impl<E: Environment> Engine<E> {
    /// Whether the frame is such a claim; then it is dealt with.
    pub(in crate::engine) fn claimed(
        &mut self,
        id: InterfaceId,
        frame: &[u8],
        now: Timestamp,
    ) -> bool {
        let Some((address, mac)) = claims::claim(frame) else {
            return false;
        };
        let Some(interface) = self.interfaces.get_mut(id) else {
            return true;
        };
        if interface.link().is_some_and(|link| link.mac == mac) {
            return true;
        }
        // Anybody on the link can announce as much as he likes.
        if !interface.watches(address) {
            interface.announced.note(address);
            return true;
        }
        for member in interface.members.clone() {
            self.claimed_from(member, address, mac, now);
        }
        true
    }

    fn claimed_from(&mut self, index: VhostId, address: IpAddr, mac: MacAddr, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        // Ours, or that of another master, whose advertisements settle it.
        if node.spec.virtual_mac && mac == MacAddr::of_vhid(node.spec.vhid) {
            node.conflicts.masters_are_virtual();
            return;
        }
        let holds = node.holding;
        let takes_part = node.machine.state() != State::Init;
        if !takes_part || !node.spec.addresses.iter().any(|own| own.ip == address) {
            return;
        }
        if let Some(heard) = node.machine.heard() {
            node.conflicts.led_by(heard.from, now);
        }
        let alone = holds || node.conflicts.are_masters_virtual();
        let is_new = node.conflicts.note(address, mac, alone, now);
        let (vhost, policy) = (&node.spec.name, node.spec.on_conflict);
        if is_new {
            warn!(%vhost, %address, %mac, "Another host has this address");
            let text = format!("another host, {mac}, has {address}");
            let subject = Subject {
                peer: Some(mac.to_string()),
                ..of_vhost(&node.spec)
            };
            let said = format!("{vhost}: {text}");
            self.shared
                .notices
                .tell(EventKind::Conflict, &said, subject);
            let note = Note::Remark { text };
            self.shared
                .journal
                .borrow_mut()
                .note(now, index.number(), note);
        }
        if !holds {
            return;
        }
        match policy {
            OnConflict::Defend => {
                if node.conflicts.defend(now) {
                    self.announce(index);
                }
            }
            OnConflict::Resign if is_new => {
                let reason = format!("another host, {mac}, has {address}");
                self.hook_resigns(index, reason, now);
            }
            OnConflict::Report | OnConflict::Resign => {}
        }
    }

    /// The state has changed: who claims the addresses is seen anew.
    pub(in crate::engine) fn watch_anew(&mut self, index: VhostId, now: Timestamp) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.conflicts.begin_anew(now);
            let probes = node.machine.state() != State::Init && !node.spec.probe_interval.is_zero();
            node.conflicts.probe = probes.then(|| now + FIRST);
        }
    }

    /// It is time to ask who has some of the addresses.
    pub(in crate::engine) fn probe(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let interval = node.spec.probe_interval;
        node.conflicts.probe = (!interval.is_zero()).then(|| now + interval);
        if node.machine.state() == State::Init {
            node.conflicts.probe = None;
            return;
        }
        let count = node.spec.addresses.len();
        let first = node.conflicts.next.checked_rem(count).unwrap_or(0);
        node.conflicts.next = first + PROBES;
        let addresses = node.spec.addresses.iter().cycle().skip(first);
        let addresses = addresses.take(count.min(PROBES)).map(|address| address.ip);
        if let Some(interface) = self.interfaces.get(node.interface) {
            addresses.for_each(|address| interface.probe(address));
        }
    }

    /// The addresses of the virtual hosts on an interface are those whose claims are listened to.
    pub(in crate::engine) fn watch_claims(&mut self, id: InterfaceId) {
        let Some(interface) = self.interfaces.get(id) else {
            return;
        };
        let of = |member: &VhostId| self.nodes.get(*member);
        let nodes = interface.members.iter().filter_map(of);
        let addresses = nodes.flat_map(|node: &Node<E::Host>| &node.spec.addresses);
        let addresses = addresses.map(|address| address.ip).collect();
        if let Some(interface) = self.interfaces.get_mut(id) {
            interface.watch_claims(addresses);
        }
    }
}
