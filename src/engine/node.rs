//! One virtual host at run time: its protocol machine, its addresses, its hooks' queue.

use std::rc::Rc;
use std::time::Duration;

use super::announcer::Announcer;
use super::command::Elsewhere;
use super::degraded::Degraded;
use super::handover::Handover;
use super::health::Checks;
use super::lease::Lease;
use super::queue::Queue;
use super::refusals::{Refusals, Telling};
use super::unheld::Unheld;
use super::voice::Voice;
use super::will::Testament;
use crate::config;
use crate::hooks::{EntryPoint, HookEvent, Instance};
use crate::proto;
use crate::proto::{Cause, Transition};
use crate::types::{Demotion, State, Timestamp, VirtualAddress};

/// How long another node is preferred after `carp.resign`, at least.
const RESIGN_HOLD: Duration = Duration::from_secs(10);

/// A virtual host and all that belongs to it.
#[derive(Debug)]
pub(super) struct Node<H> {
    pub(super) spec: config::Vhost,
    pub(super) machine: proto::Vhost,
    /// Index of its interface's port.
    pub(super) port: usize,
    pub(super) queue: Rc<Queue<H>>,
    pub(super) announcer: Announcer,
    /// The addresses are up, or should be.
    pub(super) holding: bool,
    /// Addresses of its that are up and not by our doing: it takes no part.
    pub(super) foreign: Vec<VirtualAddress>,
    /// Addresses of its that are up on other interfaces.
    pub(super) elsewhere: Vec<Elsewhere>,
    /// The lease in the kernel of those it holds, and when it was renewed last.
    pub(super) leased: Option<(Duration, Timestamp)>,
    /// When the machine wants to be woken.
    pub(super) wake: Option<Timestamp>,
    /// Addresses that could not be taken down are tried again then.
    pub(super) drop_again: Option<Timestamp>,
    pub(super) degraded: Option<Degraded>,
    /// Addresses that the kernel refuses here.
    pub(super) unheld: Option<Unheld>,
    /// What hooks asked for by `carp.demote`.
    pub(super) asked: Asked,
    /// What hooks say by `health`.
    pub(super) checks: Checks,
    /// It was told to hand over: another node shall be preferred for a while.
    pub(super) resigned: Option<Resigned>,
    /// An operator's order to hand over.
    pub(super) handover: Option<Handover>,
    /// SIGUSR2: until then it takes no part.
    pub(super) aside_until: Option<Timestamp>,
    /// While the daemon stops: a hook that has not ended by then is not waited for.
    pub(super) leave_by: Option<Timestamp>,
    pub(super) last: Option<Transition>,
    /// When that was.
    pub(super) changed: Timestamp,
    /// Milliseconds since 1970 at the last transition.
    pub(super) since_ms: u64,
    /// `on_backup` was told the state at start.
    pub(super) told_initial: bool,
    /// What its addresses, or its preemption, wait for.
    pub(super) gate: Gate,
    /// `before_backup` runs before the daemon stops.
    pub(super) leaving: bool,
    pub(super) put_back: PutBack,
    pub(super) refusals: Refusals,
    /// Whether its advertisements go out.
    pub(super) voice: Voice,
    /// Packets that could not be sent.
    pub(super) unsent: Telling,
    /// What the keeper knows of it.
    pub(super) testament: Testament,
    pub(super) host_name: String,
}

/// A demotion that a hook asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Asked {
    pub(super) by: Demotion,
    /// Hook and reason.
    pub(super) reason: String,
}

/// It was told to hand over, by a hook or an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resigned {
    /// Until then another node is preferred.
    pub(super) until: Timestamp,
    /// Who asked, and why.
    pub(super) reason: String,
    /// It was master, and let go.
    pub(super) let_go: bool,
}

/// What is waited for before a preemption, or before a master's addresses go up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Gate {
    /// Nothing.
    #[default]
    Open,
    /// `before_master`: a backup wants to preempt, and asked.
    Asked,
    /// It was allowed to, and is about to: its addresses do not wait.
    Allowed,
    /// `before_master`: a master's addresses wait for its word.
    Shut,
    /// The first of a master's advertisements that goes out.
    Unheard,
}

/// How often an address that somebody removed was put back lately.
#[derive(Debug, Default)]
pub(super) struct PutBack {
    window: Timestamp,
    count: u32,
    again: Option<Timestamp>,
}

impl PutBack {
    /// Times per second that an address is put back; after that somebody is fighting us and we slow
    /// down.
    const PER_SECOND: u32 = 20;

    /// May it be put back now? If not, it is looked at again later.
    pub(super) fn may(&mut self, now: Timestamp) -> bool {
        if now.since(self.window) >= Duration::from_secs(1) {
            *self = Self {
                window: now,
                count: 0,
                again: None,
            };
        }
        self.count += 1;
        let may = self.count <= Self::PER_SECOND;
        if !may {
            self.again = Some(self.window + Duration::from_secs(1));
        }
        may
    }

    /// It is looked at again in a moment.
    pub(super) fn later(&mut self, now: Timestamp) {
        self.again = Some(now + Duration::from_secs(1));
    }

    /// Is it time for that look?
    pub(super) fn take_due(&mut self, now: Timestamp) -> bool {
        let due = self.again.is_some_and(|again| again <= now);
        if due {
            self.again = None;
        }
        due
    }
}

impl<H> Node<H> {
    /// The earliest time at which this node wants to be looked at.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        let retry = self
            .degraded
            .as_ref()
            .and_then(|degraded| degraded.retry_at);
        let unheld = self
            .unheld
            .as_ref()
            .map_or([None; 2], |unheld| [unheld.retry_at, unheld.fades_at]);
        let resigned = self.resigned.as_ref().map(|resigned| resigned.until);
        let others = [
            self.aside_until,
            self.leave_by,
            resigned,
            self.put_back.again,
            self.checks.due(),
        ];
        let handover = self.handover.as_ref().map(Handover::due);
        let own = [
            self.wake,
            self.announcer.due(),
            self.drop_again,
            retry,
            handover,
        ];
        own.into_iter().chain(others).chain(unheld).flatten().min()
    }

    /// How its addresses are put up by the present timers.
    pub(super) fn lease(&self) -> Lease {
        Lease::of(&self.machine, self.spec.lease == config::Leases::Kernel)
    }

    /// When its addresses go away by themselves unless their lease is renewed.
    pub(super) fn lease_end(&self) -> Option<Timestamp> {
        self.leased
            .filter(|_| self.holding)
            .map(|(lifetime, renewed)| renewed + lifetime)
    }

    /// How long ago its addresses went away by themselves, if they did.
    pub(super) fn expired(&self, now: Timestamp) -> Option<Duration> {
        self.lease_end()
            .filter(|end| *end <= now)
            .map(|end| now.since(end))
    }

    /// All reasons to be unfit that the engine knows of, together.
    pub(super) fn demotion(&self) -> Demotion {
        let unfit = self.degraded.as_ref().is_some_and(Degraded::is_unfit)
            || self.unheld.as_ref().is_some_and(Unheld::is_unfit);
        if unfit || self.resigned.is_some() {
            Demotion::MAX
        } else {
            self.asked.by.plus(self.checks.demotion())
        }
    }

    /// It is told to hand over: for a while another node is better.
    pub(super) fn prefer_others(&mut self, reason: String, now: Timestamp) {
        let until = now + RESIGN_HOLD.max(self.machine.master_down() * 3);
        let let_go = self.is_master()
            || self
                .resigned
                .as_ref()
                .is_some_and(|resigned| resigned.let_go);
        self.resigned = Some(Resigned {
            until,
            reason,
            let_go,
        });
    }

    /// What a hook is told at `entry`, as things stand.
    pub(super) fn event(&self, entry: EntryPoint, initial: bool) -> HookEvent {
        let now = self.machine.state();
        let fallback = Transition {
            from: now,
            to: now,
            cause: Cause::Startup,
            peer: None,
            seq: 0,
        };
        let Transition {
            from,
            to: _,
            cause,
            peer,
            seq,
        } = self.last.as_ref().unwrap_or(&fallback);
        HookEvent {
            entry,
            instance: Instance {
                name: self.spec.name.clone(),
                interface: self.spec.interface.clone(),
                vhid: self.spec.vhid,
                addresses: self.spec.addresses.clone(),
            },
            state: now,
            previous: *from,
            cause: cause.as_str().to_owned(),
            cause_text: cause.to_string(),
            peer: *peer,
            seq: *seq,
            initial,
            missed: 0,
            xparam: self.spec.xparam.clone(),
            node: self.host_name.clone(),
            time_left_ms: 0,
        }
    }

    /// Are its addresses ours to announce? Hooks that put them up do not tell when.
    pub(super) fn announces(&self) -> bool {
        self.holding || (!self.spec.manage_addresses && self.is_master())
    }

    /// Is it master, whatever else?
    pub(super) fn is_master(&self) -> bool {
        self.machine.state() == State::Master
    }

    /// Is it master, and was its `on_master` called? A run that is put in before that would
    /// overtake `before_master`, and nobody would put the addresses up any more.
    pub(super) fn serves(&self) -> bool {
        self.is_master() && self.gate == Gate::Open
    }
}
