//! The protocol state machine of one virtual host.

mod contradiction;
mod damping;
mod io;
mod member;
mod pace;
mod receive;
mod reluctance;
mod roll_call;
mod send;
mod signature;
mod silence;
mod trial;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use contradiction::Contradiction;
use damping::Penalty;
pub use io::{Heard, Input, Kind, Output, Transmit};
use member::{Leader, Membership};
use pace::Pace;
pub use reluctance::Reluctance;
use send::{Counter, SendHealth};
use signature::Signature;
use silence::{PerFamily, Silence, Wake};
pub use trial::{Difference, Trial};

use super::auth::Authenticator;
use super::settings::{Peers, Settings};
use super::stats::Stats;
use super::timer;
use super::transition::{Cause, Reason, Transition};
use crate::types::{AdvSkew, Demotion, Family, MacAddr, State, Timestamp};

/// One virtual host. It does not own a socket, a clock or a random source.
///
/// Feed each input to [`Self::handle`], then drain [`Self::poll`] until [`Output::Idle`].
#[derive(Debug)]
pub struct Vhost {
    settings: Settings,
    auth: Authenticator,
    /// As before the last change of key or addresses.
    previous_auth: Option<Authenticator>,
    /// When the last input happened.
    now: Timestamp,
    phase: Phase,
    counter: Counter,
    source: PerFamily<Option<IpAddr>>,
    /// Whether we were told that there is no address.
    nameless: PerFamily<bool>,
    hardware: Option<MacAddr>,
    /// By tracks and hooks.
    demoted: Demotion,
    reluctance: Reluctance,
    sending: PerFamily<SendHealth>,
    asked: Option<Asked>,
    no_preempt_before: Timestamp,
    /// Until this time bow-outs are not followed: an address was refused here, and the sender may have
    /// failed as we did; or we were master until recently ([`Settings::hold_down`]).
    uninvited_before: Timestamp,
    /// How often we recently became master.
    takeovers: Pace,
    /// How often we recently began to take part.
    arrivals: Pace,
    /// How much the link flaps.
    penalty: Penalty,
    /// Bow-outs that turned out to be none.
    contradiction: Contradiction,
    /// In state init with the link up: when we begin to take part.
    arrives: Option<Timestamp>,
    /// Since when it waits for that.
    linked: Timestamp,
    /// Since when every advertisement has shown a master that is worse than us.
    worse_since: Option<Timestamp>,
    /// The counter of our last roll call.
    called: Option<u64>,
    /// No roll call is answered before this time.
    answers_again: Timestamp,
    heard: Option<Heard>,
    /// The lists of addresses from before the last changes, newest first.
    earlier: Vec<Vec<IpAddr>>,
    /// The peer that we last considered the master, and when we heard it.
    leader: PerFamily<Option<Leader>>,
    /// Whether nothing here keeps it from taking part.
    fit: bool,
    /// What does, if it was told.
    fault: Option<Cause>,
    membership: Membership,
    /// The number of the last transition.
    seq: u64,
    stopped: bool,
    outbox: VecDeque<Output>,
    stats: Stats,
}

/// A state, with the data that exists only in it.
#[derive(Debug)]
enum Phase {
    Init,
    Backup(Silence),
    Master(Reign),
}

/// A master's timers.
#[derive(Debug)]
struct Reign {
    next: Timestamp,
    last: Timestamp,
    /// Advertisements since the takeover, counted only as far as it matters.
    sent: u8,
}

/// What a state machine starts with, besides its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// Should be random: counters start from it.
    pub seed: u64,
    /// The number of the last transition in an earlier run; 0 if there was none. The first
    /// transition here has the next number.
    pub seq: u64,
}

impl From<u64> for Birth {
    /// A first run.
    fn from(seed: u64) -> Self {
        Self { seed, seq: 0 }
    }
}

/// We have asked whether we may preempt.
#[derive(Debug)]
struct Asked {
    /// Whether the last master heard is still worse than us.
    still: bool,
    cause: Cause,
    peer: IpAddr,
}

impl Vhost {
    /// In state init.
    #[must_use]
    pub fn new(settings: Settings, birth: impl Into<Birth>) -> Self {
        let Birth { seed, seq } = birth.into();
        let auth = Self::authenticator(&settings, settings.vhid);
        let previous_auth = Self::previous_authenticator(&settings);
        Self {
            settings,
            auth,
            previous_auth,
            now: Timestamp::ZERO,
            phase: Phase::Init,
            counter: Counter::new(seed),
            source: PerFamily::default(),
            nameless: PerFamily::default(),
            hardware: None,
            demoted: Demotion::NONE,
            reluctance: Reluctance::None,
            sending: PerFamily::default(),
            asked: None,
            no_preempt_before: Timestamp::ZERO,
            uninvited_before: Timestamp::ZERO,
            takeovers: Pace::default(),
            arrivals: Pace::default(),
            penalty: Penalty::default(),
            contradiction: Contradiction::default(),
            arrives: None,
            linked: Timestamp::ZERO,
            worse_since: None,
            called: None,
            answers_again: Timestamp::ZERO,
            heard: None,
            earlier: Vec::new(),
            leader: PerFamily::default(),
            fit: false,
            fault: None,
            membership: Membership::default(),
            seq,
            stopped: false,
            outbox: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Feeds one input that happened at `now`. Times must not go backwards.
    pub fn handle(&mut self, input: Input<'_>, now: Timestamp) {
        self.now = now;
        if self.stopped {
            return self.after_the_end(&input);
        }
        match input {
            Input::Packet(packet) => {
                self.judge_lateness(now);
                self.receive(&packet, now);
            }
            Input::Timer => {
                self.judge_lateness(now);
                self.wake(now);
            }
            Input::LinkUp => self.link_up(now),
            Input::LinkDown => self.fault(Cause::LinkDown, now),
            Input::Fault(reason) => self.fault(Cause::Asked(reason), now),
            Input::OwnAddress { family, address } => {
                self.judge_lateness(now);
                self.own_address(family, address, now);
            }
            Input::Hardware(mac) => self.hardware = Some(mac),
            Input::Demote(demotion) => {
                self.judge_lateness(now);
                self.demote(demotion, now);
            }
            Input::Advertise => {
                self.judge_lateness(now);
                self.advertise_between(now);
            }
            Input::Sent { family, ok } => self.sent(family, ok, now),
            Input::Approve => self.approve(now),
            Input::Refuse { retry_after } => self.refuse(now + retry_after),
            Input::Resign { reason, unfit } => self.resign(reason, unfit, now),
            Input::StandAside(reason) => {
                self.arrives = None;
                self.become_unfit(Cause::Asked(reason));
            }
            Input::Shutdown => self.shutdown(),
            Input::Late { by } => self.late(by, now),
            Input::ForgiveSends => self.forgive_sends(now),
            Input::CallRoll => self.call_roll(),
            Input::Reluctant(reluctance) => self.become_reluctant(reluctance, now),
            Input::Group(order) => self.obey(order, now),
            Input::Become { to, cause, peer } => match to {
                State::Init => self.become_init(cause),
                State::Backup => self.become_backup(cause, peer, now),
                State::Master => self.become_master(cause, peer, now),
            },
        }
    }

    /// Continues with other settings in the same state: a master stays master and advertises at the
    /// new interval, a backup listens for a full new master-down time. Neither sends anything about
    /// it. The vhid must be the same.
    pub fn reconfigure(&mut self, settings: Settings, now: Timestamp) {
        self.now = now;
        self.auth = Self::authenticator(&settings, settings.vhid);
        self.previous_auth = Self::previous_authenticator(&settings);
        let was = std::mem::replace(&mut self.settings, settings);
        if was.addresses != self.settings.addresses {
            self.remember_addresses(was.addresses.iter().map(|a| a.ip).collect());
        }
        self.regroup(was.claims, now);
        let (interval, patience) = (self.interval(), self.patience());
        match &mut self.phase {
            Phase::Init => {
                let ready = self.linked + self.settings.startup_delay;
                self.arrives = self.arrives.map(|_| ready.max(now));
            }
            Phase::Backup(silence) => {
                self.membership.forbid();
                *silence = Silence::begin(&self.settings, now, patience);
            }
            Phase::Master(reign) => reign.next = (reign.last + interval).max(now),
        }
    }

    /// The next thing to do; [`Output::Idle`] when there is nothing more.
    #[must_use]
    pub fn poll(&mut self) -> Output {
        self.outbox
            .pop_front()
            .unwrap_or_else(|| Output::Idle(self.deadline()))
    }

    /// Init, backup or master.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Init => State::Init,
            Phase::Backup(_) => State::Backup,
            Phase::Master(_) => State::Master,
        }
    }

    /// The current settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What was sent, heard and refused.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The last valid advertisement heard.
    #[must_use]
    pub const fn heard(&self) -> Option<&Heard> {
        self.heard.as_ref()
    }

    /// The total of tracks, hooks and failed sends; in a group, that of the worst member.
    #[must_use]
    pub fn demotion(&self) -> Demotion {
        self.own_demotion().max(self.membership.others().demotion)
    }

    /// The total of tracks, hooks and failed sends.
    #[must_use]
    pub const fn own_demotion(&self) -> Demotion {
        self.demoted.plus(self.send_demotion())
    }

    /// The part of the demotion that failed sends cause.
    #[must_use]
    pub const fn send_demotion(&self) -> Demotion {
        self.sending
            .of(Family::V4)
            .demotion()
            .plus(self.sending.of(Family::V6).demotion())
    }

    /// The advskew that we advertise and compare with: the configured one, plus one if we have no
    /// address of our own, raised by demotion and capped at 240. Among OpenBSD peers demotion is
    /// sent separately (docs/protocol.md, section 6).
    #[must_use]
    pub fn effective_advskew(&self) -> AdvSkew {
        let penalty = u8::from(self.is_nameless() || self.membership.others().nameless);
        let own = self.settings.advskew;
        let own = AdvSkew(
            own.0
                .max(own.0.saturating_add(penalty).min(Demotion::MAX.get())),
        );
        if self.settings.peers == Peers::OpenBsd {
            return own;
        }
        let raised = own
            .0
            .saturating_add(self.demotion().get())
            .min(Demotion::MAX.get());
        AdvSkew(if self.settings.clamp_advskew {
            raised
        } else {
            raised.max(own.0)
        })
    }

    /// Whether it was told that it has no address of its own in the family that decides ties. A
    /// source of 0.0.0.0 is the lowest of all: peers that compare would let it win.
    #[must_use]
    pub fn is_nameless(&self) -> bool {
        *self.nameless.of(self.settings.tie_family())
    }

    /// Whether it was told that this is its own address in this family, or that it has none.
    #[must_use]
    pub fn knows_source(&self, family: Family, address: Option<IpAddr>) -> bool {
        let nameless = address.and_then(super::wire::known).is_none();
        (*self.source.of(family), *self.nameless.of(family)) == (address, nameless)
    }

    /// The hardware address of its interface, if it was told.
    #[must_use]
    pub const fn hardware(&self) -> Option<MacAddr> {
        self.hardware
    }

    /// The time between two of our advertisements.
    #[must_use]
    pub fn interval(&self) -> Duration {
        timer::interval(self.settings.advbase, self.effective_advskew())
    }

    /// How long a master may be silent before we take over. Demotion does not count, as on the
    /// BSDs.
    #[must_use]
    pub fn master_down(&self) -> Duration {
        timer::master_down(
            self.settings.advbase,
            self.settings.advskew,
            self.settings.dead_ratio,
            self.settings.peers,
        )
    }

    /// When a master advertised last: backups count their master-down time from then.
    #[must_use]
    pub const fn advertised(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Master(reign) => Some(reign.last),
            Phase::Init | Phase::Backup(_) => None,
        }
    }

    /// The last counter that we sent, or took over from a master.
    #[must_use]
    pub const fn counter(&self) -> u64 {
        self.counter.last()
    }

    /// A complete bow-out in each form, for another process to send if we no longer can. Changes
    /// nothing. Their counters leave room for those that we may still use ourselves.
    #[must_use]
    pub fn bow_out_packets(&self, ahead: u64) -> Vec<Transmit> {
        let mut counter = self.counter.ahead(ahead);
        let forms = self.forms().into_iter();
        forms
            .map(|form| self.packet(form, Kind::BowOut, counter.take()))
            .collect()
    }

    /// In state init: when it takes part, if it only waits for that.
    #[must_use]
    pub const fn arrives(&self) -> Option<Timestamp> {
        self.arrives
    }

    /// What is left of the penalty for a link that flaps.
    #[must_use]
    pub fn link_penalty(&self, now: Timestamp) -> u32 {
        self.penalty.now(self.settings.damping, now)
    }

    /// In state init with the link up: whether it waits because the link has flapped.
    #[must_use]
    pub fn is_damped(&self, now: Timestamp) -> bool {
        let mut penalty = self.penalty;
        self.arrives.is_some() && penalty.suppressed(self.settings.damping, now).is_some()
    }

    /// When it wants to be woken, for example to advertise as master.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let own = match &self.phase {
            Phase::Init => self.arrives,
            Phase::Backup(silence) => silence
                .end(self.settings.family_timers)
                .filter(|_| !self.membership.knows_of_silence())
                .into_iter()
                .chain(self.sends_fade())
                .min(),
            Phase::Master(reign) => Some(reign.next),
        };
        own.into_iter().chain(self.membership.due(self.now)).min()
    }

    /// A master that has been silent for so long that a backup may have taken over must listen
    /// before it goes on.
    fn judge_lateness(&mut self, now: Timestamp) {
        let Settings {
            advbase,
            dead_ratio,
            peers,
            ..
        } = self.settings;
        let limit = timer::late_after(advbase, self.effective_advskew(), dead_ratio, peers);
        if let Phase::Master(reign) = &self.phase
            && now - reign.last >= limit
        {
            self.late(now - reign.next, now);
        }
    }

    fn late(&mut self, by: Duration, now: Timestamp) {
        match &mut self.phase {
            Phase::Init => {}
            Phase::Backup(_) => self.listen_anew(now),
            Phase::Master(_) => {
                self.stats.late += 1;
                self.become_backup(Cause::Late { by }, None, now);
            }
        }
    }

    fn listen_anew(&mut self, now: Timestamp) {
        self.stats.late += 1;
        self.phase = Phase::Backup(Silence::begin(&self.settings, now, self.patience()));
    }

    fn wake(&mut self, now: Timestamp) {
        let master_down = self.master_down();
        self.fade_sends(now);
        match &mut self.phase {
            Phase::Init => {
                if self.arrives.is_some_and(|at| at <= now) {
                    self.take_part(now);
                }
            }
            Phase::Backup(silence) => {
                if self.membership.knows_of_silence() {
                    return;
                }
                match silence.wake(self.settings.family_timers, now, master_down) {
                    Wake::Early => {}
                    Wake::MasterDown { silent } => {
                        self.take_over(Cause::MasterDown { silent }, None, now);
                    }
                    Wake::MasterLeft { peer } => {
                        self.take_over(Cause::MasterLeaving, Some(peer), now);
                    }
                    Wake::Overslept { .. } => self.listen_anew(now),
                }
            }
            Phase::Master(reign) => {
                let due = reign.next;
                if due <= now {
                    self.advertise(due, now);
                }
            }
        }
    }

    fn link_up(&mut self, now: Timestamp) {
        let waits_for_others = self.fit && self.settings.claims.is_together();
        if !matches!(self.phase, Phase::Init) || waits_for_others {
            return;
        }
        self.fault = None;
        if self.settings.startup_delay.is_zero() {
            return self.take_part(now);
        }
        if self.arrives.is_none() {
            self.linked = now;
            self.arrives = Some(now + self.settings.startup_delay);
        }
    }

    fn take_part(&mut self, now: Timestamp) {
        let calm = self.penalty.suppressed(self.settings.damping, now);
        match calm.map_or_else(|| self.arrivals.take(now), Err) {
            Ok(()) => {
                self.arrives = None;
                self.sending = PerFamily::default();
                self.fit = true;
                if !self.settings.claims.is_together() {
                    self.become_backup(Cause::Startup, None, now);
                }
            }
            Err(ready) => self.arrives = Some(ready),
        }
    }

    fn approve(&mut self, now: Timestamp) {
        if self.reluctance != Reluctance::None {
            self.asked = None;
            return;
        }
        if self.settings.claims.is_together() {
            self.asked = None;
            return self.membership.permit();
        }
        if let Some(Asked {
            still: true,
            cause,
            peer,
        }) = self.asked.take()
        {
            self.take_over(cause, Some(peer), now);
        }
    }

    fn refuse(&mut self, until: Timestamp) {
        if self.asked.take().is_some() {
            self.membership.forbid();
            self.no_preempt_before = until;
        }
    }

    fn resign(&mut self, reason: Reason, unfit: bool, now: Timestamp) {
        if matches!(self.phase, Phase::Master(_)) {
            let listened = now + self.master_down();
            if unfit {
                self.uninvited_before = listened;
            }
            self.become_backup(Cause::Asked(reason), None, now);
            self.bow_out();
            self.no_preempt_before = self.no_preempt_before.max(listened);
            self.contradiction.unsure();
        }
    }

    fn shutdown(&mut self) {
        let was_master = matches!(self.phase, Phase::Master(_));
        self.arrives = None;
        self.become_unfit(Cause::Shutdown);
        if was_master {
            self.bow_out();
        }
        self.stopped = true;
    }

    /// What it needs went away, and may come and go.
    fn fault(&mut self, cause: Cause, now: Timestamp) {
        let takes_part = self.fit || !matches!(self.phase, Phase::Init);
        if self.arrives.take().is_some() || takes_part {
            self.penalty.flap(self.settings.damping, now);
        }
        self.become_unfit(cause);
    }

    /// Something here keeps it from taking part.
    fn become_unfit(&mut self, cause: Cause) {
        self.fit = false;
        self.fault = Some(cause.clone());
        self.become_init(cause);
    }

    fn become_init(&mut self, cause: Cause) {
        if !matches!(self.phase, Phase::Init) {
            // A node that takes part again starts afresh.
            self.sending = PerFamily::default();
            self.change(Phase::Init, cause, None);
        }
    }

    fn become_backup(&mut self, cause: Cause, peer: Option<IpAddr>, now: Timestamp) {
        let silence = Silence::begin(&self.settings, now, self.patience());
        self.worse_since = None;
        self.change(Phase::Backup(silence), cause, peer);
        self.rest_sends(now);
    }

    /// Becomes master as soon as the pace allows. A preemption need not be remembered: the worse
    /// master will advertise again.
    fn take_over(&mut self, cause: Cause, peer: Option<IpAddr>, now: Timestamp) {
        if self.reluctance == Reluctance::Never {
            return self.listen_in_vain(now);
        }
        if self.settings.claims.is_together() {
            return self.get_ready(cause, peer, 0, now);
        }
        let Err(ready) = self.takeovers.take(now) else {
            return self.become_master(cause, peer, now);
        };
        let Phase::Backup(silence) = &mut self.phase else {
            return;
        };
        if let (Cause::MasterLeaving, Some(peer)) = (&cause, peer) {
            silence.left(peer, ready);
        } else if matches!(cause, Cause::MasterDown { .. }) {
            silence.wait(ready);
        }
    }

    /// The advertisement comes first, so that a master that is still there gives up at once. The
    /// next one follows after the configured interval, whatever the demotion, as on the BSDs
    /// (docs/protocol.md, section 4).
    fn become_master(&mut self, cause: Cause, peer: Option<IpAddr>, now: Timestamp) {
        self.transmit(Kind::Advertisement);
        self.stats.takeovers += 1;
        self.no_preempt_before = now;
        if let (Cause::MasterLeaving, Some(peer)) = (&cause, peer) {
            self.contradiction.followed(peer, now + self.master_down());
        }
        self.prove_sends();
        let next = now + timer::interval(self.settings.advbase, self.settings.advskew);
        self.change(
            Phase::Master(Reign {
                next,
                last: now,
                sent: 1,
            }),
            cause,
            peer,
        );
    }

    fn change(&mut self, phase: Phase, cause: Cause, peer: Option<IpAddr>) {
        let from = self.state();
        if from == State::Master {
            let held = self.now + self.settings.hold_down;
            self.no_preempt_before = self.no_preempt_before.max(held);
            self.uninvited_before = self.uninvited_before.max(held);
        }
        self.phase = phase;
        self.asked = None;
        if self.settings.claims.is_together() {
            self.membership.changed(from, &cause, self.now);
        }
        self.seq += 1;
        self.outbox.push_back(Output::Transition(Transition {
            from,
            to: self.state(),
            cause,
            peer,
            seq: self.seq,
        }));
    }
}
