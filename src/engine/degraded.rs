//! What follows when a hook fails on a master: hand over, stay, or stand aside; and trying again, ever more seldom.
//!
//! With `resign` the node hands over at once and says that it is as unfit as can be. If the same happens again:
//!
//! - nobody took over for long: an address without its service is better than no address, so it stays master and
//!   tries the hook again. Of nodes that all fail the one to which the address comes back first keeps it.
//! - somebody did take over, and for long: others get their chance once more. The time that counts as long is doubled,
//!   so that nodes which all fail, but slowly, do not pass the address on for ever.
//! - the operator does not want that (`keep-degraded = false`), or it was `before_master` that failed: it takes no part
//!   for a while, each time for longer.

use std::time::Duration;

use tracing::{info, warn};

use super::backoff::Backoff;
use super::news::Failure;
use super::node::Node;
use super::run::Engine;
use super::world::World;
use crate::hooks::{EntryPoint, HookError};
use crate::host::Host;
use crate::types::{Cause, Name, Timestamp};

/// A node that was relieved for so long gives the others another chance, at first; doubled each time.
const RELIEF_FIRST: Duration = Duration::from_secs(60);

/// A hook failed here.
#[derive(Debug)]
pub(super) struct Degraded {
    pub(super) reason: String,
    pub(super) retry_at: Option<Timestamp>,
    retries: Backoff,
    /// It wants to be relieved: `on-failure = "resign"`.
    unfit: bool,
    /// Since when it is not master.
    away: Option<Timestamp>,
    relief: Duration,
}

/// What a node does about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Hand over.
    Resign,
    /// Stay master, and try again after this pause.
    Stay(Duration),
    /// Hand over, and take no part for so long.
    StandAside(Duration),
}

impl Degraded {
    fn new(reason: String, unfit: bool) -> Self {
        Self { reason, retry_at: None, retries: Backoff::default(), unfit, away: None, relief: RELIEF_FIRST }
    }

    /// Shall others be preferred?
    pub(super) const fn is_unfit(&self) -> bool {
        self.unfit
    }

    /// What to do about another failure of a master since `master`; the first of all is for [`Self::new`].
    fn again(&mut self, reason: String, master: Timestamp, may_stay: bool) -> Verdict {
        self.reason = reason;
        let away = self.away.take().map_or(Duration::ZERO, |since| master.since(since));
        if away >= self.relief {
            self.relief = self.relief.saturating_mul(2);
            self.retries = Backoff::default();
            return Verdict::Resign;
        }
        let pause = self.retries.pause();
        if may_stay { Verdict::Stay(pause) } else { Verdict::StandAside(pause) }
    }

    /// Its mastership ends. What is left of it, if anything.
    pub(super) fn leaves(mut self, now: Timestamp) -> Option<Self> {
        self.retry_at = None;
        self.away = Some(now);
        self.unfit.then_some(self)
    }
}

impl<W: World> Engine<W> {
    /// Hands over because a hook failed at `entry`; or what else is best, if that did not help before.
    pub(super) fn resign_for(&mut self, index: usize, entry: EntryPoint, failure: &Failure, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(&index) else { return };
        if failure.error == HookError::Superseded || !node.is_master() {
            return;
        }
        let reason = format!("hook {}: {}", failure.hook, failure.error);
        // A `before_master` that fails is a veto: its addresses are not up yet.
        let may_stay = entry == EntryPoint::OnMaster && node.spec.keep_degraded && node.announces();
        let verdict = match &mut node.degraded {
            Some(degraded) if degraded.unfit => degraded.again(reason.clone(), node.changed, may_stay),
            _ => {
                node.degraded = Some(Degraded::new(reason.clone(), true));
                Verdict::Resign
            }
        };
        match verdict {
            Verdict::Stay(pause) => {
                warn!(vhost = %node.spec.name, reason, retry_s = pause.as_secs(), "Stays master, degraded: nobody took over");
                self.retry(index, now + pause);
            }
            Verdict::Resign => {
                self.resign_and_demote(index, Cause::HookFailed { reason }, now);
            }
            Verdict::StandAside(pause) => {
                warn!(vhost = %node.spec.name, reason, aside_s = pause.as_secs(), "Stands aside: the hook failed again");
                self.aside(index, now + pause, Cause::HookFailed { reason }, now);
                self.demote(index, now);
            }
        }
    }

    /// Stays master with a hook that failed (`on-failure = "keep"`), and tries it again.
    pub(super) fn stay_for(&mut self, index: usize, failure: &Failure, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(&index) else { return };
        if failure.error == HookError::Superseded || !node.is_master() {
            return;
        }
        let reason = format!("hook {}: {}", failure.hook, failure.error);
        let degraded = node.degraded.get_or_insert_with(|| Degraded::new(reason.clone(), false));
        reason.clone_into(&mut degraded.reason);
        let pause = degraded.retries.pause();
        warn!(vhost = %node.spec.name, reason, retry_s = pause.as_secs(), "Stays master, and will run the hook again");
        self.retry(index, now + pause);
    }

    fn retry(&mut self, index: usize, at: Timestamp) {
        if let Some(degraded) = self.nodes.get_mut(&index).and_then(|node| node.degraded.as_mut()) {
            degraded.retry_at = Some(at);
        }
    }

    /// It is time to try again what failed.
    pub(super) fn retry_degraded(&mut self, index: usize, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(&index) else { return };
        let Some(degraded) = node.degraded.as_mut().filter(|degraded| degraded.retry_at.is_some_and(|at| at <= now)) else {
            return;
        };
        degraded.retry_at = None;
        node.run_again();
    }

    /// The hook has done what it should.
    pub(super) fn hook_recovered(&mut self, index: usize, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(&index) else { return };
        if let Some(degraded) = node.degraded.take() {
            info!(vhost = %node.spec.name, was = degraded.reason, "Is no longer degraded");
            self.demote(index, now);
        }
    }

    /// An operator had one hook run anew, and it did what it should. If the list of hooks had ended at it, the others are
    /// still to run.
    pub(super) fn hook_applied(&mut self, index: usize) {
        if let Some(node) = self.nodes.get_mut(&index).filter(|node| node.serves() && node.degraded.is_some()) {
            node.run_again();
        }
    }

    /// These hooks were changed, or an operator says that they are well: a master tries at once, another node is as fit as
    /// any. Gives the virtual hosts that were degraded.
    pub(super) fn forgive(&mut self, hooks: &[Name], now: Timestamp) -> Vec<Name> {
        let mut forgiven = Vec::new();
        for index in self.numbers() {
            let Some(node) = self.nodes.get(&index) else { continue };
            if node.degraded.is_none() || !node.spec.hooks.iter().any(|hook| hooks.contains(hook)) {
                continue;
            }
            forgiven.push(node.spec.name.clone());
            self.forgive_hooks(index, now);
        }
        forgiven
    }

    /// The hooks of a virtual host are said to be well.
    pub(super) fn forgive_hooks(&mut self, index: usize, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(&index).filter(|node| node.degraded.is_some()) else { return };
        if node.is_master() {
            // Before its `on_master`, that is still to come, and runs what is new.
            if node.serves() {
                node.run_again();
            }
            return;
        }
        node.degraded = None;
        node.aside_until = node.aside_until.map(|_| now);
        self.demote(index, now);
        self.stand_in_again(index, now);
    }
}

impl<H: Host + 'static> Node<H> {
    /// Tries again what failed on a master; what it holds stays.
    fn run_again(&mut self) {
        let event = self.event(EntryPoint::OnMaster, false);
        self.queue.run_again(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    /// Fails in every mastership, each of which begins so long after the one before has ended.
    fn fails(away: Duration, may_stay: bool, times: usize) -> Vec<Verdict> {
        let mut degraded = Degraded::new("no".into(), true);
        let mut now = at(10);
        let mut verdicts = Vec::new();
        for _ in 0..times {
            if !matches!(verdicts.last(), Some(Verdict::Stay(_))) {
                degraded = degraded.leaves(now).unwrap();
                now = now + away;
            }
            verdicts.push(degraded.again("no".into(), now, may_stay));
        }
        verdicts
    }

    #[test]
    fn where_nobody_takes_over_it_stays_and_tries_ever_more_seldom() {
        let seconds: Vec<u64> = fails(Duration::from_secs(3), true, 9)
            .into_iter()
            .map(|verdict| if let Verdict::Stay(pause) = verdict { pause.as_secs() } else { 0 })
            .collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn where_it_may_not_stay_it_stands_aside_for_longer_and_longer() {
        let aside = |seconds| Verdict::StandAside(Duration::from_secs(seconds));
        assert_eq!(fails(Duration::from_secs(3), false, 4), [1, 2, 4, 8].map(aside));
    }

    #[test]
    fn nodes_that_all_fail_slowly_pass_the_address_on_ever_more_seldom() {
        // Each is relieved for 100 s, until the other's hook has failed too.
        let verdicts = fails(Duration::from_secs(100), true, 3);
        assert_eq!(verdicts, [Verdict::Resign, Verdict::Stay(Duration::from_secs(1)), Verdict::Stay(Duration::from_secs(2))]);
    }

    #[test]
    fn a_failure_that_is_kept_is_forgotten_with_its_mastership() {
        assert!(Degraded::new("no".into(), false).leaves(at(1)).is_none());
        assert!(Degraded::new("no".into(), true).leaves(at(1)).unwrap().is_unfit());
    }
}
