//! What dead processes left: it is undone, never adopted. Addresses before the first advertisement,
//! the rest before the first hook.

use std::cell::{Cell, RefCell};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::backoff::Backoff;
use super::helper;
use super::turns::Turns;
use super::undo::{Settled, UNDO_LIMIT, Undone, undo};
use crate::effect::{Effect, Granted, Outcome, Reply, Resource, Value};
use crate::host::helper::Duty;
use crate::host::{Host, HostError};
use crate::ledger::{Instance, Ledger, Leftover};

/// The leftovers of our own predecessor, which stand in our ledger, and those of other dead
/// instances.
#[derive(Debug, Default)]
pub struct Recovery {
    own: RefCell<Vec<Leftover>>,
    dead: RefCell<Vec<Dead>>,
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
        let dead = instances.into_iter().map(|instance| {
            let (ledger, left) = Ledger::open(&instance);
            Dead {
                instance,
                ledger: RefCell::new(ledger),
                left,
            }
        });
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

    /// Is nothing left?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Does the ledger of another dead instance have this?
    pub(super) fn holds(&self, resource: &Resource) -> bool {
        self.dead
            .borrow()
            .iter()
            .any(|dead| dead.ledger.borrow().holds(resource))
    }

    /// What a helper process would have to be able to do to undo all.
    #[must_use]
    pub fn duty(&self, services_need_helper: bool) -> Option<Duty> {
        let dead = self.dead.borrow();
        let own = self.own.borrow();
        let all = own.iter().chain(dead.iter().flat_map(|dead| &dead.left));
        all.filter_map(|leftover| helper::duty_for(&leftover.resource, services_need_helper))
            .max()
    }

    /// What this node will be called when all is undone, if it is called `now` at present: a name
    /// that a hook had set is not the node's own.
    pub fn own_name(&self, ledger: &Ledger, now: String) -> String {
        let dead = self.dead.borrow();
        let others: Vec<_> = dead.iter().map(|dead| dead.ledger.borrow()).collect();
        let all: Vec<&Ledger> = std::iter::once(ledger)
            .chain(others.iter().map(|other| &**other))
            .collect();
        own_name(&all, now)
    }

    /// Takes the addresses down, at once. What fails is tried again with the rest.
    pub fn addresses<H: Host>(&self, host: &H, ledger: &RefCell<Ledger>) -> Undone {
        let mut undone = addresses(host, ledger, &mut self.own.borrow_mut());
        for dead in self.dead.borrow_mut().iter_mut() {
            undone = undone.and(addresses(host, &dead.ledger, &mut dead.left));
        }
        undone
    }

    /// Undoes the rest once.
    pub async fn once<H: Host>(&self, host: &H, ledger: &RefCell<Ledger>) -> Undone {
        self.round(host, ledger, &Turns::default()).await
    }

    /// Undoes the rest; what fails again and again, ever more seldom, until nothing is left.
    pub(super) async fn rest<H: Host>(&self, host: &H, ledger: &RefCell<Ledger>, turns: &Turns) {
        let mut backoff = Backoff::default();
        loop {
            let undone = self.round(host, ledger, turns).await;
            self.first_round.set(true);
            self.told.notify_waiters();
            if undone.failed == 0 {
                return;
            }
            let pause = backoff.pause();
            warn!(
                failed = undone.failed,
                retry_s = pause.as_secs(),
                "Will undo again what dead processes left"
            );
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits until all was tried once.
    pub(super) async fn first_round(&self) {
        while !self.first_round.get() {
            self.told.notified().await;
        }
    }

    async fn round<H: Host>(&self, host: &H, ledger: &RefCell<Ledger>, turns: &Turns) -> Undone {
        let own = self.own.take();
        let (mut undone, own) = rest(host, ledger, own, turns).await;
        self.own.replace(own);
        for mut dead in self.dead.take() {
            let (more, left) = rest(host, &dead.ledger, dead.left, turns).await;
            undone = undone.and(more);
            dead.left = left;
            if dead.left.is_empty() {
                info!(
                    instance = dead.instance.name(),
                    undone = more.changed,
                    "Nothing is left of a dead instance"
                );
                dead.instance.forget();
            } else {
                self.dead.borrow_mut().push(dead);
            }
        }
        undone
    }
}

/// What the node is called if nothing of what these ledgers hold is in effect.
pub(super) fn own_name(ledgers: &[&Ledger], now: String) -> String {
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
                    warn!(vhost = %owner.vhost, %resource, "Took down what a dead process left");
                } else {
                    info!(vhost = %owner.vhost, %resource, "A dead process's address was gone already");
                }
                ledger.borrow_mut().settle(owner, resource);
            }
            Err(error) => {
                warn!(vhost = %owner.vhost, %resource, %error, "Could not take down what a dead process left");
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
    turns: &Turns,
) -> (Undone, Vec<Leftover>) {
    let mut undone = Undone::default();
    let mut failed = Vec::new();
    for leftover in left {
        let _turn = turns.take(&leftover.resource).await;
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
