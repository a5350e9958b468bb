//! Groups: has them decide, and puts up the addresses of all members together
//! ([`crate::proto::group`]).

use std::collections::BTreeMap;

use tracing::{error, info};

use crate::config;
use crate::engine::environment::Environment;
use crate::engine::report::GroupStatus;
use crate::engine::state::Engine;
use crate::engine::vhost::group::Group;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::node::{Gate, Node};
use crate::journal::DaemonCause;
use crate::proto::group::{Member, decide, flaw};
use crate::proto::{self, Claims, Input};
use crate::types::{Name, State, Timestamp};

/// More decisions in a row than any group takes.
const DECISIONS_MAX: usize = 1000;

impl<E: Environment> Engine<E> {
    /// Makes these the groups. Virtual hosts that are not there yet are left out.
    pub(in crate::engine) fn form_groups(
        &mut self,
        groups: &BTreeMap<Name, config::Group>,
        now: Timestamp,
    ) {
        let named = |name: &Name| {
            let mut nodes = self.nodes.iter();
            nodes.find(|(_, node)| node.spec.name == *name)
        };
        let mut all = Vec::new();
        for (name, spec) in groups {
            let members: Vec<VhostId> = spec
                .members
                .iter()
                .filter_map(|name| named(name).map(|(id, _)| id))
                .collect();
            let before = self.groups.iter().find(|group| group.name == *name);
            let luck = || {
                let first = members.first().and_then(|first| self.nodes.get(*first));
                first.map_or(0, |node| node.machine.counter())
            };
            all.push(Group {
                name: name.clone(),
                claims: before.map_or_else(|| Claims::together(luck()), |group| group.claims),
                members,
            });
        }
        self.groups.replace(all);
        self.groups.settling = true;
        for index in self.numbers() {
            let claims = self
                .groups
                .of(index)
                .map_or(Claims::Alone, |group| group.claims);
            let present = self.nodes.get(index).map(|node| node.machine.settings());
            if let Some(present) = present.filter(|present| present.claims != claims) {
                let settings = proto::Settings {
                    claims,
                    ..present.clone()
                };
                self.reconfigure(index, settings, now);
            }
        }
        self.groups.settling = false;
        self.follow_up(now);
        for index in self.numbers() {
            self.publish(index);
        }
    }

    /// The virtual hosts that are master together with this one, itself included.
    pub(in crate::engine) fn together_with(&self, index: VhostId) -> Vec<VhostId> {
        let group = self.groups.of(index);
        group.map_or_else(|| vec![index], |group| group.members.clone())
    }

    /// Whether this virtual host, or one that is master together with it, is so.
    pub(in crate::engine) fn is_any_together(
        &self,
        index: VhostId,
        is_so: impl Fn(&Node<E::Host>) -> bool,
    ) -> bool {
        let check = |index: &VhostId| self.nodes.get(*index).is_some_and(&is_so);
        match self.groups.of(index) {
            Some(group) => group.members.iter().any(check),
            None => check(&index),
        }
    }

    /// Does what follows in other members from what has happened; false if nothing does.
    pub(in crate::engine) fn settle_groups(&mut self, now: Timestamp) -> bool {
        if self.groups.settling {
            return false;
        }
        let Some(group) = self.groups.take_unsettled() else {
            return false;
        };
        self.groups.settling = true;
        for (number, order) in decide(&self.members_of(&group, now), now) {
            if let Some(index) = group.members.get(number) {
                self.feed(*index, Input::Group(order), now);
            }
        }
        self.put_up_together(&group, now);
        self.groups.settling = false;
        true
    }

    /// Called when groups have decided this often in one turn: it must not go on for ever.
    pub(in crate::engine) fn decides_too_often(decisions: usize) -> bool {
        if decisions == DECISIONS_MAX {
            error!(
                "Groups do not come to an end with what they decide; going on at the next event"
            );
            debug_assert!(false, "a group does not settle");
        }
        decisions >= DECISIONS_MAX
    }

    fn members_of(&self, group: &Group, now: Timestamp) -> Vec<Member<'_>> {
        let members = group.members.iter();
        members
            .filter_map(|index| {
                let node = self.nodes.get(*index)?;
                Some(Member {
                    name: &node.spec.name,
                    standing: node.machine.standing(now),
                })
            })
            .collect()
    }

    /// All members have become master and advertised that, and no `before_master` of theirs is
    /// waited for: now their addresses go up. If one of them cannot be heard, none does.
    fn put_up_together(&mut self, group: &Group, now: Timestamp) {
        let waits = |node: &Node<E::Host>| node.is_master() && node.gate == Gate::Together;
        let ready = |node: &Node<E::Host>| {
            node.is_master() && matches!(node.gate, Gate::Together | Gate::Open)
        };
        let nodes = || {
            group
                .members
                .iter()
                .filter_map(|index| self.nodes.get(*index))
        };
        if !nodes().any(waits) || !nodes().all(ready) {
            return;
        }
        let waiting: Vec<VhostId> = group
            .members
            .iter()
            .copied()
            .filter(|index| self.nodes.get(*index).is_some_and(waits))
            .collect();
        let mute = waiting.iter().copied().find_map(|index| {
            let node = self.nodes.get(index).filter(|node| node.is_mute())?;
            Some((index, node.sending.problem.clone()))
        });
        if let Some((index, problem)) = mute {
            let reason = DaemonCause::SendFailed.because(&problem);
            let unfit = true;
            return self.feed(index, Input::Resign { reason, unfit }, now);
        }
        if waiting
            .iter()
            .any(|index| self.look_again_for_device(*index, now))
        {
            return;
        }
        for index in waiting {
            if let Some(node) = self.nodes.get_mut(index) {
                node.gate = Gate::Open;
            }
            self.take_addresses(index, now);
            self.publish(index);
        }
        info!(group = %group.name, "Master of all members of the group");
    }

    /// A member has become master: its addresses wait for the others. False without a group.
    pub(in crate::engine) fn waits_for_others(&mut self, index: VhostId) -> bool {
        if self.groups.of(index).is_none() {
            return false;
        }
        self.groups.touch(index);
        if let Some(node) = self.nodes.get_mut(index) {
            node.gate = Gate::Together;
        }
        true
    }

    /// Bow-outs that waited for addresses to be gone: those of all members, once they all are.
    pub(in crate::engine) fn bow_out_at_last(&mut self, index: VhostId) {
        let members = self.together_with(index);
        let gone = |index: &VhostId| {
            let node = self.nodes.get(*index);
            node.is_none_or(|node| node.drop_again.is_none() && !node.is_master())
        };
        if members.iter().all(gone) {
            for member in members {
                self.bow_out(member);
            }
        }
    }

    /// Whether an address of this virtual host, or of one that is master together with it, could not
    /// be removed yet.
    pub(in crate::engine) fn is_still_up(&self, index: VhostId) -> bool {
        self.is_any_together(index, |node| node.drop_again.is_some())
    }

    /// Why the group of this virtual host does not take part, if not because of this one.
    pub(in crate::engine) fn group_obstacle(
        &self,
        node: &Node<E::Host>,
        now: Timestamp,
    ) -> Option<String> {
        let mut groups = self.groups.iter();
        let group = groups.find(|group| {
            let mut members = group.members.iter().filter_map(|id| self.nodes.get(*id));
            members.any(|member| member.spec.name == node.spec.name)
        })?;
        let waits = node.machine.state() == State::Init && node.machine.standing(now).fit;
        let why = flaw(&self.members_of(group, now)).filter(|_| waits)?;
        Some(format!(
            "not taking part: group {} is not whole: {why}",
            group.name
        ))
    }

    /// What an operator may want to know of the groups.
    pub(in crate::engine) fn group_status(&self, now: Timestamp) -> Vec<GroupStatus> {
        let status = |group: &Group| {
            let members = self.members_of(group, now);
            let states = members.iter().map(|member| member.standing.state);
            GroupStatus {
                name: group.name.clone(),
                members: members.iter().map(|member| member.name.clone()).collect(),
                state: states.min().unwrap_or(State::Init),
                flaw: flaw(&members),
            }
        };
        self.groups.iter().map(status).collect()
    }
}

impl<H> Node<H> {
    /// Whether no other node can know that it has become master.
    fn is_mute(&self) -> bool {
        let leased = self.lease().lifetime().is_some();
        self.replaces_unheard() || (leased && self.sending.went_out().is_none())
    }
}
