//! The engine's end of its socket to the keeper.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::process::Child;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::message::{ChildId, HowEnded, Predecessor, Report, Request, Role};
use super::{spawn, wire};
use crate::programs::{self, Opened, Program};
use crate::types::Name;

type Spawned = oneshot::Sender<io::Result<StdStream>>;

/// Asks the keeper for processes. Cheap to clone; any number of tasks may ask at the same time.
///
/// Needs a tokio runtime with I/O: a task of its own carries the messages, and ends with the last
/// clone.
#[derive(Debug, Clone)]
pub struct Client {
    orders: mpsc::UnboundedSender<Order>,
    next: std::sync::Arc<AtomicU64>,
    bound: Option<std::sync::Arc<Bound>>,
    hook: Option<Name>,
}

/// A limit on the children at one time, and those that were started and not killed yet.
#[derive(Debug)]
struct Bound {
    most: usize,
    running: Mutex<HashSet<ChildId>>,
}

/// Reports the children that have ended.
#[derive(Debug)]
pub struct Exits {
    receiver: mpsc::UnboundedReceiver<(ChildId, HowEnded)>,
    before: Option<Predecessor>,
}

/// What the task that carries the messages has to send. Bounded by the number of children, each of
/// which is spawned once and killed once.
#[derive(Debug)]
enum Order {
    Spawn(
        ChildId,
        (Role, Option<Name>),
        Spawned,
        Option<oneshot::Sender<HowEnded>>,
    ),
    Kill(ChildId),
    FailSafe(OwnedFd),
    Realtime,
    Preparing,
    Reloaded(bool),
}

impl Client {
    /// For a process that the keeper started: its socket is standard input.
    ///
    /// # Errors
    /// Standard input is no socket.
    pub fn from_stdin() -> io::Result<(Self, Exits)> {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        // The keeper sends this before it starts an engine.
        let before = match wire::receive::<Report>(&socket) {
            Ok(Some((Report::Before(before), _))) => Some(before),
            Ok(_) | Err(_) => None,
        };
        let (client, exits) = Self::over(socket, None)?;
        Ok((client, Exits { before, ..exits }))
    }

    /// For a process without a keeper, such as `carpd check`: starts one from the daemon's program,
    /// which is beside this one unless a test says where. It ends with the last clone of the
    /// client. Call it from the main thread or one that lives as long: the keeper ends with the
    /// thread that started it.
    ///
    /// # Errors
    /// The program could not be started.
    pub fn start(program: Option<&Path>) -> io::Result<(Self, Exits)> {
        match program {
            Some(program) => Self::start_from(program, None),
            None => Self::start_from(&programs::find(Program::Daemon)?, None),
        }
    }

    /// For a tester: starts a keeper from what its own keeper handed to it, the numbers of the
    /// descriptors of the daemon's program and of the worker.
    ///
    /// # Errors
    /// As of [`Self::start`].
    pub fn start_inherited(daemon: &OsStr, worker: &OsStr) -> io::Result<(Self, Exits)> {
        Self::start_from(&Opened::inherited(daemon)?.path(), Some(worker))
    }

    fn start_from(program: &Path, worker: Option<&OsStr>) -> io::Result<(Self, Exits)> {
        let (ours, theirs) = wire::pair()?;
        let keeper = spawn::keeper(program, worker, theirs)?;
        tracing::debug!(pid = keeper.id(), "Started a keeper");
        Self::over(ours, Some(keeper))
    }

    /// A client of a keeper that is gone.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> Self {
        Self {
            orders: mpsc::unbounded_channel().0,
            next: std::sync::Arc::default(),
            bound: None,
            hook: None,
        }
    }

    fn over(socket: OwnedFd, keeper: Option<Child>) -> io::Result<(Self, Exits)> {
        let socket = StdStream::from(socket);
        socket.peer_addr()?;
        socket.set_nonblocking(true)?;
        let socket = UnixStream::from_std(socket)?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let (exits, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            if let Err(err) = carry(&socket, inbox, &exits).await {
                tracing::error!(%err, "Lost the keeper");
            }
            // A keeper that we started ends with the socket, and has to be reaped.
            drop(socket);
            if let Some(mut keeper) = keeper {
                drop(tokio::task::spawn_blocking(move || keeper.wait()));
            }
        });
        Ok((
            Self {
                orders,
                next: std::sync::Arc::new(AtomicU64::new(1)),
                bound: None,
                hook: None,
            },
            Exits {
                receiver,
                before: None,
            },
        ))
    }

    /// A client of the same keeper that may have at most so many children at one time.
    #[must_use]
    pub fn at_most(&self, most: usize) -> Self {
        let running = Mutex::default();
        Self {
            bound: Some(std::sync::Arc::new(Bound { most, running })),
            ..self.clone()
        }
    }

    /// A client of the same keeper whose children are for this hook, which shows in their names.
    #[must_use]
    pub fn for_hook(&self, hook: &Name) -> Self {
        Self {
            hook: Some(hook.clone()),
            ..self.clone()
        }
    }

    /// The number of the next child.
    fn next(&self) -> io::Result<ChildId> {
        let id = ChildId(self.next.fetch_add(1, Ordering::Relaxed));
        if let Some(bound) = &self.bound {
            bound.enter(id)?;
        }
        Ok(id)
    }

    fn forget(&self, id: ChildId) {
        if let Some(bound) = &self.bound {
            bound.leave(id);
        }
    }

    /// Starts a process and gives our end of its socket.
    ///
    /// # Errors
    /// The process could not be started, there are as many as may be, or the keeper is gone
    /// (`BrokenPipe`).
    pub async fn spawn(&self, role: Role) -> io::Result<(ChildId, StdStream)> {
        let id = self.next()?;
        let (answer, answered) = oneshot::channel();
        self.orders
            .send(Order::Spawn(id, (role, self.hook.clone()), answer, None))
            .map_err(|_| gone())?;
        Ok((id, self.entered(id, answered).await?))
    }

    /// As [`Self::spawn`], and tells how the process ended: to whoever asked for it, besides
    /// [`Exits::next`].
    ///
    /// # Errors
    /// As [`Self::spawn`].
    pub async fn spawn_watched(
        &self,
        role: Role,
    ) -> io::Result<(ChildId, StdStream, oneshot::Receiver<HowEnded>)> {
        let id = self.next()?;
        let ((answer, answered), (ended, end)) = (oneshot::channel(), oneshot::channel());
        self.orders
            .send(Order::Spawn(
                id,
                (role, self.hook.clone()),
                answer,
                Some(ended),
            ))
            .map_err(|_| gone())?;
        Ok((id, self.entered(id, answered).await?, end))
    }

    /// The child's socket. A child that could not be started does not count towards the limit.
    async fn entered(
        &self,
        id: ChildId,
        answered: oneshot::Receiver<io::Result<StdStream>>,
    ) -> io::Result<StdStream> {
        let answer = answered.await.map_err(|_| gone()).and_then(|answer| answer);
        if answer.is_err() {
            self.forget(id);
        }
        answer
    }

    /// Gives the keeper the failsafe, for the case that we crash:
    /// [`super::failsafe::Writer::create`].
    pub fn publish(&self, failsafe: OwnedFd) {
        // Without a keeper there is nobody to read it.
        let _ = self.orders.send(Order::FailSafe(failsafe));
    }

    /// Asks the keeper for real-time priority: for itself, since it acts in the engine's place if
    /// that dies, and for the engine if it gave it up ([`crate::host::kernel::realtime::pause`]).
    pub fn take_realtime(&self) {
        let _ = self.orders.send(Order::Realtime);
    }

    /// Tells the keeper that a reload which began with a [`Role::NewReader`] is still being
    /// prepared, every [`super::PREPARING_EVERY`].
    pub fn preparing(&self) {
        // Without a keeper nobody waits for it.
        let _ = self.orders.send(Order::Preparing);
    }

    /// Tells the keeper how a reload ended that began with a [`Role::NewReader`]. The keeper ends
    /// the children of the configuration that is not in use.
    pub fn reloaded(&self, accepted: bool) {
        // Without a keeper there are no helpers and readers.
        let _ = self.orders.send(Order::Reloaded(accepted));
    }

    /// Kills a process; does nothing if it has ended. [`Exits::next`] reports its end.
    pub fn kill(&self, id: ChildId) {
        self.forget(id);
        // If the keeper is gone, so is the child.
        let _ = self.orders.send(Order::Kill(id));
    }
}

impl Bound {
    fn enter(&self, id: ChildId) -> io::Result<()> {
        let mut running = self
            .running
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if running.len() >= self.most {
            return Err(io::Error::other(format!(
                "more than {} processes at once",
                self.most
            )));
        }
        running.insert(id);
        Ok(())
    }

    fn leave(&self, id: ChildId) {
        self.running
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .remove(&id);
    }
}

impl Exits {
    /// How the previous engine crashed, if there was one. Given once.
    pub const fn take_predecessor(&mut self) -> Option<Predecessor> {
        self.before.take()
    }

    /// The next child that has ended; `None` once the keeper is gone.
    pub async fn next(&mut self) -> Option<(ChildId, HowEnded)> {
        self.receiver.recv().await
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the keeper is gone")
}

/// Carries orders to the keeper and its reports back, until either end closes.
async fn carry(
    socket: &UnixStream,
    mut inbox: mpsc::UnboundedReceiver<Order>,
    exits: &mpsc::UnboundedSender<(ChildId, HowEnded)>,
) -> io::Result<()> {
    let mut waiting: HashMap<ChildId, Spawned> = HashMap::new();
    let mut watched: HashMap<ChildId, oneshot::Sender<HowEnded>> = HashMap::new();
    loop {
        tokio::select! {
            order = inbox.recv() => {
                let Some(order) = order else { return Ok(()) };
                let (request, descriptor) = match order {
                    Order::Spawn(id, (role, hook), answer, watch) => {
                        waiting.insert(id, answer);
                        watched.extend(watch.map(|watch| (id, watch)));
                        (Request::Spawn(id, role, hook), None)
                    }
                    Order::Kill(id) => (Request::Kill(id), None),
                    Order::FailSafe(file) => (Request::FailSafe, Some(file)),
                    Order::Realtime => (Request::Realtime, None),
                    Order::Preparing => (Request::Preparing, None),
                    Order::Reloaded(accepted) => (Request::Reloaded(accepted), None),
                };
                let descriptor = descriptor.as_ref().map(AsFd::as_fd);
                // The keeper reads whatever its own outbox holds, so this wait ends.
                socket.async_io(Interest::WRITABLE, || wire::send(socket, &request, descriptor)).await?;
            }
            report = socket.async_io(Interest::READABLE, || wire::receive::<Report>(socket)) => {
                let Some((report, descriptor)) = report? else { return Err(gone()) };
                match report {
                    Report::Before(_) => {}
                    Report::Exited(id, how) => {
                        if let Some(watch) = watched.remove(&id) {
                            drop(watch.send(how.clone()));
                        }
                        drop(exits.send((id, how)));
                    }
                    Report::Spawned(id) => {
                        let stream = descriptor.map(StdStream::from).ok_or_else(|| io::Error::from(Errno::EBADMSG));
                        if let Some(answer) = waiting.remove(&id) {
                            // Whoever asked may have given up; then the socket closes and the child
                            // ends.
                            drop(answer.send(stream));
                        }
                    }
                    Report::Failed(id, failure) => {
                        watched.remove(&id);
                        if let Some(answer) = waiting.remove(&id) {
                            drop(answer.send(Err(failure.into())));
                        }
                    }
                }
            }
        }
    }
}
