//! Who holds which resource, and what it reverts to: the pure core of the ledger.
//!
//! A resource has one *original* value and a list of *claims*, one for each owner, newest last. It
//! should have the value of its newest claim; when the last claim is removed, it reverts to the
//! original value. So two virtual hosts that set the same resource may leave in any order. Undoing
//! has two steps, planning and settling, so that after a crash in between the claim is undone at
//! the next start.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::effect::{Effect, Resource, Value};
use crate::types::Name;

/// How many values of a resource are remembered as possibly ours, in addition to the claimed ones.
/// There is more than one only if effects fail or the daemon dies in between.
const SET_MAX: usize = 8;

/// How often an undo tries to give a resource the value that was to stay, before it goes back to
/// what was found.
const WISH_TRIES: u32 = 3;

/// Who asked for an effect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The virtual host.
    pub vhost: Name,
    /// Its hook; `None` for the daemon itself.
    pub hook: Option<Name>,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hook {
            Some(hook) => write!(f, "{} (hook {hook})", self.vhost),
            None => write!(f, "{}", self.vhost),
        }
    }
}

/// One change of what is held. The ledger's file is a sequence of these; applying them again gives
/// the same claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Change {
    /// `owner` is about to set `resource`, which was `before`, to `value`.
    Claim {
        order: u64,
        owner: Owner,
        resource: Resource,
        before: Value,
        value: Value,
    },
    /// The resource is to go back to another value; to the one that was found if that is the value.
    Retarget { resource: Resource, value: Value },
    /// The resource may have this value, and it would not be somebody else's.
    Possible { resource: Resource, value: Value },
    /// The claim is undone.
    Settle { owner: Owner, resource: Resource },
    /// Owners of the resource are called otherwise, all at once: from, to.
    Rename {
        resource: Resource,
        owners: Vec<(Owner, Owner)>,
    },
}

impl Change {
    /// What it is about.
    pub(super) const fn resource(&self) -> &Resource {
        match self {
            Self::Claim { resource, .. }
            | Self::Retarget { resource, .. }
            | Self::Possible { resource, .. }
            | Self::Settle { resource, .. }
            | Self::Rename { resource, .. } => resource,
        }
    }
}

/// One owner's wish for a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    owner: Owner,
    value: Value,
    /// When it was made, in order over the whole ledger.
    order: u64,
}

/// What we hold of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    /// As it was found.
    original: Value,
    /// What it is to revert to instead, if a hook asked for a value to stay.
    wish: Option<Value>,
    /// How often the wish could not be had.
    wish_failures: u32,
    claims: Vec<Claim>,
    /// The values that the host may have as far as we know, newest last. One, once an effect is
    /// known to have worked: one that failed may have left any of them, or what was before.
    set: Vec<Value>,
}

impl Held {
    /// The value that it should have now.
    fn wanted(&self) -> &Value {
        self.claims
            .last()
            .map_or_else(|| self.goes_back_to(), |claim| &claim.value)
    }

    /// The value that it should have once nobody claims it.
    fn goes_back_to(&self) -> &Value {
        self.wish.as_ref().unwrap_or(&self.original)
    }

    fn may_be(&mut self, value: Value) {
        self.set.retain(|known| *known != value);
        // Most resources never have more than these; a vector by itself makes room for four.
        self.set.reserve_exact(1);
        self.set.push(value);
        if self.set.len() > SET_MAX {
            self.set.remove(0);
        }
    }
}

/// How to undo one claim. Settle it with [`super::Ledger::settle`] when done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    /// Whose claim goes.
    pub owner: Owner,
    /// On what.
    pub resource: Resource,
    /// The value that the owner wanted.
    pub value: Value,
    /// The values that it may have as far as we know, newest last. If it has another one now,
    /// someone else changed it and it is left alone.
    pub ours: Vec<Value>,
    /// The value that it should have afterwards; `None` if a newer claim stands above this one, so
    /// that nothing changes.
    pub back_to: Option<Value>,
    /// The value that was found, if it is to go back to another one: for when that cannot be had.
    pub found: Option<Value>,
}

impl Undo {
    /// The effect that does it; `None` if nothing has to change.
    #[must_use]
    pub fn effect(&self) -> Option<Effect> {
        self.going_to(self.back_to.as_ref()?)
    }

    /// The effect that brings back what was found, for when [`Self::effect`] fails; `None` if it
    /// would be the same.
    #[must_use]
    pub fn fallback(&self) -> Option<Effect> {
        self.going_to(self.found.as_ref()?)
    }

    fn going_to(&self, back_to: &Value) -> Option<Effect> {
        match (&self.resource, &self.value, back_to) {
            // The kernel deletes an address only by its own prefix.
            (Resource::Address { dev, .. }, Value::Address(address), Value::Absent) => {
                Some(Effect::AddressDelete {
                    address: *address,
                    dev: dev.clone(),
                })
            }
            // With all that we know of it: the network may have another route of the same
            // destination by now.
            (Resource::Route { .. }, Value::Route(route), Value::Absent) => {
                Some(Effect::RouteDelete(route.clone()))
            }
            (resource, _, back_to) => resource.set_to(back_to),
        }
    }

    /// Whether the resource's current value is one of ours, rather than someone else's.
    #[must_use]
    pub fn is_ours(&self, there: &Value) -> bool {
        self.ours.iter().any(|ours| ours.looks_like(there))
    }
}

/// What is held of one resource, for status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding<'a> {
    /// What.
    pub resource: &'a Resource,
    /// The value that it should have now.
    pub value: &'a Value,
    /// The value that it goes back to.
    pub original: &'a Value,
    /// Whose claims there are, newest last.
    pub owners: Vec<&'a Owner>,
}

/// A claim of a dead process, to be undone, unless the resource is claimed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Whose it was.
    pub owner: Owner,
    /// What it holds.
    pub resource: Resource,
    order: u64,
}

/// Whose claims of a virtual host are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The daemon's own: the virtual host's addresses.
    Daemon,
    /// Its hooks'.
    Hooks,
}

impl Of {
    const fn matches(self, owner: &Owner) -> bool {
        matches!(
            (self, &owner.hook),
            (Self::Daemon, None) | (Self::Hooks, Some(_))
        )
    }
}

/// Everything that is held, with who holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Claims {
    held: BTreeMap<Resource, Held>,
    next_order: u64,
}

impl Claims {
    /// The change that makes a claim.
    pub(super) fn claiming(
        &self,
        owner: &Owner,
        resource: &Resource,
        before: Value,
        value: Value,
    ) -> Change {
        Change::Claim {
            order: self.next_order,
            owner: owner.clone(),
            resource: resource.clone(),
            before,
            value,
        }
    }

    /// The changes that give virtual hosts other names, all at once.
    pub(super) fn renaming(&self, names: &BTreeMap<Name, Name>) -> Vec<Change> {
        let renamed = |claim: &Claim| {
            let vhost = names.get(&claim.owner.vhost)?.clone();
            Some((
                claim.owner.clone(),
                Owner {
                    vhost,
                    hook: claim.owner.hook.clone(),
                },
            ))
        };
        let of = |(resource, held): (&Resource, &Held)| {
            let owners: Vec<_> = held.claims.iter().filter_map(renamed).collect();
            (!owners.is_empty()).then(|| Change::Rename {
                resource: resource.clone(),
                owners,
            })
        };
        self.held.iter().filter_map(of).collect()
    }

    /// Makes a change.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Claim {
                order,
                owner,
                resource,
                before,
                value,
            } => {
                self.next_order = self.next_order.max(order.saturating_add(1));
                let held = self.held.entry(resource);
                let held = held.or_insert_with(|| Held {
                    original: before.clone(),
                    wish: None,
                    wish_failures: 0,
                    claims: Vec::new(),
                    set: vec![before],
                });
                held.claims.retain(|claim| claim.owner != owner);
                held.may_be(value.clone());
                held.claims.reserve_exact(1);
                held.claims.push(Claim {
                    owner,
                    value,
                    order,
                });
            }
            Change::Retarget { resource, value } => {
                if let Some(held) = self.held.get_mut(&resource) {
                    held.wish_failures = 0;
                    held.wish = Some(value).filter(|value| *value != held.original);
                }
            }
            Change::Possible { resource, value } => {
                if let Some(held) = self
                    .held
                    .get_mut(&resource)
                    .filter(|held| held.set.len() < SET_MAX)
                {
                    held.set.insert(0, value);
                }
            }
            Change::Settle { owner, resource } => self.settle(&owner, &resource),
            Change::Rename { resource, owners } => {
                let claims = self
                    .held
                    .get_mut(&resource)
                    .map_or(&mut [][..], |held| &mut held.claims);
                for claim in claims {
                    if let Some((_, to)) = owners.iter().find(|(from, _)| *from == claim.owner) {
                        claim.owner = to.clone();
                    }
                }
            }
        }
    }

    fn settle(&mut self, owner: &Owner, resource: &Resource) {
        let Some(held) = self.held.get_mut(resource) else {
            return;
        };
        held.claims.retain(|claim| claim.owner != *owner);
        if held.claims.is_empty() {
            self.held.remove(resource);
        } else {
            // The value of the claim below may have been restored, in which case it is ours.
            let wanted = held.wanted().clone();
            held.may_be(wanted);
        }
    }

    /// The effect that gives the resource its wanted value has worked.
    pub(super) fn confirm(&mut self, resource: &Resource) {
        if let Some(held) = self.held.get_mut(resource) {
            held.set = vec![held.wanted().clone()];
        }
    }

    /// The shortest row of changes that leads to these claims.
    pub(super) fn snapshot(&self) -> Vec<Change> {
        let mut claims: Vec<(u64, Change)> = Vec::new();
        let (mut wishes, mut possible) = (Vec::new(), Vec::new());
        for (resource, held) in &self.held {
            for Claim {
                owner,
                value,
                order,
            } in &held.claims
            {
                let change = Change::Claim {
                    order: *order,
                    owner: owner.clone(),
                    resource: resource.clone(),
                    before: held.original.clone(),
                    value: value.clone(),
                };
                claims.push((*order, change));
            }
            wishes.extend(held.wish.iter().map(|wish| Change::Retarget {
                resource: resource.clone(),
                value: wish.clone(),
            }));
            let others = held
                .set
                .iter()
                .rev()
                .filter(|value| held.claims.iter().all(|claim| claim.value != **value));
            possible.extend(others.map(|value| Change::Possible {
                resource: resource.clone(),
                value: value.clone(),
            }));
        }
        claims.sort_by_key(|(order, _)| *order);
        claims
            .into_iter()
            .map(|(_, change)| change)
            .chain(wishes)
            .chain(possible)
            .collect()
    }

    pub(super) fn holds(&self, resource: &Resource) -> bool {
        self.held.contains_key(resource)
    }

    /// The value that a resource should have now.
    pub(super) fn wanted(&self, resource: &Resource) -> Option<&Value> {
        self.held.get(resource).map(Held::wanted)
    }

    /// The value that a resource should have once it is no longer held.
    pub(super) fn goes_back_to(&self, resource: &Resource) -> Option<&Value> {
        self.held.get(resource).map(Held::goes_back_to)
    }

    /// The value that it should have and the one that it reverts to, if it is known to have it.
    pub(super) fn settled_value(&self, resource: &Resource) -> Option<(Value, Value)> {
        let held = self
            .held
            .get(resource)
            .filter(|held| held.set == [held.wanted().clone()])?;
        Some((held.wanted().clone(), held.original.clone()))
    }

    /// The resource could not be set to the value that was to stay; true if it was tried often
    /// enough.
    pub(super) fn wish_fails(&mut self, resource: &Resource) -> bool {
        let Some(held) = self.held.get_mut(resource) else {
            return false;
        };
        held.wish_failures = held.wish_failures.saturating_add(1);
        held.wish_failures >= WISH_TRIES
    }

    /// The owners of a virtual host that hold this.
    pub(super) fn owners(&self, vhost: &Name, resource: &Resource) -> Vec<Owner> {
        let claims = self.held.get(resource).map_or(&[][..], |held| &held.claims);
        claims
            .iter()
            .map(|claim| &claim.owner)
            .filter(|owner| owner.vhost == *vhost)
            .cloned()
            .collect()
    }

    /// Whether another virtual host holds it.
    pub(super) fn others_hold(&self, vhost: &Name, resource: &Resource) -> bool {
        self.held
            .get(resource)
            .is_some_and(|held| held.claims.iter().any(|claim| claim.owner.vhost != *vhost))
    }

    /// Newest first.
    pub(super) fn undo_plan(&self, vhost: &Name, of: Of) -> Vec<Undo> {
        let mut found: Vec<(u64, Undo)> = self
            .every()
            .filter(|(_, _, claim)| claim.owner.vhost == *vhost && of.matches(&claim.owner))
            .map(|(resource, held, claim)| (claim.order, undo(resource, held, claim)))
            .collect();
        found.sort_by_key(|(order, _)| std::cmp::Reverse(*order));
        found.into_iter().map(|(_, undo)| undo).collect()
    }

    /// The order of the next claim.
    pub(super) const fn mark(&self) -> u64 {
        self.next_order
    }

    /// As [`Self::undo_plan`] of hooks, but only claims from before the mark.
    pub(super) fn undo_plan_before(&self, vhost: &Name, mark: u64) -> Vec<Undo> {
        let older = |undo: &Undo| {
            self.held.get(&undo.resource).is_some_and(|held| {
                held.claims
                    .iter()
                    .any(|c| c.owner == undo.owner && c.order < mark)
            })
        };
        self.undo_plan(vhost, Of::Hooks)
            .into_iter()
            .filter(older)
            .collect()
    }

    pub(super) fn undo_of(&self, owner: &Owner, resource: &Resource) -> Option<Undo> {
        let held = self.held.get(resource)?;
        held.claims
            .iter()
            .find(|claim| claim.owner == *owner)
            .map(|claim| undo(resource, held, claim))
    }

    /// As [`Self::undo_of`], if it still is that claim.
    pub(super) fn undo_of_leftover(&self, leftover: &Leftover) -> Option<Undo> {
        let held = self.held.get(&leftover.resource)?;
        held.claims
            .iter()
            .find(|claim| claim.order == leftover.order)
            .map(|claim| undo(&leftover.resource, held, claim))
    }

    /// All claims, newest first.
    pub(super) fn leftovers(&self) -> Vec<Leftover> {
        let mut found: Vec<Leftover> = self
            .every()
            .map(|(resource, _, claim)| Leftover {
                owner: claim.owner.clone(),
                resource: resource.clone(),
                order: claim.order,
            })
            .collect();
        found.sort_by_key(|leftover| std::cmp::Reverse(leftover.order));
        found
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Holding<'_>> {
        self.held.iter().map(|(resource, held)| Holding {
            resource,
            value: held.wanted(),
            original: held.goes_back_to(),
            owners: held.claims.iter().map(|claim| &claim.owner).collect(),
        })
    }

    fn every(&self) -> impl Iterator<Item = (&Resource, &Held, &Claim)> {
        self.held.iter().flat_map(|(resource, held)| {
            held.claims.iter().map(move |claim| (resource, held, claim))
        })
    }
}

/// What taking `claim` away means: only the newest claim shows on the host.
fn undo(resource: &Resource, held: &Held, claim: &Claim) -> Undo {
    let mut below = held.claims.iter().rev();
    let newest = below.next().is_some_and(|last| last.owner == claim.owner);
    let (back_to, found) = match below.next() {
        _ if !newest => (None, None),
        Some(below) => (Some(below.value.clone()), None),
        None => (
            Some(held.goes_back_to().clone()),
            held.wish.as_ref().map(|_| held.original.clone()),
        ),
    };
    Undo {
        owner: claim.owner.clone(),
        resource: resource.clone(),
        value: claim.value.clone(),
        ours: held.set.clone(),
        back_to,
        found,
    }
}
