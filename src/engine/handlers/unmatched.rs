//! Advertisements of vhids that no virtual host here uses: from another group on the same link, or
//! from a peer with a mistyped vhid.

use tracing::{info, warn};

use crate::engine::environment::Environment;
use crate::engine::state::Engine;
use crate::engine::vhost::id::InterfaceId;
use crate::engine::vhost::reject_log::LogPace;
use crate::engine::vhost::unmatched::{Kin, UnmatchedPeer};
use crate::proto::Received;
use crate::proto::wire::{Advertisement, is_intact};
use crate::types::Timestamp;

/// An unmatched advertisement is compared with at most this many virtual hosts: two digests for
/// each.
const COMPARED_MAX: usize = 32;

impl<E: Environment> Engine<E> {
    /// Records an advertisement of a vhid that no virtual host on this interface uses.
    pub(in crate::engine) fn stranger(
        &mut self,
        port: InterfaceId,
        ad: &Advertisement,
        received: &Received<'_>,
        now: Timestamp,
    ) {
        let bytes = received.payload.first_chunk();
        if received.ttl != 255
            || !bytes.is_some_and(|bytes| is_intact(bytes, received.src, received.dst))
        {
            return;
        }
        let Some(known) = self.interfaces.get_mut(port) else {
            return;
        };
        let new = || UnmatchedPeer {
            telling: LogPace::default(),
            count: 0,
            from: received.src,
            at: now,
            kin: Kin::None,
        };
        let stranger = known.unmatched.0.entry(ad.vhid).or_insert_with(new);
        (stranger.from, stranger.at) = (received.src, now);
        stranger.count += 1;
        let (first, told) = (stranger.count == 1, stranger.telling.note(now));
        let Some(count) = told else { return };
        let (kin, interface, src, vhid) = (
            self.kin(port, ad),
            known_name(self, port),
            received.src,
            ad.vhid,
        );
        let likely = kin.likely_cause();
        if kin != Kin::None {
            warn!(%interface, vhid, %src, count, likely, "Heard a vhid that no virtual host here uses");
        } else if first {
            info!(%interface, vhid, %src, count, likely, "Heard a vhid that no virtual host here uses");
        }
        if let Some(stranger) = self
            .interfaces
            .get_mut(port)
            .and_then(|port| port.unmatched.0.get_mut(&vhid))
        {
            stranger.kin = kin;
        }
    }

    fn kin(&self, port: InterfaceId, ad: &Advertisement) -> Kin {
        let members = self
            .interfaces
            .get(port)
            .map(|port| port.members.as_slice())
            .unwrap_or_default();
        let nodes = || {
            members
                .iter()
                .take(COMPARED_MAX)
                .filter_map(|member| self.nodes.get(*member))
        };
        if let Some(node) = nodes().find(|node| node.spec.vhid.get() == ad.vhid) {
            return Kin::Group(node.spec.name.to_string());
        }
        nodes()
            .find(|node| node.machine.would_sign(ad))
            .map_or(Kin::None, |node| Kin::Signs(node.spec.name.to_string()))
    }
}

fn known_name<E: Environment>(engine: &Engine<E>, port: InterfaceId) -> String {
    engine
        .interfaces
        .get(port)
        .map(|port| port.name.to_string())
        .unwrap_or_default()
}
