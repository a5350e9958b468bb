//! Keeps the keeper informed of what it must do if the engine dies, and that the engine is alive.

use std::time::Duration;

use tracing::warn;

use crate::engine::environment::Environment;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::node::Node;
use crate::engine::vhost::published::{AHEAD, Published};
use crate::host::clock;
use crate::keeper::failsafe::{FailSafe, Heartbeat};
use crate::telemetry::stderr;

/// The longest interval between two turns of the loop.
pub(in crate::engine) const BEAT: Duration = Duration::from_millis(500);
/// How late a loop that holds nothing may be before it counts as hung.
const LIMIT_IDLE: Duration = Duration::from_secs(10);
/// The minimum of that for a loop that holds addresses: a busy machine is not a hung engine.
const LIMIT_LEAST: Duration = Duration::from_secs(2);
/// How long before a backup may take over a hung master's addresses are released.
const LIMIT_MARGIN: Duration = Duration::from_millis(700);

impl<E: Environment> Engine<E> {
    /// The loop came round.
    pub(in crate::engine) fn beat(&mut self) {
        let now = clock::now();
        if self
            .beaten
            .is_none_or(|last| now.since(last.at) >= BEAT / 2)
        {
            let limit = self
                .nodes
                .values()
                .filter_map(limit)
                .min()
                .unwrap_or(LIMIT_IDLE);
            self.give_sign(Heartbeat { at: now, limit });
            stderr::flush();
        }
    }

    /// Sends a heartbeat at once when addresses are acquired, so that the limit for a loop that
    /// holds nothing does not apply until the next one.
    fn beat_for(&mut self, index: VhostId) {
        let Some(limit) = self.nodes.get(index).and_then(limit) else {
            return;
        };
        if self.beaten.is_some_and(|last| limit < last.limit) {
            self.give_sign(Heartbeat {
                at: clock::now(),
                limit,
            });
        }
    }

    fn give_sign(&mut self, heartbeat: Heartbeat) {
        self.beaten = Some(heartbeat);
        let Some(writer) = &mut self.failsafe else {
            return;
        };
        if let Err(error) = writer.beat(heartbeat) {
            warn!(%error, "Could not send the keeper a heartbeat");
        }
    }

    /// This virtual host sent something: its bow-outs must not repeat that counter.
    pub(in crate::engine) fn publish_again(&mut self, index: VhostId) {
        if self
            .nodes
            .get(index)
            .is_some_and(|node| !node.published.holds(node.machine.counter()))
        {
            self.publish(index);
        }
    }

    /// Something about this virtual host changed: its state, its addresses, or the content of its
    /// bow-outs.
    pub(in crate::engine) fn publish(&mut self, index: VhostId) {
        let Some(writer) = &mut self.failsafe else {
            return;
        };
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let Some(interface) = self.interfaces.get_mut(node.interface) else {
            return;
        };
        // Without one there is nothing left to remove or to send bow-outs on.
        let link = interface.index().unwrap_or_default();
        let bow_outs = if node.is_master() {
            node.machine
                .bow_out_packets(AHEAD)
                .iter()
                .filter_map(|packet| interface.outgoing(&node.spec, packet).ok())
                .flatten()
                .collect()
        } else {
            Vec::new()
        };
        // Includes those that a script has added, since it could not be told to remove them.
        let addresses = if node.announces() {
            node.spec.addresses.clone()
        } else {
            Vec::new()
        };
        node.published = Published {
            outdated: false,
            up_to: node.machine.counter().wrapping_add(AHEAD),
        };
        let failsafe = FailSafe {
            interface: node.spec.device(),
            index: link,
            addresses,
            bow_outs,
            group: self.groups.number(index),
        };
        if let Err(error) = writer.write(index.number(), &failsafe) {
            warn!(vhost = %node.spec.name, %error, "Could not tell the keeper what to do if the engine dies");
        }
        self.beat_for(index);
    }
}

/// How late the loop may be while this virtual host holds addresses.
fn limit<H>(node: &Node<H>) -> Option<Duration> {
    node.holding.then(|| {
        node.machine
            .master_down()
            .saturating_sub(LIMIT_MARGIN)
            .max(LIMIT_LEAST)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sim::bench::{Frames, engine, link, play, step};
    use crate::engine::vhost::published::ADVERTISEMENT;
    use crate::host::SimHost;
    use crate::keeper::failsafe::{Reader, Writer};

    #[test]
    fn a_fresh_master_is_not_judged_as_one_that_holds_nothing() {
        play(async |clock| {
            let mut engine = engine(SimHost::new().with_link(link()), &Frames::default(), "").await;
            let (writer, keeper) = Writer::create().unwrap();
            let keeper = Reader::new(keeper);
            engine.failsafe = Some(writer);
            loop {
                engine.beat();
                let limit = keeper.heartbeat().unwrap().limit;
                assert_eq!(limit, LIMIT_IDLE);
                step(&mut engine, &clock);
                if engine.first().holding {
                    break;
                }
            }
            // It may hang right away: the loop no longer comes round.
            let beat = keeper.heartbeat().unwrap();
            assert_eq!(
                (beat.at, beat.limit),
                (clock::now(), Duration::from_millis(2300))
            );
        });
    }

    #[test]
    fn bow_outs_are_made_anew_before_their_counters_are_used() {
        let mut published = Published {
            outdated: false,
            up_to: 100 + AHEAD,
        };
        assert!(published.holds(100) && published.holds(100 + AHEAD - ADVERTISEMENT));
        assert!(
            !published.holds(101 + AHEAD - ADVERTISEMENT),
            "the next advertisement may use them"
        );
        assert!(
            !published.holds(100 + AHEAD + 5),
            "a peer's counter was taken over"
        );
        assert!(
            !published.holds(99) && !published.holds(0),
            "or one from before"
        );
        assert!(
            !Published::default().holds(u64::MAX / 2),
            "nothing was written yet"
        );
        published.outdate();
        assert!(!published.holds(100));
        let wrapped = Published {
            outdated: false,
            up_to: 5,
        };
        assert!(wrapped.holds(u64::MAX - 100), "counters go round");
    }
}
