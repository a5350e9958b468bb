//! One target: its queue, its pace, and the task that sends.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::send::{Failed, Office};
use crate::backoff::Backoff;
use crate::config;
use crate::engine::report::{NotifyStatus, TargetTest};
use crate::host::clock;
use crate::notification::{Event, Outbox, Pace};
use crate::types::Name;

/// Events that wait for one target.
const WAITING_MAX: usize = 32;

/// A target that is told what happens until this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    target: Rc<Target>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Target {
    name: Name,
    office: Rc<Office>,
    spec: RefCell<Rc<config::Target>>,
    /// Its place in the configuration.
    part: Cell<u16>,
    outbox: RefCell<Outbox<Event>>,
    pace: RefCell<Pace>,
    /// Something was put into the outbox, or the target was changed.
    news: Notify,
    numbers: RefCell<Numbers>,
}

/// For operators.
#[derive(Debug, Clone, Default)]
struct Numbers {
    sent: u64,
    failed: u64,
    held_back: u64,
    last_sent_ms: Option<u64>,
    last_error: Option<(String, u64)>,
    /// The last attempt failed.
    failing: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    pub(super) fn start(name: &Name, part: u16, spec: &config::Target, office: Rc<Office>) -> Self {
        let target = Rc::new(Target {
            name: name.clone(),
            office,
            spec: RefCell::new(Rc::new(spec.clone())),
            part: Cell::new(part),
            outbox: RefCell::new(Outbox::new(WAITING_MAX)),
            pace: RefCell::default(),
            news: Notify::new(),
            numbers: RefCell::default(),
        });
        let task = tokio::task::spawn_local(Rc::clone(&target).run());
        Self { target, task }
    }

    /// True if that changes anything.
    pub(super) fn change(&self, part: u16, spec: &config::Target) -> bool {
        self.target.part.set(part);
        let differs = **self.target.spec.borrow() != *spec;
        if differs {
            *self.target.spec.borrow_mut() = Rc::new(spec.clone());
            self.target.news.notify_one();
        }
        differs
    }

    /// Tells it, if it wants to know.
    pub(super) fn tell(&self, event: &Event) {
        let target = &self.target;
        if !target.spec.borrow().wants(event) {
            return;
        }
        if !target.outbox.borrow_mut().put(event.clone()) {
            target.numbers.borrow_mut().held_back += 1;
        }
        target.news.notify_one();
    }

    /// Sends this at once, and once.
    pub(super) fn try_out(&self, event: Event) -> impl Future<Output = TargetTest> + use<> {
        let target = Rc::clone(&self.target);
        async move {
            let (began, spec) = (clock::now(), target.spec());
            let outcome = target.attempt(&spec, &event).await;
            if outcome.is_err() {
                target.numbers.borrow_mut().failed += 1;
            }
            let took = clock::now().since(began);
            TargetTest {
                target: target.name.clone(),
                to: spec.way.to_string(),
                took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                outcome: outcome.map_err(|failed| failed.why),
            }
        }
    }

    pub(super) fn status(&self) -> NotifyStatus {
        let Target {
            name,
            spec,
            outbox,
            numbers,
            ..
        } = &*self.target;
        let Numbers {
            sent,
            failed,
            held_back,
            last_sent_ms,
            last_error,
            failing,
        } = numbers.borrow().clone();
        let (last_error, last_error_ms) = last_error.unzip();
        NotifyStatus {
            name: name.clone(),
            to: spec.borrow().way.to_string(),
            sent,
            failed,
            held_back,
            waiting: outbox.borrow().len(),
            failing,
            last_sent_ms,
            last_error,
            last_error_ms,
        }
    }
}

impl Target {
    fn spec(&self) -> Rc<config::Target> {
        Rc::clone(&self.spec.borrow())
    }

    async fn run(self: Rc<Self>) {
        loop {
            let event = self.next().await;
            self.deliver(event).await;
        }
    }

    /// The next event, when it may be sent.
    async fn next(&self) -> Event {
        loop {
            let ready = if self.outbox.borrow().is_empty() {
                None
            } else {
                Some(self.pace.borrow().next(self.spec().rate))
            };
            let now = clock::now();
            let pause = match ready {
                None => None,
                Some(Some(at)) if at > now => Some(at.since(now)),
                Some(_) => {
                    let taken = self.outbox.borrow_mut().take();
                    if let Some((event, held_back)) = taken {
                        self.pace.borrow_mut().sent(now);
                        return Event { held_back, ..event };
                    }
                    None
                }
            };
            let waits = async {
                match pause {
                    Some(pause) => clock::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.news.notified() => {}
                () = waits => {}
            }
        }
    }

    /// Sends it, again and again until that works or is given up.
    async fn deliver(&self, event: Event) {
        let (began, mut backoff) = (clock::now(), Backoff::default());
        let mut attempts = 0_u32;
        loop {
            let spec = self.spec();
            attempts += 1;
            let Err(Failed { why, again }) = self.attempt(&spec, &event).await else {
                return;
            };
            let (target, pause) = (&self.name, backoff.pause());
            let goes_on = again && clock::now().since(began) + pause <= spec.retry_for;
            if !goes_on {
                warn!(%target, why, attempts, event = event.event.as_str(), id = event.id, "Gave up a notification");
                self.numbers.borrow_mut().failed += 1;
                self.outbox.borrow_mut().hold_back(event.held_back + 1);
                return;
            }
            if attempts == 1 {
                warn!(%target, why, "Could not send a notification; trying again");
            } else {
                debug!(%target, why, attempts, "Could not send a notification; trying again");
            }
            clock::sleep(pause).await;
        }
    }

    async fn attempt(&self, spec: &config::Target, event: &Event) -> Result<String, Failed> {
        let to = (&self.name, self.part.get());
        let outcome = self.office.send(to, spec, event).await;
        let now_ms = clock::wall_ms();
        let mut numbers = self.numbers.borrow_mut();
        numbers.failing = outcome.is_err();
        match &outcome {
            Ok(said) => {
                debug!(target = %self.name, said, id = event.id, "Sent a notification");
                numbers.sent += 1;
                numbers.last_sent_ms = Some(now_ms);
            }
            Err(failed) => numbers.last_error = Some((failed.why.clone(), now_ms)),
        }
        outcome
    }
}
