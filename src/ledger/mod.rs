//! The effects that this host holds now, and how to undo each.
//!
//! A resource has one *original* value and a list of *claims*, one for each owner, newest last. It should
//! have the value of its newest claim; when the last claim goes, it goes back to the original. So two
//! virtual hosts that set the same thing may leave in any order. An undo is done in two steps, planned
//! and then settled, so that a crash in between leaves the claim to be undone at the next start.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::effect::{Effect, Resource, Value};
use crate::types::Name;

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

/// One owner's wish for a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    owner: Owner,
    value: Value,
    /// When it was made, in order over the whole ledger.
    order: u64,
}

/// What we hold of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    original: Value,
    claims: Vec<Claim>,
}

impl Held {
    /// The value that we gave it last.
    fn ours(&self) -> &Value {
        self.claims.last().map_or(&self.original, |claim| &claim.value)
    }
}

/// How to undo one claim. Settle it with [`Ledger::settle`] when done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    /// Whose claim goes.
    pub owner: Owner,
    /// On what.
    pub resource: Resource,
    /// The value that we gave it. If it has another one now, somebody else changed it and it is left alone.
    pub ours: Value,
    /// The value it goes back to; equal to `ours` if another owner still wants that.
    pub back_to: Value,
}

impl Undo {
    /// The effect that does it; `None` if nothing has to change.
    #[must_use]
    pub fn effect(&self) -> Option<Effect> {
        match (&self.resource, &self.ours, &self.back_to) {
            (_, ours, back_to) if ours == back_to => None,
            // The kernel deletes an address only by its own prefix.
            (Resource::Address { dev, .. }, Value::Address(address), Value::Absent) => {
                Some(Effect::AddressDelete { address: *address, dev: dev.clone() })
            }
            // With all that we know of it: the network may have another route of the same destination by now.
            (Resource::Route { .. }, Value::Route(route), Value::Absent) => Some(Effect::RouteDelete(route.clone())),
            (resource, _, back_to) => resource.set_to(back_to),
        }
    }
}

/// What [`Ledger::claim`] and [`Ledger::assign`] tell the caller to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on and do the effect.
    Perform,
    /// A virtual host that is master holds the resource. The value was noted as the one to go back to; do nothing now.
    Deferred,
}

/// Everything that is held, with who holds it.
#[derive(Debug, Default)]
pub struct Ledger {
    held: BTreeMap<Resource, Held>,
    next_order: u64,
}

impl Ledger {
    /// Nothing is held.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes, before the effect is done, that `owner` sets `resource` to `value` and that it was `before`.
    pub fn claim(&mut self, owner: &Owner, resource: &Resource, before: Value, value: Value) {
        let order = self.next_order;
        self.next_order += 1;
        let held = self.held.entry(resource.clone()).or_insert_with(|| Held { original: before, claims: Vec::new() });
        held.claims.retain(|claim| claim.owner != *owner);
        held.claims.push(Claim { owner: owner.clone(), value, order });
    }

    /// An effect that is to stay, so without a claim: ends the owner's own claim, and becomes the value to go
    /// back to if another owner holds the resource.
    pub fn assign(&mut self, owner: &Owner, resource: &Resource, value: &Value) -> Verdict {
        let Some(held) = self.held.get_mut(resource) else {
            return Verdict::Perform;
        };
        held.claims.retain(|claim| claim.owner.vhost != owner.vhost);
        if held.claims.is_empty() {
            self.held.remove(resource);
            return Verdict::Perform;
        }
        held.original = value.clone();
        Verdict::Deferred
    }

    /// Does anybody hold this resource?
    #[must_use]
    pub fn holds(&self, resource: &Resource) -> bool {
        self.held.contains_key(resource)
    }

    /// How to undo all that a virtual host holds, newest first. `daemon` chooses between what the daemon itself
    /// holds for it (its addresses) and what its hooks hold.
    #[must_use]
    pub fn undo_plan(&self, vhost: &Name, of: Of) -> Vec<Undo> {
        let mut found: Vec<(u64, Undo)> = self
            .held
            .iter()
            .flat_map(|(resource, held)| held.claims.iter().map(move |claim| (resource, held, claim)))
            .filter(|(_, _, claim)| claim.owner.vhost == *vhost && of.matches(&claim.owner))
            .map(|(resource, held, claim)| (claim.order, undo(resource, held, claim)))
            .collect();
        found.sort_by_key(|(order, _)| std::cmp::Reverse(*order));
        found.into_iter().map(|(_, undo)| undo).collect()
    }

    /// A point in the order of claims; see [`Self::undo_plan_before`].
    #[must_use]
    pub const fn mark(&self) -> u64 {
        self.next_order
    }

    /// As [`Self::undo_plan`] of hooks, but only what was claimed before `mark` and not again since.
    #[must_use]
    pub fn undo_plan_before(&self, vhost: &Name, mark: u64) -> Vec<Undo> {
        let older = |undo: &Undo| {
            let claims = self.held.get(&undo.resource).map_or(&[][..], |held| &held.claims[..]);
            claims.iter().any(|claim| claim.owner == undo.owner && claim.order < mark)
        };
        self.undo_plan(vhost, Of::Hooks).into_iter().filter(older).collect()
    }

    /// How to undo one claim as things stand now; `None` if it is not held (any more).
    #[must_use]
    pub fn undo_of(&self, owner: &Owner, resource: &Resource) -> Option<Undo> {
        let held = self.held.get(resource)?;
        held.claims.iter().find(|claim| claim.owner == *owner).map(|claim| undo(resource, held, claim))
    }

    /// The claim is undone, or was left alone because somebody else changed the resource.
    pub fn settle(&mut self, owner: &Owner, resource: &Resource) {
        if let Some(held) = self.held.get_mut(resource) {
            held.claims.retain(|claim| claim.owner != *owner);
            if held.claims.is_empty() {
                self.held.remove(resource);
            }
        }
    }

    /// Is nothing held?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Everything held, with its owners, newest claim last: for status.
    pub fn iter(&self) -> impl Iterator<Item = (&Resource, &Value, Vec<&Owner>)> {
        self.held.iter().map(|(resource, held)| (resource, held.ours(), held.claims.iter().map(|c| &c.owner).collect()))
    }
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
        matches!((self, &owner.hook), (Self::Daemon, None) | (Self::Hooks, Some(_)))
    }
}

/// What taking `claim` away means: only the newest claim shows on the host.
fn undo(resource: &Resource, held: &Held, claim: &Claim) -> Undo {
    let ours = held.ours().clone();
    let newest = held.claims.last().is_some_and(|last| last.owner == claim.owner);
    let back_to =
        if newest { held.claims.iter().rev().nth(1).map_or(&held.original, |below| &below.value).clone() } else { ours.clone() };
    Undo { owner: claim.owner.clone(), resource: resource.clone(), ours, back_to }
}
