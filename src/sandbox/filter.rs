//! Which system calls a confined process may make.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

use super::Kind;

/// Every system call that a confined process needs, whatever its task (glibc and musl, x86_64 and
/// aarch64); any other call kills it.
pub(super) const ALLOWED: [libc::c_long; 19] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What the endpoint needs in addition to [`ALLOWED`] to answer clients on a socket that listens.
const SERVING: &[libc::c_long] = &[
    libc::SYS_accept4,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_ctl,
    libc::SYS_writev,
    libc::SYS_shutdown,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
];

/// Installs the filter for this kind of process, for all of its threads.
pub(super) fn apply(kind: Kind<'_>) -> Result<(), String> {
    install(&filter(kind).map_err(|err| err.to_string())?)
}

/// The second filter of an HTTP worker. The first one stays in force: the stricter answer wins.
pub(super) fn no_more_names() -> Result<(), String> {
    install(&speaking().map_err(|err| err.to_string())?)
}

pub(super) fn install(program: &BpfProgram) -> Result<(), String> {
    apply_filter_all_threads(program).map_err(|err| err.to_string())
}

/// What a process needs in addition to [`ALLOWED`] to use sockets.
pub(super) const SOCKETS: &[libc::c_long] = &[
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ioctl,
    libc::SYS_fcntl,
];

/// What it needs to resolve a name by any of the methods in `nsswitch.conf`.
const NAMES: &[libc::c_long] = &[
    libc::SYS_bind,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    libc::SYS_uname,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    // The code of the C library's modules is mapped from files; the protection is not checked here.
    libc::SYS_mmap,
    libc::SYS_mprotect,
    // To install the second filter.
    libc::SYS_prctl,
    libc::SYS_seccomp,
];

/// For resolving a name. Other calls that the C library's modules may try fail instead of killing
/// the process: this is the system's own code, and it tries many things.
fn naming() -> Result<BpfProgram, seccompiler::BackendError> {
    let calls = ALLOWED.iter().chain(SOCKETS).chain(NAMES);
    let rules = calls.map(|call| (*call, vec![])).collect();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(
        rules,
        refuse,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}

/// For talking to a server whose address is known.
fn speaking() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<_, _> = ALLOWED
        .iter()
        .chain(SOCKETS)
        .map(|call| (*call, vec![]))
        .collect();
    let not_executable = vec![SeccompRule::new(vec![without(libc::PROT_EXEC)?])?];
    rules.insert(libc::SYS_mmap, not_executable.clone());
    rules.insert(libc::SYS_mprotect, not_executable);
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        architecture,
    )?
    .try_into()
}

/// Allowed if the third argument, a memory protection, lacks this bit.
pub(super) fn without(bit: libc::c_int) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(
        2,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(u64::from(bit.unsigned_abs())),
        0,
    )
}

fn filter(kind: Kind<'_>) -> Result<BpfProgram, seccompiler::BackendError> {
    // Memory, but none that is executable.
    let not_executable = without(libc::PROT_EXEC)?;
    let mut rules: BTreeMap<_, _> = ALLOWED.iter().map(|call| (*call, vec![])).collect();
    rules.insert(
        libc::SYS_mmap,
        vec![SeccompRule::new(vec![not_executable.clone()])?],
    );
    // In a build with debug assertions, the standard library checks that a descriptor is open
    // before it closes it.
    if cfg!(debug_assertions) {
        let flags = SeccompCondition::new(
            1,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Eq,
            u64::from(libc::F_GETFD.unsigned_abs()),
        )?;
        rules.insert(libc::SYS_fcntl, vec![SeccompRule::new(vec![flags])?]);
    }
    match kind {
        Kind::Lua => {}
        Kind::HttpWorker { .. } | Kind::NetProber { .. } => return naming(),
        Kind::Endpoint => {
            rules.extend(SERVING.iter().map(|call| (*call, vec![])));
            // The C library's heap grows this way.
            rules.insert(
                libc::SYS_mprotect,
                vec![SeccompRule::new(vec![not_executable])?],
            );
        }
        // The C library's heaps grow this way.
        #[cfg(feature = "wasm")]
        Kind::Compiler => {
            rules.insert(
                libc::SYS_mprotect,
                vec![SeccompRule::new(vec![not_executable])?],
            );
            // When it runs out of memory it aborts, and must then end by SIGABRT, which shows the
            // cause: a signal to itself.
            let own = SeccompCondition::new(
                0,
                SeccompCmpArgLen::Dword,
                SeccompCmpOp::Eq,
                u64::from(std::process::id()),
            )?;
            rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![own])?]);
            rules.extend([libc::SYS_getpid, libc::SYS_gettid].map(|call| (call, vec![])));
        }
        #[cfg(feature = "wasm")]
        Kind::Wasm => {
            let either = vec![
                SeccompRule::new(vec![not_executable])?,
                SeccompRule::new(vec![without(libc::PROT_WRITE)?])?,
            ];
            rules.insert(libc::SYS_mprotect, either);
        }
    }
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        architecture,
    )?
    .try_into()
}
