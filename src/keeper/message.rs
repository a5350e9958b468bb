//! The messages between engine and keeper. Both are one program; the messages are small, so each is
//! one packet.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::hooks::contract::message;
use crate::host::children::{endpoint, http_worker, notifier, prober};
use crate::programs::{Program, role};
use crate::reader::ROLE as READER;
use crate::types::{Name, Timestamp};

/// The argument that makes the daemon's program a helper.
pub(super) const HELPER_ROLE: &str = "__helper";

/// The most bytes of [`Failure::Said`]: a packet has room for them.
const WORDS_MAX: usize = 768;

/// A child of the keeper. The engine numbers them and never reuses a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChildId(pub u64);

/// What a child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Runs one hook; its address space is limited for a hook's heap of this size.
    Runner {
        /// [`crate::hooks::Budget::memory_bytes`].
        memory_bytes: u64,
    },
    /// Runs one WebAssembly hook.
    WasmRunner {
        /// [`crate::hooks::Budget::memory_bytes`], and room for the hook's code.
        memory_bytes: u64,
    },
    /// Compiles one WebAssembly hook and ends.
    Compiler,
    /// Runs the test of one hook and ends.
    Tester,
    /// Does what needs more capabilities than the engine has, as the configuration in use grants
    /// it.
    Helper,
    /// A helper for a reload: it reads the configuration that the reload is about.
    NewHelper,
    /// Opens the files that the configuration in use names.
    Reader,
    /// A reader for the configuration as it is now: with it a reload begins.
    NewReader,
    /// Makes one request of a hook to another host.
    HttpWorker,
    /// Looks at what tracks follow, as one user.
    Prober {
        /// Which of the users that the configuration in use names for it.
        part: u16,
    },
    /// Asks over the network what tracks follow.
    NetProber,
    /// Answers whoever asks over HTTP how the daemon is.
    Endpoint,
    /// Runs the program of one target of notifications, once.
    Notifier {
        /// Which of the targets of the configuration in use.
        part: u16,
    },
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
            Self::HttpWorker => "carpd-request",
            Self::Prober { .. } => "carpd-prober",
            Self::NetProber => "carpd-netprober",
            Self::Endpoint => "carpd-http",
            Self::Notifier { .. } => "carpd-notifier",
        }
    }

    /// Which program plays it.
    pub(super) const fn program(self) -> Program {
        match self {
            Self::Runner { .. }
            | Self::WasmRunner { .. }
            | Self::Compiler
            | Self::HttpWorker
            | Self::NetProber
            | Self::Endpoint => Program::Worker,
            Self::Tester => Program::Carpd,
            Self::Helper
            | Self::NewHelper
            | Self::Reader
            | Self::NewReader
            | Self::Prober { .. }
            | Self::Notifier { .. } => Program::Daemon,
        }
    }

    /// Does it obey the configuration alone, and handle nothing that others wrote?
    pub(super) const fn is_trusted(self) -> bool {
        match self {
            Self::Helper | Self::NewHelper | Self::Reader | Self::NewReader => true,
            Self::Runner { .. }
            | Self::WasmRunner { .. }
            | Self::Compiler
            | Self::Tester
            | Self::HttpWorker
            | Self::Prober { .. }
            | Self::NetProber
            | Self::Endpoint
            | Self::Notifier { .. } => false,
        }
    }

    /// The first argument of its program.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Runner { .. } | Self::WasmRunner { .. } => message::RUNNER_ROLE,
            Self::Compiler => message::COMPILER_ROLE,
            Self::Tester => message::TESTER_ROLE,
            Self::Helper | Self::NewHelper => HELPER_ROLE,
            Self::Reader | Self::NewReader => READER,
            Self::HttpWorker => http_worker::ROLE,
            Self::Prober { .. } => prober::ROLE,
            Self::NetProber => prober::remote::ROLE,
            Self::Endpoint => endpoint::ROLE,
            Self::Notifier { .. } => notifier::ROLE,
        }
    }

    /// The arguments that follow it.
    pub(super) fn arguments(self) -> Vec<String> {
        match self {
            Self::Runner { memory_bytes } => vec![memory_bytes.to_string()],
            Self::WasmRunner { memory_bytes } => {
                vec![memory_bytes.to_string(), message::RUNNER_WASM.to_owned()]
            }
            Self::Prober { part } | Self::Notifier { part } => vec![part.to_string()],
            Self::Compiler
            | Self::Tester
            | Self::Helper
            | Self::NewHelper
            | Self::Reader
            | Self::NewReader
            | Self::HttpWorker
            | Self::NetProber
            | Self::Endpoint => Vec::new(),
        }
    }
}

/// From the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    /// Start a child and hand over its socket. The hook that it is for stands in its name.
    Spawn(ChildId, Role, Option<Name>),
    /// SIGKILL; nothing if it has ended already.
    Kill(ChildId),
    /// The engine's failsafe; its descriptor comes with this packet.
    FailSafe,
    /// Keeper and engine are to have real-time priority.
    Realtime,
    /// A reload is still being prepared.
    Preparing,
    /// A reload has ended: was its configuration taken into use?
    Reloaded(bool),
}

/// How the previous engine crashed, as the keeper saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    /// When the keeper noticed.
    pub at: Timestamp,
    /// A description: "its engine was killed by SIGKILL".
    pub how: String,
}

/// From the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// The first message to an engine that was started because its predecessor crashed.
    Before(Predecessor),
    /// The child was started; its socket comes with this packet.
    Spawned(ChildId),
    /// The child could not be started.
    Failed(ChildId, Failure),
    /// The child ended.
    Exited(ChildId, HowEnded),
}

/// Why a child could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failure {
    /// The system's error number.
    System(i32),
    /// What the keeper itself has to say, such as which program is missing.
    Said(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if let Some(errno) = error.raw_os_error() {
            return Self::System(errno);
        }
        let mut words = error.to_string();
        words.truncate(words.floor_char_boundary(WORDS_MAX));
        Self::Said(words)
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::System(errno) => Self::from_raw_os_error(errno),
            Failure::Said(words) => Self::other(words),
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HowEnded {
    /// It exited with this status.
    Status(i32),
    /// Killed by this signal, by name.
    Signal(String),
}

impl HowEnded {
    /// Did the kernel kill it for a system call that its filter forbids?
    #[must_use]
    pub fn is_forbidden_call(&self) -> bool {
        matches!(self, Self::Signal(name) if name == "SIGSYS")
    }

    /// Was it a program that whoever started it could not speak with?
    #[must_use]
    pub fn is_other_build(&self) -> bool {
        *self == Self::Status(role::OTHER_BUILD.into())
    }
}

impl fmt::Display for HowEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) if self.is_other_build() => write!(
                f,
                "exit status {status}: it is of another build than the daemon; {}",
                role::REMEDY
            ),
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(_) if self.is_forbidden_call() => {
                f.write_str("killed by SIGSYS: a system call that the sandbox forbids")
            }
            Self::Signal(name) => write!(f, "killed by {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_started_is_told_in_words_that_a_packet_has_room_for() {
        let missing = io::Error::new(io::ErrorKind::NotFound, "carpd is missing");
        assert_eq!(
            io::Error::from(Failure::from(missing)).to_string(),
            "carpd is missing"
        );
        let system = io::Error::from_raw_os_error(libc::EAGAIN);
        let told = io::Error::from(Failure::from(system));
        assert_eq!(told.raw_os_error(), Some(libc::EAGAIN));
        let long = Failure::from(io::Error::other("ä".repeat(4096)));
        let (ours, theirs) = super::super::wire::pair().unwrap();
        let report = Report::Failed(ChildId(u64::MAX), long);
        super::super::wire::send(&ours, &report, None).unwrap();
        let (received, _) = super::super::wire::receive::<Report>(&theirs)
            .unwrap()
            .unwrap();
        assert_eq!(received, report);
    }

    #[test]
    fn an_end_for_another_build_says_what_to_do() {
        let end = |status| HowEnded::Status(status).to_string();
        assert_eq!(end(1), "exit status 1");
        let said = end(role::OTHER_BUILD.into());
        assert!(
            said.contains("of another build") && said.ends_with(role::REMEDY),
            "{said}"
        );
    }
}
