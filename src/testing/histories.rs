//! Random histories, each from a seed: whatever happens, no backup has an address, and in the end
//! everything is undone.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value as Json;

use super::hook::Subject;
use super::node::Node;
use super::record::Failed;
use super::spec::Spec;
use crate::hooks::HookError;
use crate::host::HostError;
use crate::host::sim::{Happens, Trouble};
use crate::types::{Name, State};

/// How many histories are played, unless the test specifies it.
pub(super) const RUNS: u32 = 20;
/// The most that a test may request.
pub(super) const RUNS_MAX: u32 = 10_000;
/// The number of steps of one history.
const STEPS: u64 = 12;
/// Long enough for all retries.
const LONG: Duration = Duration::from_hours(1);

/// Pseudo-random numbers: SplitMix64.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn pick<'a>(&mut self, from: &'a [String]) -> Option<&'a String> {
        let at = self.below(from.len() as u64);
        from.get(usize::try_from(at).ok()?)
    }
}

/// One step of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// For one of the virtual hosts; the first has no name here.
    Become {
        vhost: Option<Name>,
        to: State,
        wait: bool,
    },
    Advance(Duration),
    Trouble(Trouble),
    Rename(String),
    Heal,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Become { vhost, to, wait } => {
                f.write_str("h:")?;
                if let Some(name) = vhost {
                    write!(f, "vhost(\"{name}\"):")?;
                }
                let wait = if *wait { "" } else { ", { wait = false }" };
                write!(f, "become({:?}{wait})", to.as_str())
            }
            Self::Advance(time) => write!(f, "h:advance({})", time.as_secs_f64()),
            Self::Trouble(Trouble {
                effect,
                happens,
                after,
                times,
            }) => {
                let (verb, more) = match happens {
                    Happens::Fails(_) => ("fail", ", nil".to_owned()),
                    Happens::Hangs => ("hang", String::new()),
                    Happens::Takes(time) => ("slow", format!(", {}", time.as_secs_f64())),
                    Happens::Kills => ("kill", String::new()),
                };
                write!(
                    f,
                    "h:{verb}({effect:?}{more}, {{ after = {after}, times = {times} }})"
                )
            }
            Self::Rename(name) => write!(f, "h:change({{ hostname = {name:?} }})"),
            Self::Heal => f.write_str("h:heal()"),
        }
    }
}

/// A history that went wrong.
#[derive(Debug)]
pub(super) struct Lived {
    /// What was wrong.
    pub(super) wrong: String,
    /// The steps that led to it, as lines.
    pub(super) history: Vec<String>,
}

/// Plays histories. Returns the first that goes wrong, shortened, with what went wrong.
///
/// # Errors
/// The options are invalid.
pub(super) async fn play(
    subject: &Rc<Subject>,
    options: &Json,
    seed: u64,
    runs: u32,
) -> Result<Option<Lived>, String> {
    let spec = Spec::read(options)?;
    let effects = effects(subject, &spec).await?;
    let further: Vec<Name> = spec
        .vhosts()
        .skip(1)
        .map(|vhost| vhost.name.clone())
        .collect();
    for run in 0..runs {
        let mut random = Random(seed.wrapping_add(u64::from(run).wrapping_mul(0x9e37_79b9)));
        let steps = history(&mut random, &effects, &further);
        if let Err(first) = live(subject, &spec, &steps).await? {
            let (steps, wrong) = shorten(subject, &spec, steps, first).await?;
            let mut history = vec![format!("after this history (seed {seed}, history {run}):")];
            history.extend(steps.iter().map(|step| format!("  {step}")));
            let end = |vhost| Step::Become {
                vhost,
                to: State::Backup,
                wait: true,
            };
            let all = std::iter::once(None).chain(further.into_iter().map(Some));
            let end = std::iter::once(Step::Heal)
                .chain(all.map(end))
                .chain([Step::Advance(LONG)]);
            history.extend(end.map(|step| format!("  {step}")));
            return Ok(Some(Lived { wrong, history }));
        }
    }
    Ok(None)
}

/// What the hooks ask for when nothing goes wrong.
async fn effects(subject: &Rc<Subject>, spec: &Spec) -> Result<Vec<String>, String> {
    let nodes = Node::all(subject, spec).await?;
    let mut effects = Vec::new();
    let both = [State::Master, State::Backup];
    for (node, to) in nodes.iter().flat_map(|node| both.map(|to| (node, to))) {
        node.change_to(to, true).await?;
        node.take_errors();
        effects.extend(
            node.record()
                .plan
                .iter()
                .map(|asked| asked.effect.to_string()),
        );
        effects.extend(node.record().undone.iter().cloned());
    }
    effects.dedup();
    Ok(effects)
}

/// `further`: the virtual hosts other than the first.
fn history(random: &mut Random, effects: &[String], further: &[Name]) -> Vec<Step> {
    let steps = 2 + random.below(STEPS - 1);
    (0..steps)
        .map(|_| match random.below(10) {
            0..=3 => Step::Become {
                vhost: any_of(random, further),
                to: if random.below(2) == 0 {
                    State::Master
                } else {
                    State::Backup
                },
                wait: random.below(3) > 0,
            },
            4 | 5 => {
                let most = 1 << (4 + random.below(13));
                Step::Advance(Duration::from_millis(random.below(most)))
            }
            6 => Step::Heal,
            7 if random.below(3) == 0 => Step::Rename(format!("other-{}", random.below(3))),
            _ => trouble(random, effects).unwrap_or(Step::Heal),
        })
        .collect()
}

/// The first virtual host, or one of these.
fn any_of(random: &mut Random, further: &[Name]) -> Option<Name> {
    if further.is_empty() {
        return None;
    }
    let at = random.below(further.len() as u64 + 1);
    further.get(usize::try_from(at).ok()?).cloned()
}

fn trouble(random: &mut Random, effects: &[String]) -> Option<Step> {
    let effect = random.pick(effects)?.clone();
    let happens = match random.below(4) {
        0 => Happens::Hangs,
        1 => Happens::Takes(Duration::from_millis(random.below(20_000))),
        2 => Happens::Kills,
        _ => Happens::Fails(HostError::new("a fault of the test")),
    };
    let (after, times) = (
        u32::try_from(random.below(3)).ok()?,
        u32::try_from(1 + random.below(3)).ok()?,
    );
    Some(Step::Trouble(Trouble {
        effect,
        happens,
        after,
        times,
    }))
}

/// Plays one history. The inner result is what went wrong.
async fn live(
    subject: &Rc<Subject>,
    spec: &Spec,
    steps: &[Step],
) -> Result<Result<(), String>, String> {
    let nodes = Node::all(subject, spec).await?;
    let Some(first) = nodes.first() else {
        return Ok(Ok(()));
    };
    for step in steps {
        match step {
            Step::Become { vhost, to, wait } => {
                let named = |node: &&Rc<Node>| Some(&node.vhost().name) == vhost.as_ref();
                let node = nodes.iter().find(named).unwrap_or(first);
                node.change_to(*to, *wait).await?;
            }
            Step::Advance(time) => first.advance(*time).await?,
            Step::Trouble(trouble) => first.host().trouble(trouble.clone()),
            Step::Rename(name) => first.rename(name),
            Step::Heal => first.host().heal(),
        }
        for node in &nodes {
            node.take_errors();
            if let Err(wrong) = node.has_let_go() {
                return Ok(Err(wrong));
            }
        }
    }
    first.host().heal();
    for node in &nodes {
        node.change_to(State::Backup, true).await?;
    }
    first.advance(LONG).await?;
    Ok(nodes.iter().try_for_each(|node| ended(node)))
}

/// Nothing is running any more, and nothing is left behind.
fn ended(node: &Node) -> Result<(), String> {
    let errors = node.take_errors();
    let left = node.left_behind();
    match errors.last() {
        _ if !left.is_empty() => Err(format!("not everything is undone: {}", left.join("; "))),
        Some(failed) if !is_fault(failed) => Err(format!(
            "{} failed without a fault: {}",
            failed.run(),
            failed.error
        )),
        _ => node.has_let_go(),
    }
}

/// May a run that was in progress when the faults ended fail this way?
fn is_fault(failed: &Failed) -> bool {
    match failed.error {
        HookError::Raised { .. } => failed.met_fault,
        HookError::TimedOut(_) | HookError::RunnerDied(_) | HookError::Superseded => true,
        HookError::OutOfMemory(_) => false,
    }
}

/// Removes steps for as long as it still goes wrong.
async fn shorten(
    subject: &Rc<Subject>,
    spec: &Spec,
    mut steps: Vec<Step>,
    mut wrong: String,
) -> Result<(Vec<Step>, String), String> {
    let mut at = 0;
    while at < steps.len() {
        let mut fewer = steps.clone();
        fewer.remove(at);
        match live(subject, spec, &fewer).await? {
            Err(still) => (steps, wrong) = (fewer, still),
            Ok(()) => at += 1,
        }
    }
    Ok((steps, wrong))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_virtual_host_has_its_part_in_a_history() {
        let db: Name = "db".parse().unwrap();
        let steps: Vec<Step> = (0..20)
            .flat_map(|seed| history(&mut Random(seed), &[], std::slice::from_ref(&db)))
            .collect();
        for wanted in ["h:become(", "h:vhost(\"db\"):become("] {
            let mut all = steps.iter().map(ToString::to_string);
            assert!(all.any(|step| step.starts_with(wanted)), "{wanted}");
        }
    }

    #[test]
    fn a_seed_makes_one_history_and_another_one_another() {
        let effects = ["service.start httpd".to_owned()];
        let made = |seed| history(&mut Random(seed), &effects, &[]);
        assert_eq!(made(7), made(7));
        assert_ne!(made(7), made(8));
        let all: Vec<Step> = (0..200).flat_map(made).collect();
        for wanted in [
            "h:become(\"master\")",
            "wait = false",
            "h:advance",
            "h:heal",
            "h:kill",
            "h:hang",
            "h:slow",
            "h:fail",
            "h:change",
        ] {
            assert!(
                all.iter().any(|step| step.to_string().contains(wanted)),
                "{wanted}"
            );
        }
    }
}
