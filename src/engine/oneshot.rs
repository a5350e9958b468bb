//! One hook, run by hand: the real runner, the real gate, the real host; no protocol and no daemon.
//!
//! For what must do exactly that which the daemon would: comparing a ported script with its original, trying a hook.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clock;
use super::couriers::couriers;
use super::execute::{Behalf, Executor};
use super::pool;
use super::recover::Recovery;
use super::store::Store;
use crate::effect::{Effect, Grants, Own, Query, Reply};
use crate::hooks::session::{Desk, SandboxPolicy, Session};
use crate::hooks::{Answer, Ask, AskError, Budget, HookError, HookEvent, HookSource, LoadError, LogLevel, Returned};
use crate::host::helper::Duty;
use crate::host::{LinuxHost, Options};
use crate::keeper::{Client, Role};
use crate::ledger::{Ledger, Owner};
use crate::types::{IfName, Name, Timestamp, VirtualAddress};

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
    job: Job,
    owner: Owner,
    executor: Executor<LinuxHost>,
    store: RefCell<Store>,
    session: Session,
    log: Vec<LogLine>,
    /// Its processes end with it.
    _keeper: Client,
}

impl OneShot {
    /// Starts a keeper, a helper and a runner from `program` (this binary if not given), and loads the hook.
    ///
    /// Needs a tokio runtime with I/O and time, on a thread that outlives this: its children end with the thread.
    ///
    /// # Errors
    /// [`LoadError`]: the hook's own fault, or a process or socket that is not to be had.
    pub async fn start(mut job: Job, program: Option<&Path>) -> Result<Self, LoadError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| LoadError::Runner(format!("could not {what}: {error}"));
        let (keeper, _exits) = Client::start(program).map_err(|error| failed("start the keeper", &error))?;
        let host = LinuxHost::new(job.host.clone()).map_err(|error| failed("reach the kernel", &error))?;
        if job.grants.needs_helper() {
            let (_, stream) = keeper.spawn(Role::Helper).await.map_err(|error| failed("start the helper", &error))?;
            host.set_helper(stream, Duty::Commands).map_err(|error| failed("reach the helper", &error))?;
        }
        host.set_couriers(couriers(keeper.clone(), job.policy, job.ca_file.clone()));
        job.source = pool::compiled(&keeper, job.source, &job.grants, job.policy).await?;
        let (_, stream) = keeper
            .spawn(pool::role(&job.source, job.budget.memory_bytes))
            .await
            .map_err(|error| failed("start a runner", &error))?;
        let session = Session::load(stream, job.source.clone(), job.budget, job.policy).await?;
        let owner = Owner { vhost: job.vhost.clone(), hook: Some(job.source.name.clone()) };
        let (executor, store) = (Executor::new(host, Ledger::new(), Recovery::default()), RefCell::new(Store::new()));
        Ok(Self { job, owner, executor, store, session, log: Vec::new(), _keeper: keeper })
    }

    /// Calls one entry point.
    ///
    /// # Errors
    /// [`HookError`]: whatever the hook did, as a value.
    pub async fn call(&mut self, event: HookEvent) -> Result<Returned, HookError> {
        let deadline = clock::now() + self.job.budget.wall;
        let mut desk = OneDesk {
            job: &self.job,
            owner: &self.owner,
            executor: &self.executor,
            store: &self.store,
            log: &mut self.log,
            event: event.clone(),
            deadline,
        };
        self.session.call(event, self.job.budget, &mut desk, std::future::pending()).await
    }

    /// Undoes what is scoped, newest first, as at the end of mastership. How many effects could not be undone.
    pub async fn undo(&self) -> usize {
        self.executor.undo_hooks(&self.job.vhost).await.failed
    }

    /// What the hook logged so far.
    #[must_use]
    pub fn log(&self) -> &[LogLine] {
        &self.log
    }
}

/// Answers what one run asks.
struct OneDesk<'a> {
    job: &'a Job,
    owner: &'a Owner,
    executor: &'a Executor<LinuxHost>,
    store: &'a RefCell<Store>,
    log: &'a mut Vec<LogLine>,
    event: HookEvent,
    deadline: Timestamp,
}

impl Desk for OneDesk<'_> {
    async fn ask(&mut self, ask: Ask) -> Answer {
        self.answer(ask).await.unwrap_or_else(Answer::Error)
    }
}

impl OneDesk<'_> {
    async fn answer(&mut self, ask: Ask) -> Result<Answer, AskError> {
        let left = self.deadline.since(clock::now());
        let behalf = Behalf {
            owner: self.owner,
            grants: &self.job.grants,
            own: Own { dev: &self.job.dev, addresses: &self.job.addresses },
            scoped: self.event.entry.scoped(),
            left,
        };
        match ask {
            Ask::Effect { effect: Effect::Demote { .. } | Effect::Resign { .. }, .. } => {
                Err(AskError::Invalid("there is no daemon whose virtual host this could be about".to_owned()))
            }
            Ask::Effect { effect, keep, wait_ms } => {
                let left = wait_ms.map_or(left, |ms| left.min(Duration::from_millis(ms)));
                self.executor.ask(&Behalf { left, ..behalf }, effect, keep).await.map(Answer::Reply)
            }
            Ask::Query(Query::CarpState) => Ok(Answer::Reply(Reply::State(self.event.state))),
            Ask::Query(query) => self.executor.query(&behalf, &query).await.map(Answer::Reply),
            Ask::Log { level, message, fields } => {
                self.log.push(LogLine { level, message, fields });
                Ok(Answer::Done)
            }
            Ask::Sleep { ms } => {
                tokio::time::sleep(Duration::from_millis(ms).min(left)).await;
                Ok(Answer::Done)
            }
            Ask::StateGet { key } => Ok(Answer::State(self.store.borrow().value(self.owner, &key))),
            Ask::StateSet { key, value } => {
                self.store.borrow_mut().set(self.owner, &key, value, self.job.budget.state_bytes)?;
                Ok(Answer::Done)
            }
        }
    }
}
