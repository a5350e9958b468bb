//! The reader's own process.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::sync::mpsc;

use super::names::{Names, Right};
use super::watch;
use super::wire::{Answer, Failure, PathBytes, Request, objections, receive, send};
use crate::hooks::artifact::source;
use crate::host::kernel::{memory, privilege};
use crate::resolve::{self, Listing, Modules, Opened, Trust, Unlisted};

/// The reader: serves the socket that is its standard input until the other end closes it. `names`
/// reads what it may open, once it has given up all else.
#[must_use]
pub fn main(names: impl FnOnce() -> Names) -> ExitCode {
    match serve(names) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            tracing::error!(%err, "The reader process stopped");
            ExitCode::FAILURE
        }
    }
}

fn serve(names: impl FnOnce() -> Names) -> io::Result<()> {
    let confinement = privilege::confine_reader().map_err(|err| io::Error::other(err.message))?;
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut desk = RequestHandler {
        names: names(),
        trust: Trust::of_process(),
        refused: 0,
        watcher: None,
    };
    // What reading the configuration took.
    memory::give_back();
    send(&stream, &Answer::Hello { confinement }, None)?;
    while let Some((request, descriptor)) = receive(&stream)? {
        let (answer, file) = desk.answer(request, descriptor);
        send(&stream, &answer, file.as_ref().map(|file| file.as_fd()))?;
    }
    Ok(())
}

/// What is watched, and where changes are told.
type Watch = (Vec<PathBuf>, UnixStream);

struct RequestHandler {
    names: Names,
    trust: Trust,
    refused: u64,
    /// There once something is to be watched.
    watcher: Option<mpsc::UnboundedSender<Watch>>,
}

impl RequestHandler {
    fn answer(
        &mut self,
        request: Request,
        descriptor: Option<OwnedFd>,
    ) -> (Answer, Option<OwnedFd>) {
        match request {
            Request::Open(path) => self.open(&PathBuf::from(path)),
            Request::WithoutLinks(path) => {
                (Answer::Path(self.without_links(&PathBuf::from(path))), None)
            }
            Request::Modules(path) => (Answer::Modules(self.modules(&PathBuf::from(path))), None),
            Request::Watch(files) => {
                let files = files.into_iter().map(PathBuf::from).collect();
                (Answer::Watches(self.watch(files, descriptor)), None)
            }
        }
    }

    fn open(&mut self, path: &Path) -> (Answer, Option<OwnedFd>) {
        let refused = |failure| {
            (
                Answer::Opened {
                    file: Err(failure),
                    objections: Vec::new(),
                },
                None,
            )
        };
        let Some(right) = self.names.right(path) else {
            return refused(self.refuse(path));
        };
        let (
            Opened {
                file,
                objections: found,
            },
            real,
        ) = resolve::open(path, &self.trust);
        // Judged by where it was found, whatever was exchanged since it was looked at.
        if let (Right::Below(root), Ok(_)) = (&right, &file)
            && !real.starts_with(root)
        {
            return refused(self.refuse(path));
        }
        // Checked here as well: a compromised engine does not follow any rules.
        let file = match (self.names.copy(path), self.names.refusal(&found), file) {
            (_, Some(refusal), Ok(_)) => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("others could change this file: {refusal}"),
            )),
            (Some(copy), None, _) => copy,
            (_, _, file) => file,
        };
        let (file, descriptor) = match file {
            Ok(file) => (Ok(()), Some(OwnedFd::from(file))),
            Err(err) => (Err(err.into()), None),
        };
        (
            Answer::Opened {
                file,
                objections: objections(found),
            },
            descriptor,
        )
    }

    fn without_links(&mut self, directory: &Path) -> Result<PathBytes, Failure> {
        if !self.names.is_home(directory) {
            return Err(self.refuse(directory));
        }
        Ok(std::fs::canonicalize(directory)?.as_path().into())
    }

    fn modules(&mut self, hook: &Path) -> Result<(PathBytes, Vec<String>), (PathBytes, Failure)> {
        if !self.names.has_hook(hook) {
            return Err((hook.into(), self.refuse(hook)));
        }
        match source::modules(hook) {
            Ok(Modules { root, keys }) => Ok((root.as_path().into(), keys)),
            Err(Unlisted {
                path,
                why: Listing::Io(err),
            }) => Err((path.as_path().into(), err.into())),
            Err(Unlisted {
                path,
                why: Listing::TooMuch(what),
            }) => Err((path.as_path().into(), Failure::TooMuch(what))),
        }
    }

    /// From now on these, and no others.
    fn watch(&mut self, files: Vec<PathBuf>, to: Option<OwnedFd>) -> Result<(), Failure> {
        if let Some(other) = files.iter().find(|file| !self.names.has_hook(file)) {
            return Err(self.refuse(&other.clone()));
        }
        let to = UnixStream::from(to.ok_or(Failure::System(libc::EBADF))?);
        let watcher = match &self.watcher {
            Some(watcher) => watcher,
            None => self.watcher.insert(watch::start()?),
        };
        watcher
            .send((files, to))
            .map_err(|_| Failure::System(libc::EPIPE))
    }

    fn refuse(&mut self, path: &Path) -> Failure {
        self.refused += 1;
        Failure::Refused {
            path: path.into(),
            count: self.refused,
        }
    }
}
