//! Random histories, each from a seed: whatever happens, no backup has an address, and in the end
//! everything is undone.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value as Json;

use super::hook::Subject;
use super::node::{Node, Told};
use super::spec::Spec;
use crate::effect::{Resource, Value};
use crate::host::HostError;
use crate::host::sim::{Happens, Trouble};
use crate::proto::Cause;
use crate::types::State;

/// Histories, unless the test says otherwise.
pub(super) const RUNS: u32 = 20;
/// The most that a test may ask for.
pub(super) const RUNS_MAX: u32 = 10_000;
/// Steps of one history.
const STEPS: u64 = 12;
/// Long enough for everything that is tried again.
const LONG: Duration = Duration::from_hours(1);

/// Numbers that look random: SplitMix64.
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
    Become { master: bool, wait: bool },
    Advance(Duration),
    Trouble(Trouble),
    Rename(String),
    Heal,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Become { master, wait } => {
                let wait = if *wait { "" } else { ", { wait = false }" };
                write!(
                    f,
                    "h:become({:?}{wait})",
                    if *master { "master" } else { "backup" }
                )
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
    /// How it came to that, in lines.
    pub(super) history: Vec<String>,
}

/// Plays histories. The first that goes wrong, made short, with what went wrong.
///
/// # Errors
/// The options make no sense.
pub(super) async fn play(
    subject: &Rc<Subject>,
    options: &Json,
    seed: u64,
    runs: u32,
) -> Result<Option<Lived>, String> {
    let spec = Spec::read(options)?;
    let effects = effects(subject, &spec).await?;
    for run in 0..runs {
        let mut random = Random(seed.wrapping_add(u64::from(run).wrapping_mul(0x9e37_79b9)));
        let steps = history(&mut random, &effects);
        if let Err(first) = live(subject, &spec, &steps).await? {
            let (steps, wrong) = shorten(subject, &spec, steps, first).await?;
            let mut history = vec![format!("after this history (seed {seed}, history {run}):")];
            history.extend(steps.iter().map(|step| format!("  {step}")));
            let end = [
                "h:heal()".to_owned(),
                "h:become(\"backup\")".to_owned(),
                format!("h:advance({})", LONG.as_secs()),
            ];
            history.extend(end.map(|step| format!("  {step}")));
            return Ok(Some(Lived { wrong, history }));
        }
    }
    Ok(None)
}

/// What the hook asks for when all is calm.
async fn effects(subject: &Rc<Subject>, spec: &Spec) -> Result<Vec<String>, String> {
    let node = Node::new(subject, spec.clone()).await?;
    let mut effects = Vec::new();
    for master in [true, false] {
        change(&node, master, true).await?;
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

async fn change(node: &Node, master: bool, wait: bool) -> Result<(), String> {
    let (to, cause) = if master {
        (
            State::Master,
            Cause::MasterDown {
                silent: Duration::from_secs(3),
            },
        )
    } else {
        (State::Backup, Cause::BetterMaster)
    };
    node.become_state(to, Told::by(cause), wait).await
}

fn history(random: &mut Random, effects: &[String]) -> Vec<Step> {
    let steps = 2 + random.below(STEPS - 1);
    (0..steps)
        .map(|_| match random.below(10) {
            0..=3 => Step::Become {
                master: random.below(2) == 0,
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

fn trouble(random: &mut Random, effects: &[String]) -> Option<Step> {
    let effect = random.pick(effects)?.clone();
    let happens = match random.below(4) {
        0 => Happens::Hangs,
        1 => Happens::Takes(Duration::from_millis(random.below(20_000))),
        2 => Happens::Kills,
        _ => Happens::Fails(HostError {
            message: "a fault of the test".to_owned(),
            errno: None,
        }),
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

/// Plays one history. What went wrong, as the inner result.
async fn live(
    subject: &Rc<Subject>,
    spec: &Spec,
    steps: &[Step],
) -> Result<Result<(), String>, String> {
    let node = Node::new(subject, spec.clone()).await?;
    for step in steps {
        match step {
            Step::Become { master, wait } => change(&node, *master, *wait).await?,
            Step::Advance(time) => node.advance(*time).await?,
            Step::Trouble(trouble) => node.host().trouble(trouble.clone()),
            Step::Rename(name) => {
                let value = Value::Text(name.clone());
                node.host().set(Resource::Hostname, value.clone());
                node.record_mut().foreign.insert(Resource::Hostname, value);
            }
            Step::Heal => node.host().heal(),
        }
        node.take_errors();
        if let Err(wrong) = free(&node) {
            return Ok(Err(wrong));
        }
    }
    node.host().heal();
    change(&node, false, true).await?;
    node.advance(LONG).await?;
    let errors = node.take_errors();
    let left = node.left_behind();
    Ok(match errors.last() {
        _ if !left.is_empty() => Err(format!("not everything is undone: {}", left.join("; "))),
        Some((entry, error)) if !is_fault(error) => Err(format!(
            "{} failed without a fault: {error}",
            entry.as_str()
        )),
        _ => free(&node),
    })
}

/// Of a run that was in progress when the troubles ended.
fn is_fault(error: &crate::hooks::HookError) -> bool {
    use crate::hooks::HookError;
    match error {
        HookError::Raised { message, .. } => {
            message.contains("a fault of the test") || message.contains("did not end within")
        }
        HookError::TimedOut(_) | HookError::RunnerDied(_) | HookError::Superseded => true,
        HookError::OutOfMemory(_) => false,
    }
}

fn free(node: &Node) -> Result<(), String> {
    match node.own_addresses_up().first() {
        Some(address) if node.state() != State::Master => {
            Err(format!("{address} is up, and this is no master"))
        }
        _ => Ok(()),
    }
}

/// Leaves out steps as long as it still goes wrong.
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
    fn a_seed_makes_one_history_and_another_one_another() {
        let effects = ["service.start httpd".to_owned()];
        let made = |seed| history(&mut Random(seed), &effects);
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
