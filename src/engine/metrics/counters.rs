//! Events that are counted as they happen, because nothing else records them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::hooks::EntryPoint;
use crate::proto::Transition;
use crate::types::{Name, State};

/// Upper ends of the buckets of run times, in milliseconds.
pub(in crate::engine) const BUCKETS_MS: [u64; 11] =
    [1, 5, 10, 50, 100, 500, 1000, 5000, 10_000, 30_000, 60_000];

/// All counters. Each only increases; those of virtual hosts and hooks that are gone are dropped.
#[derive(Debug, Default)]
pub(in crate::engine) struct Counters {
    pub(in crate::engine) vhosts: BTreeMap<Name, VhostCounters>,
    pub(in crate::engine) runs: BTreeMap<(Name, EntryPoint), Runs>,
    /// Effects, by outcome.
    pub(in crate::engine) effects: BTreeMap<&'static str, u64>,
    pub(in crate::engine) undone: u64,
    pub(in crate::engine) undo_failures: u64,
    pub(in crate::engine) reloads: u64,
    pub(in crate::engine) reloads_refused: u64,
}

/// Of one virtual host.
#[derive(Debug, Default)]
pub(in crate::engine) struct VhostCounters {
    pub(in crate::engine) transitions: BTreeMap<(State, String), u64>,
    pub(in crate::engine) announced: u64,
    pub(in crate::engine) announce_failures: u64,
    pub(in crate::engine) renewed: u64,
    pub(in crate::engine) renew_failures: u64,
}

/// Of one entry point of a hook.
#[derive(Debug, Default)]
pub(in crate::engine) struct Runs {
    pub(in crate::engine) done: u64,
    pub(in crate::engine) failed: u64,
    pub(in crate::engine) superseded: u64,
    /// How many ended within each of [`BUCKETS_MS`], not counting those in earlier buckets.
    pub(in crate::engine) buckets: [u64; BUCKETS_MS.len()],
    pub(in crate::engine) total: Duration,
}

/// How a run of a hook ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Ended {
    /// Well.
    Done,
    /// Not well.
    Failed,
    /// A newer state superseded it.
    Superseded,
}

impl Counters {
    fn vhost(&mut self, vhost: &Name) -> &mut VhostCounters {
        self.vhosts.entry(vhost.clone()).or_default()
    }

    /// A virtual host changed its state.
    pub(in crate::engine) fn transition(&mut self, vhost: &Name, transition: &Transition) {
        *self
            .vhost(vhost)
            .transitions
            .entry((transition.to, transition.cause.as_str().to_owned()))
            .or_default() += 1;
    }

    /// An address was announced to the neighbours, or could not be.
    pub(in crate::engine) fn announced(&mut self, vhost: &Name, sent: bool) {
        let counters = self.vhost(vhost);
        *if sent {
            &mut counters.announced
        } else {
            &mut counters.announce_failures
        } += 1;
    }

    /// The lease of an address was renewed, or could not be.
    pub(in crate::engine) fn renewed(&mut self, vhost: &Name, done: bool) {
        let counters = self.vhost(vhost);
        *if done {
            &mut counters.renewed
        } else {
            &mut counters.renew_failures
        } += 1;
    }

    /// A hook ran.
    pub(in crate::engine) fn ran(
        &mut self,
        hook: &Name,
        entry: EntryPoint,
        ended: Ended,
        took: Duration,
    ) {
        let runs = self.runs.entry((hook.clone(), entry)).or_default();
        *match ended {
            Ended::Done => &mut runs.done,
            Ended::Failed => &mut runs.failed,
            Ended::Superseded => &mut runs.superseded,
        } += 1;
        runs.total = runs.total.saturating_add(took);
        let within = |(bound, _): &(&u64, _)| took <= Duration::from_millis(**bound);
        if let Some((_, bucket)) = BUCKETS_MS.iter().zip(&mut runs.buckets).find(within) {
            *bucket += 1;
        }
    }

    /// An effect that a hook asked for.
    pub(in crate::engine) fn effect(&mut self, outcome: &'static str) {
        *self.effects.entry(outcome).or_default() += 1;
    }

    /// Adds the number of effects that were undone, and of those that could not be.
    pub(in crate::engine) fn undone(&mut self, settled: usize, failed: usize) {
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.undone = self.undone.saturating_add(wide(settled));
        self.undo_failures = self.undo_failures.saturating_add(wide(failed));
    }

    /// A reload did something, or was refused.
    pub(in crate::engine) fn reloaded(&mut self, done: bool) {
        *if done {
            &mut self.reloads
        } else {
            &mut self.reloads_refused
        } += 1;
    }

    /// Renames virtual hosts, all at once.
    pub(in crate::engine) fn rename(&mut self, names: &BTreeMap<Name, Name>) {
        let counted = std::mem::take(&mut self.vhosts).into_iter();
        self.vhosts = counted
            .map(|(name, counters)| (names.get(&name).cloned().unwrap_or(name), counters))
            .collect();
    }

    /// Drops the counters of what is no longer in the configuration.
    pub(in crate::engine) fn retain(
        &mut self,
        vhost: impl Fn(&Name) -> bool,
        hook: impl Fn(&Name) -> bool,
    ) {
        self.vhosts.retain(|name, _| vhost(name));
        self.runs.retain(|(name, _), _| hook(name));
    }
}

impl Runs {
    pub(in crate::engine) const fn count(&self) -> u64 {
        self.done + self.failed + self.superseded
    }
}
