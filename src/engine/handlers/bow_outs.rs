//! Bow-outs are followed only once all packets that arrived with them have been read.
//!
//! When a master of many virtual hosts leaves, every backup receives that many bow-outs at once.
//! Taking over is expensive, and a node that takes over one after the other would hear of a better
//! node doing the same only when it is done with all of them; until then both would hold the
//! addresses. So bow-outs wait until the socket is empty, and then a few are followed at a time. A
//! bow-out that another node has followed meanwhile is ignored.

use crate::engine::environment::Environment;
use crate::engine::handlers::protocol::{FRAMES_IN_A_ROW, TAKEOVERS_IN_A_ROW};
use crate::engine::state::Engine;
use crate::engine::vhost::advertisers::Sighting;
use crate::engine::vhost::bow_outs::Waiting;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::node::Node;
use crate::host::clock;
use crate::proto::wire::{Advertisement, parse_frame};
use crate::proto::{Input, Received};
use crate::types::{State, Timestamp};

impl<E: Environment> Engine<E> {
    /// A packet for this virtual host came in this frame.
    pub(in crate::engine) fn hear(
        &mut self,
        index: VhostId,
        received: Received<'_>,
        frame: &[u8],
        now: Timestamp,
    ) {
        let key = (index, received.src);
        let leaves = Advertisement::decode(received.payload).is_ok_and(|ad| ad.is_bow_out());
        let backup = self
            .nodes
            .get(index)
            .is_some_and(|node| node.machine.state() == State::Backup);
        if leaves && backup && self.bow_outs.wait(key, frame, now) {
            return;
        }
        // Packets of one sender are handled in order.
        if let Some(before) = self.bow_outs.0.remove(&key) {
            self.follow(index, &before, now);
        }
        self.take_in(index, received, frame, now);
    }

    fn take_in(&mut self, index: VhostId, received: Received<'_>, frame: &[u8], now: Timestamp) {
        let from = received.src;
        let sighting = Sighting::of(&received, frame, now);
        self.handle(index, Input::Packet(received), now);
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        let heard = node.machine.heard().copied();
        let heard = heard.filter(|heard| (heard.from, heard.at) == (from, now));
        self.note_advertiser(index, sighting, heard.is_some(), now);
        let (Some(heard), Some(node)) = (heard, self.nodes.get_mut(index)) else {
            return;
        };
        if node.spec.unicast.contains(&from) {
            node.peers.heard(from, now);
        }
        node.strip.heard(&heard);
        if let Some(late) = node.arrivals.note(&heard)
            && let Some(interface) = self.interfaces.get_mut(node.interface)
        {
            interface.lateness.heard.note(late);
        }
    }

    /// Follows some of the waiting bow-outs.
    pub(in crate::engine) fn follow_bow_outs(&mut self) {
        let (mut followed, mut takeovers) = (0, 0);
        let mut next = self.bow_outs.0.keys().next().copied();
        while let Some(key) = next
            && followed < FRAMES_IN_A_ROW
            && takeovers < TAKEOVERS_IN_A_ROW
        {
            next = self.bow_outs.behind(key);
            let (index, now) = (key.0, clock::now());
            // A flood on one interface does not hold up the others.
            if self
                .bow_outs
                .0
                .get(&key)
                .is_some_and(|waiting| !self.has_unread(index, waiting.since, now))
                && let Some(waiting) = self.bow_outs.0.remove(&key)
            {
                self.follow(index, &waiting, now);
                followed += 1;
                takeovers += usize::from(self.nodes.get(index).is_some_and(Node::is_master));
            }
        }
    }

    fn follow(&mut self, index: VhostId, waiting: &Waiting, now: Timestamp) {
        for frame in &waiting.frames {
            if let Ok(received) = parse_frame(frame) {
                self.take_in(index, received, frame, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::vhost::id::InterfaceId;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::engine::sim::bench::{Bench, Frames, engine, link, play};
    use crate::host::SimHost;
    use crate::proto::{self, Output, Reason, wire};
    use crate::types::{AdvSkew, Family, MacAddr};

    /// A node that is master, at this address.
    fn master(engine: &Engine<Bench>, advskew: u8) -> proto::Vhost {
        let settings = proto::Settings {
            advskew: AdvSkew(advskew),
            ..engine.first().spec.settings()
        };
        let mut master = proto::Vhost::new(settings, u64::from(advskew));
        master.handle(Input::LinkUp, clock::now());
        master.handle(Input::Timer, clock::now() + master.master_down());
        _ = said(&mut master, 0);
        master
    }

    /// The frames that it sends from 10.0.0.`last`.
    fn said(machine: &mut proto::Vhost, last: u8) -> Vec<Vec<u8>> {
        let outputs = std::iter::from_fn(|| {
            Some(machine.poll()).filter(|output| !matches!(output, Output::Idle(_)))
        });
        let (from, to) = (Ipv4Addr::new(10, 0, 0, last), Ipv4Addr::new(224, 0, 0, 18));
        let frame = |output| {
            let Output::Transmit(sent) = output else {
                return None;
            };
            let packet = wire::ipv4_packet(from, to, 0, 1, &sent.payload);
            Some(wire::ethernet_frame(
                MacAddr::BROADCAST,
                MacAddr([2, 0, 0, 0, 0, last]),
                Family::V4,
                &packet,
            ))
        };
        outputs.filter_map(frame).collect()
    }

    fn resign() -> Input<'static> {
        Input::Resign {
            reason: Reason::new("resigned", "a test"),
            unfit: false,
        }
    }

    fn hear(engine: &mut Engine<Bench>, frames: &[Vec<u8>]) {
        for frame in frames {
            engine.frame(InterfaceId::FIRST, frame, clock::now());
        }
    }

    /// What a backup makes of a master's leaving, and of what came behind that.
    async fn after(
        behind: impl FnOnce(&Engine<Bench>, &[Vec<u8>]) -> Vec<Vec<u8>>,
    ) -> Engine<Bench> {
        let mut engine = engine(
            SimHost::new().with_link(link()),
            &Frames::default(),
            "advskew = 100",
        )
        .await;
        let mut leaves = master(&engine, 0);
        leaves.handle(resign(), clock::now());
        let bow_out = said(&mut leaves, 9);
        assert_eq!(bow_out.len(), 1);
        hear(&mut engine, &bow_out);
        assert_eq!(engine.first().machine.state(), State::Backup);
        assert_eq!(
            engine.next_wake(),
            Some(clock::now()),
            "the loop comes round at once"
        );
        let behind = behind(&engine, &bow_out);
        hear(&mut engine, &behind);
        engine.timers();
        engine
    }

    #[test]
    fn who_leaves_is_followed_unless_a_better_one_has() {
        play(async |_| {
            let alone = after(|_, _| Vec::new()).await;
            assert!(alone.first().holding && alone.bow_outs.due().is_none());
            let repeated = after(|_, bow_out| bow_out.to_vec()).await;
            assert!(
                repeated.first().is_master(),
                "what one sender says is heard in its order"
            );
            let stats = repeated.first().machine.stats();
            assert_eq!(
                (stats.takeovers, stats.peer_claims),
                (1, 0),
                "in another form it is no claim"
            );
            let behind_another = after(|engine, _| {
                let mut other = master(engine, 50);
                other.handle(Input::Advertise, clock::now() + other.master_down());
                said(&mut other, 8)
            })
            .await;
            assert_eq!(behind_another.first().machine.state(), State::Backup);
            assert_eq!(
                behind_another.first().machine.stats().takeovers,
                0,
                "it never held the addresses beside the other"
            );
        });
    }

    #[test]
    fn nobody_takes_over_before_what_waits_in_the_socket_is_read_but_for_long() {
        play(async |clock| {
            let mut engine = engine(SimHost::new().with_link(link()), &Frames::default(), "").await;
            clock.advance(engine.next_wake().unwrap());
            engine
                .interfaces
                .get_mut(InterfaceId::FIRST)
                .unwrap()
                .unread = true;
            engine.timers();
            assert_eq!(engine.first().machine.state(), State::Backup);
            clock.advance(clock::now() + std::time::Duration::from_millis(15));
            engine
                .interfaces
                .get_mut(InterfaceId::FIRST)
                .unwrap()
                .unread = false;
            engine.timers();
            assert!(engine.first().holding);
        });
        play(async |clock| {
            let mut engine = engine(SimHost::new().with_link(link()), &Frames::default(), "").await;
            engine
                .interfaces
                .get_mut(InterfaceId::FIRST)
                .unwrap()
                .unread = true;
            let due = engine.next_wake().unwrap();
            while !engine.first().holding {
                clock.advance(clock::now() + std::time::Duration::from_millis(5));
                engine.timers();
            }
            let waited = clock::now().since(due);
            assert!(
                (50..=115).contains(&waited.as_millis()),
                "a flood has no end: {waited:?}"
            );
        });
    }

    #[test]
    fn forgeries_that_do_not_end_hold_up_no_true_bow_out() {
        play(async |clock| {
            let mut engine = engine(
                SimHost::new().with_link(link()),
                &Frames::default(),
                "advskew = 100",
            )
            .await;
            let mut leaves = master(&engine, 0);
            leaves.handle(resign(), clock::now());
            let bow_out = said(&mut leaves, 9);
            // By one without the password, from an address that is looked at before the true one's.
            let key = proto::Key::from_raw([7; proto::Key::LEN]);
            let mut forger = proto::Vhost::new(
                proto::Settings {
                    key,
                    ..engine.first().spec.settings()
                },
                1,
            );
            forger.handle(Input::LinkUp, clock::now());
            forger.handle(Input::Timer, clock::now() + forger.master_down());
            _ = said(&mut forger, 0);
            forger.handle(resign(), clock::now());
            let forged = said(&mut forger, 8);
            assert_eq!((bow_out.len(), forged.len()), (1, 1));
            hear(&mut engine, &bow_out);
            let began = clock::now();
            while !engine.first().is_master() {
                hear(&mut engine, &forged);
                engine
                    .interfaces
                    .get_mut(InterfaceId::FIRST)
                    .unwrap()
                    .unread = true;
                engine.timers();
                clock.advance(clock::now() + std::time::Duration::from_millis(5));
                assert!(
                    clock::now().since(began).as_millis() < 120,
                    "nobody took over"
                );
            }
        });
    }
}
