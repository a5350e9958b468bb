//! What the engine gives up: it runs no program, makes no process, traces nobody, mounts nothing,
//! loads no code, and writes only below its own directories.
//!
//! It is our own code, so what is not on the list fails with an error instead of killing the
//! process. The list is of what the C library, the async runtime and the D-Bus client call (glibc
//! and musl, x86_64 and aarch64).

use std::collections::BTreeMap;
use std::path::PathBuf;

use caps::CapSet;
use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope,
    make_bitflags, path_beneath_rules,
};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{
    Gid, Uid, getegid, geteuid, getgroups, setegid, seteuid, setgroups, setresgid, setresuid,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op,
    SeccompCondition, SeccompFilter, SeccompRule,
};

use super::{ALLOWED, Confinement, Notes, READING, SOCKETS, enforced, install, measure, without};

/// What it calls beside [`ALLOWED`], [`SOCKETS`] and [`READING`], whatever the arguments.
const MORE: &[libc::c_long] = &[
    // Files.
    libc::SYS_pwrite64,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_umask,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_copy_file_range,
    libc::SYS_memfd_create,
    // Events, time and signals to itself.
    libc::SYS_pselect6,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_signalfd4,
    libc::SYS_pidfd_open,
    // Sockets, as a server.
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    // Threads; that it makes no process is seen to below.
    libc::SYS_get_robust_list,
    // What it is.
    libc::SYS_getppid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_capget,
    libc::SYS_getrusage,
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
    libc::SYS_rmdir,
    libc::SYS_rename,
    libc::SYS_chmod,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_time,
    libc::SYS_gettimeofday,
    libc::SYS_getpgrp,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[libc::SYS_gettimeofday];

/// The kinds of socket that it opens, beside datagrams between processes.
const FAMILIES: [libc::c_int; 4] = [
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
    libc::AF_PACKET,
];

/// What it asks of itself with prctl(2); nothing that would give it rights.
const PRCTL: [libc::c_int; 5] = [
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_CAPBSET_READ,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_GET_DUMPABLE,
];

/// Confines the calling process, the engine, which must have one thread. It writes only below
/// `writable`, which must exist; below `directories` it makes and removes directories, and no
/// files. It reads these and [`READABLE`].
///
/// `own_uid` is what came of [`change_user`].
pub(crate) fn confine_engine(
    writable: &[PathBuf],
    directories: &[PathBuf],
    own_uid: Result<(), String>,
) -> Confinement {
    let mut notes = Notes::default();
    notes.note(measure::UID, own_uid);
    notes.note(measure::LANDLOCK, restrict_files(writable, directories));
    notes.note(measure::SECCOMP, restrict_calls());
    notes.0
}

/// Gives the calling process, which must have one thread, this user and group, for ever, and no
/// other groups. It keeps its capabilities. `can_work` is asked as that user, while there is a way
/// back.
///
/// # Errors
/// Why not; then it is who it was.
pub(crate) fn change_user(
    id: u32,
    can_work: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    let (old_uid, old_gid) = (geteuid(), getegid());
    let failed = |what: &'static str| {
        move |errno: Errno| match errno {
            Errno::EINVAL => format!("this namespace has no user {id}"),
            _ => format!("{what}: {}", errno.desc()),
        }
    };
    let groups = getgroups().map_err(failed("getgroups"))?;
    setgroups(&[]).map_err(failed("setgroups"))?;
    let able = setegid(gid)
        .and_then(|()| seteuid(uid))
        .map_err(failed("seteuid"))
        .and_then(|()| can_work());
    // With its old user it has its capabilities again.
    seteuid(old_uid)
        .and_then(|()| setegid(old_gid))
        .map_err(failed("seteuid"))?;
    if let Err(why) = able {
        setgroups(&groups).map_err(failed("setgroups"))?;
        return Err(why);
    }
    let capabilities = caps::read(None, CapSet::Permitted).map_err(|err| err.to_string())?;
    prctl::set_keepcaps(true).map_err(failed("keeping capabilities"))?;
    setresgid(gid, gid, gid).map_err(failed("setresgid"))?;
    setresuid(uid, uid, uid).map_err(failed("setresuid"))?;
    caps::set(None, CapSet::Effective, &capabilities).map_err(|err| err.to_string())
}

/// What it reads beside its own directories. What the configuration names the reader opens for it.
const READABLE: &[&str] = &[
    "/proc",
    "/sys",
    "/dev/urandom",
    "/dev/null",
    "/etc/localtime",
    "/usr/share/zoneinfo",
];

/// Parameters of the network are files. What else is below `/proc/sys` belongs to root, and to the
/// helper.
const PARAMETERS: &str = "/proc/sys/net";

fn restrict_files(writable: &[PathBuf], directories: &[PathBuf]) -> Result<(), String> {
    let abi = ABI::V6;
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let set = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate});
    let keep = make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir
    });
    let make = make_bitflags!(AccessFs::{ReadDir | MakeDir | RemoveDir});
    // Not the scope of abstract sockets: the system bus, or the service manager, may listen on one.
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        .and_then(|rules| rules.scope(Scope::Signal))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(READABLE, read)))
        .and_then(|rules| rules.add_rules(path_beneath_rules([PARAMETERS], set)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(writable, keep)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(directories, make)))
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|err| err.to_string())?;
    enforced(&status.ruleset)
}

fn restrict_calls() -> Result<(), String> {
    install_own(&filter().map_err(|err| err.to_string())?)
}

/// Puts a filter for our own code in force, under which it makes threads and no processes:
/// [`threads_alone`].
pub(super) fn install_own(filter: &BpfProgram) -> Result<(), String> {
    let arch = std::env::consts::ARCH
        .try_into()
        .map_err(|err: BackendError| err.to_string())?;
    // Whether clone3 makes a thread or a process stands in memory, where no filter looks. The C
    // library then takes clone.
    let no_clone3 = SeccompFilter::new(
        [(libc::SYS_clone3, vec![])].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        arch,
    );
    let no_clone3: Result<BpfProgram, _> = no_clone3.and_then(TryInto::try_into);
    install(&no_clone3.map_err(|err| err.to_string())?)?;
    install(filter)
}

/// What clone(2) may make: a thread can have namespaces of its own, too.
pub(super) fn threads_alone() -> Result<SeccompRule, BackendError> {
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let namespaces = NAMESPACES
        .iter()
        .fold(0, |all, one| all | u64::from(one.cast_unsigned()));
    rule(SeccompCondition::new(
        0,
        Len::Qword,
        Op::MaskedEq(thread | namespaces),
        thread,
    )?)
}

/// Of clone(2): what would be made anew.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

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
    let mut sockets = one_of(0, &FAMILIES)?;
    // A stream to the system bus, or to whatever else serves root, could have it run anything.
    // Datagrams are for the log and the service manager.
    sockets.push(SeccompRule::new(vec![
        argument(0, libc::AF_UNIX)?,
        low_bits(1, libc::SOCK_DGRAM)?,
    ])?);
    rules.insert(libc::SYS_socket, sockets);
    rules.insert(libc::SYS_prctl, one_of(0, &PRCTL)?);
    // Asking whether a process is there, not ending it; and what abort(3) does to its own process.
    rules.insert(libc::SYS_kill, vec![rule(argument(1, 0)?)?]);
    let own = std::process::id().cast_signed();
    rules.insert(libc::SYS_tgkill, vec![rule(argument(0, own)?)?]);
    // A thread of its own, to stand back behind the loop.
    let which = i32::try_from(libc::PRIO_PROCESS).unwrap_or_default();
    let own_thread = [argument(0, which)?, argument(1, 0)?];
    rules.insert(
        libc::SYS_setpriority,
        vec![SeccompRule::new(own_thread.into())?],
    );
    // Its own limits alone.
    rules.insert(
        libc::SYS_prlimit64,
        vec![rule(argument(0, 0)?)?, rule(argument(0, own)?)?],
    );
    rules.insert(libc::SYS_ioctl, no_typing()?);
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(
        rules,
        refuse,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}

/// Of ioctl(2): typing into the terminal that it was started from would be running programs.
pub(super) fn no_typing() -> Result<Vec<SeccompRule>, BackendError> {
    let typing = SeccompCondition::new(1, Len::Dword, Op::Ne, u64::from(TIOCSTI))?;
    let console = SeccompCondition::new(1, Len::Dword, Op::Ne, u64::from(TIOCLINUX))?;
    Ok(vec![SeccompRule::new(vec![typing, console])?])
}

/// Types on a terminal.
const TIOCSTI: u32 = 0x5412;
/// Pastes on a console.
const TIOCLINUX: u32 = 0x541c;

pub(super) fn rule(condition: SeccompCondition) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![condition])
}

pub(super) fn argument(number: u8, value: libc::c_int) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(number, Len::Dword, Op::Eq, u64::from(value.cast_unsigned()))
}

/// The kind of a socket stands in four bits, beside flags.
fn low_bits(number: u8, value: libc::c_int) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(
        number,
        Len::Dword,
        Op::MaskedEq(0xf),
        u64::from(value.cast_unsigned()),
    )
}

fn one_of(number: u8, values: &[libc::c_int]) -> Result<Vec<SeccompRule>, BackendError> {
    values
        .iter()
        .map(|value| rule(argument(number, *value)?))
        .collect()
}
