//! The daemon's end.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::{debug, info, warn};

use super::{Order, REQUEST_BYTES_MAX, Reply, Request, Response, VERSION};
use crate::engine::command::Command;

/// Operators at one time; more wait.
const CONNECTIONS_MAX: usize = 32;
/// Who says nothing for so long is cut off.
const PATIENCE: Duration = Duration::from_secs(10);

/// A socket on which the daemon listens. Dropping it removes its file: a socket without a daemon would only confuse who
/// looks for one.
#[derive(Debug)]
pub struct Listening(PathBuf);

impl Drop for Listening {
    fn drop(&mut self) {
        // Whoever removed it before us did the same.
        _ = std::fs::remove_file(&self.0);
    }
}

/// Listens on `path` until the engine ends. Must be called on a tokio `LocalSet`.
///
/// # Errors
/// The socket cannot be made there; `AddrInUse` if another daemon listens on it.
pub fn serve(path: &Path, commands: mpsc::Sender<Command>) -> io::Result<Listening> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    // One of the same name in another network namespace, which has other locks.
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon listens there"));
    }
    // Left behind by a daemon that was killed.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    debug!(path = %path.display(), "Listens for operators");
    tokio::task::spawn_local(accept(listener, commands));
    Ok(Listening(path.to_owned()))
}

async fn accept(listener: UnixListener, commands: mpsc::Sender<Command>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let commands = commands.clone();
                tokio::task::spawn_local(async move {
                    if let Err(error) = converse(stream, commands).await {
                        debug!(%error, "An operator's connection broke");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "Could not accept an operator's connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, commands: mpsc::Sender<Command>) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let own = nix::unistd::geteuid().as_raw();
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(REQUEST_BYTES_MAX));
    let read = tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await;
    let answer = match read {
        Err(_) => Err("no request came in time".to_owned()),
        Ok(Err(error)) => Err(format!("the request is not text: {error}")),
        Ok(Ok(_)) if peer.uid() != 0 && peer.uid() != own => Err("only root may give orders to this daemon".to_owned()),
        Ok(Ok(_)) => match parse(&line) {
            Err(why) => Err(why),
            Ok(order) => {
                if !matches!(order, Order::Status | Order::Metrics | Order::HookPlan(_)) {
                    info!(uid = peer.uid(), pid = peer.pid(), ?order, "An operator gave an order");
                }
                obey(order, &commands).await
            }
        },
    };
    let response = Response { version: VERSION, answer };
    let mut text = serde_json::to_vec(&response)?;
    text.push(b'\n');
    tokio::time::timeout(PATIENCE, writer.write_all(&text)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    writer.shutdown().await
}

fn parse(line: &str) -> Result<Order, String> {
    let request: Request = serde_json::from_str(line)
        .map_err(|error| format!("not a request: {error}; one looks like {{\"version\":{VERSION},\"order\":\"status\"}}"))?;
    if request.version != VERSION {
        let theirs = request.version;
        return Err(format!("this daemon speaks version {VERSION}, not {theirs}: use the carpd that it was started from"));
    }
    Ok(request.order)
}

async fn obey(order: Order, commands: &mpsc::Sender<Command>) -> Result<Reply, String> {
    match order {
        Order::Status => ask(commands, Command::Status).await.map(Reply::Status),
        Order::Metrics => ask(commands, Command::Metrics).await.map(Reply::Metrics),
        Order::Reload => ask(commands, Command::Reload).await.map(Reply::Reload),
        Order::HookRollback(name) => message(ask(commands, |reply| Command::Rollback(name, reply)).await),
        Order::HookApply(name) => message(ask(commands, |reply| Command::Apply(name, reply)).await),
        Order::HookPlan(name) => ask(commands, |reply| Command::Plan(name, reply)).await.and_then(|plans| plans.map(Reply::Plan)),
        Order::Resign { vhost, reason } => message(ask(commands, |reply| Command::Resign(vhost, reason, reply)).await),
    }
}

fn message(answer: Result<Result<String, String>, String>) -> Result<Reply, String> {
    answer.and_then(|done| done.map(Reply::Message))
}

async fn ask<T>(commands: &mpsc::Sender<Command>, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, String> {
    let (reply, answer) = oneshot::channel();
    let ending = || "the daemon is stopping".to_owned();
    commands.send(command(reply)).await.map_err(|_| ending())?;
    answer.await.map_err(|_| ending())
}
