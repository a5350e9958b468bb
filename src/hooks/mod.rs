//! Hooks: their entry points, what they receive, what they may ask for, and within which budget.
//!
//! A hook only asks, and never acts itself: this module knows `effect`, but not `host`. A hook runs
//! in a runner process, which is `carpd-worker`, and [`process::session`] is the engine's end of
//! the socket between them.
//!
//! | room | what is in it |
//! |---|---|
//! | `contract` | events, budgets, questions and answers, the list of host functions, the messages between engine and runner |
//! | `runtime` | what a language runtime must provide, and static checks of Luau |
//! | `process` | the engine's end of the sockets to runner and compiler |
//! | `artifact` | a hook's files: read once, verified, described |

pub mod artifact;
pub mod contract;
pub mod process;
pub mod runtime;

pub use contract::{
    Answer, Ask, AskError, Budget, EntryPoint, HookError, HookEvent, HookSource, Instance,
    Language, LoadError, LogLevel, Native, Returned,
};
pub use runtime::{Hook, HookHost, HookRuntime, TestHost};
