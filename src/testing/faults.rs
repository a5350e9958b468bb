//! Every effect of a change of state fails once, hangs once, and has its runner killed once:
//! everything must be done, or everything undone.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value as Json;

use super::hook::Subject;
use super::node::Node;
use super::record::Came;
use super::spec::Spec;
use crate::config::OnFailure;
use crate::effect::{Resource, Value};
use crate::host::HostError;
use crate::host::sim::{Happens, Trouble};
use crate::types::State;

/// Long enough for all retries.
const LONG: Duration = Duration::from_mins(10);

/// What it means if a hook fails on a host where nothing goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hopeless {
    /// It is an error: a sweep over such a host was not intended.
    Wrong,
    /// The host was set up to make the hook fail: there is nothing to sweep.
    Fine,
}

/// One fault, and where it occurs.
struct Fault {
    /// Which call of the change of state, counted from 0.
    at: usize,
    effect: String,
    /// How many equal calls succeed first.
    after: u32,
    happens: Happens,
}

impl Fault {
    fn describe(&self, role: &str) -> String {
        let what = match self.happens {
            Happens::Fails(_) => "fails",
            Happens::Hangs | Happens::Takes(_) => "hangs",
            Happens::Kills => "finds the runner killed",
        };
        format!(
            "becoming {role}, when effect {} ({}) {what}",
            self.at + 1,
            self.effect
        )
    }
}

/// Every fault of these effects.
fn faults(effects: &[String]) -> Vec<Fault> {
    let fails = || Happens::Fails(HostError::new("a fault of the test"));
    let mut all = Vec::new();
    for (at, effect) in effects.iter().enumerate() {
        let before = effects
            .iter()
            .take(at)
            .filter(|earlier| *earlier == effect)
            .count();
        for happens in [fails(), Happens::Hangs, Happens::Kills] {
            let after = u32::try_from(before).unwrap_or(u32::MAX);
            all.push(Fault {
                at,
                effect: effect.clone(),
                after,
                happens,
            });
        }
    }
    all
}

/// Sweeps both changes of state. Returns what is wrong, if anything. `if_hopeless`: what it means
/// if a hook fails on such a host by itself.
///
/// # Errors
/// The options are invalid.
pub(super) async fn sweep(
    subject: &Rc<Subject>,
    options: &Json,
    if_hopeless: Hopeless,
) -> Result<Option<String>, String> {
    let spec = Spec::read(options)?;
    for number in 0..spec.vhosts().count() {
        let found = sweep_vhost(subject, &spec, number, if_hopeless).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// For one virtual host; the others stay in the initial state.
async fn sweep_vhost(
    subject: &Rc<Subject>,
    spec: &Spec,
    number: usize,
    if_hopeless: Hopeless,
) -> Result<Option<String>, String> {
    let node = async || {
        let mut all = Node::all(subject, spec).await?.into_iter();
        all.nth(number)
            .ok_or_else(|| "there is no virtual host".to_owned())
    };
    let calm = match Calm::see(&*node().await?).await {
        Ok(calm) => calm,
        Err(text) => return Ok(Some(text).filter(|_| if_hopeless == Hopeless::Wrong)),
    };
    for fault in faults(&calm.up) {
        let node = node().await?;
        let on_failure = subject.tested().on_failure;
        if let Err(text) = rise(&node, &fault, &calm, on_failure).await {
            return Ok(Some(format!("{}: {text}", fault.describe("master"))));
        }
    }
    for fault in faults(&calm.down) {
        let node = node().await?;
        if let Err(text) = fall(&node, &fault, &calm).await {
            return Ok(Some(format!("{}: {text}", fault.describe("backup"))));
        }
    }
    Ok(None)
}

/// What happens when nothing goes wrong.
struct Calm {
    /// The effects of becoming master, and of becoming backup, including those that undo.
    up: Vec<String>,
    down: Vec<String>,
    /// Every value as master, and as backup afterwards.
    master: BTreeMap<Resource, Value>,
    backup: BTreeMap<Resource, Value>,
}

impl Calm {
    async fn see(node: &Node) -> Result<Self, String> {
        node.change_to(State::Master, true).await?;
        well(node, "becoming master without a fault")?;
        let done = |node: &Node| -> Vec<String> {
            node.record()
                .plan
                .iter()
                .filter(|asked| asked.came == Came::Done)
                .map(|asked| asked.effect.to_string())
                .collect()
        };
        let up = done(node);
        let as_master = node.host().values();
        node.change_to(State::Backup, true).await?;
        well(node, "becoming backup without a fault")?;
        let mut down = done(node);
        down.extend(node.record().undone.iter().cloned());
        Ok(Self {
            up,
            down,
            master: as_master,
            backup: node.host().values(),
        })
    }
}

fn well(node: &Node, when: &str) -> Result<(), String> {
    let errors = node.take_errors();
    errors
        .first()
        .map_or(Ok(()), |failed| Err(format!("{when}: {failed}")))
}

fn strike(node: &Node, fault: &Fault) {
    let Fault {
        effect,
        after,
        happens,
        ..
    } = fault;
    node.host().trouble(Trouble {
        effect: effect.clone(),
        happens: happens.clone(),
        after: *after,
        times: 1,
    });
}

/// Becomes master under a fault: either it is master, with everything done, at once or after a
/// retry, or it is not, with everything undone. Then once more without the fault.
async fn rise(
    node: &Node,
    fault: &Fault,
    calm: &Calm,
    on_failure: OnFailure,
) -> Result<(), String> {
    strike(node, fault);
    node.change_to(State::Master, true).await?;
    let failed = !node.take_errors().is_empty();
    if failed && node.state() != State::Master {
        calms_down(node).await?;
        let left = node.left_behind();
        if !left.is_empty() {
            return Err(format!(
                "it is no longer master, and not everything is undone: {}",
                left.join("; ")
            ));
        }
    } else if !failed || on_failure == OnFailure::Keep {
        let ended = if failed {
            calms_down(node).await?;
            "the hook was called again"
        } else {
            "the hook ended well"
        };
        // The hook handled the fault: what the effect would have set may differ, but nothing else.
        let different = differing(node, &calm.master);
        let excused = |line: &&String| failed || !is_about(node, fault, line);
        let missing: Vec<_> = different.iter().filter(excused).cloned().collect();
        if !missing.is_empty() {
            return Err(format!(
                "{ended}, and not everything is done: {}",
                missing.join("; ")
            ));
        }
    }
    node.has_let_go()?;
    node.host().heal();
    node.take_errors();
    node.change_to(State::Master, true).await?;
    well(node, "once more, without the fault")?;
    node.change_to(State::Backup, true).await?;
    node.advance(LONG).await?;
    ended(node, calm)
}

/// Becomes backup under a fault: in the end it is backup, with everything undone.
async fn fall(node: &Node, fault: &Fault, calm: &Calm) -> Result<(), String> {
    node.change_to(State::Master, true).await?;
    well(node, "becoming master without a fault")?;
    strike(node, fault);
    node.change_to(State::Backup, true).await?;
    node.has_let_go()?;
    calms_down(node).await?;
    node.has_let_go()?;
    ended(node, calm)
}

/// What failed is retried, and succeeds in the end, because the fault occurs only once.
async fn calms_down(node: &Node) -> Result<(), String> {
    node.advance(LONG).await?;
    node.take_errors();
    node.advance(LONG).await?;
    let errors = node.take_errors();
    let Some(failed) = errors.last() else {
        return Ok(());
    };
    let (run, error) = (failed.run(), &failed.error);
    Err(format!("{run} does not end well any more: {error}"))
}

/// The host is in the same state as after a mastership without faults.
fn ended(node: &Node, calm: &Calm) -> Result<(), String> {
    let mut left = node.left_behind();
    if node.holds_something() || !left.is_empty() {
        left.dedup();
        return Err(format!("not everything is undone: {}", left.join("; ")));
    }
    let different = differing(node, &calm.backup);
    if different.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "it did not end as without the fault: {}",
            different.join("; ")
        ))
    }
}

/// The values that differ from these, as text.
fn differing(node: &Node, wanted: &BTreeMap<Resource, Value>) -> Vec<String> {
    let now = node.host().values();
    let words =
        |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), ToString::to_string);
    let resources: std::collections::BTreeSet<_> = wanted.keys().chain(now.keys()).collect();
    let different = resources
        .into_iter()
        .filter(|resource| now.get(resource) != wanted.get(resource));
    different
        .map(|resource| {
            format!(
                "{resource} is {}, not {}",
                words(now.get(resource)),
                words(wanted.get(resource))
            )
        })
        .collect()
}

/// Is a line of [`differing`] about what the fault's effect would have set?
fn is_about(node: &Node, fault: &Fault, line: &str) -> bool {
    let effects = node.record();
    let asked = effects
        .plan
        .iter()
        .find(|asked| asked.effect.to_string() == fault.effect);
    asked
        .and_then(|asked| asked.effect.assigns())
        .is_some_and(|(resource, _)| line.starts_with(&format!("{resource} is ")))
}
