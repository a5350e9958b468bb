//! The kernel's host name. `/etc/hostname` is never touched.

use nix::errno::Errno;
use nix::unistd::{gethostname, sethostname};

use crate::effect::Outcome;
use crate::host::HostError;

/// The longest name that Linux accepts (`__NEW_UTS_LEN`).
const LONGEST: usize = 64;

/// The host name of this UTS namespace.
///
/// # Errors
/// [`HostError`] with the kernel's words.
pub fn current() -> Result<String, HostError> {
    let name = gethostname().map_err(|errno| failed("reading the host name", errno))?;
    Ok(name.to_string_lossy().into_owned())
}

/// Sets it; needs CAP_SYS_ADMIN.
///
/// # Errors
/// [`HostError`] with the kernel's words, or because no host can be called so.
pub fn set(name: &str) -> Result<Outcome, HostError> {
    let usable = (1..=LONGEST).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if !usable {
        let message = format!(
            "{name:?} is not a host name: 1 to {LONGEST} letters, digits, '-', '.' and '_'"
        );
        return Err(HostError::errno(message, libc::EINVAL));
    }
    if current()? == name {
        return Ok(Outcome::Unchanged);
    }
    sethostname(name)
        .map_err(|errno| failed(&format!("setting the host name to {name}"), errno))?;
    Ok(Outcome::Changed)
}

fn failed(doing: &str, errno: Errno) -> HostError {
    let hint = if errno == Errno::EPERM {
        " (needs CAP_SYS_ADMIN)"
    } else {
        ""
    };
    HostError::errno(format!("{doing}: {}{hint}", errno.desc()), errno as i32)
}
