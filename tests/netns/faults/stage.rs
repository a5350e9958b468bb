//! A lab with its nodes, and what is done to them.

use std::time::Duration;

use carpd::lab::clock::{Ticker, now};
use carpd::lab::{Facts, Fault, Lab};
use carpd::types::Timestamp;
use nix::sys::signal::Signal;

use super::eye::Eye;
use super::member::{Member, START, VIRTUAL_NAME, has_route, holds};
use super::plan::{Act, Families, Plan, Step};
use super::world::{Disk, Life, Node, World, name};
use crate::rig::{CARPD, Failed, SOON, dual_lan, lan, sh};
use crate::tree::Tree;

/// What a busy machine may add to any of the daemon's bounds. It is not the daemon's: the figures
/// without it are reported.
pub(super) const MARGIN: Duration = Duration::from_millis(700);
/// The lease of the one-second timers, and the kernel's lateness; a busy machine adds up to a
/// second (docs/operations.md).
const LEASE_GONE: Duration = Duration::from_millis(2700 + 1000);
/// A peer answers so soon after the death of an engine, or when it is told that the master leaves.
const HANDOVER: Duration = Duration::from_millis(50);
/// A freeze of which nobody is told.
const BLINK: Duration = Duration::from_millis(600);
/// How many faults there are at one time.
const FAULTS_MAX: usize = 3;

/// A lab in the middle of a plan.
pub(super) struct Stage {
    pub(super) lab: Lab,
    pub(super) plan: Plan,
    pub(super) world: World,
    pub(super) members: Vec<Member>,
    pub(super) eye: Eye,
    /// The processes of frozen nodes.
    frozen: Vec<Option<Tree>>,
}

/// What a step came to.
pub(super) struct Done {
    /// What was done, as it turned out.
    pub(super) act: Act,
    pub(super) node: usize,
    pub(super) at: Timestamp,
    /// By then all is as the rules want it.
    pub(super) bound: Duration,
    /// It brought hosts together that did not hear each other.
    pub(super) reunites: bool,
}

impl Stage {
    /// All nodes run; not one of them is master yet.
    pub(super) fn set(plan: &Plan) -> Result<Self, Failed> {
        let names: Vec<&str> = (0..plan.nodes).map(name).collect();
        let lab = if plan.families == Families::V4 {
            lan(&names)?
        } else {
            dual_lan(&names)?
        };
        let eye = Eye::open(&lab, plan.families.addresses()[0])?;
        let members: Result<Vec<Member>, Failed> = (0..plan.nodes)
            .map(|number| Member::new(&lab, plan, number))
            .collect();
        let world = World {
            nodes: vec![Node::WELL; plan.nodes],
            leased: !plan.fast,
        };
        let frozen = vec![None; plan.nodes];
        let mut stage = Self {
            lab,
            plan: plan.clone(),
            world,
            members: members?,
            eye,
            frozen,
        };
        for member in &mut stage.members {
            member.start(&stage.lab, true)?;
        }
        Ok(stage)
    }

    pub(super) fn facts(&self) -> Result<Vec<Facts>, Failed> {
        Ok(self
            .members
            .iter()
            .map(|member| member.host.facts())
            .collect::<Result<_, _>>()?)
    }

    /// The longest time between two advertisements of an undemoted node.
    pub(super) fn interval(&self) -> Duration {
        self.members
            .iter()
            .map(|member| member.interval)
            .max()
            .unwrap_or_default()
    }

    /// The same of nodes as they said they are.
    pub(super) fn longest_interval(&self) -> Duration {
        let demoted = |member: &Member| {
            let base = if self.plan.fast {
                Duration::ZERO
            } else {
                Duration::from_secs(1)
            };
            if member.demotion > 0 {
                base + Duration::from_micros(240 * 1_000_000 / 256)
            } else {
                member.interval
            }
        };
        self.members.iter().map(demoted).max().unwrap_or_default()
    }

    /// By then a backup that hears nobody is master.
    pub(super) fn takeover(&self) -> Duration {
        let silence = if self.plan.fast {
            self.interval() * 3
        } else {
            Duration::from_secs(2) + self.interval()
        };
        // Where a hook may fail, a node may resign, be alone, come back, and so each in turn.
        if self.world.nodes.iter().any(|node| node.hook_may_fail()) {
            silence * 4
        } else {
            silence
        }
    }

    /// Does the step, or what comes nearest to it.
    pub(super) fn act(&mut self, step: Step) -> Result<Done, Failed> {
        pass(self.interval() * step.phase / 1000)?;
        let facts = self.facts()?;
        let holder = facts.iter().position(holds).filter(|_| step.on_holder);
        let first = holder.unwrap_or(step.node);
        let faults: usize = self.world.nodes.iter().map(|node| count(*node)).sum();
        let act = if faults >= FAULTS_MAX {
            Act::Heal
        } else {
            step.act
        };
        for act in [act, step.otherwise, Act::Heal, Act::KillRunner] {
            for offset in 0..self.plan.nodes {
                let node = (first + offset) % self.plan.nodes;
                if self.fits(act, node, &facts[node]) {
                    return self.carry_out(act, node, &facts[node]);
                }
            }
        }
        Ok(Done {
            act: Act::Heal,
            node: first,
            at: now(),
            bound: self.takeover() + MARGIN,
            reunites: false,
        })
    }

    /// Can that be done to this node now?
    fn fits(&self, act: Act, node: usize, facts: &Facts) -> bool {
        let Node {
            life,
            link,
            disk,
            spoiled,
        } = self.world.nodes[node];
        let runs = life == Life::Runs;
        match act {
            Act::KillEngine
            | Act::KillKeeper
            | Act::KillRunner
            | Act::KillHelper
            | Act::Freeze
            | Act::Blink
            | Act::EditHook
            | Act::BreakHook
            | Act::Reload
            | Act::BadReload => runs,
            Act::KillTree => life != Life::Dead,
            Act::Cut(_) => link.is_none(),
            Act::FillDisk => disk == Disk::Good,
            Act::LockDisk => disk == Disk::Good && life == Life::Dead,
            Act::DropAddress => runs && link.is_none() && holds(facts),
            Act::DropRoute => runs && has_route(facts),
            // A component's failures are those of its runner.
            Act::SpoilHook => runs && !spoiled && !self.plan.wasm,
            Act::Resign => runs && holds(facts) && self.members[node].speaks,
            Act::Cleanup => life == Life::Dead && disk == Disk::Good,
            Act::Heal => self.world.nodes[node].ill(),
        }
    }

    fn carry_out(&mut self, act: Act, node: usize, facts: &Facts) -> Result<Done, Failed> {
        let mut done = Done {
            act,
            node,
            at: now(),
            bound: self.takeover() + MARGIN,
            reunites: false,
        };
        match act {
            Act::KillEngine => {
                let tree = self.members[node].tree(&self.lab)?;
                // Between two starts there is none.
                if let Some(engine) = tree.engine {
                    self.members[node].read_log();
                    tree.signal(engine, Signal::SIGKILL)?;
                    let pause = self.members[node]
                        .wait_says(&["The engine crashed; restarting it"], SOON)?
                        .text("restart_ms");
                    done.bound += START + Duration::from_millis(pause.parse()?);
                    if holds(facts) && self.has_relief(node) {
                        done.bound = HANDOVER + MARGIN;
                    }
                }
            }
            Act::KillKeeper => self.kill_keeper(node)?,
            Act::KillTree => self.kill_tree(node)?,
            Act::KillRunner => {
                let tree = self.members[node].tree(&self.lab)?;
                if let Some(runner) = tree.runners.first() {
                    // It may end by itself at this moment.
                    let _ = tree.signal(*runner, Signal::SIGKILL);
                }
                // In the middle of a run that is a failed hook.
                done.bound += self.takeover() * 2;
            }
            Act::KillHelper => {
                if let Some(helper) = self.members[node].tree(&self.lab)?.helper {
                    // It may end by itself at this moment.
                    let _ = self.members[node]
                        .tree(&self.lab)?
                        .signal(helper, Signal::SIGKILL);
                }
                // What it was just doing for a hook has failed.
                done.bound += self.takeover() * 2;
            }
            Act::Freeze => self.freeze(node)?,
            Act::Blink => {
                self.freeze(node)?;
                pass(BLINK)?;
                self.thaw(node);
            }
            Act::Cut(fault) => {
                self.lab.set_fault(name(node), fault)?;
                self.world.nodes[node].link = Some(fault);
            }
            Act::FillDisk => {
                sh(
                    &self.lab,
                    name(node),
                    "cat /dev/zero > /run/carpd/filler 2>/dev/null; true",
                )?;
                self.world.nodes[node].disk = Disk::Full;
            }
            Act::LockDisk => {
                sh(&self.lab, name(node), "mount -o remount,ro /run/carpd")?;
                self.world.nodes[node].disk = Disk::ReadOnly;
            }
            Act::DropAddress => {
                let held = facts.addresses.iter().find(|held| {
                    self.plan
                        .families
                        .addresses()
                        .contains(&held.ip.to_string().as_str())
                });
                // It may have let go meanwhile.
                _ = held.map(|held| self.lab.host(name(node)).delete_address(*held));
            }
            Act::DropRoute => drop(sh(
                &self.lab,
                name(node),
                "ip route delete 10.77.0.0/16; true",
            )?),
            Act::EditHook => {
                let spoiled = self.world.nodes[node].spoiled;
                self.members[node].edit(&self.lab, spoiled)?;
            }
            Act::SpoilHook => {
                self.members[node].edit(&self.lab, true)?;
                self.world.nodes[node].spoiled = true;
            }
            Act::BreakHook => self.members[node].break_hook(&self.lab)?,
            Act::Reload => self.members[node].reload(&self.lab, true)?,
            Act::BadReload => self.members[node].reload(&self.lab, false)?,
            // It may have let go meanwhile, and says so then.
            Act::Resign => {
                if self.has_relief(node) {
                    done.bound = HANDOVER + MARGIN;
                }
                // Waits for what comes of it; the plan does not.
                let order = format!(
                    "{CARPD} resign web --force --config /run/lab/carpd.toml >/dev/null 2>&1 & sleep 0.1"
                );
                drop(sh(&self.lab, name(node), &order)?);
            }
            Act::Cleanup => self.clean_up(node)?,
            Act::Heal => self.heal(node, &mut done)?,
        }
        if self.world.leased && matches!(act, Act::Freeze | Act::KillTree) {
            done.bound = done.bound.max(LEASE_GONE);
        }
        Ok(done)
    }

    /// Is there a node that takes over at once when this one says that it leaves?
    fn has_relief(&self, node: usize) -> bool {
        let fit = |other: usize| {
            let is = self.world.nodes[other];
            is.takes_part() && !is.hook_may_fail() && self.world.one_group(node, other)
        };
        (0..self.plan.nodes).any(|other| other != node && fit(other))
    }

    fn kill_keeper(&mut self, node: usize) -> Result<(), Failed> {
        let tree = self.members[node].tree(&self.lab)?;
        tree.signal(tree.keeper, Signal::SIGKILL)?;
        self.members[node].daemon()?.process.wait(SOON)?;
        let host = self.lab.host(name(node));
        // A zombie has no command line.
        let ended = |pid: &i32| {
            host.read(&format!("/proc/{pid}/cmdline"))
                .map_or(true, |text| text.is_empty())
        };
        let all = || Ok(tree.all().iter().all(ended).then_some(()));
        self.lab.until(
            "an engine without keeper to end",
            Duration::from_secs(35),
            all,
        )?;
        self.world.nodes[node].life = Life::Dead;
        Ok(())
    }

    fn kill_tree(&mut self, node: usize) -> Result<(), Failed> {
        let tree = match self.frozen[node].take() {
            Some(tree) => tree,
            None => self.members[node].tree(&self.lab)?,
        };
        // So that none can react to the death of another.
        let _ = tree.signal_all(Signal::SIGSTOP);
        tree.signal_all(Signal::SIGKILL)?;
        self.members[node].daemon()?.process.wait(SOON)?;
        self.world.nodes[node].life = Life::Dead;
        Ok(())
    }

    fn freeze(&mut self, node: usize) -> Result<(), Failed> {
        let tree = self.members[node].tree(&self.lab)?;
        // The keeper first, or it would tell of children that stop; one that has just ended is no
        // matter.
        let _ = tree.signal_all(Signal::SIGSTOP);
        self.frozen[node] = Some(tree);
        self.world.nodes[node].life = Life::Frozen;
        Ok(())
    }

    fn thaw(&mut self, node: usize) {
        if let Some(tree) = self.frozen[node].take() {
            let _ = tree.signal_all(Signal::SIGCONT);
        }
        self.world.nodes[node].life = Life::Runs;
    }

    /// Nothing is left where nothing runs and `carpd cleanup` was called.
    fn clean_up(&mut self, node: usize) -> Result<(), Failed> {
        let said = sh(&self.lab, name(node), &format!("{CARPD} cleanup 2>&1"))?;
        let facts = self.lab.host(name(node)).facts()?;
        if holds(&facts)
            || has_route(&facts)
            || facts.hostname == VIRTUAL_NAME
            || self.members[node].serves(&self.lab)?
        {
            return Err(format!(
                "cleanup on {} left something: {facts:?}; it said {said:?}",
                name(node)
            )
            .into());
        }
        Ok(())
    }

    /// Ends one of the node's faults.
    fn heal(&mut self, node: usize, done: &mut Done) -> Result<(), Failed> {
        let host = name(node);
        match self.world.nodes[node] {
            Node {
                link: Some(fault), ..
            } => {
                done.reunites = !matches!(fault, Fault::Unplugged);
                done.at = now();
                self.lab.clear_fault(host, fault)?;
                self.world.nodes[node].link = None;
            }
            Node {
                life: Life::Frozen, ..
            } => {
                done.at = now();
                self.thaw(node);
            }
            Node {
                life: Life::Dead,
                disk,
                ..
            } => {
                self.members[node].start(&self.lab, disk != Disk::ReadOnly)?;
                self.world.nodes[node].life = Life::Runs;
                done.at = now();
                done.bound += MARGIN;
            }
            Node {
                disk: Disk::Full, ..
            } => {
                sh(&self.lab, host, "rm -f /run/carpd/filler")?;
                self.world.nodes[node].disk = Disk::Good;
            }
            Node {
                disk: Disk::ReadOnly,
                ..
            } => {
                sh(&self.lab, host, "mount -o remount,rw /run/carpd")?;
                self.world.nodes[node].disk = Disk::Good;
            }
            Node { spoiled: true, .. } => {
                self.members[node].edit(&self.lab, false)?;
                self.world.nodes[node].spoiled = false;
            }
            Node { .. } => {}
        }
        Ok(())
    }
}

/// How many faults a node has.
fn count(node: Node) -> usize {
    let Node {
        life,
        link,
        disk,
        spoiled,
    } = node;
    [
        life != Life::Runs,
        link.is_some(),
        disk != Disk::Good,
        spoiled,
    ]
    .into_iter()
    .map(usize::from)
    .sum()
}

/// Lets time pass: where in an interval something happens matters.
fn pass(time: Duration) -> Result<(), Failed> {
    let (end, ticker) = (now() + time, Ticker::new(Duration::from_millis(5))?);
    while now() < end {
        ticker.wait()?;
    }
    Ok(())
}
