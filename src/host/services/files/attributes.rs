//! Extended attributes of a file: what programs noted on it, its access control list, its security
//! label.

use std::ffi::CStr;
use std::fs::File;
use std::io;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use rustix::io::Errno;
use tracing::warn;

/// Names and values, in the order of the names.
pub(super) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// All names and values of a file together, in bytes, at most: what does not fit cannot be put
/// back.
const BYTES_MAX: usize = 32 * 1024;

/// The attributes of a file; none where the file system has none.
///
/// # Errors
/// What the system said, or that there are too many.
pub(super) fn of(file: &File) -> io::Result<Attributes> {
    let mut names = vec![0; BYTES_MAX];
    match flistxattr(file, names.as_mut_slice()) {
        Ok(length) => names.truncate(length),
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(Errno::RANGE) => return Err(too_many()),
        Err(err) => return Err(err.into()),
    }
    let mut left = BYTES_MAX - names.len();
    let mut attributes = Vec::new();
    for name in names
        .split_inclusive(|byte| *byte == 0)
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
    {
        let mut value = vec![0; left];
        match fgetxattr(file, name, value.as_mut_slice()) {
            Ok(length) => value.truncate(length),
            // Gone meanwhile, or not for us to see, and so not for us to set.
            Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::NOTSUP) => continue,
            Err(Errno::RANGE) => return Err(too_many()),
            Err(err) => return Err(err.into()),
        }
        left = left.saturating_sub(value.len());
        attributes.push((name.to_bytes().to_vec(), value));
    }
    attributes.sort();
    Ok(attributes)
}

fn too_many() -> io::Error {
    io::Error::other(format!(
        "it has more than {BYTES_MAX} bytes of extended attributes"
    ))
}

/// Gives a file these attributes. What belongs to the security of the system may not be ours to
/// set: that is logged.
///
/// # Errors
/// What the system said of another one.
pub(super) fn set(file: &File, attributes: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
    for (name, value) in attributes {
        let Err(err) = fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) else {
            continue;
        };
        let name = String::from_utf8_lossy(name);
        if !name.starts_with("security.") && !name.starts_with("trusted.") {
            return Err(err.into());
        }
        // A new file has got its own label already; the same one need not be set.
        warn!(attribute = %name, %err, "Could not set an extended attribute of a file");
    }
    Ok(())
}
