//! The engine's status report.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::{Kind, Reload};
use crate::engine::command::After;
use crate::engine::effects::foreign_addresses;
use crate::engine::environment::Environment;
use crate::engine::report::millis;
use crate::engine::report::{
    ConflictStatus, HeardStatus, HookStatus, PeerStatus, Status, VhostStatus,
};
use crate::engine::state::Engine;
use crate::engine::vhost::conflicts::Conflict;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::interface::Absence;
use crate::engine::vhost::node::{Gate, Node};
use crate::engine::vhost::tracks::Burden;
use crate::host::clock;
use crate::proto::{self, Cause};
use crate::types::{Family, Name, State, Timestamp};

/// How many virtual hosts one turn of the loop reports on.
const IN_A_TURN: usize = 64;

impl<E: Environment> Engine<E> {
    #[cfg(test)]
    pub(in crate::engine) fn status(&self) -> Status {
        Status {
            vhosts: self.vhost_status(self.nodes.values()),
            ..self.status_of_the_rest()
        }
    }

    /// Of these virtual hosts.
    pub(in crate::engine) fn vhost_status<'n>(
        &self,
        nodes: impl Iterator<Item = &'n Node<E::Host>>,
    ) -> Vec<VhostStatus>
    where
        E::Host: 'n,
    {
        let now = clock::now();
        nodes
            .map(|node| VhostStatus {
                peers: self.peer_status(node, now),
                hooks_busy: node.queue.is_busy(),
                ..vhost(node, self.are_up(node), self.obstacle(node), now)
            })
            .collect()
    }

    /// As many virtual hosts as one turn has time for, and after which of them there are more.
    pub(in crate::engine) fn some_nodes(
        &self,
        after: Option<After>,
    ) -> (Vec<&Node<E::Host>>, Option<After>) {
        let mut some = self
            .nodes
            .after(after.map(|After(number)| VhostId::new(number)));
        let some: Vec<_> = some.by_ref().take(IN_A_TURN).collect();
        let is_full = some.len() == IN_A_TURN;
        let last = some.last().filter(|_| is_full);
        let last = last.map(|(id, _)| After(id.number()));
        (some.into_iter().map(|(_, node)| node).collect(), last)
    }

    /// Everything but the virtual hosts.
    pub(in crate::engine) fn status_of_the_rest(&self) -> Status {
        let now = clock::now();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: self.started_ms,
            vhosts: Vec::new(),
            groups: self.group_status(now),
            hooks: self
                .hooks
                .status()
                .into_iter()
                .map(|hook| HookStatus {
                    watched: self.how_watched(&hook.name),
                    ..hook
                })
                .collect(),
            tracks: self.track_status(),
            notify: self.shared.notices.status(),
            held: self.shared.executor.held(),
            engine: None,
            helper: None,
            ledger_problem: self
                .shared
                .executor
                .ledger()
                .health()
                .map(ToString::to_string),
            lasting_problem: self.shared.persist.problem(),
            unmatched_packets: self
                .unmatched
                .rejects()
                .map(|(why, count)| (why.to_owned(), count))
                .filter(|(_, n)| *n > 0)
                .collect(),
            unknown_vhids: self
                .interfaces
                .iter()
                .flat_map(|interface| interface.unknown_vhids.status(&interface.name, now))
                .collect(),
            reload_problems: self.reload_problems.clone(),
            recent: self.shared.recent.borrow().status(),
        }
    }
}

impl<E: Environment> Engine<E> {
    /// Whether the virtual host's addresses are up. If its hooks add them, the kernel is queried.
    fn are_up(&self, node: &Node<E::Host>) -> bool {
        let spec = &node.spec;
        let all = || {
            spec.addresses
                .iter()
                .all(|address| self.present(&spec.interface, address.ip))
        };
        node.holding || (!spec.manage_addresses && all())
    }

    /// The unicast peers of a virtual host, but for the node itself.
    fn peer_status(&self, node: &Node<E::Host>, now: Timestamp) -> Vec<PeerStatus> {
        let interface = self.interfaces.get(node.interface);
        let is_self = |ip: IpAddr| {
            interface.is_some_and(|i| i.source_of(&node.spec, Family::of(ip)) == Some(ip))
        };
        let others = node.spec.unicast.iter().filter(|ip| !is_self(**ip));
        others.map(|ip| node.peers.status(*ip, now)).collect()
    }

    /// How changes to a hook's file are noticed, as a text.
    fn how_watched(&self, hook: &Name) -> Option<String> {
        let spec = self.config.hooks.get(hook)?;
        match (&spec.kind, spec.reload) {
            (Kind::Script(_), _) => None,
            (Kind::Module, Reload::Manual) => Some("not watched: reload = \"manual\"".to_owned()),
            (Kind::Module, Reload::Checked | Reload::Tested) => self.files.of(&spec.path),
        }
    }

    /// Why a virtual host does not take part, if that is not the protocol's decision.
    fn obstacle(&self, node: &Node<E::Host>) -> Option<String> {
        if let Some(address) = node.foreign.first() {
            return Some(format!(
                "not taking part: {}",
                foreign_addresses::complaint(*address, &node.spec.interface)
            ));
        }
        let kept_out = node.burdens.iter().find(|burden| burden.is_fault());
        if let Some(Burden { track, reason, .. }) =
            kept_out.filter(|_| node.machine.state() == State::Init)
        {
            return Some(format!("not taking part: track {track}: {reason}"));
        }
        if let Some(obstacle) = self.group_obstacle(node, clock::now()) {
            return Some(obstacle);
        }
        let interface = self
            .interfaces
            .get(node.interface)
            .filter(|_| node.machine.state() == State::Init)?;
        if node.machine.arrives().is_some() {
            // The link is up: it only waits.
            return None;
        }
        if let Some(flaw) = interface.flaw_for(&node.spec) {
            let name = &interface.name;
            return Some(format!(
                "not taking part: {name} {flaw}: {}",
                flaw.mend(name)
            ));
        }
        if let Some(obstacle) = interface.bars(node.spec.vhid) {
            return Some(format!("not taking part: {obstacle}"));
        }
        let words = match (interface.link(), interface.is_deaf()) {
            (None, _) => match &interface.absence {
                Some(Absence::NotYet) | None => "waiting for an interface that does not exist yet",
                Some(absence) => {
                    return Some(format!("waiting for {}: it {absence}", interface.name));
                }
            },
            (Some(_), true) => "cannot listen on the interface: see the log",
            (Some(_), false) => "waiting for the link",
        };
        Some(words.to_owned())
    }
}

fn vhost<H>(
    node: &Node<H>,
    holding: bool,
    obstacle: Option<String>,
    now: Timestamp,
) -> VhostStatus {
    let (spec, machine) = (&node.spec, &node.machine);
    let last = node.last.as_ref();
    let cause = last.map_or(&Cause::Startup, |last| &last.cause);
    let heard = machine.heard().map(|heard| HeardStatus {
        from: heard.from.to_string(),
        ago_ms: millis(now.since(heard.at)),
        advbase: heard.advbase.0,
        advskew: heard.advskew.0,
    });
    VhostStatus {
        name: spec.name.clone(),
        interface: spec.interface.clone(),
        netns: spec.netns.as_ref().map(ToString::to_string),
        vhid: spec.vhid,
        addresses: spec.addresses.clone(),
        state: machine.state(),
        since_ms: node.since_ms,
        condition: condition(node, holding, obstacle.as_deref(), now),
        cause: cause.as_str().to_owned(),
        why: obstacle
            .filter(|_| last.is_none() || !node.foreign.is_empty())
            .unwrap_or_else(|| cause.to_string()),
        peer: last.and_then(|last| last.peer).map(|peer| peer.to_string()),
        seq: last.map_or(0, |last| last.seq),
        holding,
        unicast: spec.unicast.clone(),
        peers: Vec::new(),
        overlap_ends_in_ms: overlap_left(machine, now),
        conflicts: conflicts(node, now),
        split: node.split(now),
        link_penalty: machine.link_penalty(now),
        foreign: node.foreign.clone(),
        elsewhere: node.elsewhere.clone(),
        demotion: machine.demotion().get(),
        demotions: node.demotions(now),
        maintenance: node.maintenance_status(now),
        hooks_busy: false,
        refused_addresses: node
            .refused_addresses
            .as_ref()
            .map(|refused_addresses| refused_addresses.status(now))
            .unwrap_or_default(),
        degraded: node
            .degraded
            .as_ref()
            .map(|degraded| degraded.reason.clone()),
        health: node.checks.status(),
        heard,
        strip: node.strip.status(now),
        refused: node.refusals.status(now),
        lease: if node.holding {
            node.lease().to_string()
        } else {
            String::new()
        },
        hooks: spec.hooks.clone(),
        counters: counters(machine.stats()),
    }
}

fn conflicts<H>(node: &Node<H>, now: Timestamp) -> Vec<ConflictStatus> {
    let present = node.conflicts.present(now).into_iter();
    let status = |conflict: Conflict| ConflictStatus {
        address: conflict.address,
        mac: conflict.mac,
        count: conflict.count,
        ago_ms: millis(now.since(conflict.last)),
    };
    present.map(status).collect()
}

/// The current condition of a virtual host, as a text.
fn condition<H>(node: &Node<H>, holding: bool, obstacle: Option<&str>, now: Timestamp) -> String {
    let machine = &node.machine;
    let mut parts = vec![match (machine.state(), obstacle, machine.heard()) {
        (_, Some(obstacle), _) => obstacle.to_owned(),
        (State::Init, None, _) => match machine.arrives() {
            Some(at) => {
                let left = millis(at.since(now)).div_ceil(1000);
                let why = if machine.is_damped(now) {
                    ": the link has flapped"
                } else {
                    ""
                };
                format!("not taking part for {left} s more{why}")
            }
            None => "not taking part".to_owned(),
        },
        (State::Master, None, _) if holding => "holds its addresses".to_owned(),
        (State::Master, None, _) if node.gate == Gate::Unheard => {
            "its addresses are delayed: it cannot send".to_owned()
        }
        (State::Master, None, _) if node.gate == Gate::Device => {
            "its addresses are delayed: its macvlan is still being removed".to_owned()
        }
        (State::Master, None, _) => "its addresses are not up".to_owned(),
        (State::Backup, None, Some(heard)) => format!("hears {}", heard.from),
        (State::Backup, None, None) => "hears no master".to_owned(),
    }];
    let is_split = node.split(now).is_some();
    parts.extend(is_split.then(|| "split: another node is master as well".to_owned()));
    parts.extend(
        node.refused_addresses
            .is_some()
            .then(|| "some addresses are refused".to_owned()),
    );
    parts.extend(node.degraded.is_some().then(|| "degraded".to_owned()));
    parts.extend(
        node.checks
            .status()
            .iter()
            .any(|health| health.well == Some(false))
            .then(|| "unhealthy".to_owned()),
    );
    let maintained = node.upkeep.maintenance.is_some();
    parts.extend(maintained.then(|| "in maintenance".to_owned()));
    let demotion = machine.demotion().get();
    parts.extend((demotion > 0).then(|| format!("demoted by {demotion}")));
    parts.join(", ")
}

/// For how long the previous password and addresses still count.
fn overlap_left(machine: &proto::Vhost, now: Timestamp) -> Option<u64> {
    let previous = machine.settings().previous.as_ref()?;
    (now < previous.until).then(|| millis(previous.until.since(now)))
}

fn counters(stats: &crate::proto::Stats) -> BTreeMap<String, u64> {
    let own = [
        ("sent", stats.sent),
        ("bow_outs_sent", stats.bow_outs_sent),
        ("send_failures", stats.send_failures),
        ("received", stats.received),
        ("bow_outs_received", stats.bow_outs_received),
        ("peer_claims", stats.peer_claims),
        ("takeovers", stats.takeovers),
        ("late", stats.late),
    ];
    let rejected = stats.rejects().filter(|(_, count)| *count > 0);
    own.into_iter()
        .chain(rejected)
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}
