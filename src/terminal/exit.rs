//! How a command ended: the list of exit codes, and the description of a failure.

use std::process::ExitCode;

/// The exit codes of every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0.
    Success,
    /// 1.
    Failure,
    /// 2; clap's own code.
    Usage,
    /// 3.
    Config,
    /// 4.
    Cannot,
    /// 5.
    NoPeer,
    /// 6.
    Todo,
    /// 7.
    Split,
}

impl Exit {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 8] = [
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::Config,
        Self::Cannot,
        Self::NoPeer,
        Self::Todo,
        Self::Split,
    ];

    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::Cannot => 4,
            Self::NoPeer => 5,
            Self::Todo => 6,
            Self::Split => 7,
        }
    }

    /// What it means, for `--help` and the man page.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "success; the daemon was stopped cleanly",
            Self::Failure => "the operation failed",
            Self::Usage => "the command line is invalid",
            Self::Config => "the configuration, or something it refers to, is invalid",
            Self::Cannot => {
                "it cannot be done here: a privilege, a kernel feature or a program is missing"
            }
            Self::NoPeer => "there is no peer to hand over to, so nothing was done",
            Self::Todo => "the output was written, but something in it is left for you to do",
            Self::Split => "another node is master of a virtual host as well as this one",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command failed, for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What went wrong: one sentence without a full stop. Empty if everything was printed already.
    pub message: String,
    /// Further lines about it.
    pub details: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            details: Vec::new(),
            hint: None,
        }
    }

    /// Adds a line that belongs to the message.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
