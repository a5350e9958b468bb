//! The daemon's end.

use std::fs::Metadata;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Gid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedWriteHalf, UCred};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};

use super::client;
use super::lobby::{Lobby, Peer, Place as Seat};
use super::roles::{self, Right, Roles};
use super::{Order, REQUEST_BYTES_MAX, Reply, Request, Response, VERSION};
use crate::engine::command::{Command, Then};
use crate::engine::report::PeersReport;
use crate::journal::OrderRecord;
use crate::process::{Patience, Process};
use crate::resolve::{self, Place};
use crate::types::Name;

/// A client that sends nothing for this long is disconnected.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a daemon that was killed may keep listening.
const DYING: Duration = Duration::from_secs(1);
/// How often that is checked.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A socket on which the daemon listens. Dropping it removes its file: a socket without a daemon
/// would only be confusing.
#[derive(Debug)]
pub struct Listening(Place);

impl Bound {
    /// The socket, and what removes its file.
    #[must_use]
    pub fn into_parts(self) -> (StdListener, Listening) {
        (self.listener, self.listening)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // If it is already gone, that is fine.
        _ = self.0.remove();
    }
}

/// A socket that listens, before there is anybody to answer.
#[derive(Debug)]
pub struct Bound {
    listener: StdListener,
    listening: Listening,
}

/// Listens on `path`. Clients wait until [`serve`]. Waits one second for a killed daemon that still
/// listens there. If groups have rights, everybody may connect, and each order is checked.
///
/// # Errors
/// The socket cannot be made there; `AddrInUse` if another daemon listens on it.
pub fn bind(path: &Path, roles: &Roles) -> io::Result<Bound> {
    bind_for(path, if roles.is_shared() { 0o666 } else { 0o660 })
}

/// As [`bind`], with these permissions.
///
/// # Errors
/// As of [`bind`].
pub fn bind_for(path: &Path, mode: u32) -> io::Result<Bound> {
    if let Some(directory) = path.parent() {
        resolve::make_directory(directory, 0o755)?;
    }
    // Not a link: what is removed, created and made accessible here is what was checked.
    let place = resolve::own(path)?;
    let patience = Patience::of(DYING);
    while let Some(problem) = in_use(path) {
        if patience.left().is_zero() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, problem));
        }
        patience.pause(LOOK_AGAIN);
    }
    // Left behind by a daemon that was killed.
    match place.remove() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // The kernel knows sockets by the path that they were bound to, and follows no link at its end.
    // Had a directory on the way been exchanged, there would be none in ours.
    let listener = StdListener::bind(path)?;
    let listening = Listening(place);
    listening.0.set_mode(mode, is_own_socket)?;
    listener.set_nonblocking(true)?;
    Ok(Bound {
        listener,
        listening,
    })
}

/// Whether it is the socket that was just created. Anyone who may create files in the directory,
/// such as an engine with its own user, could have put a file of root's in its place.
fn is_own_socket(there: &Metadata) -> bool {
    there.file_type().is_socket()
        && there.nlink() == 1
        && there.uid() == nix::unistd::geteuid().as_raw()
}

/// Whether another daemon listens there: one of the same name in another network namespace, which
/// has other locks, or one that was just killed.
fn in_use(path: &Path) -> Option<&'static str> {
    match client::connect(path) {
        Ok(_) => Some("another daemon listens there"),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Some("another daemon listens there but does not answer")
        }
        Err(_) => None,
    }
}

/// Answers operators until the engine ends. Must be called on a tokio `LocalSet`.
///
/// # Errors
/// The runtime cannot watch the socket.
pub fn serve(bound: Bound, roles: Roles, commands: mpsc::Sender<Command>) -> io::Result<Listening> {
    let Bound {
        listener,
        listening,
    } = bound;
    let listener = UnixListener::from_std(listener)?;
    debug!(path = %listening.0.path().display(), "Listening on the control socket");
    tokio::task::spawn_local(accept(listener, Rc::new(roles), commands));
    Ok(listening)
}

/// Accepts all clients at once: a silent client makes room for others, so none can keep others out
/// by waiting.
async fn accept(listener: UnixListener, roles: Rc<Roles>, commands: mpsc::Sender<Command>) {
    let lobby = Rc::new(Lobby::default());
    loop {
        let accepted = listener
            .accept()
            .await
            .and_then(|(stream, _)| Ok((stream.peer_cred()?, stream)));
        match accepted {
            Ok((peer, stream)) => {
                let place = lobby.enter(Peer {
                    uid: peer.uid(),
                    pid: peer.pid(),
                });
                let commands = commands.clone();
                let roles = Rc::clone(&roles);
                tokio::task::spawn_local(async move {
                    if let Err(error) = converse(stream, peer, place, &roles, commands).await {
                        debug!(%error, "A control connection broke");
                    }
                });
            }
            Err(error) => {
                warn!(%error, "Could not accept a control connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(
    stream: UnixStream,
    peer: UCred,
    place: Option<Seat>,
    roles: &Roles,
    commands: mpsc::Sender<Command>,
) -> io::Result<()> {
    // One whose groups the kernel does not tell has none.
    let mut groups = roles::groups_of(&stream).unwrap_or_default();
    groups.push(Gid::from_raw(peer.gid()));
    let (reader, mut writer) = stream.into_split();
    // Held until the answer is written.
    let Some(mut place) = place else {
        return respond(
            &mut writer,
            Err("too many operators at once".to_owned()),
            None,
        )
        .await;
    };
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(REQUEST_BYTES_MAX));
    let answer = tokio::select! {
        biased;
        read = tokio::time::timeout(PATIENCE, reader.read_line(&mut line)) => match read {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("the request is not text: {error}")),
            Err(_) => Err("no request arrived in time".to_owned()),
        },
        () = place.is_wanted() => Err("no request arrived, and others were waiting for a slot".to_owned()),
    };
    place.speaks();
    let answer = match answer {
        // A client that gave up waiting while we were stopped was told that nothing was done.
        Ok(()) if has_hung_up(reader.get_ref().get_ref().as_ref()) => return Ok(()),
        Ok(()) => {
            answer_to(
                &line,
                &peer,
                |right| may(roles, &peer, &groups, right),
                &commands,
            )
            .await
        }
        Err(why) => Err(why),
    };
    respond(&mut writer, answer, Some(&mut place)).await
}

/// Whether the client can no longer receive an answer. One that has only closed its sending side
/// still listens.
fn has_hung_up(stream: &UnixStream) -> bool {
    let mut there = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    poll(&mut there, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

fn may(roles: &Roles, peer: &UCred, groups: &[Gid], right: Right) -> Result<(), String> {
    roles
        .check(peer.uid(), groups, right)
        .map_err(|refusal| refusal.to_string())
}

/// Carries out what a client may ask for. What changes something is logged, with who asked and what
/// came of it.
async fn answer_to(
    line: &str,
    peer: &UCred,
    may: impl Fn(Right) -> Result<(), String>,
    commands: &mpsc::Sender<Command>,
) -> Result<Reply, String> {
    // Who may do nothing is not told whether the request was understood.
    may(Right::Read)?;
    let order = parse(line)?;
    let right = order.needs();
    if right == Right::Read {
        return obey(order, commands).await;
    }
    let audit = Audit::of(peer, &order);
    let answer = match may(right) {
        Ok(()) => {
            audit.begins();
            obey(order, commands).await
        }
        Err(refusal) => Err(refusal),
    };
    audit.ended(answer.as_ref().map(drop));
    // A daemon that is stopping does not record it any more.
    _ = commands.send(audit.record(answer.as_ref().err())).await;
    answer
}

/// Says in the log and the flight recorder who gave an order, and what came of it.
struct Audit {
    uid: u32,
    pid: i32,
    program: String,
    order: String,
    vhost: Option<Name>,
}

impl Audit {
    fn of(peer: &UCred, order: &Order) -> Self {
        let pid = peer.pid().unwrap_or_default();
        let process = u32::try_from(pid).ok().and_then(Process::look);
        Self {
            uid: peer.uid(),
            pid,
            program: process.map(|process| process.name).unwrap_or_default(),
            order: order.to_string(),
            vhost: order.vhost().cloned(),
        }
    }

    fn begins(&self) {
        let Self {
            uid,
            pid,
            program,
            order,
            vhost: _,
        } = self;
        info!(uid, pid, program, order, "Received an operator's order");
    }

    fn ended(&self, answer: Result<(), &String>) {
        let Self {
            uid,
            pid,
            program,
            order,
            vhost: _,
        } = self;
        match answer {
            Ok(()) => info!(uid, pid, program, order, "Carried out an operator's order"),
            Err(why) => {
                warn!(uid, pid, program, order, %why, "Did not carry out an operator's order");
            }
        }
    }
}

impl Audit {
    fn record(self, refused: Option<&String>) -> Command {
        let Self {
            uid,
            pid,
            program,
            order,
            vhost,
        } = self;
        Command::Ordered(OrderRecord {
            uid,
            pid,
            program,
            order,
            vhost,
            refused: refused.cloned(),
        })
    }
}

/// A client that does not read makes room for others, like one that sends nothing.
async fn respond(
    writer: &mut OwnedWriteHalf,
    answer: Result<Reply, String>,
    place: Option<&mut Seat>,
) -> io::Result<()> {
    let response = Response {
        version: VERSION,
        answer,
    };
    let mut text = serde_json::to_vec(&response)?;
    text.push(b'\n');
    let Some(place) = place else {
        return writer.write_all(&text).await;
    };
    place.answered(text.len());
    tokio::select! {
        biased;
        written = tokio::time::timeout(PATIENCE, writer.write_all(&text)) => written.map_err(|_| io::ErrorKind::TimedOut)??,
        () = place.is_wanted() => return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not read, and others were waiting for a slot")),
    }
    writer.shutdown().await
}

fn parse(line: &str) -> Result<Order, String> {
    let request: Request = serde_json::from_str(line).map_err(|error| {
        format!(
            "not a request: {error}; a request looks like {{\"version\":{VERSION},\"order\":\"status\"}}"
        )
    })?;
    if request.version != VERSION {
        let theirs = request.version;
        return Err(format!(
            "this daemon speaks version {VERSION}, not {theirs}: use the carpd that it was started from"
        ));
    }
    Ok(request.order)
}

async fn obey(order: Order, commands: &mpsc::Sender<Command>) -> Result<Reply, String> {
    match order {
        Order::Status => ask(commands, Command::Status).await.map(Reply::Status),
        Order::Peers(vhost) => peers(vhost.as_ref(), commands).await.map(Reply::Peers),
        Order::Metrics => ask(commands, Command::Metrics).await.map(Reply::Metrics),
        Order::Reload => ask(commands, Command::Reload).await.map(Reply::Reload),
        Order::ForceReload => ask(commands, Command::ForceReload).await.map(Reply::Reload),
        Order::HookRollback(name) => {
            message(ask(commands, |reply| Command::Rollback(name, reply)).await)
        }
        Order::HookApply(name) => message(ask(commands, |reply| Command::Apply(name, reply)).await),
        Order::HookPlan(name) => ask(commands, |reply| Command::Plan(name, reply))
            .await
            .and_then(|plans| plans.map(Reply::Plan)),
        Order::Undemote(vhost) => {
            message(ask(commands, |reply| Command::Promote(Some(vhost), reply)).await)
        }
        Order::Promote(vhost) => {
            message(ask(commands, |reply| Command::Promote(vhost, reply)).await)
        }
        Order::Demote(order) => message(ask(commands, |reply| Command::Demote(order, reply)).await),
        Order::NotifyTest(target) => ask(commands, |reply| Command::NotifyTest(target, reply))
            .await
            .and_then(|tried| tried.map(Reply::TargetTests)),
        Order::MaintenanceOn(order) => ask(commands, |reply| Command::MaintenanceOn(order, reply))
            .await
            .and_then(|done| done.map(Reply::Maintained)),
        Order::MaintenanceOff(vhost) => {
            message(ask(commands, |reply| Command::MaintenanceOff(vhost, reply)).await)
        }
        Order::Resign {
            vhost,
            reason,
            force,
        } => ask(commands, |reply| {
            Command::Resign(vhost, reason, force, reply)
        })
        .await
        .and_then(|done| done.map(Reply::HandedOver)),
    }
}

/// Who advertises, of which the loop tells a part in each of several turns.
async fn peers(
    vhost: Option<&Name>,
    commands: &mpsc::Sender<Command>,
) -> Result<PeersReport, String> {
    let (mut all, mut after) = (PeersReport::default(), None);
    loop {
        let part = ask(commands, |reply| Command::PeersPart(after, reply)).await?;
        all.add(part.some);
        match part.then {
            Then::More(next) => after = Some(next),
            Then::End(known) => {
                let Some(name) = vhost else { return Ok(all) };
                all.narrow(name);
                return if known.contains(name) {
                    Ok(all)
                } else {
                    Err(format!("there is no virtual host {name} here"))
                };
            }
        }
    }
}

fn message(answer: Result<Result<String, String>, String>) -> Result<Reply, String> {
    answer.and_then(|done| done.map(Reply::Message))
}

async fn ask<T>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, String> {
    let (reply, answer) = oneshot::channel();
    let ending = || "the daemon is stopping".to_owned();
    commands.send(command(reply)).await.map_err(|_| ending())?;
    answer.await.map_err(|_| ending())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    async fn ask(path: &Path, request: &str) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read(stream).await
    }

    async fn read(mut stream: UnixStream) -> String {
        let mut answer = String::new();
        tokio::time::timeout(SOON, stream.read_to_string(&mut answer))
            .await
            .expect("an answer in time")
            .unwrap();
        answer
    }

    #[test]
    fn one_that_was_killed_a_moment_ago_keeps_nobody_from_listening() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("control.sock");
        let dying = StdListener::bind(&path).unwrap();
        // It is there when the new one looks, and gone at a later look.
        let dies = std::thread::spawn(move || drop(dying.accept()));
        let bound = bind(&path, &Roles::default()).unwrap();
        dies.join().unwrap();
        client::connect(&path).unwrap();
        let living = bind(&path, &Roles::default()).unwrap_err();
        assert_eq!(living.kind(), io::ErrorKind::AddrInUse);
        drop(bound);
    }

    #[test]
    fn no_link_leads_the_socket_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir(at("elsewhere")).unwrap();
        std::os::unix::fs::symlink(at("elsewhere"), at("web")).unwrap();
        let refused = bind(&at("web/control.sock"), &Roles::default()).unwrap_err();
        assert!(
            refused.to_string().contains("web is a symbolic link"),
            "{refused}"
        );
        assert_eq!(std::fs::read_dir(at("elsewhere")).unwrap().count(), 0);
        // Nor one in its own place.
        std::fs::create_dir(at("db")).unwrap();
        std::os::unix::fs::symlink(at("elsewhere/victim"), at("db/control.sock")).unwrap();
        assert!(bind(&at("db/control.sock"), &Roles::default()).is_err());
        assert_eq!(std::fs::read_dir(at("elsewhere")).unwrap().count(), 0);
    }

    #[test]
    fn who_says_nothing_keeps_nobody_out() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("control.sock");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (commands, mut orders) = mpsc::channel(1);
            let listening = serve(
                bind(&path, &Roles::default()).unwrap(),
                Roles::default(),
                commands,
            )
            .unwrap();
            tokio::task::spawn_local(async move {
                while let Some(order) = orders.recv().await {
                    match order {
                        Command::Metrics(reply) => _ = reply.send("numbers".to_owned()),
                        Command::Ordered(order) => assert_eq!(order.refused, None),
                        Command::Promote(_, reply) => _ = reply.send(Ok("x".repeat(1 << 20))),
                        other => panic!("{other:?}"),
                    }
                }
            });
            let mut idle = Vec::new();
            for _ in 0..200 {
                idle.push(UnixStream::connect(&path).await.unwrap());
            }
            for _ in 0..20 {
                let answer = ask(&path, "{\"version\":1,\"order\":\"metrics\"}\n").await;
                assert_eq!(
                    answer,
                    "{\"version\":1,\"answer\":{\"Ok\":{\"metrics\":\"numbers\"}}}\n"
                );
            }
            // They are told why.
            let told = read(idle.swap_remove(0)).await;
            assert!(told.contains("others were waiting for a slot"), "{told}");
            // An order of somebody who did not wait for its answer is not carried out; of one who
            // only says no more, it is.
            let mut gone = UnixStream::connect(&path).await.unwrap();
            gone.write_all(b"{\"version\":1,\"order\":\"reload\"}\n")
                .await
                .unwrap();
            drop(gone);
            let mut half = UnixStream::connect(&path).await.unwrap();
            half.write_all(b"{\"version\":1,\"order\":\"metrics\"}\n")
                .await
                .unwrap();
            half.shutdown().await.unwrap();
            assert!(read(half).await.contains("numbers"));
            // Who does not read what it asked for keeps nobody out either.
            let mut deaf = Vec::new();
            for _ in 0..40 {
                let mut stream = UnixStream::connect(&path).await.unwrap();
                stream
                    .write_all(b"{\"version\":1,\"order\":{\"undemote\":\"web\"}}\n")
                    .await
                    .unwrap();
                stream.readable().await.unwrap();
                deaf.push(stream);
            }
            assert!(
                ask(&path, "{\"version\":1,\"order\":\"metrics\"}\n")
                    .await
                    .contains("numbers")
            );
            drop(deaf);
            let answer = ask(&path, "{\"version\":9,\"order\":\"metrics\"}\n").await;
            assert!(answer.contains("this daemon speaks version 1"), "{answer}");
            drop(listening);
            assert!(!path.exists());
        });
    }
}
