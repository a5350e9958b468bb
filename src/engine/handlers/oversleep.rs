//! After oversleeping: what is queued in the sockets is old.

use std::time::Duration;

use tracing::{debug, warn};

use crate::engine::environment::Environment;
use crate::engine::state::Engine;
use crate::engine::vhost::id::{InterfaceId, VhostId};
use crate::engine::vhost::interface::Interface;
use crate::host::clock;
use crate::proto::{Input, timer};
use crate::types::{AdvSkew, State};

/// Anything younger than this is current, even with an interval of a few milliseconds: on a busy
/// machine such delays are normal.
const NEWS: Duration = Duration::from_millis(100);
/// More frames than any receive buffer holds.
const FRAMES_MAX: usize = 4096;

impl<E: Environment> Engine<E> {
    /// Called before any event is handled. A node that slept for longer than an interval (and
    /// longer than is normal on a busy machine) cannot know which of the packets in its sockets are
    /// still valid: after a bow-out there may have been a takeover, for which the buffer had no
    /// room. So they are discarded, and a backup starts listening afresh. Whether a master stays
    /// master follows from the rules of the protocol.
    ///
    /// Returns how late it is, and the interfaces whose sockets contain old packets.
    pub(in crate::engine) fn overslept(&mut self) -> Option<(Duration, Vec<InterfaceId>)> {
        let now = clock::now();
        // No interval is shorter than the least skew.
        let by = self
            .due
            .map(|due| now.since(due))
            .filter(|by| *by >= timer::skew_time(AdvSkew(1)))?;
        let mut stale = Vec::new();
        for interface in self.interfaces.ids() {
            let Some(members) = self
                .interfaces
                .get(interface)
                .map(|interface| interface.members.clone())
            else {
                continue;
            };
            let overslept = |index: &VhostId| {
                self.nodes
                    .get(*index)
                    .is_some_and(|node| by > node.machine.interval().max(NEWS))
            };
            let overslept: Vec<VhostId> = members.into_iter().filter(overslept).collect();
            if overslept.is_empty() {
                continue;
            }
            stale.push(interface);
            for index in overslept {
                if self
                    .nodes
                    .get(index)
                    .is_some_and(|node| node.machine.state() == State::Backup)
                {
                    self.handle(index, Input::Late { by }, now);
                }
            }
        }
        Some((by, stale))
    }
}

impl Engine {
    /// See [`Self::overslept`]: discards the old packets.
    pub(in crate::engine) fn judge_sleep(&mut self) {
        let Some((by, stale)) = self.overslept() else {
            return;
        };
        if !stale.is_empty() {
            self.bow_outs.forget();
        }
        for interface in stale {
            self.discard(interface, by);
        }
    }

    /// Reads and discards what is queued in an interface's socket.
    fn discard(&self, interface: InterfaceId, by: Duration) {
        let Some(socket) = self.interfaces.get(interface).and_then(Interface::socket) else {
            return;
        };
        let mut buffer = [0; 64];
        let mut frames = 0;
        while frames < FRAMES_MAX && matches!(socket.receive(&mut buffer), Ok(Some(_))) {
            frames += 1;
        }
        let late_ms = by.as_millis();
        if frames > 0 {
            warn!(
                late_ms,
                frames, "Woke up late; dropped the packets that arrived meanwhile as too old"
            );
        } else {
            debug!(late_ms, "Woke up late");
        }
    }
}
