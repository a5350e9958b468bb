//! The contract with hooks: when they are called, what they receive, what they may ask for, and
//! within which budget. It is the same in every language.

pub mod api;
mod ask;
mod budget;
pub(in crate::hooks) mod bytes;
mod error;
mod event;
pub mod message;
mod source;

pub use ask::{Answer, Ask, AskError, LogLevel};
pub use budget::Budget;
pub use error::{HookError, LoadError};
pub use event::{EntryPoint, HookEvent, Instance, Returned};
pub use source::{HookSource, Language, Native};
