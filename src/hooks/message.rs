//! What engine and runner say to each other: versioned, bounded, never trusted.

use serde::{Deserialize, Serialize};

pub use crate::sandbox::Confinement;

use super::{Answer, Ask, Budget, EntryPoint, HookError, HookEvent, HookSource, LoadError, Returned};

/// The argument that makes the binary a runner.
pub const RUNNER_ROLE: &str = "__runner";

/// The argument after the memory that makes it a runner of WebAssembly.
pub const RUNNER_WASM: &str = "wasm";

/// The argument that makes the binary a compiler of WebAssembly.
pub const COMPILER_ROLE: &str = "__compiler";

/// Raised with every change of the messages below; both ends are one binary, so a mismatch means that it
/// was replaced while running.
pub const VERSION: u16 = 3;

/// From the engine to a runner.
#[expect(missing_docs, reason = "the fields' names and types say it all")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToRunner {
    /// First: what to load. Boxed: much larger than the rest.
    Load { version: u16, source: Box<HookSource>, budget: Budget },
    /// Run one entry point.
    Call { event: Box<HookEvent>, budget: Budget },
    /// To the last [`FromRunner::Ask`].
    Answer(Answer),
}

/// From a runner to the engine.
#[expect(missing_docs, reason = "the fields' names and types say it all")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromRunner {
    /// Confined and waiting; which measures are in force and which are missing.
    Ready { version: u16, confinement: Confinement },
    /// To [`ToRunner::Load`].
    Loaded(Result<Loaded, LoadError>),
    /// The running hook asks.
    Ask(Ask),
    /// To [`ToRunner::Call`].
    Finished(Result<Returned, HookError>),
}

/// What a loaded hook is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// The entry points it defines.
    pub entry_points: Vec<EntryPoint>,
    /// The modules it read while loading, as keys of [`HookSource::modules`].
    pub modules: Vec<String>,
}
