//! The helper's own process.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::gate::{Gate, Right, Terms};
use super::records::Records;
use super::turns::Turns;
use super::{
    Duty, FromHelper, HelperOp, HelperReply, LIMIT_MAX, MESSAGE_LIMIT, REQUEST_LIMIT, RETIRE,
    ToHelper,
};
use crate::effect::{Outcome, Resource, ServiceVerb, UnitState, Value};
use crate::frame::{self, FrameError, Inbox};
use crate::host::HostError;
use crate::host::children::process::{connect, drop_signals, runtime};
use crate::host::kernel::{hostname, privilege};
use crate::host::services::manager::ServiceBackend;
use crate::host::services::manager::systemd::Systemd;
use crate::host::services::spawn::Deadline;
use crate::host::services::{files, manager, spawn};

/// An answer that is not read for this long is dropped. A working engine never has more requests
/// than there is room for.
const UNREAD: Duration = Duration::from_secs(2);

/// The helper: serves the socket on its standard input until the other end closes it. Without terms
/// it does everything it is asked, since it then serves a command run by an operator.
#[must_use]
pub fn main(terms: Option<Terms>) -> ExitCode {
    let served = runtime().and_then(|runtime| {
        let served = runtime.block_on(async { serve(connect()?, Gate::new(terms)).await });
        // Not waiting for a file system that hangs.
        runtime.shutdown_background();
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            tracing::error!(%err, "The helper process stopped");
            ExitCode::FAILURE
        }
    }
}

async fn serve(stream: UnixStream, mut gate: Gate) -> io::Result<()> {
    drop_signals()?;
    let mut retire = signal(SignalKind::from_raw(RETIRE as i32))?;
    // Before it reads any request, if it needs no more privileges whatever is requested.
    let settled = gate.duty() == Duty::Settings;
    if settled {
        confine()?;
    }
    let (mut reader, writer) = stream.into_split();
    let mut inbox = Inbox::default();
    let ToHelper::Hello { duty, undo } =
        frame::next(&mut reader, &mut inbox, MESSAGE_LIMIT).await?
    else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the engine sent something unexpected",
        ));
    };
    if let (Gate::Open, Some(records)) = (&gate, undo) {
        gate = Gate::Undo(Records::new(records, None));
    }
    let at_work = Arc::new(AtWork {
        gate,
        turns: Turns::default(),
        systemd: Systemd::new(None),
    });
    if !settled && duty.min(at_work.gate.duty()) == Duty::Settings {
        confine()?;
    }
    let retire = async move { _ = retire.recv().await };
    work(reader, inbox, writer, at_work, retire).await
}

/// Answers until the other end closes the socket, or `retire` ends: then no further request is
/// accepted. The other end may be a compromised engine, so nothing here waits for it to read.
async fn work(
    reader: OwnedReadHalf,
    inbox: Inbox,
    writer: OwnedWriteHalf,
    at_work: Arc<AtWork>,
    retire: impl Future<Output = ()>,
) -> io::Result<()> {
    let (out, answers) = mpsc::channel(REQUEST_LIMIT);
    tokio::spawn(write(writer, answers));
    let mut requests = JoinSet::new();
    let mut running: HashMap<u64, oneshot::Sender<()>> = HashMap::new();
    let (to, mut messages) = mpsc::channel(1);
    tokio::spawn(receive(reader, inbox, to));
    let mut retire = std::pin::pin!(retire);
    let mut retired = false;
    while !retired || !requests.is_empty() {
        let message = tokio::select! {
            // Requests whose time has expired are not started, however many are queued.
            biased;
            () = &mut retire, if !retired => {
                retired = true;
                continue;
            }
            Some(ended) = requests.join_next(), if retired => {
                running.retain(|id, _| ended.as_ref().ok() != Some(id));
                continue;
            }
            message = messages.recv() => message.transpose()?,
        };
        let Some(message) = message else { break };
        while let Some(Ok(id)) = requests.try_join_next() {
            running.remove(&id);
        }
        match message {
            ToHelper::Hello { .. } => {}
            ToHelper::Cancel { id } => drop(running.remove(&id)),
            ToHelper::Request { id, .. } if retired || requests.len() >= REQUEST_LIMIT => {
                let result = Err(cannot_take(retired));
                _ = out.try_send(FromHelper::Answer { id, result });
            }
            ToHelper::Request { id, limit, op } => {
                let (keep, cancelled) = oneshot::channel();
                running.insert(id, keep);
                requests.spawn(answer(
                    id,
                    // A compromised engine may ask for any limit.
                    limit.min(LIMIT_MAX),
                    op,
                    Arc::clone(&at_work),
                    cancelled,
                    out.clone(),
                ));
            }
        }
    }
    // Nothing is waited for any more: every child gets TERM, and its grace period.
    running.clear();
    while requests.join_next().await.is_some() {}
    Ok(())
}

fn cannot_take(retired: bool) -> HostError {
    let (message, errno) = if retired {
        let why = "the helper process refuses it: the configuration that it goes by is not in use any more";
        (why, libc::EPERM)
    } else {
        ("too many requests", libc::EAGAIN)
    };
    HostError::errno(message.to_owned(), errno)
}

/// On a separate task, so that a partly received message is not lost when something else happens.
async fn receive(
    mut reader: OwnedReadHalf,
    mut inbox: Inbox,
    to: mpsc::Sender<Result<ToHelper, FrameError>>,
) {
    loop {
        let message = frame::next(&mut reader, &mut inbox, MESSAGE_LIMIT).await;
        let is_last = message.is_err();
        let closed = matches!(message, Err(FrameError::Closed));
        if closed || to.send(message).await.is_err() || is_last {
            return;
        }
    }
}

fn confine() -> io::Result<()> {
    let confinement = privilege::confine_helper().map_err(|err| io::Error::other(err.message))?;
    for missing in &confinement.missing {
        tracing::warn!(missing, "The helper process has more rights than it needs");
    }
    Ok(())
}

/// Waits for the lock, which is held until the result is dropped. A cancelled request may still be
/// in its grace period, or in the middle of a write, which must be finished before the next one
/// starts.
async fn answer(
    id: u64,
    limit: Duration,
    op: HelperOp,
    at_work: Arc<AtWork>,
    cancelled: oneshot::Receiver<()>,
    out: mpsc::Sender<FromHelper>,
) -> u64 {
    let cancelled = async { drop(cancelled.await) };
    let result = perform(op, limit, &at_work, cancelled).await;
    _ = timeout(UNREAD, out.send(FromHelper::Answer { id, result })).await;
    id
}

async fn write(mut writer: OwnedWriteHalf, mut answers: mpsc::Receiver<FromHelper>) {
    while let Some(answer) = answers.recv().await {
        let Ok(bytes) = frame::encode(&answer, MESSAGE_LIMIT) else {
            continue;
        };
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn perform(
    op: HelperOp,
    limit: Duration,
    at_work: &Arc<AtWork>,
    cancelled: impl Future<Output = ()>,
) -> Result<HelperReply, HostError> {
    let mut cancelled = std::pin::pin!(cancelled);
    let deadline = Deadline::after(limit);
    let AtWork { gate, turns, .. } = &**at_work;
    let right = gate.right(&op)?;
    match op {
        HelperOp::SetHostname { name } => {
            gate.remember(
                right,
                &Resource::Hostname,
                Value::Text(name.clone()),
                || hostname::current().map(Value::Text),
            );
            hostname::set(&name).map(HelperReply::Outcome)
        }
        HelperOp::ReadParameter { key } => files::read_parameter(&key).map(HelperReply::Text),
        HelperOp::WriteParameter { key, value } => {
            let (resource, next) = (
                Resource::Sysctl { key: key.clone() },
                Value::Text(value.clone()),
            );
            gate.remember(right, &resource, next, || {
                files::read_parameter(&key).map(Value::Text)
            });
            files::write_parameter(&key, &value).map(HelperReply::Outcome)
        }
        HelperOp::ReadFile { path } => on_file(turns, path, limit, cancelled, files::read)
            .await
            .map(HelperReply::File),
        HelperOp::FindFile { path } => on_file(turns, path, limit, cancelled, files::find)
            .await
            .map(HelperReply::FoundFile),
        HelperOp::RestoreFile { path, found } => {
            let next = Value::FoundFile(found.clone());
            let act = move |path: &Path| files::restore(path, &found);
            change_file(at_work, right, (path, next), limit, cancelled, act).await
        }
        HelperOp::WriteFile { path, content } => {
            let next = Value::File(content.clone());
            let act = move |path: &Path| files::write(path, &content);
            change_file(at_work, right, (path, next), limit, cancelled, act).await
        }
        HelperOp::RemoveFile { path } => {
            let next = Value::Absent;
            change_file(
                at_work,
                right,
                (path, next),
                limit,
                cancelled,
                files::remove,
            )
            .await
        }
        HelperOp::Run { argv } => Ok(HelperReply::Command(
            spawn::run(&argv, limit, cancelled).await?.output,
        )),
        HelperOp::Script { turn, line } => {
            // Waiting for the previous script does not count against this one's time.
            let name = format!("script {turn}");
            let _turn = turns.take(&name, Duration::MAX, cancelled.as_mut()).await?;
            Ok(HelperReply::Command(
                spawn::run_line(&line, limit, cancelled).await?.output,
            ))
        }
        HelperOp::Service {
            backend,
            unit,
            verb,
        } => {
            let name = format!("service {unit}");
            let _turn = turns.take(&name, limit, cancelled.as_mut()).await?;
            if matches!(verb, ServiceVerb::Start | ServiceVerb::Stop) {
                let there = match right {
                    Right::Granted => {
                        at_work
                            .service_status(backend, &unit, deadline.left(), cancelled.as_mut())
                            .await
                    }
                    Right::Free => Ok(UnitState::Unknown),
                };
                let (resource, next) = (
                    Resource::Service { unit: unit.clone() },
                    Value::Running(verb == ServiceVerb::Start),
                );
                gate.remember(right, &resource, next, || running(there?));
            }
            at_work
                .service(backend, &unit, verb, deadline.left(), cancelled)
                .await
                .map(HelperReply::Outcome)
        }
        HelperOp::ServiceStatus { backend, unit } => at_work
            .service_status(backend, &unit, limit, cancelled)
            .await
            .map(HelperReply::Unit),
    }
}

/// What all requests share.
struct AtWork {
    gate: Gate,
    /// For each file, service and script: one request at a time.
    turns: Turns,
    /// Connected when it is first needed.
    systemd: Systemd,
}

impl AtWork {
    async fn service(
        &self,
        backend: ServiceBackend,
        unit: &str,
        verb: ServiceVerb,
        limit: Duration,
        mut cancelled: impl Future<Output = ()> + Unpin,
    ) -> Result<Outcome, HostError> {
        if let Some(script) = backend.script() {
            return manager::script::perform(script, unit, verb, limit, cancelled).await;
        }
        // A request that is no longer waited for is cancelled.
        tokio::select! {
            done = self.systemd.perform(unit, verb, limit) => done,
            () = &mut cancelled => Err(given_up(unit)),
        }
    }

    async fn service_status(
        &self,
        backend: ServiceBackend,
        unit: &str,
        limit: Duration,
        mut cancelled: impl Future<Output = ()> + Unpin,
    ) -> Result<UnitState, HostError> {
        if let Some(script) = backend.script() {
            return manager::script::status(script, unit, limit, cancelled).await;
        }
        tokio::select! {
            state = self.systemd.status(unit, limit) => state,
            () = &mut cancelled => Err(given_up(unit)),
        }
    }
}

fn given_up(unit: &str) -> HostError {
    HostError::errno(format!("{unit}: cancelled"), libc::ECANCELED)
}

/// The state as stored in the ledger; an error if it cannot be determined.
fn running(state: UnitState) -> Result<Value, HostError> {
    match state {
        UnitState::Active | UnitState::Activating => Ok(Value::Running(true)),
        UnitState::Inactive | UnitState::Deactivating | UnitState::Failed => {
            Ok(Value::Running(false))
        }
        UnitState::Unknown => Err(HostError::new("it cannot be determined whether it runs")),
    }
}

/// Works on a file when its turn comes.
async fn on_file<T: Send + 'static>(
    turns: &Turns,
    path: String,
    limit: Duration,
    cancelled: impl Future<Output = ()>,
    work: impl FnOnce(&Path) -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    let deadline = Deadline::after(limit);
    let turn = turns.take(&path, limit, cancelled).await?;
    blocking(deadline.left(), turn, path, work).await
}

/// Changes a file when its turn comes. What was there is remembered first, with what comes next.
async fn change_file(
    at_work: &Arc<AtWork>,
    right: Right,
    (path, next): (String, Value),
    limit: Duration,
    cancelled: impl Future<Output = ()>,
    act: impl FnOnce(&Path) -> Result<Outcome, HostError> + Send + 'static,
) -> Result<HelperReply, HostError> {
    let own = Arc::clone(at_work);
    let work = move |path: &Path| {
        own.gate.remember_file(right, path, next);
        act(path)
    };
    on_file(&at_work.turns, path, limit, cancelled, work)
        .await
        .map(HelperReply::Outcome)
}

/// File systems can hang, so they are accessed on a separate thread with a time limit. The lock is
/// released when the work is done, not when we stop waiting.
async fn blocking<T: Send + 'static>(
    limit: Duration,
    turn: OwnedMutexGuard<()>,
    path: String,
    work: impl FnOnce(&Path) -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    let work = move || {
        let done = files::checked(&path).and_then(work);
        drop(turn);
        done
    };
    match timeout(limit, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(err)) => Err(HostError::new(err.to_string())),
        Err(_) => Err(HostError::errno(
            format!(
                "the file system did not respond for {:.1} s",
                limit.as_secs_f64()
            ),
            libc::ETIMEDOUT,
        )),
    }
}

impl From<spawn::SpawnError> for HostError {
    fn from(err: spawn::SpawnError) -> Self {
        let errno = match &err {
            spawn::SpawnError::Start { source, .. } | spawn::SpawnError::Lost { source, .. } => {
                source.raw_os_error()
            }
            spawn::SpawnError::Overran { .. } => Some(libc::ETIMEDOUT),
            spawn::SpawnError::Cancelled { .. } => Some(libc::ECANCELED),
            spawn::SpawnError::Empty => Some(libc::EINVAL),
        };
        let hint = if matches!(err, spawn::SpawnError::Overran { .. }) {
            crate::host::RAISE_TIMEOUT
        } else {
            ""
        };
        Self {
            message: format!("{err}{hint}"),
            errno,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_without_an_end_is_answered_like_any_other() {
        let (engine, own) = UnixStream::pair().unwrap();
        let (reader, writer) = own.into_split();
        let at_work = Arc::new(AtWork {
            gate: Gate::Open,
            turns: Turns::default(),
            systemd: Systemd::new(None),
        });
        tokio::spawn(work(
            reader,
            Inbox::default(),
            writer,
            at_work,
            std::future::pending(),
        ));
        let (mut answers, mut orders) = engine.into_split();
        let op = HelperOp::ReadParameter {
            key: "kernel.ostype".to_owned(),
        };
        let limit = Duration::MAX;
        let request =
            frame::encode(&ToHelper::Request { id: 1, limit, op }, MESSAGE_LIMIT).unwrap();
        orders.write_all(&request).await.unwrap();
        let mut inbox = Inbox::default();
        let answer = frame::next(&mut answers, &mut inbox, MESSAGE_LIMIT);
        let FromHelper::Answer { id, result } = timeout(Duration::from_mins(1), answer)
            .await
            .expect("an answer")
            .unwrap();
        assert_eq!((id, result), (1, Ok(HelperReply::Text("Linux".to_owned()))));
    }

    #[tokio::test]
    async fn who_reads_no_answers_does_not_keep_it_from_ending() {
        let (engine, own) = UnixStream::pair().unwrap();
        let (reader, writer) = own.into_split();
        let at_work = Arc::new(AtWork {
            gate: Gate::Open,
            turns: Turns::default(),
            systemd: Systemd::new(None),
        });
        let (retire, retired) = oneshot::channel::<()>();
        let retired = async { drop(retired.await) };
        let work = tokio::spawn(work(reader, Inbox::default(), writer, at_work, retired));
        let (_unread, mut orders) = engine.into_split();
        let limit = Duration::from_secs(10);
        let flood = async {
            // More than the socket, the queue and those at work have room for.
            for id in 0..4000 {
                let op = HelperOp::ReadParameter {
                    key: "kernel.ostype".to_owned(),
                };
                let request =
                    frame::encode(&ToHelper::Request { id, limit, op }, MESSAGE_LIMIT).unwrap();
                orders.write_all(&request).await.unwrap();
            }
        };
        timeout(limit, flood).await.expect("it goes on listening");
        retire.send(()).unwrap();
        timeout(limit, work)
            .await
            .expect("it ends")
            .unwrap()
            .unwrap();
    }
}
