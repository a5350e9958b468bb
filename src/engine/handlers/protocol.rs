//! Dispatches packets to virtual hosts, feeds their state machines, and carries out the outputs.

use std::net::IpAddr;
use std::time::Duration;

use tracing::{trace, warn};

use crate::engine::environment::Environment;
use crate::engine::state::Engine;
use crate::engine::vhost::id::{InterfaceId, VhostId};
use crate::engine::vhost::interface::kind_word;
use crate::engine::vhost::node::Node;
use crate::host::clock;
use crate::proto::{self, Input, Output, Received, Reject, wire};
use crate::types::Timestamp;

/// Frames read from one interface before the timers get their turn again.
pub(in crate::engine) const FRAMES_IN_A_ROW: usize = 64;

/// How many takeovers one turn may handle: adding addresses takes time, in which packets may
/// arrive.
pub(in crate::engine) const TAKEOVERS_IN_A_ROW: usize = 16;
/// A takeover waits no longer than twice this for the socket to be read: under a flood that would
/// never end.
const UNREAD_MAX: Duration = Duration::from_millis(50);

impl<E: Environment> Engine<E> {
    // ---- the wire

    pub(in crate::engine) fn frame(
        &mut self,
        interface: InterfaceId,
        frame: &[u8],
        now: Timestamp,
    ) {
        let received = match wire::parse_frame(frame) {
            Ok(received) => received,
            Err(Reject::NotCarp) if self.claimed(interface, frame, now) => return,
            Err(reject) => return self.unmatched(reject, None),
        };
        if let Some(node) = self.addressee(interface, &received) {
            return self.hear(node, received, frame, now);
        }
        let decoded = wire::Advertisement::decode(received.payload);
        if let Ok(ad) = &decoded {
            self.unknown_vhid(interface, ad, &received, now);
        }
        self.note_stranger(interface, &received, frame, now);
        match decoded {
            Ok(ad) => self.unmatched(Reject::Vhid(ad.vhid), Some(received.src)),
            // VRRP, or too short to contain a vhid: that is the reason, rather than an unknown
            // vhid.
            Err(reject) => self.unmatched(reject, Some(received.src)),
        }
    }

    /// Counts a packet that does not belong to any virtual host here.
    fn unmatched(&mut self, reject: Reject, src: Option<IpAddr>) {
        self.unmatched.reject(reject);
        let src = src.map(|src| src.to_string());
        trace!(src, reason = reject.as_str(), "Refused a packet");
    }

    /// The virtual host a packet is for, by vhid and, if another group was configured, by
    /// destination.
    pub(in crate::engine) fn addressee(
        &self,
        interface: InterfaceId,
        received: &Received<'_>,
    ) -> Option<VhostId> {
        let vhid = wire::peek_vhid(received.payload)?;
        let members = &self.interfaces.get(interface)?.members;
        members.iter().copied().find(|member| {
            self.nodes.get(*member).is_some_and(|node| {
                let group = match received.dst {
                    IpAddr::V4(_) => IpAddr::V4(node.spec.destination.group),
                    IpAddr::V6(_) => IpAddr::V6(node.spec.destination.group6),
                };
                node.spec.vhid.get() == vhid
                    && (received.dst == group || !received.dst.is_multicast())
            })
        })
    }

    // ---- the protocol

    /// Feeds one input and carries out everything that follows from it.
    pub(in crate::engine) fn handle(&mut self, index: VhostId, input: Input<'_>, now: Timestamp) {
        self.feed(index, input, now);
        self.follow_up(now);
    }

    /// Does what was deferred: remaining outputs of the machine, and consequences of things that
    /// are not inputs.
    pub(in crate::engine) fn flush(&mut self, index: VhostId, now: Timestamp) {
        self.groups.touch(index);
        self.drain(index, now);
        self.follow_up(now);
    }

    /// Gives a protocol machine other settings. What it wants is done before its next input, so that
    /// a replay of the journal finds both in the same order.
    pub(in crate::engine) fn reconfigure(
        &mut self,
        index: VhostId,
        settings: proto::Settings,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        self.shared
            .journal
            .borrow_mut()
            .reconfigured(now, index.number(), &settings);
        node.machine.reconfigure(settings, now);
        self.flush(index, now);
    }

    /// Feeds what followed, and then has the groups decide that it concerns.
    pub(in crate::engine) fn follow_up(&mut self, now: Timestamp) {
        for decisions in 0.. {
            while let Some((index, input)) = self.follow_ups.pop_front() {
                self.feed(index, input, now);
            }
            if Self::decides_too_often(decisions) || !self.settle_groups(now) {
                return;
            }
        }
    }

    pub(in crate::engine) fn feed(&mut self, index: VhostId, input: Input<'_>, now: Timestamp) {
        debug_assert!(!self.draining, "fed {input:?} before the machine was idle");
        if let Some(node) = self.nodes.get_mut(index) {
            self.shared
                .journal
                .borrow_mut()
                .input(now, index.number(), &input);
            if !matches!(input, Input::Packet(_) | Input::Timer | Input::Sent { .. }) {
                node.published.outdate();
            }
            node.machine.handle(input, now);
        }
        self.groups.touch(index);
        self.drain(index, now);
    }

    fn drain(&mut self, index: VhostId, now: Timestamp) {
        debug_assert!(!self.draining, "drained while draining");
        self.draining = true;
        self.do_all_it_says(index, now);
        self.draining = false;
    }

    fn do_all_it_says(&mut self, index: VhostId, now: Timestamp) {
        let (mut changed, mut spoke) = (false, false);
        loop {
            let Some(node) = self.nodes.get_mut(index) else {
                return;
            };
            let output = node.machine.poll();
            self.shared
                .journal
                .borrow_mut()
                .output(index.number(), &output);
            changed |= matches!(output, Output::Transition(_));
            spoke |= matches!(output, Output::Transmit(_));
            match output {
                Output::Transmit(transmit) => self.transmit(index, &transmit),
                Output::Transition(transition) => self.transition(index, transition, now),
                Output::WantMaster { cause, peer } => self.ask_before(index, &cause, peer),
                Output::PeerClaim { peer } => self.peer_claim(index, peer, now),
                Output::AnnounceAgain => node.announcer.again(now),
                Output::Answered { demotion, .. } => self.answered(index, demotion, now),
                Output::Rejected(reject, src) => {
                    let vhost = &node.spec.name;
                    trace!(%vhost, %src, reason = reject.as_str(), "Refused a packet");
                    node.refusal = Some(reject);
                }
                Output::Idle(wake) => {
                    node.wake = wake;
                    let outdated = node.published.is_outdated();
                    let told_split = node.told_split;
                    if node.handover.is_some() {
                        self.follow_handover(index, now);
                    }
                    let took = spoke && self.heard_at_last(index, now);
                    if told_split {
                        self.judge_split(index, now);
                    }
                    if changed || took {
                        self.publish(index);
                    } else if spoke || outdated {
                        self.publish_again(index);
                    }
                    return;
                }
            }
        }
    }

    pub(in crate::engine) fn transmit(&mut self, index: VhostId, transmit: &proto::Transmit) {
        let still_up = transmit.kind == proto::Kind::BowOut && self.is_still_up(index);
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let Some(interface) = self.interfaces.get_mut(node.interface) else {
            return;
        };
        if still_up {
            // A peer would take over at once.
            return warn!(vhost = %node.spec.name, "Not bowing out while an address is still up");
        }
        let peers = &mut node.peers;
        let note = |to, sent: &_| peers.sent(to, sent, clock::now());
        let (sent, problem) = match interface.send(&node.spec, transmit, note) {
            Ok(problem) => (Ok(()), problem.map(|error| error.to_string())),
            Err(error) => (Err(error), None),
        };
        let problem = problem.or_else(|| sent.as_ref().err().map(ToString::to_string));
        if let Some(error) = problem
            && let Some(count) = node.unsent.note(clock::now())
        {
            let kind = kind_word(transmit.kind);
            warn!(vhost = %node.spec.name, vhid = %node.spec.vhid, kind, %error, count, "Could not send");
        }
        if transmit.kind == proto::Kind::Advertisement {
            node.sending.note(node.machine.advertised(), &sent);
            let interval = node.machine.interval();
            node.strip
                .sent(node.wake, clock::now(), interval, sent.is_ok());
            if sent.is_ok() {
                // Some are sent before they are due, as when the demotion changes.
                let (due, now) = (node.wake, clock::now());
                if let Some(due) = due.filter(|due| *due <= now) {
                    interface.lateness.sent.note(now.since(due));
                }
                if self.to_renew.last() != Some(&index) {
                    self.to_renew.push(index);
                }
            }
        }
        self.follow_ups.push_back((
            index,
            Input::Sent {
                family: transmit.family,
                ok: sent.is_ok(),
            },
        ));
    }

    /// Whether its socket, or that of one that is master together with it, contains unread packets.
    /// One may be a master's advertisement, so it must be read before a takeover.
    pub(in crate::engine) fn has_unread(
        &self,
        index: VhostId,
        since: Timestamp,
        now: Timestamp,
    ) -> bool {
        let unread = |node: &Node<E::Host>| {
            let interface = self.interfaces.get(node.interface);
            interface.is_some_and(|interface| interface.unread)
        };
        now.since(since) < UNREAD_MAX && self.is_any_together(index, unread)
    }
}
