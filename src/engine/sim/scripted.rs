//! One simulated machine whose virtual hosts change state on demand: for tests of hooks.
//!
//! A better node advertises on its LAN, so nothing changes by itself: the test decides what happens
//! to a virtual host, and the engine does what follows.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::super::rehearse::NodeConfig;
use super::{Down, Endless, PATIENCE, Settling, SimMachine, Turns, settle, wake};
use crate::config::{self, Config};
use crate::effect::{Grants, Resource, Value};
use crate::engine::reload::artifact::Artifact;
use crate::engine::runs::observer::Observer;
use crate::engine::runs::outcome::HookOutcome;
use crate::engine::runs::pool::{self, Coverage, Pool};
use crate::engine::vhost::id::VhostId;
use crate::hooks::contract::message::FileCoverage;
use crate::hooks::process::session::SandboxPolicy;
use crate::hooks::{EntryPoint, HookError, HookSource, LoadError, Returned};
use crate::host::SimHost;
use crate::host::clock::{self, Paused, Virtual};
use crate::keeper::Client;
use crate::ledger::{Holding, Owner};
use crate::proto::sim::Luck;
use crate::proto::{self, Cause, Input, Output, Received};
use crate::types::{AdvSkew, Family, MacAddr, Name, State, Timestamp};

/// What luck is drawn from: nothing here depends on it.
const SEED: u64 = 1;
/// Where the packets of other nodes come from, unless the test says otherwise.
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
/// The better node's hardware address.
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);

/// A hook in runners of its own, which any number of machines may use one after the other.
#[derive(Debug)]
pub struct LoadedHook {
    pool: Rc<Pool>,
    counted: Counted,
}

/// What is counted of a hook and goes on being counted, also once its [`LoadedHook`] is gone and
/// machines alone use it.
#[derive(Debug, Clone)]
pub struct Counted {
    started: Rc<Cell<u32>>,
    coverage: Option<Rc<Coverage>>,
}

impl LoadedHook {
    /// Loads it; with `counted` it is counted how often each line runs.
    ///
    /// # Errors
    /// [`LoadError`]: the hook's own fault, or a process that is not to be had.
    pub async fn load(
        keeper: &Client,
        name: &Name,
        spec: &config::Hook,
        source: HookSource,
        policy: SandboxPolicy,
        counted: bool,
    ) -> Result<Self, LoadError> {
        let coverage: Option<Rc<Coverage>> = counted.then(Rc::default);
        let pool = Pool::start_counted(
            name.clone(),
            spec.clone(),
            Artifact {
                source,
                vouched: None,
            },
            policy,
            keeper.clone(),
            coverage.clone(),
        );
        let pool = pool.await?;
        let started = Rc::clone(pool.started());
        Ok(Self {
            pool,
            counted: Counted { started, coverage },
        })
    }

    /// The functions that it defines.
    #[must_use]
    pub fn entry_points(&self) -> &[EntryPoint] {
        self.pool.entry_points()
    }

    /// What is counted of it.
    #[must_use]
    pub const fn counted(&self) -> &Counted {
        &self.counted
    }
}

impl Counted {
    /// How often each line has run, by runner, in runs that came to their end.
    #[must_use]
    pub fn coverage(&self) -> Vec<FileCoverage> {
        let counted = self.coverage.as_ref().map(|coverage| coverage.borrow());
        counted
            .iter()
            .flat_map(|counted| counted.values().flatten().cloned())
            .collect()
    }

    /// How many runners were started for it.
    #[must_use]
    pub fn started(&self) -> u32 {
        self.started.get()
    }
}

/// Has a WebAssembly hook compiled; another one stays as it is.
///
/// # Errors
/// [`LoadError`]: it is no component that may be loaded, or the compiler could not be started.
pub async fn compiled(
    keeper: &Client,
    source: HookSource,
    grants: &Grants,
    policy: SandboxPolicy,
) -> Result<HookSource, LoadError> {
    pool::compiled(keeper, source, grants, policy).await
}

/// Something that becomes of a virtual host.
#[derive(Debug, Clone)]
pub struct Change {
    /// Number of the virtual host.
    pub vhost: usize,
    /// Its state from now on.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// By whom.
    pub peer: Option<IpAddr>,
    /// So many changes before were told to nobody.
    pub missed: u32,
}

/// The machine.
pub struct Scripted {
    machine: SimMachine,
    observer: Rc<dyn Observer>,
    clock: Option<Paused>,
    start: Timestamp,
    luck: Luck,
    /// One better node for each virtual host.
    peers: Vec<proto::Vhost>,
    /// How long hooks may work in real time while the clock stands still.
    patience: Duration,
    /// Of these virtual hosts something has become.
    known: BTreeSet<VhostId>,
    /// What the health of each hook was found to be last.
    health: BTreeMap<(VhostId, Name), Result<Returned, HookError>>,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripted").finish_non_exhaustive()
    }
}

impl Scripted {
    /// A machine that is on, with this configuration and these hooks, where nothing has become of
    /// any virtual host. Needs a tokio runtime with I/O and time, inside a `LocalSet`, on one
    /// thread, and no task around it.
    pub async fn start(
        node: &str,
        config: Config,
        hooks: BTreeMap<Name, &LoadedHook>,
        host: SimHost,
        keeper: &Client,
        observer: Rc<dyn Observer>,
    ) -> Self {
        let start = Timestamp::ZERO + Duration::from_secs(1);
        let clock = Virtual::start(start);
        let twin = |(name, hook): (Name, &LoadedHook)| {
            let spec = config.hooks.get(&name)?.clone();
            Some((name, hook.pool.twin(spec)))
        };
        let pools: BTreeMap<_, _> = hooks.into_iter().filter_map(twin).collect();
        let peers = config.vhosts.iter().map(better).collect();
        let node = NodeConfig {
            name: node.to_owned(),
            path: PathBuf::new(),
            config,
        };
        let machine = SimMachine::on(node, pools, keeper.clone(), host);
        let patience = PATIENCE + machine.longest_run();
        let mut scripted = Self {
            machine,
            observer,
            clock: None,
            start,
            luck: Luck::new(SEED),
            peers,
            patience,
            known: BTreeSet::new(),
            health: BTreeMap::new(),
        };
        scripted.boot().await;
        scripted.clock = Some(clock.pause());
        scripted
    }

    async fn boot(&mut self) {
        let observer = Rc::clone(&self.observer);
        self.machine.start(&mut self.luck, Some(observer)).await;
        self.known.clear();
    }

    /// Its host.
    #[must_use]
    pub const fn host(&self) -> &SimHost {
        &self.machine.host
    }

    /// Does its daemon run?
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.machine.engine().is_some()
    }

    /// The time since it was made.
    #[must_use]
    pub fn now(&self) -> Duration {
        let now = self.clock.as_ref().map_or(self.start, Paused::now);
        now.since(self.start)
    }

    /// The state of a virtual host; init until something has become of it.
    #[must_use]
    pub fn state(&self, vhost: usize) -> State {
        let vhost = VhostId::new(vhost);
        let node = self
            .machine
            .engine()
            .filter(|_| self.known.contains(&vhost))
            .and_then(|engine| engine.nodes.get(vhost));
        node.map_or(State::Init, |node| node.machine.state())
    }

    /// How unfit it says that it is, all in all.
    #[must_use]
    pub fn demotion(&self, vhost: usize) -> u8 {
        let engine = self.machine.engine();
        engine
            .and_then(|engine| engine.nodes.get(VhostId::new(vhost)))
            .map_or(0, |node| node.machine.demotion().get())
    }

    /// What is held, and for which virtual hosts.
    #[must_use]
    pub fn held(&self) -> Vec<(Resource, Value, Vec<Name>)> {
        let Some(engine) = self.machine.engine() else {
            return Vec::new();
        };
        let held = |holding: Holding<'_>| {
            let vhosts = holding.owners.iter().map(|owner| owner.vhost.clone());
            let (resource, value) = (holding.resource.clone(), holding.value.clone());
            (resource, value, vhosts.collect())
        };
        engine.shared.executor.ledger().iter().map(held).collect()
    }

    /// What a hook keeps under this key: JSON.
    #[must_use]
    pub fn stored(&self, vhost: usize, hook: &Name, key: &str) -> Option<Vec<u8>> {
        let engine = self.machine.engine()?;
        let owner = Owner {
            vhost: engine.nodes.get(VhostId::new(vhost))?.spec.name.clone(),
            hook: Some(hook.clone()),
        };
        engine.shared.store.borrow().value(&owner, key)
    }

    /// Something becomes of a virtual host, and the daemon does what follows. With `wait`, until
    /// it has nothing to do but to try again later; without, until hooks wait for the first time.
    ///
    /// # Errors
    /// A hook works on, and does not end.
    pub async fn change(&mut self, change: Change, wait: bool) -> Result<(), String> {
        let clock = self.resume()?;
        if self.machine.engine().is_none() {
            self.boot().await;
        }
        let now = clock::now();
        let Change {
            vhost,
            to,
            cause,
            peer,
            missed,
        } = change;
        let vhost = VhostId::new(vhost);
        let first = self.known.insert(vhost);
        if let Some(mut turn) = self.machine.turn()
            && let Some(node) = turn.nodes.get_mut(vhost)
        {
            node.queue.add_missed(missed);
            if to == State::Backup && first {
                // It has been backup since the start, and nobody knew.
                node.told_initial = false;
                turn.tell_initial(vhost);
            } else {
                turn.handle(vhost, Input::Become { to, cause, peer }, now);
            }
        }
        self.go_on(clock, wait).await
    }

    /// An operator has it hand over all that it is master of, and the daemon does what follows
    /// until hooks wait for the first time.
    ///
    /// # Errors
    /// A hook works on, and does not end.
    pub async fn hand_over(&mut self, reason: &str) -> Result<(), String> {
        let clock = self.resume()?;
        self.machine.hand_over(reason, clock::now());
        self.go_on(clock, false).await
    }

    /// The daemon stops in good order.
    ///
    /// # Errors
    /// A hook works on, and does not end.
    pub async fn stop(&mut self) -> Result<(), String> {
        let clock = self.resume()?;
        if let Some(mut turn) = self.machine.turn() {
            turn.stop("the end of the test");
        }
        self.go_on(clock, true).await
    }

    /// A worse master is heard.
    ///
    /// # Errors
    /// A hook works on, and does not end.
    pub async fn hear_worse(&mut self, vhost: usize, from: Option<IpAddr>) -> Result<(), String> {
        let clock = self.resume()?;
        if let Some(spec) = self.machine.node.config.vhosts.get(vhost) {
            let mut worse = rival(spec, AdvSkew(254));
            self.speak(vhost, &mut worse, from);
        }
        self.go_on(clock, true).await
    }

    /// Asks the hooks of a virtual host how their service is: the answer of each.
    ///
    /// # Errors
    /// A hook works on, and does not end.
    pub async fn ask_health(
        &mut self,
        vhost: usize,
    ) -> Result<Vec<Result<Returned, HookError>>, String> {
        let clock = self.resume()?;
        self.finish(&clock).await?;
        let of_it = |(asked, _): &(VhostId, Name)| *asked == VhostId::new(vhost);
        self.health.retain(|hook, _| !of_it(hook));
        let now = clock::now();
        if let Some(mut turn) = self.machine.turn() {
            turn.check_now(VhostId::new(vhost), now);
        }
        self.go_on(clock, true).await?;
        let answers = self.health.iter().filter(|(hook, _)| of_it(hook));
        Ok(answers.map(|(_, answer)| answer.clone()).collect())
    }

    /// A hook is another version from now on, as after a reload. What it is doing at the time it
    /// finishes in the version before.
    ///
    /// # Errors
    /// A hook works on, and does not end.
    pub async fn edit(&mut self, hook: &Name, version: &LoadedHook) -> Result<(), String> {
        let clock = self.resume()?;
        if let Some(spec) = self.machine.node.config.hooks.get(hook) {
            let version = version.pool.twin(spec.clone());
            self.machine.edit(&version, clock::now());
        }
        self.go_on(clock, false).await
    }

    /// The machine loses its power: nothing is undone, and nobody is told.
    ///
    /// # Errors
    /// What happened before has not finished.
    pub async fn power_off(&mut self) -> Result<(), String> {
        let clock = self.resume()?;
        self.machine.switch_off();
        self.go_on(clock, false).await
    }

    /// The machine boots, with this host, unless it is on already. Nothing has become of its
    /// virtual hosts.
    ///
    /// # Errors
    /// What happened before has not finished.
    pub async fn power_on(&mut self, host: SimHost) -> Result<(), String> {
        let clock = self.resume()?;
        if self.machine.engine().is_none() {
            self.machine.host = host;
            self.boot().await;
        }
        // Not before it is told what becomes of them, as at the start.
        self.clock = Some(clock.pause());
        Ok(())
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// A hook works on, and does not end.
    pub async fn advance(&mut self, length: Duration) -> Result<(), String> {
        let clock = self.resume()?;
        let end = clock::now() + length;
        let mut turns = Turns::default();
        loop {
            self.settle(&clock).await?;
            let now = clock::now();
            let Some(next) = self.next(&clock).map(|next| next.max(now)) else {
                break;
            };
            if next > end {
                break;
            }
            let stuck = |Endless| "too much happens at the same time".to_owned();
            turns.count(now, next).map_err(stuck)?;
            self.turn(&clock, next).await;
        }
        clock.advance(end);
        self.clock = Some(clock.pause());
        Ok(())
    }

    /// Its clock; not after an error, which left the machine in the middle of something.
    fn resume(&mut self) -> Result<Virtual, String> {
        let clock = self.clock.take().map(Paused::resume);
        clock.ok_or_else(|| "what happened before has not finished on this host".to_owned())
    }

    async fn go_on(&mut self, clock: Virtual, wait: bool) -> Result<(), String> {
        if wait {
            self.finish(&clock).await?;
        } else {
            self.settle(&clock).await?;
        }
        self.clock = Some(clock.pause());
        Ok(())
    }

    /// Until nothing is left to do but to try again later; time passes as it must.
    async fn finish(&mut self, clock: &Virtual) -> Result<(), String> {
        loop {
            self.settle(clock).await?;
            if !self.machine.is_at_work() {
                return Ok(());
            }
            let now = clock::now();
            let Some(next) = self.next(clock) else {
                return Ok(());
            };
            self.turn(clock, next.max(now)).await;
        }
    }

    /// Until everything that can be done now is done.
    async fn settle(&mut self, clock: &Virtual) -> Result<(), String> {
        let patience = self.patience;
        let mut settling = Instant { play: self, clock };
        let stuck = |Endless| "a hook keeps running and does not end".to_owned();
        settle(&mut settling, patience).await.map_err(stuck)
    }

    /// When something happens next.
    fn next(&mut self, clock: &Virtual) -> Option<Timestamp> {
        let peers = self.peers.iter().filter_map(proto::Vhost::deadline);
        let others = [
            self.machine.next_wake(),
            self.machine.host.next_expiry(),
            clock.next(),
        ];
        peers.chain(others.into_iter().flatten()).min()
    }

    async fn turn(&mut self, clock: &Virtual, now: Timestamp) {
        clock.advance(now);
        self.machine.expire(now);
        if self.machine.is_out_of_time(now) {
            self.machine.end(Down::Stopped);
        }
        self.peers_speak(now);
        if self.machine.next_wake().is_some_and(|wake| wake <= now) {
            self.machine.timers();
        }
        wake(clock, self.machine.tasks()).await;
    }

    /// The better nodes advertise, unless the virtual host is to be master.
    fn peers_speak(&mut self, now: Timestamp) {
        let mut peers = std::mem::take(&mut self.peers);
        for (vhost, peer) in peers.iter_mut().enumerate() {
            if peer.deadline().is_some_and(|due| due <= now) {
                peer.handle(Input::Timer, now);
                self.speak(vhost, peer, None);
            }
        }
        self.peers = peers;
    }

    /// A virtual host hears what a node has to say.
    fn speak(&mut self, vhost: usize, rival: &mut proto::Vhost, from: Option<IpAddr>) {
        let now = clock::now();
        let listens = self.state(vhost) != State::Master;
        let heard = listens || rival.settings().advskew.0 > 0;
        loop {
            let packet = match rival.poll() {
                Output::Transmit(packet) => packet,
                Output::Idle(_) => return,
                _ => continue,
            };
            let family = packet.family;
            rival.handle(Input::Sent { family, ok: true }, now);
            let Some(mut turn) = self.machine.turn().filter(|_| heard) else {
                continue;
            };
            let (src, dst) = way(rival.settings(), family);
            let received = Received {
                src: from.unwrap_or(src),
                dst,
                mac: Some(PEER_MAC),
                ttl: 255,
                payload: &packet.payload,
            };
            turn.handle(VhostId::new(vhost), Input::Packet(received), now);
        }
    }
}

/// One instant of it.
struct Instant<'a> {
    play: &'a mut Scripted,
    clock: &'a Virtual,
}

impl Settling for Instant<'_> {
    fn is_working(&self) -> bool {
        self.play.machine.is_working(self.clock)
    }

    fn is_stopping(&self) -> bool {
        self.play.machine.is_stopping()
    }

    fn tell(&mut self) -> bool {
        let machine = &mut self.play.machine;
        // Before the outcomes are taken: an engine that has stopped has received all of them.
        let ended = machine.has_stopped();
        let mut told = ended;
        for outcome in machine.outcomes() {
            told = true;
            if let HookOutcome::Checked {
                vhost,
                hook,
                result,
                ..
            } = &outcome
            {
                let hook = (*vhost, hook.clone());
                self.play.health.insert(hook, result.clone());
            }
            if let Some(mut turn) = machine.turn() {
                turn.hook_outcome(outcome);
            }
        }
        if ended {
            machine.end(Down::Stopped);
        }
        told
    }

    fn notice(&mut self) {
        // Nobody listens, and the host remembers by itself what was done.
        self.play.machine.wire.take();
    }
}

/// Where the packets of such a node come from, and go to.
fn way(settings: &proto::Settings, family: Family) -> (IpAddr, IpAddr) {
    if let Some(unicast) = settings.delivery.unicast() {
        let mut peers = unicast.peers.iter().copied();
        let peer = peers.find(|peer| Family::of(*peer) == family);
        let peer = peer.unwrap_or(PEER.into());
        return (peer, peer);
    }
    match family {
        Family::V4 => (PEER.into(), [224, 0, 0, 18].into()),
        Family::V6 => (
            [0xfe80, 0, 0, 0, 0, 0, 0, 0xfe].into(),
            [0xff02, 0, 0, 0, 0, 0, 0, 0x12].into(),
        ),
    }
}

/// A node that advertises, with the settings of this virtual host otherwise.
fn rival(spec: &config::Vhost, advskew: AdvSkew) -> proto::Vhost {
    let settings = proto::Settings {
        advskew,
        ..spec.settings()
    };
    let (mut rival, now) = (proto::Vhost::new(settings, SEED), clock::now());
    let master = Input::Become {
        to: State::Master,
        cause: Cause::Startup,
        peer: None,
    };
    rival.handle(master, now);
    rival
}

/// The node that keeps the virtual host backup.
fn better(spec: &config::Vhost) -> proto::Vhost {
    let mut better = rival(spec, AdvSkew(0));
    while !matches!(better.poll(), Output::Idle(_)) {}
    better
}
