//! What the engine gives up: it runs no programs, creates no processes, traces nothing, mounts
//! nothing, loads no code, and writes only below its own directories.
//!
//! It runs only our own code: see `own_filter`.

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
use seccompiler::{BackendError, SeccompRule};

use super::own_filter::{
    OLDER_WRITING, OwnFilter, WRITING, argument, low_bits, no_typing, one_of, rule,
};
use super::{Confinement, Notes, SOCKETS, enforced, measure};

/// The system calls it makes in addition to those of every process of our own code, with any
/// arguments.
const MORE: &[libc::c_long] = &[
    // Files.
    libc::SYS_fallocate,
    libc::SYS_flock,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_copy_file_range,
    libc::SYS_memfd_create,
    // Time, and signals to itself.
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
    // Its own identity.
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_getrusage,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getpgrp,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
];

/// The kinds of socket that it opens, in addition to datagrams between processes.
const FAMILIES: [libc::c_int; 4] = [
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
    libc::AF_PACKET,
];

/// The options of prctl(2) that it uses; none of them would give it privileges.
const PRCTL: [libc::c_int; 3] = [
    libc::PR_CAPBSET_READ,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_GET_DUMPABLE,
];

/// Confines the calling process, the engine, which must have only one thread. It can write only
/// below `writable`, which must exist; below `directories` it can create and remove directories,
/// but no files. It can read all of these and [`READABLE`].
///
/// `own_uid` is the result of [`change_user`].
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

/// Gives the calling process, which must have only one thread, this user and group for good, and no
/// other groups. It keeps its capabilities. `can_work` is called as that user, while the change can
/// still be reverted.
///
/// # Errors
/// Why it failed; the process then has its old user again.
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
    // With its old user it gets its capabilities back.
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

/// What it reads apart from its own directories. Files that the configuration names are opened for
/// it by the reader.
const READABLE: &[&str] = &[
    "/proc",
    "/sys",
    "/dev/urandom",
    "/dev/null",
    "/etc/localtime",
    "/usr/share/zoneinfo",
];

/// Network parameters are files. Everything else below `/proc/sys` belongs to root, and is left to
/// the helper.
const PARAMETERS: &str = "/proc/sys/net";

fn restrict_files(writable: &[PathBuf], directories: &[PathBuf]) -> Result<(), String> {
    let abi = ABI::V6;
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let set = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate});
    let keep = make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir
    });
    let make = make_bitflags!(AccessFs::{ReadDir | MakeDir | RemoveDir});
    // Without the scope for abstract sockets: the system bus or the service manager may listen on
    // one.
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
    filter().map_err(|err| err.to_string())?.install()
}

fn filter() -> Result<OwnFilter, BackendError> {
    let mut sockets = one_of(0, &FAMILIES)?;
    // Over a stream to the system bus, or to another service that runs as root, it could have
    // anything executed. Datagrams are for the log and the service manager.
    sockets.push(SeccompRule::new(vec![
        argument(0, libc::AF_UNIX)?,
        low_bits(1, libc::SOCK_DGRAM)?,
    ])?);
    let own = std::process::id().cast_signed();
    // A thread may lower its own priority below that of the loop.
    let which = i32::try_from(libc::PRIO_PROCESS).unwrap_or_default();
    let own_thread = SeccompRule::new(vec![argument(0, which)?, argument(1, 0)?])?;
    // It may give up real-time priority. The keeper gives it back.
    let policy = libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK;
    let ordinary = SeccompRule::new(vec![argument(0, 0)?, argument(1, policy)?])?;
    let more = [SOCKETS, WRITING, OLDER_WRITING, MORE];
    Ok(OwnFilter::new(&more, &PRCTL)?
        .only(libc::SYS_socket, sockets)
        // It may check whether a process exists, but not end it.
        .only(libc::SYS_kill, vec![rule(argument(1, 0)?)?])
        .only(libc::SYS_setpriority, vec![own_thread])
        .only(libc::SYS_sched_setscheduler, vec![ordinary])
        // Only its own limits.
        .only(libc::SYS_prlimit64, one_of(0, &[0, own])?)
        .only(libc::SYS_ioctl, no_typing()?))
}
