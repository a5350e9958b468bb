//! The engine's end of the helper's socket.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::{
    ANSWER_MARGIN, Duty, FromHelper, HelperOp, HelperReply, MESSAGE_LIMIT, REQUEST_LIMIT, ToHelper,
};
use crate::frame::{self, FrameError, Inbox};
use crate::host::HostError;

/// The length of the queue of messages to the helper: a request and a cancellation for each call.
const QUEUE: usize = 2 * REQUEST_LIMIT;

/// Processes that the helper starts at one time.
const PROCESSES: usize = 64;

/// The engine's hold on the helper. Several calls may run at once. Dropping it ends the helper.
#[derive(Debug)]
pub struct HelperClient {
    out: mpsc::Sender<Vec<u8>>,
    pending: Arc<Mutex<Pending>>,
    ended: Arc<Notify>,
    /// Permits for calls that start a process, and for all others: a thousand virtual hosts that
    /// undo something at once must not become a thousand processes.
    processes: Semaphore,
    others: Semaphore,
}

/// The calls that wait for an answer.
#[derive(Debug, Default)]
struct Pending {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<Result<HelperReply, HostError>>>,
    /// Why there will be no more answers.
    dead: Option<String>,
}

fn locked(pending: &Mutex<Pending>) -> MutexGuard<'_, Pending> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gone(why: &str) -> HostError {
    HostError::errno(format!("the helper process is gone: {why}"), libc::EPIPE)
}

impl HelperClient {
    /// Takes the engine's end of the socket whose other end is the helper's stdin. Must be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// If the runtime cannot watch the socket.
    pub fn new(stream: StdStream, duty: Duty) -> io::Result<Self> {
        Self::start(stream, duty, None)
    }

    /// As [`Self::new`], for undoing what dead processes left: the helper only restores what
    /// helpers recorded below this directory, whatever the ledgers say.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn for_undoing(stream: StdStream, duty: Duty, records: PathBuf) -> io::Result<Self> {
        Self::start(stream, duty, Some(records))
    }

    fn start(stream: StdStream, duty: Duty, undo: Option<PathBuf>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(stream)?.into_split();
        let (out, queue) = mpsc::channel(QUEUE);
        let pending = Arc::new(Mutex::new(Pending::default()));
        let hello = ToHelper::Hello { duty, undo };
        let _ = out.try_send(frame::encode(&hello, MESSAGE_LIMIT)?);
        tokio::spawn(write(writer, queue));
        let ended = Arc::new(Notify::new());
        let (waiting, tell) = (Arc::clone(&pending), Arc::clone(&ended));
        tokio::spawn(async move {
            read(reader, waiting).await;
            tell.notify_waiters();
        });
        let (processes, others) = (
            Semaphore::new(PROCESSES),
            Semaphore::new(REQUEST_LIMIT - PROCESSES),
        );
        Ok(Self {
            out,
            pending,
            ended,
            processes,
            others,
        })
    }

    /// Whether the helper is still running, as far as is known.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        locked(&self.pending).dead.is_none()
    }

    /// Waits for its end, and returns the reason.
    pub async fn ended(&self) -> String {
        loop {
            let told = self.ended.notified();
            if let Some(why) = &locked(&self.pending).dead {
                return why.clone();
            }
            told.await;
        }
    }

    /// Has the helper do something within `limit`, after earlier calls have finished, which may
    /// take as long again. Dropping the future cancels the call: what was started is ended.
    ///
    /// # Errors
    /// [`HostError`]: what the helper said; `EPIPE` if the helper is gone; `ETIMEDOUT` if the
    /// helper gives no answer, or has too much to do.
    pub async fn call(&self, op: HelperOp, limit: Duration) -> Result<HelperReply, HostError> {
        let places = if op.starts_process() {
            &self.processes
        } else {
            &self.others
        };
        let late = |_| {
            HostError::errno(
                format!(
                    "the helper process was too busy for {:.1} s",
                    limit.as_secs_f64()
                ),
                libc::ETIMEDOUT,
            )
        };
        let _place = timeout(limit, places.acquire()).await.map_err(late)?;
        let (answer, id) = self.enter()?;
        let entry = Entry { client: self, id };
        let request = frame::encode(&ToHelper::Request { id, limit, op }, MESSAGE_LIMIT);
        let request = request.map_err(|err| HostError::errno(err.to_string(), libc::EMSGSIZE))?;
        self.out.try_send(request).map_err(|err| match err {
            TrySendError::Full(_) => {
                HostError::errno("the helper process does not listen", libc::EAGAIN)
            }
            TrySendError::Closed(_) => gone("its socket is closed"),
        })?;
        let answered = timeout(limit.saturating_add(ANSWER_MARGIN), answer).await;
        drop(entry);
        match answered {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(gone(
                locked(&self.pending)
                    .dead
                    .as_deref()
                    .unwrap_or("its socket is closed"),
            )),
            Err(_) => Err(HostError::errno(
                format!(
                    "the helper process did not answer for {:.1} s",
                    limit.as_secs_f64()
                ),
                libc::ETIMEDOUT,
            )),
        }
    }

    fn enter(&self) -> Result<(oneshot::Receiver<Result<HelperReply, HostError>>, u64), HostError> {
        let mut pending = locked(&self.pending);
        if let Some(why) = &pending.dead {
            return Err(gone(why));
        }
        let (sender, answer) = oneshot::channel();
        pending.last += 1;
        let id = pending.last;
        pending.waiting.insert(id, sender);
        Ok((answer, id))
    }
}

/// One call's place among those that wait.
struct Entry<'a> {
    client: &'a HelperClient,
    id: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let unanswered = locked(&self.client.pending)
            .waiting
            .remove(&self.id)
            .is_some();
        if unanswered
            && let Ok(cancel) = frame::encode(&ToHelper::Cancel { id: self.id }, MESSAGE_LIMIT)
        {
            // The queue is full: the helper does not read, and will be ended.
            let _ = self.client.out.try_send(cancel);
        }
    }
}

async fn write(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(message) = queue.recv().await {
        // The reader notices the end as well, and reports it.
        if writer.write_all(&message).await.is_err() {
            return;
        }
    }
}

async fn read(mut reader: OwnedReadHalf, pending: Arc<Mutex<Pending>>) {
    let mut inbox = Inbox::default();
    let why = loop {
        match frame::next(&mut reader, &mut inbox, MESSAGE_LIMIT).await {
            Ok(FromHelper::Answer { id, result }) => {
                if let Some(waiting) = locked(&pending).waiting.remove(&id) {
                    let _ = waiting.send(result);
                }
            }
            Err(FrameError::Closed) => break "it ended".to_owned(),
            Err(err) => break err.to_string(),
        }
    };
    let mut pending = locked(&pending);
    pending.dead = Some(why);
    pending.waiting.clear();
}
