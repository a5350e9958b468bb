//! A clean stop: first release the addresses, then run the hooks, then exit.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::config::AtStop;
use crate::engine::environment::Environment;
use crate::engine::state::{Engine, Stopping};
use crate::engine::vhost::id::VhostId;
use crate::hooks::EntryPoint;
use crate::host::clock;
use crate::proto::{Cause, Input};
use crate::types::{State, Timestamp};

/// How long the exit waits for persistent state to be written.
const DISK_LIMIT: Duration = Duration::from_secs(2);

impl<E: Environment> Engine<E> {
    pub(in crate::engine) fn stop(&mut self, signal: &'static str) {
        if self.stopping.is_some() {
            return;
        }
        info!(signal, "Stopping");
        let now = clock::now();
        self.stopping = Some(Stopping {
            deadline: now + self.shutdown_timeout,
            done: None,
        });
        // All of them before the first one leaves: the daemon exits when the last one has left.
        self.nodes
            .iter_mut()
            .for_each(|(_, node)| node.leaving = true);
        let mut at_once = Vec::new();
        for index in self.numbers() {
            let Some(node) = self.nodes.get_mut(index) else {
                continue;
            };
            let first = match node.spec.at_stop {
                AtStop::AddressesFirst => Some(EntryPoint::BeforeBackup),
                AtStop::HooksFirst => Some(EntryPoint::OnBackup),
                AtStop::AddressesOnly => None,
            };
            let Some(first) = first.filter(|first| node.is_master() && node.queue.defines(*first))
            else {
                at_once.push(index);
                continue;
            };
            let mut event = node.event(first, false);
            Cause::Shutdown.as_str().clone_into(&mut event.cause);
            event.cause_text = Cause::Shutdown.to_string();
            if first == EntryPoint::OnBackup {
                (event.state, event.previous) = (State::Init, State::Master);
            }
            node.leave_by = Some(now + self.shutdown_timeout * 2 / 3);
            node.queue.put(event, first == EntryPoint::OnBackup);
        }
        for index in at_once {
            self.leave(index, now);
        }
        self.finish_if_all_left();
    }

    fn finish_if_all_left(&mut self) {
        if self.nodes.values().all(|node| !node.leaving) {
            self.finish();
        }
    }

    /// Stops the virtual host cleanly: addresses, bow-out, `on_backup`, undoing.
    /// Members of a group leave together, when no hook of any of them is waited for.
    pub(in crate::engine) fn leave(&mut self, index: VhostId, now: Timestamp) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.leave_by = None;
        }
        let members = self.together_with(index);
        let waits = |index: &VhostId| {
            let node = self.nodes.get(*index);
            node.is_some_and(|node| node.leave_by.is_some())
        };
        if members.iter().any(waits) {
            return;
        }
        self.groups.settling = true;
        for member in &members {
            self.feed(*member, Input::Shutdown, now);
        }
        self.groups.settling = false;
        self.follow_up(now);
        for member in members {
            if let Some(node) = self.nodes.get_mut(member) {
                node.leaving = false;
                node.aside_until = None;
                node.wake = None;
            }
        }
        self.finish_if_all_left();
    }

    /// A hook has not finished in time: removing the addresses and the bow-out do not wait any
    /// longer.
    pub(in crate::engine) fn leave_at_last(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.leave_by = None;
        if node.leaving {
            warn!(vhost = %node.spec.name, "Leaving without waiting for its hook any longer");
            self.leave(index, now);
        }
    }

    /// Removes the virtual host's addresses from its interface, whoever added them.
    pub(in crate::engine) fn take_off(&self, index: VhostId) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        for address in &node.spec.addresses {
            if self.present(&node.spec.interface, address.ip) {
                self.shared
                    .executor
                    .remove_leftover(&node.spec.interface, *address);
                info!(vhost = %node.spec.name, interface = %node.spec.interface, %address, "Removed an address");
            }
        }
    }

    /// All addresses are released; only the hooks remain.
    pub(in crate::engine) fn finish(&mut self) {
        let Some(stopping) = &mut self.stopping else {
            return;
        };
        if stopping.done.is_some() {
            return;
        }
        let (sender, receiver) = oneshot::channel();
        stopping.done = Some(receiver);
        let ends: Vec<_> = self
            .nodes
            .values()
            .map(|node| {
                let stop = node
                    .queue
                    .defines(EntryPoint::OnStop)
                    .then(|| node.event(EntryPoint::OnStop, false));
                (Rc::clone(&node.queue), stop)
            })
            .collect();
        let shared = Rc::clone(&self.shared);
        tokio::task::spawn_local(async move {
            // An engine that was started only to undo what a dead engine left behind exits when
            // that is done.
            shared.executor.recovered().await;
            shared.executor.devices_gone().await;
            for (queue, stop) in ends {
                queue.settled().await;
                if let Some(event) = stop {
                    queue.put(event, false);
                    queue.settled().await;
                }
            }
            shared.persist.numbers.borrow_mut().give_back();
            // A disk that does not respond must not hold up the exit.
            let disk =
                async { tokio::join!(shared.persist.settled(), shared.executor.close_ledger()) };
            _ = tokio::time::timeout(DISK_LIMIT, disk).await;
            _ = sender.send(());
        });
    }
}
