//! Notifications (`[notify.NAME]`): what happens is put into the queue of each target that wants it,
//! and sent beside the loop ([ADR 0067](../../../docs/adr/0067-notifications.md)).
//!
//! Whoever tells something neither waits nor fails. Each queue is bounded, and one slow target does
//! not delay another.

mod errand;
mod events;
mod message;
mod send;
mod target;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

pub use errand::{errand, unsafe_notifiers};
pub(in crate::engine) use events::of_vhost;
pub(in crate::engine) use send::Office;

use self::target::Running;
use crate::config;
use crate::engine::report::{NotifyStatus, TargetTest};
use crate::host::clock;
use crate::notification::{Event, EventKind, Subject};
use crate::types::{Name, shown_within};

/// The longest text of an event, in characters: it has to fit into a line of a mail.
const TEXT_MAX: usize = 800;
/// The longest of its other words.
const WORDS_MAX: usize = 500;

/// Everybody who is told what happens. By default nobody is.
#[derive(Debug, Default)]
pub(in crate::engine) struct Notices {
    office: OnceCell<Rc<Office>>,
    targets: RefCell<BTreeMap<Name, Running>>,
    /// How many events there were.
    count: Cell<u64>,
}

impl Notices {
    /// From now on targets are told. Must be called on a tokio `LocalSet`.
    pub(in crate::engine) fn open(&self, office: Office) {
        _ = self.office.set(Rc::new(office));
    }

    /// These are the targets from now on. One of the same name keeps its queue and its numbers.
    pub(in crate::engine) fn follow(
        &self,
        specs: &BTreeMap<Name, config::Target>,
        changes: &mut Vec<String>,
    ) {
        let Some(office) = self.office.get() else {
            return;
        };
        let mut targets = self.targets.borrow_mut();
        targets.retain(|name, _| {
            let stays = specs.contains_key(name);
            if !stays {
                changes.push(format!("notify {name}: removed"));
            }
            stays
        });
        for (part, (name, spec)) in (0..).zip(specs) {
            if let Some(running) = targets.get(name) {
                if running.change(part, spec) {
                    changes.push(format!("notify {name}: changed"));
                }
            } else {
                changes.push(format!("notify {name}: added"));
                let running = Running::start(name, part, spec, Rc::clone(office));
                targets.insert(name.clone(), running);
            }
        }
    }

    /// Whether there is nobody to tell, so that nothing has to be put into words.
    fn is_nobody_told(&self) -> bool {
        self.targets.borrow().is_empty()
    }

    /// Something happened. Does not wait.
    pub(in crate::engine) fn tell(&self, kind: EventKind, text: &str, subject: Subject) {
        let targets = self.targets.borrow();
        if targets.is_empty() {
            return;
        }
        let Some(event) = self.event(kind, text, subject) else {
            return;
        };
        for target in targets.values() {
            target.tell(&event);
        }
    }

    fn event(&self, kind: EventKind, text: &str, subject: Subject) -> Option<Event> {
        let office = self.office.get()?;
        self.count.set(self.count.get() + 1);
        let time_ms = clock::wall_ms();
        let plain = |words: Option<String>| words.map(|words| shown_within(words, WORDS_MAX));
        Some(Event {
            event: kind,
            severity: kind.severity(),
            id: format!("{:x}-{}", office.since_ms, self.count.get()),
            time: message::rfc3339(time_ms),
            time_ms,
            node: shown_within(&office.node, WORDS_MAX),
            text: shown_within(text, TEXT_MAX),
            subject: Subject {
                cause: plain(subject.cause),
                why: plain(subject.why),
                peer: plain(subject.peer),
                ..subject
            },
            held_back: 0,
        })
    }

    /// Sends a test to this target, or to all, at once and once, beside the loop. The answer is
    /// given when all have ended.
    pub(in crate::engine) fn test(
        &self,
        name: Option<&Name>,
        reply: impl FnOnce(Result<Vec<TargetTest>, String>) + 'static,
    ) {
        let targets = self.targets.borrow();
        let known = || targets.keys().map(Name::as_str).collect::<Vec<_>>();
        if let Some(name) = name.filter(|name| !targets.contains_key(*name)) {
            let known = if targets.is_empty() {
                "there are none".to_owned()
            } else {
                format!("there are: {}", known().join(", "))
            };
            return reply(Err(format!("no target is called {name}; {known}")));
        }
        let text = "this is a test, which an operator asked for";
        let event = self.event(EventKind::Test, text, Subject::default());
        let Some(event) = event.filter(|_| !targets.is_empty()) else {
            let why = "the configuration has no target of notifications: see [notify.NAME]";
            return reply(Err(why.to_owned()));
        };
        let chosen = targets
            .iter()
            .filter(|(own, _)| name.is_none_or(|name| *own == name));
        let tries: Vec<_> = chosen
            .map(|(_, target)| tokio::task::spawn_local(target.try_out(event.clone())))
            .collect();
        tokio::task::spawn_local(async move {
            let mut all = Vec::new();
            for one in tries {
                all.extend(one.await);
            }
            reply(Ok(all));
        });
    }

    /// For operators.
    pub(in crate::engine) fn status(&self) -> Vec<NotifyStatus> {
        let targets = self.targets.borrow();
        targets.values().map(Running::status).collect()
    }
}
