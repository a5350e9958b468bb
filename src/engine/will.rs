//! Keeping the keeper informed: what it must do if we die, and that we live.

use std::time::Duration;

use tracing::warn;

use super::clock;
use super::run::Engine;
use super::world::World;
use crate::keeper::will::{Heartbeat, Will};
use crate::types::Timestamp;

/// How often the loop comes round at least.
pub(super) const BEAT: Duration = Duration::from_millis(500);
/// A loop that holds nothing may be late by so much before it counts as hung.
const LIMIT_IDLE: Duration = Duration::from_secs(10);
/// A loop that holds addresses, never less than this: a busy machine is not a hung engine.
const LIMIT_LEAST: Duration = Duration::from_secs(2);
/// A hung master lets go so long before a backup may take over.
const LIMIT_MARGIN: Duration = Duration::from_millis(700);

impl<W: World> Engine<W> {
    /// The loop came round.
    pub(super) fn beat(&mut self) {
        let now = clock::now();
        if self.beaten.is_some_and(|last: Timestamp| now.since(last) < BEAT / 2) {
            return;
        }
        self.beaten = Some(now);
        let Some(will) = &mut self.will else { return };
        let held = self.nodes.values().filter(|node| node.holding);
        let limit = held.map(|node| node.machine.master_down().saturating_sub(LIMIT_MARGIN).max(LIMIT_LEAST)).min();
        let heartbeat = Heartbeat { at: now, limit: limit.unwrap_or(LIMIT_IDLE) };
        if let Err(error) = will.beat(heartbeat) {
            warn!(%error, "Could not tell the keeper that all is well");
        }
    }

    /// Something about this virtual host changed: its state, its addresses, or the counter of its next bow-out.
    pub(super) fn bequeath(&mut self, index: usize) {
        let Some(writer) = &mut self.will else { return };
        let Some(node) = self.nodes.get(&index) else { return };
        let Some(port) = self.ports.get_mut(node.port) else { return };
        let Some(link) = port.index() else { return };
        let bow_outs = if node.is_master() {
            node.machine.bow_out_packets().iter().filter_map(|packet| port.frame(&node.spec, packet).ok()).collect()
        } else {
            Vec::new()
        };
        // Those that a script put up as well: we could not tell it to take them down.
        let addresses = if node.announces() { node.spec.addresses.clone() } else { Vec::new() };
        let will = Will { interface: node.spec.interface.clone(), index: link, addresses, bow_outs };
        if let Err(error) = writer.write(index, &will) {
            warn!(vhost = %node.spec.name, %error, "Could not tell the keeper what to do if we die");
        }
    }
}
