//! The engine's end of the HTTP endpoint: the socket, the process that answers on it, and what that
//! asks of the engine. See docs/adr/0062-an-endpoint-without-rights.md.

mod listener;

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{error, info};

pub use listener::{Listener, bind};

use crate::backoff::Backoff;
use crate::engine::command::{Command, Then};
use crate::engine::report::Status;
use crate::engine::{Doors, Metrics};
use crate::frame::{self, FrameError, Inbox};
use crate::host::children::endpoint::{
    self, ANSWER_MAX, ASK_MAX, Answer, Ask, Content, HEARTBEAT, Order,
};
use crate::host::clock;
use crate::keeper::{Client, Role};
use crate::types::Timestamp;

/// The delay before a dead process is restarted.
const RESTARTS: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(30));
/// One that ran for this long died for a new reason.
const HEALTHY: Duration = Duration::from_secs(60);
/// How long one gets to end after its socket was closed.
const GRACE: Duration = Duration::from_secs(1);
/// The process asks for nothing twice within a heartbeat. One that does so all the same waits; the
/// difference is for the clocks' granularity.
const PACE: Duration = Duration::from_millis(450);

/// The endpoint works until this is dropped.
#[derive(Debug)]
pub struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Answers on this socket until the result is dropped. Must be called on a tokio `LocalSet`.
/// `confined`: not without a full sandbox.
#[must_use]
pub fn serve(listener: Listener, confined: bool, doors: Doors) -> Serving {
    info!(listen = %listener.place(), "The HTTP endpoint listens");
    let order = Order {
        confined,
        unix: listener.is_unix(),
        node: doors.node,
    };
    let desk = Desk {
        commands: doors.commands,
        status_at: None,
        metrics_at: None,
    };
    Serving(tokio::task::spawn_local(supervise(
        listener,
        order,
        doors.keeper,
        desk,
    )))
}

/// Keeps a process running. While there is none, clients wait for an answer: none of them is told
/// that all is well.
async fn supervise(listener: Listener, order: Order, keeper: Client, mut desk: Desk) {
    let mut backoff = RESTARTS;
    loop {
        let began = clock::now();
        let why = once(&listener, &order, &keeper, &mut desk).await;
        if clock::now().since(began) > HEALTHY {
            backoff = RESTARTS;
        }
        let pause = backoff.pause();
        error!(
            why,
            restart_ms = pause.as_millis(),
            "The process of the HTTP endpoint died; restarting it"
        );
        clock::sleep(pause).await;
    }
}

/// Runs one until it dies: why.
async fn once(listener: &Listener, order: &Order, keeper: &Client, desk: &mut Desk) -> String {
    let (id, stream, mut end) = match keeper.spawn_watched(Role::Endpoint).await {
        Ok(started) => started,
        Err(error) => return format!("it cannot be started: {error}"),
    };
    let why = match instruct(stream, listener, order) {
        Ok(stream) => desk.answer_all(stream).await,
        Err(error) => error.to_string(),
    };
    // Its socket is closed: it ends.
    if let Ok(how) = timeout(GRACE, &mut end).await {
        return how.map_or_else(|_| why.clone(), |how| format!("{why}: {how}"));
    }
    keeper.kill(id);
    drop(end.await);
    why
}

fn instruct(
    stream: StdStream,
    listener: &Listener,
    order: &Order,
) -> Result<UnixStream, FrameError> {
    endpoint::send(&stream, order, listener.descriptor())?;
    stream.set_nonblocking(true)?;
    Ok(UnixStream::from_std(stream)?)
}

/// Passes on what the process asks.
struct Desk {
    commands: mpsc::Sender<Command>,
    status_at: Option<Timestamp>,
    metrics_at: Option<Timestamp>,
}

impl Desk {
    /// Answers until that is no longer possible: why.
    async fn answer_all(&mut self, mut stream: UnixStream) -> String {
        let mut inbox = Inbox::default();
        loop {
            let ask = match frame::next::<Ask>(&mut stream, &mut inbox, ASK_MAX).await {
                Ok(Ask::Cannot(why)) => return why.escape_debug().to_string(),
                Ok(ask) => ask,
                Err(error) => return error.to_string(),
            };
            let answer = match self.answer(ask).await {
                Ok(answer) => answer,
                Err(error) => return error.to_string(),
            };
            if let Err(error) = stream.write_all(&answer).await {
                return error.to_string();
            }
        }
    }

    /// The answer as it goes over the socket.
    async fn answer(&mut self, ask: Ask) -> Result<Vec<u8>, FrameError> {
        let last = match ask {
            Ask::Status => &mut self.status_at,
            Ask::Metrics | Ask::Cannot(_) => &mut self.metrics_at,
        };
        if let Some(last) = *last {
            clock::sleep((last + PACE).since(clock::now())).await;
        }
        // Taken before the loop answers: nothing is shown as younger than it is.
        let at = clock::now();
        *last = Some(at);
        let encoded = move |content| frame::encode(&Answer { at, content }, ANSWER_MAX);
        // What takes long is done beside the loop.
        let encoding = match ask {
            Ask::Status => {
                let status = self.status().await?;
                tokio::task::spawn_blocking(move || {
                    let json = serde_json::to_string(&status).map_err(io::Error::other)?;
                    encoded(Content::Status(json))
                })
            }
            Ask::Metrics | Ask::Cannot(_) => {
                let metrics = self.metrics().await?;
                tokio::task::spawn_blocking(move || encoded(Content::Metrics(metrics.end())))
            }
        };
        encoding.await.map_err(io::Error::other)?
    }

    /// The status, of which the loop tells a part in each of several turns.
    async fn status(&self) -> io::Result<Box<Status>> {
        let (mut vhosts, mut after) = (Vec::new(), None);
        loop {
            let part = self.ask(|reply| Command::StatusPart(after, reply)).await?;
            vhosts.extend(part.some);
            match part.then {
                Then::More(next) => after = Some(next),
                Then::End(mut status) => {
                    status.vhosts = vhosts;
                    return Ok(status);
                }
            }
        }
    }

    /// The metrics, likewise.
    async fn metrics(&self) -> io::Result<Metrics> {
        let (mut metrics, mut after) = (Metrics::default(), None);
        loop {
            let part = self.ask(|reply| Command::MetricsPart(after, reply)).await?;
            metrics.append(part.some);
            match part.then {
                Then::More(next) => after = Some(next),
                Then::End(()) => return Ok(metrics),
            }
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> io::Result<T> {
        let ending = || io::Error::other("the daemon is stopping");
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(command(reply)).await;
        sent.map_err(|_| ending())?;
        answer.await.map_err(|_| ending())
    }
}

const _: () = assert!(PACE.as_millis() < HEARTBEAT.as_millis());
