//! Advertisements that are refused: why, as far as it can be found out, and for whom to know.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tracing::warn;

use crate::engine::command::{Command, Tried};
use crate::engine::environment::Environment;
use crate::engine::notices::of_vhost;
use crate::engine::state::{Engine, Trials};
use crate::engine::vhost::advertisers::{Advertiser, Sighting};
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::inquiry::Inquiry;
use crate::journal::Note;
use crate::notification::{EventKind, Subject};
use crate::proto::Reject;
use crate::proto::wire::Advertisement;
use crate::types::Timestamp;

/// A refused advertisement is compared with at most this many other virtual hosts: two digests for
/// each.
const COMPARED_MAX: usize = 32;

/// Between two closer looks, at whatever virtual host's advertisements.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl<E: Environment> Engine<E> {
    /// A packet for this virtual host was refused.
    pub(in crate::engine) fn refused(
        &mut self,
        index: VhostId,
        sighting: &Sighting,
        reject: Reject,
        now: Timestamp,
    ) {
        let who = sighting.who;
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let count = node.refusals.note(reject, who.address, now);
        if reject == Reject::Digest && self.look_closer(index, sighting, count, now) {
            // It is told when more is known.
            return;
        }
        if let Some(count) = count {
            self.tell_refused(index, reject, who.address, count, now);
        }
    }

    /// Begins to find out what is different about an advertisement whose digest was just refused,
    /// unless that was done for this sender recently.
    fn look_closer(
        &mut self,
        index: VhostId,
        sighting: &Sighting,
        count: Option<u64>,
        now: Timestamp,
    ) -> bool {
        let who = sighting.who;
        let is_early = |at: Timestamp| now.since(at) < LOOK_AGAIN;
        if self.trying || self.looked_closer.is_some_and(is_early) {
            return false;
        }
        let (Some(ad), Some(node)) = (sighting.advertisement(), self.nodes.get_mut(index)) else {
            return false;
        };
        if !node.advertisers.begin_look(who, now) {
            return false;
        }
        self.looked_closer = Some(now);
        let Some(inquiry) = self.inquiry(index, ad, who.address) else {
            return false;
        };
        self.trying = true;
        let tried = move || Tried {
            vhost: index.number(),
            address: who.address,
            mac: who.mac,
            vhid: who.vhid,
            count,
            cause: inquiry.run(),
        };
        match &self.trials {
            Trials::AtOnce => self.tried(tried(), now),
            Trials::Beside(orders) => {
                let orders = orders.clone();
                // If the engine has ended meanwhile, nobody wants to know.
                drop(tokio::task::spawn_blocking(move || {
                    orders.blocking_send(Command::Tried(tried()))
                }));
            }
        }
        true
    }

    /// From now on, what a refused digest has different is tried out on other threads.
    pub(in crate::engine) fn try_beside(&mut self) {
        self.trials = Trials::Beside(self.orders.clone());
    }

    fn inquiry(&self, index: VhostId, ad: &Advertisement, from: IpAddr) -> Option<Inquiry> {
        let node = self.nodes.get(index)?;
        let interface = self.interfaces.get(node.interface)?;
        let members = &interface.members;
        let others = members.iter().filter(|member| **member != index);
        let others = others
            .take(COMPARED_MAX)
            .filter_map(|member| self.nodes.get(*member))
            .map(|other| {
                let trial = other.machine.trial(*ad, from, &BTreeSet::new());
                (other.spec.name.clone(), trial)
            });
        Some(Inquiry {
            others: others.collect(),
            trial: node
                .machine
                .trial(*ad, from, &interface.announced.addresses()),
        })
    }

    /// A closer look at a refused advertisement has ended.
    pub(in crate::engine) fn tried(&mut self, tried: Tried, now: Timestamp) {
        self.trying = false;
        let Tried {
            vhost,
            address,
            mac,
            vhid,
            count,
            cause,
        } = tried;
        let index = VhostId::new(vhost);
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let text = cause.as_ref().map(|cause| cause.text.clone());
        node.refusals.looked(Reject::Digest, address, text);
        let who = Advertiser { address, mac, vhid };
        node.advertisers.found(who, cause);
        if let Some(count) = count {
            self.tell_refused(index, Reject::Digest, address, count, now);
        }
    }

    /// Says in the log and the journal that advertisements are refused.
    fn tell_refused(
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
            let subject = Subject {
                peer: Some(src.to_string()),
                cause: Some(reason.to_owned()),
                why: Some(likely.to_owned()),
                ..of_vhost(&node.spec)
            };
            let said = format!("{vhost}: {text}");
            self.shared
                .notices
                .tell(EventKind::PeerRefused, &said, subject);
            let mut journal = self.shared.journal.borrow_mut();
            journal.note(now, index.number(), Note::Remark { text });
        }
    }
}
