//! Files and kernel parameters. Blocking: for the helper, and for what the kernel answers at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::HostError;
use crate::effect::Outcome;

/// The largest file that hooks can read or write.
pub const FILE_LIMIT: usize = 1024 * 1024;

static TEMPORARY: AtomicU32 = AtomicU32::new(0);

fn failed(doing: &str, path: &Path, err: &io::Error) -> HostError {
    let said = err.raw_os_error().map_or_else(|| err.to_string(), |n| nix::errno::Errno::from_raw(n).desc().to_owned());
    HostError { message: format!("{doing} {}: {said}", path.display()), errno: err.raw_os_error() }
}

fn refused(message: String) -> HostError {
    HostError { message, errno: Some(libc::EINVAL) }
}

/// A whole file; `None` if there is none. Of its path, the last part may not be a symbolic link.
///
/// # Errors
/// [`HostError`] with the kernel's words, or because it is no regular file, or larger than [`FILE_LIMIT`].
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, HostError> {
    let failed = |err: &io::Error| failed("reading", path, err);
    // Without O_NONBLOCK a named pipe would hang us.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(failed(&err)),
    };
    if !file.metadata().map_err(|err| failed(&err))?.is_file() {
        return Err(refused(format!("reading {}: it is not a regular file", path.display())));
    }
    let limit = u64::try_from(FILE_LIMIT).unwrap_or(u64::MAX);
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content).map_err(|err| failed(&err))?;
    if content.len() > FILE_LIMIT {
        return Err(refused(format!("reading {}: it is larger than {FILE_LIMIT} bytes", path.display())));
    }
    Ok(Some(content))
}

/// Writes a file, all or nothing: a new one beside it, synced, then renamed. Mode and owner of an old one are
/// kept; a new one gets 0644.
///
/// # Errors
/// [`HostError`] with the kernel's words, or because `path` is a symbolic link or no regular file.
pub fn write(path: &Path, content: &[u8]) -> Result<Outcome, HostError> {
    let failed = |err: &io::Error| failed("writing", path, err);
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(refused(format!("writing {}: it has no directory", path.display())));
    };
    let old = match fs::symlink_metadata(path) {
        Ok(old) if !old.is_file() => return Err(refused(format!("writing {}: it is not a regular file", path.display()))),
        Ok(old) => Some(old),
        Err(err) if err.kind() == io::ErrorKind::NotFound => None,
        Err(err) => return Err(failed(&err)),
    };
    if old.is_some() && read(path)?.is_some_and(|there| there == content) {
        return Ok(Outcome::Unchanged);
    }
    let number = TEMPORARY.fetch_add(1, Ordering::Relaxed);
    let temporary = directory.join(format!(".{}.carpd-{}-{number}", name.to_string_lossy(), std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(&temporary).map_err(|err| failed(&err))?;
    let written = fill(&mut file, content, old.as_ref()).and_then(|()| fs::rename(&temporary, path));
    if let Err(err) = written {
        let _ = fs::remove_file(&temporary);
        return Err(failed(&err));
    }
    // So that the new name survives a power failure; some file systems cannot.
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
    Ok(Outcome::Changed)
}

fn fill(file: &mut File, content: &[u8], old: Option<&fs::Metadata>) -> io::Result<()> {
    file.write_all(content)?;
    if let Some(old) = old {
        fchown(&*file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(old.map_or(0o644, |old| old.mode() & 0o7777)))?;
    file.sync_all()
}

/// Removes a file; one that is absent is [`Outcome::Unchanged`].
///
/// # Errors
/// [`HostError`] with the kernel's words.
pub fn remove(path: &Path) -> Result<Outcome, HostError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(Outcome::Changed),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Outcome::Unchanged),
        Err(err) => Err(failed("removing", path, &err)),
    }
}

/// An absolute path without `..`.
///
/// # Errors
/// [`HostError`] that says what is wrong with it.
pub fn checked(path: &str) -> Result<&Path, HostError> {
    let path = Path::new(path);
    let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
    if path.is_absolute() && plain {
        Ok(path)
    } else {
        Err(refused(format!("{} is not an absolute path without ..", path.display())))
    }
}

/// Where a kernel parameter lives. As with sysctl(8), a dot in a name is written as a slash
/// (`net.ipv4.conf.eth0/100.forwarding`).
fn parameter(key: &str) -> Result<PathBuf, HostError> {
    let name_ok = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
    let swapped = |part: &str| part.replace('/', ".");
    let parts: Vec<String> = key.split('.').filter(|part| name_ok(part)).map(swapped).collect();
    if parts.len() < 2 || parts.len() != key.split('.').count() || parts.iter().any(|part| part == "." || part == "..") {
        return Err(refused(format!("{key:?} is not the name of a kernel parameter, as net.ipv4.ip_forward")));
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
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    // Some parameters can only be written.
    if read_parameter(key).is_ok_and(|there| words(&there) == words(value)) {
        return Ok(Outcome::Unchanged);
    }
    // One write: the kernel takes it as a whole.
    let written = OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()));
    written.map_err(|err| failed("setting", &path, &err))?;
    Ok(Outcome::Changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_stay_below_proc_sys() {
        assert_eq!(
            parameter("net.ipv4.conf.eth0/100.forwarding").unwrap(),
            Path::new("/proc/sys/net/ipv4/conf/eth0.100/forwarding")
        );
        for bad in ["", "net", "net..ipv4", "..", "net.//", "net./.x", "/etc.passwd x", "net.ipv4.\n"] {
            let path = parameter(bad);
            assert!(path.is_err(), "{bad:?} became {path:?}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        assert_eq!(write(&path, b"one").unwrap(), Outcome::Changed);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(write(&path, b"one").unwrap(), Outcome::Unchanged);
        assert_eq!(write(&path, b"two").unwrap(), Outcome::Changed);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(read(&path).unwrap().unwrap(), b"two");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left behind");
        assert_eq!(remove(&path).unwrap(), Outcome::Changed);
        assert_eq!(remove(&path).unwrap(), Outcome::Unchanged);
        assert_eq!(read(&path).unwrap(), None);
    }

    #[test]
    fn links_and_directories_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(write(&link, b"x").is_err());
        assert!(read(&link).is_err());
        assert!(read(directory.path()).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"kept");
    }
}
