//! The helper: a separate process for what needs more than the engine's two capabilities.
//!
//! It does what the engine asks if the configuration grants it, or if it restores a previous value
//! (`gate`). It reads the grants from the file itself, so a compromised engine cannot get more from
//! it. Without [`Duty::Commands`] it keeps four capabilities. Command lines and init scripts start
//! daemons that may need any capability, so with them it keeps everything it was given.

mod client;
mod gate;
mod process;
mod records;
mod turns;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use client::HelperClient;
pub use gate::Terms;
pub use process::main;

use crate::effect::{CommandOutput, FoundFile, Outcome, Resource, ServiceVerb, UnitState};
use crate::host::HostError;
use crate::host::services::manager::ServiceBackend;
pub use crate::host::services::spawn::CommandLine;

/// Tells a helper that its configuration is no longer in use. This signal is not sent to process
/// groups, and is ignored by default.
pub const RETIRE: nix::sys::signal::Signal = nix::sys::signal::Signal::SIGURG;

/// The largest message: a file with its attributes and some room.
const MESSAGE_LIMIT: usize = crate::host::services::files::FILE_LIMIT + 64 * 1024;

/// The limit for simultaneous requests; more are refused.
const REQUEST_LIMIT: usize = 256;

/// The longest time that a request may take, whatever limit it contains: as long as a hook may run.
const LIMIT_MAX: Duration = Duration::from_hours(1);

/// The additional time that a request may need, beyond its own limit, until a child is killed and
/// its answer has arrived.
const ANSWER_MARGIN: Duration =
    crate::host::services::spawn::GRACE.saturating_add(Duration::from_secs(1));

/// The purpose of the helper, which determines the capabilities that it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Duty {
    /// Host name, kernel parameters, files.
    Settings,
    /// Also command lines and services that scripts start.
    Commands,
}

impl Duty {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Commands => "commands",
        }
    }

    /// What a helper must be able to do to restore this; `None` if none is needed.
    #[must_use]
    pub const fn to_put_back(resource: &Resource, services_need_helper: bool) -> Option<Self> {
        match resource {
            Resource::Service { .. } if services_need_helper => Some(Self::Commands),
            Resource::Hostname | Resource::Sysctl { .. } | Resource::File { .. } => {
                Some(Self::Settings)
            }
            Resource::Service { .. }
            | Resource::Address { .. }
            | Resource::Route { .. }
            | Resource::Rule(_)
            | Resource::LinkUp { .. }
            | Resource::LinkMac { .. }
            | Resource::Macvlan { .. }
            | Resource::LinkArp { .. } => None,
        }
    }
}

/// One request to the helper.
#[expect(missing_docs, reason = "the fields' names and types say it all")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HelperOp {
    /// Set the kernel's host name.
    SetHostname { name: String },
    /// Read a kernel parameter.
    ReadParameter { key: String },
    /// Set a kernel parameter.
    WriteParameter { key: String, value: String },
    /// Read a file.
    ReadFile { path: String },
    /// Read a file with everything needed to restore it.
    FindFile { path: String },
    /// Write a file, all or nothing.
    WriteFile { path: String, content: Vec<u8> },
    /// Restore a file as it was found, all or nothing.
    RestoreFile { path: String, found: FoundFile },
    /// Remove a file.
    RemoveFile { path: String },
    /// Run a command line.
    Run { argv: Vec<String> },
    /// Run an operator's script, when no other one with the same `turn` is running.
    Script { turn: String, line: CommandLine },
    /// Act on a service.
    Service {
        backend: ServiceBackend,
        unit: String,
        verb: ServiceVerb,
    },
    /// Ask for a service.
    ServiceStatus {
        backend: ServiceBackend,
        unit: String,
    },
}

impl HelperOp {
    /// Whether it starts another program.
    const fn starts_process(&self) -> bool {
        match self {
            Self::Run { .. }
            | Self::Script { .. }
            | Self::Service { .. }
            | Self::ServiceStatus { .. } => true,
            Self::SetHostname { .. }
            | Self::ReadParameter { .. }
            | Self::WriteParameter { .. }
            | Self::ReadFile { .. }
            | Self::WriteFile { .. }
            | Self::RemoveFile { .. }
            | Self::FindFile { .. }
            | Self::RestoreFile { .. } => false,
        }
    }
}

/// What the helper answers to a request that worked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HelperReply {
    /// To what changes something.
    Outcome(Outcome),
    /// To [`HelperOp::ReadParameter`].
    Text(String),
    /// To [`HelperOp::ReadFile`].
    File(Option<Vec<u8>>),
    /// To [`HelperOp::FindFile`].
    FoundFile(Option<FoundFile>),
    /// To [`HelperOp::Run`] and [`HelperOp::Script`].
    Command(CommandOutput),
    /// To [`HelperOp::ServiceStatus`].
    Unit(UnitState),
}

/// Engine to helper.
#[derive(Debug, Serialize, Deserialize)]
enum ToHelper {
    /// First.
    Hello {
        duty: Duty,
        /// Only restore what is in the records in this directory.
        undo: Option<PathBuf>,
    },
    Request {
        id: u64,
        limit: Duration,
        op: HelperOp,
    },
    /// This request is no longer waited for.
    Cancel { id: u64 },
}

/// Helper to engine.
#[derive(Debug, Serialize, Deserialize)]
enum FromHelper {
    Answer {
        id: u64,
        result: Result<HelperReply, HostError>,
    },
}
