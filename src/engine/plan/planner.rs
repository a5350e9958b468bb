//! Plans made from a configuration, without a daemon.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use tokio::sync::mpsc;

use super::steps::{Refused, Steps, noted};
use super::{By, Event, Part, Plan, Verdict};
use crate::config::{self, Config, Kind};
use crate::effect::{Grants, Own};
use crate::engine::effects::foreign_addresses;
use crate::engine::effects::recover;
use crate::engine::reload::artifact::{Artifact, TrustPolicy};
use crate::engine::runs::helper_rights::services;
use crate::engine::runs::outcome::HookOutcome;
use crate::engine::runs::pool::{self, Pool};
use crate::engine::runs::pool::{load_pool, sandbox_policy};
use crate::engine::runs::queue::Queue;
use crate::engine::runs::shared::Shared;
use crate::engine::sim::{PATIENCE, Settling, settle, wake};
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::lease::Lease;
use crate::hooks::contract::api;
use crate::hooks::{EntryPoint, HookEvent, Instance, LoadError};
use crate::host::children::helper::Duty;
use crate::host::clock::{self, Virtual};
use crate::host::kernel::hostname;
use crate::host::{Host as _, HostError, Lifetimes, LinuxHost, Options, RecordingHost};
use crate::keeper::{Client, Role};
use crate::ledger::{Origin, ledgers_here};
use crate::proto;
use crate::proto::Cause;
use crate::resolve::Access;
use crate::types::Name;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A hook cannot be used.
    #[error("hook {name}: {source}")]
    Hook {
        /// Its name.
        name: Name,
        /// Why.
        source: LoadError,
    },
    /// The machine does not give what is needed.
    #[error("could not {what}: {source}")]
    System {
        /// A verb and its object.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The host does not say what it must.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// What to plan.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Only what this hook does, and only where it is used.
    pub hook: Option<Name>,
    /// What becomes of the virtual hosts.
    pub event: Event,
    /// Allow everything that is asked for, and remember it: see [`Planner::learned`].
    pub learns: bool,
}

/// What a hook asked for when allowed everything.
#[derive(Debug, Clone)]
pub struct Learned {
    /// The smallest grants that allow it.
    pub grants: Grants,
    /// Does the hook define an entry point that was run?
    pub runs: Vec<EntryPoint>,
}

/// A loaded configuration for planning. Its processes end with it.
#[derive(Debug)]
pub struct Planner<'a> {
    config: &'a Config,
    shared: Rc<Shared<RecordingHost<LinuxHost>>>,
    outcomes: mpsc::UnboundedReceiver<HookOutcome>,
    hooks: BTreeMap<Name, Hook>,
    node: String,
    learns: bool,
    _keeper: Client,
}

#[derive(Debug)]
struct Hook {
    pool: Rc<Pool>,
    /// Wider than what is written, where it learns.
    grants: Grants,
    runs: Vec<EntryPoint>,
}

/// How often a hook that learns is run anew with what it was refused before.
const ROUNDS_MAX: usize = 200;

impl<'a> Planner<'a> {
    /// Loads the hooks that are needed, each in runners of its own, by the daemon's `program`
    /// (the one beside this one if not given).
    ///
    /// Needs a tokio runtime with I/O and time, in a `LocalSet` on a thread that outlives this, and
    /// no task around it.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub async fn start(
        config: &'a Config,
        wanted: &Wanted,
        program: Option<&Path>,
    ) -> Result<Self, PlanError> {
        let system = |what| move |source| PlanError::System { what, source };
        let (keeper, _exits) =
            Client::start(program).map_err(system("start the parent process"))?;
        let host = LinuxHost::new(Options {
            services: services(config.daemon.service_backend),
            bus_address: None,
            patient: true,
        })?;
        let used = |name: &Name| config.vhosts.iter().any(|vhost| vhost.hooks.contains(name));
        let names = config.hooks.iter().filter(|(name, hook)| {
            wanted.hook.as_ref().is_none_or(|only| only == *name)
                && used(name)
                && hook.kind == Kind::Module
        });
        let names: Vec<(&Name, &config::Hook)> = names.collect();
        let reads = names
            .iter()
            .any(|(_, hook)| needs_helper(&hook.grants, &host));
        let helper = async {
            if !(reads || wanted.learns) {
                return Ok(None);
            }
            keeper.spawn(Role::Helper).await.map(Some)
        };
        let loading = futures_util::future::join_all(
            names
                .iter()
                .map(|(name, hook)| load(config, name, hook, &keeper, wanted.learns)),
        );
        let (helper, loaded) = futures_util::future::join(helper, loading).await;
        if let Some((_, stream)) = helper.map_err(system("start the helper"))? {
            host.set_helper(stream, Duty::Commands)?;
        }
        let mut hooks = BTreeMap::new();
        for ((name, _), loaded) in names.iter().zip(loaded) {
            let loaded = loaded.map_err(|source| PlanError::Hook {
                name: (*name).clone(),
                source,
            })?;
            hooks.insert((*name).clone(), loaded);
        }
        let node = match &config.daemon.node_name {
            Some(name) => name.clone(),
            None => own_name(config, hostname::current()?),
        };
        let host = if wanted.learns {
            RecordingHost::new(host).lenient()
        } else {
            RecordingHost::new(host)
        };
        let (sender, outcomes) = mpsc::unbounded_channel();
        let shared = Shared::in_memory(host, sender);
        shared.executor.recover_rest().await;
        Ok(Self {
            config,
            shared,
            outcomes,
            hooks,
            node,
            learns: wanted.learns,
            _keeper: keeper,
        })
    }

    /// Plans the event for each virtual host that uses the wanted hook; for all, if none is given.
    pub async fn plan(&mut self, wanted: &Wanted) -> Vec<Plan> {
        let mut plans = Vec::new();
        let config = self.config;
        for vhost in &config.vhosts {
            if wanted
                .hook
                .as_ref()
                .is_none_or(|hook| vhost.hooks.contains(hook))
            {
                plans.push(self.plan_vhost(vhost, wanted).await);
            }
        }
        plans
    }

    /// What a hook asked for so far, if it was loaded with [`Wanted::learns`].
    #[must_use]
    pub fn learned(&self, hook: &Name) -> Option<Learned> {
        let Hook { grants, runs, .. } = self.hooks.get(hook)?;
        Some(Learned {
            grants: grants.clone(),
            runs: runs.clone(),
        })
    }

    /// Where it learns, anew with what was refused, until nothing is.
    async fn plan_vhost(&mut self, vhost: &config::Vhost, wanted: &Wanted) -> Plan {
        let mut rounds = 0;
        loop {
            let (plan, steps) = self.plan_once(vhost, wanted).await;
            for (name, entry) in steps.runs() {
                if let Some(hook) = self.hooks.get_mut(&name) {
                    hook.runs.push(entry);
                }
            }
            rounds += 1;
            if !self.learns || rounds == ROUNDS_MAX || !self.widen(vhost, &steps.refused()) {
                return plan;
            }
        }
    }

    /// True if any hook may do more now.
    fn widen(&mut self, vhost: &config::Vhost, refused: &[(Name, Refused)]) -> bool {
        let own = Own {
            dev: &vhost.interface,
            addresses: &vhost.addresses,
        };
        let mut wider = false;
        for (name, refused) in refused {
            let Some(hook) = self.hooks.get_mut(name) else {
                continue;
            };
            let before = hook.grants.clone();
            match refused {
                Refused::Effect(effect) => hook.grants.widen(effect, own),
                Refused::Query(query) => hook.grants.widen_query(query),
            }
            wider |= hook.grants != before;
        }
        wider
    }

    async fn plan_once(
        &mut self,
        vhost: &config::Vhost,
        wanted: &Wanted,
    ) -> (Plan, Rc<Steps<LinuxHost>>) {
        let pools = vhost.hooks.iter().filter_map(|name| {
            let hook = self.hooks.get(name)?;
            let spec = config::Hook {
                grants: hook.grants.clone(),
                ..hook.pool.spec().clone()
            };
            Some(hook.pool.twin(spec))
        });
        let pools: Vec<Rc<Pool>> = pools.collect();
        let steps = Steps::new(&self.shared, vhost.clone(), &pools);
        self.shared.executor.observe(Rc::clone(&steps) as _);
        let queue = Queue::start(
            VhostId::new(0),
            vhost.name.clone(),
            vhost.interface.clone(),
            vhost.addresses.clone(),
            pools,
            Rc::clone(&self.shared),
        );
        // Sleeping takes no time for a hook here, and nothing is retried.
        let clock = Virtual::start(clock::now());
        let mut planning = Planning {
            planner: self,
            vhost,
            steps: &steps,
            queue: &queue,
            clock: &clock,
            plan: Plan {
                vhost: vhost.name.clone(),
                interface: vhost.interface.clone(),
                addresses: vhost.addresses.clone(),
                event: wanted.event,
                notes: Vec::new(),
                parts: Vec::new(),
            },
        };
        planning.note_scripts();
        match wanted.event {
            Event::Master => planning.master().await,
            Event::Backup => planning.backup().await,
            Event::BeforeMaster => _ = planning.hooks(EntryPoint::BeforeMaster).await,
            Event::BeforeBackup => _ = planning.hooks(EntryPoint::BeforeBackup).await,
            Event::PeerClaim => _ = planning.hooks(EntryPoint::OnPeerClaim).await,
            Event::Health => _ = planning.hooks(EntryPoint::Health).await,
            Event::Stop => _ = planning.hooks(EntryPoint::OnStop).await,
        }
        let plan = planning.plan;
        queue.abandon();
        (plan, steps)
    }
}

/// One plan of one virtual host while it is made.
struct Planning<'a, 'p> {
    planner: &'a mut Planner<'p>,
    vhost: &'a config::Vhost,
    steps: &'a Rc<Steps<LinuxHost>>,
    queue: &'a Rc<Queue<RecordingHost<LinuxHost>>>,
    clock: &'a Virtual,
    plan: Plan,
}

impl Settling for Planning<'_, '_> {
    fn is_working(&self) -> bool {
        !self.queue.is_quiet(self.clock)
    }

    fn is_stopping(&self) -> bool {
        false
    }

    fn tell(&mut self) -> bool {
        false
    }

    fn notice(&mut self) {}
}

impl Planning<'_, '_> {
    fn note_scripts(&mut self) {
        for name in &self.vhost.hooks {
            let hook = self.planner.config.hooks.get(name);
            if hook.is_some_and(|hook| hook.kind != Kind::Module) {
                self.plan.notes.push(format!(
                    "hook {name} is a program: what it would do is unknown until it runs"
                ));
            }
        }
    }

    /// Runs one entry point of the virtual host's hooks. False if that stops the list.
    async fn hooks(&mut self, entry: EntryPoint) -> bool {
        if !self.queue.defines(entry) {
            return true;
        }
        let event = event(self.vhost, self.plan.event, entry, &self.planner.node);
        self.queue.put(event, false);
        let longest = self.queue.longest_run(entry);
        let finished = loop {
            if settle(self, PATIENCE + longest).await.is_err() {
                break Err("it does not come to an end".to_owned());
            }
            match self.planner.outcomes.try_recv() {
                Ok(HookOutcome::Finished { result, .. }) => {
                    break result.map_err(|failure| failure.error.to_string());
                }
                Ok(_) => continue,
                Err(_) => {}
            }
            let Some(next) = self.clock.next() else {
                break Err("it does not end".to_owned());
            };
            self.clock.advance(next.max(clock::now()));
            wake(self.clock, self.queue.tasks()).await;
        };
        self.plan.parts.extend(self.steps.take());
        finished.is_ok()
    }

    async fn master(&mut self) {
        let (shared, vhost) = (Rc::clone(&self.planner.shared), self.vhost);
        if !self.hooks(EntryPoint::BeforeMaster).await {
            let note = "before_master failed: the virtual host stays backup";
            return self.plan.notes.push(note.to_owned());
        }
        if let Some(address) = foreign_addresses::foreign(&shared.executor, vhost).first() {
            self.plan.notes.push(format!(
                "it would not take part here: {}",
                foreign_addresses::complaint(*address, &vhost.interface)
            ));
            return;
        }
        if vhost.manage_addresses {
            let lease = Lease::of(
                &proto::Vhost::new(vhost.settings(), 0),
                vhost.lease == config::Leases::Kernel,
            );
            let addresses = &vhost.addresses;
            let lifetimes = Lifetimes {
                valid: lease.lifetime(),
                preferred: vhost.preferred_lifetime,
            };
            let held = shared.executor.hold_addresses(vhost, addresses, lifetimes);
            let failure = held.err().map(|error| error.to_string());
            let failed = failure.is_some();
            if !failed {
                shared.executor.announce(vhost, addresses);
            }
            self.daemon_part(By::Daemon, failure);
            if failed {
                return;
            }
        }
        self.hooks(EntryPoint::OnMaster).await;
    }

    async fn backup(&mut self) {
        let (shared, vhost) = (Rc::clone(&self.planner.shared), self.vhost);
        let held = foreign_addresses::foreign(&shared.executor, vhost).is_empty()
            && vhost.addresses.iter().any(|address| {
                let host = shared.executor.host();
                host.address_present(&vhost.device(), address.ip)
                    .unwrap_or(false)
            });
        if held {
            self.plan.notes.push("it is master here: what its daemon holds for hooks is undone as well, see carpd status".to_owned());
        } else {
            let before = (self.plan.notes.len() + 1, self.plan.parts.len());
            self.plan.notes.push(
                "it is not master here: this is what would happen if it had become master first"
                    .to_owned(),
            );
            let event = std::mem::replace(&mut self.plan.event, Event::Master);
            self.master().await;
            self.plan.event = event;
            self.plan.notes.truncate(before.0);
            self.plan.parts.truncate(before.1);
        }
        if vhost.manage_addresses {
            let executor = &shared.executor;
            executor.release_addresses(vhost, vhost.addresses.iter().copied());
            executor.drop_addresses(&vhost.name);
            executor.undo_device(&vhost.name).await;
            self.daemon_part(By::Daemon, None);
        }
        self.hooks(EntryPoint::OnBackup).await;
        shared.executor.undo_hooks(&vhost.name).await;
        self.daemon_part(By::Undo, None);
    }

    fn daemon_part(&mut self, by: By, failure: Option<String>) {
        let recorded = self.planner.shared.executor.host().take();
        let mut steps: Vec<_> = recorded.iter().map(noted).collect();
        // Releasing something that is not there has no effect.
        steps.retain(|step| {
            step.verdict != Verdict::Already || step.after.as_deref() != Some("absent")
        });
        if !steps.is_empty() || failure.is_some() {
            self.plan.parts.push(Part {
                by,
                steps,
                log: Vec::new(),
                failure,
            });
        }
    }
}

/// The node's own name, even if a daemon's hook has set another one.
fn own_name(config: &Config, now: String) -> String {
    let ledgers = Origin::current()
        .map(|origin| ledgers_here(&config.daemon.run_dir, origin))
        .unwrap_or_default();
    recover::own_name(&ledgers.iter().collect::<Vec<_>>(), now)
}

/// Reading files, parameters that only root may see, and asking init scripts is the helper's work.
fn needs_helper(grants: &Grants, host: &LinuxHost) -> bool {
    !grants.file.is_empty()
        || !grants.sysctl.is_empty()
        || (host.services_need_helper() && !grants.service.is_empty())
}

async fn load(
    config: &Config,
    name: &Name,
    hook: &config::Hook,
    keeper: &Client,
    learns: bool,
) -> Result<Hook, LoadError> {
    let mut material = Artifact::read(&TrustPolicy::of(config, &Access::own()), name, hook)?;
    let policy = sandbox_policy(config);
    material.source = pool::compiled(keeper, material.source, &hook.grants, policy).await?;
    if let Some(native) = material.source.native.as_mut().filter(|_| learns) {
        native.allowed = api::FUNCTIONS
            .iter()
            .map(api::Function::full_name)
            .collect();
    }
    // What the operator wrote out of a command line cannot be learned.
    let grants = if learns {
        Grants {
            command: hook.grants.command.clone(),
            ..Grants::default()
        }
    } else {
        hook.grants.clone()
    };
    Ok(Hook {
        pool: load_pool(config, name, hook, material, keeper).await?,
        grants,
        runs: Vec::new(),
    })
}

/// What a hook is told, as if it happened now.
fn event(vhost: &config::Vhost, event: Event, entry: EntryPoint, node: &str) -> HookEvent {
    let (state, previous) = event.states();
    let cause = match event {
        Event::BeforeMaster | Event::Master => Cause::MasterDown {
            silent: proto::Vhost::new(vhost.settings(), 0).master_down(),
        },
        Event::Backup | Event::PeerClaim | Event::Health => Cause::BetterMaster,
        Event::BeforeBackup | Event::Stop => Cause::Shutdown,
    };
    HookEvent {
        entry,
        instance: Instance {
            name: vhost.name.clone(),
            interface: vhost.interface.clone(),
            vhid: vhost.vhid,
            addresses: vhost.addresses.clone(),
        },
        state,
        previous,
        cause: cause.as_str().to_owned(),
        cause_text: cause.to_string(),
        peer: None,
        seq: 1,
        initial: false,
        missed: 0,
        xparam: vhost.xparam.clone(),
        node: node.to_owned(),
        // Said when it runs.
        time_left_ms: 0,
    }
}
