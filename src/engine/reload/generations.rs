//! The versions of every hook: the active one, the previous one, and the one that was refused.

use std::collections::BTreeMap;
use std::rc::Rc;

use tracing::{error, info};

use crate::engine::report::{Fault, HookStatus, VersionStatus};
use crate::engine::runs::pool::Pool;
use crate::host::clock;
use crate::types::Name;

/// All hooks of the engine.
#[derive(Debug, Default)]
pub(in crate::engine) struct Generations {
    hooks: BTreeMap<Name, Hook>,
}

#[derive(Debug)]
struct Hook {
    pool: Rc<Pool>,
    before: Option<Before>,
    generation: u64,
    since_ms: u64,
    /// The generation from which an operator went back to this version.
    rolled_back_from: Option<u64>,
    /// Whether it comes from the saved copy, because the file had an error.
    kept: bool,
    fault: Option<(Fault, String)>,
}

/// The previous version.
#[derive(Debug)]
struct Before {
    pool: Rc<Pool>,
    generation: u64,
    since_ms: u64,
}

impl Generations {
    /// Activates a version of a hook. The previous one is kept for a rollback.
    pub(in crate::engine) fn take(&mut self, pool: Rc<Pool>) {
        let name = pool.name().clone();
        let since_ms = clock::wall_ms();
        if let Some(hook) = self.hooks.get_mut(&name) {
            let before = std::mem::replace(&mut hook.pool, pool);
            hook.before = Some(Before {
                pool: before,
                generation: hook.generation,
                since_ms: hook.since_ms,
            });
            hook.generation += 1;
            info!(hook = %name, generation = hook.generation, digest = short(hook.pool.digest()), "Activated a new version of a hook");
            hook.since_ms = since_ms;
            hook.rolled_back_from = None;
            hook.kept = false;
            hook.fault = None;
        } else {
            let hook = Hook {
                pool,
                before: None,
                generation: 1,
                since_ms,
                rolled_back_from: None,
                kept: false,
                fault: None,
            };
            self.hooks.insert(name, hook);
        }
    }

    /// Goes back to the previous version, if there is one, and returns it.
    pub(in crate::engine) fn roll_back(&mut self, name: &Name) -> Option<Rc<Pool>> {
        let hook = self.hooks.get(name)?;
        let (pool, from) = (Rc::clone(&hook.before.as_ref()?.pool), hook.generation);
        self.take(Rc::clone(&pool));
        if let Some(hook) = self.hooks.get_mut(name) {
            hook.rolled_back_from = Some(from);
        }
        Some(pool)
    }

    /// Activates the saved version of a hook, because the one on disk was refused.
    pub(in crate::engine) fn take_kept(
        &mut self,
        pool: Rc<Pool>,
        accepted_ms: u64,
        message: String,
        refused: String,
    ) {
        let name = pool.name().clone();
        self.take(pool);
        if let Some(hook) = self.hooks.get_mut(&name) {
            (hook.kept, hook.since_ms) = (true, accepted_ms);
        }
        self.refuse(&name, message, refused);
    }

    /// The active version.
    pub(in crate::engine) fn current(&self, name: &Name) -> Option<&Rc<Pool>> {
        self.hooks.get(name).map(|hook| &hook.pool)
    }

    /// The digest of the version that is currently refused, if any.
    pub(in crate::engine) fn refused(&self, name: &Name) -> Option<String> {
        self.hooks
            .get(name)?
            .fault
            .as_ref()
            .map(|(_, refused)| refused.clone())
    }

    /// Drops the previous versions: their signatures are no longer accepted.
    pub(in crate::engine) fn forget_before(&mut self) {
        for hook in self.hooks.values_mut() {
            hook.before = None;
        }
    }

    /// The version on disk has an error; the current version stays active. A known error keeps its
    /// date.
    pub(in crate::engine) fn refuse(&mut self, name: &Name, message: String, digest: String) {
        let Some(hook) = self.hooks.get_mut(name) else {
            return;
        };
        if let Some((fault, known)) = &mut hook.fault
            && fault.message == message
        {
            *known = digest;
            return;
        }
        error!(hook = %name, generation = hook.generation, error = message, "Keeping the last good version of a hook");
        hook.fault = Some((
            Fault {
                message,
                since_ms: clock::wall_ms(),
            },
            digest,
        ));
    }

    /// The version on disk is the active one.
    pub(in crate::engine) fn clear_fault(&mut self, name: &Name) {
        if let Some(hook) = self.hooks.get_mut(name) {
            hook.kept = false;
            hook.fault = None;
        }
    }

    /// Drops hooks that are no longer in the configuration.
    pub(in crate::engine) fn retain(&mut self, keep: impl Fn(&Name) -> bool) {
        self.hooks.retain(|name, _| keep(name));
    }

    /// For status.
    pub(in crate::engine) fn status(&self) -> Vec<HookStatus> {
        self.hooks
            .iter()
            .map(|(name, hook)| HookStatus {
                name: name.clone(),
                source: hook.pool.spec().source.clone(),
                generation: hook.generation,
                digest: hook.pool.digest().to_owned(),
                since_ms: hook.since_ms,
                vouched: hook.pool.vouched().map(ToString::to_string),
                kept: hook.kept,
                watched: None,
                before: hook.before.as_ref().map(|before| VersionStatus {
                    generation: before.generation,
                    digest: before.pool.digest().to_owned(),
                    since_ms: before.since_ms,
                }),
                rolled_back_from: hook.rolled_back_from,
                entry_points: hook.pool.entry_points().to_vec(),
                confinement: hook.pool.confinement(),
                idle_runners: hook.pool.idle(),
                fault: hook.fault.as_ref().map(|(fault, _)| fault.clone()),
            })
            .collect()
    }
}

/// The first digits of a digest, which are enough for a person.
pub(in crate::engine) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
