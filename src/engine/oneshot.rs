//! One hook, run by hand: the real runner, the real gate, the real host; no protocol and no daemon.
//!
//! For what must do exactly that which the daemon would: comparing a ported script with its
//! original, trying a hook.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clock;
use super::couriers::couriers;
use super::trial::{self, Party, Runner, Trial};
use crate::effect::{Effect, Grants, Query, Reply};
use crate::hooks::session::{Desk, SandboxPolicy};
use crate::hooks::{
    Answer, Ask, AskError, Budget, HookError, HookEvent, HookSource, LoadError, LogLevel, Returned,
};
use crate::host::helper::Duty;
use crate::host::{LinuxHost, Options};
use crate::keeper::{Client, Role};
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
    budget: Budget,
    trial: Trial<LinuxHost>,
    runner: Runner,
    log: Vec<LogLine>,
    /// Its processes end with it.
    _keeper: Client,
}

impl OneShot {
    /// Starts a keeper, a helper and a runner from `program` (this binary if not given), and loads
    /// the hook.
    ///
    /// Needs a tokio runtime with I/O and time, on a thread that outlives this: its children end
    /// with the thread.
    ///
    /// # Errors
    /// [`LoadError`]: the hook's own fault, or a process or socket that is not to be had.
    pub async fn start(job: Job, program: Option<&Path>) -> Result<Self, LoadError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            LoadError::Runner(format!("could not {what}: {error}"))
        };
        let (keeper, _exits) =
            Client::start(program).map_err(|error| failed("start the keeper", &error))?;
        let Job {
            source,
            grants,
            budget,
            vhost,
            dev,
            addresses,
            policy,
            host,
            ca_file,
        } = job;
        let host = LinuxHost::new(host).map_err(|error| failed("reach the kernel", &error))?;
        if grants.needs_helper() {
            let (_, stream) = keeper
                .spawn(Role::Helper)
                .await
                .map_err(|error| failed("start the helper", &error))?;
            host.set_helper(stream, Duty::Commands)
                .map_err(|error| failed("reach the helper", &error))?;
        }
        host.set_couriers(couriers(keeper.clone(), policy, ca_file));
        let source = trial::prepare(&keeper, source, &grants, policy).await?;
        let runner = Runner::start(&keeper, &source, budget, policy, false).await?;
        let party = Party {
            vhost,
            dev,
            addresses,
            hook: source.name,
            grants,
            state_bytes: budget.state_bytes,
        };
        Ok(Self {
            budget,
            trial: Trial::new(host, party),
            runner,
            log: Vec::new(),
            _keeper: keeper,
        })
    }

    /// Calls one entry point.
    ///
    /// # Errors
    /// [`HookError`]: whatever the hook did, as a value.
    pub async fn call(&mut self, event: HookEvent) -> Result<Returned, HookError> {
        let deadline = clock::now() + self.budget.wall;
        let mut desk = OneDesk {
            trial: &self.trial,
            log: &mut self.log,
            event: event.clone(),
            deadline,
        };
        self.runner
            .call(event, self.budget, &mut desk, std::future::pending())
            .await
    }

    /// Undoes what is scoped, newest first, as at the end of mastership. How many effects could not
    /// be undone.
    pub async fn undo(&self) -> usize {
        self.trial.undo().await.failed
    }

    /// What the hook logged so far.
    #[must_use]
    pub fn log(&self) -> &[LogLine] {
        &self.log
    }
}

/// Answers what one run asks.
struct OneDesk<'a> {
    trial: &'a Trial<LinuxHost>,
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
        match ask {
            Ask::Effect {
                effect: Effect::Demote { .. } | Effect::Resign { .. },
                ..
            } => Err(AskError::Invalid(
                "there is no daemon whose virtual host this could be about".to_owned(),
            )),
            Ask::Query(Query::CarpState) => Ok(Answer::Reply(Reply::State(self.event.state))),
            Ask::Log {
                level,
                message,
                fields,
            } => {
                self.log.push(LogLine {
                    level,
                    message,
                    fields,
                });
                Ok(Answer::Done)
            }
            Ask::Sleep { ms } => {
                clock::sleep(Duration::from_millis(ms).min(left)).await;
                Ok(Answer::Done)
            }
            Ask::Effect { .. } | Ask::Query(_) | Ask::StateGet { .. } | Ask::StateSet { .. } => {
                self.trial.ask(ask, self.event.entry, left).await
            }
        }
    }
}
