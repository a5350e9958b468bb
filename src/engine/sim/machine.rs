//! One simulated machine: an engine, its host, and what the engine needs to be run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::Id;

use super::super::rehearse::NodeConfig;
use super::{SimWire, Simulated};
use crate::config::{Kind, Tracked};
use crate::effect::{Link, Nature};
use crate::engine::command::BeginMaintenance;
use crate::engine::reload::generations::Generations;
use crate::engine::runs::observer::Observer;
use crate::engine::runs::outcome::HookOutcome;
use crate::engine::runs::pool::Pool;
use crate::engine::runs::shared::Shared;
use crate::engine::state::{Engine, Parts};
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::interface::Interfaces;
use crate::engine::vhost::new::node_with_seed;
use crate::engine::vhost::table::Nodes;
use crate::host::SimHost;
use crate::host::clock::Virtual;
use crate::host::kernel::netlink::HostEvent;
use crate::keeper::Client;
use crate::proto::Received;
use crate::proto::sim::Luck;
use crate::proto::wire::parse_frame;
use crate::types::{Family, IfName, MacAddr, Name, Timestamp, VirtualAddress};

/// How many frames are queued for a frozen machine; the rest are lost, as in a socket's receive
/// buffer.
const BACKLOG: usize = 64;

/// Why a node is not running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Down {
    /// It has no power.
    Off,
    /// Its daemon was stopped in good order.
    Stopped,
}

/// A node.
pub(in super::super) struct SimMachine {
    pub(in super::super) node: NodeConfig,
    pub(in super::super) pools: BTreeMap<Name, Rc<Pool>>,
    /// Hooks whose new version its engine does not have yet.
    edited: BTreeSet<Name>,
    pub(in super::super) links: Vec<Link>,
    own: Vec<(IfName, VirtualAddress)>,
    keeper: Client,
    /// Only in a [`Turn`] may it be given anything.
    engine: Option<Engine<Simulated>>,
    pub(in super::super) down: Option<Down>,
    pub(in super::super) host: SimHost,
    pub(in super::super) wire: SimWire,
    /// It stands still until then.
    pub(in super::super) frozen: Option<Timestamp>,
    backlog: VecDeque<(u32, Rc<[u8]>)>,
    /// Something happened to it since the last look.
    stirred: bool,
    /// Its hooks hear nothing of the state at start.
    is_quiet_at_start: bool,
}

/// An engine while it takes something in: begun and ended as its own loop does with every event.
pub(in super::super) struct Turn<'a>(&'a mut Engine<Simulated>);

impl<'a> Turn<'a> {
    fn begin(engine: &'a mut Engine<Simulated>) -> Self {
        engine.judge_leases();
        Self(engine)
    }
}

impl Deref for Turn<'_> {
    type Target = Engine<Simulated>;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.end_turn();
    }
}

impl Drop for SimMachine {
    /// Its tasks would wait forever, with everything they hold.
    fn drop(&mut self) {
        self.end(Down::Off);
    }
}

impl SimMachine {
    /// Switched off, with everything that it needs to come up. `number` makes its hardware addresses
    /// different from the others'; `own` are its IP addresses.
    pub(in super::super) fn new(
        node: NodeConfig,
        number: usize,
        own: Vec<(IfName, VirtualAddress)>,
        pools: BTreeMap<Name, Rc<Pool>>,
        keeper: Client,
    ) -> Self {
        let mut links: Vec<Link> = Vec::new();
        let octet = u8::try_from(number + 1).unwrap_or(u8::MAX);
        let config = &node.config;
        let tracked = config
            .tracks
            .values()
            .filter_map(|track| match &track.tracked {
                Tracked::Link(interface) => Some(interface),
                Tracked::Local(_) | Tracked::Remote(_) | Tracked::Hook(_) => None,
            });
        for name in config
            .vhosts
            .iter()
            .map(|vhost| &vhost.interface)
            .chain(tracked)
        {
            if !links.iter().any(|link| link.name == *name) {
                let index = u32::try_from(links.len() + 1).unwrap_or(u32::MAX);
                let mac = MacAddr([2, 0, 0, 0, octet, u8::try_from(index).unwrap_or(u8::MAX)]);
                links.push(Link {
                    name: name.clone(),
                    altnames: Vec::new(),
                    index,
                    up: true,
                    carrier: true,
                    mac,
                    mtu: 1500,
                    nature: Nature::default(),
                });
            }
        }
        let host = SimHost::new();
        // Other hosts are not played.
        host.others_are_well();
        let (wire, backlog) = (SimWire::default(), VecDeque::new());
        Self {
            node,
            pools,
            edited: BTreeSet::new(),
            links,
            own,
            keeper,
            engine: None,
            down: Some(Down::Off),
            host,
            wire,
            frozen: None,
            backlog,
            stirred: true,
            is_quiet_at_start: false,
        }
    }

    /// Switched off, on a host that somebody else has made.
    pub(in super::super) fn on(
        node: NodeConfig,
        pools: BTreeMap<Name, Rc<Pool>>,
        keeper: Client,
        host: SimHost,
    ) -> Self {
        Self {
            node,
            pools,
            edited: BTreeSet::new(),
            links: Vec::new(),
            own: Vec::new(),
            keeper,
            engine: None,
            down: Some(Down::Off),
            host,
            wire: SimWire::default(),
            frozen: None,
            backlog: VecDeque::new(),
            stirred: true,
            is_quiet_at_start: true,
        }
    }

    /// Boots: nothing is remembered, nothing is held. True if it was down.
    pub(in super::super) async fn boot(&mut self, luck: &mut Luck) -> bool {
        if self.engine.is_some() {
            return false;
        }
        self.host = self.host.booted(&self.node.name, &self.links, &self.own);
        self.start(luck, None).await;
        true
    }

    /// Its daemon starts, and takes part.
    pub(in super::super) async fn start(
        &mut self,
        luck: &mut Luck,
        observer: Option<Rc<dyn Observer>>,
    ) {
        self.wire = SimWire::default();
        self.edited.clear();
        let (sender, outcomes) = mpsc::unbounded_channel();
        let shared = Shared::in_memory(self.host.clone(), sender);
        if let Some(observer) = observer {
            shared.executor.observe(observer);
        }
        shared.executor.recover_rest().await;
        let mut hooks = Generations::default();
        for pool in self.pools.values() {
            hooks.take(Rc::clone(pool));
        }
        let (mut nodes, mut interfaces) = (Nodes::default(), Interfaces::default());
        for (place, spec) in self.node.config.vhosts.iter().enumerate() {
            let index = VhostId::new(place);
            let pools = spec
                .hooks
                .iter()
                .filter_map(|name| self.pools.get(name).cloned())
                .collect();
            let seed = luck.next();
            let name = &self.node.name;
            nodes.insert(
                index,
                node_with_seed(
                    index,
                    spec,
                    pools,
                    (&mut interfaces, &self.wire),
                    &shared,
                    name,
                    seed,
                ),
            );
        }
        let mut engine = Engine::new(Parts {
            nodes,
            interfaces,
            shared,
            hooks,
            outcomes,
            keeper: self.keeper.clone(),
            config: self.node.config.clone(),
            path: self.node.path.clone(),
            host_name: self.node.name.clone(),
            ties: (),
            failsafe: None,
        });
        for (_, node) in engine.nodes.iter_mut() {
            node.told_initial = self.is_quiet_at_start;
        }
        let mut turn = Turn::begin(&mut engine);
        turn.assume_tracks_up();
        turn.look();
        drop(turn);
        self.engine = Some(engine);
        self.stirred = true;
        self.down = None;
        self.frozen = None;
    }

    /// A hook is another version from now on, as after a reload. A frozen daemon sees it when it
    /// continues, and one that is down when it starts.
    pub(in super::super) fn edit(&mut self, version: &Rc<Pool>, now: Timestamp) {
        let name = version.name().clone();
        let replaced = self.pools.insert(name.clone(), Rc::clone(version));
        if let Some(replaced) = replaced {
            version.set_trouble(replaced.trouble());
        }
        self.edited.insert(name);
        self.reload(now);
    }

    fn reload(&mut self, now: Timestamp) {
        if self.frozen.is_some() || self.engine.is_none() {
            return;
        }
        let edited = std::mem::take(&mut self.edited).into_iter();
        let versions: BTreeMap<_, _> = edited
            .filter_map(|name| Some((name.clone(), Rc::clone(self.pools.get(&name)?))))
            .collect();
        if let Some(mut turn) = self.turn().filter(|_| !versions.is_empty()) {
            turn.swap_hooks(versions, &mut Vec::new(), now);
        }
    }

    /// Loses its power.
    pub(in super::super) fn switch_off(&mut self) {
        self.host.switch_off();
        self.end(Down::Off);
    }

    /// Its daemon has ended.
    pub(in super::super) fn end(&mut self, down: Down) {
        if let Some(engine) = self.engine.take() {
            for node in engine.nodes.values() {
                node.queue.abandon();
            }
        }
        self.backlog.clear();
        self.frozen = None;
        self.stirred = true;
        self.down = Some(down);
    }

    /// What its engine knows.
    pub(in super::super) const fn engine(&self) -> Option<&Engine<Simulated>> {
        self.engine.as_ref()
    }

    /// Starts a turn of its engine, unless the machine is frozen.
    pub(in super::super) fn turn(&mut self) -> Option<Turn<'_>> {
        self.stirred = true;
        if self.frozen.is_some() {
            None
        } else {
            self.engine.as_mut().map(Turn::begin)
        }
    }

    /// An operator has it hand over all that it is master of.
    pub(in super::super) fn hand_over(&mut self, reason: &str, now: Timestamp) {
        let Some(mut turn) = self.turn() else { return };
        let masters = turn.nodes.iter().filter(|(_, node)| node.is_master());
        let masters: Vec<_> = masters.map(|(index, _)| index).collect();
        for index in masters {
            turn.hand_over(index, reason.to_owned(), now);
        }
    }

    /// An operator puts all of it into maintenance, or ends that. Orders are forgotten with its
    /// power, as everything is.
    pub(in super::super) fn maintain(&mut self, on: bool) {
        let Some(mut turn) = self.turn() else { return };
        if on {
            let order = BeginMaintenance {
                vhost: None,
                for_ms: None,
                reason: "rehearsed".to_owned(),
                never: false,
                force: false,
            };
            let (reply, _) = oneshot::channel();
            turn.begin_maintenance(order, reply);
        } else {
            let (reply, _) = oneshot::channel();
            turn.end_maintenance(None, reply);
        }
    }

    /// Its kernel takes away addresses whose leases were not renewed: those.
    pub(in super::super) fn expire(&mut self, now: Timestamp) -> Vec<(IfName, IpAddr)> {
        let gone = self.host.expire(now);
        for (dev, ip) in &gone {
            self.lost(dev, *ip);
        }
        gone
    }

    /// Its kernel has taken an address away, and says so.
    pub(in super::super) fn lost(&mut self, dev: &IfName, ip: IpAddr) {
        let Some(index) = self.link_index(dev.as_str()) else {
            return;
        };
        let address = VirtualAddress {
            ip,
            prefix: Family::of(ip).host_prefix(),
        };
        if let Some(mut turn) = self.turn() {
            turn.host_event(HostEvent::AddressRemoved {
                index,
                address,
                port: 0,
            });
        }
    }

    /// Is something done just now, other than what is tried again later?
    pub(in super::super) fn is_at_work(&self) -> bool {
        let running = |engine: &Engine<Simulated>| {
            engine.stopping.is_some() || engine.nodes.values().any(|node| node.queue.is_at_work())
        };
        self.engine.as_ref().is_some_and(running)
    }

    /// What its hooks have reported.
    pub(in super::super) fn outcomes(&mut self) -> Vec<HookOutcome> {
        let Some(engine) = self.engine.as_mut().filter(|_| self.frozen.is_none()) else {
            return Vec::new();
        };
        let mut all: Vec<HookOutcome> =
            std::iter::from_fn(|| engine.outcomes.try_recv().ok()).collect();
        all.sort_by(|one, other| one.order().cmp(&other.order()));
        all
    }

    /// Has its daemon stopped in good order?
    pub(in super::super) fn has_stopped(&mut self) -> bool {
        let stopping = self
            .engine
            .as_mut()
            .filter(|_| self.frozen.is_none())
            .and_then(|engine| engine.stopping.as_mut());
        stopping
            .and_then(|stopping| stopping.done.as_mut())
            .is_some_and(|done| done.try_recv().is_ok())
    }

    /// Has its daemon not stopped in time?
    pub(in super::super) fn is_out_of_time(&self, now: Timestamp) -> bool {
        let stopping = self
            .engine
            .as_ref()
            .filter(|_| self.frozen.is_none())
            .and_then(|engine| engine.stopping.as_ref());
        stopping.is_some_and(|stopping| stopping.deadline <= now)
    }

    /// Stands still until then.
    pub(in super::super) const fn freeze(&mut self, until: Timestamp) {
        if self.engine.is_some() {
            self.frozen = Some(until);
            self.stirred = true;
        }
    }

    /// May its state be another one than at the last look?
    pub(in super::super) const fn take_stirred(&mut self) -> bool {
        std::mem::replace(&mut self.stirred, false)
    }

    /// A frame arrives.
    pub(in super::super) fn receive(&mut self, link: u32, bytes: &Rc<[u8]>, now: Timestamp) {
        if self.frozen.is_some() {
            if self.backlog.len() < BACKLOG {
                self.backlog.push_back((link, Rc::clone(bytes)));
            }
            return;
        }
        if !self.is_for_us(link, bytes) {
            return;
        }
        let Some(mut turn) = self.turn() else { return };
        if let Some(interface) = turn
            .interfaces
            .find(|interface| interface.index() == Some(link))
        {
            turn.frame(interface, bytes, now);
        }
    }

    /// Whether its kernel would pass the frame up: it is for a group, or for an address of its own.
    fn is_for_us(&self, link: u32, bytes: &[u8]) -> bool {
        let Ok(Received { dst, .. }) = parse_frame(bytes) else {
            return true;
        };
        let name = self.links.iter().find(|l| l.index == link).map(|l| &l.name);
        let mut own = self.own.iter();
        dst.is_multicast() || own.any(|(dev, own)| Some(dev) == name && own.ip == dst)
    }

    /// Its timers are due.
    pub(in super::super) fn timers(&mut self) {
        if let Some(mut turn) = self.turn() {
            turn.timers();
        }
    }

    /// What was frozen continues; first it checks how late it is.
    pub(in super::super) fn thaw(&mut self, now: Timestamp) {
        self.frozen = None;
        let mut stale = Vec::new();
        if let Some(engine) = &mut self.engine {
            engine.due = engine.next_wake();
            let interfaces = engine
                .overslept()
                .map(|(_, interfaces)| interfaces)
                .unwrap_or_default();
            engine.due = None;
            stale.extend(
                interfaces
                    .iter()
                    .filter_map(|interface| engine.interfaces.get(*interface)?.index()),
            );
            engine.judge_leases();
        }
        for (link, bytes) in std::mem::take(&mut self.backlog) {
            if !stale.contains(&link) {
                self.receive(link, &bytes, now);
            }
        }
        self.timers();
        self.reload(now);
    }

    /// When its engine wants to be woken.
    pub(in super::super) fn next_wake(&mut self) -> Option<Timestamp> {
        if self.frozen.is_some() {
            None
        } else {
            self.engine.as_mut().and_then(Engine::next_wake)
        }
    }

    /// Has a hook of it something to do before the clock moves?
    pub(in super::super) fn is_working(&self, clock: &Virtual) -> bool {
        self.engine.as_ref().is_some_and(|engine| {
            engine
                .nodes
                .values()
                .any(|node| !node.queue.is_quiet(clock))
        })
    }

    /// Is its daemon being stopped?
    pub(in super::super) fn is_stopping(&self) -> bool {
        self.engine
            .as_ref()
            .is_some_and(|engine| engine.stopping.is_some())
    }

    /// The tasks that run its hooks, in the order of its virtual hosts.
    pub(in super::super) fn tasks(&self) -> Vec<Id> {
        self.engine
            .as_ref()
            .map(|engine| {
                engine
                    .nodes
                    .values()
                    .flat_map(|node| node.queue.tasks())
                    .collect()
            })
            .unwrap_or_default()
    }

    /// The index of an interface.
    pub(in super::super) fn link_index(&self, interface: &str) -> Option<u32> {
        self.links
            .iter()
            .find(|link| link.name.as_str() == interface)
            .map(|link| link.index)
    }

    /// The most time that a run of its hooks may take.
    pub(in super::super) fn longest_run(&self) -> Duration {
        let runs = self
            .pools
            .values()
            .map(|pool| pool.spec().limits.wall.max(pool.spec().health.timeout));
        runs.max().unwrap_or_default()
    }

    /// The names of hooks that are programs and are never run here.
    pub(in super::super) fn programs(&self) -> impl Iterator<Item = &Name> {
        self.node
            .config
            .hooks
            .iter()
            .filter(|(_, hook)| hook.kind != Kind::Module)
            .map(|(name, _)| name)
    }
}
