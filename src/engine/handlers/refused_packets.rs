//! Advertisements that are refused: why, as far as it can be found out, and for whom to know.

use std::net::IpAddr;
use std::time::Duration;

use tracing::warn;

use crate::engine::environment::Environment;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::journal::Note;
use crate::proto::Reject;
use crate::types::Timestamp;

/// A refused advertisement is compared with at most this many other virtual hosts: two digests for
/// each.
const COMPARED_MAX: usize = 32;

/// Between two such comparisons, of whatever virtual host.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl<E: Environment> Engine<E> {
    /// Finds out what is different about an advertisement whose digest was just refused, unless
    /// that was done for this sender recently.
    pub(in crate::engine) fn look_closer(
        &mut self,
        index: VhostId,
        reject: Reject,
        src: IpAddr,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        let busy = |at: Timestamp| now.since(at) < LOOK_AGAIN;
        if reject != Reject::Digest
            || self.looked_closer.is_some_and(busy)
            || !node.refusals.deserves_a_look(reject, now)
        {
            return;
        }
        let Some(ad) = node.machine.refused() else {
            return;
        };
        self.looked_closer = Some(now);
        let difference = node.machine.difference(ad, src);
        let found = difference.map(|difference| difference.to_string()).or_else(|| {
            let members = &self.interfaces.get(node.interface)?.members;
            let mut others = members
                .iter()
                .filter(|member| **member != index)
                .take(COMPARED_MAX)
                .filter_map(|member| self.nodes.get(*member));
            let owner = others.find(|other| other.machine.would_sign(ad))?;
            let name = &owner.spec.name;
            Some(format!(
                "it has the password and addresses of {name}, so it uses the wrong vhid, or {name} does"
            ))
        });
        if let Some(node) = self.nodes.get_mut(index) {
            node.refusals.looked(reject, found, now);
        }
    }

    /// Says in the log and the journal that advertisements are refused.
    pub(in crate::engine) fn tell_refused(
        &self,
        index: VhostId,
        reject: Reject,
        src: IpAddr,
        count: u64,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        let (vhost, vhid, reason) = (&node.spec.name, node.spec.vhid, reject.as_str());
        let likely = node.refusals.cause(reject);
        warn!(%vhost, %vhid, %src, reason, problem = %reject, count, likely, "Refusing advertisements");
        if let Some(text) = node.refusals.told(reject, count) {
            let mut journal = self.shared.journal.borrow_mut();
            journal.note(now, index.number(), Note::Remark { text });
        }
    }
}
