//! The driver: handles the next event, and stops the clock while there is something to do.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::inject::script_of;
use super::lan::{Lan, Plug};
use super::record::Record;
use super::scenario::{Event, NodeEvent, Scenario};
use super::{MarkKind, NodeConfig, Shown, Timeline, own};
use crate::config::{self, Kind};
use crate::engine::reload::artifact::{Artifact, TrustPolicy};
use crate::engine::report::HealthStatus;
use crate::engine::runs::outcome::HookOutcome;
use crate::engine::runs::pool::{Pool, load_pool};
use crate::engine::sim::{
    Down, Endless, PATIENCE, Settling, SimMachine, Turn, Turns, settle, wake,
};
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::tracks::Standing;
use crate::hooks::LoadError;
use crate::host::clock::{self, Virtual};
use crate::keeper::Client;
use crate::proto::sim::Luck;
use crate::resolve::Access;
use crate::types::{Name, State, Timestamp, VirtualAddress};

/// Why there was no rehearsal.
#[derive(Debug, thiserror::Error)]
pub enum RehearseError {
    /// A hook cannot be used.
    #[error("{node}: hook {hook}: {source}")]
    Hook {
        /// Whose.
        node: String,
        /// Its name.
        hook: Name,
        /// Why.
        source: LoadError,
    },
    /// The system refused something basic.
    #[error("could not start: {0}")]
    System(#[from] io::Error),
    /// The scenario names what is not there.
    #[error("{0}")]
    Scenario(String),
    /// Something keeps happening without time passing.
    #[error("the rehearsal is stuck: too much happens at {0:?}")]
    Stuck(Duration),
    /// A hook keeps running without time passing.
    #[error("the rehearsal is stuck: at {at:?} hooks of {node} keep running and do not end")]
    Endless {
        /// Whose.
        node: String,
        /// Since the start.
        at: Duration,
    },
}

/// Plays a scenario with these nodes; `with_hooks` says whether their hooks run.
///
/// # Errors
/// See [`RehearseError`].
pub fn rehearse(
    nodes: Vec<NodeConfig>,
    scenario: &Scenario,
    with_hooks: bool,
) -> Result<Timeline, RehearseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut play = Simulation::prepare(nodes, scenario, with_hooks).await?;
        play.run(scenario.end).await?;
        let end = play.start + scenario.end;
        Ok(play.record.finish(end))
    })
}

pub(super) struct Simulation {
    clock: Virtual,
    start: Timestamp,
    pub(super) machines: Vec<SimMachine>,
    pub(super) lan: Lan,
    script: VecDeque<(Timestamp, Event)>,
    /// The versions that hooks of the nodes become.
    pub(super) versions: Versions,
    pub(super) record: Record,
    /// Name and addresses of every virtual host, with the nodes and their numbers for it.
    vhosts: Vec<Shared>,
    /// How long hooks may work in real time while the clock stands still.
    patience: Duration,
    /// Something has happened since the last look that may change who serves.
    moved: bool,
}

/// Versions of hooks, by the number of the node, the hook and the file.
type Versions = BTreeMap<(usize, String, PathBuf), Rc<Pool>>;

struct Shared {
    addresses: Vec<VirtualAddress>,
    members: Vec<(usize, usize)>,
}

impl Simulation {
    async fn prepare(
        nodes: Vec<NodeConfig>,
        scenario: &Scenario,
        with_hooks: bool,
    ) -> Result<Self, RehearseError> {
        let start = Timestamp::ZERO + Duration::from_secs(1);
        let (keeper, _exits) = Client::start(None)?;
        let mut machines = Vec::new();
        let mut record = Record::new(scenario.seed, start);
        let own = own::addresses(&nodes);
        for (number, (node, own)) in nodes.into_iter().zip(own).enumerate() {
            let mut pools = BTreeMap::new();
            let hooks = node
                .config
                .hooks
                .iter()
                .filter(|(_, hook)| with_hooks && hook.kind == Kind::Module);
            for (name, hook) in hooks {
                pools.insert(name.clone(), load(&node, name, hook, &keeper).await?);
            }
            record.add_node(
                &node.name,
                node.config
                    .vhosts
                    .iter()
                    .map(|vhost| vhost.name.to_string()),
            );
            let machine = SimMachine::new(node, number, own, pools, keeper.clone());
            for name in machine.programs() {
                record.note(format!(
                    "hook {name} is a program: it is not run in a rehearsal"
                ));
            }
            machines.push(machine);
        }
        let script = script_of(scenario, &machines, start)?;
        let versions = versions(&script, &machines, &keeper).await?;
        let lan = Lan::new(plugs(&machines), Luck::new(scenario.seed));
        let vhosts = shared_vhosts(&machines, &mut record);
        // From here on nothing may use the real clock.
        let clock = Virtual::start(start);
        let patience = PATIENCE
            + machines
                .iter()
                .map(SimMachine::longest_run)
                .max()
                .unwrap_or_default();
        let mut play = Self {
            clock,
            start,
            machines,
            lan,
            script,
            versions,
            record,
            vhosts,
            patience,
            moved: true,
        };
        for machine in &mut play.machines {
            machine.boot(play.lan.luck()).await;
        }
        Ok(play)
    }

    async fn run(&mut self, length: Duration) -> Result<(), RehearseError> {
        let end = self.start + length;
        let mut turns = Turns::default();
        loop {
            self.settle().await?;
            let now = clock::now();
            let Some(next) = self
                .next()
                .map(|next| next.max(now))
                .filter(|next| *next <= end)
            else {
                break;
            };
            let stuck = |Endless| RehearseError::Stuck(now.since(self.start));
            turns.count(now, next).map_err(stuck)?;
            self.clock.advance(next);
            self.turn(next).await;
        }
        Ok(())
    }

    /// When something happens next.
    fn next(&mut self) -> Option<Timestamp> {
        let machines = self.machines.iter_mut().flat_map(|machine| {
            [
                machine.next_wake(),
                machine.host.next_expiry(),
                machine.frozen,
            ]
        });
        let others = [
            self.script.front().map(|(at, _)| *at),
            self.lan.next(),
            self.clock.next(),
        ];
        machines.chain(others).flatten().min()
    }

    async fn turn(&mut self, now: Timestamp) {
        self.expire(now);
        while let Some((_, event)) = self.script.pop_front_if(|(at, _)| *at <= now) {
            self.record.happened(now, event.to_string());
            self.strike(event, now).await;
            self.moved = true;
        }
        for machine in &mut self.machines {
            if machine.is_out_of_time(now) {
                machine.end(Down::Stopped);
                self.moved = true;
            }
            if machine.frozen.is_some_and(|until| until <= now) {
                machine.thaw(now);
                self.moved = true;
            }
            // Timers before packets: the harder order.
            if machine.next_wake().is_some_and(|wake| wake <= now) {
                machine.timers();
            }
        }
        while let Some(arrival) = self.lan.arrived(now) {
            if let Some(machine) = self.machines.get_mut(arrival.node) {
                machine.receive(arrival.link, &arrival.bytes, now);
            }
        }
        let tasks = self.machines.iter().flat_map(SimMachine::tasks);
        wake(&self.clock, tasks).await;
    }

    /// The kernels remove addresses whose leases were not renewed.
    fn expire(&mut self, now: Timestamp) {
        for (number, machine) in self.machines.iter_mut().enumerate() {
            for (dev, ip) in machine.expire(now) {
                let text = format!("the lease of {ip} on {dev} ends: the kernel removes it");
                self.record
                    .mark(now, number, MarkKind::Address, text, false, None);
                self.moved = true;
            }
        }
    }

    async fn settle(&mut self) -> Result<(), RehearseError> {
        let patience = self.patience;
        settle(self, patience)
            .await
            .map_err(|Endless| self.endless())
    }

    /// Something keeps running without an end in sight.
    fn endless(&self) -> RehearseError {
        let node = self
            .machines
            .iter()
            .find(|machine| machine.is_working(&self.clock));
        let node = node
            .map(|machine| machine.node.name.clone())
            .unwrap_or_default();
        RehearseError::Endless {
            node,
            at: clock::now().since(self.start),
        }
    }

    /// Whether the node has the addresses and can be reached.
    fn serves(&self, node: usize, lane: usize, vhost: &Shared) -> bool {
        let Some(machine) = self.machines.get(node) else {
            return false;
        };
        let Some(spec) = machine.node.config.vhosts.get(lane) else {
            return false;
        };
        let Some(link) = machine.link_index(spec.interface.as_str()) else {
            return false;
        };
        machine.down != Some(Down::Off)
            && machine.frozen.is_none()
            && self.lan.carrier(node, link)
            && vhost
                .addresses
                .iter()
                .all(|address| machine.host.has(&spec.device(), address.ip))
    }
}

impl Settling for Simulation {
    fn is_working(&self) -> bool {
        self.machines
            .iter()
            .any(|machine| machine.is_working(&self.clock))
    }

    fn is_stopping(&self) -> bool {
        self.machines.iter().any(SimMachine::is_stopping)
    }

    /// Node by node.
    fn tell(&mut self) -> bool {
        let mut told = false;
        let now = clock::now();
        for (number, machine) in self.machines.iter_mut().enumerate() {
            // Before the outcomes are taken: an engine that has stopped has received all of them.
            let ended = machine.has_stopped();
            for outcome in machine.outcomes() {
                told = true;
                let Some(mut turn) = machine.turn() else {
                    break;
                };
                if let Some((text, good)) = tell(&mut turn, outcome) {
                    self.record
                        .mark(now, number, MarkKind::Hook, text, good, None);
                }
            }
            if ended {
                told = true;
                self.moved = true;
                machine.end(Down::Stopped);
            }
        }
        told
    }

    fn notice(&mut self) {
        let now = clock::now();
        for (number, machine) in self.machines.iter_mut().enumerate() {
            for frame in machine.wire.take() {
                self.lan.send(now, number, frame.link, frame.bytes);
            }
            for deed in machine.host.take_deeds() {
                self.record.deed(number, &deed);
                self.moved = true;
            }
            if machine.take_stirred() {
                note_states(&mut self.record, now, number, machine);
            }
        }
        if !std::mem::take(&mut self.moved) {
            return;
        }
        for (index, vhost) in self.vhosts.iter().enumerate() {
            let holders: Vec<usize> = vhost
                .members
                .iter()
                .filter(|(node, lane)| self.serves(*node, *lane, vhost))
                .map(|(node, _)| *node)
                .collect();
            self.record.served(now, index, holders);
        }
    }
}

/// What the virtual hosts of a node are now.
fn note_states(record: &mut Record, now: Timestamp, number: usize, machine: &SimMachine) {
    for lane in 0..machine.node.config.vhosts.len() {
        let node = machine
            .engine()
            .and_then(|engine| engine.nodes.get(VhostId::new(lane)));
        let shown = match (
            node.map(|node| node.machine.state()),
            machine.down,
            machine.frozen,
        ) {
            (None, Some(Down::Off) | None, _) => Shown::Off,
            (None, Some(Down::Stopped), _) => Shown::Stopped,
            (Some(_), _, Some(_)) => Shown::Frozen,
            (Some(State::Init), ..) => Shown::Init,
            (Some(State::Backup), ..) => Shown::Backup,
            (Some(State::Master), ..) => Shown::Master,
        };
        let why = || {
            node.and_then(|node| node.last.as_ref())
                .map(|last| last.cause.to_string())
                .unwrap_or_default()
        };
        record.state(now, number, lane, shown, why);
    }
}

/// Tells an engine. What a reader is to know of it, and whether that is good.
fn tell(turn: &mut Turn<'_>, outcome: HookOutcome) -> Option<(String, bool)> {
    match &outcome {
        HookOutcome::Finished { entry, result, .. } => {
            let mark = match result {
                Ok(()) => (format!("{} done", entry.as_str()), true),
                Err(failure) => (
                    format!(
                        "{}: hook {} failed: {}",
                        entry.as_str(),
                        failure.hook,
                        failure.error
                    ),
                    false,
                ),
            };
            turn.hook_outcome(outcome);
            Some(mark)
        }
        HookOutcome::Checked { vhost, hook, .. } => {
            let (vhost, hook) = (*vhost, hook.clone());
            let health = |turn: &Turn<'_>| {
                turn.nodes
                    .get(vhost)
                    .and_then(|node| node.checks.status_of(&hook))
            };
            let before = health(turn);
            turn.hook_outcome(outcome);
            let (before, after) = (before?, health(turn)?);
            // That it is well to begin with is nothing to tell.
            let told = |status: &HealthStatus| (status.well != Some(false), status.demotion);
            if told(&before) == told(&after) {
                return None;
            }
            Some(match after.well {
                Some(false) => (
                    format!(
                        "health: hook {hook}: unhealthy, demotion {}: {}",
                        after.demotion, after.reason
                    ),
                    false,
                ),
                Some(true) | None => (format!("health: hook {hook}: well"), true),
            })
        }
        HookOutcome::Answered { track, .. } => {
            let track = track.clone();
            let standing = |turn: &Turn<'_>| {
                let mut tracks = turn.tracks.iter();
                let (_, found) = tracks.find(|(name, _)| **name == track)?;
                Some(found.standing.clone())
            };
            let before = standing(turn)?;
            turn.hook_outcome(outcome);
            match (before, standing(turn)?) {
                (Standing::Down { .. }, Standing::Up) => Some((format!("track {track}: up"), true)),
                (Standing::Up | Standing::Unknown, Standing::Down { reason, .. }) => {
                    Some((format!("track {track}: down: {reason}"), false))
                }
                _ => None,
            }
        }
        HookOutcome::Applied { .. } | HookOutcome::Demote { .. } | HookOutcome::Resign { .. } => {
            turn.hook_outcome(outcome);
            None
        }
    }
}

/// Loads a hook of a node.
async fn load(
    node: &NodeConfig,
    name: &Name,
    hook: &config::Hook,
    keeper: &Client,
) -> Result<Rc<Pool>, RehearseError> {
    let failed = |source| RehearseError::Hook {
        node: node.name.clone(),
        hook: name.clone(),
        source,
    };
    let trust = TrustPolicy::of(&node.config, &Access::own());
    let artifact = Artifact::read(&trust, name, hook).map_err(failed)?;
    let loading = load_pool(&node.config, name, hook, artifact, keeper);
    loading.await.map_err(failed)
}

/// Loads what hooks become later: what cannot be used must show before anything is played. Hooks
/// that are not run have no other versions either.
async fn versions(
    script: &VecDeque<(Timestamp, Event)>,
    machines: &[SimMachine],
    keeper: &Client,
) -> Result<Versions, RehearseError> {
    let mut versions = Versions::new();
    for (_, event) in script {
        let Event::Node(node, NodeEvent::HookEdited(hook, file)) = event else {
            continue;
        };
        let named = |machine: &&SimMachine| machine.node.name == *node;
        let machine = machines.iter().zip(0..).find(|(machine, _)| named(machine));
        let Some((machine, number)) = machine else {
            continue;
        };
        let hooks = machine.pools.keys();
        let Some(name) = hooks.into_iter().find(|name| name.as_str() == hook) else {
            continue;
        };
        let key = (number, hook.clone(), file.clone());
        if let Some(spec) = machine.node.config.hooks.get(name)
            && !versions.contains_key(&key)
        {
            let spec = spec.from_file(&machine.node.path, file);
            versions.insert(key, load(&machine.node, name, &spec, keeper).await?);
        }
    }
    Ok(versions)
}

fn plugs(machines: &[SimMachine]) -> Vec<Plug> {
    let mut plugs = Vec::new();
    for (node, machine) in machines.iter().enumerate() {
        for link in &machine.links {
            let on_it = machine
                .node
                .config
                .vhosts
                .iter()
                .filter(|vhost| vhost.interface == link.name);
            plugs.push(Plug {
                node,
                link: link.index,
                vhids: on_it.map(|vhost| vhost.vhid).collect(),
                carrier: true,
            });
        }
    }
    plugs
}

/// The virtual hosts, one for each set of addresses, and who takes part in each.
fn shared_vhosts(machines: &[SimMachine], record: &mut Record) -> Vec<Shared> {
    let mut found: Vec<Shared> = Vec::new();
    for (node, machine) in machines.iter().enumerate() {
        for (lane, vhost) in machine.node.config.vhosts.iter().enumerate() {
            let mut addresses = vhost.addresses.clone();
            addresses.sort_by_key(|address| address.ip);
            if let Some(there) = found.iter_mut().find(|there| there.addresses == addresses) {
                there.members.push((node, lane));
                continue;
            }
            record.add_vhost(
                vhost.name.as_str(),
                vhost.addresses.iter().map(ToString::to_string).collect(),
            );
            found.push(Shared {
                addresses,
                members: vec![(node, lane)],
            });
        }
    }
    for vhost in found.iter().filter(|vhost| vhost.members.len() == 1) {
        let addresses: Vec<String> = vhost.addresses.iter().map(ToString::to_string).collect();
        record.note(format!(
            "only one node has {}: the list of addresses should be the same on all nodes",
            addresses.join(", ")
        ));
    }
    found
}
