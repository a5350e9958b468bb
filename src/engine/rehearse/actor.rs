//! One node of a rehearsal: an engine on a virtual machine.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::mpsc;
use tokio::task::Id;

use super::super::clock::Virtual;
use super::super::execute::Executor;
use super::super::generations::Generations;
use super::super::lasting::Lasting;
use super::super::nodes::Nodes;
use super::super::pool::Pool;
use super::super::queue::Shared;
use super::super::recover::Recovery;
use super::super::run::{Engine, Parts};
use super::super::start::node_with_seed;
use super::super::store::Store;
use super::NodeConfig;
use super::stage::{Stage, StageHost, StageWire};
use crate::config::{Kind, Vhost};
use crate::effect::Link;
use crate::journal::Journal;
use crate::keeper::Client;
use crate::ledger::Ledger;
use crate::proto::sim::Luck;
use crate::types::{IfName, MacAddr, Name, Timestamp, VirtualAddress};

/// Frames that wait for a machine that stands still; the rest is lost, as in a socket's receive buffer.
const BACKLOG: usize = 64;

/// Why a node is not running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Down {
    /// It has no power.
    Off,
    /// Its daemon was stopped in good order.
    Stopped,
}

/// A node.
pub(super) struct Actor {
    pub(super) node: NodeConfig,
    pub(super) pools: BTreeMap<Name, Rc<Pool>>,
    pub(super) links: Vec<Link>,
    own: Vec<(IfName, VirtualAddress)>,
    keeper: Client,
    pub(super) engine: Option<Engine<Stage>>,
    pub(super) down: Option<Down>,
    pub(super) host: StageHost,
    pub(super) wire: StageWire,
    /// It stands still until then.
    pub(super) frozen: Option<Timestamp>,
    backlog: VecDeque<(u32, Vec<u8>)>,
}

impl Actor {
    /// Switched off, with everything that it needs to come up. `number` makes its addresses different from the others'.
    pub(super) fn new(node: NodeConfig, number: usize, pools: BTreeMap<Name, Rc<Pool>>, keeper: Client) -> Self {
        let mut links: Vec<Link> = Vec::new();
        let mut own = Vec::new();
        let octet = u8::try_from(number + 1).unwrap_or(u8::MAX);
        for vhost in &node.config.vhosts {
            if !links.iter().any(|link| link.name == vhost.interface) {
                let index = u32::try_from(links.len() + 1).unwrap_or(u32::MAX);
                let mac = MacAddr([2, 0, 0, 0, octet, u8::try_from(index).unwrap_or(u8::MAX)]);
                links.push(Link { name: vhost.interface.clone(), index, up: true, carrier: true, mac, mtu: 1500 });
            }
            own.extend(sources(vhost, octet).into_iter().map(|address| (vhost.interface.clone(), address)));
        }
        let host = StageHost::booted(&node.name, &links, &own, BTreeMap::new());
        let (wire, backlog) = (StageWire::default(), VecDeque::new());
        Self { node, pools, links, own, keeper, engine: None, down: Some(Down::Off), host, wire, frozen: None, backlog }
    }

    /// Comes up, as after a boot: nothing is remembered, nothing is held. True if it was down.
    pub(super) async fn boot(&mut self, luck: &mut Luck) -> bool {
        if self.engine.is_some() {
            return false;
        }
        self.host = StageHost::booted(&self.node.name, &self.links, &self.own, self.host.services());
        self.wire = StageWire::default();
        let (sender, news) = mpsc::unbounded_channel();
        let shared = Rc::new(Shared {
            executor: Executor::new(self.host.clone(), Ledger::new(), Recovery::default()),
            store: RefCell::new(Store::new()),
            lasting: Lasting::none(),
            journal: RefCell::new(Journal::disabled()),
            news: sender,
        });
        shared.executor.recover_rest().await;
        let mut hooks = Generations::default();
        for pool in self.pools.values() {
            hooks.take(Rc::clone(pool));
        }
        let (mut nodes, mut ports) = (Nodes::default(), Vec::new());
        for (index, spec) in self.node.config.vhosts.iter().enumerate() {
            let pools = spec.hooks.iter().filter_map(|name| self.pools.get(name).cloned()).collect();
            let seed = luck.next();
            let name = &self.node.name;
            nodes.insert(index, node_with_seed(index, spec, pools, (&mut ports, &self.wire), &shared, name, seed));
        }
        let mut engine = Engine::new(Parts {
            nodes,
            ports,
            shared,
            hooks,
            news,
            keeper: self.keeper.clone(),
            config: self.node.config.clone(),
            path: self.node.path.clone(),
            host_name: self.node.name.clone(),
            ties: (),
            will: None,
        });
        engine.look().await;
        self.engine = Some(engine);
        self.down = None;
        self.frozen = None;
        true
    }

    /// Loses its power.
    pub(super) fn switch_off(&mut self) {
        self.host.switch_off();
        self.end(Down::Off);
    }

    /// Its daemon has ended.
    pub(super) fn end(&mut self, down: Down) {
        if let Some(engine) = self.engine.take() {
            for node in engine.nodes.values() {
                node.queue.abandon();
            }
        }
        self.backlog.clear();
        self.frozen = None;
        self.down = Some(down);
    }

    /// The engine, unless everything stands still.
    pub(super) fn awake(&mut self) -> Option<&mut Engine<Stage>> {
        if self.frozen.is_some() { None } else { self.engine.as_mut() }
    }

    /// A frame arrives.
    pub(super) fn receive(&mut self, link: u32, bytes: Vec<u8>, now: Timestamp) {
        if self.frozen.is_some() {
            if self.backlog.len() < BACKLOG {
                self.backlog.push_back((link, bytes));
            }
            return;
        }
        let Some(engine) = &mut self.engine else { return };
        if let Some(port) = engine.ports.iter().position(|port| port.index() == Some(link)) {
            engine.judge_leases();
            engine.frame(port, &bytes, now);
            engine.end_turn();
        }
    }

    /// Its timers are due.
    pub(super) fn timers(&mut self) {
        if let Some(engine) = self.awake() {
            engine.judge_leases();
            engine.timers();
            engine.end_turn();
        }
    }

    /// What stood still goes on: first it looks how late it is.
    pub(super) fn thaw(&mut self, now: Timestamp) {
        self.frozen = None;
        let mut stale = Vec::new();
        if let Some(engine) = &mut self.engine {
            engine.due = engine.next_wake();
            let ports = engine.overslept().map(|(_, ports)| ports).unwrap_or_default();
            engine.due = None;
            stale.extend(ports.iter().filter_map(|port| engine.ports.get(*port)?.index()));
            engine.judge_leases();
        }
        for (link, bytes) in std::mem::take(&mut self.backlog) {
            if !stale.contains(&link) {
                self.receive(link, bytes, now);
            }
        }
        self.timers();
    }

    /// When its engine wants to be woken.
    pub(super) fn next_wake(&mut self) -> Option<Timestamp> {
        if self.frozen.is_some() { None } else { self.engine.as_mut().and_then(Engine::next_wake) }
    }

    /// Has a hook of it something to do before the clock moves?
    pub(super) fn is_working(&self, clock: &Virtual) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.nodes.values().any(|node| !node.queue.is_quiet(clock)))
    }

    /// Is its daemon being stopped?
    pub(super) fn is_stopping(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.stopping.is_some())
    }

    /// The tasks that run its hooks, in the order of its virtual hosts.
    pub(super) fn tasks(&self) -> Vec<Id> {
        self.engine
            .as_ref()
            .map(|engine| engine.nodes.values().filter_map(|node| node.queue.task()).collect())
            .unwrap_or_default()
    }

    /// The index of an interface.
    pub(super) fn link_index(&self, interface: &str) -> Option<u32> {
        self.links.iter().find(|link| link.name.as_str() == interface).map(|link| link.index)
    }

    /// The names of hooks that are programs and are never run here.
    pub(super) fn programs(&self) -> impl Iterator<Item = &Name> {
        self.node.config.hooks.iter().filter(|(_, hook)| hook.kind != Kind::Module).map(|(name, _)| name)
    }
}

/// The node's own addresses in the networks of a virtual host: advertisements come from there.
fn sources(vhost: &Vhost, octet: u8) -> Vec<VirtualAddress> {
    let mut all: Vec<VirtualAddress> = Vec::new();
    for address in &vhost.addresses {
        let ip = match address.ip {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                IpAddr::V4([a, b, c, if d == octet { octet.wrapping_add(100) } else { octet }].into())
            }
            // As every interface has one.
            IpAddr::V6(_) => IpAddr::V6([0xfe80, 0, 0, 0, 0, 0, 0, u16::from(octet)].into()),
        };
        let source = VirtualAddress { ip, prefix: if ip.is_ipv4() { address.prefix } else { 64 } };
        let taken = |other: &VirtualAddress| other.ip == ip || other.family() == source.family();
        if !all.iter().any(taken) && !vhost.addresses.iter().any(|own| own.ip == ip) {
            all.push(source);
        }
    }
    all
}
