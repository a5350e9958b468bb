//! What the reader gives up: everything but opening files to read them, and watching directories.
//!
//! It is our own code: what is not on the list fails with an error instead of killing the process.

use std::collections::BTreeMap;

use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope,
    make_bitflags, path_beneath_rules,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op,
    SeccompCondition, SeccompFilter,
};

use super::engine::{argument, install_own, rule, threads_alone};
use super::{ALLOWED, Confinement, Notes, READING, enforced, measure, without};

/// What it calls beside [`ALLOWED`] and [`READING`], whatever the arguments.
const MORE: &[libc::c_long] = &[
    // Files.
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    // Sockets that it was handed.
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Events.
    libc::SYS_ppoll,
];

/// The older forms of some of them.
#[cfg(target_arch = "x86_64")]
const OLDER: &[libc::c_long] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_poll,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_gettimeofday,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[libc::SYS_gettimeofday];

/// What it asks of itself with prctl(2).
const PRCTL: [libc::c_int; 2] = [libc::PR_SET_NAME, libc::PR_GET_NAME];

/// Confines the calling process, the reader, which must have one thread.
pub(crate) fn confine_reader() -> Confinement {
    let mut notes = Notes::default();
    notes.note(measure::LANDLOCK, only_reading());
    notes.note(
        measure::SECCOMP,
        filter()
            .map_err(|err| err.to_string())
            .and_then(|filter| install_own(&filter)),
    );
    notes.0
}

fn only_reading() -> Result<(), String> {
    let abi = ABI::V6;
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(["/"], read)))
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|err| err.to_string())?;
    enforced(&status.ruleset)
}

fn filter() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<_, _> = ALLOWED
        .iter()
        .chain(READING)
        .chain(MORE)
        .chain(OLDER)
        .map(|call| (*call, vec![]))
        .collect();
    // Memory, but none that could be executed.
    rules.insert(libc::SYS_mmap, vec![rule(without(libc::PROT_EXEC)?)?]);
    rules.insert(libc::SYS_mprotect, vec![rule(without(libc::PROT_EXEC)?)?]);
    rules.insert(libc::SYS_clone, vec![threads_alone()?]);
    // Also where there is no Landlock: files to read, and none to make.
    let writes = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
    rules.insert(libc::SYS_openat, vec![rule(lacks(2, writes)?)?]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![rule(lacks(1, writes)?)?]);
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
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(
        rules,
        refuse,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}

/// This argument has none of these bits.
fn lacks(number: u8, bits: libc::c_int) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(
        number,
        Len::Dword,
        Op::MaskedEq(u64::from(bits.cast_unsigned())),
        0,
    )
}
