//! Programs as opened files: what is executed is that very file, whatever becomes of its path.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::{Program, find};

/// The program that runs, also after its file was replaced.
const SELF: &str = "/proc/self/exe";

/// A program that can be executed as often as its owner likes. It need not be readable.
#[derive(Debug)]
pub struct Opened(OwnedFd);

impl Opened {
    /// Opens the file at a path.
    ///
    /// # Errors
    /// What the system says.
    pub fn at(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        Ok(Self(open(path, flags, Mode::empty())?))
    }

    /// The program that runs.
    ///
    /// # Errors
    /// What the system says.
    pub fn this() -> io::Result<Self> {
        Self::at(Path::new(SELF))
    }

    /// A program beside the one that runs.
    ///
    /// # Errors
    /// [`super::NotFound`], or what the system says.
    pub fn beside(program: Program) -> io::Result<Self> {
        Self::at(&find(program)?)
    }

    /// One that this process was started with: the number of its descriptor.
    ///
    /// # Errors
    /// What the system says, if there is no such descriptor.
    pub fn inherited(number: &OsStr) -> io::Result<Self> {
        let number = number
            .to_str()
            .and_then(|number| number.parse::<u32>().ok());
        let number = number.ok_or(io::ErrorKind::InvalidInput)?;
        Self::at(&by_number(number))
    }

    /// The path by which this process, and a child of it before it executes anything, can execute
    /// it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        by_number(self.0.as_raw_fd())
    }

    /// Its descriptor.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn by_number(number: impl std::fmt::Display) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{number}"))
}

/// What a keeper executes, opened when it starts.
#[derive(Debug)]
pub struct Programs {
    /// For the engine, helpers and readers.
    pub daemon: Opened,
    /// For runners, compilers and couriers.
    pub worker: Opened,
    /// For testers. Without it there are none: whoever calls ucarp's name need not have it, nor has a
    /// keeper of a command of an operator's own.
    pub carpd: Option<Opened>,
}

impl Programs {
    /// Of the daemon: this program, and the others beside it.
    ///
    /// # Errors
    /// [`super::NotFound`], or what the system says.
    pub fn of_daemon() -> io::Result<Self> {
        Ok(Self {
            daemon: Opened::this()?,
            worker: Opened::beside(Program::Worker)?,
            carpd: Opened::beside(Program::Carpd).ok(),
        })
    }

    /// One of them.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, program: Program) -> io::Result<&Opened> {
        match program {
            Program::Daemon => Ok(&self.daemon),
            Program::Worker => Ok(&self.worker),
            Program::Carpd => match &self.carpd {
                Some(carpd) => Ok(carpd),
                // In its words, and to be had after a restart if it has come since.
                None => Err(find(program)
                    .err()
                    .map_or_else(|| io::ErrorKind::NotFound.into(), io::Error::from)),
            },
        }
    }
}
