//! One process that runs a hook.

use super::load::role;
use super::{LAST_WORDS, REAL_WALL};
use crate::hooks::process::session::{RequestHandler, SandboxPolicy, Session};
use crate::hooks::{Budget, HookError, HookEvent, HookSource, LoadError, Returned};
use crate::host::clock;
use crate::keeper::{ChildId, Client};

/// One process with the hook loaded. Dropping it ends the process.
#[derive(Debug)]
pub(in crate::engine) struct Runner {
    pub(in crate::engine) session: Session,
    pub(in crate::engine) id: ChildId,
    keeper: Client,
}

impl Runner {
    /// Starts a runner and loads a hook in it; with `coverage` it counts how often each line runs.
    ///
    /// # Errors
    /// [`LoadError`]: the hook's own fault, or a process that is not to be had.
    pub(in crate::engine) async fn start(
        keeper: &Client,
        source: &HookSource,
        budget: Budget,
        policy: SandboxPolicy,
        coverage: bool,
    ) -> Result<Self, LoadError> {
        let (id, stream, ended) = keeper
            .spawn_watched(role(source, budget.memory_bytes))
            .await
            .map_err(|error| LoadError::Runner(format!("cannot start a runner: {error}")))?;
        match Session::load_counted(stream, source.clone(), budget, policy, coverage).await {
            Ok(session) => Ok(Self {
                session,
                id,
                keeper: keeper.clone(),
            }),
            Err(error) => {
                keeper.kill(id);
                // It says so by its end alone.
                match tokio::time::timeout(LAST_WORDS, ended).await {
                    Ok(Ok(how)) if how.is_other_build() => {
                        Err(LoadError::Runner(format!("the runner ended: {how}")))
                    }
                    Ok(Ok(_) | Err(_)) | Err(_) => Err(error),
                }
            }
        }
    }

    /// Runs one entry point. In virtual time the run's duration is taken from the virtual clock,
    /// since the real machine may be busy.
    ///
    /// # Errors
    /// [`HookError`]: whatever the hook did, as a value.
    pub(in crate::engine) async fn call(
        &mut self,
        event: HookEvent,
        budget: Budget,
        desk: &mut impl RequestHandler,
        cancel: impl Future<Output = ()>,
    ) -> Result<Returned, HookError> {
        let wall = if clock::is_virtual() {
            budget.wall.max(REAL_WALL)
        } else {
            budget.wall
        };
        let result = self
            .session
            .call(event, Budget { wall, ..budget }, desk, cancel)
            .await;
        match result {
            Err(HookError::TimedOut(of)) if of == wall => Err(HookError::TimedOut(budget.wall)),
            other => other,
        }
    }

    /// Is it good for another run?
    pub(in crate::engine) fn is_fit(&self) -> bool {
        self.session.is_alive() && !self.session.is_worn()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.keeper.kill(self.id);
    }
}
