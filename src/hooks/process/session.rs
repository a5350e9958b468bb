//! The engine's end of a runner: loads a hook, runs its entry points, never trusts what comes back.
//!
//! Needs a tokio runtime with I/O and time; works on one thread. Nothing here waits longer than the
//! budget and [`OVERRUN`], whatever the runner does.

use serde::{Deserialize, Serialize};
use std::future::Future;
use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream as StdStream;
use std::pin::{Pin, pin};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::frame::{FrameError, Inbox, encode, next};
use crate::hooks::contract::message::{
    Confinement, FileCoverage, FromRunner, Loaded, MAX_FROM_RUNNER, MAX_TO_RUNNER, ToRunner,
};
use crate::hooks::{
    Answer, Ask, AskError, Budget, HookError, HookEvent, HookSource, LoadError, LogLevel, Returned,
};
use crate::sandbox;
use crate::types::{Demotion, shown};

/// How long a runner may take to end a run that is superseded, before it is given up.
pub const GRACE: Duration = Duration::from_millis(50);

/// How long it may take to end a run whose time has expired.
pub const OVERRUN: Duration = Duration::from_millis(200);

/// How long a runner may take from its start until it is confined.
const START: Duration = Duration::from_secs(10);

/// A log line counts at least this much, so that empty ones are not free.
const LOG_LINE: usize = 32;

/// After this many lines beyond the log quota a runner is taken to be out of control.
const MAX_DROPPED: u32 = 10_000;

/// The longest thing that a hook can ask for, in words: it goes to the log, and to the journal.
const MAX_ASKED: usize = 4 << 10;

/// The longest backtrace that is kept, in bytes.
const MAX_TEXT: usize = 16 << 10;

/// After this share of the runner's CPU limit it should be replaced.
const WORN: Duration = Duration::from_secs(sandbox::CPU_SECONDS / 2);

/// What to do if a mandatory part of the sandbox is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SandboxPolicy {
    /// Refuse the hook.
    #[default]
    Required,
    /// Run it with what there is: `sandbox = "best-effort"`.
    BestEffort,
}

/// Answers what a hook asks: grants, ledger and host stand behind it.
///
/// The future is dropped when the run is superseded or out of time while it waits; what it had
/// begun must then be brought to an end by itself (a job cancelled, a change recorded in the ledger
/// undone).
#[expect(
    async_fn_in_trait,
    reason = "used on one thread, never as a trait object"
)]
pub trait RequestHandler {
    /// Answers one question.
    async fn ask(&mut self, ask: Ask) -> Answer;
}

/// One runner with one loaded hook.
#[derive(Debug)]
pub struct Session {
    stream: UnixStream,
    inbox: Inbox,
    loaded: Loaded,
    confinement: Confinement,
    alive: bool,
    /// Time in which the runner, not the engine, was at work: at least the CPU time that it used.
    busy: Duration,
}

/// One run in progress.
struct Turn<'a> {
    budget: &'a Budget,
    /// When the hook's time is used up.
    over: Instant,
    /// When the runner is given up; later than `over`, sooner once the run is superseded.
    lost: Instant,
    superseded: bool,
    timed_out: bool,
    requests: u32,
    log_left: usize,
    dropped: u32,
}

impl Session {
    /// Waits for the runner to be confined, checks how well it is, and lets it load the hook.
    ///
    /// # Errors
    /// [`LoadError`]; the runner is then of no use and should be killed.
    pub async fn load(
        stream: StdStream,
        source: HookSource,
        budget: Budget,
        required: SandboxPolicy,
    ) -> Result<Self, LoadError> {
        Self::load_counted(stream, source, budget, required, false).await
    }

    /// The same; with `coverage` the runner counts how often each line runs: see
    /// [`Self::coverage`].
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn load_counted(
        stream: StdStream,
        source: HookSource,
        budget: Budget,
        required: SandboxPolicy,
        coverage: bool,
    ) -> Result<Self, LoadError> {
        let mut session = Self::open(stream, required).await?;
        let message = ToRunner::Load {
            source: Box::new(source),
            budget,
            coverage,
        };
        session.loaded = match session.told(&message, budget).await? {
            FromRunner::Loaded(loaded) => loaded.map_err(load_error)?,
            _ => return Err(dead(&out_of_turn())),
        };
        Ok(session)
    }

    /// Waits for the runner to be confined, and checks how well it is.
    pub(in crate::hooks) async fn open(
        stream: StdStream,
        required: SandboxPolicy,
    ) -> Result<Self, LoadError> {
        let dead = |err: FrameError| dead(&err);
        stream
            .set_nonblocking(true)
            .map_err(|err| dead(err.into()))?;
        let stream = UnixStream::from_std(stream).map_err(|err| dead(err.into()))?;
        let loaded = Loaded {
            entry_points: Vec::new(),
            modules: Vec::new(),
            imports: Vec::new(),
        };
        let mut session = Self {
            stream,
            inbox: Inbox::default(),
            loaded,
            confinement: Confinement::default(),
            alive: true,
            busy: Duration::ZERO,
        };
        let late = |_| LoadError::Runner("the runner did not start in time".to_owned());
        session.confinement = match timeout_at(Instant::now() + START, session.receive())
            .await
            .map_err(late)?
            .map_err(dead)?
        {
            FromRunner::Ready { confinement } => confinement,
            _ => return Err(dead(out_of_turn())),
        };
        let lacking = sandbox::lacking(&session.confinement);
        if required == SandboxPolicy::Required && !lacking.is_empty() {
            return Err(LoadError::Sandbox(lacking.join("; ")));
        }
        Ok(session)
    }

    /// Lets the runner load something and gives what it says, within the budget.
    pub(in crate::hooks) async fn told(
        &mut self,
        message: &ToRunner,
        budget: Budget,
    ) -> Result<FromRunner, LoadError> {
        let began = Instant::now();
        let exchange = async {
            self.send(message).await?;
            self.receive().await
        };
        let answer = timeout_at(began + budget.wall + OVERRUN, exchange).await;
        let late = |_| {
            LoadError::Code(format!(
                "loading took longer than the budget of {:?}",
                budget.wall
            ))
        };
        let answer = answer.map_err(late)?.map_err(|err| dead(&err))?;
        self.busy = began.elapsed();
        Ok(answer)
    }

    /// Which lines of the hook have run since it was loaded; nothing if they were not counted or
    /// the runner does not say.
    pub async fn coverage(&mut self) -> Vec<FileCoverage> {
        let exchange = async {
            self.send(&ToRunner::Coverage).await?;
            self.receive().await
        };
        if let Ok(Ok(FromRunner::Coverage(files))) =
            timeout_at(Instant::now() + OVERRUN, exchange).await
        {
            return files;
        }
        self.alive = false;
        Vec::new()
    }

    /// The hook's entry points and modules.
    #[must_use]
    pub const fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// How well the runner is confined.
    #[must_use]
    pub const fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    /// Can it be called again? If not, the runner should be killed. Asks the kernel: a runner that
    /// waits for its next run may be killed like any process.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        self.alive && recv(self.stream.as_raw_fd(), &mut [0], flags) == Err(Errno::EAGAIN)
    }

    /// Whether the runner has used so much of its total CPU time that the next run should get a new
    /// one.
    #[must_use]
    pub const fn is_worn(&self) -> bool {
        self.busy.as_millis() >= WORN.as_millis()
    }

    /// Runs one entry point; `desk` answers what the hook asks. When `cancel` resolves, the hook's
    /// current or next question is answered with [`AskError::Superseded`].
    ///
    /// # Errors
    /// [`HookError`]. After a run that did not end by itself within [`GRACE`] or [`OVERRUN`], or
    /// with [`HookError::RunnerDied`], the session is dead.
    pub async fn call(
        &mut self,
        event: HookEvent,
        budget: Budget,
        desk: &mut impl RequestHandler,
        cancel: impl Future<Output = ()>,
    ) -> Result<Returned, HookError> {
        if !self.alive {
            return Err(HookError::RunnerDied("before this run".to_owned()));
        }
        let over = Instant::now() + budget.wall;
        let mut turn = Turn {
            budget: &budget,
            over,
            lost: over + OVERRUN,
            superseded: false,
            timed_out: false,
            requests: 0,
            log_left: usize::try_from(budget.log_bytes).unwrap_or(usize::MAX),
            dropped: 0,
        };
        // Not alive until the run has ended in good order: this future may be dropped at any point.
        self.alive = false;
        let message = ToRunner::Call {
            event: Box::new(event),
            budget,
        };
        let ended = self.converse(&message, &mut turn, desk, pin!(cancel)).await;
        if turn.dropped > 0 {
            let fields = vec![("lines".to_owned(), turn.dropped.to_string())];
            let message = "Dropped log lines of a hook beyond its quota".to_owned();
            desk.ask(Ask::Log {
                level: LogLevel::Warn,
                message,
                fields,
            })
            .await;
        }
        let result = match ended {
            Ok(result) => {
                self.alive = true;
                result
            }
            Err(Lost::Silent) => Err(HookError::TimedOut(budget.wall)),
            Err(Lost::Gone(err)) => Err(HookError::RunnerDied(err.to_string())),
        };
        match result {
            Err(HookError::RunnerDied(_)) => result,
            _ if turn.superseded => Err(HookError::Superseded),
            _ if turn.timed_out => Err(HookError::TimedOut(budget.wall)),
            // Only the engine supersedes a run.
            Err(HookError::Superseded) => Err(HookError::RunnerDied(
                "it claims to have been superseded".to_owned(),
            )),
            other => other,
        }
    }

    /// From the call until the runner says that it has finished.
    async fn converse(
        &mut self,
        call: &ToRunner,
        turn: &mut Turn<'_>,
        desk: &mut impl RequestHandler,
        mut cancel: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Result<Returned, HookError>, Lost> {
        let mut cancelled = false;
        self.send_before(call, turn.lost).await?;
        loop {
            let began = Instant::now();
            let message = tokio::select! {
                biased;
                () = &mut cancel, if !cancelled => {
                    cancelled = true;
                    turn.lost = turn.lost.min(Instant::now() + GRACE);
                    continue;
                }
                message = self.receive() => message?,
                () = sleep_until(turn.lost) => {
                    turn.superseded |= cancelled;
                    return Err(Lost::Silent);
                }
            };
            self.busy += began.elapsed();
            let ask = match message {
                FromRunner::Ask(ask) => ask,
                FromRunner::Finished(result) => return Ok(finished(result)),
                _ => return Err(Lost::Gone(out_of_turn())),
            };
            let answer = match turn.admit(ask, cancelled)? {
                Err(answer) => answer,
                Ok(ask) => tokio::select! {
                    biased;
                    () = &mut cancel, if !cancelled => {
                        cancelled = true;
                        turn.supersede()
                    }
                    answer = desk.ask(ask) => answer,
                    err = self.interrupted() => return Err(Lost::Gone(err)),
                    () = sleep_until(turn.over) => turn.run_out(),
                },
            };
            // The desk has a clock of its own, and may see the end first.
            turn.timed_out |= matches!(answer, Answer::Error(AskError::TimeUp(_)));
            self.send_before(&ToRunner::Answer(answer), turn.lost)
                .await?;
        }
    }

    /// Resolves when the runner is gone, or speaks, while it should wait for an answer.
    async fn interrupted(&self) -> FrameError {
        loop {
            let read = match self.stream.readable().await {
                Ok(()) => self.stream.try_read(&mut [0]),
                Err(err) => Err(err),
            };
            match read {
                Ok(0) => return FrameError::Closed,
                Ok(_) => return out_of_turn(),
                Err(err) if err.kind() == ErrorKind::WouldBlock => {}
                Err(err) => return err.into(),
            }
        }
    }

    async fn send_before(&mut self, message: &ToRunner, deadline: Instant) -> Result<(), Lost> {
        match timeout_at(deadline, self.send(message)).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(Lost::Silent),
        }
    }

    pub(in crate::hooks) async fn send(&mut self, message: &ToRunner) -> Result<(), FrameError> {
        Ok(self
            .stream
            .write_all(&encode(message, MAX_TO_RUNNER)?)
            .await?)
    }

    /// The next message; the time until it comes is the runner's work.
    pub(in crate::hooks) async fn receive_counted(&mut self) -> Result<FromRunner, FrameError> {
        let began = Instant::now();
        let message = self.receive().await;
        self.busy += began.elapsed();
        message
    }

    /// The next message. May be given up halfway: what was read stays in the inbox.
    pub(in crate::hooks) async fn receive(&mut self) -> Result<FromRunner, FrameError> {
        next(&mut self.stream, &mut self.inbox, MAX_FROM_RUNNER).await
    }
}

/// Why a run has no end of its own.
enum Lost {
    /// The runner did not end it in time.
    Silent,
    /// The runner is gone, or speaks nonsense.
    Gone(FrameError),
}

impl From<FrameError> for Lost {
    fn from(err: FrameError) -> Self {
        Self::Gone(err)
    }
}

/// Is it longer than anything that makes sense? The content of files and the hook's own state have
/// limits of their own.
fn is_too_long(ask: &Ask) -> bool {
    match ask {
        Ask::Effect { effect, .. } => effect.to_string().len() > MAX_ASKED,
        Ask::Query(query) => query.to_string().len() > MAX_ASKED,
        Ask::StateGet { key } | Ask::StateSet { key, .. } => key.len() > MAX_ASKED,
        Ask::Log { .. } | Ask::Sleep { .. } => false,
    }
}

/// What a runner says of its hook's end, as a log and a person can take it.
fn finished(result: Result<Returned, HookError>) -> Result<Returned, HookError> {
    match result {
        Ok(Returned::Done) => Ok(Returned::Done),
        Ok(Returned::Health { demotion, reason }) => Ok(Returned::Health {
            demotion: Demotion::new(demotion).get(),
            reason: shown(reason),
        }),
        Err(HookError::Raised { message, backtrace }) => Err(HookError::Raised {
            message: shown(message),
            backtrace: cut(backtrace),
        }),
        Err(HookError::RunnerDied(how)) => Err(HookError::RunnerDied(shown(how))),
        Err(err @ (HookError::TimedOut(_) | HookError::OutOfMemory(_) | HookError::Superseded)) => {
            Err(err)
        }
    }
}

fn load_error(err: LoadError) -> LoadError {
    match err {
        LoadError::Code(text) => LoadError::Code(shown(text)),
        LoadError::NoEntryPoint { path } => LoadError::NoEntryPoint { path: shown(path) },
        LoadError::Sandbox(text) => LoadError::Sandbox(shown(text)),
        LoadError::Compiler(text) => LoadError::Compiler(shown(text)),
        LoadError::Runner(text) => LoadError::Runner(shown(text)),
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

/// The runner ended, or made no sense, before the hook was loaded.
pub(in crate::hooks) fn dead(err: &FrameError) -> LoadError {
    LoadError::Runner(format!("the runner ended while loading: {err}"))
}

pub(in crate::hooks) fn out_of_turn() -> FrameError {
    std::io::Error::new(ErrorKind::InvalidData, "it sent something unexpected").into()
}

impl Turn<'_> {
    /// May this be asked? If not, the answer. A log line beyond the quota is counted and dropped.
    fn admit(&mut self, ask: Ask, cancelled: bool) -> Result<Result<Ask, Answer>, Lost> {
        if let Ask::Log {
            message, fields, ..
        } = &ask
        {
            let bytes = fields
                .iter()
                .fold(LOG_LINE + message.len(), |sum, (key, value)| {
                    sum + key.len() + value.len()
                });
            let Some(left) = self.log_left.checked_sub(bytes) else {
                self.dropped += 1;
                let flood = || std::io::Error::new(ErrorKind::QuotaExceeded, "it floods the log");
                return if self.dropped > MAX_DROPPED {
                    Err(Lost::Gone(flood().into()))
                } else {
                    Ok(Err(Answer::Done))
                };
            };
            self.log_left = left;
            return Ok(Ok(ask));
        }
        if cancelled {
            return Ok(Err(self.supersede()));
        }
        if is_too_long(&ask) {
            return Ok(Err(Answer::Error(AskError::Invalid(format!(
                "arguments of more than {MAX_ASKED} bytes"
            )))));
        }
        if self.timed_out || Instant::now() >= self.over {
            return Ok(Err(self.run_out()));
        }
        if self.requests >= self.budget.requests {
            let text = format!("more than {} questions in one run", self.budget.requests);
            return Ok(Err(Answer::Error(AskError::OverBudget(text))));
        }
        self.requests += 1;
        Ok(Ok(ask))
    }

    fn supersede(&mut self) -> Answer {
        self.superseded = true;
        self.lost = self.lost.min(Instant::now() + GRACE);
        Answer::Error(AskError::Superseded)
    }

    const fn run_out(&self) -> Answer {
        Answer::Error(AskError::TimeUp(self.budget.wall))
    }
}
