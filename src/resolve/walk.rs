//! The way along a path.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::Mode;

use super::judge::{Trust, Why};
use super::{Place, Refusal};

/// Links on one path, at most: as the kernel has it.
pub const LINKS_MAX: usize = 40;
/// Directories on one path, at most: each is held open until the end.
const DEPTH_MAX: usize = 64;

/// Which links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// None.
    None,
    /// Those of who is trusted, but not as the last part.
    OfTrusted,
    /// Those of who is trusted.
    OfTrustedToTheEnd,
    /// All. Every part is judged, and what is wrong is noted.
    Judged,
}

/// A directory on the way.
struct Directory {
    file: File,
    there: Metadata,
    path: PathBuf,
}

pub(super) struct Walk<'a> {
    trust: &'a Trust,
    links: Links,
    /// From `/` to where we are. `..` goes back to where we came from, wherever that was moved to
    /// since.
    way: Vec<Directory>,
    /// What is still to go, the next one last.
    ahead: Vec<OsString>,
    followed: usize,
    objections: Vec<Refusal>,
}

impl<'a> Walk<'a> {
    pub(super) const fn new(trust: &'a Trust, links: Links) -> Self {
        Self {
            trust,
            links,
            way: Vec::new(),
            ahead: Vec::new(),
            followed: 0,
            objections: Vec::new(),
        }
    }

    pub(super) fn go(mut self, path: &Path) -> Result<Place, Refusal> {
        let failed = |err: io::Error| Refusal::system(path, &err);
        let path = std::path::absolute(path).map_err(failed)?;
        self.begin()?;
        self.push(&path);
        loop {
            let Some(name) = self.ahead.pop() else {
                return self.end_at_directory();
            };
            if name.as_bytes() == b".." {
                if self.way.len() > 1 {
                    self.way.pop();
                }
                continue;
            }
            if let Some(place) = self.step(name)? {
                return Ok(place);
            }
        }
    }

    fn begin(&mut self) -> Result<(), Refusal> {
        let path = Path::new("/");
        let file = open(AT_FDCWD, path.as_os_str()).map_err(|err| Refusal::system(path, &err))?;
        self.enter(file, path.to_owned())
    }

    fn push(&mut self, path: &Path) {
        self.ahead
            .extend(path.components().rev().filter_map(|part| match part {
                Component::Normal(name) => Some(name.to_owned()),
                Component::ParentDir => Some("..".into()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
            }));
    }

    /// Where we are. There always is `/`.
    fn here(&self) -> Result<&Directory, Refusal> {
        self.way.last().ok_or_else(|| Refusal {
            component: "/".into(),
            why: Why::System(libc::ENOENT),
        })
    }

    /// The next part; the place if it was the last.
    fn step(&mut self, name: OsString) -> Result<Option<Place>, Refusal> {
        let here = self.here()?;
        let path = here.path.join(&name);
        let failed = |err: io::Error| Refusal::system(&path, &err);
        let entry = match open(&here.file, &name) {
            Ok(entry) => entry,
            Err(err) if err.kind() == io::ErrorKind::NotFound && self.ahead.is_empty() => {
                return self.end(name, None, path).map(Some);
            }
            Err(err) => return Err(failed(err)),
        };
        let there = entry.metadata().map_err(failed)?;
        if there.is_symlink() {
            self.follow(&entry, &there, path)?;
            return Ok(None);
        }
        if self.ahead.is_empty() {
            self.object(&entry, &there, &path);
            return self.end(name, Some(entry), path).map(Some);
        }
        if !there.is_dir() {
            return Err(Refusal {
                component: path,
                why: Why::System(libc::ENOTDIR),
            });
        }
        self.enter(entry, path)?;
        Ok(None)
    }

    fn enter(&mut self, file: File, path: PathBuf) -> Result<(), Refusal> {
        let there = file
            .metadata()
            .map_err(|err| Refusal::system(&path, &err))?;
        if self.way.len() >= DEPTH_MAX {
            return Err(Refusal {
                component: path,
                why: Why::TooDeep,
            });
        }
        self.object(&file, &there, &path);
        self.way.push(Directory { file, there, path });
        Ok(())
    }

    fn object(&mut self, file: &File, there: &Metadata, path: &Path) {
        if self.links == Links::Judged
            && let Some(why) = self.trust.objection(file, there)
        {
            self.objections.push(Refusal {
                component: path.to_owned(),
                why,
            });
        }
    }

    fn follow(&mut self, link: &File, there: &Metadata, path: PathBuf) -> Result<(), Refusal> {
        self.followed += 1;
        if self.followed > LINKS_MAX {
            return Err(Refusal {
                component: path,
                why: Why::TooManyLinks,
            });
        }
        let last = self.ahead.is_empty();
        match self.links {
            Links::None => {
                return Err(Refusal {
                    component: path,
                    why: Why::Link,
                });
            }
            Links::OfTrusted if last => {
                return Err(Refusal {
                    component: path,
                    why: Why::Link,
                });
            }
            Links::OfTrusted | Links::OfTrustedToTheEnd => {
                self.refuse_foreign_link(there, &path)?;
            }
            Links::Judged if !self.trust.has_user(there.uid()) => {
                self.objections.push(Refusal {
                    component: path.clone(),
                    why: Why::LinkOf(there.uid()),
                });
            }
            Links::Judged => {}
        }
        // With an empty name, of the link that was judged.
        let target = readlinkat(link, "").map_err(|err| Refusal::system(&path, &err.into()))?;
        let target = Path::new(&target);
        if target.is_absolute() {
            self.way.truncate(1);
        }
        self.push(target);
        Ok(())
    }

    fn refuse_foreign_link(&self, there: &Metadata, path: &Path) -> Result<(), Refusal> {
        let refusal = |why| {
            Err(Refusal {
                component: path.to_owned(),
                why,
            })
        };
        if !self.trust.has_user(there.uid()) {
            return refusal(Why::LinkOf(there.uid()));
        }
        let here = self.here()?;
        if self.trust.objection(&here.file, &here.there).is_some() {
            return refusal(Why::LinkAmongOthers);
        }
        Ok(())
    }

    /// The path ended in `..`, or in a link to `/`.
    fn end_at_directory(&mut self) -> Result<Place, Refusal> {
        let Some(Directory { file, path, .. }) = self.way.pop() else {
            return Err(Refusal {
                component: "/".into(),
                why: Why::System(libc::ENOENT),
            });
        };
        let name = path.file_name().unwrap_or(".".as_ref()).to_owned();
        if self.way.is_empty() {
            let again = file
                .try_clone()
                .map_err(|err| Refusal::system(&path, &err))?;
            return Ok(Place {
                directory: again,
                name,
                entry: Some(file),
                path,
                objections: std::mem::take(&mut self.objections),
            });
        }
        self.end(name, Some(file), path)
    }

    fn end(
        &mut self,
        name: OsString,
        entry: Option<File>,
        path: PathBuf,
    ) -> Result<Place, Refusal> {
        match self.way.pop() {
            Some(Directory {
                file: directory, ..
            }) => Ok(Place {
                directory,
                name,
                entry,
                path,
                objections: std::mem::take(&mut self.objections),
            }),
            None => Err(Refusal {
                component: path,
                why: Why::System(libc::ENOENT),
            }),
        }
    }
}

pub(super) fn open(below: impl std::os::fd::AsFd, name: &std::ffi::OsStr) -> io::Result<File> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(below, name, flags, Mode::empty()).map(File::from)?)
}
