//! After each step: waits until all is as the rules want it, and looks whether it stays so.

use std::collections::BTreeSet;
use std::time::Duration;

use carpd::lab::Facts;
use carpd::lab::clock::now;
use carpd::types::{MacAddr, Timestamp};

use super::member::{VIRTUAL_NAME, has_route, holds};
use super::plan::Act;
use super::runs;
use super::stage::{Done, MARGIN, Stage};
use super::world::{Life, World, name};
use crate::rig::{Entry, Failed};

/// Hooks and undoing come after the addresses: by then they have ended.
const HOOKS_DONE: Duration = Duration::from_secs(6);
/// Once hosts hear each other again, one interval and so much later one of them holds the address.
const HEALED: Duration = Duration::from_millis(100);
/// Two may answer for so long while one hands over to the other, whose advertisement comes first.
const HANDOVER: Duration = Duration::from_millis(100);
/// What a busy machine adds to that.
const HANDOVER_BUSY: Duration = Duration::from_millis(150);
/// What the wire and the clocks add to an interval and a half.
const GAP_ROOM: Duration = Duration::from_millis(30);

/// The most that was seen of what has a bound, for the report.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) settled: Duration,
    pub(super) healed: Duration,
    pub(super) two: Duration,
    /// Of an interval, in thousandths.
    pub(super) gap: u128,
    /// For how long an engine waited for a processor where its advertisement came late.
    pub(super) held_up: Duration,
}

/// A master that nothing was done to, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steady {
    since: Timestamp,
    engine: i32,
    waited: Duration,
}

/// Where the checks of one lab stand.
pub(super) struct Checks {
    steady: Vec<Option<Steady>>,
    /// When the step before was found settled.
    before: Timestamp,
    may_be_two: bool,
    pub(super) figures: Figures,
}

impl Checks {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            steady: vec![None; nodes],
            before: now(),
            may_be_two: false,
            figures: Figures::default(),
        }
    }

    /// Everything that must be true after a step.
    pub(super) fn after(&mut self, stage: &mut Stage, done: &Done) -> Result<String, Failed> {
        let settled = self.settle(stage, done)?;
        hooks_and_ledgers(stage)?;
        let end = now();
        // All that was on the wire until then.
        stage.eye.look();
        self.two(stage, end)?;
        self.gaps(stage, done, end)?;
        self.before = end;
        self.may_be_two = stage.world.may_be_two();
        let facts = stage.facts()?;
        let held: Vec<&str> = (0..facts.len())
            .filter(|node| holds(&facts[*node]))
            .map(name)
            .collect();
        Ok(format!(
            "{} ms, held by {}",
            settled.as_millis(),
            if held.is_empty() {
                "none".to_owned()
            } else {
                held.join(" and ")
            }
        ))
    }

    /// Waits until the rules are kept, and have been for a whole interval.
    fn settle(&mut self, stage: &mut Stage, done: &Done) -> Result<Duration, Failed> {
        let quiet = stage.interval() * 6 / 5;
        // Where none held it before, there is nobody to yield.
        let reunited = done.reunites && stage.facts()?.iter().any(holds);
        let mut first_good: Option<Timestamp> = None;
        let mut good_since: Option<Timestamp> = None;
        let mut bad_until = done.at + done.bound;
        loop {
            stage.eye.look();
            let at = now();
            match look(stage) {
                Ok(()) => {
                    let first = *first_good.get_or_insert(at);
                    let since = *good_since.get_or_insert(at);
                    // A better node that comes back takes over, any time later.
                    bad_until = bad_until.max(at + HANDOVER + HANDOVER_BUSY);
                    if at.since(since) < quiet {
                        continue;
                    }
                    let took = first.since(done.at);
                    self.figures.settled = self.figures.settled.max(took);
                    if reunited {
                        self.healed(stage, took)?;
                    }
                    return Ok(took);
                }
                Err(why) if at > bad_until => {
                    return Err(
                        format!("{} ms after it: {why}", at.since(done.at).as_millis()).into(),
                    );
                }
                Err(_) => good_since = None,
            }
        }
    }

    /// Exactly one, an interval after a partition healed.
    fn healed(&mut self, stage: &Stage, took: Duration) -> Result<(), Failed> {
        let allowed = stage.longest_interval() + HEALED;
        let masters_at_both_ends = stage
            .world
            .nodes
            .iter()
            .all(|node| node.takes_part() && !node.hook_may_fail());
        if !masters_at_both_ends {
            return Ok(());
        }
        self.figures.healed = self.figures.healed.max(took);
        if took > allowed + MARGIN {
            return Err(format!(
                "healed after {} ms, allowed {} + {}",
                took.as_millis(),
                allowed.as_millis(),
                MARGIN.as_millis()
            )
            .into());
        }
        Ok(())
    }

    /// Two answer at one time only where they do not hear each other, and for a moment when one
    /// hands over.
    fn two(&mut self, stage: &Stage, end: Timestamp) -> Result<(), Failed> {
        if self.may_be_two || stage.world.may_be_two() {
            return Ok(());
        }
        let longest = stage.eye.longest_two(self.before, end);
        self.figures.two = self.figures.two.max(longest);
        if longest > HANDOVER + HANDOVER_BUSY {
            return Err(format!("two answered for {} ms", longest.as_millis()).into());
        }
        Ok(())
    }

    /// A master that nothing was done to is never silent for more than an interval and a half.
    fn gaps(&mut self, stage: &mut Stage, done: &Done, end: Timestamp) -> Result<(), Failed> {
        let gentle = matches!(
            done.act,
            Act::KillRunner
                | Act::KillHelper
                | Act::DropRoute
                | Act::DropAddress
                | Act::EditHook
                | Act::BreakHook
                | Act::Reload
                | Act::BadReload
        );
        for node in 0..stage.members.len() {
            let known = self.steady[node]
                .take()
                .filter(|_| done.node != node || gentle);
            let well = stage.world.nodes[node];
            let master_since = last_state(&stage.members[node].log)
                .filter(|(_, state)| state == "master")
                .map(|(at, _)| at);
            let (Life::Runs, None, Some(since)) = (well.life, well.link, master_since) else {
                continue;
            };
            let Some((engine, waited)) = stage.members[node].held_up(&stage.lab) else {
                continue;
            };
            let fresh = Steady {
                since: end,
                engine,
                waited,
            };
            let Some(known) = known.filter(|known| known.since > since && known.engine == engine)
            else {
                self.steady[node] = Some(fresh);
                continue;
            };
            self.gap(stage, node, known, waited.saturating_sub(known.waited), end)?;
            self.steady[node] = Some(fresh);
        }
        Ok(())
    }

    fn gap(
        &mut self,
        stage: &Stage,
        node: usize,
        known: Steady,
        held_up: Duration,
        end: Timestamp,
    ) -> Result<(), Failed> {
        // From the last one before.
        let reach = stage.longest_interval() * 2;
        let from = Timestamp::from_nanos(
            known
                .since
                .as_nanos()
                .saturating_sub(u64::try_from(reach.as_nanos())?),
        );
        let heard = stage.eye.heard(stage.members[node].ip, from);
        let Some(first) = heard.first() else {
            return Err(format!("{} is master and says nothing", name(node)).into());
        };
        let ends = heard.iter().skip(1).map(|heard| heard.at).chain([end]);
        let mut before = *first;
        for (number, at) in ends.enumerate() {
            let (gap, interval) = (at.since(before.at), before.interval);
            // What is not over yet is as long as it is: it counts only if it is too long already.
            let over = number + 1 < heard.len();
            if at > known.since && over {
                self.figures.gap = self
                    .figures
                    .gap
                    .max(gap.as_micros() * 1000 / interval.as_micros().max(1));
            }
            if at > known.since && gap > interval * 3 / 2 {
                self.figures.held_up = self.figures.held_up.max(held_up);
                // The next one may be on its way to us.
                let room = if over { GAP_ROOM } else { GAP_ROOM + MARGIN };
                if gap > interval * 3 / 2 + room + held_up {
                    return Err(format!(
                        "{} was silent for {} ms, its interval is {} ms; it waited for a processor for {} ms in that time",
                        name(node),
                        gap.as_millis(),
                        interval.as_millis(),
                        held_up.as_millis()
                    )
                    .into());
                }
            }
            if let Some(next) = heard.get(number + 1) {
                before = *next;
            }
        }
        Ok(())
    }
}

/// Each hook has run as it should, and what a host has of ours is in its ledger.
fn hooks_and_ledgers(stage: &mut Stage) -> Result<(), Failed> {
    let end = now() + HOOKS_DONE + stage.takeover();
    loop {
        stage.eye.look();
        let done = (0..stage.members.len()).try_for_each(|node| hook_and_ledger(stage, node));
        match done {
            Ok(()) => return Ok(()),
            Err(why) if now() > end => return Err(why),
            Err(_) => {}
        }
    }
}

/// Are the rules kept at this moment, by what the hosts have and by what the third host sees?
fn look(stage: &mut Stage) -> Result<(), String> {
    let facts = stage.facts().map_err(|err| err.to_string())?;
    let holding: Vec<bool> = facts.iter().map(holds).collect();
    stage.world.judge(&holding)?;
    for (node, member) in stage.members.iter_mut().enumerate() {
        if stage.world.nodes[node].life == Life::Runs
            && let Some(daemon) = &member.daemon
            && let Some(exit) = daemon.process.ended()
        {
            return Err(format!(
                "{} ended by itself: {}",
                member.name,
                exit.in_words()
            ));
        }
    }
    answers(
        &stage.world,
        &stage
            .members
            .iter()
            .map(|member| member.mac)
            .collect::<Vec<_>>(),
        &holding,
        &stage.eye.answer,
    )
}

/// Do those answer that hold it and can be asked, and no others?
fn answers(
    world: &World,
    macs: &[MacAddr],
    holding: &[bool],
    seen: &BTreeSet<MacAddr>,
) -> Result<(), String> {
    if world
        .nodes
        .iter()
        .any(|node| matches!(node.link, Some(carpd::lab::Fault::Lossy(_))))
    {
        return Ok(());
    }
    let asked = (0..macs.len()).filter(|node| holding[*node] && world.nodes[*node].reachable());
    let wanted: BTreeSet<MacAddr> = asked.map(|node| macs[node]).collect();
    // While two answer the prober does not tell which two.
    if *seen == wanted || (wanted.len() > 1 && seen.len() > 1) {
        return Ok(());
    }
    Err(format!("{seen:?} answer, and not {wanted:?}"))
}

fn hook_and_ledger(stage: &mut Stage, node: usize) -> Result<(), Failed> {
    let well = stage.world.nodes[node];
    let member = &mut stage.members[node];
    member.read_log();
    if well.life != Life::Runs {
        return Ok(());
    }
    // A run that failed for a fault that is over counts as failed; it is tried again only if it
    // matters.
    runs::last_is_done(
        &member.log,
        well.hook_may_fail() || stage.plan.steps.iter().any(|step| spoils(step.act)),
    )
    .map_err(|why| format!("{}: {why}", member.name))?;
    if !member.speaks {
        return Ok(());
    }
    let account = member.account(&stage.lab)?;
    member.demotion = account.demotion;
    let facts = member.host.facts()?;
    member.addresses(&facts, &account.held)?;
    let serves = member.serves(&stage.lab)?;
    ledger(&facts, serves, &account.held, account.master, member.name)
        .map_err(|why| format!("{why}; its ledger: {:?}", account.held).into())
}

/// Acts after which a run may have failed.
const fn spoils(act: Act) -> bool {
    matches!(
        act,
        Act::SpoilHook | Act::FillDisk | Act::LockDisk | Act::KillRunner | Act::KillHelper
    )
}

/// What is there is in the ledger, and of who is not master nothing is in it.
fn ledger(
    facts: &Facts,
    serves: bool,
    held: &[String],
    master: bool,
    host: &str,
) -> Result<(), String> {
    let in_ledger = |words: &str| held.iter().any(|resource| resource.starts_with(words));
    let there = [
        ("route to 10.77.0.0/16", has_route(facts)),
        ("hostname", facts.hostname != host),
        ("service httpd", serves),
    ];
    if !serves && in_ledger("service httpd") {
        return Err(format!(
            "{host} has a service in its ledger that does not run"
        ));
    }
    for (words, there) in there {
        if there && !in_ledger(words) {
            return Err(format!("{host} has {words}, which is not in its ledger"));
        }
    }
    if facts.hostname != host && facts.hostname != VIRTUAL_NAME {
        return Err(format!("{host} is called {}", facts.hostname));
    }
    if !master && !held.is_empty() {
        return Err(format!(
            "{host} is not master and has something in its ledger"
        ));
    }
    Ok(())
}

/// The newest state that a log tells of, and since when.
fn last_state(log: &[Entry]) -> Option<(Timestamp, String)> {
    log.iter()
        .rev()
        .find(|entry| entry.says("Changed state"))
        .map(|entry| (entry.at, entry.text("to")))
}
