//! Signals: TERM, INT and QUIT stop the daemon, USR1 logs its state, USR2 hands over for a few
//! seconds, HUP reloads everything; for a daemon started as ucarp, HUP stops it.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::{info, warn};

use crate::engine::environment::Environment;
use crate::engine::reload::prepared::Scope;
use crate::engine::signals::Signal;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::host::clock;
use crate::host::kernel::realtime;
use crate::host::services::notify::notify;
use crate::journal::DaemonCause;
use crate::proto::{Input, Reason};
use crate::types::Timestamp;

/// How long a master does not take part after USR2.
const ASIDE: Duration = Duration::from_secs(3);

/// For how long a loop that computed for too long has ordinary priority.
const REALTIME_PAUSE: Duration = Duration::from_secs(10);

impl Engine {
    pub(in crate::engine) fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Stop(name) => {
                _ = notify(&NotifyState::Stopping);
                self.stop(name);
            }
            Signal::Reload => self.reload(Scope::Everything, None),
            Signal::Report => self.report(),
            Signal::Overrun => self.pause_realtime(clock::now()),
            Signal::StandAside => {
                for index in self.numbers() {
                    self.stand_aside(index, clock::now());
                }
            }
        }
    }
}

impl<E: Environment> Engine<E> {
    /// The loop had so much to do that nothing else could run on its processor.
    fn pause_realtime(&mut self, now: Timestamp) {
        if let Err(error) = realtime::pause() {
            return warn!(%error, "Cannot give up real-time priority");
        }
        let pause_s = REALTIME_PAUSE.as_secs();
        warn!(
            pause_s,
            "Too much to do at real-time priority: going on with ordinary priority for a while"
        );
        self.realtime_again = Some(now + REALTIME_PAUSE);
    }

    pub(in crate::engine) fn resume_realtime(&mut self) {
        self.realtime_again = None;
        self.keeper.take_realtime();
        info!("Real-time priority again");
    }

    fn report(&self) {
        for node in self.nodes.values() {
            let (spec, state) = (&node.spec, node.machine.state());
            info!(vhost = %spec.name, interface = %spec.interface, vhid = %spec.vhid, %state, "State report");
        }
    }

    /// A master gives up mastership without a bow-out. If the daemon itself holds the addresses,
    /// they are gone then and the bow-out follows; if hooks do, it waits for them.
    fn stand_aside(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if self.stopping.is_some() || !node.is_master() {
            return;
        }
        let reason = format!("SIGUSR2, for {} s", ASIDE.as_secs());
        self.aside(
            index,
            now + ASIDE,
            DaemonCause::Resigned.because(&reason),
            now,
        );
    }

    /// Hands over, and does not take part until then.
    pub(in crate::engine) fn aside(
        &mut self,
        index: VhostId,
        until: Timestamp,
        reason: Reason,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.aside_until = Some(until);
        // A group bows out by itself, when all its members have let go.
        let alone = !node.machine.settings().claims.is_together();
        let (bows_out, is_master) = (node.spec.manage_addresses && alone, node.is_master());
        if is_master {
            self.handle(index, Input::StandAside(reason), now);
        }
        if bows_out {
            self.bow_out(index);
        }
    }

    /// Sends bow-outs after the fact, so that peers need not wait for the master-down time.
    pub(in crate::engine) fn bow_out(&mut self, index: VhostId) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        for packet in node.machine.bow_out_packets(0) {
            self.transmit(index, &packet);
        }
    }

    /// The time aside is over: takes part again, if the link is up.
    pub(in crate::engine) fn stand_in_again(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.aside_until = None;
        if self.may_take_part(index) {
            self.handle(index, Input::LinkUp, now);
        }
    }
}
