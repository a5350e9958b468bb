//! What dead processes left behind is undone, never adopted: addresses before the first
//! advertisement, the rest before the first hook.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::resource_locks::ResourceLocks;
use super::undo::{Settled, UNDO_LIMIT, Undone, undo};
use crate::backoff::Backoff;
use crate::effect::{Effect, Granted, Outcome, Reply, Resource, Value};
use crate::host::children::helper::Duty;
use crate::host::clock;
use crate::host::kernel::oom::killed_for_memory;
use crate::host::{Host, HostError};
use crate::keeper::Predecessor;
use crate::ledger::{Holder, Instance, Ledger, Leftover, Unread};
use crate::types::Timestamp;

/// The leftovers of our own predecessor, which are in our ledger, and those of other dead
/// instances.
#[derive(Debug, Default)]
pub struct Recovery {
    own: RefCell<Vec<Leftover>>,
    dead: RefCell<Vec<Dead>>,
    /// What is being undone.
    undoing: RefCell<BTreeSet<Resource>>,
    first_round: Cell<bool>,
    told: Notify,
}

/// Another instance that died.
#[derive(Debug)]
struct Dead {
    instance: Instance,
    ledger: RefCell<Ledger>,
    left: Vec<Leftover>,
}

impl Dead {
    fn open(instance: Instance) -> Self {
        let (ledger, left) = Ledger::open(&instance);
        for unread in ledger.unread() {
            error!(instance = instance.name(), %unread, mend = unread.mend(own_ids()), "Cannot undo what a dead instance left behind");
        }
        Self {
            instance,
            ledger: RefCell::new(ledger),
            left,
        }
    }

    /// Everything known of it is undone: its files are removed, unless they contain something that
    /// we cannot read.
    fn end(self, undone: Undone) {
        if self.ledger.borrow().unread().is_empty() {
            info!(
                instance = self.instance.name(),
                undone = undone.changed,
                "Nothing is left of a dead instance"
            );
            self.instance.forget();
        }
    }
}

/// The user and the group that we are.
pub(in crate::engine) fn own_ids() -> (u32, u32) {
    (
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    )
}

impl Recovery {
    /// Of our own predecessor: what [`Ledger::open`] found.
    #[must_use]
    pub fn new(own: Vec<Leftover>) -> Self {
        Self {
            own: RefCell::new(own),
            ..Self::default()
        }
    }

    /// Also of these dead instances.
    #[must_use]
    pub fn with_dead(self, instances: Vec<Instance>) -> Self {
        let dead = instances.into_iter().map(Dead::open);
        self.dead.replace(dead.collect());
        self
    }

    /// How much is left to undo.
    #[must_use]
    pub fn len(&self) -> usize {
        self.own.borrow().len()
            + self
                .dead
                .borrow()
                .iter()
                .map(|dead| dead.left.len())
                .sum::<usize>()
    }

    /// What could not be read of the records of other dead instances.
    #[must_use]
    pub fn unread(&self) -> Vec<Unread> {
        let dead = self.dead.borrow();
        let ledgers = dead.iter().map(|dead| dead.ledger.borrow());
        ledgers
            .flat_map(|ledger| ledger.unread().to_vec())
            .collect()
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is still to be undone.
    pub(in crate::engine) fn is_undoing(&self, resource: &Resource) -> bool {
        self.undoing.borrow().contains(resource) || self.resources().any(|left| left == *resource)
    }

    fn resources(&self) -> impl Iterator<Item = Resource> {
        let (own, dead) = (self.own.borrow(), self.dead.borrow());
        let all = own.iter().chain(dead.iter().flat_map(|dead| &dead.left));
        let all: Vec<Resource> = all.map(|left| left.resource.clone()).collect();
        all.into_iter()
    }

    /// Whether the ledger of another dead instance lists this.
    pub(in crate::engine) fn holds(&self, resource: &Resource) -> bool {
        self.dead
            .borrow()
            .iter()
            .any(|dead| dead.ledger.borrow().holds(resource))
    }

    /// What a helper process must be able to do to undo everything.
    #[must_use]
    pub fn duty(&self, services_need_helper: bool) -> Option<Duty> {
        let dead = self.dead.borrow();
        let own = self.own.borrow();
        let all = own.iter().chain(dead.iter().flat_map(|dead| &dead.left));
        all.filter_map(|leftover| Duty::to_put_back(&leftover.resource, services_need_helper))
            .max()
    }

    /// The name of this node when everything is undone, given its current name: a name set by a
    /// hook is not the node's own.
    pub fn own_name(&self, ledger: &Ledger, now: String) -> String {
        let dead = self.dead.borrow();
        let others: Vec<_> = dead.iter().map(|dead| dead.ledger.borrow()).collect();
        let all: Vec<&Ledger> = std::iter::once(ledger)
            .chain(others.iter().map(|other| &**other))
            .collect();
        own_name(&all, now)
    }

    /// Removes the addresses at once. What fails is retried with the rest.
    pub fn addresses<H: Host>(&self, host: &H, ledger: &RefCell<Ledger>) -> Undone {
        let mut undone = addresses(host, ledger, &mut self.own.borrow_mut());
        for dead in self.dead.borrow_mut().iter_mut() {
            undone = undone.and(addresses(host, &dead.ledger, &mut dead.left));
        }
        undone
    }

    /// Undoes the rest once.
    pub async fn once<H: Host>(&self, host: &H, ledger: &RefCell<Ledger>) -> Undone {
        self.round(host, ledger, &ResourceLocks::default()).await
    }

    /// Undoes the rest; what fails is retried, at growing intervals, until nothing is left.
    pub(in crate::engine) async fn rest<H: Host>(
        &self,
        host: &H,
        ledger: &RefCell<Ledger>,
        resource_locks: &ResourceLocks,
    ) {
        let mut backoff = Backoff::default();
        loop {
            let undone = self.round(host, ledger, resource_locks).await;
            self.first_round.set(true);
            self.told.notify_waiters();
            if undone.failed == 0 {
                return;
            }
            let pause = backoff.pause();
            warn!(
                failed = undone.failed,
                retry_s = pause.as_secs(),
                "Will retry undoing what dead processes left behind"
            );
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits until all was tried once.
    pub(in crate::engine) async fn first_round(&self) {
        while !self.first_round.get() {
            self.told.notified().await;
        }
    }

    async fn round<H: Host>(
        &self,
        host: &H,
        ledger: &RefCell<Ledger>,
        resource_locks: &ResourceLocks,
    ) -> Undone {
        self.undoing.replace(self.resources().collect());
        let own = self.own.take();
        let (mut undone, own) = rest(host, ledger, own, resource_locks).await;
        self.own.replace(own);
        for mut dead in self.dead.take() {
            let (more, left) = rest(host, &dead.ledger, dead.left, resource_locks).await;
            undone = undone.and(more);
            dead.left = left;
            if dead.left.is_empty() {
                dead.end(more);
            } else {
                self.dead.borrow_mut().push(dead);
            }
        }
        self.undoing.take();
        undone
    }
}

/// The node's name without the effects listed in these ledgers.
pub(in crate::engine) fn own_name(ledgers: &[&Ledger], now: String) -> String {
    let before = |name: &str| {
        let value = Value::Text(name.to_owned());
        ledgers
            .iter()
            .find_map(|ledger| match ledger.before(&Resource::Hostname, &value) {
                Some(Value::Text(before)) if before != name => Some(before.clone()),
                _ => None,
            })
    };
    // Each of them may have found the name of another.
    let mut name = now;
    for _ in ledgers {
        let Some(earlier) = before(&name) else { break };
        name = earlier;
    }
    name
}

fn addresses<H: Host>(host: &H, ledger: &RefCell<Ledger>, left: &mut Vec<Leftover>) -> Undone {
    let mut undone = Undone::default();
    left.retain(|leftover| {
        if !matches!(leftover.resource, Resource::Address { .. }) {
            return true;
        }
        let Some(undo) = ledger.borrow().undo_of_leftover(leftover) else { return false };
        let Leftover { owner, resource, .. } = leftover;
        let done = undo.effect().map_or(Ok(Settled::LeftAlone), |effect| take_down(host, effect));
        undone.count(&done);
        match &done {
            Ok(settled) => {
                if *settled == Settled::PutBack {
                    warn!(vhost = %owner.vhost, %resource, "Removed what a dead process left behind");
                } else {
                    info!(vhost = %owner.vhost, %resource, "The address of a dead process was already gone");
                }
                ledger.borrow_mut().settle(owner, resource);
            }
            Err(error) => {
                warn!(vhost = %owner.vhost, %resource, %error, "Could not remove what a dead process left behind");
            }
        }
        done.is_err()
    });
    undone
}

fn take_down<H: Host>(host: &H, effect: Effect) -> Result<Settled, HostError> {
    let reply = host.perform_now(&Granted::by_daemon(effect))?;
    Ok(if reply == Reply::Outcome(Outcome::Unchanged) {
        Settled::WasBack
    } else {
        Settled::PutBack
    })
}

/// Undoes what is left, newest first, and gives back what could not be undone.
async fn rest<H: Host>(
    host: &H,
    ledger: &RefCell<Ledger>,
    left: Vec<Leftover>,
    resource_locks: &ResourceLocks,
) -> (Undone, Vec<Leftover>) {
    let mut undone = Undone::default();
    let mut failed = Vec::new();
    for leftover in left {
        let _turn = resource_locks.lock(&leftover.resource).await;
        let Some(planned) = ledger.borrow().undo_of_leftover(&leftover) else {
            continue;
        };
        let done = undo(host, ledger, &planned, UNDO_LIMIT).await;
        undone.count(&done);
        if done.is_err() {
            failed.push(leftover);
        }
    }
    (undone, failed)
}

/// How the whole previous daemon ended, if that was because memory ran out: its keeper, which would
/// have reported it, was killed as well. In other cases nothing is checked.
pub(in crate::engine) fn killed_before(instance_dir: &Path) -> Option<Predecessor> {
    let holder = Holder::of(instance_dir)?;
    let began = Holder::since(instance_dir)?.duration_since(SystemTime::UNIX_EPOCH);
    let age = Duration::from_millis(clock::wall_ms()).saturating_sub(began.ok()?);
    let pids: Vec<u32> = holder.parent.into_iter().chain([holder.pid]).collect();
    let ago = killed_for_memory(&pids, age)?;
    let nanos = u64::try_from(ago.as_nanos()).ok()?;
    Some(Predecessor {
        at: Timestamp::from_nanos(clock::now().as_nanos().saturating_sub(nanos)),
        how: "the kernel killed the daemon because memory ran out".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::SimHost;
    use crate::ledger::Origin;

    #[test]
    fn a_ledger_that_says_nothing_to_us_is_no_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let (run, lib) = (directory.path().join("run"), directory.path().join("lib"));
        let origin = Origin { boot: 1, netns: 2 };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        for text in ["", "of another version"] {
            let dead = Instance::open(&run, &lib, "dead", origin, []).unwrap();
            let there = dead.run_dir().to_owned();
            fs::write(there.join("ledger"), text).unwrap();
            let recovery = Recovery::default().with_dead(vec![dead]);
            assert_eq!(recovery.unread().len(), 1, "{text:?}");
            let ledger = RefCell::new(Ledger::new());
            runtime.block_on(recovery.once(&SimHost::new(), &ledger));
            assert!(there.join("ledger.unreadable").exists(), "{text:?}");
        }
        let dead = Instance::open(&run, &lib, "dead", origin, []).unwrap();
        drop(Ledger::open(&dead));
        assert!(dead.run_dir().join("ledger").exists());
        let there = dead.run_dir().to_owned();
        let recovery = Recovery::default().with_dead(vec![dead]);
        let ledger = RefCell::new(Ledger::new());
        runtime.block_on(recovery.once(&SimHost::new(), &ledger));
        assert!(
            !there.join("ledger").exists(),
            "of this one nothing is left"
        );
    }
}
