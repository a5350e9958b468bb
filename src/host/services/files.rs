//! Files and kernel parameters. Blocking: for the helper, and for what the kernel answers at once.

mod attributes;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, unlinkat};

use self::attributes::Attributes;
use crate::effect::{FoundFile, Outcome};
use crate::host::HostError;
use crate::resolve::{self, Place, Trust};

/// The largest file that hooks can read or write.
pub const FILE_LIMIT: usize = 1024 * 1024;

/// Of a mode, what can be changed.
const MODE_BITS: u32 = 0o7777;

static TEMPORARY: AtomicU32 = AtomicU32::new(0);

fn failed(doing: &str, path: &Path, err: &io::Error) -> HostError {
    let said = err.raw_os_error().map_or_else(
        || err.to_string(),
        |n| nix::errno::Errno::from_raw(n).desc().to_owned(),
    );
    HostError::with(
        format!("{doing} {}: {said}", path.display()),
        err.raw_os_error(),
    )
}

fn refused(message: String) -> HostError {
    HostError::errno(message, libc::EINVAL)
}

/// The place that a hook was granted: judged, and held open.
fn place(doing: &str, path: &Path) -> Result<Place, HostError> {
    resolve::granted(path, &Trust::of_process()).map_err(|refusal| {
        let errno = Some(refusal.errno());
        // What is wrong with the file itself need not name it twice.
        let message = if refusal.component == path {
            refusal.why.to_string()
        } else {
            refusal.to_string()
        };
        HostError::with(format!("{doing} {}: {message}", path.display()), errno)
    })
}

/// As [`place`]; `None` if the directory is not there.
fn place_if_there(doing: &str, path: &Path) -> Result<Option<Place>, HostError> {
    match place(doing, path) {
        Err(HostError {
            errno: Some(libc::ENOENT),
            ..
        }) => Ok(None),
        other => other.map(Some),
    }
}

/// A whole file; `None` if there is none. Of a symbolic link on the way only root's are followed:
/// see [`resolve::granted`].
///
/// # Errors
/// [`HostError`] with the kernel's words, or because it is no regular file, or larger than
/// [`FILE_LIMIT`].
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, HostError> {
    let Some(place) = place_if_there("reading", path)? else {
        return Ok(None);
    };
    let file = place.open().map_err(|err| failed("reading", path, &err))?;
    file.map(|file| content(path, &file)).transpose()
}

fn content(path: &Path, file: &File) -> Result<Vec<u8>, HostError> {
    let limit = u64::try_from(FILE_LIMIT).unwrap_or(u64::MAX);
    let mut content = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut content)
        .map_err(|err| failed("reading", path, &err))?;
    if content.len() > FILE_LIMIT {
        return Err(refused(format!(
            "reading {}: it is larger than {FILE_LIMIT} bytes",
            path.display()
        )));
    }
    Ok(content)
}

/// A whole file with what it takes to put it back; `None` if there is none.
///
/// # Errors
/// As [`read`].
pub fn find(path: &Path) -> Result<Option<FoundFile>, HostError> {
    let Some(place) = place_if_there("reading", path)? else {
        return Ok(None);
    };
    let failed = |err: io::Error| failed("reading", path, &err);
    let Some(file) = place.open().map_err(failed)? else {
        return Ok(None);
    };
    // Before it is read: that changes the one time.
    let there = file.metadata().map_err(failed)?;
    Ok(Some(FoundFile {
        content: content(path, &file)?,
        mode: there.mode() & MODE_BITS,
        uid: there.uid(),
        gid: there.gid(),
        modified: (there.mtime(), there.mtime_nsec()),
        accessed: (there.atime(), there.atime_nsec()),
        attributes: attributes::of(&file).map_err(failed)?,
    }))
}

/// Writes a file, all or nothing: a new one beside it, synced, then renamed. Mode, owner and
/// attributes of an old one are kept; a new one gets 0644.
///
/// # Errors
/// [`HostError`] with the kernel's words, or because `path` is a symbolic link or no regular file.
pub fn write(path: &Path, content: &[u8]) -> Result<Outcome, HostError> {
    let failed = |err: io::Error| failed("writing", path, &err);
    let place = place("writing", path)?;
    let old = place.open().map_err(failed)?;
    let mut form = Form::NEW;
    if let Some(old) = &old {
        let there = old.metadata().map_err(failed)?;
        if there.len() == content.len() as u64 && self::content(path, old)? == content {
            return Ok(Outcome::Unchanged);
        }
        let owner = Some((there.uid(), there.gid()));
        form = Form {
            mode: there.mode() & MODE_BITS,
            owner,
            times: None,
            attributes: attributes::of(old).map_err(failed)?,
        };
    }
    replace(&place, content, &form).map_err(failed)?;
    Ok(Outcome::Changed)
}

/// Puts a file back as it was found, all or nothing.
///
/// # Errors
/// As [`write()`].
pub fn restore(path: &Path, found: &FoundFile) -> Result<Outcome, HostError> {
    if find(path)?.is_some_and(|there| there.is_same(found)) {
        return Ok(Outcome::Unchanged);
    }
    let time = |(seconds, nanoseconds): (i64, i64)| TimeSpec::new(seconds, nanoseconds);
    let form = Form {
        mode: found.mode,
        owner: Some((found.uid, found.gid)),
        times: Some((time(found.accessed), time(found.modified))),
        attributes: found.attributes.clone(),
    };
    replace(&place("writing", path)?, &found.content, &form)
        .map_err(|err| failed("writing", path, &err))?;
    Ok(Outcome::Changed)
}

/// What a file has beside its content.
struct Form {
    mode: u32,
    owner: Option<(u32, u32)>,
    /// Read, and changed.
    times: Option<(TimeSpec, TimeSpec)>,
    attributes: Attributes,
}

impl Form {
    const NEW: Self = Self {
        mode: 0o644,
        owner: None,
        times: None,
        attributes: Vec::new(),
    };
}

/// Everything happens below the directory that was judged, wherever that is moved to.
fn replace(place: &Place, content: &[u8], form: &Form) -> io::Result<()> {
    let number = TEMPORARY.fetch_add(1, Ordering::Relaxed);
    let temporary = format!(
        ".{}.carpd-{}-{number}",
        place.name().to_string_lossy(),
        std::process::id()
    );
    let (directory, temporary) = (place.directory(), temporary.as_str());
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(
        directory,
        temporary,
        flags,
        Mode::S_IRUSR | Mode::S_IWUSR,
    )?);
    let written = fill(&mut file, content, form)
        .and_then(|()| Ok(renameat(directory, temporary, directory, place.name())?));
    if let Err(err) = written {
        let _ = unlinkat(directory, temporary, UnlinkatFlags::NoRemoveDir);
        return Err(err);
    }
    // So that the new name survives a power failure; some file systems cannot.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let _ = openat(directory, ".", flags, Mode::empty())
        .map_err(io::Error::from)
        .and_then(|all| File::from(all).sync_all());
    Ok(())
}

/// The owner first: a change of owner takes set-user-ID and capabilities away.
fn fill(file: &mut File, content: &[u8], form: &Form) -> io::Result<()> {
    file.write_all(content)?;
    if let Some((uid, gid)) = form.owner {
        fchown(&*file, Some(uid), Some(gid))?;
    }
    attributes::set(file, &form.attributes)?;
    file.set_permissions(fs::Permissions::from_mode(form.mode))?;
    if let Some((accessed, modified)) = &form.times {
        futimens(&*file, accessed, modified)?;
    }
    file.sync_all()
}

/// Removes a file; one that is absent is [`Outcome::Unchanged`].
///
/// # Errors
/// [`HostError`] with the kernel's words.
pub fn remove(path: &Path) -> Result<Outcome, HostError> {
    let Some(place) = place_if_there("removing", path)? else {
        return Ok(Outcome::Unchanged);
    };
    match unlinkat(place.directory(), place.name(), UnlinkatFlags::NoRemoveDir) {
        Ok(()) => Ok(Outcome::Changed),
        Err(Errno::ENOENT) => Ok(Outcome::Unchanged),
        Err(errno) => Err(failed("removing", path, &errno.into())),
    }
}

/// An absolute path without `..`.
///
/// # Errors
/// [`HostError`] that says what is wrong with it.
pub fn checked(path: &str) -> Result<&Path, HostError> {
    let path = Path::new(path);
    let plain = path
        .components()
        .all(|part| !matches!(part, std::path::Component::ParentDir));
    if path.is_absolute() && plain {
        Ok(path)
    } else {
        Err(refused(format!(
            "{} is not an absolute path without ..",
            path.display()
        )))
    }
}

/// Where a kernel parameter lives. As with sysctl(8), a dot in a name is written as a slash
/// (`net.ipv4.conf.eth0/100.forwarding`).
fn parameter(key: &str) -> Result<PathBuf, HostError> {
    let name_ok = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
    let swapped = |part: &str| part.replace('/', ".");
    let parts: Vec<String> = key
        .split('.')
        .filter(|part| name_ok(part))
        .map(swapped)
        .collect();
    if parts.len() < 2
        || parts.len() != key.split('.').count()
        || parts.iter().any(|part| part == "." || part == "..")
    {
        return Err(refused(format!(
            "{key:?} is not the name of a kernel parameter, as net.ipv4.ip_forward"
        )));
    }
    Ok(Path::new("/proc/sys").join(parts.join("/")))
}

/// Is it a parameter of the network, that the engine may set itself?
#[must_use]
pub fn is_network_parameter(key: &str) -> bool {
    key.starts_with("net.")
}

/// The value of a kernel parameter, without the end of line; blanks as the kernel prints them.
///
/// # Errors
/// [`HostError`] with the kernel's words.
pub fn read_parameter(key: &str) -> Result<String, HostError> {
    let path = parameter(key)?;
    let value = fs::read_to_string(&path).map_err(|err| failed("reading", &path, &err))?;
    Ok(value.trim_end_matches('\n').to_owned())
}

/// Sets a kernel parameter.
///
/// # Errors
/// [`HostError`] with the kernel's words.
pub fn write_parameter(key: &str, value: &str) -> Result<Outcome, HostError> {
    let path = parameter(key)?;
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // Some parameters can only be written.
    if read_parameter(key).is_ok_and(|there| words(&there) == words(value)) {
        return Ok(Outcome::Unchanged);
    }
    // One write: the kernel takes it as a whole.
    let written = OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()));
    written.map_err(|err| failed("setting", &path, &err))?;
    Ok(Outcome::Changed)
}

#[cfg(test)]
mod tests;
