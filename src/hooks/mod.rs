//! What a hook is: its entry points, what it is told, what it may ask, within which budget.
//!
//! A hook asks and never does: this module knows `effect`, never `host`. It runs in a runner
//! process, which is `carpd-worker`, and [`process::session`] is the engine's end of the socket
//! between them.
//!
//! | room | what is in it |
//! |---|---|
//! | `contract` | events, budgets, questions and answers, the list of host functions, the messages between engine and runner |
//! | `runtime` | what a language must be able to do, and what is known of Luau without running it |
//! | `process` | the engine's end of the sockets to runner and compiler |
//! | `artifact` | a hook's files: read once, vouched for, described |

pub mod artifact;
pub mod contract;
pub mod process;
pub mod runtime;

pub use contract::{
    Answer, Ask, AskError, Budget, EntryPoint, HookError, HookEvent, HookSource, Instance,
    Language, LoadError, LogLevel, Native, Returned,
};
pub use runtime::{Hook, HookHost, HookRuntime, TestHost};
