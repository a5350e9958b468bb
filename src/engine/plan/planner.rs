//! Plans made from a configuration, without a daemon.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::super::execute::Executor;
use super::super::lease::Lease;
use super::super::material::{Belief, Material};
use super::super::own;
use super::super::pool;
use super::super::recover::{self, Recovery};
use super::super::start::{sandbox_policy, services};
use super::super::store::Store;
use super::desk::{PlanDesk, noted};
use super::{By, Event, Part, Plan, Verdict};
use crate::config::{self, Config, Kind};
use crate::effect::{Grants, Own};
use crate::hooks::session::Session;
use crate::hooks::{Budget, EntryPoint, HookEvent, HookSource, Instance, LoadError, api};
use crate::host::helper::Duty;
use crate::host::{Host as _, HostError, LinuxHost, Options, RecordingHost, hostname};
use crate::keeper::{Client, Role};
use crate::ledger::{Ledger, Origin, Owner, ledgers_here};
use crate::proto;
use crate::resolve::Access;
use crate::types::{Cause, Name};

/// A look at the host takes no longer.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

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
    /// Allow whatever is asked, and remember it: see [`Planner::learned`].
    pub learns: bool,
}

/// What a hook that may do everything has asked for.
#[derive(Debug, Clone)]
pub struct Learned {
    /// The smallest grants that allow it.
    pub grants: Grants,
    /// Does the hook define an entry point that was run?
    pub runs: Vec<EntryPoint>,
}

/// A loaded configuration that can be planned with. Its processes end with it.
#[derive(Debug)]
pub struct Planner<'a> {
    config: &'a Config,
    executor: Executor<RecordingHost<LinuxHost>>,
    store: RefCell<Store>,
    hooks: BTreeMap<Name, Loaded>,
    node: String,
    learns: bool,
    _keeper: Client,
}

#[derive(Debug)]
struct Loaded {
    session: Session,
    budget: Budget,
    grants: Grants,
    runs: Vec<EntryPoint>,
}

impl<'a> Planner<'a> {
    /// Loads the hooks that are needed, each in a runner of its own, from `program` (this binary if
    /// not given).
    ///
    /// Needs a tokio runtime with I/O and time, on a thread that outlives this.
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
        let executor = Executor::new(host, Ledger::new(), Recovery::default());
        Ok(Self {
            config,
            executor,
            store: RefCell::new(Store::new()),
            hooks,
            node,
            learns: wanted.learns,
            _keeper: keeper,
        })
    }

    /// What the event would do to each virtual host that has a hook that was asked for; to all, if
    /// none was.
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
        let Loaded { grants, runs, .. } = self.hooks.get(hook)?;
        Some(Learned {
            grants: grants.clone(),
            runs: runs.clone(),
        })
    }

    async fn plan_vhost(&mut self, vhost: &config::Vhost, wanted: &Wanted) -> Plan {
        let mut plan = Plan {
            vhost: vhost.name.clone(),
            interface: vhost.interface.clone(),
            addresses: vhost.addresses.clone(),
            event: wanted.event,
            notes: Vec::new(),
            parts: Vec::new(),
        };
        self.note_scripts(vhost, &mut plan);
        match wanted.event {
            Event::Master => self.master(vhost, &mut plan).await,
            Event::Backup => self.backup(vhost, &mut plan).await,
            Event::BeforeMaster => self.hooks(vhost, EntryPoint::BeforeMaster, &mut plan).await,
            Event::BeforeBackup => self.hooks(vhost, EntryPoint::BeforeBackup, &mut plan).await,
            Event::PeerClaim => self.hooks(vhost, EntryPoint::OnPeerClaim, &mut plan).await,
            Event::Health => self.hooks(vhost, EntryPoint::Health, &mut plan).await,
            Event::Stop => self.hooks(vhost, EntryPoint::OnStop, &mut plan).await,
        }
        plan
    }

    fn note_scripts(&self, vhost: &config::Vhost, plan: &mut Plan) {
        for name in &vhost.hooks {
            if self
                .config
                .hooks
                .get(name)
                .is_some_and(|hook| hook.kind != Kind::Module)
            {
                plan.notes.push(format!(
                    "hook {name} is a program: what it would do is not known before it runs"
                ));
            }
        }
    }

    async fn master(&mut self, vhost: &config::Vhost, plan: &mut Plan) {
        self.hooks(vhost, EntryPoint::BeforeMaster, plan).await;
        let refused = plan.parts.iter().any(|part| part.failure.is_some());
        if refused {
            plan.notes
                .push("before_master failed: the virtual host stays backup".to_owned());
            return;
        }
        if let Some(address) = own::foreign(&self.executor, vhost).first() {
            plan.notes.push(format!(
                "it would take no part here: {}",
                own::complaint(*address, &vhost.interface)
            ));
            return;
        }
        if vhost.manage_addresses {
            let lease = Lease::of(
                &proto::Vhost::new(vhost.settings(), 0),
                vhost.lease == config::Leases::Kernel,
            );
            let held = self.executor.hold_addresses(
                &vhost.name,
                &vhost.interface,
                &vhost.addresses,
                lease,
            );
            let failure = held.err().map(|error| error.to_string());
            let failed = failure.is_some();
            if !failed {
                self.executor
                    .announce(&vhost.name, &vhost.interface, &vhost.addresses);
            }
            self.daemon_part(By::Daemon, failure, plan);
            if failed {
                return;
            }
        }
        self.hooks(vhost, EntryPoint::OnMaster, plan).await;
    }

    async fn backup(&mut self, vhost: &config::Vhost, plan: &mut Plan) {
        let held = own::foreign(&self.executor, vhost).is_empty()
            && vhost.addresses.iter().any(|address| {
                self.executor
                    .host()
                    .address_present(&vhost.interface, address.ip)
                    .unwrap_or(false)
            });
        if held {
            plan.notes.push("it is master here: what its daemon holds for hooks is undone as well, see carpd status".to_owned());
        } else {
            plan.notes.push(
                "it is not master here: this is what follows if it had become master first"
                    .to_owned(),
            );
            let mut before = Plan {
                notes: Vec::new(),
                parts: Vec::new(),
                ..plan.clone()
            };
            self.master(vhost, &mut before).await;
        }
        if vhost.manage_addresses {
            self.executor.release_addresses(
                &vhost.name,
                &vhost.interface,
                vhost.addresses.iter().copied(),
            );
            self.executor.drop_addresses(&vhost.name);
            self.daemon_part(By::Daemon, None, plan);
        }
        self.hooks(vhost, EntryPoint::OnBackup, plan).await;
        self.executor.undo_hooks(&vhost.name).await;
        self.daemon_part(By::Undo, None, plan);
    }

    fn daemon_part(&self, by: By, failure: Option<String>, plan: &mut Plan) {
        let mut steps: Vec<_> = self.executor.host().take().iter().map(noted).collect();
        // Letting go of what is not there is nothing.
        steps.retain(|step| {
            step.verdict != Verdict::Already || step.after.as_deref() != Some("absent")
        });
        if !steps.is_empty() || failure.is_some() {
            plan.parts.push(Part {
                by,
                steps,
                log: Vec::new(),
                failure,
            });
        }
    }

    /// Runs one entry point of the virtual host's hooks, as its queue would.
    async fn hooks(&mut self, vhost: &config::Vhost, entry: EntryPoint, plan: &mut Plan) {
        let down = matches!(
            entry,
            EntryPoint::BeforeBackup | EntryPoint::OnBackup | EntryPoint::OnStop
        );
        let mut names: Vec<&Name> = vhost.hooks.iter().collect();
        if down {
            names.reverse();
        }
        for name in names {
            let failed = self.hook(vhost, name, entry, plan).await;
            if failed && !down {
                return;
            }
        }
    }

    /// True if it failed.
    async fn hook(
        &mut self,
        vhost: &config::Vhost,
        name: &Name,
        entry: EntryPoint,
        plan: &mut Plan,
    ) -> bool {
        let Some(loaded) = self.hooks.get_mut(name) else {
            return false;
        };
        if !loaded.session.loaded().entry_points.contains(&entry) {
            return false;
        }
        loaded.runs.push(entry);
        let owner = Owner {
            vhost: vhost.name.clone(),
            hook: Some(name.clone()),
        };
        let event = event(vhost, plan.event, entry, &self.node, &loaded.budget);
        let mut desk = PlanDesk {
            executor: &self.executor,
            store: &self.store,
            owner: &owner,
            grants: &mut loaded.grants,
            learns: self.learns,
            own: Own {
                dev: &vhost.interface,
                addresses: &vhost.addresses,
            },
            entry,
            state: event.state,
            limit: LOOK_LIMIT.min(loaded.budget.wall),
            state_bytes: loaded.budget.state_bytes,
            steps: Vec::new(),
            log: Vec::new(),
        };
        let result = loaded
            .session
            .call(event, loaded.budget, &mut desk, std::future::pending())
            .await;
        let (steps, log) = (desk.steps, desk.log);
        let failure = result.err().map(|error| error.to_string());
        let failed = failure.is_some();
        plan.parts.push(Part {
            by: By::Hook {
                name: name.clone(),
                entry,
            },
            steps,
            log,
            failure,
        });
        failed
    }
}

/// The node's own name, also beside a daemon whose hook has set another.
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
) -> Result<Loaded, LoadError> {
    let Material { source, .. } = Material::read(&Belief::of(config, &Access::own()), name, hook)?;
    let policy = sandbox_policy(config);
    let budget = pool::budget(hook);
    let mut source: HookSource = pool::compiled(keeper, source, &hook.grants, policy).await?;
    if let Some(native) = source.native.as_mut().filter(|_| learns) {
        native.allowed = api::FUNCTIONS
            .iter()
            .map(api::Function::full_name)
            .collect();
    }
    let cannot = |error: io::Error| LoadError::Runner(format!("cannot start a runner: {error}"));
    let (_, stream) = keeper
        .spawn(pool::role(&source, budget.memory_bytes))
        .await
        .map_err(cannot)?;
    let session = Session::load(stream, source, budget, policy).await?;
    // What the operator wrote out of a command line cannot be learned.
    let grants = if learns {
        Grants {
            command: hook.grants.command.clone(),
            ..Grants::default()
        }
    } else {
        hook.grants.clone()
    };
    Ok(Loaded {
        session,
        budget,
        grants,
        runs: Vec::new(),
    })
}

/// What a hook is told, as if it happened now.
fn event(
    vhost: &config::Vhost,
    event: Event,
    entry: EntryPoint,
    node: &str,
    budget: &Budget,
) -> HookEvent {
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
        time_left_ms: u64::try_from(budget.wall.as_millis()).unwrap_or(u64::MAX),
    }
}
