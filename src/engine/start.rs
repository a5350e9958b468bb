//! Starts an engine from a checked configuration.

use std::cell::RefCell;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use super::activity::Activity;
use super::command::Command;
use super::effects::executor::Executor;
use super::effects::ledger_retry::retry_ledger;
use super::effects::reassert::reassert;
use super::effects::recover::{Recovery, killed_before};
use super::environment::Ties;
use super::notices::{Notices, Office};
use super::persist::{Clocks, Persist};
use super::reload::file_watch::{self, Reader};
use super::reload::load;
use super::rights;
use super::runs::helper::{self, HelperSupervisor};
use super::runs::helper_rights::terms;
use super::runs::http_worker::http_workers;
use super::runs::prober::Probers;
use super::runs::shared::{DaemonLimits, Shared};
use super::vhost::interface::{Ethernet, Interfaces};
use super::vhost::table::Nodes;
use crate::config::{Config, Kind};
use crate::engine::error::{CANNOT, FAILED, StartError, own, system};
use crate::engine::reload::moves::shared_here;
use crate::engine::report::{Death, EngineStatus};
use crate::engine::rights::descriptors_needed;
use crate::engine::runs::helper_rights::services;
use crate::engine::runs::pool::sandbox_policy;
use crate::engine::signals::{Signal, signals};
use crate::engine::state::{Engine, Parts};
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::new::{new_node, post};
use crate::host::children::helper::Duty;
use crate::host::clock;
use crate::host::kernel::alarm::Alarm;
use crate::host::kernel::netlink::Watch;
use crate::host::kernel::privilege::Privileges;
use crate::host::kernel::readiness::Readiness;
use crate::host::kernel::{hostname, memory, process, realtime};
use crate::host::services::notify::notify;
use crate::host::{LinuxHost, Options};
use crate::journal::{self, Journal};
use crate::keeper::failsafe::Writer;
use crate::keeper::{self, Client, Exits, Predecessor, Role};
use crate::ledger::{Instance, InstanceError, Ledger, Origin, Unread, instance_name};
use crate::notification::{EventKind, Subject};

/// The time after which readiness is reported again to a service manager that had no room for it.
const READY_AGAIN: Duration = Duration::from_millis(100);

/// The niceness of the keeper, which has raised the engine's priority if it may.
fn ordinary_niceness() -> Option<i32> {
    rustix::process::getpriority_process(rustix::process::getppid()).ok()
}

/// Gives a thread other than the loop ordinary priority.
fn stand_back(ordinary: Option<i32>) {
    if let Some(niceness) = ordinary {
        _ = rustix::process::setpriority_process(None, niceness);
    }
}

/// What others in the engine's process may use of it.
#[derive(Debug)]
pub struct Doors {
    /// For orders.
    pub commands: mpsc::Sender<Command>,
    /// Starts processes.
    pub keeper: Client,
    /// This node's name, as hooks see it.
    pub node: String,
}

/// The engine process, started by the keeper: runs this configuration from this file until it is
/// told to stop. `open` is called with the instance's directory, before the engine loses the
/// ability to create sockets of that kind; `attach` receives its result, and what it may use of the
/// engine. The result of `attach` is dropped at the end.
#[must_use]
pub fn main<B, T>(
    config: Config,
    path: &Path,
    open: impl FnOnce(&Path) -> B,
    attach: impl FnOnce(B, Doors) -> T,
) -> ExitCode {
    if let Err(error) = process::raise_descriptors(descriptors_needed(&config)) {
        error!(%error, "Could not start");
        return ExitCode::from(CANNOT);
    }
    if let Err(error) = Privileges::current().and_then(|own| own.require()) {
        error!(%error, "Could not start");
        return ExitCode::from(CANNOT);
    }
    let ordinary = ordinary_niceness();
    // The configuration is read.
    memory::give_back();
    // Locked memory could not be given back. Later there is no right to it.
    if config.daemon.realtime
        && let Err(error) = realtime::enter()
    {
        error!(%error, "Could not start");
        return ExitCode::from(CANNOT);
    }
    let name = instance_name(path, &config.share.to_string());
    let origin = match Origin::current() {
        Ok(origin) => origin,
        Err(error) => {
            error!(%error, "Could not start");
            return ExitCode::FAILURE;
        }
    };
    let instance_dir = Instance::directory(&config.daemon.run_dir, &name, origin);
    // While the lock still identifies it, and the kernel's log can still be read.
    let killed = killed_before(&instance_dir);
    let opened = open(&instance_dir);
    // Before there is a second thread, since capabilities are per thread.
    let rights = match rights::give_up(&config, &name, origin) {
        Ok(rights) => rights,
        Err(error) => {
            error!(%error, "Could not start");
            return ExitCode::from(CANNOT);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_start(move || stand_back(ordinary))
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "Could not start");
            return ExitCode::FAILURE;
        }
    };
    let status = tokio::task::LocalSet::new().block_on(&runtime, async {
        match start(config, (path, &name), rights, killed).await {
            Ok((engine, signals)) => {
                let attached = attach(opened, engine.doors());
                let clean = engine.run(signals).await;
                drop(attached);
                info!(clean, "Stopped");
                if clean { 0 } else { FAILED }
            }
            Err(error) => {
                error!(%error, "Could not start");
                error.status()
            }
        }
    });
    // A disk that hangs must not keep a finished daemon from exiting.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ExitCode::from(status)
}

async fn start(
    config: Config,
    (config_path, name): (&Path, &str),
    mut rights: EngineStatus,
    killed: Option<Predecessor>,
) -> Result<(Engine, mpsc::Receiver<Signal>), StartError> {
    let (orders, signals) = signals(config.daemon.hangup_stops, config.daemon.realtime)
        .map_err(system("catch signals"))?;
    let (keeper, mut exits) = Client::from_stdin().map_err(system("reach the parent process"))?;
    keeper::unblock_signals().map_err(system("receive signals"))?;
    if config.daemon.realtime {
        keeper.take_realtime();
    }
    let host = LinuxHost::new(Options {
        services: services(config.daemon.service_backend),
        ..Options::default()
    })?
    .with_services_by_helper();
    let mut instance = take_instance(&config, name)?;
    let (ledger, left) = Ledger::open(&instance);
    refuse_unread(&ledger)?;
    let (dead, others) = Instance::dead(
        &config.daemon.run_dir,
        &config.daemon.state_dir,
        instance.origin(),
    );
    // Running instances do not concern us.
    for error in others {
        if let InstanceError::Closed { .. } = error {
            warn!(%error, "Cannot check whether another instance left anything behind");
        }
    }
    let recovery = Recovery::new(left).with_dead(dead);
    let for_recovery = recovery.duty(host.services_need_helper());
    let executor = Executor::new(host, ledger, recovery);
    executor.recover_addresses();
    // The keeper tells them which certificates to trust.
    executor
        .host()
        .set_http_workers(http_workers(keeper.clone(), sandbox_policy(&config), None));
    let granted = terms(&config, config_path).duty();
    let duty = start_helper(granted.max(for_recovery), &keeper, executor.host()).await?;
    let predecessor = exits.take_predecessor().or(killed);
    rights.before = predecessor.as_ref().map(death);
    tokio::task::spawn_local(tell_exits(exits, orders));
    let (persist, store) = Persist::open(&mut instance, Clocks::read()).await;
    let reader = start_reader(&config, &keeper).await?;
    let hooks = load::hooks(&config, &keeper, &reader.access(), &persist.kept).await?;
    let (sender, outcomes) = mpsc::unbounded_channel();
    let mut journal = journal(&instance);
    if let Some(Predecessor { at, how }) = predecessor {
        journal.died(at, &how);
    }
    let journal = RefCell::new(journal);
    let (failsafe, theirs) = Writer::create().map_err(system("make a memory file"))?;
    let shared = Rc::new(Shared {
        executor,
        store: RefCell::new(store),
        persist,
        journal,
        notices: Notices::default(),
        outcomes: sender,
        limits_of_daemon: DaemonLimits::default(),
        recent: RefCell::default(),
        activity: Activity::noted(failsafe.activity().map_err(system("make a memory file"))?),
    });
    recover(Rc::clone(&shared));
    tokio::task::spawn_local(retry_ledger(Rc::clone(&shared)));
    tokio::task::spawn_local(reassert(Rc::clone(&shared)));
    let host_name = match &config.daemon.node_name {
        Some(name) => name.clone(),
        // Until a dead predecessor's hook has been undone, the kernel has the name that this hook
        // set.
        None => shared.executor.own_name(hostname::current()?),
    };
    shared.notices.open(Office {
        node: host_name.clone(),
        since_ms: clock::wall_ms(),
        keeper: keeper.clone(),
        http_workers: http_workers(keeper.clone(), sandbox_policy(&config), None),
    });
    shared.notices.follow(&config.notify, &mut Vec::new());
    if let Some(death) = &rights.before {
        let text = format!(
            "the daemon's engine died and was started again: {}",
            death.how
        );
        let subject = Subject {
            why: Some(death.how.clone()),
            ..Subject::default()
        };
        shared.notices.tell(EventKind::Crashed, &text, subject);
    }
    let mut nodes = Nodes::default();
    let readiness = Rc::new(Readiness::new().map_err(system("wait for packets"))?);
    let wire = Ethernet(Rc::clone(&readiness));
    let mut interfaces = Interfaces::default();
    for (place, spec) in config.vhosts.iter().enumerate() {
        let index = VhostId::new(place);
        let pools = spec
            .hooks
            .iter()
            .filter_map(|name| hooks.current(name).cloned())
            .collect();
        nodes.insert(
            index,
            new_node(
                index,
                spec,
                pools,
                (&mut interfaces, &wire),
                &shared,
                &host_name,
            )
            .map_err(system("read /dev/urandom"))?,
        );
    }
    for name in config.hooks.keys() {
        if let Some(pool) = hooks.current(name).cloned() {
            tokio::task::spawn_local(async move { pool.warm_all().await });
        }
    }
    keeper.publish(theirs);
    let watch = Watch::open()?;
    // With hundreds of virtual hosts, most notifications would be renewals of our own leases.
    watch.ignore_changes_by(shared.executor.host().lease_port())?;
    let ties = Ties {
        readiness,
        watch,
        alarm: Alarm::new().map_err(system("make a timer"))?,
        instance,
        helper: HelperSupervisor::new(keeper.clone(), Rc::clone(&shared), duty),
        reader,
        probers: Probers::default(),
        rights,
    };
    let (vhosts, hooks_count) = (config.vhosts.len(), config.hooks.len());
    let parts = Parts {
        nodes,
        interfaces,
        shared,
        hooks,
        outcomes,
        keeper,
        config,
        path: config_path.to_owned(),
        host_name,
        ties,
        failsafe: Some(failsafe),
    };
    let mut engine: Engine = Engine::new(parts);
    engine.try_beside();
    engine.watch_files();
    engine.begin();
    tokio::task::spawn_local(report_ready());
    info!(vhosts, hooks = hooks_count, "Ready");
    Ok((engine, signals))
}

/// A unit whose readiness got lost would be killed as one that failed to start.
async fn report_ready() {
    while !notify(&NotifyState::Ready) {
        tokio::time::sleep(READY_AGAIN).await;
    }
}

/// Takes our directory and locks: no other process may run the same virtual hosts in this network
/// namespace.
fn take_instance(config: &Config, name: &str) -> Result<Instance, StartError> {
    let origin = Origin::current().map_err(system("read /proc"))?;
    if let Some((_, problem)) = shared_here(config).into_iter().next() {
        return Err(StartError::Shared(problem));
    }
    let vhosts = config.vhosts.iter().map(post);
    Ok(Instance::open(
        &config.daemon.run_dir,
        &config.daemon.state_dir,
        name,
        origin,
        vhosts,
    )?)
}

/// Refuses to start if we may not read what an earlier process left behind: addresses may be up and
/// effects of hooks in force that would go unnoticed. The same applies if even the directory is
/// hidden from us.
fn refuse_unread(ledger: &Ledger) -> Result<(), StartError> {
    let in_the_way: Vec<_> = ledger
        .unread()
        .iter()
        .filter(|unread| unread.stays)
        .collect();
    match in_the_way.first() {
        None => Ok(()),
        Some(first) => {
            let mend = Unread::mend_all(&in_the_way, own());
            Err(StartError::Unread((*first).clone(), mend))
        }
    }
}

fn death(Predecessor { at, how }: &Predecessor) -> Death {
    let ago = u64::try_from(clock::now().since(*at).as_millis()).unwrap_or_default();
    Death {
        at_ms: clock::wall_ms().saturating_sub(ago),
        how: how.clone(),
    }
}

/// The flight recorder, in our directory.
fn journal(instance: &Instance) -> Journal {
    let path = instance.run_dir().join(journal::FILE_NAME);
    Journal::open(
        &path,
        journal::Limits::default(),
        env!("CARGO_PKG_VERSION"),
        clock::now(),
        clock::wall_ms(),
    )
}

/// Undoes what dead processes left behind, without delaying the first election.
fn recover(shared: Rc<Shared<LinuxHost>>) {
    tokio::task::spawn_local(async move { shared.executor.recover_rest().await });
}

/// Starts the process that does what needs more than the engine's two capabilities, if something
/// granted needs it.
async fn start_helper(
    duty: Option<Duty>,
    keeper: &Client,
    host: &LinuxHost,
) -> Result<Option<Duty>, StartError> {
    if let Some(duty) = duty {
        host.use_helper(
            helper::start(keeper, Role::Helper, duty)
                .await
                .map_err(system("start the helper"))?,
        );
    }
    Ok(duty)
}

/// Starts the process that reads what the engine may not, if there are hooks to read.
async fn start_reader(config: &Config, keeper: &Client) -> Result<Reader, StartError> {
    let has_modules = config
        .hooks
        .values()
        .any(|hook| matches!(hook.kind, Kind::Module));
    let client = if has_modules {
        Some(
            file_watch::start(keeper, Role::Reader)
                .await
                .map_err(system("start the reader process"))?,
        )
    } else {
        None
    };
    Ok(Reader::new(keeper.clone(), client))
}

/// Logs the end of children. Without a keeper nothing would release the addresses of a dead engine,
/// so the engine does not outlive its keeper.
async fn tell_exits(mut exits: Exits, signals: mpsc::Sender<Signal>) {
    while let Some((id, how)) = exits.next().await {
        if how.is_forbidden_call() {
            warn!(child = id.0, %how, "The sandbox killed a child process");
        } else {
            debug!(child = id.0, %how, "A child process ended");
        }
    }
    error!("Lost the keeper");
    _ = signals.send(Signal::Stop("the keeper's death")).await;
}
