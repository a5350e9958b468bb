//! Who advertises, and what became of it: for `carpd peers`.

use std::collections::BTreeSet;

use tracing::{info, warn};

use crate::engine::command::{After, Part, Then};
use crate::engine::environment::Environment;
use crate::engine::notices::of_vhost;
use crate::engine::report::PeersReport;
use crate::engine::state::Engine;
use crate::engine::vhost::advertisers::{Sighting, Verdict};
use crate::engine::vhost::id::{InterfaceId, VhostId};
use crate::engine::vhost::node::Node;
use crate::engine::vhost::unknown_vhids::Relation;
use crate::host::clock;
use crate::journal::Note;
use crate::notification::{EventKind, Subject};
use crate::proto::{Received, Reject};
use crate::types::{Name, Timestamp};

impl<E: Environment> Engine<E> {
    /// A packet for this virtual host was judged.
    pub(in crate::engine) fn note_advertiser(
        &mut self,
        index: VhostId,
        sighting: Option<Sighting>,
        is_accepted: bool,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let refusal = node.refusal.take();
        let Some(sighting) = sighting else { return };
        let verdict = match refusal {
            Some(reject) => Verdict::Refused(reject),
            None if is_accepted || sighting.is_roll_call() => Verdict::Accepted,
            None => return,
        };
        let is_master = node.is_master();
        node.advertisers.note(&sighting, verdict, is_master);
        if let Some(reject) = refusal {
            self.refused(index, &sighting, reject, now);
        }
        self.judge_split(index, now);
    }

    /// Says when another node begins to be master as well, and when that has ended.
    pub(in crate::engine) fn judge_split(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let split = node.split(now);
        let was_told = std::mem::replace(&mut node.told_split, split.is_some());
        let (vhost, vhid) = (&node.spec.name, node.spec.vhid);
        let text = match &split {
            Some(split) if !was_told => {
                warn!(%vhost, %vhid, peer = %split.address, text = %split, "Split: another node is master as well");
                let subject = Subject {
                    peer: Some(split.address.to_string()),
                    why: Some(split.to_string()),
                    ..of_vhost(&node.spec)
                };
                let said = format!("{vhost}: split: {split}");
                self.shared.notices.tell(EventKind::Split, &said, subject);
                format!("split: {split}")
            }
            None if was_told => {
                info!(%vhost, %vhid, "The split has ended");
                "the split has ended".to_owned()
            }
            Some(_) | None => return,
        };
        let mut journal = self.shared.journal.borrow_mut();
        journal.note(now, index.number(), Note::Remark { text });
    }

    /// A packet for no virtual host here was heard.
    pub(in crate::engine) fn note_stranger(
        &mut self,
        id: InterfaceId,
        received: &Received<'_>,
        frame: &[u8],
        now: Timestamp,
    ) {
        let Some(sighting) = Sighting::of(received, frame, now) else {
            return;
        };
        let vhid = sighting.who.vhid;
        let Some(interface) = self.interfaces.get(id) else {
            return;
        };
        let mut members = interface.members.iter();
        let is_ours = members.any(|member| {
            let node = self.nodes.get(*member);
            node.is_some_and(|node| node.spec.vhid.get() == vhid)
        });
        let relation = interface.unknown_vhids.0.get(&vhid);
        let relation = relation.map(|unknown| unknown.relation.clone());
        let (verdict, cause) = match relation {
            _ if sighting.is_vrrp() && is_ours => (Verdict::Refused(Reject::Version(3)), None),
            _ if sighting.is_vrrp() => (Verdict::Unrelated, None),
            Some(Relation::None) | None => (Verdict::Unrelated, None),
            Some(relation) => (Verdict::Refused(Reject::Vhid(vhid)), relation.cause()),
        };
        if let Some(interface) = self.interfaces.get_mut(id) {
            interface.strangers.note(&sighting, verdict, false);
            interface.strangers.found(sighting.who, cause);
        }
    }

    /// The advertisers of some virtual hosts, and with the last of them those of none.
    pub(in crate::engine) fn peers_part(
        &self,
        after: Option<After>,
    ) -> Part<PeersReport, BTreeSet<Name>> {
        let now = clock::now();
        let (nodes, next) = self.some_nodes(after);
        let mut some = PeersReport::default();
        for node in nodes {
            let Node { spec, .. } = node;
            let netns = spec.netns.as_ref().map(ToString::to_string);
            let (name, interface) = (Some(&spec.name), &spec.interface);
            let heard = &node.advertisers;
            some.advertisers
                .extend(heard.status(name, interface, netns.as_deref(), now));
            some.evicted.extend(heard.evicted(name, interface));
        }
        if let Some(next) = next {
            let then = Then::More(next);
            return Part { some, then };
        }
        let netns = self.nodes.values().next();
        let netns = netns.and_then(|node| node.spec.netns.as_ref());
        let netns = netns.map(ToString::to_string);
        for interface in self.interfaces.iter() {
            let (name, heard) = (&interface.name, &interface.strangers);
            some.advertisers
                .extend(heard.status(None, name, netns.as_deref(), now));
            some.evicted.extend(heard.evicted(None, name));
        }
        let names = self.nodes.values().map(|node| node.spec.name.clone());
        let then = Then::End(names.collect());
        Part { some, then }
    }
}
