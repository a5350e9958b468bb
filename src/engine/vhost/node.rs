//! A virtual host at run time: its protocol state machine, its addresses, its hooks' queue.

use std::rc::Rc;
use std::time::Duration;

use super::advertisers::Advertisers;
use super::announcer::Announcer;
use super::id::InterfaceId;
use super::reject_log::{LogPace, RejectLog};
use crate::config;
use crate::engine::report::{Elsewhere, SplitStatus};
use crate::engine::runs::queue::Queue;
use crate::engine::vhost::conflicts::Conflicts;
use crate::engine::vhost::degraded::Degraded;
use crate::engine::vhost::handover::Handover;
use crate::engine::vhost::health::Checks;
use crate::engine::vhost::lateness::Arrivals;
use crate::engine::vhost::lease::Lease;
use crate::engine::vhost::maintenance::{Relief, Upkeep};
use crate::engine::vhost::peers::Peers;
use crate::engine::vhost::published::Published;
use crate::engine::vhost::refused_addresses::RefusedAddresses;
use crate::engine::vhost::sending::Sending;
use crate::engine::vhost::strip::StripRecord;
use crate::engine::vhost::tracks::Burden;
use crate::hooks::{EntryPoint, HookEvent, Instance};
use crate::host::Lifetimes;
use crate::proto;
use crate::proto::{Cause, Reject, Transition};
use crate::types::{Demotion, State, Timestamp, VirtualAddress};

/// How long another node is preferred after `carp.resign`, at least.
const RESIGN_HOLD: Duration = Duration::from_secs(10);

/// A virtual host and all that belongs to it.
#[derive(Debug)]
pub(in crate::engine) struct Node<H> {
    pub(in crate::engine) spec: config::Vhost,
    pub(in crate::engine) machine: proto::Vhost,
    pub(in crate::engine) interface: InterfaceId,
    pub(in crate::engine) queue: Rc<Queue<H>>,
    pub(in crate::engine) announcer: Announcer,
    /// The addresses are up, or should be.
    pub(in crate::engine) holding: bool,
    /// The number of the macvlan that has its addresses.
    pub(in crate::engine) macvlan: Option<u32>,
    /// Until when a macvlan of its is waited for that is being removed.
    pub(in crate::engine) device_again: Option<Timestamp>,
    /// Its addresses that are up but were not set by us: it does not take part.
    pub(in crate::engine) foreign: Vec<VirtualAddress>,
    /// Addresses of its that are up on other interfaces.
    pub(in crate::engine) elsewhere: Vec<Elsewhere>,
    /// The lease in the kernel of those it holds, and when it was renewed last.
    pub(in crate::engine) leased: Option<(Duration, Timestamp)>,
    /// When the machine wants to be woken.
    pub(in crate::engine) wake: Option<Timestamp>,
    /// When removing addresses is retried.
    pub(in crate::engine) drop_again: Option<Timestamp>,
    pub(in crate::engine) degraded: Option<Degraded>,
    /// Addresses that the kernel refuses here.
    pub(in crate::engine) refused_addresses: Option<RefusedAddresses>,
    /// What hooks asked for by `carp.demote`.
    pub(in crate::engine) asked: Asked,
    /// What hooks say by `health`.
    pub(in crate::engine) checks: Checks,
    /// What tracks cost it that are not up.
    pub(in crate::engine) burdens: Vec<Burden>,
    /// It was told to hand over: other nodes are preferred for a while.
    pub(in crate::engine) resigned: Option<Resigned>,
    /// An operator's orders that last.
    pub(in crate::engine) upkeep: Upkeep,
    /// Looking for another master while it is one in maintenance.
    pub(in crate::engine) relief: Relief,
    /// An operator's order to hand over.
    pub(in crate::engine) handover: Option<Handover>,
    /// SIGUSR2: until then it takes no part.
    pub(in crate::engine) aside_until: Option<Timestamp>,
    /// While the daemon stops: how long to wait for a hook.
    pub(in crate::engine) leave_by: Option<Timestamp>,
    pub(in crate::engine) last: Option<Transition>,
    /// When that was.
    pub(in crate::engine) changed: Timestamp,
    /// Milliseconds since 1970 at the last transition.
    pub(in crate::engine) since_ms: u64,
    /// `on_backup` was told the state at start.
    pub(in crate::engine) told_initial: bool,
    /// What its addresses, or its preemption, wait for.
    pub(in crate::engine) gate: Gate,
    /// `before_backup` runs before the daemon stops.
    pub(in crate::engine) leaving: bool,
    pub(in crate::engine) put_back: PutBack,
    pub(in crate::engine) refusals: RejectLog,
    /// Why the packet that is being judged was refused.
    pub(in crate::engine) refusal: Option<Reject>,
    /// Who advertises with its vhid.
    pub(in crate::engine) advertisers: Advertisers,
    /// It was said that another node is master as well.
    pub(in crate::engine) told_split: bool,
    /// Who else has its addresses.
    pub(in crate::engine) conflicts: Conflicts,
    /// What became of what was sent to its unicast peers, and when each was heard.
    pub(in crate::engine) peers: Peers,
    /// The advertisements that promise the next.
    pub(in crate::engine) arrivals: Arrivals,
    /// What became of the advertisements of the last intervals.
    pub(in crate::engine) strip: StripRecord,
    /// Whether its advertisements go out.
    pub(in crate::engine) sending: Sending,
    /// Packets that could not be sent.
    pub(in crate::engine) unsent: LogPace,
    /// What the keeper knows of it.
    pub(in crate::engine) published: Published,
    pub(in crate::engine) host_name: String,
}

/// A demotion that a hook asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::engine) struct Asked {
    pub(in crate::engine) by: Demotion,
    /// Hook and reason.
    pub(in crate::engine) reason: String,
}

/// It was told to hand over, by a hook or an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Resigned {
    /// Until then another node is preferred.
    pub(in crate::engine) until: Timestamp,
    /// Who asked, and why.
    pub(in crate::engine) reason: String,
    /// It was master, and let go.
    pub(in crate::engine) let_go: bool,
}

/// What is waited for before a preemption, or before a master's addresses go up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::engine) enum Gate {
    /// Nothing.
    #[default]
    Open,
    /// `before_master`: a backup wants to preempt, and asked.
    Asked,
    /// The preemption was allowed and is about to happen: the addresses do not wait.
    Allowed,
    /// `before_master`: a master's addresses wait for its word.
    Shut,
    /// The first of a master's advertisements that goes out.
    Unheard,
    /// The other members of its group.
    Together,
    /// That its macvlan of before is removed.
    Device,
}

/// How often a removed address was recently restored.
#[derive(Debug, Default)]
pub(in crate::engine) struct PutBack {
    window: Timestamp,
    count: u32,
    again: Option<Timestamp>,
}

impl PutBack {
    /// How often per second an address is restored; beyond that some program is fighting us, and we
    /// slow down.
    const PER_SECOND: u32 = 20;

    /// Whether it may be restored now. If not, it is checked again later.
    pub(in crate::engine) fn may(&mut self, now: Timestamp) -> bool {
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
    pub(in crate::engine) fn later(&mut self, now: Timestamp) {
        self.again = Some(now + Duration::from_secs(1));
    }

    /// When that look is due.
    pub(in crate::engine) const fn due(&self) -> Option<Timestamp> {
        self.again
    }

    /// It is being done.
    pub(in crate::engine) const fn done(&mut self) {
        self.again = None;
    }
}

impl<H> Node<H> {
    /// How its addresses are put up by the present timers.
    pub(in crate::engine) fn lease(&self) -> Lease {
        Lease::of(&self.machine, self.spec.lease == config::Leases::Kernel)
    }

    /// For how long its addresses stay from an advertisement on, and whether they are sources.
    pub(in crate::engine) fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            valid: self.lease().lifetime(),
            preferred: self.spec.preferred_lifetime,
        }
    }

    /// When its addresses go away by themselves unless their lease is renewed.
    pub(in crate::engine) fn lease_end(&self) -> Option<Timestamp> {
        self.leased
            .filter(|_| self.holding)
            .map(|(lifetime, renewed)| renewed + lifetime)
    }

    /// How long ago its addresses went away by themselves, if they did.
    pub(in crate::engine) fn expired(&self, now: Timestamp) -> Option<Duration> {
        self.lease_end()
            .filter(|end| *end <= now)
            .map(|end| now.since(end))
    }

    /// The total demotion from all causes known to the engine.
    pub(in crate::engine) fn demotion(&self) -> Demotion {
        let unfit = self.degraded.as_ref().is_some_and(Degraded::is_unfit)
            || self
                .refused_addresses
                .as_ref()
                .is_some_and(RefusedAddresses::is_unfit);
        if unfit || self.resigned.is_some() {
            Demotion::MAX
        } else {
            let burdens = self.burdens.iter().map(Burden::demotion);
            let own = self.asked.by.plus(self.checks.demotion());
            burdens.fold(own.plus(self.upkeep.demotion()), Demotion::plus)
        }
    }

    /// The track that is down, and without which it must not take part.
    pub(in crate::engine) fn track_fault(&self) -> Option<&Burden> {
        let mut faults = self.burdens.iter().filter(|burden| burden.is_fault());
        faults.find(|burden| !burden.pending)
    }

    /// Do tracks keep it from beginning to take part? That includes those without a result yet,
    /// which do not end what has begun.
    pub(in crate::engine) fn is_kept_out(&self) -> bool {
        self.burdens.iter().any(Burden::is_fault)
    }

    /// It is told to hand over: for a while another node is better.
    pub(in crate::engine) fn prefer_others(&mut self, reason: String, now: Timestamp) {
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
    pub(in crate::engine) fn event(&self, entry: EntryPoint, initial: bool) -> HookEvent {
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

    /// Another node that is master as well.
    pub(in crate::engine) fn split(&self, now: Timestamp) -> Option<SplitStatus> {
        self.is_master().then(|| self.advertisers.rival(now))?
    }

    /// Whether we announce its addresses. If hooks add them, we do not know when.
    pub(in crate::engine) fn announces(&self) -> bool {
        self.holding || (!self.spec.manage_addresses && self.is_master())
    }

    /// Is it master, whatever else?
    pub(in crate::engine) fn is_master(&self) -> bool {
        self.machine.state() == State::Master
    }

    /// Whether it is master and its `on_master` was called. A run queued before that would
    /// supersede `before_master`, and the addresses would never be added.
    pub(in crate::engine) fn serves(&self) -> bool {
        self.is_master() && self.gate == Gate::Open
    }
}
