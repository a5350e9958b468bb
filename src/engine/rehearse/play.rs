//! The driver: whatever comes next comes next, and the clock stands still while somebody has something to do.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use tokio::task::Id;

use super::super::clock::{self, Virtual};
use super::super::material::Material;
use super::super::news::HookNews;
use super::super::pool::Trouble as PoolTrouble;
use super::super::run::Engine;
use super::super::start::load_pool;
use super::actor::{Actor, Down};
use super::lan::{Lan, Plug};
use super::record::Record;
use super::scenario::{Event, LinkEvent, NodeEvent, Scenario, ServiceEvent, Trouble};
use super::stage::Stage;
use super::{MarkKind, NodeConfig, Shown, Timeline};
use crate::config::Kind;
use crate::hooks::LoadError;
use crate::host::netlink::HostEvent;
use crate::keeper::Client;
use crate::proto::sim::Luck;
use crate::types::{Family, State, Timestamp, VirtualAddress};

/// A flapping link is down for so long.
const FLAP_DOWN: Duration = Duration::from_millis(300);
/// From one flap to the next.
const FLAP_EVERY: Duration = Duration::from_secs(1);
/// Turns in one instant after which nothing more can come of it.
const TURNS_MAX: u32 = 100_000;
/// Hooks in runners need real time; between two looks at them.
const BREATH: Duration = Duration::from_micros(50);
/// Looks at hooks that work, each of a millisecond or so, after which they are given up: runners have limits of their own.
const LOOKS_MAX: u32 = 300_000;
/// Looks in a row that find nothing to do before it counts as quiet.
const QUIET_LOOKS: u32 = 3;

/// Why there was no rehearsal.
#[derive(Debug, thiserror::Error)]
pub enum RehearseError {
    /// A hook cannot be used.
    #[error("{node}: hook {hook}: {source}")]
    Hook {
        /// Whose.
        node: String,
        /// Its name.
        hook: crate::types::Name,
        /// Why.
        source: LoadError,
    },
    /// The system refused something basic.
    #[error("could not start: {0}")]
    System(#[from] io::Error),
    /// The scenario names what is not there.
    #[error("{0}")]
    Scenario(String),
    /// Something goes on and on without time passing.
    #[error("the rehearsal does not get on: too much happens at {0:?}")]
    Stuck(Duration),
}

/// Plays a scenario with these nodes; `with_hooks` says whether their hooks run.
///
/// # Errors
/// See [`RehearseError`].
pub fn rehearse(nodes: Vec<NodeConfig>, scenario: &Scenario, with_hooks: bool) -> Result<Timeline, RehearseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut play = Play::prepare(nodes, scenario, with_hooks).await?;
        play.run(scenario.end).await?;
        let end = play.start + scenario.end;
        Ok(play.record.finish(end))
    })
}

struct Play {
    clock: Virtual,
    start: Timestamp,
    actors: Vec<Actor>,
    lan: Lan,
    script: VecDeque<(Timestamp, Event)>,
    record: Record,
    /// Name and addresses of every virtual host, with the nodes and their numbers for it.
    vhosts: Vec<Shared>,
}

struct Shared {
    addresses: Vec<VirtualAddress>,
    members: Vec<(usize, usize)>,
}

impl Play {
    async fn prepare(nodes: Vec<NodeConfig>, scenario: &Scenario, with_hooks: bool) -> Result<Self, RehearseError> {
        let start = Timestamp::ZERO + Duration::from_secs(1);
        let (keeper, _exits) = Client::start(None)?;
        let mut actors = Vec::new();
        let mut record = Record::new(scenario.seed, start);
        for (number, node) in nodes.into_iter().enumerate() {
            let mut pools = BTreeMap::new();
            let hooks = node.config.hooks.iter().filter(|(_, hook)| with_hooks && hook.kind == Kind::Module);
            for (name, hook) in hooks {
                let failed = |source| RehearseError::Hook { node: node.name.clone(), hook: name.clone(), source };
                let material = Material::read(&node.config.trust, name, hook).map_err(failed)?;
                let pool = load_pool(&node.config, name, hook, material, &keeper).await.map_err(failed)?;
                pools.insert(name.clone(), pool);
            }
            record.add_node(&node.name, node.config.vhosts.iter().map(|vhost| vhost.name.to_string()));
            let actor = Actor::new(node, number, pools, keeper.clone());
            for name in actor.programs() {
                record.note(format!("hook {name} is a program: it is not run in a rehearsal"));
            }
            actors.push(actor);
        }
        let script = script_of(scenario, &actors, start)?;
        let lan = Lan::new(plugs(&actors), Luck::new(scenario.seed));
        let vhosts = shared_vhosts(&actors, &mut record);
        // From here on nothing may look at the real clock.
        let clock = Virtual::start(start);
        let mut play = Self { clock, start, actors, lan, script, record, vhosts };
        for actor in &mut play.actors {
            actor.boot(play.lan.luck()).await;
        }
        play.notice();
        Ok(play)
    }

    async fn run(&mut self, length: Duration) -> Result<(), RehearseError> {
        let end = self.start + length;
        let mut turns = 0;
        loop {
            self.settle().await?;
            let now = clock::now();
            let Some(next) = self.next().map(|next| next.max(now)).filter(|next| *next <= end) else { break };
            turns = if next == now { turns + 1 } else { 0 };
            if turns > TURNS_MAX {
                return Err(RehearseError::Stuck(now.since(self.start)));
            }
            self.clock.advance(next);
            self.turn(next).await;
            self.notice();
        }
        self.clock.advance(end);
        self.notice();
        Ok(())
    }

    /// When something happens next.
    fn next(&mut self) -> Option<Timestamp> {
        let actors = self.actors.iter_mut().flat_map(|actor| [actor.next_wake(), actor.host.next_expiry(), actor.frozen]);
        let others = [self.script.front().map(|(at, _)| *at), self.lan.next(), self.clock.next()];
        actors.chain(others).flatten().min()
    }

    async fn turn(&mut self, now: Timestamp) {
        self.expire(now).await;
        while let Some((_, event)) = self.script.pop_front_if(|(at, _)| *at <= now) {
            self.record.happened(now, event.to_string());
            self.strike(event, now).await;
        }
        for actor in &mut self.actors {
            let out_of_time = |engine: &Engine<Stage>| engine.stopping.as_ref().is_some_and(|stopping| stopping.deadline <= now);
            if actor.engine.as_ref().is_some_and(out_of_time) {
                actor.end(Down::Stopped);
            }
            if actor.frozen.is_some_and(|until| until <= now) {
                actor.thaw(now);
            }
            // Timers before packets: the harder order.
            if actor.next_wake().is_some_and(|wake| wake <= now) {
                actor.timers();
            }
        }
        while let Some(arrival) = self.lan.arrived(now) {
            if let Some(actor) = self.actors.get_mut(arrival.node) {
                actor.receive(arrival.link, arrival.bytes, now);
            }
        }
        let tasks: Vec<Id> = self.actors.iter().flat_map(Actor::tasks).collect();
        if self.clock.wake_one(|task| tasks.iter().position(|known| Some(*known) == task).unwrap_or(usize::MAX)) {
            // Its waking is carried out before anybody looks whether it works.
            tokio::task::yield_now().await;
        }
    }

    /// The kernels take away addresses whose leases were not renewed.
    async fn expire(&mut self, now: Timestamp) {
        for number in 0..self.actors.len() {
            let Some(actor) = self.actors.get_mut(number) else { continue };
            for (dev, ip) in actor.host.expire(now) {
                let text = format!("the lease of {ip} on {dev} ends: the kernel takes it away");
                self.record.mark(now, number, MarkKind::Address, text, false);
                let Some(index) = actor.link_index(dev.as_str()) else { continue };
                let address = VirtualAddress { ip, prefix: Family::of(ip).host_prefix() };
                if let Some(engine) = actor.awake() {
                    engine.judge_leases();
                    engine.host_event(HostEvent::AddressRemoved { index, address }).await;
                }
            }
        }
    }

    /// Lets everybody do what there is to do at this instant: hooks, and what follows from how they ended.
    async fn settle(&mut self) -> Result<(), RehearseError> {
        let (mut quiet, mut looks) = (0, 0_u32);
        while quiet < QUIET_LOOKS {
            // While one works nothing is told and nothing noted: so nothing depends on which process was quicker.
            let working = self.actors.iter().any(|actor| actor.is_working(&self.clock));
            let told = !working && self.tell_news();
            if !working {
                self.notice();
                if !told && !self.actors.iter().any(Actor::is_stopping) {
                    return Ok(());
                }
            }
            tokio::task::yield_now().await;
            quiet = if told || working { 0 } else { quiet + 1 };
            if working {
                // The runner is a process: give it the processor.
                tokio::time::sleep(BREATH).await;
                looks += 1;
                if looks > LOOKS_MAX {
                    return Err(RehearseError::Stuck(clock::now().since(self.start)));
                }
            }
        }
        Ok(())
    }

    /// Hands what hooks have reported to their engines, node by node. True if there was something.
    fn tell_news(&mut self) -> bool {
        let mut told = false;
        let now = clock::now();
        for (number, actor) in self.actors.iter_mut().enumerate() {
            let Some(engine) = actor.awake() else { continue };
            let ended = engine.stopping.as_mut().and_then(|stopping| stopping.done.as_mut()).map(|done| done.try_recv().is_ok());
            let mut all: Vec<HookNews> = std::iter::from_fn(|| engine.news.try_recv().ok()).collect();
            all.sort_by_key(HookNews::vhost);
            for news in all {
                told = true;
                if let HookNews::Finished { entry, result, .. } = &news {
                    let (text, good) = match result {
                        Ok(()) => (format!("{} done", entry.as_str()), true),
                        Err(failure) => (format!("{}: hook {} failed: {}", entry.as_str(), failure.hook, failure.error), false),
                    };
                    self.record.mark(now, number, MarkKind::Hook, text, good);
                }
                engine.hook_news(news);
            }
            if ended == Some(true) {
                told = true;
                actor.end(Down::Stopped);
            }
        }
        told
    }

    /// Writes down what has changed, and carries on what was sent.
    fn notice(&mut self) {
        let now = clock::now();
        for (number, actor) in self.actors.iter_mut().enumerate() {
            for frame in actor.wire.take() {
                self.lan.send(now, number, frame.link, &frame.bytes);
            }
            for deed in actor.host.take_deeds() {
                self.record.deed(number, deed);
            }
            for lane in 0..actor.node.config.vhosts.len() {
                let node = actor.engine.as_ref().and_then(|engine| engine.nodes.get(&lane));
                let shown = match (node.map(|node| node.machine.state()), actor.down, actor.frozen) {
                    (None, Some(Down::Off) | None, _) => Shown::Off,
                    (None, Some(Down::Stopped), _) => Shown::Stopped,
                    (Some(_), _, Some(_)) => Shown::Frozen,
                    (Some(State::Init), ..) => Shown::Init,
                    (Some(State::Backup), ..) => Shown::Backup,
                    (Some(State::Master), ..) => Shown::Master,
                };
                let why = || node.and_then(|node| node.last.as_ref()).map(|last| last.cause.to_string()).unwrap_or_default();
                self.record.state(now, number, lane, shown, why);
            }
        }
        for (index, vhost) in self.vhosts.iter().enumerate() {
            let holders: Vec<usize> =
                vhost.members.iter().filter(|(node, lane)| self.serves(*node, *lane, vhost)).map(|(node, _)| *node).collect();
            self.record.served(now, index, &holders);
        }
    }

    /// Has the node the addresses, and can somebody reach it?
    fn serves(&self, node: usize, lane: usize, vhost: &Shared) -> bool {
        let Some(actor) = self.actors.get(node) else { return false };
        let Some(spec) = actor.node.config.vhosts.get(lane) else { return false };
        let Some(link) = actor.link_index(spec.interface.as_str()) else { return false };
        actor.down != Some(Down::Off)
            && actor.frozen.is_none()
            && self.lan.carrier(node, link)
            && vhost.addresses.iter().all(|address| actor.host.has(&spec.interface, address.ip))
    }

    async fn strike(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::Loss(percent) => self.lan.set_loss(percent),
            Event::Heal => self.lan.heal(),
            Event::Partition(groups) => {
                let mut parts = BTreeMap::new();
                for (group, names) in (1..).zip(&groups) {
                    parts.extend(names.iter().filter_map(|name| Some((self.number(name)?, group))));
                }
                self.lan.part(parts);
            }
            Event::Node(name, event) => {
                if let Some(number) = self.number(&name) {
                    self.strike_node(number, event, now).await;
                }
            }
        }
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.actors.iter().position(|actor| actor.node.name == name)
    }

    async fn strike_node(&mut self, number: usize, event: NodeEvent, now: Timestamp) {
        let Some(actor) = self.actors.get_mut(number) else { return };
        match event {
            NodeEvent::Dies => {
                actor.switch_off();
                self.lan.forget(number);
            }
            NodeEvent::Returns => _ = actor.boot(self.lan.luck()).await,
            NodeEvent::Stops => {
                if let Some(engine) = actor.awake() {
                    engine.stop("a rehearsed stop");
                }
            }
            NodeEvent::Freezes(length) => actor.frozen = actor.engine.is_some().then(|| now + length),
            NodeEvent::Resigns => {
                if let Some(engine) = actor.awake() {
                    let names: Vec<_> = engine.nodes.values().map(|node| node.spec.name.clone()).collect();
                    for name in names {
                        // Whoever is not master has nothing to hand over.
                        _ = engine.resign(&name, "rehearsed".to_owned());
                    }
                }
            }
            NodeEvent::Loses(percent) => self.lan.set_loss_to(number, percent),
            NodeEvent::Link(interface, event) => self.strike_link(number, interface.as_deref(), event).await,
            NodeEvent::Hook(name, trouble) => {
                let trouble = match trouble {
                    Trouble::Fails => Some(PoolTrouble::Fails),
                    Trouble::Hangs => Some(PoolTrouble::Hangs),
                    Trouble::Works => None,
                };
                for pool in actor.pools.values().filter(|pool| pool.name().as_str() == name) {
                    pool.set_trouble(trouble);
                }
            }
            NodeEvent::Service(name, event) => {
                actor.host.service(&name, event);
                if event == ServiceEvent::Dies {
                    self.record.mark(now, number, MarkKind::Effect, format!("service {name} died"), false);
                }
            }
        }
    }

    async fn strike_link(&mut self, number: usize, interface: Option<&str>, event: LinkEvent) {
        let Some(actor) = self.actors.get_mut(number) else { return };
        let carrier = event == LinkEvent::Up;
        let links = actor.links.iter_mut().filter(|link| interface.is_none_or(|name| link.name.as_str() == name));
        let mut changed = Vec::new();
        for link in links {
            link.carrier = carrier;
            self.lan.set_carrier(number, link.index, carrier);
            changed.push(link.clone());
        }
        if let Some(engine) = actor.awake() {
            for link in changed {
                engine.host_event(HostEvent::Link(link)).await;
            }
        }
    }
}

/// The scenario with its repeated events written out, checked against what there is.
fn script_of(scenario: &Scenario, actors: &[Actor], start: Timestamp) -> Result<VecDeque<(Timestamp, Event)>, RehearseError> {
    let mut script = Vec::new();
    for (at, event) in &scenario.events {
        check(event, actors).map_err(RehearseError::Scenario)?;
        match event {
            Event::Node(node, NodeEvent::Link(interface, LinkEvent::Flaps(count))) => {
                let link = |event| Event::Node(node.clone(), NodeEvent::Link(interface.clone(), event));
                for flap in 0..*count {
                    let down = start + *at + FLAP_EVERY * flap;
                    script.push((down, link(LinkEvent::Down)));
                    script.push((down + FLAP_DOWN, link(LinkEvent::Up)));
                }
            }
            other => script.push((start + *at, other.clone())),
        }
    }
    // Stable: events of one time stay in their order.
    script.sort_by_key(|(at, _)| *at);
    Ok(script.into())
}

fn check(event: &Event, actors: &[Actor]) -> Result<(), String> {
    let known = || actors.iter().map(|actor| actor.node.name.as_str()).collect::<Vec<_>>().join(", ");
    let find = |name: &str| {
        let found = actors.iter().find(|actor| actor.node.name == name);
        found.ok_or_else(|| format!("there is no node {name}; there are: {}", known()))
    };
    match event {
        Event::Loss(_) | Event::Heal => Ok(()),
        Event::Partition(groups) => groups.iter().flatten().try_for_each(|name| find(name).map(drop)),
        Event::Node(name, event) => {
            let actor = find(name)?;
            match event {
                NodeEvent::Link(Some(interface), _) if actor.link_index(interface).is_none() => {
                    Err(format!("{name} has no virtual host on an interface {interface}"))
                }
                NodeEvent::Hook(hook, _) if !actor.node.config.hooks.keys().any(|name| name.as_str() == hook) => {
                    Err(format!("{name} has no hook {hook}"))
                }
                _ => Ok(()),
            }
        }
    }
}

fn plugs(actors: &[Actor]) -> Vec<Plug> {
    let mut plugs = Vec::new();
    for (node, actor) in actors.iter().enumerate() {
        for link in &actor.links {
            let on_it = actor.node.config.vhosts.iter().filter(|vhost| vhost.interface == link.name);
            plugs.push(Plug { node, link: link.index, vhids: on_it.map(|vhost| vhost.vhid).collect(), carrier: true });
        }
    }
    plugs
}

/// The virtual hosts, one for each set of addresses, and who takes part in each.
fn shared_vhosts(actors: &[Actor], record: &mut Record) -> Vec<Shared> {
    let mut found: Vec<Shared> = Vec::new();
    for (node, actor) in actors.iter().enumerate() {
        for (lane, vhost) in actor.node.config.vhosts.iter().enumerate() {
            let mut addresses = vhost.addresses.clone();
            addresses.sort_by_key(|address| address.ip);
            if let Some(there) = found.iter_mut().find(|there| there.addresses == addresses) {
                there.members.push((node, lane));
                continue;
            }
            record.add_vhost(vhost.name.as_str(), vhost.addresses.iter().map(ToString::to_string).collect());
            found.push(Shared { addresses, members: vec![(node, lane)] });
        }
    }
    for vhost in found.iter().filter(|vhost| vhost.members.len() == 1) {
        let addresses: Vec<String> = vhost.addresses.iter().map(ToString::to_string).collect();
        record.note(format!("only one node has {}: is the list the same on all?", addresses.join(", ")));
    }
    found
}
