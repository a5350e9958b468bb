//! One value in one file, replaced as a whole; and what makes a file ours to believe.
//!
//! A reader sees the old value or the new one, never half of one: the new one is written beside the
//! old, synced, and moved over it. What is read is believed only if nobody else could have written
//! it and its digest is right.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use sha2::{Digest as _, Sha256};

use super::MAGIC_LEN;
use crate::resolve;

/// Bytes of the digest behind the magic word.
const DIGEST_LEN: usize = 32;
/// Bits of a file's mode that let others write to it.
const OTHERS_WRITE: u32 = 0o022;

/// Why a file's content is not believed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct Refused {
    /// Which file or directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl Refused {
    fn new(path: &Path, why: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            why: why.into(),
        }
    }
}

/// Makes a directory that only we may look into, unless it is there; and sees that nobody else may
/// write to it.
///
/// # Errors
/// [`Refused`]: it cannot be made, or it is another user's, or others may write to it.
pub fn directory(path: &Path) -> Result<(), Refused> {
    let failed = |err: io::Error| Refused::new(path, err.to_string());
    resolve::make_directory(path, 0o700).map_err(failed)?;
    let there = fs::symlink_metadata(path).map_err(failed)?;
    if !there.is_dir() {
        return Err(Refused::new(path, "not a directory"));
    }
    trusted(path, &there)
}

fn trusted(path: &Path, there: &fs::Metadata) -> Result<(), Refused> {
    let own = nix::unistd::geteuid().as_raw();
    if there.uid() != own {
        return Err(Refused::new(
            path,
            format!("it belongs to user {}, not to {own}", there.uid()),
        ));
    }
    if there.mode() & OTHERS_WRITE != 0 {
        return Err(Refused::new(
            path,
            format!("others can write to it (mode {:o})", there.mode() & 0o7777),
        ));
    }
    Ok(())
}

/// The bytes of a regular file of ours that nobody else may write to; `None` if there is no such
/// file.
///
/// # Errors
/// [`Refused`], also if it is longer than `limit` bytes.
pub fn read_own(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Refused> {
    let failed = |err: io::Error| Refused::new(path, err.to_string());
    let place = match resolve::own(path) {
        Ok(place) => place,
        Err(refusal) if refusal.is_absence() => return Ok(None),
        Err(refusal) => return Err(failed(refusal.into())),
    };
    if place
        .metadata()
        .map_err(failed)?
        .is_some_and(|there| !there.is_file())
    {
        return Err(Refused::new(path, "not a regular file"));
    }
    let Some(file) = place.open().map_err(failed)? else {
        return Ok(None);
    };
    let there = file.metadata().map_err(failed)?;
    trusted(path, &there)?;
    bytes_of(path, file, limit).map(Some)
}

fn bytes_of(path: &Path, file: File, limit: u64) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    let read = file
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|err| Refused::new(path, err.to_string()))?;
    if u64::try_from(read).unwrap_or(u64::MAX) > limit {
        return Err(Refused::new(path, format!("longer than {limit} bytes")));
    }
    Ok(bytes)
}

/// The value in a file that [`write()`] wrote; `None` if there is none.
///
/// # Errors
/// [`Refused`]: it is not ours, too long, of another kind or version, or damaged.
pub fn read(path: &Path, magic: [u8; MAGIC_LEN], limit: u64) -> Result<Option<Vec<u8>>, Refused> {
    match read_own(path, with_head(limit))? {
        Some(bytes) => value(path, magic, &bytes).map(Some),
        None => Ok(None),
    }
}

/// As [`read()`], whoever the file belongs to: for those who show the value, and do not act upon it.
/// The daemon's engine, which wrote it, has a user of its own.
///
/// # Errors
/// [`Refused`]: it may not be read, is no regular file, or is too long, of another kind or version,
/// or damaged.
pub fn look(path: &Path, magic: [u8; MAGIC_LEN], limit: u64) -> Result<Option<Vec<u8>>, Refused> {
    let failed = |err: io::Error| Refused::new(path, err.to_string());
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let opened = File::options()
        .read(true)
        .custom_flags(flags.bits())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(failed(err)),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Refused::new(path, "not a regular file"));
    }
    let bytes = bytes_of(path, file, with_head(limit))?;
    value(path, magic, &bytes).map(Some)
}

fn with_head(limit: u64) -> u64 {
    let head = u64::try_from(MAGIC_LEN + DIGEST_LEN).unwrap_or(u64::MAX);
    limit.saturating_add(head)
}

fn value(path: &Path, magic: [u8; MAGIC_LEN], bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    let rest = bytes
        .strip_prefix(&magic)
        .ok_or_else(|| Refused::new(path, "of another kind or version"))?;
    let (digest, value) = rest
        .split_at_checked(DIGEST_LEN)
        .ok_or_else(|| Refused::new(path, "cut off"))?;
    if Sha256::digest(value).as_slice() != digest {
        return Err(Refused::new(path, "damaged: its digest is wrong"));
    }
    Ok(value.to_vec())
}

/// Puts a value into a file, all or nothing, and waits until it is on the medium.
///
/// # Errors
/// What the system said; then the file has its old value.
pub fn write(path: &Path, magic: [u8; MAGIC_LEN], value: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(MAGIC_LEN + DIGEST_LEN + value.len());
    bytes.extend(magic);
    bytes.extend(Sha256::digest(value));
    bytes.extend(value);
    replace(path, &bytes)
}

/// Replaces a file's content, all or nothing, and waits until it is on the medium.
///
/// # Errors
/// What the system said; then the file is as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // Hidden, so that no other value can have this name.
    let new = path.with_file_name([OsStr::new("."), name, OsStr::new(".new")].join(OsStr::new("")));
    // Left behind by a writer that died.
    _ = fs::remove_file(&new);
    let written = write_new(&new, bytes).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        _ = fs::remove_file(&new);
    }
    written?;
    path.parent()
        .map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = resolve::own(path)?.create(OFlag::O_WRONLY | OFlag::O_EXCL, 0o600)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const MAGIC: [u8; MAGIC_LEN] = *b"carpdT01";

    fn place() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("value");
        (root, path)
    }

    fn why(path: &Path) -> String {
        read(path, MAGIC, 100).unwrap_err().why
    }

    #[test]
    fn what_was_written_is_read_and_a_new_value_replaces_it() {
        let (root, path) = place();
        assert_eq!(read(&path, MAGIC, 100).unwrap(), None);
        for value in [b"one".as_slice(), b"", b"three"] {
            // A writer died here before.
            fs::write(root.path().join(".value.new"), "half").unwrap();
            write(&path, MAGIC, value).unwrap();
            assert_eq!(read(&path, MAGIC, 100).unwrap().as_deref(), Some(value));
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_changed_or_missing_byte_anywhere_is_refused() {
        let (_root, path) = place();
        write(&path, MAGIC, b"value").unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(&path, &bytes).unwrap();
            assert!(read(&path, MAGIC, 100).is_err(), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(read(&path, MAGIC, 100).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn what_others_could_have_written_is_refused() {
        let (root, path) = place();
        write(&path, MAGIC, b"value").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        assert!(
            why(&path).contains("others can write to it (mode 620)"),
            "{}",
            why(&path)
        );
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(read(&path, MAGIC, 100_000).is_err());
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(why(&path), "not a regular file");
        fs::remove_file(&path).unwrap();
        write(&path, MAGIC, &[0; 101]).unwrap();
        assert!(why(&path).contains("longer than"), "{}", why(&path));
        write(&path, *b"carpdT02", b"value").unwrap();
        assert_eq!(why(&path), "of another kind or version");
        if nix::unistd::geteuid().is_root() {
            write(&path, MAGIC, b"value").unwrap();
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            assert!(
                why(&path).contains("belongs to user 65534"),
                "{}",
                why(&path)
            );
        }
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(directory(root.path()).is_err());
    }

    #[test]
    fn a_new_directory_is_for_us_alone() {
        let (root, _) = place();
        let path = root.path().join("a/b");
        directory(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        directory(&path).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        assert!(directory(&root.path().join("file")).is_err());
    }
}
