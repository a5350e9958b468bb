//! Events as programs read them: one JSON object a line.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Cursor, Event, EventKind, EventRecord, Note, OrderRecord, Subject};
use crate::proto::{Cause, Reason, Transition};
use crate::types::{IfName, Name, State, Timestamp, Vhid};

/// An event, as `carpd events --json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its place in the history: `--after` goes on from there.
    #[serde(default)]
    pub cursor: String,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// Nanoseconds since the node was booted, by a clock that is never set.
    pub boot_ns: u64,
    /// The virtual host, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vhost: Option<Name>,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<IfName>,
    /// Its number on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vhid: Option<Vhid>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[expect(missing_docs, reason = "the fields are those of Event")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// An engine began.
    Started { version: String },
    /// The one before ended abnormally.
    Died { how: String },
    /// A state changed.
    State {
        from: State,
        to: State,
        cause: String,
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<IpAddr>,
        seq: u64,
    },
    /// A hook ran. Without `error`: well.
    Hook {
        hook: Name,
        entry: String,
        seq: u64,
        duration_us: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A hook asked for an effect.
    Effect {
        hook: Name,
        effect: String,
        outcome: String,
    },
    /// What a hook's `health` says of the node changed; 0 is well.
    Health {
        hook: Name,
        demotion: u8,
        reason: String,
    },
    /// A track is up or down.
    Track {
        track: Name,
        up: bool,
        reason: String,
    },
    /// Maintenance, demotion, refused packets, links and what else `carpd why` tells.
    Remark { text: String },
    /// The virtual host was removed.
    Removed,
    /// An operator gave an order. Without `refused`: it was carried out.
    Order {
        uid: u32,
        pid: i32,
        program: String,
        order: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<String>,
    },
    /// One of a few advertisements that are kept for comparing nodes.
    Advertisement {
        sent: bool,
        from: IpAddr,
        counter: u64,
    },
    /// There were more of a kind than are kept.
    LeftOut {
        kind: EventKind,
        count: u64,
        since_ms: u64,
    },
    /// Something that a newer version of carpd records.
    #[serde(other)]
    Other,
}

impl Told {
    /// An event of a history.
    #[must_use]
    pub fn new(cursor: Cursor, record: &EventRecord) -> Self {
        let EventRecord {
            at, wall_ms, event, ..
        } = record;
        let subject = event.subject();
        Self {
            cursor: cursor.to_string(),
            time_ms: *wall_ms,
            boot_ns: at.as_nanos(),
            vhost: event.vhost().cloned(),
            interface: subject.map(|subject| subject.interface.clone()),
            vhid: subject.map(|subject| subject.vhid),
            what: What::from(event),
        }
    }

    /// The event again, for those that compare histories, of the virtual host with this number;
    /// `None` if it cannot be understood.
    #[must_use]
    pub fn record(self, number: u64, vhost: usize) -> Option<EventRecord> {
        let subject = match (self.vhost.clone(), self.interface, self.vhid) {
            (Some(name), Some(interface), Some(vhid)) => Some(Subject {
                vhost,
                name,
                interface,
                vhid,
            }),
            _ => None,
        };
        Some(EventRecord {
            number,
            at: Timestamp::from_nanos(self.boot_ns),
            wall_ms: self.time_ms,
            event: self.what.event(subject, self.vhost)?,
        })
    }
}

impl From<&Event> for What {
    fn from(event: &Event) -> Self {
        match event.clone() {
            Event::Started { version } => Self::Started { version },
            Event::Died { how } => Self::Died { how },
            Event::State(_, transition) => {
                let Transition {
                    from,
                    to,
                    cause,
                    peer,
                    seq,
                } = transition;
                Self::State {
                    from,
                    to,
                    cause: cause.as_str().to_owned(),
                    text: cause.to_string(),
                    peer,
                    seq,
                }
            }
            Event::Note(_, note) => Self::from(note),
            Event::Removed(_) => Self::Removed,
            Event::Order(OrderRecord {
                uid,
                pid,
                program,
                order,
                refused,
                vhost: _,
            }) => Self::Order {
                uid,
                pid,
                program,
                order,
                refused,
            },
            Event::Advertisement {
                from,
                counter,
                sent,
                subject: _,
            } => Self::Advertisement {
                sent,
                from,
                counter,
            },
            Event::LeftOut {
                kind,
                count,
                since_ms,
                vhost: _,
            } => Self::LeftOut {
                kind,
                count,
                since_ms,
            },
        }
    }
}

impl From<Note> for What {
    fn from(note: Note) -> Self {
        match note {
            Note::HookRun {
                hook,
                entry,
                seq,
                took,
                error,
            } => Self::Hook {
                hook,
                entry,
                seq,
                duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                error: Some(error).filter(|error| !error.is_empty()),
            },
            Note::Effect {
                hook,
                effect,
                outcome,
            } => Self::Effect {
                hook,
                effect,
                outcome,
            },
            Note::Health {
                hook,
                demotion,
                reason,
            } => Self::Health {
                hook,
                demotion,
                reason,
            },
            Note::Remark { text } => Self::Remark { text },
            Note::Track { track, reason } => Self::Track {
                track,
                up: reason.is_empty(),
                reason,
            },
        }
    }
}

impl What {
    fn event(self, subject: Option<Subject>, vhost: Option<Name>) -> Option<Event> {
        let note = |note| Some(Event::Note(subject.clone()?, note));
        match self {
            Self::Started { version } => Some(Event::Started { version }),
            Self::Died { how } => Some(Event::Died { how }),
            Self::State {
                from,
                to,
                cause,
                text,
                peer,
                seq,
            } => {
                let cause = Cause::Asked(Reason {
                    word: Cow::Owned(cause),
                    text,
                });
                let transition = Transition {
                    from,
                    to,
                    cause,
                    peer,
                    seq,
                };
                Some(Event::State(subject?, transition))
            }
            Self::Hook {
                hook,
                entry,
                seq,
                duration_us,
                error,
            } => note(Note::HookRun {
                hook,
                entry,
                seq,
                took: std::time::Duration::from_micros(duration_us),
                error: error.unwrap_or_default(),
            }),
            Self::Effect {
                hook,
                effect,
                outcome,
            } => note(Note::Effect {
                hook,
                effect,
                outcome,
            }),
            Self::Health {
                hook,
                demotion,
                reason,
            } => note(Note::Health {
                hook,
                demotion,
                reason,
            }),
            Self::Track { track, reason, .. } => note(Note::Track { track, reason }),
            Self::Remark { text } => note(Note::Remark { text }),
            Self::Removed => Some(Event::Removed(subject?)),
            Self::Order {
                uid,
                pid,
                program,
                order,
                refused,
            } => Some(Event::Order(OrderRecord {
                uid,
                pid,
                program,
                order,
                vhost,
                refused,
            })),
            Self::Advertisement {
                sent,
                from,
                counter,
            } => Some(Event::Advertisement {
                subject: subject?,
                from,
                counter,
                sent,
            }),
            Self::LeftOut {
                kind,
                count,
                since_ms,
            } => Some(Event::LeftOut {
                kind,
                vhost,
                count,
                since_ms,
            }),
            Self::Other => None,
        }
    }
}
