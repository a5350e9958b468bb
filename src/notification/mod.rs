//! Notifications of what happens here, for people and other programs: what is told, how it is put
//! into words, and how much of it. Pure: nothing is sent here.

mod event;
mod outbox;
mod template;

pub use event::{Event, EventKind, Severity, Subject};
pub use outbox::{Outbox, Pace};
pub use template::{Escape, ParseTemplateError, Template, TooLong, Values};
