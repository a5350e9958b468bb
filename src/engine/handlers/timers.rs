//! Handles deadlines. Advertisements come first, for all virtual hosts; the rest may be slightly
//! late.

use crate::engine::environment::Environment;
use crate::engine::handlers::failsafe::BEAT;
use crate::engine::handlers::protocol::TAKEOVERS_IN_A_ROW;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::node::Node;
use crate::engine::vhost::timer::{Timer, with_all};
use crate::host::clock;
use crate::proto::Input;
use crate::types::{State, Timestamp};

with_all! {
    /// A deadline of the engine as a whole.
    EngineTimer {
        /// Send the keeper a heartbeat, at the beginning of the next turn.
        Beat,
        /// Exit, cleanly or not; the loop does that.
        Stop,
        /// Read links and addresses again.
        Look,
        /// Follow bow-outs.
        BowOuts,
        /// Ask the hooks of tracks.
        Tracks,
        /// Take real-time priority again.
        Realtime,
        /// An operator's order ends.
        Orders,
    }
}

impl<E: Environment> Engine<E> {
    /// When this is due, if it is set.
    fn deadline(&self, timer: EngineTimer) -> Option<Timestamp> {
        match timer {
            EngineTimer::Beat => self
                .beaten
                .filter(|_| self.failsafe.is_some())
                .map(|last| last.at + BEAT),
            EngineTimer::Stop => self.stopping.as_ref().map(|stopping| stopping.deadline),
            EngineTimer::Look => self.look_again,
            EngineTimer::BowOuts => self.bow_outs.due(),
            EngineTimer::Tracks => self.tracks.asked.due(),
            EngineTimer::Realtime => self.realtime_again,
            EngineTimer::Orders => self.shared.persist.orders.borrow().next_end(),
        }
    }

    /// When it wants to be woken at the latest.
    pub(in crate::engine) fn next_wake(&mut self) -> Option<Timestamp> {
        let own = EngineTimer::ALL
            .iter()
            .filter_map(|timer| self.deadline(*timer))
            .min();
        self.nodes.next_wake().into_iter().chain(own).min()
    }

    /// Does everything whose time has come.
    pub(in crate::engine) fn timers(&mut self) {
        let now = clock::now();
        let woken = self.nodes.due(now);
        self.protocol_timers(&woken, now);
        for timer in EngineTimer::ALL {
            if self.deadline(*timer).is_some_and(|due| due <= now) {
                self.engine_timer(*timer);
            }
        }
        for id in woken {
            for &timer in Timer::ALL.iter().filter(|timer| **timer != Timer::Protocol) {
                self.fire(id, timer, now);
                debug_assert!(
                    !self.is_due(id, timer, now),
                    "{timer:?} would wake the loop again and again"
                );
            }
        }
    }

    /// Runs the protocol's timers: advertisements and takeovers.
    fn protocol_timers(&mut self, woken: &[VhostId], now: Timestamp) {
        let mut takeovers = 0;
        for &id in woken {
            let due = |node: &&Node<E::Host>| node.is_due(Timer::Protocol, now);
            let Some(node) = self.nodes.get(id).filter(due) else {
                continue;
            };
            let backup = node.machine.state() == State::Backup;
            // The next turn reads the rest, and then continues here.
            let since = node.wake.unwrap_or(now);
            if backup && (takeovers == TAKEOVERS_IN_A_ROW || self.has_unread(id, since, now)) {
                continue;
            }
            self.handle(id, Input::Timer, now);
            takeovers += usize::from(backup && self.nodes.get(id).is_some_and(Node::is_master));
        }
    }

    fn engine_timer(&mut self, timer: EngineTimer) {
        match timer {
            EngineTimer::Beat | EngineTimer::Stop => {}
            EngineTimer::Look => {
                self.look_again = None;
                self.relook = true;
            }
            EngineTimer::BowOuts => self.follow_bow_outs(),
            EngineTimer::Tracks => self.ask_hooks(clock::now()),
            EngineTimer::Realtime => self.resume_realtime(),
            EngineTimer::Orders => self.orders_end(clock::now()),
        }
    }

    /// Does what this deadline is for, if it has come. Also for code that moves a deadline to now:
    /// the action may rely on the deadline having been set.
    pub(in crate::engine) fn fire(&mut self, id: VhostId, timer: Timer, now: Timestamp) {
        if self.is_due(id, timer, now) {
            self.vhost_timer(id, timer, now);
        }
    }

    fn is_due(&self, id: VhostId, timer: Timer, now: Timestamp) -> bool {
        let node = self.nodes.get(id);
        node.is_some_and(|node| node.is_due(timer, now))
    }

    fn vhost_timer(&mut self, id: VhostId, timer: Timer, now: Timestamp) {
        match timer {
            Timer::Protocol => self.handle(id, Input::Timer, now),
            Timer::Announce => self.announce_again(id, now),
            Timer::DropAddresses => self.let_go_at_last(id, now),
            Timer::Resigned => {
                if let Some(node) = self.nodes.get_mut(id) {
                    node.resigned = None;
                }
                self.demote(id, now);
            }
            Timer::HookRetry => self.retry_degraded(id),
            Timer::AddressFade => self.fade_refused(id, now),
            Timer::AddressRetry => self.retry_refused(id, now),
            Timer::Handover => self.handover_due(id, now),
            Timer::Relief => self.seek_relief(id, now),
            Timer::PutBack => {
                let Some(node) = self.nodes.get_mut(id) else {
                    return;
                };
                node.put_back.done();
                let interface = node.interface;
                self.put_back_missing(interface);
            }
            Timer::Device => self.device_again(id, now),
            Timer::Health => self.begin_checks(id, now),
            Timer::Probe => self.probe(id, now),
            Timer::StandAside => self.stand_in_again(id, now),
            Timer::Leave => self.leave_at_last(id, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::engine::sim::bench::{Bench, Frames, engine, link, play, step};
    use crate::engine::vhost::degraded::Degraded;
    use crate::engine::vhost::health::Checks;
    use crate::engine::vhost::node::Resigned;
    use crate::engine::vhost::refused_addresses::RefusedAddresses;
    use crate::host::SimHost;

    /// Sets this timer for a master, to a time in the near future.
    fn wait_for(engine: &mut Engine<Bench>, timer: Timer, now: Timestamp) {
        let soon = now + Duration::from_millis(5);
        if timer == Timer::Handover {
            let name = "web".parse().unwrap();
            let (reply, _) = oneshot::channel();
            return engine.resign(&name, String::new(), false, reply);
        }
        let node = engine.first_mut();
        match timer {
            Timer::Protocol => node.wake = Some(soon),
            Timer::Announce => node.announcer.again(now),
            Timer::DropAddresses => node.drop_again = Some(soon),
            Timer::Resigned => {
                node.resigned = Some(Resigned {
                    until: soon,
                    reason: String::new(),
                    let_go: true,
                });
            }
            Timer::HookRetry => {
                let mut degraded = Degraded::new(String::new(), false);
                degraded.retry_at = Some(soon);
                node.degraded = Some(degraded);
            }
            Timer::AddressFade | Timer::AddressRetry => {
                let mut refused = RefusedAddresses::new(String::new());
                let at = Some(soon);
                if timer == Timer::AddressFade {
                    refused.fades_at = at;
                } else {
                    refused.retry_at = at;
                }
                node.refused_addresses = Some(refused);
            }
            Timer::Handover => unreachable!("done above"),
            Timer::Relief => node.relief.due = Some(soon),
            Timer::PutBack => node.put_back.later(now),
            Timer::Device => node.device_again = Some(soon),
            Timer::Health => node.checks = Checks::one_due(soon),
            Timer::Probe => node.conflicts.probe = Some(soon),
            Timer::StandAside => node.aside_until = Some(soon),
            Timer::Leave => {
                node.leaving = true;
                node.leave_by = Some(soon);
            }
        }
    }

    #[test]
    fn each_deadline_wakes_the_loop_and_does_so_once() {
        for &timer in Timer::ALL {
            play(async |clock| {
                let host = SimHost::new().with_link(link());
                let mut engine = engine(host, &Frames::default(), "").await;
                while !engine.first().is_master() {
                    step(&mut engine, &clock);
                }
                for _ in 0..20 {
                    step(&mut engine, &clock);
                }
                wait_for(&mut engine, timer, clock::now());
                let node = engine.first();
                let due = node
                    .deadline(timer)
                    .unwrap_or_else(|| panic!("{timer:?} is not set"));
                let mut turns = 0;
                while clock::now() < due {
                    step(&mut engine, &clock);
                    turns += 1;
                    assert!(turns < 100, "{timer:?} does not wake the loop");
                }
                let late = clock::now().since(due);
                assert!(
                    late < Duration::from_millis(1),
                    "{timer:?} came {late:?} late"
                );
                let node = engine.first();
                assert!(!node.is_due(timer, clock::now()), "{timer:?} is still due");
                assert!(
                    engine.next_wake().is_none_or(|next| next > clock::now()),
                    "{timer:?} makes the loop spin"
                );
            });
        }
    }
}
