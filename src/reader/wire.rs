//! What engine and reader say to each other: frames on a stream, some of them with a descriptor.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::socket::MsgFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::frame;
use crate::host::children::descriptors;
use crate::resolve::{Refusal, Why};
use crate::sandbox::Confinement;

/// The largest frame: the modules of a hook with the longest paths, and room beside them.
pub(super) const MAX: usize = 256 * 1024;
/// Of what is wrong on the way to a file so much is told; one thing is enough to refuse it.
const OBJECTIONS_MAX: usize = 16;

/// A path, whatever bytes it consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PathBytes(Vec<u8>);

impl From<&Path> for PathBytes {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<PathBytes> for PathBuf {
    fn from(PathBytes(bytes): PathBytes) -> Self {
        OsStr::from_bytes(&bytes).into()
    }
}

/// From the engine.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Open a regular file.
    Open(PathBytes),
    /// The path of the configuration's directory, without links.
    WithoutLinks(PathBytes),
    /// List the modules of a hook.
    Modules(PathBytes),
    /// Watch hooks, in the place of those before; the socket to tell of changes comes with this.
    Watch(Vec<PathBytes>),
}

/// From the reader.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// First, unasked.
    Hello { confinement: Confinement },
    /// To [`Request::Open`]; the descriptor comes with it.
    Opened {
        file: Result<(), Failure>,
        objections: Vec<(PathBytes, Why)>,
    },
    /// To [`Request::WithoutLinks`].
    Path(Result<PathBytes, Failure>),
    /// To [`Request::Modules`]: the directory, and the paths below it; or what is in the way.
    Modules(Result<(PathBytes, Vec<String>), (PathBytes, Failure)>),
    /// To [`Request::Watch`].
    Watches(Result<(), Failure>),
}

/// What a watching reader tells, unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// Something that a hook may consist of has changed.
    Changed(Unfinished),
    /// How each file is watched from now on.
    How {
        /// Each of them.
        files: Vec<(String, How)>,
        /// Is all looked at that lies beside and below them?
        complete: bool,
    },
}

/// What somebody is in the middle of writing: half a hook may be a hook.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Unfinished {
    /// Hooks whose file, test or signature it is, by their numbers in the list of what is watched.
    pub hooks: Vec<u32>,
    /// What may be modules, by their paths.
    pub modules: Vec<String>,
}

/// How changes of a file are noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// The kernel tells of them.
    Watched,
    /// The kernel tells of some: there is too much beside and below it.
    InPart,
    /// It is looked at again and again.
    Polled {
        /// Does the kernel tell, too?
        watched: bool,
        /// Why that is not enough.
        reason: PollReason,
        /// How often, in seconds.
        every_s: u64,
    },
}

/// Why the kernel's notifications do not suffice for a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PollReason {
    /// This path on the way to it is a mount, which another one can replace: nothing is wrong.
    Mount(String),
    /// It is on a file system of this type, where other machines can change it.
    ForeignFileSystem(String),
    /// It cannot be watched, for this reason.
    Unwatchable(String),
}

impl fmt::Display for PollReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount(path) => write!(f, "{path} is a mount"),
            Self::ForeignFileSystem(kind) => {
                write!(f, "it is on {kind}, where others can change it")
            }
            Self::Unwatchable(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Watched => f.write_str("watched"),
            Self::InPart => f.write_str(
                "watched in part: there are too many directories below the hooks'; use `carpd reload`, or give each hook one of its own",
            ),
            Self::Polled { watched, reason, every_s } => {
                let also = if *watched { "watched, and " } else { "" };
                write!(f, "{also}polled every {every_s}s: {reason}")
            }
        }
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failure {
    /// The system's error number.
    System(i32),
    /// It is a directory.
    Directory,
    /// It is no regular file.
    NotAFile,
    /// There is too much of it.
    TooMuch(String),
    /// Somebody on the way is not to be trusted.
    Denied(String),
    /// The configuration does not name it: how often something was refused so far.
    Refused { path: PathBytes, count: u64 },
    /// Anything else.
    Other(String),
}

impl From<io::Error> for Failure {
    fn from(err: io::Error) -> Self {
        match (err.raw_os_error(), err.kind()) {
            (Some(errno), _) => Self::System(errno),
            (None, io::ErrorKind::IsADirectory) => Self::Directory,
            (None, io::ErrorKind::InvalidInput) => Self::NotAFile,
            (None, io::ErrorKind::PermissionDenied) => Self::Denied(err.to_string()),
            (None, _) => Self::Other(err.to_string()),
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::System(errno) => Self::from_raw_os_error(errno),
            Failure::Directory => Self::new(io::ErrorKind::IsADirectory, "it is a directory"),
            Failure::NotAFile => Self::new(io::ErrorKind::InvalidInput, "it is not a regular file"),
            Failure::TooMuch(text) | Failure::Other(text) => Self::other(text),
            Failure::Denied(text) => Self::new(io::ErrorKind::PermissionDenied, text),
            Failure::Refused { path, count } => {
                let path = PathBuf::from(path);
                let why = format!(
                    "the reader process refuses {}: its configuration does not name it \
                     ({count} refused so far)",
                    path.display()
                );
                Self::new(io::ErrorKind::PermissionDenied, why)
            }
        }
    }
}

pub(super) fn objections(refusals: Vec<Refusal>) -> Vec<(PathBytes, Why)> {
    let told = refusals.into_iter().take(OBJECTIONS_MAX);
    told.map(|refusal| (PathBytes::from(refusal.component.as_path()), refusal.why))
        .collect()
}

pub(super) fn refusals(objections: Vec<(PathBytes, Why)>) -> Vec<Refusal> {
    objections
        .into_iter()
        .map(|(component, why)| Refusal {
            component: component.into(),
            why,
        })
        .collect()
}

pub(super) fn send(
    mut stream: &UnixStream,
    message: &impl Serialize,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let bytes = frame::encode(message, MAX)?;
    let sent = descriptors::send(stream, &bytes, descriptor, MsgFlags::empty())?;
    stream.write_all(bytes.get(sent..).unwrap_or_default())
}

/// The next message; `None` at the end of the stream.
pub(super) fn receive<T: DeserializeOwned>(
    mut stream: &UnixStream,
) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    let mut head = [0; frame::HEAD];
    let (got, descriptor) = loop {
        match descriptors::receive(stream, &mut head, MsgFlags::empty()) {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if got == 0 {
        return Ok(None);
    }
    stream.read_exact(head.get_mut(got..).unwrap_or_default())?;
    let mut bytes = vec![0; frame::length(head, MAX)?];
    stream.read_exact(&mut bytes)?;
    Ok(Some((frame::decode(&bytes)?, descriptor)))
}
