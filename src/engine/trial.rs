//! One hook on a host of the caller's choice and on the caller's clock: the real runner, gate and
//! undoing; no protocol.
//!
//! [`Runner`] is a process with the hook in it, [`Trial`] is what stands behind its questions.
//! Tests of hooks put a host in memory between them.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use super::execute::{Behalf, Executor};
use super::lease::Lease;
use super::pool;
pub use super::pool::Runner;
use super::recover::Recovery;
use super::store::Store;
use super::undo::Undone;
use crate::effect::{Effect, Grants, Own, Query};
use crate::hooks::message::{FileCoverage, Loaded};
use crate::hooks::session::{Desk, SandboxPolicy};
use crate::hooks::{
    Answer, Ask, AskError, Budget, EntryPoint, HookError, HookEvent, HookSource, LoadError,
    Returned,
};
use crate::host::{Host, HostError};
use crate::keeper::{ChildId, Client};
use crate::ledger::{Ledger, Owner};
use crate::types::{IfName, Name, VirtualAddress};

/// Has a WebAssembly hook compiled; another one stays as it is.
///
/// # Errors
/// [`LoadError`]: it is no component that may be loaded, or the compiler could not be started.
pub async fn prepare(
    keeper: &Client,
    source: HookSource,
    grants: &Grants,
    policy: SandboxPolicy,
) -> Result<HookSource, LoadError> {
    pool::compiled(keeper, source, grants, policy).await
}

impl Runner {
    /// The process, for killing it in the middle of a run.
    #[must_use]
    pub const fn id(&self) -> ChildId {
        self.id
    }

    /// What was loaded.
    #[must_use]
    pub const fn loaded(&self) -> &Loaded {
        self.session.loaded()
    }

    /// Runs one entry point: [`crate::hooks::session::Session::call`].
    ///
    /// # Errors
    /// [`HookError`]: whatever the hook did, as a value.
    pub async fn call(
        &mut self,
        event: HookEvent,
        budget: Budget,
        desk: &mut impl Desk,
        cancel: impl Future<Output = ()>,
    ) -> Result<Returned, HookError> {
        self.session.call(event, budget, desk, cancel).await
    }

    /// Which lines have run: [`crate::hooks::session::Session::coverage`].
    pub async fn coverage(&mut self) -> Vec<FileCoverage> {
        self.session.coverage().await
    }
}

/// On whose behalf a trial acts.
#[derive(Debug, Clone)]
pub struct Party {
    /// The virtual host.
    pub vhost: Name,
    /// Its interface.
    pub dev: IfName,
    /// Its addresses.
    pub addresses: Vec<VirtualAddress>,
    /// The hook.
    pub hook: Name,
    /// What the hook may do.
    pub grants: Grants,
    /// Bytes of its lasting state.
    pub state_bytes: u32,
}

/// Gate, ledger and host behind a hook, as the daemon has them.
#[derive(Debug)]
pub struct Trial<H> {
    party: Party,
    owner: Owner,
    executor: Executor<H>,
    store: RefCell<Store>,
}

impl<H: Host> Trial<H> {
    /// Nothing is held and nothing is stored.
    #[must_use]
    pub fn new(host: H, party: Party) -> Self {
        let owner = Owner {
            vhost: party.vhost.clone(),
            hook: Some(party.hook.clone()),
        };
        let executor = Executor::new(host, Ledger::new(), Recovery::default());
        Self {
            party,
            owner,
            executor,
            store: RefCell::new(Store::new()),
        }
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &H {
        self.executor.host()
    }

    /// On whose behalf.
    #[must_use]
    pub const fn party(&self) -> &Party {
        &self.party
    }

    /// Puts the virtual host's addresses up, all or none, and tells the neighbours.
    ///
    /// # Errors
    /// The host's words.
    pub fn hold_addresses(&self) -> Result<(), HostError> {
        let Party {
            vhost,
            dev,
            addresses,
            ..
        } = &self.party;
        self.executor
            .hold_addresses(vhost, dev, addresses, Lease::Off)?;
        self.executor.announce(vhost, dev, addresses);
        Ok(())
    }

    /// Takes the virtual host's addresses down. How many could not be.
    pub fn drop_addresses(&self) -> usize {
        self.executor.drop_addresses(&self.party.vhost)
    }

    /// Undoes what is scoped, newest first, as at the end of mastership.
    pub async fn undo(&self) -> Undone {
        self.executor.undo_hooks(&self.party.vhost).await
    }

    /// What is held, in words, by resource.
    #[must_use]
    pub fn held(&self) -> Vec<(String, String)> {
        self.executor
            .held()
            .into_iter()
            .map(|held| (held.resource, held.value))
            .collect()
    }

    /// What the hook keeps under this key: JSON.
    #[must_use]
    pub fn stored(&self, key: &str) -> Option<Vec<u8>> {
        self.store.borrow().value(&self.owner, key)
    }

    /// Answers what a hook asks within `left`. Effects on the virtual host itself pass the gate,
    /// and the caller does them; a sleep and a log line are the caller's alone.
    ///
    /// # Errors
    /// What is raised in the hook; [`AskError::Invalid`] for what is the caller's.
    pub async fn ask(
        &self,
        ask: Ask,
        entry: EntryPoint,
        left: Duration,
    ) -> Result<Answer, AskError> {
        let Party {
            dev,
            addresses,
            grants,
            ..
        } = &self.party;
        let own = Own { dev, addresses };
        let behalf = Behalf {
            owner: &self.owner,
            grants,
            own,
            scoped: entry.scoped(),
            left,
        };
        match ask {
            Ask::Effect { .. } if !entry.may_change() => Err(AskError::only_looks()),
            Ask::Effect {
                effect: effect @ (Effect::Demote { .. } | Effect::Resign { .. }),
                ..
            } => {
                grants
                    .permit(effect, own)
                    .map_err(|denied| AskError::Denied(*denied))?;
                Ok(Answer::Reply(crate::effect::Reply::Outcome(
                    crate::effect::Outcome::Changed,
                )))
            }
            Ask::Effect {
                effect,
                keep,
                wait_ms,
            } => {
                let left = wait_ms.map_or(left, |ms| left.min(Duration::from_millis(ms)));
                self.executor
                    .ask(&Behalf { left, ..behalf }, effect, keep)
                    .await
                    .map(Answer::Reply)
            }
            Ask::Query(Query::CarpState) | Ask::Log { .. } | Ask::Sleep { .. } => Err(
                AskError::Invalid("only who runs the trial can answer that".to_owned()),
            ),
            Ask::Query(query) => self
                .executor
                .query(&behalf, &query)
                .await
                .map(Answer::Reply),
            Ask::StateGet { key } => Ok(Answer::State(self.stored(&key))),
            Ask::StateSet { key, value } => {
                self.store
                    .borrow_mut()
                    .set(&self.owner, &key, value, self.party.state_bytes)?;
                Ok(Answer::Done)
            }
        }
    }
}
