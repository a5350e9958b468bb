//! Runs one hook manually, with the real runner, gate and host, but without protocol and daemon.
//!
//! For cases in which exactly what the daemon would do is needed: comparing a ported script with
//! its original, trying out a hook.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::config;
use crate::effect::Grants;
use crate::engine::reload::artifact::Artifact;
use crate::engine::runs::http_worker::http_workers;
use crate::engine::runs::observer::{Asker, Fate, Observer};
use crate::engine::runs::outcome::HookOutcome;
use crate::engine::runs::pool::{Pool, limits};
use crate::engine::runs::queue::Queue;
use crate::engine::runs::shared::Shared;
use crate::engine::vhost::id::VhostId;
use crate::hooks::process::session::SandboxPolicy;
use crate::hooks::{Ask, Budget, HookError, HookEvent, HookSource, LoadError, LogLevel};
use crate::host::children::helper::Duty;
use crate::host::{LinuxHost, Options};
use crate::keeper::{Client, Role};
use crate::types::{IfName, Name, VirtualAddress};

/// One line that the hook logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How loud.
    pub level: LogLevel,
    /// The sentence.
    pub message: String,
    /// The values.
    pub fields: Vec<(String, String)>,
}

/// What to run, and on whose behalf.
#[derive(Debug, Clone)]
pub struct Job {
    /// The hook.
    pub source: HookSource,
    /// What it may do.
    pub grants: Grants,
    /// Its ceilings.
    pub budget: Budget,
    /// The virtual host's name.
    pub vhost: Name,
    /// Its interface.
    pub dev: IfName,
    /// Its addresses.
    pub addresses: Vec<VirtualAddress>,
    /// What to do without a full sandbox.
    pub policy: SandboxPolicy,
    /// How services are started.
    pub host: Options,
    /// Certificates that requests by `https` believe beside those of the system.
    pub ca_file: Option<PathBuf>,
}

/// A hook that is loaded and may be called, on this machine.
#[derive(Debug)]
pub struct OneShot {
    shared: Rc<Shared<LinuxHost>>,
    queue: Rc<Queue<LinuxHost>>,
    outcomes: mpsc::UnboundedReceiver<HookOutcome>,
    log: Rc<Log>,
    /// Its processes end with it.
    _keeper: Client,
}

impl Drop for OneShot {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

impl OneShot {
    /// Starts a keeper, a helper and a runner by the daemon's `program` (the one beside this one
    /// if not given), and loads the hook.
    ///
    /// Needs a tokio runtime with I/O and time, in a `LocalSet` on a thread that outlives this: its
    /// children end with the thread.
    ///
    /// # Errors
    /// [`LoadError`]: the hook's own fault, or a process or socket that is not to be had.
    pub async fn start(job: Job, program: Option<&Path>) -> Result<Self, LoadError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            LoadError::Runner(format!("could not {what}: {error}"))
        };
        let (keeper, _exits) =
            Client::start(program).map_err(|error| failed("start the keeper", &error))?;
        let host = LinuxHost::new(job.host).map_err(|error| failed("reach the kernel", &error))?;
        if job.grants.needs_helper() {
            let (_, stream) = keeper
                .spawn(Role::Helper)
                .await
                .map_err(|error| failed("start the helper", &error))?;
            host.set_helper(stream, Duty::Commands)
                .map_err(|error| failed("reach the helper", &error))?;
        }
        host.set_http_workers(http_workers(keeper.clone(), job.policy, job.ca_file));
        let spec = config::Hook {
            limits: limits(job.budget),
            config_json: job.source.config_json.clone(),
            grants: job.grants,
            ..config::Hook::plain(&job.source.path)
        };
        let material = Artifact {
            vouched: None,
            source: job.source,
        };
        let name = material.source.name.clone();
        let pool = Pool::start(name, spec, material, job.policy, keeper.clone()).await?;
        let (sender, outcomes) = mpsc::unbounded_channel();
        let shared = Shared::in_memory(host, sender);
        let log = Rc::new(Log::default());
        shared.executor.observe(Rc::clone(&log) as _);
        shared.executor.recover_rest().await;
        let (addresses, hooks) = (job.addresses, vec![pool]);
        let queue = Queue::start(
            VhostId::new(0),
            job.vhost,
            job.dev,
            addresses,
            hooks,
            Rc::clone(&shared),
        );
        Ok(Self {
            shared,
            queue,
            outcomes,
            log,
            _keeper: keeper,
        })
    }

    /// Calls one entry point.
    ///
    /// # Errors
    /// [`HookError`]: whatever the hook did, as a value.
    pub async fn call(&mut self, event: HookEvent) -> Result<(), HookError> {
        self.queue.put(event, false);
        loop {
            match self.outcomes.recv().await {
                Some(HookOutcome::Finished { result, .. }) => {
                    return result.map_err(|failure| failure.error);
                }
                Some(_) => {}
                None => return Err(HookError::Superseded),
            }
        }
    }

    /// Undoes what is scoped, newest first, as at the end of mastership. How many effects could not
    /// be undone.
    pub async fn undo(&self) -> usize {
        let vhost = self.queue.vhost();
        self.shared.executor.undo_hooks(&vhost).await.failed
    }

    /// What the hook logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<LogLine> {
        self.log.0.borrow().clone()
    }
}

/// Keeps what the hook logs.
#[derive(Debug, Default)]
struct Log(RefCell<Vec<LogLine>>);

impl Observer for Log {
    fn asks(&self, _: Asker<'_>, ask: &Ask) -> Fate {
        if let Ask::Log {
            level,
            message,
            fields,
        } = ask
        {
            self.0.borrow_mut().push(LogLine {
                level: *level,
                message: message.clone(),
                fields: fields.clone(),
            });
        }
        Fate::Lives
    }
}
