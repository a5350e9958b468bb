//! The engine's end.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::wire::{Answer, Failure, MAX, PathBytes, Request, Told, receive, refusals, send};
use crate::frame::{self, FrameError, Inbox};
use crate::resolve::{Listing, Modules, Opened, Opener, Unlisted};
use crate::sandbox::Confinement;

/// How long to wait for a file system before giving up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The engine's hold on the reader. Asking waits for the disk: it is for threads that may. Dropping
/// it ends the reader.
#[derive(Debug)]
pub struct Client {
    /// `None` once it has failed: what then came would be an answer to something else.
    stream: Mutex<Option<UnixStream>>,
    confinement: Confinement,
}

impl Client {
    /// Takes the engine's end of the socket whose other end is the reader's standard input; waits
    /// until the reader is ready.
    ///
    /// # Errors
    /// There is no reader.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        match receive(&stream)? {
            Some((Answer::Hello { confinement }, _)) => Ok(Self {
                stream: Mutex::new(Some(stream)),
                confinement,
            }),
            Some(_) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the reader process sent something unexpected",
            )),
            None => Err(gone()),
        }
    }

    /// How well it is confined.
    #[must_use]
    pub const fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    /// Has hooks watched, in the place of those that were watched before.
    ///
    /// # Errors
    /// The reader is gone, or refuses.
    pub fn watch(&self, files: &[PathBuf]) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let files = files
            .iter()
            .map(|file| absolute(file))
            .collect::<io::Result<_>>()?;
        match self.ask(&Request::Watch(files), Some(theirs.as_fd()))? {
            (Answer::Watches(done), _) => done.map(|()| ours).map_err(Into::into),
            _ => Err(senseless()),
        }
    }

    fn ask(
        &self,
        request: &Request,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<(Answer, Option<OwnedFd>)> {
        let mut slot = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = slot.as_ref().ok_or_else(gone)?;
        let answer =
            send(stream, request, descriptor).and_then(|()| receive(stream)?.ok_or_else(gone));
        if answer.is_err() {
            *slot = None;
        }
        answer.map_err(|err| match err.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(
                io::ErrorKind::TimedOut,
                "the reader process does not answer",
            ),
            _ => err,
        })
    }
}

impl Opener for Client {
    fn open(&self, path: &Path) -> Opened {
        let asked = absolute(path).and_then(|path| self.ask(&Request::Open(path), None));
        let (file, objections) = match asked {
            Ok((
                Answer::Opened {
                    file: Ok(()),
                    objections,
                },
                Some(descriptor),
            )) => (Ok(File::from(descriptor)), objections),
            Ok((
                Answer::Opened {
                    file: Err(failure),
                    objections,
                },
                _,
            )) => (Err(failure.into()), objections),
            Ok(_) => (Err(senseless()), Vec::new()),
            Err(err) => (Err(err), Vec::new()),
        };
        Opened {
            file,
            objections: refusals(objections),
        }
    }

    fn without_links(&self, directory: &Path) -> io::Result<PathBuf> {
        match self.ask(&Request::WithoutLinks(absolute(directory)?), None)? {
            (Answer::Path(path), _) => path.map(Into::into).map_err(Into::into),
            _ => Err(senseless()),
        }
    }

    fn modules(&self, hook: &Path) -> Result<Modules, Unlisted> {
        let failed = |err| Unlisted {
            path: hook.to_owned(),
            why: Listing::Io(err),
        };
        let path = absolute(hook).map_err(failed)?;
        match self.ask(&Request::Modules(path), None).map_err(failed)? {
            (Answer::Modules(Ok((root, keys))), _) => Ok(Modules {
                root: root.into(),
                keys,
            }),
            (Answer::Modules(Err((path, Failure::TooMuch(what)))), _) => Err(Unlisted {
                path: path.into(),
                why: Listing::TooMuch(what),
            }),
            (Answer::Modules(Err((path, failure))), _) => Err(Unlisted {
                path: path.into(),
                why: Listing::Io(failure.into()),
            }),
            _ => Err(failed(senseless())),
        }
    }
}

/// The reader has another working directory.
fn absolute(path: &Path) -> io::Result<PathBytes> {
    Ok(std::path::absolute(path)?.as_path().into())
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the reader process is gone")
}

fn senseless() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the reader process's answer is invalid",
    )
}

/// What a reader tells of the files that it watches. Dropping it ends the watching.
#[derive(Debug)]
pub struct Watching {
    stream: tokio::net::UnixStream,
    inbox: Inbox,
}

impl Watching {
    /// Of what [`Client::watch`] gave. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The runtime cannot watch the socket.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: tokio::net::UnixStream::from_std(stream)?,
            inbox: Inbox::default(),
        })
    }

    /// The next thing; `None` once the reader watches no more.
    ///
    /// # Errors
    /// What the system said, or what came makes no sense.
    pub async fn next(&mut self) -> io::Result<Option<Told>> {
        match frame::next(&mut self.stream, &mut self.inbox, MAX).await {
            Err(FrameError::Closed) => Ok(None),
            other => Ok(Some(other?)),
        }
    }
}
