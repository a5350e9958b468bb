//! The programs that carpd consists of: where they are, and how one starts another.
//!
//! `carpd` is what people type, `carpd-daemon` is what has rights, and `carpd-worker` handles what
//! others wrote. They are built from one package and belong together.

mod find;
mod opened;
pub mod role;

pub use find::{NotFound, find};
pub use opened::{Opened, Programs};

/// Which build this is: a digest of the sources and features that it was made of. Only programs of
/// one build speak with each other.
pub const BUILD: &str = env!("CARPD_BUILD");

/// One of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// All verbs of the command line, and tests of hooks.
    Carpd,
    /// Keeper, engine, helper and reader.
    Daemon,
    /// Runners, compiler and courier.
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
