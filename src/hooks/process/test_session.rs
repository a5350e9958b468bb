//! The end of a test file's runner: loads the file, runs its cases, never trusts what comes back.

use std::os::unix::net::UnixStream as StdStream;

use tokio::time::{Instant, sleep_until};

use super::session::{OVERRUN, SandboxPolicy, Session, dead, out_of_turn};
use crate::frame::FrameError;
use crate::hooks::contract::message::{FromRunner, TestCall, ToRunner};
use crate::hooks::{Budget, HookError, HookSource, LoadError};

/// Answers what a test file calls.
#[expect(
    async_fn_in_trait,
    reason = "used on one thread, never as a trait object"
)]
pub trait TestRequestHandler {
    /// Answers one call with JSON, or with the text of an error that is raised at the call.
    async fn call(&mut self, call: TestCall) -> Result<Vec<u8>, String>;
}

/// One runner with one loaded test file.
#[derive(Debug)]
pub struct TestSession {
    session: Session,
    cases: Vec<String>,
    alive: bool,
}

impl TestSession {
    /// Waits for the runner to be confined, and lets it load the test file.
    ///
    /// # Errors
    /// [`LoadError`]; the runner is then of no use and should be killed.
    pub async fn load(
        stream: StdStream,
        source: HookSource,
        budget: Budget,
        required: SandboxPolicy,
    ) -> Result<Self, LoadError> {
        let mut session = Session::open(stream, required).await?;
        let message = ToRunner::LoadTest {
            source: Box::new(source),
            budget,
        };
        match session.told(&message, budget).await? {
            FromRunner::Cases(cases) => Ok(Self {
                session,
                cases: cases?,
                alive: true,
            }),
            _ => Err(dead(&out_of_turn())),
        }
    }

    /// The names of the cases, in order.
    #[must_use]
    pub fn cases(&self) -> &[String] {
        &self.cases
    }

    /// Can it run another case? If not, the runner should be killed.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.alive && !self.session.is_worn()
    }

    /// Runs one case; `desk` answers what it calls. The wall time of the budget ends it, whatever
    /// it waits for.
    ///
    /// # Errors
    /// [`HookError`]. After [`HookError::RunnerDied`], or a case that did not end by itself, the
    /// session is dead.
    pub async fn run(
        &mut self,
        number: u32,
        budget: Budget,
        desk: &mut impl TestRequestHandler,
    ) -> Result<(), HookError> {
        self.alive = false;
        let lost = sleep_until(Instant::now() + budget.wall + OVERRUN);
        let ended = tokio::select! {
            ended = self.converse(number, budget, desk) => ended,
            () = lost => return Err(HookError::TimedOut(budget.wall)),
        };
        let result = ended.map_err(|err| HookError::RunnerDied(err.to_string()))?;
        self.alive = true;
        result
    }

    async fn converse(
        &mut self,
        number: u32,
        budget: Budget,
        desk: &mut impl TestRequestHandler,
    ) -> Result<Result<(), HookError>, FrameError> {
        self.session
            .send(&ToRunner::Case { number, budget })
            .await?;
        let mut calls = 0;
        loop {
            match self.session.receive_counted().await? {
                FromRunner::Finished(result) => return Ok(result.map(drop)),
                FromRunner::Test(call) => {
                    calls += 1;
                    let answer = if calls > budget.requests {
                        Err(format!("more than {} calls in one case", budget.requests))
                    } else {
                        desk.call(call).await
                    };
                    self.session.send(&ToRunner::TestAnswer(answer)).await?;
                }
                _ => return Err(out_of_turn()),
            }
        }
    }
}
