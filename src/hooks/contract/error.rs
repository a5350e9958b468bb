//! How loading a hook and running it may fail.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a run failed. The text names file and line where the language knows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum HookError {
    /// The hook raised an error.
    #[error("{message}")]
    Raised {
        /// First line: `file:line: text`.
        message: String,
        /// The stack, innermost first; may be empty.
        backtrace: String,
    },
    /// It ran longer than its budget.
    #[error("ran longer than its budget of {0:?}")]
    TimedOut(Duration),
    /// It used more memory than its budget.
    #[error("used more memory than its budget of {0} bytes")]
    OutOfMemory(u64),
    /// A newer state overtook it.
    #[error("superseded by a newer state")]
    Superseded,
    /// The runner process ended; how, if known.
    #[error("the runner ended: {0}")]
    RunnerDied(String),
}

/// Why a hook could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LoadError {
    /// It does not compile, or its top level failed: `file:line: text`.
    #[error("{0}")]
    Code(String),
    /// It defines none of the entry points.
    #[error(
        "{path} defines no entry point: it needs at least one of before_master, on_master, before_backup, on_backup, on_peer_claim, health, on_stop"
    )]
    NoEntryPoint {
        /// The file.
        path: String,
    },
    /// A mandatory part of the sandbox is not to be had.
    #[error(
        "the sandbox is incomplete: {0}; with sandbox = \"best-effort\" the hook runs without it"
    )]
    Sandbox(String),
    /// The compiler ended while it worked on the component: how.
    #[error("the compiler died while compiling it: {0}")]
    Compiler(String),
    /// The runner could not be started, or died while loading.
    #[error("{0}")]
    Runner(String),
}
