//! Opens a path component by component, through descriptors, with rules for who may own each
//! component.
//!
//! The kernel would follow every symbolic link, whoever created it. Here each component is opened
//! with `O_PATH | O_NOFOLLOW` below the previous one and checked through that descriptor, and links
//! are read and followed by ourselves. So what was checked is what is used: no component can be
//! replaced between check and use.

mod access;
mod judge;
mod sources;
#[cfg(test)]
mod tests;
mod walk;

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

pub use access::{Access, Listing, Modules, Opened, Opener, Unlisted};
pub use judge::{Trust, Why};
pub use sources::{Snapshot, Sources, open};
/// Why root does not run this program: others could change it. `None` if they could not, as far as
/// can be seen.
#[must_use]
pub fn distrusted_by_root(program: &str) -> Option<Refusal> {
    let (opened, _) = open(Path::new(program), &Trust::root());
    opened.objections.into_iter().next()
}

pub use walk::LINKS_MAX;
use walk::{Links, Walk};

/// A part of a path that is not to be trusted, or that cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {why}", component.display())]
pub struct Refusal {
    /// Which part: the path up to it.
    pub component: PathBuf,
    /// What is wrong with it.
    pub why: Why,
}

impl Refusal {
    /// The command that mends it, if one does.
    #[must_use]
    pub fn mend(&self) -> Option<String> {
        self.why
            .mend()
            .map(|command| format!("{command} {}", quoted(&self.component)))
    }

    /// Is it only that there is no such file, or no directory on the way to it?
    #[must_use]
    pub const fn is_absence(&self) -> bool {
        matches!(self.why, Why::System(libc::ENOENT))
    }

    /// Is it something that the system would allow, and we do not?
    #[must_use]
    pub const fn is_distrust(&self) -> bool {
        !matches!(self.why, Why::System(_))
    }

    /// The system's error number, for those who tell it on.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        match self.why {
            Why::System(errno) => errno,
            Why::TooManyLinks => libc::ELOOP,
            _ => libc::EACCES,
        }
    }

    fn system(component: &Path, err: &io::Error) -> Self {
        Self {
            component: component.to_owned(),
            why: Why::System(err.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal.why {
            Why::System(errno) => Self::from_raw_os_error(errno),
            _ => Self::new(io::ErrorKind::PermissionDenied, refusal),
        }
    }
}

/// A path for a command line.
#[must_use]
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Where a path ends: a directory, and a name in it.
#[derive(Debug)]
pub struct Place {
    directory: File,
    name: OsString,
    entry: Option<File>,
    path: PathBuf,
    /// What is on the way that is not to be trusted; only of [`source`], others refuse it.
    pub objections: Vec<Refusal>,
}

/// The place of a file that a hook was granted. A link in the path is followed only if root (or
/// another trusted user) owns it and its directory, and no one else can write there. The file
/// itself must not be a link.
///
/// # Errors
/// [`Refusal`]: a part that is not to be followed, or that is not there. That the file itself is
/// absent is no error.
pub fn granted(path: &Path, trust: &Trust) -> Result<Place, Refusal> {
    let place = Walk::new(trust, Links::OfTrusted).go(path)?;
    place.refuse_foreign_names(trust)?;
    Ok(place)
}

/// The place of a file or directory that configures the daemon. Links are followed; what untrusted
/// users could write to, or replace, is in [`Place::objections`].
///
/// # Errors
/// [`Refusal`]: a part cannot be opened. That the last one is absent is no error.
pub fn source(path: &Path, trust: &Trust) -> Result<Place, Refusal> {
    Walk::new(trust, Links::Judged).go(path)
}

/// The place of a file that the daemon writes for its own use: no link is followed, whoever owns
/// it.
///
/// # Errors
/// [`Refusal`], as above.
pub fn own(path: &Path) -> Result<Place, Refusal> {
    Walk::new(&Trust::root(), Links::None).go(path)
}

/// Makes a directory of the daemon's own, and those above it, as far as they are not there. No link
/// is followed.
///
/// # Errors
/// What the system said; a part is a link, or no directory.
pub fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    let place = match (own(path), path.parent()) {
        (Err(refusal), Some(parent)) if refusal.is_absence() => {
            make_directory(parent, mode)?;
            own(path)?
        }
        (place, _) => place?,
    };
    match place.metadata()? {
        Some(there) if there.is_dir() => Ok(()),
        Some(_) => Err(io::ErrorKind::NotADirectory.into()),
        None => match mkdirat(
            &place.directory,
            place.name.as_os_str(),
            Mode::from_bits_truncate(mode),
        ) {
            // Somebody was faster.
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        },
    }
}

/// A directory that an operator named, without the links of root's on the way to it: what [`own`]
/// can go on from. What is not there yet stays as it was named.
///
/// # Errors
/// [`Refusal`]: a link of somebody else's.
pub fn without_links(path: &Path, trust: &Trust) -> Result<PathBuf, Refusal> {
    let mut missing = Vec::new();
    let mut there = path;
    loop {
        match Walk::new(trust, Links::OfTrustedToTheEnd).go(there) {
            Ok(place) if place.entry.is_some() => {
                return Ok(missing
                    .iter()
                    .rev()
                    .fold(place.path, |path, name| path.join(name)));
            }
            Err(refusal) if !refusal.is_absence() => return Err(refusal),
            Ok(_) | Err(_) => {}
        }
        let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else {
            return Ok(path.to_owned());
        };
        missing.push(name);
        there = parent;
    }
}

impl Place {
    /// The path without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory, for what is done to names in it.
    #[must_use]
    pub const fn directory(&self) -> &File {
        &self.directory
    }

    /// The name in the directory.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// What is there; `None` if nothing is.
    ///
    /// # Errors
    /// What the system said.
    pub fn metadata(&self) -> io::Result<Option<Metadata>> {
        self.entry.as_ref().map(File::metadata).transpose()
    }

    /// Is it a directory, and no link to one?
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.metadata()
            .is_ok_and(|there| there.is_some_and(|there| there.is_dir()))
    }

    /// Opens the regular file that was judged, for reading; `None` if there is none.
    ///
    /// # Errors
    /// What the system said; it is not a regular file; it was exchanged since it was judged.
    pub fn open(&self) -> io::Result<Option<File>> {
        let Some(there) = self.metadata()? else {
            return Ok(None);
        };
        if there.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::IsADirectory,
                "it is a directory",
            ));
        }
        if !there.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is not a regular file",
            ));
        }
        // It is a regular file; O_NONBLOCK is for one that is exchanged for a pipe now.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(
            &self.directory,
            self.name.as_os_str(),
            flags,
            Mode::empty(),
        )?);
        let opened = file.metadata()?;
        if (opened.dev(), opened.ino()) != (there.dev(), there.ino()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it was replaced while it was being opened",
            ));
        }
        Ok(Some(file))
    }

    /// Opens the file for reading and writing, and makes it, for the owner alone to write to, if it
    /// is not there.
    ///
    /// # Errors
    /// What the system said.
    pub fn create(&self, flags: OFlag, mode: u32) -> io::Result<File> {
        let flags =
            flags | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        Ok(openat(
            &self.directory,
            self.name.as_os_str(),
            flags,
            Mode::from_bits_truncate(mode),
        )
        .map(File::from)?)
    }

    /// Removes the name from the directory, whatever it is the name of by now, but for a directory.
    ///
    /// # Errors
    /// What the system said.
    pub fn remove(&self) -> io::Result<()> {
        Ok(unlinkat(
            &self.directory,
            self.name.as_os_str(),
            UnlinkatFlags::NoRemoveDir,
        )?)
    }

    /// Sets the mode of what has the name now, if that is what it should be. No link is followed:
    /// what was judged is what gets the mode.
    ///
    /// # Errors
    /// What the system said; it is something else.
    pub fn set_mode(&self, mode: u32, expected: fn(&Metadata) -> bool) -> io::Result<()> {
        let entry = walk::open(&self.directory, &self.name)?;
        if !expected(&entry.metadata()?) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "something else has its name",
            ));
        }
        // By a name that leads to the descriptor: it was opened without any right to the file.
        let path = format!("/proc/self/fd/{}", entry.as_raw_fd());
        std::fs::set_permissions(path, Permissions::from_mode(mode))
    }

    /// A file with a second name, in a directory where others make names, may be one that they
    /// could not open themselves.
    fn refuse_foreign_names(&self, trust: &Trust) -> Result<(), Refusal> {
        let failed = |err: io::Error| Refusal::system(&self.path, &err);
        let Some(there) = self
            .metadata()
            .map_err(failed)?
            .filter(|there| there.is_file() && there.nlink() > 1)
        else {
            return Ok(());
        };
        let directory = self.directory.metadata().map_err(failed)?;
        let by_its_owner_alone = trust
            .others_write(&self.directory, &directory, true)
            .is_none();
        if by_its_owner_alone && (trust.has_user(directory.uid()) || directory.uid() == there.uid())
        {
            return Ok(());
        }
        Err(Refusal {
            component: self.path.clone(),
            why: Why::ForeignName,
        })
    }
}
