//! Events: what a person asks for later, as the history keeps it.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Note;
use crate::proto::{Cause, Transition};
use crate::types::{Family, IfName, Name, Timestamp, Vhid};

/// The longest text of an event, in bytes: words of hooks and programs may be longer.
const TEXT_MAX: usize = 300;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Increases by one with each event; never reused.
    pub number: u64,
    /// When, by a clock that is never set.
    pub at: Timestamp,
    /// When, in milliseconds since 1970.
    pub wall_ms: u64,
    /// What.
    pub event: Event,
}

/// The virtual host that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its number in the engine, which keeps it through a change of name.
    pub vhost: usize,
    /// Its name.
    pub name: Name,
    /// Where.
    pub interface: IfName,
    /// Its number on the wire.
    pub vhid: Vhid,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// An engine began.
    Started {
        /// The version of carpd.
        version: String,
    },
    /// The engine before that one ended abnormally, and the keeper saw how.
    Died {
        /// How.
        how: String,
    },
    /// A state changed.
    State(Subject, Transition),
    /// What followed from that, or led to it.
    Note(Subject, Note),
    /// A virtual host was removed from the configuration.
    Removed(Subject),
    /// An operator gave an order.
    Order(OrderRecord),
    /// An advertisement of a few that are kept, so that the histories of several nodes can be
    /// compared: whoever sends it and whoever hears it keep the same ones.
    Advertisement {
        /// The virtual host.
        subject: Subject,
        /// Who sent it.
        from: IpAddr,
        /// Its counter.
        counter: u64,
        /// It was sent here; otherwise it was heard.
        sent: bool,
    },
    /// There were too many of a kind: so many more have been left out.
    LeftOut {
        /// Of what kind.
        kind: EventKind,
        /// Of which virtual host.
        vhost: Option<Name>,
        /// How many.
        count: u64,
        /// Since when, in milliseconds since 1970.
        since_ms: u64,
    },
}

/// An order: who gave it, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRecord {
    /// The user.
    pub uid: u32,
    /// The process.
    pub pid: i32,
    /// Its name.
    pub program: String,
    /// What was ordered.
    pub order: String,
    /// The virtual host that it was about, if it was about one.
    pub vhost: Option<Name>,
    /// Why it was not carried out; nothing if it was.
    pub refused: Option<String>,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// Changes of state.
    State,
    /// Orders of operators.
    Order,
    /// Runs of hooks.
    Hook,
    /// What hooks asked for.
    Effect,
    /// What hooks and tracks say of the node.
    Fitness,
    /// Remarks.
    Remark,
    /// Advertisements.
    Advertisement,
    /// The daemon itself: its starts and ends, and what was left out.
    Daemon,
}

impl EventKind {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::State,
        Self::Order,
        Self::Hook,
        Self::Effect,
        Self::Fitness,
        Self::Remark,
        Self::Advertisement,
        Self::Daemon,
    ];

    /// What several of them are called.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::State => "state changes",
            Self::Order => "orders",
            Self::Hook => "hook runs",
            Self::Effect => "effects",
            Self::Fitness => "changes of health or tracks",
            Self::Remark => "remarks",
            Self::Advertisement => "advertisements",
            Self::Daemon => "starts",
        }
    }
}

impl Event {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::State(..) => EventKind::State,
            Self::Order(_) => EventKind::Order,
            Self::Note(_, Note::HookRun { .. }) => EventKind::Hook,
            Self::Note(_, Note::Effect { .. }) => EventKind::Effect,
            Self::Note(_, Note::Health { .. } | Note::Track { .. }) => EventKind::Fitness,
            Self::Note(_, Note::Remark { .. }) => EventKind::Remark,
            Self::Advertisement { .. } => EventKind::Advertisement,
            Self::Started { .. } | Self::Died { .. } | Self::Removed(_) | Self::LeftOut { .. } => {
                EventKind::Daemon
            }
        }
    }

    /// The virtual host that it is about, if it is about one.
    #[must_use]
    pub const fn subject(&self) -> Option<&Subject> {
        match self {
            Self::State(subject, _)
            | Self::Note(subject, _)
            | Self::Removed(subject)
            | Self::Advertisement { subject, .. } => Some(subject),
            Self::Started { .. } | Self::Died { .. } | Self::Order(_) | Self::LeftOut { .. } => {
                None
            }
        }
    }

    /// The name of the virtual host that it is about, if it is about one.
    #[must_use]
    pub fn vhost(&self) -> Option<&Name> {
        match self {
            Self::Order(order) => order.vhost.as_ref(),
            Self::LeftOut { vhost, .. } => vhost.as_ref(),
            other => other.subject().map(|subject| &subject.name),
        }
    }

    /// Cuts what others wrote, so that a record has a bounded length.
    pub(super) fn cut(&mut self) {
        match self {
            Self::Started { version: text } | Self::Died { how: text } => cut(text),
            Self::State(_, transition) => match &mut transition.cause {
                Cause::Asked(reason) => cut(&mut reason.text),
                Cause::Group { why } => cut(why),
                _ => {}
            },
            Self::Note(_, note) => match note {
                Note::HookRun { error: text, .. }
                | Note::Health { reason: text, .. }
                | Note::Track { reason: text, .. }
                | Note::Remark { text } => cut(text),
                Note::Effect {
                    effect, outcome, ..
                } => [effect, outcome].into_iter().for_each(cut),
            },
            Self::Order(order) => {
                [&mut order.program, &mut order.order]
                    .into_iter()
                    .chain(&mut order.refused)
                    .for_each(cut);
            }
            Self::Removed(_) | Self::Advertisement { .. } | Self::LeftOut { .. } => {}
        }
    }
}

fn cut(text: &mut String) {
    if text.len() > TEXT_MAX {
        text.truncate(text.floor_char_boundary(TEXT_MAX));
        text.push_str("...");
    }
}

/// What stands behind the state change of a virtual host.
pub(super) fn change(transition: &Transition) -> String {
    let Transition {
        from,
        to,
        cause,
        peer,
        seq,
    } = transition;
    let peer = peer.map(|peer| format!(" ({peer})")).unwrap_or_default();
    format!("{from} -> {to}: {cause}{peer}, {} #{seq}", cause.as_str())
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { version } => write!(f, "carpd {version} started"),
            Self::Died { how } => write!(f, "carpd died: {how}"),
            Self::State(subject, transition) => {
                write!(f, "{}: {}", subject.name, change(transition))
            }
            Self::Note(subject, note) => write!(f, "{}: {note}", subject.name),
            Self::Removed(subject) => write!(f, "{}: removed", subject.name),
            Self::Order(order) => order.fmt(f),
            Self::Advertisement {
                subject,
                from,
                counter,
                sent,
            } => {
                let did = if *sent { "sent" } else { "heard" };
                write!(
                    f,
                    "{}: {did} advertisement {counter} of {from}",
                    subject.name
                )
            }
            Self::LeftOut {
                kind, vhost, count, ..
            } => {
                if let Some(vhost) = vhost {
                    write!(f, "{vhost}: ")?;
                }
                write!(f, "{count} more {} were left out", kind.plural())
            }
        }
    }
}

impl fmt::Display for OrderRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            uid,
            pid,
            program,
            order,
            refused,
            ..
        } = self;
        write!(
            f,
            "order of user {uid} ({program}, process {pid}): {order}: "
        )?;
        match refused {
            None => f.write_str("carried out"),
            Some(why) => write!(f, "refused: {why}"),
        }
    }
}

/// The protocol's name of an address family, for a remark.
pub(super) fn bow_out(family: Family) -> String {
    format!("sent a bow-out over {family}")
}
