//! What a hook is: its entry points, what it is told, what it may ask, within which budget.
//!
//! A hook asks and never does: this module knows `effect`, never `host`. It runs in a runner
//! process ([`runner`]), and [`session`] is the engine's end of the socket between them.

pub mod api;
mod bytes;
#[cfg(feature = "wasm")]
pub mod compiler;
#[cfg(feature = "lua")]
pub mod lua;
#[cfg(feature = "wasm")]
pub mod manifest;
pub mod message;
pub mod runner;
pub mod session;
pub mod source;
pub mod test_session;
pub mod vet;
#[cfg(feature = "wasm")]
pub mod wasm;
#[cfg(any(feature = "lua", feature = "wasm"))]
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::effect::{Denied, Effect, Query, Reply};
use crate::types::{IfName, Name, State, Vhid, VirtualAddress};

/// The functions that a hook may define, by the same names in every language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryPoint {
    /// Elected, addresses not yet up; a failure means: do not become master.
    BeforeMaster,
    /// Master, addresses up and announced.
    OnMaster,
    /// Stop or operator's order, addresses still up.
    BeforeBackup,
    /// No longer master, addresses gone; also at start unless `neutral`.
    OnBackup,
    /// Master, and heard a worse master: a split has healed.
    OnPeerClaim,
    /// Is the service well? Only queries.
    Health,
    /// The daemon stops; everything is undone.
    OnStop,
}

impl EntryPoint {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::BeforeMaster,
        Self::OnMaster,
        Self::BeforeBackup,
        Self::OnBackup,
        Self::OnPeerClaim,
        Self::Health,
        Self::OnStop,
    ];

    /// The name of the function in Lua; WIT has `-` for `_`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeMaster => "before_master",
            Self::OnMaster => "on_master",
            Self::BeforeBackup => "before_backup",
            Self::OnBackup => "on_backup",
            Self::OnPeerClaim => "on_peer_claim",
            Self::Health => "health",
            Self::OnStop => "on_stop",
        }
    }

    /// Are its effects undone by themselves when mastership ends?
    #[must_use]
    pub const fn scoped(self) -> bool {
        matches!(self, Self::BeforeMaster | Self::OnMaster)
    }

    /// May it change anything at all?
    #[must_use]
    pub const fn may_change(self) -> bool {
        !matches!(self, Self::Health)
    }
}

/// What a hook is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookEvent {
    /// Which function is called.
    pub entry: EntryPoint,
    /// The virtual host.
    pub instance: Instance,
    /// Its state now.
    pub state: State,
    /// Its state before.
    pub previous: State,
    /// Why, as a fixed word: the protocol's or the daemon's own.
    pub cause: String,
    /// The cause in words.
    pub cause_text: String,
    /// Whose advertisement led to it.
    pub peer: Option<std::net::IpAddr>,
    /// The transition's number; never reused.
    pub seq: u64,
    /// The first call after the daemon's start, which tells the state and not a change of it.
    pub initial: bool,
    /// How many transitions were overtaken before this one could be told.
    pub missed: u32,
    /// ucarp's `--xparam`.
    pub xparam: Option<String>,
    /// This node's host name when the daemon started.
    pub node: String,
    /// What is left of the budget, in ms, when the call begins.
    pub time_left_ms: u64,
}

/// The virtual host that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its name in the configuration.
    pub name: Name,
    /// Its interface.
    pub interface: IfName,
    /// Its vhid.
    pub vhid: Vhid,
    /// Its addresses.
    pub addresses: Vec<VirtualAddress>,
}

/// A hook's ceilings for one run. Always finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Wall time, waiting for the host included.
    pub wall: Duration,
    /// Time that the hook's own code may use.
    pub cpu: Duration,
    /// Bytes of the guest's heap.
    pub memory_bytes: u64,
    /// Questions to the host, log lines not counted.
    pub requests: u32,
    /// Bytes of log text; more is dropped and counted.
    pub log_bytes: u32,
    /// Bytes of the hook's lasting `state`.
    pub state_bytes: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(10),
            cpu: Duration::from_secs(1),
            memory_bytes: 16 << 20,
            requests: 1000,
            log_bytes: 64 << 10,
            state_bytes: 256 << 10,
        }
    }
}

/// A hook's bytes and everything it may read, in memory: what is loaded is what was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookSource {
    /// The hook's name in the configuration.
    pub name: Name,
    /// The language, from the file's ending.
    pub language: Language,
    /// The file as the operator wrote it, for messages.
    pub path: String,
    /// The script or component.
    #[serde(with = "bytes")]
    pub main: Vec<u8>,
    /// Files that `require` may find, by their path below the hook's directory, with `/`.
    pub modules: BTreeMap<String, Vec<u8>>,
    /// The table `[hook.NAME.config]`, as JSON.
    pub config_json: String,
    /// Of a WebAssembly component: what it was compiled to and what it may import. Made before it
    /// is loaded.
    pub native: Option<Native>,
}

/// A component as the compiler process left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Native {
    /// wasmtime's own format, native code in it.
    #[serde(with = "bytes")]
    pub code: Vec<u8>,
    /// The host functions (`group.name`) that the grants allow in some form; see [`api::allowed`].
    pub allowed: Vec<String>,
}

/// What a hook is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// Luau: `.lua`, `.luau`.
    Lua,
    /// A WebAssembly component: `.wasm`.
    Wasm,
}

/// One thing that a running hook asks of the daemon.
#[expect(missing_docs, reason = "the fields' names and types say it all")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Change the host. `keep`: do not undo it when mastership ends. `wait_ms`: how long it may
    /// take.
    Effect {
        effect: Effect,
        keep: bool,
        wait_ms: Option<u64>,
    },
    /// Look at the host.
    Query(Query),
    /// Write to the daemon's log.
    Log {
        level: LogLevel,
        message: String,
        fields: Vec<(String, String)>,
    },
    /// Do nothing for a while; virtual time in tests.
    Sleep { ms: u64 },
    /// Read the hook's lasting state.
    StateGet { key: String },
    /// Write it; `None` deletes.
    StateSet { key: String, value: Option<Vec<u8>> },
}

/// How loud a hook's log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For the author.
    Debug,
    /// For the record.
    Info,
    /// Someone should look at it.
    Warn,
    /// Something failed.
    Error,
}

/// What the daemon says to an [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To an effect or query that worked.
    Reply(Reply),
    /// To a log line, a sleep, a state change.
    Done,
    /// To [`Ask::StateGet`].
    State(Option<Vec<u8>>),
    /// It did not work; raised in the hook.
    Error(AskError),
}

/// Why an [`Ask`] did not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AskError {
    /// The hook was not granted this.
    #[error("{0}")]
    Denied(Denied),
    /// The host tried and failed; the kernel's or the service manager's words.
    #[error("{message}")]
    Host {
        /// What failed and why.
        message: String,
        /// The system's error number, if there was one.
        errno: Option<i32>,
    },
    /// The arguments make no sense.
    #[error("{0}")]
    Invalid(String),
    /// A budget is used up.
    #[error("{0}")]
    OverBudget(String),
    /// A newer state of the virtual host overtook this run.
    #[error("superseded by a newer state")]
    Superseded,
    /// The time of the run, so long, is used up: whatever the hook does now, it has timed out.
    #[error("the time budget of {0:?} is used up")]
    TimeUp(Duration),
}

impl AskError {
    /// The answer to an effect where [`EntryPoint::may_change`] says no.
    #[must_use]
    pub fn only_looks() -> Self {
        Self::Invalid("health may only look: it cannot change the host".to_owned())
    }
}

/// What a run that worked gave back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Returned {
    /// Any entry point but `health`.
    Done,
    /// Of `health`.
    Health {
        /// 0 is well; up to 240, as unfit as a node can be.
        demotion: u8,
        /// Why, in the hook's words; may be empty.
        reason: String,
    },
}

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
    #[error("the compiler ended while it worked on it: {0}")]
    Compiler(String),
    /// The runner could not be started, or died while loading.
    #[error("{0}")]
    Runner(String),
}

/// A language host: compiles a hook and checks its entry points; performs nothing.
pub trait HookRuntime {
    /// Loads one hook.
    ///
    /// # Errors
    /// [`LoadError`], with the place in the hook's file.
    fn load(&self, source: &HookSource, budget: &Budget) -> Result<Box<dyn Hook>, LoadError>;
}

/// One loaded hook. Each call has fresh globals.
pub trait Hook {
    /// Which entry points it defines.
    fn entry_points(&self) -> &[EntryPoint];

    /// The modules that it read while loading, as keys of [`HookSource::modules`].
    fn modules(&self) -> &[String];

    /// Nobody waits for it now: the time to make what the next run needs, and to tidy up after the
    /// last.
    fn prepare(&mut self) {}

    /// Runs one entry point; every request goes through `host`.
    ///
    /// # Errors
    /// [`HookError`]: whatever the hook did, as a value.
    fn call(
        &mut self,
        event: &HookEvent,
        host: &mut dyn HookHost,
        budget: &Budget,
    ) -> Result<Returned, HookError>;

    /// Which lines have run since it was loaded; nothing unless they are counted.
    fn coverage(&self) -> Vec<message::FileCoverage> {
        Vec::new()
    }
}

/// The test file's end of its conversation.
pub trait TestHost {
    /// Calls a function of the module `test` and waits for what it gives: JSON, or the text of an
    /// error.
    ///
    /// # Errors
    /// The text that is raised in the test file.
    fn call(&mut self, call: message::TestCall) -> Result<Vec<u8>, String>;
}

/// The hook's end of the conversation: asks and waits for the answer.
pub trait HookHost {
    /// Asks one thing.
    fn ask(&mut self, ask: Ask) -> Answer;
}
