//! What the reader gives up: everything but opening files for reading, and watching directories.
//!
//! It runs only our own code: see `own_filter`.

use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope,
    make_bitflags, path_beneath_rules,
};
use seccompiler::{BackendError, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition};

use super::own_filter::{OwnFilter, rule};
use super::{Confinement, Notes, enforced, measure};

/// The system calls it makes in addition to those of every process of our own code, with any
/// arguments.
const MORE: &[libc::c_long] = &[
    // Files.
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    // Sockets that were passed to it.
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Events.
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// Confines the calling process, the reader, which must have only one thread.
pub(crate) fn confine_reader() -> Confinement {
    let mut notes = Notes::default();
    notes.note(measure::LANDLOCK, only_reading());
    notes.note(
        measure::SECCOMP,
        filter()
            .map_err(|err| err.to_string())
            .and_then(OwnFilter::install),
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

fn filter() -> Result<OwnFilter, BackendError> {
    // This holds even without Landlock: files can be read, but not created.
    let writes = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
    let filter =
        OwnFilter::new(&[MORE], &[])?.only(libc::SYS_openat, vec![rule(lacks(2, writes)?)?]);
    #[cfg(target_arch = "x86_64")]
    let filter = filter.only(libc::SYS_open, vec![rule(lacks(1, writes)?)?]);
    Ok(filter)
}

/// Allowed if this argument has none of these bits.
fn lacks(number: u8, bits: libc::c_int) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(
        number,
        Len::Dword,
        Op::MaskedEq(u64::from(bits.cast_unsigned())),
        0,
    )
}
