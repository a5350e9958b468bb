//! The filter of a process that runs only our own code: engine, helper, reader.
//!
//! A call that is not on its list fails with an error instead of killing the process. The lists
//! contain what the C library, the async runtime and the D-Bus client call (glibc and musl, x86_64
//! and aarch64).

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op,
    SeccompCondition, SeccompFilter, SeccompRule,
};

use super::filter::{ALLOWED, install, without};

/// What such a process may call. It has threads but creates no processes, reads files and watches
/// directories, and has no memory that is both writable and executable.
pub(super) struct OwnFilter(BTreeMap<libc::c_long, Vec<SeccompRule>>);

impl OwnFilter {
    /// In addition to [`ALLOWED`], [`READING`] and [`OLDER`], allows these calls with any
    /// arguments, and these options of prctl(2) besides setting its own name.
    pub(super) fn new(
        more: &[&[libc::c_long]],
        prctl: &[libc::c_int],
    ) -> Result<Self, BackendError> {
        let more = more.iter().flat_map(|calls| calls.iter());
        let mut rules: BTreeMap<_, _> = ALLOWED
            .iter()
            .chain(READING)
            .chain(OLDER)
            .chain(more)
            .map(|call| (*call, vec![]))
            .collect();
        rules.insert(libc::SYS_mmap, vec![rule(without(libc::PROT_EXEC)?)?]);
        rules.insert(libc::SYS_mprotect, vec![rule(without(libc::PROT_EXEC)?)?]);
        rules.insert(libc::SYS_clone, vec![threads_alone()?]);
        let name = [libc::PR_SET_NAME, libc::PR_GET_NAME];
        rules.insert(libc::SYS_prctl, one_of(0, &[&name, prctl].concat())?);
        // What abort(3) does to its own process.
        let own = std::process::id().cast_signed();
        rules.insert(libc::SYS_tgkill, vec![rule(argument(0, own)?)?]);
        Ok(Self(rules))
    }

    /// Allows this call only if one of these rules matches.
    pub(super) fn only(mut self, call: libc::c_long, rules: Vec<SeccompRule>) -> Self {
        self.0.insert(call, rules);
        self
    }

    /// Installs it for all threads of the calling process.
    pub(super) fn install(self) -> Result<(), String> {
        install(&no_clone3().map_err(|err| err.to_string())?)?;
        let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let filter = program(self.0, refuse, SeccompAction::Allow);
        install(&filter.map_err(|err| err.to_string())?)
    }
}

/// Whether clone3 creates a thread or a process is stored in memory, which no filter can read.
/// Where there is no clone3, the C library uses clone.
fn no_clone3() -> Result<BpfProgram, BackendError> {
    let calls = [(libc::SYS_clone3, vec![])].into();
    let none = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    program(calls, SeccompAction::Allow, none)
}

fn program(
    rules: BTreeMap<libc::c_long, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    then: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    SeccompFilter::new(rules, otherwise, then, std::env::consts::ARCH.try_into()?)?.try_into()
}

/// Reading files, watching directories, waiting. With any arguments.
const READING: &[libc::c_long] = &[
    // Files.
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_lseek,
    libc::SYS_dup,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getxattr,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    // Sockets that were passed to it.
    libc::SYS_socketpair,
    // Events.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_rt_sigaction,
    // Threads; the rules below make sure that it creates no processes.
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_membarrier,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    // Its own identity.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// Older forms of some of these calls.
#[cfg(target_arch = "x86_64")]
const OLDER: &[libc::c_long] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_gettimeofday,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[libc::SYS_gettimeofday];

/// What a process needs to write files: both the engine and the helper do.
pub(super) const WRITING: &[libc::c_long] = &[
    libc::SYS_pwrite64,
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
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_pselect6,
    libc::SYS_get_robust_list,
    // Its identity, which the system bus asks for.
    libc::SYS_getppid,
    libc::SYS_getgroups,
    libc::SYS_capget,
];

/// Older forms of some of these calls.
#[cfg(target_arch = "x86_64")]
pub(super) const OLDER_WRITING: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_mkdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_chmod,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_select,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
pub(super) const OLDER_WRITING: &[libc::c_long] = &[];

/// What clone(2) may create: threads, without namespaces of their own.
fn threads_alone() -> Result<SeccompRule, BackendError> {
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

/// Flags of clone(2) for new namespaces.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Every request of ioctl(2) but those that simulate input: a process that can type into the
/// terminal it was started from can run programs.
pub(super) fn no_typing() -> Result<Vec<SeccompRule>, BackendError> {
    let typing = SeccompCondition::new(1, Len::Dword, Op::Ne, u64::from(TIOCSTI))?;
    let console = SeccompCondition::new(1, Len::Dword, Op::Ne, u64::from(TIOCLINUX))?;
    Ok(vec![SeccompRule::new(vec![typing, console])?])
}

/// Simulates typing on a terminal.
const TIOCSTI: u32 = 0x5412;
/// Pastes on a console.
const TIOCLINUX: u32 = 0x541c;

pub(super) fn rule(condition: SeccompCondition) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![condition])
}

pub(super) fn argument(number: u8, value: libc::c_int) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(number, Len::Dword, Op::Eq, u64::from(value.cast_unsigned()))
}

/// The kind of a socket takes four bits; flags take the rest.
pub(super) fn low_bits(number: u8, value: libc::c_int) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(
        number,
        Len::Dword,
        Op::MaskedEq(0xf),
        u64::from(value.cast_unsigned()),
    )
}

pub(super) fn one_of(number: u8, values: &[libc::c_int]) -> Result<Vec<SeccompRule>, BackendError> {
    values
        .iter()
        .map(|value| rule(argument(number, *value)?))
        .collect()
}
