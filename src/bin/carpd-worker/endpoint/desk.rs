//! What the engine has told, kept for as long as it may be shown. Whoever needs something newer
//! makes the engine be asked, once for all who wait.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use carpd::frame::{self, FrameError, Inbox};
use carpd::host::children::endpoint::{ANSWER_MAX, ASK_MAX, Answer, Ask, Content, HEARTBEAT};
use carpd::host::clock;
use carpd::types::{Timestamp, plain_json, prometheus_text};
use hyper::body::Bytes;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

use super::exposition;
use super::page::{self, Page};
use super::view::View;

/// An engine that does not answer for so long does not work: its loop comes round twice in this
/// time.
const PATIENCE: Duration = Duration::from_secs(1);

/// The status at one moment.
pub(super) struct Status {
    at: Timestamp,
    /// When it was told, in milliseconds since 1970.
    wall_ms: u64,
    /// All of it.
    pub(super) json: Bytes,
    /// What is read from it.
    pub(super) view: View,
    page: OnceCell<Page>,
}

/// The metrics at one moment.
pub(super) struct Metrics {
    at: Timestamp,
    /// As the engine wrote them, without the end.
    pub(super) openmetrics: Bytes,
    /// As text of version 0.0.4.
    pub(super) text: Bytes,
}

/// Something that was true at one moment.
pub(super) trait Dated {
    /// When.
    fn at(&self) -> Timestamp;
}

impl Dated for Status {
    fn at(&self) -> Timestamp {
        self.at
    }
}

impl Dated for Metrics {
    fn at(&self) -> Timestamp {
        self.at
    }
}

/// The engine does not answer.
#[derive(Debug)]
pub(super) struct Silence {
    /// For how long it has not, if it ever did.
    pub(super) since: Option<Duration>,
}

/// The newest of one kind, and whether a newer one was asked for.
struct Shelf<T> {
    kept: RefCell<Option<Rc<T>>>,
    asked: Cell<Option<Timestamp>>,
    news: Notify,
}

impl<T> Shelf<T> {
    fn new() -> Self {
        Self {
            kept: RefCell::new(None),
            asked: Cell::new(None),
            news: Notify::new(),
        }
    }

    fn put(&self, told: T) {
        *self.kept.borrow_mut() = Some(Rc::new(told));
        self.asked.set(None);
        self.news.notify_waiters();
    }
}

/// All of it.
pub(super) struct Desk {
    to_engine: OwnedWriteHalf,
    /// This node's name.
    pub(super) node: String,
    status: Shelf<Status>,
    metrics: Shelf<Metrics>,
    /// When the engine last answered anything.
    answered: Cell<Option<Timestamp>>,
}

impl Desk {
    pub(super) fn new(to_engine: OwnedWriteHalf, node: String) -> Self {
        Self {
            to_engine,
            node,
            status: Shelf::new(),
            metrics: Shelf::new(),
            answered: Cell::new(None),
        }
    }

    /// Takes what the engine tells, until it is gone.
    pub(super) async fn listen(&self, mut from_engine: OwnedReadHalf) -> FrameError {
        let mut inbox = Inbox::default();
        loop {
            match frame::next::<Answer>(&mut from_engine, &mut inbox, ANSWER_MAX).await {
                Ok(answer) => {
                    if let Err(error) = self.take(answer) {
                        return error;
                    }
                }
                Err(error) => return error,
            }
        }
    }

    fn take(&self, Answer { at, content }: Answer) -> Result<(), FrameError> {
        self.answered.set(Some(at));
        match content {
            Content::Status(json) => {
                let view = serde_json::from_str(&json).map_err(std::io::Error::from)?;
                // A terminal may show it.
                let mut json = plain_json(&json);
                json.push('\n');
                self.status.put(Status {
                    at,
                    wall_ms: clock::wall_ms(),
                    json: json.into(),
                    view,
                    page: OnceCell::new(),
                });
            }
            Content::Metrics(text) => self.metrics.put(Metrics {
                at,
                text: prometheus_text(&text).into(),
                openmetrics: exposition::open(text).into(),
            }),
        }
        Ok(())
    }

    /// The status, not older than a heartbeat.
    pub(super) async fn status(&self) -> Result<Rc<Status>, Silence> {
        self.newest(&self.status, Ask::Status).await
    }

    /// The metrics, not older than a heartbeat.
    pub(super) async fn metrics(&self) -> Result<Rc<Metrics>, Silence> {
        self.newest(&self.metrics, Ask::Metrics).await
    }

    /// The page that shows this status, but for its age.
    pub(super) fn page<'s>(&self, status: &'s Status) -> &'s Page {
        status
            .page
            .get_or_init(|| page::of(&status.view, &self.node, status.wall_ms))
    }

    async fn newest<T: Dated>(&self, shelf: &Shelf<T>, ask: Ask) -> Result<Rc<T>, Silence> {
        let patience_ends = clock::now() + PATIENCE;
        loop {
            let now = clock::now();
            let kept = shelf.kept.borrow().clone();
            if let Some(kept) = kept.filter(|kept| now.since(kept.at()) <= HEARTBEAT) {
                return Ok(kept);
            }
            let asked = match shelf.asked.get() {
                Some(asked) => asked,
                None => self.ask(shelf, &ask, now).ok_or_else(|| self.silence())?,
            };
            let left = (asked + PATIENCE).min(patience_ends).since(now);
            if left.is_zero() {
                return Err(self.silence());
            }
            _ = tokio::time::timeout(left, shelf.news.notified()).await;
        }
    }

    /// When the engine was asked: now, if it could be.
    fn ask<T>(&self, shelf: &Shelf<T>, ask: &Ask, now: Timestamp) -> Option<Timestamp> {
        let bytes = frame::encode(ask, ASK_MAX).ok()?;
        // There is room: nothing is asked twice before it is answered.
        let sent = self.to_engine.try_write(&bytes).ok()?;
        (sent == bytes.len()).then(|| shelf.asked.set(Some(now)))?;
        Some(now)
    }

    fn silence(&self) -> Silence {
        let now = clock::now();
        Silence {
            since: self.answered.get().map(|at| now.since(at)),
        }
    }
}
