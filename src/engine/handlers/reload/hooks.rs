//! Taking new versions of hooks into use.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::engine::environment::Environment;
use crate::engine::reload::generations::short;
use crate::engine::reload::load::signatures;
use crate::engine::runs::pool::Pool;
use crate::engine::state::Engine;
use crate::hooks::EntryPoint;
use crate::host::clock;
use crate::proto::{self, Gate};
use crate::types::{Name, Timestamp};

impl<E: Environment> Engine<E> {
    /// Activates all new versions together; runs that have started finish in the old version.
    pub(in crate::engine) fn swap_hooks(
        &mut self,
        pools: BTreeMap<Name, Rc<Pool>>,
        changes: &mut Vec<String>,
        now: Timestamp,
    ) {
        for (name, pool) in &pools {
            changes.push(format!("hook {name}: new version {}", short(pool.digest())));
            self.hooks.take(Rc::clone(pool));
            self.keep(name);
            let warm = Rc::clone(pool);
            tokio::task::spawn_local(async move { warm.warm_all().await });
        }
        if !pools.is_empty() {
            self.rewire(now);
            let swapped: Vec<Name> = pools.into_keys().collect();
            drop(self.forgive(&swapped, now));
        }
    }

    /// Saves the active version, to be used at the next start if the file has an error then.
    pub(in crate::engine::handlers) fn keep(&self, name: &Name) {
        if let Some(pool) = self.hooks.current(name)
            && let Some(original) = pool.original()
        {
            self.shared
                .persist
                .kept
                .keep(original, signatures(pool), clock::wall_ms());
        }
    }

    /// Gives every queue the active pools.
    pub(in crate::engine) fn rewire(&mut self, now: Timestamp) {
        let mut changed = Vec::new();
        for (index, node) in self.nodes.iter_mut() {
            let pools: Vec<_> = node
                .spec
                .hooks
                .iter()
                .filter_map(|name| self.hooks.current(name).cloned())
                .collect();
            node.checks.follow(&pools, now);
            node.queue.set_hooks(pools);
            let gate = if node.queue.defines(EntryPoint::BeforeMaster) {
                Gate::Ask
            } else {
                Gate::Free
            };
            if node.machine.settings().gate != gate {
                let settings = proto::Settings {
                    gate,
                    ..node.machine.settings().clone()
                };
                changed.push((index, settings));
            }
        }
        for (index, settings) in changed {
            self.reconfigure(index, settings, now);
        }
        for index in self.numbers() {
            // A demotion may have disappeared together with its hook.
            if self
                .nodes
                .get(index)
                .is_some_and(|node| node.machine.demotion() != node.demotion())
            {
                self.demote(index, now);
            }
            self.flush(index, now);
        }
    }
}
