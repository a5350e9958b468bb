//! Programs as opened files: exactly that file is executed, whatever happens to its path.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::{Program, find};

/// The running program, even after its file was replaced.
const SELF: &str = "/proc/self/exe";

/// A program that can be executed any number of times. It need not be readable.
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

    /// The running program.
    ///
    /// # Errors
    /// What the system says.
    pub fn this() -> io::Result<Self> {
        Self::at(Path::new(SELF))
    }

    /// Finds and opens another of our programs.
    ///
    /// # Errors
    /// [`super::NotFound`], or what the system says.
    pub fn beside(program: Program) -> io::Result<Self> {
        Self::at(&find(program)?)
    }

    /// A program that this process inherited, given the number of its descriptor.
    ///
    /// # Errors
    /// The system's error, if there is no such descriptor.
    pub fn inherited(number: &OsStr) -> io::Result<Self> {
        let number = number
            .to_str()
            .and_then(|number| number.parse::<u32>().ok());
        let number = number.ok_or(io::ErrorKind::InvalidInput)?;
        Self::at(&by_number(number))
    }

    /// The path by which this process can execute it, and so can a child before it executes
    /// anything else.
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

/// The programs that a keeper executes, opened when it starts.
#[derive(Debug)]
pub struct Programs {
    /// For the engine, helpers and readers.
    pub daemon: Opened,
    /// For runners, compilers and HTTP workers.
    pub worker: Opened,
    /// For testers, which do not exist without it: it may be missing if the daemon was started as
    /// ucarp, and a keeper for an operator's command does not have it.
    pub carpd: Option<Opened>,
}

impl Programs {
    /// The programs of a daemon: the running one, and the others next to it.
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

    /// One of the programs.
    ///
    /// # Errors
    /// It is missing.
    pub fn get(&self, program: Program) -> io::Result<&Opened> {
        match program {
            Program::Daemon => Ok(&self.daemon),
            Program::Worker => Ok(&self.worker),
            Program::Carpd => match &self.carpd {
                Some(carpd) => Ok(carpd),
                // The same message; if the program has been installed since, a restart finds it.
                None => Err(find(program)
                    .err()
                    .map_or_else(|| io::ErrorKind::NotFound.into(), io::Error::from)),
            },
        }
    }
}
