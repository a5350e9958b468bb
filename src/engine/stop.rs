//! Stopping in good order: let go first, then the hooks, then the end.

use std::rc::Rc;

use tokio::sync::oneshot;
use tracing::info;

use super::clock;
use super::run::{Engine, Stopping};
use crate::hooks::EntryPoint;
use crate::proto::Input;
use crate::types::Timestamp;

impl Engine {
    pub(super) fn stop(&mut self, signal: &'static str) {
        if self.stopping.is_some() {
            return;
        }
        info!(signal, "Stops");
        _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let now = clock::now();
        self.stopping = Some(Stopping { deadline: now + self.shutdown_timeout, done: None });
        for index in self.numbers() {
            let Some(node) = self.nodes.get_mut(&index) else { continue };
            node.leaving = true;
            if node.is_master() && node.queue.defines(EntryPoint::BeforeBackup) {
                let event = node.event(EntryPoint::BeforeBackup, false);
                node.queue.put(event, false);
            } else {
                self.leave(index, now);
            }
        }
    }

    /// The virtual host's orderly end: addresses down, bow-out, `on_backup`, undoing.
    pub(super) fn leave(&mut self, index: usize, now: Timestamp) {
        self.handle(index, Input::Shutdown, now);
        if let Some(node) = self.nodes.get_mut(&index) {
            node.leaving = false;
            node.wake = None;
        }
        if self.nodes.values().all(|node| !node.leaving) {
            self.finish();
        }
    }

    /// Everything is let go of; what remains are the hooks.
    pub(super) fn finish(&mut self) {
        let Some(stopping) = &mut self.stopping else { return };
        if stopping.done.is_some() {
            return;
        }
        let (sender, receiver) = oneshot::channel();
        stopping.done = Some(receiver);
        let ends: Vec<_> = self
            .nodes
            .values()
            .map(|node| {
                let stop = node.queue.defines(EntryPoint::OnStop).then(|| node.event(EntryPoint::OnStop, false));
                (Rc::clone(&node.queue), stop)
            })
            .collect();
        tokio::task::spawn_local(async move {
            for (queue, stop) in ends {
                queue.settled().await;
                if let Some(event) = stop {
                    queue.put(event, false);
                    queue.settled().await;
                }
            }
            _ = sender.send(());
        });
    }
}
