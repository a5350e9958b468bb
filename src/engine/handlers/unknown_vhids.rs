//! Advertisements of vhids that no virtual host here uses: from another group on the same link, or
//! from a peer with a mistyped vhid.

use tracing::{info, warn};

use crate::engine::environment::Environment;
use crate::engine::state::Engine;
use crate::engine::vhost::id::InterfaceId;
use crate::engine::vhost::reject_log::LogPace;
use crate::engine::vhost::unknown_vhids::{Relation, UnknownVhid};
use crate::proto::Received;
use crate::proto::wire::{Advertisement, is_intact};
use crate::types::Timestamp;

/// An advertisement of an unknown vhid is compared with at most this many virtual hosts: two
/// digests for each.
const COMPARED_MAX: usize = 32;

impl<E: Environment> Engine<E> {
    /// Records an advertisement of a vhid that no virtual host on this interface uses.
    pub(in crate::engine) fn unknown_vhid(
        &mut self,
        id: InterfaceId,
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
        let Some(interface) = self.interfaces.get_mut(id) else {
            return;
        };
        let new = || UnknownVhid {
            log_pace: LogPace::default(),
            count: 0,
            from: received.src,
            at: now,
            relation: Relation::None,
        };
        let unknown = interface.unknown_vhids.0.entry(ad.vhid).or_insert_with(new);
        (unknown.from, unknown.at) = (received.src, now);
        unknown.count += 1;
        let first = unknown.count == 1;
        let Some(count) = unknown.log_pace.note(now) else {
            return;
        };
        let (relation, src, vhid) = (self.relation(id, ad), received.src, ad.vhid);
        let Some(interface) = self.interfaces.get_mut(id) else {
            return;
        };
        let (name, likely) = (&interface.name, relation.likely_cause());
        if relation != Relation::None {
            warn!(interface = %name, vhid, %src, count, likely, "Heard a vhid that no virtual host here uses");
        } else if first {
            info!(interface = %name, vhid, %src, count, likely, "Heard a vhid that no virtual host here uses");
        }
        if let Some(unknown) = interface.unknown_vhids.0.get_mut(&vhid) {
            unknown.relation = relation;
        }
    }

    fn relation(&self, id: InterfaceId, ad: &Advertisement) -> Relation {
        let members = self
            .interfaces
            .get(id)
            .map(|interface| interface.members.as_slice())
            .unwrap_or_default();
        let nodes = || {
            members
                .iter()
                .take(COMPARED_MAX)
                .filter_map(|member| self.nodes.get(*member))
        };
        if let Some(node) = nodes().find(|node| node.spec.vhid.get() == ad.vhid) {
            return Relation::OtherGroup(node.spec.name.to_string());
        }
        nodes()
            .find(|node| node.machine.would_sign(ad))
            .map_or(Relation::None, |node| {
                Relation::SameSignature(node.spec.name.to_string())
            })
    }
}
