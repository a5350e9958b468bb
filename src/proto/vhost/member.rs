//! A virtual host as a member of a group: what the group must know of it, and what it does when the
//! group has decided ([`super::super::group`]).

use std::net::IpAddr;
use std::time::Duration;

use super::super::group::{Burden, Order, Permission, Ready, Standing, Tie};
use super::super::settings::{Claims, Gate};
use super::super::transition::Cause;
use super::io::{Input, Kind, Output};
use super::{Asked, Phase, Reluctance, Vhost};
use crate::types::{Family, State, Timestamp};

/// Within this time everything arrives that a node sends at once on several networks. A node that
/// has yielded on one of them bows out on the others if it hears no other master there within it.
const VOLLEY: Duration = Duration::from_millis(20);

/// The node that we last considered the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) from: IpAddr,
    /// When we last heard it.
    pub(super) at: Timestamp,
    /// The mark of its group, or 0.
    pub(super) tag: u8,
}

/// A bow-out that is still to be sent.
#[derive(Debug, Clone, Copy)]
struct Owed {
    due: Timestamp,
    /// Peers may take it for all members.
    whole: bool,
}

/// What is kept for the group.
#[derive(Debug, Default)]
pub(super) struct Membership {
    ready: Option<Ready>,
    lost: Option<Cause>,
    owed: Option<Owed>,
    tie: Option<Tie>,
    others: Burden,
}

impl Membership {
    pub(super) const fn others(&self) -> Burden {
        self.others
    }

    /// Whether the bow-out that it owes concerns no other member.
    pub(super) fn leaves_alone(&self) -> bool {
        self.owed.is_some_and(|owed| !owed.whole)
    }

    /// Whether it has told the group that nobody is heard.
    pub(super) fn knows_of_silence(&self) -> bool {
        let cause = self.ready.as_ref().map(|ready| &ready.cause);
        matches!(cause, Some(Cause::MasterDown { .. }))
    }

    /// A master advertised: who left need not bow out any more.
    pub(super) const fn served(&mut self) {
        self.owed = None;
    }

    /// `before_master` agrees.
    pub(super) fn permit(&mut self) {
        if let Some(ready) = &mut self.ready
            && ready.permission == Permission::Asked
        {
            ready.permission = Permission::Given;
        }
    }

    /// A worse master is there: neither silence nor one that left is a reason any more.
    pub(super) fn hears_worse(&mut self) {
        self.ready
            .take_if(|ready| !matches!(ready.cause, Cause::Preempt | Cause::PeerDemoted));
    }

    /// Its claim waits until then.
    pub(super) fn wait(&mut self, until: Timestamp) {
        if let Some(ready) = &mut self.ready {
            ready.not_before = until;
        }
    }

    /// There is no reason to become master any more.
    pub(super) fn forbid(&mut self) {
        self.ready = None;
    }

    /// The state changed.
    pub(super) fn changed(&mut self, from: State, cause: &Cause, now: Timestamp) {
        let was_master = from == State::Master;
        *self = Self {
            lost: was_master.then(|| cause.clone()),
            owed: was_master.then(|| owed_for(cause, now)).flatten(),
            others: self.others,
            ..Self::default()
        };
    }

    /// When the group must be asked, at the latest.
    pub(super) fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let ready = self.ready.as_ref().map(|ready| ready.not_before);
        // A claim that waits for others is looked at when these are.
        let ready = ready.filter(|not_before| *not_before > now);
        let owed = self.owed.map(|owed| owed.due);
        [ready, owed].into_iter().flatten().min()
    }
}

/// The bow-out of a master that leaves for this reason. One that yielded leaves a master there, and
/// one that overslept does not know.
fn owed_for(cause: &Cause, now: Timestamp) -> Option<Owed> {
    let (due, whole) = (now, true);
    match cause {
        Cause::Shutdown | Cause::Asked(_) => Some(Owed { due, whole }),
        Cause::BetterMaster
        | Cause::Tie
        | Cause::LinkDown
        | Cause::Late { .. }
        | Cause::Group { .. }
        | Cause::Startup
        | Cause::MasterDown { .. }
        | Cause::Preempt
        | Cause::MasterLeaving
        | Cause::PeerDemoted => None,
    }
}

impl Vhost {
    /// What its group must know.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        let leader = Family::ALL
            .into_iter()
            .filter_map(|family| *self.leader.of(family))
            .max_by_key(|leader| leader.at)
            .filter(|leader| now - leader.at < self.master_down());
        let Membership {
            ready,
            lost,
            owed,
            tie,
            others,
        } = &self.membership;
        Standing {
            state: self.state(),
            fit: self.fit,
            fault: self.fault.clone(),
            ready: ready.clone(),
            lost: lost.clone(),
            owes: owed.map(|owed| owed.due),
            tie: *tie,
            led_by: leader.map(|leader| (leader.from, leader.tag)),
            declines: now < self.uninvited_before || self.reluctance == Reluctance::Never,
            free: self.takeovers.free(now),
            own: Burden {
                demotion: self.own_demotion(),
                nameless: self.is_nameless(),
            },
            others: *others,
        }
    }

    /// As a member of a group it does not become master by itself: the group is told that it could.
    pub(super) fn get_ready(
        &mut self,
        cause: Cause,
        peer: Option<IpAddr>,
        left: u8,
        now: Timestamp,
    ) {
        let asks =
            self.settings.gate == Gate::Ask && matches!(cause, Cause::Preempt | Cause::PeerDemoted);
        let before = self.membership.ready.as_ref().map(|ready| ready.permission);
        let permission = match before {
            Some(before) if asks && before != Permission::NotNeeded => before,
            _ if asks => Permission::Needed,
            _ => Permission::NotNeeded,
        };
        self.membership.ready = Some(Ready {
            cause,
            peer,
            left,
            not_before: self.takeovers.free(now),
            permission,
        });
    }

    /// A master hears an equal one: the group decides who stays.
    pub(super) fn tied(&mut self, loses: bool, leader: Leader) {
        let at = leader.at;
        let interval = self.interval();
        let before = self.membership.tie;
        let goes_on = before.filter(|tie| at - tie.at <= interval * 2);
        self.membership.tie = Some(Tie {
            since: goes_on.map_or(at, |tie| tie.since),
            at,
            interval,
            loses,
            peer: leader.from,
            tag: leader.tag,
            judged: false,
        });
    }

    /// Does what the group has decided.
    pub(super) fn obey(&mut self, order: Order, now: Timestamp) {
        match order {
            Order::Join => {
                if matches!(self.phase, Phase::Init) && self.fit {
                    self.become_backup(Cause::Startup, None, now);
                }
            }
            Order::Part { why } => {
                self.become_init(Cause::Group { why });
                self.owe(now, true);
            }
            Order::StepDown {
                why,
                served,
                bows_out,
            } => {
                if !matches!(self.phase, Phase::Master(_)) {
                    return;
                }
                self.become_backup(Cause::Group { why }, None, now);
                match (bows_out, served) {
                    (false, _) => {}
                    (true, false) => self.owe(now, true),
                    (true, true) => self.owe(now + VOLLEY, false),
                }
            }
            Order::Yield => self.yield_tie(now),
            Order::Stand => {
                if let Some(tie) = &mut self.membership.tie {
                    tie.judged = true;
                }
            }
            Order::BowOut => {
                self.transmit(Kind::BowOut);
                self.membership.served();
            }
            Order::Ask => self.ask(),
            Order::Claim { cause, peer } => {
                if matches!(self.phase, Phase::Backup(_)) {
                    _ = self.takeovers.take(now);
                    self.become_master(cause, peer, now);
                }
            }
            Order::Bear(others) => {
                let before = (self.effective_advskew(), self.demotion());
                self.membership.others = others;
                if (self.effective_advskew(), self.demotion()) != before {
                    self.advertise_at_once(now);
                }
            }
        }
    }

    fn owe(&mut self, due: Timestamp, whole: bool) {
        if self.membership.lost.is_some() {
            self.membership.owed = Some(Owed { due, whole });
        }
    }

    fn yield_tie(&mut self, now: Timestamp) {
        if let (Phase::Master(_), Some(tie)) = (&self.phase, self.membership.tie) {
            let Tie { at, peer, tag, .. } = tie;
            let from = peer;
            *self.leader.of_mut(Family::of(from)) = Some(Leader { from, at, tag });
            self.yield_to(Cause::Tie, peer, now);
        }
    }

    fn ask(&mut self) {
        let Some(ready) = &mut self.membership.ready else {
            return;
        };
        let Some(peer) = ready.peer else { return };
        ready.permission = Permission::Asked;
        let (cause, still) = (ready.cause.clone(), true);
        self.asked = Some(Asked {
            still,
            cause: cause.clone(),
            peer,
        });
        self.outbox.push_back(Output::WantMaster { cause, peer });
    }

    /// A master leaves. In a group the bow-outs follow when all its members have let go.
    pub(super) fn bow_out(&mut self) {
        if !self.settings.claims.is_together() {
            self.transmit(Kind::BowOut);
        }
    }

    /// After [`Input::Shutdown`] only the bow-out is left to be sent.
    pub(super) fn after_the_end(&mut self, input: &Input<'_>) {
        if matches!(input, Input::Group(Order::BowOut)) && self.membership.owed.is_some() {
            self.transmit(Kind::BowOut);
            self.membership.served();
        }
    }

    /// The settings are new: it has become a member of a group, or is none any more.
    pub(super) fn regroup(&mut self, was: Claims, now: Timestamp) {
        if was.is_together() == self.settings.claims.is_together() {
            return;
        }
        self.membership = Membership::default();
        let waited_for_others = was.is_together() && self.fit;
        if waited_for_others && matches!(self.phase, Phase::Init) {
            self.become_backup(Cause::Startup, None, now);
        }
    }
}
