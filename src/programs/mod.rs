//! The programs that make up carpd: where they are, and how one starts another.
//!
//! `carpd` is the command line, `carpd-daemon` is privileged, and `carpd-worker` handles code and
//! data written by others. They are built from one package and belong together.

mod find;
mod opened;
pub mod role;

pub use find::{NotFound, find};
pub use opened::{Opened, Programs};

/// Identifies the build: a digest of its sources and features. Only programs of the same build talk
/// to each other.
pub const BUILD: &str = env!("CARPD_BUILD");

/// One of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// All commands, and tests of hooks.
    Carpd,
    /// Keeper, engine, helper and reader.
    Daemon,
    /// Runners, compiler and HTTP workers.
    Worker,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Carpd, Self::Daemon, Self::Worker];

    /// The name of its file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Carpd => "carpd",
            Self::Daemon => "carpd-daemon",
            Self::Worker => "carpd-worker",
        }
    }
}
