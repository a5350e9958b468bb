//! The effects that are currently held on this host, and how to undo each: in memory, and in a file
//! that is written ahead.
//!
//! A record is written *before* its effect is applied, so that the file lists at least everything
//! that was done. `write(2)` is enough for that: what a process has written survives its death. It
//! is lost only if the machine dies, and that also ends the effects recorded in `run-dir`; these
//! records contain the boot id and are void after a reboot. Effects that survive a reboot (files)
//! have a separate file in `state-dir`, and their records are synced.

mod claims;
mod disk;
mod handover;
mod instance;
mod lock;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use claims::{Change, Claims};
pub use claims::{Holding, Leftover, Of, Owner, Undo};
pub use disk::{Written, ledgers_here, probe};
pub use handover::{Estate, Heir, Ungiven};
pub use instance::{Instance, InstanceError, Origin, Post, instance_name, own_directory};
pub use lock::{Holder, Occupant};

use crate::effect::{Resource, Value};
use crate::resolve;
use crate::types::Name;

/// The ledger cannot be written. Letting go goes on; of taking, only a virtual host's own
/// addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ledger cannot be written ({}: {message}), so only a virtual host's own addresses are taken", path.display())]
pub struct LedgerError {
    /// Which file.
    pub path: PathBuf,
    /// What the system said.
    pub message: String,
    /// The system's error number, if there was one.
    pub errno: Option<i32>,
}

/// The records of an earlier process cannot be read, so it is unknown what it left behind on this
/// host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be read ({message}), so it is unknown what has to be undone", path.display())]
pub struct Unread {
    /// Which file.
    pub path: PathBuf,
    /// What the system said, or what is wrong with it.
    pub message: String,
    /// Whether it belongs to another user, and stays where it is until it can be read. Otherwise it
    /// is damaged, and was moved aside.
    pub stays: bool,
}

impl Unread {
    /// What to do about it, for a process of this user and group.
    #[must_use]
    pub fn mend(&self, own: (u32, u32)) -> String {
        if self.stays {
            Self::mend_all(&[self], own)
        } else {
            "undo by hand what it left behind".to_owned()
        }
    }

    /// What to do about all files that stay where they are.
    #[must_use]
    pub fn mend_all(unread: &[&Self], own: (u32, u32)) -> String {
        let directories = unread.iter().filter_map(|unread| unread.path.parent());
        give_command(directories, own)
    }
}

/// What gives these files and directories to a user and group: a command, where there is one. What
/// lies in a directory that we may not enter is not known to be there; so first that one is opened.
fn give_command(
    paths: impl IntoIterator<Item = impl AsRef<Path>>,
    (uid, gid): (u32, u32),
) -> String {
    let (mut given, mut entered, mut others) = (String::new(), BTreeSet::new(), BTreeSet::new());
    for path in paths {
        let path = path.as_ref();
        match first_closed(path) {
            None => given += &format!(" {}", resolve::quoted(path)),
            Some(closed) if is_shared_directory(&closed, path) => _ = entered.insert(closed),
            // It is somebody's own, or the system's.
            Some(closed) => _ = others.insert(closed),
        }
    }
    let chmod = entered
        .iter()
        .map(|closed| format!("chmod a+rx {}", resolve::quoted(closed)));
    let chown = (!given.is_empty()).then(|| format!("chown -R {uid}:{gid}{given}"));
    let commands: Vec<_> = chmod.chain(chown).collect();
    let command = (!commands.is_empty()).then(|| {
        format!(
            "`{}`, or run with the privileges of the daemon that wrote it",
            commands.join(" && ")
        )
    });
    let elsewhere = others.iter().map(|closed| {
        format!(
            "set another `run-dir` or `state-dir`: user {uid} may not enter {}",
            closed.display()
        )
    });
    command
        .into_iter()
        .chain(elsewhere)
        .collect::<Vec<_>>()
        .join("; ")
}

/// The first directory on the way to a path that we may not enter.
fn first_closed(path: &Path) -> Option<PathBuf> {
    let mut way: Vec<_> = path.ancestors().skip(1).collect();
    way.reverse();
    // What is in it can only be looked at by those who may enter it, were it but itself.
    let is_closed = |directory: &&Path| {
        let itself = std::fs::metadata(directory.join("."));
        itself.is_err_and(|err| disk::is_refusal(&err))
    };
    way.into_iter().find(is_closed).map(Path::to_owned)
}

/// Is it the directory in which carpd has those of its instances, or its locks?
fn is_shared_directory(directory: &Path, below: &Path) -> bool {
    below
        .parent()
        .is_some_and(|parent| parent == directory || parent == directory.join(instance::LOCKS))
}

/// What [`Ledger::retarget`] tells the caller to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on and do the effect.
    Perform,
    /// A virtual host that is master holds the resource. The value was noted as the one to go back
    /// to; do nothing now.
    Deferred,
}

/// Everything that is held, with who holds it.
#[derive(Debug, Default)]
pub struct Ledger {
    claims: Claims,
    files: Option<disk::Files>,
    written: u64,
    failures: u64,
}

impl Ledger {
    /// Nothing is held, and nothing will be on disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The ledger of an instance, with what a dead predecessor left in it: newest first. Where it
    /// cannot be written [`Self::health`] says why, and where it cannot be read, [`Self::unread`]:
    /// that it begins empty does not say that nothing is left.
    #[must_use]
    pub fn open(instance: &Instance) -> (Self, Vec<Leftover>) {
        let mut claims = Claims::default();
        let files = disk::Files::open(instance, &mut claims);
        let leftovers = claims.leftovers();
        (
            Self {
                claims,
                files: Some(files),
                written: 0,
                failures: 0,
            },
            leftovers,
        )
    }

    /// Notes, before the effect is done, that `owner` sets `resource` to `value` and that it was
    /// `before`.
    ///
    /// # Errors
    /// [`LedgerError`]: it could not be written, and nothing is noted. Do not do the effect.
    pub fn claim(
        &mut self,
        owner: &Owner,
        resource: &Resource,
        before: Value,
        value: Value,
    ) -> Result<Written, LedgerError> {
        let change = self.claims.claiming(owner, resource, before, value);
        let written = self.write(&change)?;
        self.claims.apply(change);
        Ok(written)
    }

    /// As [`Self::claim`] for a virtual host's own address, which is taken even if that cannot be
    /// written: a later process removes it anyway, since it is in the configuration.
    pub fn claim_own(&mut self, owner: &Owner, resource: &Resource, value: Value) {
        let change = self.claims.claiming(owner, resource, Value::Absent, value);
        self.record(change);
    }

    /// As [`Self::claim_own`] for something that goes back to what was `before`.
    pub fn claim_own_over(
        &mut self,
        owner: &Owner,
        resource: &Resource,
        before: Value,
        value: Value,
    ) {
        let change = self.claims.claiming(owner, resource, before, value);
        self.record(change);
    }

    /// An effect that is to stay, so without a claim: becomes the value to go back to if anybody
    /// holds the resource. The own claims ([`Self::owners`]) are to be undone if another owner
    /// holds it too, and settled once the effect has worked if not: until then its failure must not
    /// make us forget that the host has a value of ours.
    pub fn retarget(&mut self, vhost: &Name, resource: &Resource, value: &Value) -> Verdict {
        if !self.claims.holds(resource) {
            return Verdict::Perform;
        }
        self.record(Change::Retarget {
            resource: resource.clone(),
            value: value.clone(),
        });
        if self.claims.others_hold(vhost, resource) {
            Verdict::Deferred
        } else {
            Verdict::Perform
        }
    }

    /// The value that a resource should have once nobody holds it, if anybody does.
    #[must_use]
    pub fn goes_back_to(&self, resource: &Resource) -> Option<&Value> {
        self.claims.goes_back_to(resource)
    }

    /// The effect of [`Self::retarget`] has failed: the resource reverts to its earlier original
    /// value again.
    pub fn withdraw(&mut self, resource: &Resource, before: Value) {
        if self.claims.holds(resource) {
            self.record(Change::Retarget {
                resource: resource.clone(),
                value: before,
            });
        }
    }

    /// An undo could not give the resource a value that was to stay. True if it was tried often
    /// enough: then what was found ([`Undo::fallback`]) is better than nothing.
    pub fn wish_fails(&mut self, resource: &Resource) -> bool {
        self.claims.wish_fails(resource)
    }

    /// The effect that gives the resource its newest claim's value has worked: no other value of
    /// ours is possible.
    pub fn confirm(&mut self, resource: &Resource) {
        self.claims.confirm(resource);
    }

    /// The claim is undone, or was left alone because someone else changed the resource.
    pub fn settle(&mut self, owner: &Owner, resource: &Resource) {
        if self.claims.undo_of(owner, resource).is_some() {
            self.record(Change::Settle {
                owner: owner.clone(),
                resource: resource.clone(),
            });
        }
    }

    /// Virtual hosts are called otherwise from now on: what they hold, they go on holding. All at
    /// once, so that two may change their names.
    pub fn rename(&mut self, names: &BTreeMap<Name, Name>) {
        for change in self.claims.renaming(names) {
            self.record(change);
        }
    }

    /// Does a virtual host of this name hold anything?
    #[must_use]
    pub fn knows(&self, vhost: &Name) -> bool {
        self.claims
            .iter()
            .any(|held| held.owners.iter().any(|owner| owner.vhost == *vhost))
    }

    /// Whether this resource is held.
    #[must_use]
    pub fn holds(&self, resource: &Resource) -> bool {
        self.claims.holds(resource)
    }

    /// The value that a resource should have now, if anybody holds it.
    #[must_use]
    pub fn wanted(&self, resource: &Resource) -> Option<&Value> {
        self.claims.wanted(resource)
    }

    /// The value that a resource should have now, and the one that it goes back to; `None` if
    /// nobody holds it, or it is not certain that the effect which sets it has worked.
    #[must_use]
    pub fn settled_value(&self, resource: &Resource) -> Option<(Value, Value)> {
        self.claims.settled_value(resource)
    }

    /// The owners of a virtual host that hold this resource.
    #[must_use]
    pub fn owners(&self, vhost: &Name, resource: &Resource) -> Vec<Owner> {
        self.claims.owners(vhost, resource)
    }

    /// How to undo all that a virtual host holds, newest first. `of` chooses between what the
    /// daemon itself holds for it (its addresses) and what its hooks hold.
    #[must_use]
    pub fn undo_plan(&self, vhost: &Name, of: Of) -> Vec<Undo> {
        self.claims.undo_plan(vhost, of)
    }

    /// A point in the order of claims; see [`Self::undo_plan_before`].
    #[must_use]
    pub const fn mark(&self) -> u64 {
        self.claims.mark()
    }

    /// As [`Self::undo_plan`] of hooks, but only what was claimed before `mark` and not again
    /// since.
    #[must_use]
    pub fn undo_plan_before(&self, vhost: &Name, mark: u64) -> Vec<Undo> {
        self.claims.undo_plan_before(vhost, mark)
    }

    /// How to undo one claim as things stand now; `None` if it is not held (any more).
    #[must_use]
    pub fn undo_of(&self, owner: &Owner, resource: &Resource) -> Option<Undo> {
        self.claims.undo_of(owner, resource)
    }

    /// How to undo a dead process's claim; `None` if it is undone, or its owner has claimed the
    /// resource anew.
    #[must_use]
    pub fn undo_of_leftover(&self, leftover: &Leftover) -> Option<Undo> {
        self.claims.undo_of_leftover(leftover)
    }

    /// What a resource was before anybody here set it, if it is now as we set it: what undoing all
    /// of it will make of it.
    #[must_use]
    pub fn before(&self, resource: &Resource, now: &Value) -> Option<&Value> {
        self.iter()
            .find(|held| held.resource == resource && held.value == now)
            .map(|held| held.original)
    }

    /// The same claims, in memory alone: for asking what would follow.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            claims: self.claims.clone(),
            ..Self::default()
        }
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Everything held, for status.
    pub fn iter(&self) -> impl Iterator<Item = Holding<'_>> {
        self.claims.iter()
    }

    /// What a predecessor wrote and could not be read.
    #[must_use]
    pub fn unread(&self) -> &[Unread] {
        self.files.as_ref().map_or(&[], disk::Files::unread)
    }

    /// Why it cannot be written, if it cannot.
    #[must_use]
    pub fn health(&self) -> Option<&LedgerError> {
        self.files.as_ref().and_then(disk::Files::failed)
    }

    /// The directories in which it cannot be written, if there are any.
    #[must_use]
    pub fn failing(&self) -> Vec<PathBuf> {
        self.files
            .as_ref()
            .map(disk::Files::failing)
            .unwrap_or_default()
    }

    /// Rewrites what could not be written, if it can be now; [`Self::health`] has the result. First
    /// check that [`probe`] works in [`Self::failing`]: a disk that does not respond would block
    /// the caller.
    pub fn mend(&mut self) {
        if let Some(files) = &mut self.files {
            files.mend(&self.claims);
        }
    }

    /// The files that speak of what is not held any more and cannot be written: at the end they are
    /// to go, which also works on a disk that is full.
    #[must_use]
    pub fn void_files(&self) -> Vec<PathBuf> {
        self.files
            .as_ref()
            .map(|files| files.void(&self.claims))
            .unwrap_or_default()
    }

    /// How many records were written since it was opened.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// How many records could not be written.
    #[must_use]
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    /// A change that happens whether or not it can be written.
    fn record(&mut self, change: Change) {
        // If it cannot be written, the file is incomplete and will be rewritten.
        drop(self.write(&change));
        self.claims.apply(change);
    }

    fn write(&mut self, change: &Change) -> Result<Written, LedgerError> {
        let Some(files) = &mut self.files else {
            return Ok(Written::default());
        };
        let written = files.append(change, &self.claims);
        *if written.is_ok() {
            &mut self.written
        } else {
            &mut self.failures
        } += 1;
        written
    }
}
