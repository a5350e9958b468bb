//! What the engine gives up: it runs no program, makes no process, traces nobody, mounts nothing,
//! loads no code, and writes only below its own directories.
//!
//! It is our own code: see `own_filter`.

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

/// What it calls beside what every process of our own code does, whatever the arguments.
const MORE: &[libc::c_long] = &[
    // Files.
    libc::SYS_fallocate,
    libc::SYS_flock,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_copy_file_range,
    libc::SYS_memfd_create,
    // Time and signals to itself.
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
    // What it is.
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_getrusage,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getpgrp,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
];

/// The kinds of socket that it opens, beside datagrams between processes.
const FAMILIES: [libc::c_int; 4] = [
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
    libc::AF_PACKET,
];

/// What it asks of itself with prctl(2); nothing that would give it rights.
const PRCTL: [libc::c_int; 3] = [
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
    filter().map_err(|err| err.to_string())?.install()
}

fn filter() -> Result<OwnFilter, BackendError> {
    let mut sockets = one_of(0, &FAMILIES)?;
    // A stream to the system bus, or to whatever else serves root, could have it run anything.
    // Datagrams are for the log and the service manager.
    sockets.push(SeccompRule::new(vec![
        argument(0, libc::AF_UNIX)?,
        low_bits(1, libc::SOCK_DGRAM)?,
    ])?);
    let own = std::process::id().cast_signed();
    // A thread of its own, to stand back behind the loop.
    let which = i32::try_from(libc::PRIO_PROCESS).unwrap_or_default();
    let own_thread = SeccompRule::new(vec![argument(0, which)?, argument(1, 0)?])?;
    let more = [SOCKETS, WRITING, OLDER_WRITING, MORE];
    Ok(OwnFilter::new(&more, &PRCTL)?
        .only(libc::SYS_socket, sockets)
        // Asking whether a process is there, not ending it.
        .only(libc::SYS_kill, vec![rule(argument(1, 0)?)?])
        .only(libc::SYS_setpriority, vec![own_thread])
        // Its own limits alone.
        .only(libc::SYS_prlimit64, one_of(0, &[0, own])?)
        .only(libc::SYS_ioctl, no_typing()?))
}
