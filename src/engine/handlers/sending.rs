//! A master holds addresses only while its advertisements are being sent.
//!
//! Other nodes do not know of a master that cannot send, and another one may be master already.
//! Whether a packet arrives cannot be known, but a refusal by the kernel to send it is known at
//! once.

use std::time::Duration;

use tracing::warn;

use crate::engine::environment::Environment;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::node::{Gate, Node};
use crate::journal::DaemonCause;
use crate::proto::Input;
use crate::types::Timestamp;

impl<E: Environment> Engine<E> {
    /// Whether a master's addresses may be added. If no other node can have heard it, they wait
    /// until one can.
    pub(in crate::engine) fn is_heard(&mut self, index: VhostId) -> bool {
        let Some(node) = self.nodes.get_mut(index) else {
            return false;
        };
        let waits = node.replaces_unheard();
        if waits {
            self.wait_to_be_heard(index);
        }
        !waits
    }

    /// A master's addresses stay down until an advertisement is sent.
    pub(in crate::engine) fn wait_to_be_heard(&mut self, index: VhostId) {
        let Some(node) = self.nodes.get_mut(index).filter(|node| node.is_master()) else {
            return;
        };
        node.gate = Gate::Unheard;
        let error = &node.sending.problem;
        warn!(vhost = %node.spec.name, error, "Advertisements are not going out: adding the addresses only when one does");
    }

    /// Adds the addresses that waited for an advertisement, if one has been sent. True if they were
    /// added.
    pub(in crate::engine) fn heard_at_last(&mut self, index: VhostId, now: Timestamp) -> bool {
        let waited = |node: &&mut Node<E::Host>| {
            node.is_master() && node.gate == Gate::Unheard && node.unheard().is_none()
        };
        let Some(node) = self.nodes.get_mut(index).filter(waited) else {
            return false;
        };
        node.gate = Gate::Open;
        if !self.waits_for_others(index) {
            self.take_addresses(index, now);
        }
        true
    }

    /// A master's lease has expired. If it overslept, it listens first; if it could not send, it
    /// gives up mastership.
    pub(in crate::engine) fn lapse(&mut self, index: VhostId, by: Duration, now: Timestamp) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        let input = match node.unheard() {
            Some(problem) if !node.may_be_replaced(now) => Input::Resign {
                reason: DaemonCause::SendFailed.because(problem),
                unfit: false,
            },
            Some(_) | None => Input::Late { by },
        };
        self.handle(index, input, now);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::effect::{Resource, Value};
    use crate::engine::sim::bench::{Bench, Frames, carry, engine, link, peer, play, step};
    use crate::host::SimHost;
    use crate::host::clock;
    use crate::proto::{self, Cause};
    use crate::types::{AdvSkew, State};

    /// Two nodes, one of which always hears the other, and is heard while it can send.
    struct Pair {
        engine: Engine<Bench>,
        peer: proto::Vhost,
        wire: Frames,
        clock: clock::Virtual,
    }

    impl Pair {
        /// Runs the next event.
        fn step(&mut self) {
            let next = self
                .engine
                .next_wake()
                .into_iter()
                .chain(self.peer.deadline())
                .chain(self.engine.first().lease_end());
            self.clock
                .advance(next.min().expect("something is due").max(clock::now()));
            self.engine.judge_leases();
            self.engine.timers();
            self.engine.end_turn();
            self.peer.handle(Input::Timer, clock::now());
            carry(&self.wire, &mut self.engine, &mut self.peer);
            self.engine.end_turn();
        }

        fn until(&mut self, what: impl Fn(&Self) -> bool) {
            (0..1000)
                .find(|_| {
                    what(self) || {
                        self.step();
                        false
                    }
                })
                .expect("it does not happen");
        }

        fn state(&self) -> State {
            self.engine.first().machine.state()
        }

        fn is_up(&self) -> bool {
            let address = Resource::Address {
                dev: link().name,
                ip: IpAddr::from([10, 0, 0, 22]),
            };
            self.engine.shared.executor.host().value(&address) != Value::Absent
        }
    }

    async fn pair(clock: clock::Virtual, more: &str) -> Pair {
        let wire = Frames::default();
        let engine = engine(
            SimHost::new().with_link(link()),
            &wire,
            &format!("preempt = true\n{more}"),
        )
        .await;
        let peer = peer(&engine, |settings| settings.advskew = AdvSkew(50));
        Pair {
            engine,
            peer,
            wire,
            clock,
        }
    }

    #[test]
    fn a_leased_master_that_cannot_send_leaves_and_holds_nothing_until_it_can() {
        play(async |clock| {
            let mut pair = pair(clock, "").await;
            pair.until(|pair| pair.engine.first().holding && pair.peer.heard().is_some());
            pair.wire.refuse(true);
            pair.until(|pair| pair.state() == State::Backup);
            let why = pair
                .engine
                .first()
                .last
                .as_ref()
                .map(|last| last.cause.clone());
            assert!(
                why.as_ref()
                    .is_some_and(|why| DaemonCause::SendFailed.is(why)),
                "{why:?}"
            );
            assert_eq!(
                (pair.is_up(), pair.peer.state()),
                (false, State::Backup),
                "it lets go before the other takes over"
            );
            pair.until(|pair| pair.peer.state() == State::Master);
            // It is the better one, but no other node knows of it. It may try now and then.
            let end = clock::now() + Duration::from_secs(120);
            let mut tried = 0;
            while clock::now() < end {
                let before = pair.state();
                pair.step();
                assert!(!pair.is_up(), "{:?}", pair.engine.first().last);
                tried += usize::from(before == State::Backup && pair.state() == State::Master);
            }
            assert!((1..5).contains(&tried), "{tried}");
            pair.wire.refuse(false);
            pair.until(Pair::is_up);
            pair.step();
            assert_eq!(
                (pair.state(), pair.peer.state()),
                (State::Master, State::Backup)
            );
        });
    }

    /// The lease is requested while the machine's outputs are being carried out: a second
    /// advertisement must not be requested then. An assertion in `feed` checks that.
    #[test]
    fn who_takes_over_and_cannot_send_waits_for_its_next_advertisement() {
        play(async |clock| {
            let wire = Frames::default();
            let mut engine = engine(SimHost::new().with_link(link()), &wire, "").await;
            wire.refuse(true);
            let node = |engine: &Engine<Bench>| {
                let node = engine.first();
                (node.is_master(), node.gate, node.holding)
            };
            while !node(&engine).0 {
                step(&mut engine, &clock);
            }
            assert_eq!(node(&engine), (true, Gate::Unheard, false));
            wire.refuse(false);
            let took_over = clock::now();
            while !node(&engine).2 {
                step(&mut engine, &clock);
            }
            assert!(clock::now().since(took_over) <= Duration::from_millis(1500));
        });
    }

    #[test]
    fn who_preempts_unheard_waits_with_the_addresses_also_without_a_lease() {
        for lease in ["", "lease = \"off\""] {
            play(async |clock| {
                let mut pair = pair(clock, lease).await;
                pair.wire.refuse(true);
                pair.clock.advance(pair.peer.deadline().unwrap());
                pair.peer.handle(Input::Timer, clock::now());
                carry(&pair.wire, &mut pair.engine, &mut pair.peer);
                let cause = pair
                    .engine
                    .first()
                    .last
                    .as_ref()
                    .map(|last| last.cause.clone());
                assert_eq!(
                    (pair.state(), cause),
                    (State::Master, Some(Cause::Preempt)),
                    "{lease}"
                );
                assert!(
                    !pair.is_up() && pair.engine.first().gate == Gate::Unheard,
                    "{lease}"
                );
                assert_eq!(
                    pair.engine.status().vhosts[0].condition,
                    "its addresses are delayed: it cannot send"
                );
                pair.wire.refuse(false);
                pair.until(Pair::is_up);
                pair.step();
                assert_eq!(
                    (pair.is_up(), pair.state(), pair.peer.state()),
                    (true, State::Master, State::Backup),
                    "{lease}"
                );
            });
        }
    }

    #[test]
    fn an_address_that_a_reload_took_away_goes_also_while_nothing_can_be_sent() {
        play(async |clock| {
            let mut pair = pair(clock, "").await;
            pair.until(|pair| pair.engine.first().holding);
            pair.wire.refuse(true);
            pair.clock.advance(clock::now() + Duration::from_millis(50));
            let node = pair.engine.first_mut();
            let old = node.spec.clone();
            node.spec.addresses = ["10.0.0.23/24".parse().unwrap()].into();
            pair.engine
                .move_addresses(VhostId::FIRST, &old, clock::now());
            assert!(!pair.is_up(), "the configuration no longer has it");
            let new = Resource::Address {
                dev: link().name,
                ip: IpAddr::from([10, 0, 0, 23]),
            };
            assert_eq!(
                pair.engine.shared.executor.host().value(&new),
                Value::Absent
            );
            pair.wire.refuse(false);
            pair.until(|pair| pair.engine.shared.executor.host().value(&new) != Value::Absent);
            assert_eq!(pair.engine.shared.executor.drop_addresses(&old.name), 0);
            assert_eq!(
                pair.engine.shared.executor.host().value(&new),
                Value::Absent,
                "it is known to be ours"
            );
        });
    }

    #[test]
    fn a_master_that_slept_after_it_could_not_send_says_nothing() {
        play(async |clock| {
            let mut pair = pair(clock, "").await;
            pair.until(|pair| pair.engine.first().holding);
            pair.wire.refuse(true);
            let before = pair.engine.first().machine.advertised();
            pair.until(|pair| pair.engine.first().machine.advertised() > before);
            pair.wire.refuse(false);
            pair.wire.take();
            pair.clock.advance(clock::now() + Duration::from_secs(4));
            pair.engine.judge_leases();
            pair.engine.end_turn();
            assert!(
                pair.engine
                    .first()
                    .last
                    .as_ref()
                    .is_some_and(|last| matches!(last.cause, Cause::Late { .. }))
            );
            assert_eq!(
                (pair.is_up(), pair.wire.take().len()),
                (false, 0),
                "others may have taken over: it does not bow out"
            );
        });
    }
}
