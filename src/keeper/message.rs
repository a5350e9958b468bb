//! What engine and keeper say to each other. Both are this binary and trust each other; the
//! messages are small, so each is one packet.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hooks::message;
use crate::host::courier;
use crate::reader::ROLE as READER;
use crate::types::Timestamp;

/// A child of the keeper, numbered by the engine; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChildId(pub u64);

/// What a child is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Holds one hook; its address space is limited for a hook's heap of this size.
    Runner {
        /// [`crate::hooks::Budget::memory_bytes`].
        memory_bytes: u64,
    },
    /// Holds one WebAssembly hook.
    WasmRunner {
        /// [`crate::hooks::Budget::memory_bytes`], and room for the hook's code.
        memory_bytes: u64,
    },
    /// Compiles one WebAssembly hook and ends.
    Compiler,
    /// Runs the test of one hook and ends.
    Tester,
    /// Does what needs more capabilities than the engine has.
    Helper,
    /// The same, for a reload: by the configuration that this is about.
    NewHelper,
    /// Opens what the configuration names.
    Reader,
    /// The same, by the file as it is now: with it a reload begins.
    NewReader,
    /// Goes out for one request of a hook.
    Courier,
}

impl Role {
    /// The name that the kernel shows for it.
    #[must_use]
    pub const fn shown(self) -> &'static str {
        match self {
            Self::Runner { .. } | Self::WasmRunner { .. } => "carpd-runner",
            Self::Compiler => "carpd-compiler",
            Self::Tester => "carpd-tester",
            Self::Helper | Self::NewHelper => "carpd-helper",
            Self::Reader | Self::NewReader => "carpd-reader",
            Self::Courier => "carpd-courier",
        }
    }

    /// Does it go by the configuration, and handle nothing that others wrote?
    pub(super) const fn is_trusted(self) -> bool {
        match self {
            Self::Helper | Self::NewHelper | Self::Reader | Self::NewReader => true,
            Self::Runner { .. }
            | Self::WasmRunner { .. }
            | Self::Compiler
            | Self::Tester
            | Self::Courier => false,
        }
    }

    /// The arguments that make the binary take this role.
    #[must_use]
    pub fn arguments(self) -> Vec<String> {
        match self {
            Self::Runner { memory_bytes } => {
                vec![message::RUNNER_ROLE.to_owned(), memory_bytes.to_string()]
            }
            Self::WasmRunner { memory_bytes } => {
                vec![
                    message::RUNNER_ROLE.to_owned(),
                    memory_bytes.to_string(),
                    message::RUNNER_WASM.to_owned(),
                ]
            }
            Self::Compiler => vec![message::COMPILER_ROLE.to_owned()],
            Self::Tester => vec![message::TESTER_ROLE.to_owned()],
            Self::Helper | Self::NewHelper => vec!["__helper".to_owned()],
            Self::Reader | Self::NewReader => vec![READER.to_owned()],
            Self::Courier => vec![courier::ROLE.to_owned()],
        }
    }
}

/// From the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    /// Start a child and hand over its socket.
    Spawn(ChildId, Role),
    /// SIGKILL; nothing if it has ended already.
    Kill(ChildId),
    /// The engine's will; its descriptor comes with this packet.
    Will,
    /// A reload has ended: was the configuration that it was about taken into use?
    Reloaded(bool),
}

/// How the engine before this one died, by its keeper's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    /// When its keeper saw it.
    pub at: Timestamp,
    /// In words: "its engine was killed by SIGKILL".
    pub how: String,
}

/// From the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// The first one to an engine that was started because the one before it died.
    Before(Predecessor),
    /// Started; its socket comes with this packet.
    Spawned(ChildId),
    /// Could not be started: the system's error number.
    Failed(ChildId, i32),
    /// It ended.
    Exited(ChildId, HowEnded),
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HowEnded {
    /// By itself, with this status.
    Status(i32),
    /// Killed by this signal, by name.
    Signal(String),
}

impl HowEnded {
    /// Did the kernel end it for a system call that its filter does not let through?
    #[must_use]
    pub fn is_forbidden_call(&self) -> bool {
        matches!(self, Self::Signal(name) if name == "SIGSYS")
    }
}

impl fmt::Display for HowEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(_) if self.is_forbidden_call() => {
                f.write_str("killed by SIGSYS: a system call that the sandbox forbids")
            }
            Self::Signal(name) => write!(f, "killed by {name}"),
        }
    }
}
