//! One virtual host with the hook under test, on a host in memory: what the daemon does around a
//! change of state, in the same order, in virtual time.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::desk::NodeDesk;
use super::hook::Subject;
use super::record::{LogLine, Record};
use super::report::Refused;
use super::spec::{Spec, World};
use crate::effect::{Effect, Resource, Value};
use crate::engine::trial::{Party, Trial};
use crate::hooks::{Budget, EntryPoint, HookError, HookEvent, Instance, Returned};
use crate::host::fake::{FakeHost, VirtualClock};
use crate::types::{Cause, State, VirtualAddress};

/// Pauses before something is tried again, as in the engine: doubled each time.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// The least real time that a run may take: its own time is virtual, and the machine may be busy.
const REAL_WALL: Duration = Duration::from_secs(10);
/// Lines of log that are kept, in bytes.
const LOG_MAX: usize = 1 << 20;

/// Something that the daemon would tell the hook.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    /// The virtual host becomes master.
    Master,
    /// It becomes backup.
    Backup,
    /// The daemon stops.
    Stop,
    /// A worse master is heard.
    PeerClaim,
}

/// What an event says besides.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) cause: &'static str,
    pub(super) cause_text: String,
    pub(super) peer: Option<std::net::IpAddr>,
    pub(super) initial: bool,
    pub(super) missed: u32,
}

impl Told {
    /// For this cause.
    pub(super) fn by(cause: &Cause) -> Self {
        Self {
            cause: cause.as_str(),
            cause_text: cause.to_string(),
            peer: None,
            initial: false,
            missed: 0,
        }
    }
}

/// The virtual host.
#[derive(Debug)]
pub(super) struct Node {
    subject: Rc<Subject>,
    spec: Spec,
    config_json: String,
    clock: VirtualClock,
    trial: Trial<FakeHost>,
    record: RefCell<Record>,
    state: Cell<State>,
    previous: Cell<State>,
    seq: Cell<u64>,
    /// A mastership has ended and is not undone yet.
    leftover: Cell<bool>,
    /// A hook failed, and nobody relieved us since.
    degraded: Cell<bool>,
    /// Grows with every new state; a run that began under an older one is overtaken.
    ticket: Cell<u64>,
    superseded: Notify,
    resigning: Notify,
    /// Between two tries of something that failed.
    pausing: Cell<bool>,
    activity: RefCell<Option<JoinHandle<()>>>,
    /// Every value before the last mastership.
    baseline: RefCell<BTreeMap<Resource, Value>>,
    /// Runs that failed and nobody has expected yet.
    errors: RefCell<Vec<(EntryPoint, HookError)>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(activity) = self.activity.get_mut() {
            activity.abort();
        }
    }
}

impl Node {
    /// A host as the test describes it, whose virtual host is nothing yet.
    ///
    /// # Errors
    /// What makes no sense in the description.
    pub(super) fn new(subject: &Rc<Subject>, spec: Spec) -> Result<Rc<Self>, String> {
        let clock = VirtualClock::default();
        let host = spec.host(&clock)?;
        let grants = spec
            .own_grants()?
            .unwrap_or_else(|| subject.exam().grants.clone());
        let config_json = spec.config.as_ref().map_or_else(
            || subject.exam().hook.config_json.clone(),
            ToString::to_string,
        );
        let party = Party {
            vhost: spec.name.clone(),
            dev: spec.interface.clone(),
            addresses: spec.addresses.clone(),
            hook: subject.exam().hook.name.clone(),
            grants,
            state_bytes: subject.exam().budget.state_bytes,
        };
        let baseline = RefCell::new(host.values());
        Ok(Rc::new(Self {
            subject: Rc::clone(subject),
            config_json,
            clock,
            trial: Trial::new(host, party),
            record: RefCell::default(),
            state: Cell::new(State::Init),
            previous: Cell::new(State::Init),
            seq: Cell::new(0),
            leftover: Cell::new(false),
            degraded: Cell::new(false),
            ticket: Cell::new(0),
            superseded: Notify::new(),
            resigning: Notify::new(),
            pausing: Cell::new(false),
            activity: RefCell::new(None),
            baseline,
            errors: RefCell::default(),
            spec,
        }))
    }

    /// The gate refused something. Where the test gives grants of its own that is what it tests.
    pub(super) fn note_refused(&self, what: Refused) {
        if self.spec.grants.is_none() {
            self.subject.note_refused(what);
        }
    }

    pub(super) fn subject(&self) -> &Subject {
        &self.subject
    }

    pub(super) const fn clock(&self) -> &VirtualClock {
        &self.clock
    }

    pub(super) const fn trial(&self) -> &Trial<FakeHost> {
        &self.trial
    }

    pub(super) const fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    pub(super) fn record(&self) -> Ref<'_, Record> {
        self.record.borrow()
    }

    pub(super) fn record_mut(&self) -> RefMut<'_, Record> {
        self.record.borrow_mut()
    }

    /// Runs that failed since the last event; they are forgotten.
    pub(super) fn take_errors(&self) -> Vec<(EntryPoint, HookError)> {
        std::mem::take(&mut *self.errors.borrow_mut())
    }

    /// Runs that failed since the last event.
    pub(super) fn errors(&self) -> Ref<'_, Vec<(EntryPoint, HookError)>> {
        self.errors.borrow()
    }

    pub(super) fn log(&self, line: LogLine) {
        let mut record = self.record.borrow_mut();
        record.log_bytes += line.to_string().len();
        if record.log_bytes <= LOG_MAX {
            record.log.push(line);
        }
    }

    /// The hook hands over: its run is overtaken.
    pub(super) fn overtake(&self) {
        self.resigning.notify_one();
    }

    /// Somebody else changes the host.
    pub(super) fn change(&self, world: &World) -> Result<(), String> {
        let host = self.trial.host();
        let changed = world.change(host)?;
        let mut record = self.record_mut();
        for resource in changed {
            let value = host.value(&resource);
            record.foreign.insert(resource, value);
        }
        Ok(())
    }

    /// Something happens, and the daemon does what follows. With `wait`, until it has nothing to do
    /// but to try again later; without, until the hook waits for the first time.
    pub(super) async fn happen(self: &Rc<Self>, happening: Happening, told: Told, wait: bool) {
        {
            let mut record = self.record_mut();
            record.plan.clear();
            record.denied.clear();
            record.undone.clear();
        }
        if matches!(happening, Happening::PeerClaim) {
            self.finish().await;
        } else {
            self.change_state(&happening);
            self.ticket.set(self.ticket.get() + 1);
            self.superseded.notify_waiters();
        }
        self.overtake_all().await;
        let this = Rc::clone(self);
        let ticket = self.ticket.get();
        let activity =
            tokio::task::spawn_local(async move { this.follow(happening, told, ticket).await });
        *self.activity.borrow_mut() = Some(activity);
        if wait {
            self.finish().await;
        } else {
            self.settle().await;
        }
    }

    /// What is overtaken comes to its end: a run or a pause at once, an undoing when the host has
    /// done with it.
    async fn overtake_all(&self) {
        // It hears of it before the clock is moved.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        while self.settle().await {
            if let Some(next) = self.clock.next_waking() {
                self.clock.move_to(next);
            }
        }
    }

    /// The new state, and the addresses at once.
    fn change_state(&self, happening: &Happening) {
        let before = self.state.get();
        let (previous, now) = match happening {
            // Before it is master it listens.
            Happening::Master if before == State::Init => (State::Backup, State::Master),
            Happening::Master => (before, State::Master),
            Happening::Backup => (before, State::Backup),
            Happening::Stop | Happening::PeerClaim => return,
        };
        self.seq.set(self.seq.get() + 1);
        self.previous.set(previous);
        self.state.set(now);
        if before == State::Master && now != State::Master {
            self.trial.drop_addresses();
            self.leftover.set(true);
        }
    }

    /// Lets time pass: what waits goes on, what is to be tried again is.
    pub(super) async fn advance(&self, time: Duration) {
        let target = self.clock.now().saturating_add(time);
        loop {
            self.settle().await;
            match self.clock.next_waking() {
                Some(next) if next <= target => self.clock.move_to(next),
                _ => break,
            }
        }
        self.clock.move_to(target);
    }

    /// Until nothing is left to do but to try again later; time passes as it must.
    async fn finish(&self) {
        while self.settle().await {
            match self.clock.next_waking().filter(|_| !self.pausing.get()) {
                Some(next) => self.clock.move_to(next),
                None => return,
            }
        }
    }

    /// Until everything that can be done now is done. True if something waits for time to pass.
    async fn settle(&self) -> bool {
        let Some(mut activity) = self.activity.borrow_mut().take() else {
            return false;
        };
        let waits = tokio::select! {
            biased;
            _ = &mut activity => false,
            () = self.clock.somebody_sleeps() => true,
        };
        if waits {
            *self.activity.borrow_mut() = Some(activity);
        }
        waits
    }

    async fn follow(&self, happening: Happening, told: Told, ticket: u64) {
        match happening {
            Happening::Master => self.take(told, ticket).await,
            Happening::Backup => self.let_go(told, ticket).await,
            Happening::Stop => self.stop(ticket).await,
            Happening::PeerClaim => drop(self.run(EntryPoint::OnPeerClaim, &told, ticket).await),
        }
    }

    async fn take(&self, told: Told, ticket: u64) {
        if self.leftover.get() && !self.undo(ticket).await {
            return;
        }
        if self.trial.held().is_empty() {
            *self.baseline.borrow_mut() = self.trial.host().values();
            let mut record = self.record_mut();
            record.lasting.clear();
            record.foreign.clear();
        }
        match self.run(EntryPoint::BeforeMaster, &told, ticket).await {
            Ok(_) => {}
            Err(HookError::Superseded) => return self.resign_if_asked(ticket).await,
            Err(error) => return self.resign_for(&error, ticket).await,
        }
        if let Err(error) = self.trial.hold_addresses() {
            let cause = Cause::AddressFailed {
                reason: error.to_string(),
            };
            self.leave_for(&cause, ticket).await;
            return;
        }
        let mut pause = RETRY_FIRST;
        loop {
            match self.run(EntryPoint::OnMaster, &told, ticket).await {
                Ok(_) => self.degraded.set(false),
                Err(HookError::Superseded) => {}
                Err(_) if !self.subject.exam().resigns => {}
                Err(error) if !self.degraded.get() => return self.resign_for(&error, ticket).await,
                // Nobody took over the last time: an address without its service is better than no
                // address.
                Err(_) => {
                    if !self.pause(pause, ticket).await || !self.undo(ticket).await {
                        return;
                    }
                    pause = (pause * 2).min(RETRY_MAX);
                    continue;
                }
            }
            return self.resign_if_asked(ticket).await;
        }
    }

    async fn resign_for(&self, error: &HookError, ticket: u64) {
        self.degraded.set(true);
        let reason = format!("hook {}: {error}", self.subject.exam().hook.name);
        self.leave_for(&Cause::HookFailed { reason }, ticket).await;
    }

    async fn resign_if_asked(&self, ticket: u64) {
        let reason = self.record_mut().resigned.take();
        if let Some(reason) = reason
            && self.ticket.get() == ticket
            && self.state.get() == State::Master
        {
            self.leave_for(&Cause::Resigned { reason }, ticket).await;
        }
    }

    async fn leave_for(&self, cause: &Cause, ticket: u64) {
        self.change_state(&Happening::Backup);
        self.let_go(Told::by(cause), ticket).await;
    }

    /// No longer master, and the addresses are gone: the hook, then what is left is undone.
    async fn let_go(&self, told: Told, ticket: u64) {
        let result = self.run(EntryPoint::OnBackup, &told, ticket).await;
        if self.leftover.get() && !self.undo(ticket).await {
            return;
        }
        let failed = matches!(&result, Err(error) if *error != HookError::Superseded);
        let mut pause = RETRY_FIRST;
        while failed && self.pause(pause, ticket).await {
            if self.run(EntryPoint::OnBackup, &told, ticket).await.is_ok() {
                return;
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    async fn stop(&self, ticket: u64) {
        let told = Told::by(&Cause::Shutdown);
        if self.state.get() == State::Master {
            // Whatever it does, the handover goes on.
            drop(self.run(EntryPoint::BeforeBackup, &told, ticket).await);
            self.trial.drop_addresses();
            self.leftover.set(true);
            self.seq.set(self.seq.get() + 1);
            self.previous.set(State::Master);
            self.state.set(State::Init);
            drop(self.run(EntryPoint::OnBackup, &told, ticket).await);
            if !self.undo(ticket).await {
                return;
            }
        }
        self.state.set(State::Init);
        drop(self.run(EntryPoint::OnStop, &told, ticket).await);
    }

    /// Undoes what the hook holds until it is done; false if a newer state came before.
    async fn undo(&self, ticket: u64) -> bool {
        let mut pause = RETRY_FIRST;
        loop {
            let before = self.trial.host().trace().len();
            let undone = self.trial.undo().await;
            let trace = self.trial.host().trace();
            let done = trace
                .iter()
                .skip(before)
                .filter(|(_, done)| *done)
                .map(|(effect, _)| effect.to_string());
            self.record_mut().undone.extend(done);
            if undone.failed == 0 {
                self.leftover.set(false);
                return true;
            }
            if !self.pause(pause, ticket).await {
                return false;
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// False if something new came before the time was over.
    async fn pause(&self, pause: Duration, ticket: u64) -> bool {
        if self.ticket.get() > ticket {
            return false;
        }
        self.pausing.set(true);
        let over = tokio::select! {
            biased;
            () = self.overtaken(ticket) => false,
            () = self.clock.sleep(pause) => true,
        };
        self.pausing.set(false);
        over
    }

    /// Resolves when a newer state than that of `ticket` has come.
    async fn overtaken(&self, ticket: u64) {
        loop {
            let notified = self.superseded.notified();
            if self.ticket.get() > ticket {
                return;
            }
            notified.await;
        }
    }

    /// Asks the hook how the service is.
    pub(super) async fn health(&self) -> Result<(u8, String), HookError> {
        self.finish().await;
        match self
            .run(
                EntryPoint::Health,
                &Told::by(&Cause::Startup),
                self.ticket.get(),
            )
            .await?
        {
            Returned::Health { demotion, reason } => Ok((demotion, reason)),
            Returned::Done => Ok((0, String::new())),
        }
    }

    /// Runs one entry point; nothing if the hook does not define it.
    async fn run(
        &self,
        entry: EntryPoint,
        told: &Told,
        ticket: u64,
    ) -> Result<Returned, HookError> {
        if !self.subject.defines(entry) {
            return Ok(Returned::Done);
        }
        let result = self.call(entry, told, ticket).await;
        if let Err(error) = &result
            && *error != HookError::Superseded
        {
            self.errors.borrow_mut().push((entry, error.clone()));
        }
        result
    }

    async fn call(
        &self,
        entry: EntryPoint,
        told: &Told,
        ticket: u64,
    ) -> Result<Returned, HookError> {
        let exam = self.subject.exam();
        let before = matches!(entry, EntryPoint::BeforeMaster | EntryPoint::BeforeBackup);
        let wall = if before {
            exam.before_timeout.min(exam.budget.wall)
        } else {
            exam.budget.wall
        };
        self.subject.note_call(entry.as_str());
        let hired = self
            .subject
            .hire(&self.config_json, &self.trial.party().grants)
            .await;
        let mut hired = hired.map_err(|error| HookError::RunnerDied(error.to_string()))?;
        let deadline = self.clock.now() + wall;
        let mut desk = NodeDesk {
            node: self,
            entry,
            runner: hired.runner.id(),
            deadline,
            wall,
            timed_out: false,
        };
        let budget = Budget {
            wall: wall.max(REAL_WALL),
            ..exam.budget
        };
        // Of a run that ended before it could be overtaken.
        _ = self.resigning.notified().now_or_never();
        let cancel = async {
            tokio::select! {
                () = self.overtaken(ticket) => {}
                () = self.resigning.notified() => {}
            }
        };
        let result = hired
            .runner
            .call(self.event(entry, told, wall), budget, &mut desk, cancel)
            .await;
        let timed_out = desk.timed_out;
        self.subject.release(hired).await;
        match result {
            Err(HookError::RunnerDied(_) | HookError::Superseded) => result,
            _ if timed_out => Err(HookError::TimedOut(wall)),
            other => other,
        }
    }

    fn event(&self, entry: EntryPoint, told: &Told, wall: Duration) -> HookEvent {
        let Spec {
            interface,
            addresses,
            name,
            vhid,
            xparam,
            ..
        } = &self.spec;
        let (interface, addresses, name) = (interface.clone(), addresses.clone(), name.clone());
        let Told {
            cause,
            cause_text,
            peer,
            initial,
            missed,
        } = told.clone();
        HookEvent {
            entry,
            instance: Instance {
                name,
                interface,
                vhid: *vhid,
                addresses,
            },
            state: self.state.get(),
            previous: self.previous.get(),
            cause: cause.to_owned(),
            cause_text,
            peer,
            seq: self.seq.get(),
            initial,
            missed,
            xparam: xparam.clone(),
            node: self
                .spec
                .world
                .hostname
                .clone()
                .unwrap_or_else(|| "node".to_owned()),
            time_left_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// The virtual host's own addresses that are on its interface now.
    pub(super) fn own_addresses_up(&self) -> Vec<VirtualAddress> {
        let dev = &self.spec.interface;
        let up = |a: &&VirtualAddress| {
            self.trial.host().value(&Resource::Address {
                dev: dev.clone(),
                ip: a.ip,
            }) != Value::Absent
        };
        self.spec.addresses.iter().filter(up).copied().collect()
    }

    /// What of the last mastership is left, in words: claims, and values that nobody wanted to
    /// stay.
    pub(super) fn left_behind(&self) -> Vec<String> {
        let held = self
            .trial
            .held()
            .into_iter()
            .map(|(resource, value)| format!("{resource} is still held as {value}"));
        held.chain(self.different_from(&self.baseline.borrow()))
            .collect()
    }

    /// Values that are neither as they were, nor as somebody wanted them to stay.
    pub(super) fn different_from(&self, before: &BTreeMap<Resource, Value>) -> Vec<String> {
        let host = self.trial.host();
        let (now, record) = (host.values(), self.record());
        let resources: BTreeSet<_> = before.keys().chain(now.keys()).collect();
        let as_wanted = |resource: &Resource| {
            let lasting = record
                .lasting
                .get(resource)
                .is_some_and(|lasting| host.value(resource) == *lasting);
            now.get(resource) == before.get(resource)
                || lasting
                || record.foreign.contains_key(resource)
        };
        let words =
            |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), ToString::to_string);
        let tell =
            |r: &Resource| format!("{r} is {}, was {}", words(now.get(r)), words(before.get(r)));
        resources
            .into_iter()
            .filter(|resource| !as_wanted(resource))
            .map(tell)
            .collect()
    }

    /// Every effect that the hook has asked for since the plan began, printed.
    pub(super) fn plan(&self) -> Vec<String> {
        self.record()
            .plan
            .iter()
            .map(|asked| asked.to_string().trim_end().to_owned())
            .collect()
    }

    /// What was undone since the last event, printed in the same words.
    pub(super) fn undone(&self) -> Vec<String> {
        self.record()
            .undone
            .iter()
            .map(|effect| effect.trim_end().to_owned())
            .collect()
    }

    /// Everything that was done to the host.
    pub(super) fn trace(&self) -> Vec<String> {
        let line = |(effect, done): &(Effect, bool)| {
            format!("{effect}{}", if *done { "" } else { " (failed)" })
        };
        self.trial.host().trace().iter().map(line).collect()
    }
}
