//! Probers look at what tracks follow, beside the loop.

use std::rc::Rc;

use crate::engine::command::Command;
use crate::engine::runs::prober::Tell;
use crate::engine::state::Engine;

impl Engine {
    /// Begins to look at what the tracks of the configuration in use follow, and at nothing else.
    pub(in crate::engine) fn probe_tracks(&mut self) {
        let orders = self.orders.clone();
        let tell: Tell = Rc::new(move |track, number, finding| {
            let orders = orders.clone();
            Box::pin(async move {
                let told = Command::Tracked(track, number, finding);
                orders.send(told).await.is_ok()
            })
        });
        self.ties.probers.replace(&self.config, &self.keeper, &tell);
    }
}
