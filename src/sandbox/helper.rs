//! What a helper gives up that starts no programs: everything but files, the host name, and a
//! stream to the system bus.
//!
//! Programs that it starts would inherit the filter, and they may need anything, so a helper that
//! starts programs has none. It runs only our own code: see `own_filter`.

use seccompiler::BackendError;

use super::own_filter::{OLDER_WRITING, OwnFilter, WRITING, argument, no_typing, rule};
use super::{Confinement, Notes, SOCKETS, measure};

/// The system calls it makes in addition to those of every process of our own code, with any
/// arguments.
const MORE: &[libc::c_long] = &[
    libc::SYS_sethostname,
    // Everything about a file that is restored.
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fsetxattr,
];

/// Confines the calling process, a helper that starts no programs.
pub(crate) fn confine_helper() -> Confinement {
    let mut notes = Notes::default();
    notes.note(
        measure::SECCOMP,
        filter()
            .map_err(|err| err.to_string())
            .and_then(OwnFilter::install),
    );
    notes.0
}

fn filter() -> Result<OwnFilter, BackendError> {
    let more = [SOCKETS, WRITING, OLDER_WRITING, MORE];
    // The system bus is on this machine.
    let local = rule(argument(0, libc::AF_UNIX)?)?;
    Ok(OwnFilter::new(&more, &[libc::PR_CAPBSET_READ])?
        .only(libc::SYS_socket, vec![local])
        .only(libc::SYS_ioctl, no_typing()?))
}
