//! What the helper gives up where it starts no program: everything but files, the host name, and a
//! stream to the system bus.
//!
//! Programs that it starts would inherit the filter, and they may need anything: so one that starts
//! some has none. It is our own code: what is not on the list fails with an error instead of killing
//! the process.

use std::collections::BTreeMap;

use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter};

use super::engine::{argument, install_own, rule, threads_alone};
use super::{ALLOWED, Confinement, Notes, READING, SOCKETS, measure, without};

/// What it calls beside [`ALLOWED`], [`SOCKETS`] and [`READING`], whatever the arguments.
const MORE: &[libc::c_long] = &[
    libc::SYS_sethostname,
    // Files, and all that is put back of one.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pwrite64,
    libc::SYS_umask,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_utimensat,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fsetxattr,
    // Threads and events.
    libc::SYS_get_robust_list,
    libc::SYS_pselect6,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    // What it is; the system bus asks.
    libc::SYS_getppid,
    libc::SYS_getgroups,
    libc::SYS_capget,
];

/// The older forms of some of them.
#[cfg(target_arch = "x86_64")]
const OLDER: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_mkdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_chmod,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_time,
    libc::SYS_gettimeofday,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[libc::SYS_gettimeofday];

/// What it asks of itself with prctl(2); nothing that would give it rights.
const PRCTL: [libc::c_int; 3] = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_CAPBSET_READ];

/// Confines the calling process, a helper that starts no program.
pub(crate) fn confine_helper() -> Confinement {
    let mut notes = Notes::default();
    notes.note(
        measure::SECCOMP,
        filter()
            .map_err(|err| err.to_string())
            .and_then(|filter| install_own(&filter)),
    );
    notes.0
}

fn filter() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<_, _> = ALLOWED
        .iter()
        .chain(SOCKETS)
        .chain(READING)
        .chain(MORE)
        .chain(OLDER)
        .map(|call| (*call, vec![]))
        .collect();
    // Memory, but none that could be executed.
    rules.insert(libc::SYS_mmap, vec![rule(without(libc::PROT_EXEC)?)?]);
    rules.insert(libc::SYS_mprotect, vec![rule(without(libc::PROT_EXEC)?)?]);
    rules.insert(libc::SYS_clone, vec![threads_alone()?]);
    // The system bus is on this machine.
    let local = rule(argument(0, libc::AF_UNIX)?)?;
    rules.insert(libc::SYS_socket, vec![local]);
    let prctl: Result<Vec<_>, _> = PRCTL
        .iter()
        .map(|option| rule(argument(0, *option)?))
        .collect();
    rules.insert(libc::SYS_prctl, prctl?);
    // What abort(3) does to its own process.
    rules.insert(
        libc::SYS_tgkill,
        vec![rule(argument(0, std::process::id().cast_signed())?)?],
    );
    rules.insert(libc::SYS_ioctl, super::engine::no_typing()?);
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(
        rules,
        refuse,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}
