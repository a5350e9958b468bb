//! Applies the events of a scenario to the nodes and the network between them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::MarkKind;
use super::scenario::{Event, LinkEvent, NodeEvent, Scenario, ServiceEvent, TrackEvent, Trouble};
use super::simulation::{RehearseError, Simulation};
use crate::engine::runs::pool::Trouble as PoolTrouble;
use crate::engine::sim::SimMachine;
use crate::engine::vhost::tracks::Standing;
use crate::host::kernel::netlink::HostEvent;
use crate::host::sim::Happens;
use crate::host::{HostError, SimHost};
use crate::types::Timestamp;

/// How long a flapping link is down.
const FLAP_DOWN: Duration = Duration::from_millis(300);
/// From one flap to the next.
const FLAP_EVERY: Duration = Duration::from_secs(1);

impl Simulation {
    pub(super) async fn strike(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::Loss(percent) => self.lan.set_loss(percent),
            Event::Heal => self.lan.heal(),
            Event::Partition(groups) => {
                let mut parts = BTreeMap::new();
                for (group, names) in (1..).zip(&groups) {
                    parts.extend(
                        names
                            .iter()
                            .filter_map(|name| Some((self.number(name)?, group))),
                    );
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
        self.machines
            .iter()
            .position(|machine| machine.node.name == name)
    }

    async fn strike_node(&mut self, number: usize, event: NodeEvent, now: Timestamp) {
        let Some(machine) = self.machines.get_mut(number) else {
            return;
        };
        match event {
            NodeEvent::Dies => {
                machine.switch_off();
                self.lan.forget(number);
            }
            NodeEvent::Returns => _ = machine.boot(self.lan.luck()).await,
            NodeEvent::Stops => {
                if let Some(mut turn) = machine.turn() {
                    turn.stop("a rehearsed stop");
                }
            }
            NodeEvent::Freezes(length) => machine.freeze(now + length),
            NodeEvent::Resigns => machine.hand_over("rehearsed", now),
            NodeEvent::Maintenance(on) => machine.maintain(on),
            NodeEvent::Refuses(ip) => {
                for dev in machine.host.refuse_address(ip) {
                    machine.lost(&dev, ip);
                }
            }
            NodeEvent::Accepts(ip) => machine.host.accept_address(ip),
            NodeEvent::Loses(interface, percent) => {
                let links = machine.links.iter();
                let hit = links.filter(|link| {
                    interface
                        .as_deref()
                        .is_none_or(|name| link.name.as_str() == name)
                });
                for link in hit {
                    self.lan.set_loss_to((number, link.index), percent);
                }
            }
            NodeEvent::Link(interface, event) => {
                self.strike_link(number, interface.as_deref(), event);
            }
            NodeEvent::Hook(name, trouble) => {
                let trouble = match trouble {
                    Trouble::Fails => Some(PoolTrouble::Fails),
                    Trouble::Hangs => Some(PoolTrouble::Hangs),
                    Trouble::Works => None,
                };
                for pool in machine
                    .pools
                    .values()
                    .filter(|pool| pool.name().as_str() == name)
                {
                    pool.set_trouble(trouble);
                }
            }
            NodeEvent::HookEdited(name, file) => {
                if let Some(version) = self.versions.get(&(number, name, file)) {
                    machine.edit(version, now);
                }
            }
            NodeEvent::Track(name, event) => {
                let standing = match event {
                    TrackEvent::Up => Standing::Up,
                    TrackEvent::Down => Standing::down("as the rehearsal demands".to_owned()),
                };
                if let (Some(mut turn), Ok(name)) = (machine.turn(), name.parse()) {
                    turn.tracked(&name, standing, now);
                }
            }
            NodeEvent::Service(name, event) => {
                service(&machine.host, &name, event);
                if event == ServiceEvent::Dies {
                    self.record.mark(
                        now,
                        number,
                        MarkKind::Effect,
                        format!("service {name} died"),
                        false,
                        None,
                    );
                }
            }
        }
    }

    fn strike_link(&mut self, number: usize, interface: Option<&str>, event: LinkEvent) {
        let Some(machine) = self.machines.get_mut(number) else {
            return;
        };
        let carrier = event == LinkEvent::Up;
        let links = machine
            .links
            .iter_mut()
            .filter(|link| interface.is_none_or(|name| link.name.as_str() == name));
        let mut changed = Vec::new();
        for link in links {
            link.carrier = carrier;
            self.lan.set_carrier(number, link.index, carrier);
            changed.push(link.clone());
        }
        for link in changed {
            if let Some(mut turn) = machine.turn() {
                turn.host_event(HostEvent::Link(link));
            }
        }
    }
}

fn service(host: &SimHost, unit: &str, event: ServiceEvent) {
    match event {
        ServiceEvent::Dies => host.set_service(unit, false, false),
        ServiceEvent::Runs => host.set_service(unit, true, true),
        ServiceEvent::Works => host.starting(unit, None),
        ServiceEvent::Hangs => host.starting(unit, Some(&Happens::Hangs)),
        ServiceEvent::Takes(length) => host.starting(unit, Some(&Happens::Takes(length))),
        ServiceEvent::Fails => {
            let message = format!("{unit} is failed, as the rehearsal demands");
            let error = HostError::new(message);
            host.starting(unit, Some(&Happens::Fails(error)));
        }
    }
}

/// The scenario with its repeated events written out, checked against what there is.
pub(super) fn script_of(
    scenario: &Scenario,
    machines: &[SimMachine],
    start: Timestamp,
) -> Result<VecDeque<(Timestamp, Event)>, RehearseError> {
    let mut script = Vec::new();
    for (at, event) in &scenario.events {
        check(event, machines).map_err(RehearseError::Scenario)?;
        match event {
            Event::Node(node, NodeEvent::Link(interface, LinkEvent::Flaps(count))) => {
                let link =
                    |event| Event::Node(node.clone(), NodeEvent::Link(interface.clone(), event));
                for flap in 0..*count {
                    let down = start + *at + FLAP_EVERY * flap;
                    script.push((down, link(LinkEvent::Down)));
                    script.push((down + FLAP_DOWN, link(LinkEvent::Up)));
                }
            }
            other => script.push((start + *at, other.clone())),
        }
    }
    // A stable sort: events at the same time stay in order.
    script.sort_by_key(|(at, _)| *at);
    Ok(script.into())
}

fn check(event: &Event, machines: &[SimMachine]) -> Result<(), String> {
    let known = || {
        machines
            .iter()
            .map(|machine| machine.node.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let find = |name: &str| {
        let found = machines.iter().find(|machine| machine.node.name == name);
        found.ok_or_else(|| format!("there is no node {name}; there are: {}", known()))
    };
    match event {
        Event::Loss(_) | Event::Heal => Ok(()),
        Event::Partition(groups) => groups
            .iter()
            .flatten()
            .try_for_each(|name| find(name).map(drop)),
        Event::Node(name, event) => {
            let machine = find(name)?;
            match event {
                NodeEvent::Link(Some(interface), _) | NodeEvent::Loses(Some(interface), _)
                    if machine.link_index(interface).is_none() =>
                {
                    Err(format!(
                        "{name} has no virtual host on an interface {interface}"
                    ))
                }
                NodeEvent::Hook(hook, _) | NodeEvent::HookEdited(hook, _)
                    if !machine
                        .node
                        .config
                        .hooks
                        .keys()
                        .any(|name| name.as_str() == hook) =>
                {
                    Err(format!("{name} has no hook {hook}"))
                }
                NodeEvent::Track(track, _)
                    if !machine.node.config.tracks.contains_key(track.as_str()) =>
                {
                    Err(format!("{name} has no track {track}"))
                }
                NodeEvent::Track(track, _) => {
                    let known = machine.node.config.tracks.get(track.as_str());
                    let hook = known.and_then(|track| track.tracked.hook());
                    match hook.filter(|hook| machine.pools.contains_key(*hook)) {
                        Some(hook) => Err(format!(
                            "track {track} is what hook {hook} answers: write `{name} hook {hook} fails`"
                        )),
                        None => Ok(()),
                    }
                }
                _ => Ok(()),
            }
        }
    }
}
