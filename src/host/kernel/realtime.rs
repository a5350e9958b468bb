//! Real-time scheduling for the calling thread: `SCHED_RR` within a bound, and memory that stays in
//! RAM.
#![expect(
    unsafe_code,
    reason = "neither the scheduler's calls nor mlockall have a safe form here"
)]

use std::io;
use std::time::Duration;

use super::privilege;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

/// The lowest real-time priority: above every ordinary process, below whatever else on the machine
/// is real-time, the kernel's own threads among it.
const PRIORITY: libc::c_int = 1;
/// How long a real-time thread may compute without once waiting for anything; then it gets
/// SIGXCPU.
const BOUND: Duration = Duration::from_millis(500);
/// Then SIGKILL. The keeper kills an engine that hangs after some two seconds.
const LAST_BOUND: Duration = Duration::from_secs(3);

/// What real-time operation needs and the process may not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`realtime = true` needs {what}: {error}. Run carpd as root, or give its systemd unit what docs/packaging/realtime.conf \
     contains"
)]
pub struct Refused {
    /// What was refused.
    what: &'static str,
    /// The kernel's words.
    error: String,
}

impl Refused {
    fn new(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self {
            what,
            error: nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or_default())
                .desc()
                .to_owned(),
        }
    }
}

/// Gives the calling thread real-time priority, and keeps all memory of the process in RAM, also
/// what it allocates later. No thread or process that it starts inherits the priority. Call it
/// while the process still has its capabilities, and after memory was given back
/// ([`super::memory::give_back`]), which locked memory cannot be.
///
/// # Errors
/// [`Refused`].
pub fn enter() -> Result<(), Refused> {
    lock_memory().map_err(Refused::new("to lock its memory (LimitMEMLOCK=infinity)"))?;
    // Root without CAP_SYS_NICE needs the limit as well; who already has enough keeps what it has.
    _ = raise(Resource::RLIMIT_RTPRIO, limit(PRIORITY.unsigned_abs()));
    bound().map_err(Refused::new("a bound on its run time (RLIMIT_RTTIME)"))?;
    resume(None).map_err(Refused::new(
        "real-time priority (LimitRTPRIO=1, RestrictRealtime=no)",
    ))
}

/// Gives a process's main thread, or the calling one, real-time priority again: after [`pause`].
///
/// # Errors
/// The kernel refused.
pub fn resume(process: Option<Pid>) -> io::Result<()> {
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    schedule(process, policy, PRIORITY)
}

/// Gives the calling thread ordinary priority: it computed for too long without waiting, and
/// everything else on this processor had to wait.
///
/// # Errors
/// The kernel refused.
pub fn pause() -> io::Result<()> {
    schedule(None, libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK, 0)
}

fn schedule(process: Option<Pid>, policy: libc::c_int, priority: libc::c_int) -> io::Result<()> {
    let thread = process.map_or(0, Pid::as_raw);
    // musl has no sched_setscheduler. The structure of the call has only this member.
    let priority = &raw const priority;
    // SAFETY: the pointer is valid for the call, which only reads an int from it.
    let result = unsafe { libc::syscall(libc::SYS_sched_setscheduler, thread, policy, priority) };
    outcome(i32::from(result != 0))
}

fn lock_memory() -> io::Result<()> {
    // A limit would count for later memory as well, the stack among it. CAP_IPC_LOCK is above it, and
    // is kept (`privilege::confine_engine`).
    let unlimited = raise(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY);
    if unlimited.is_err() && !privilege::may_lock_memory() {
        return unlimited;
    }
    // SAFETY: takes only flags.
    outcome(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) })
}

fn bound() -> io::Result<()> {
    let micros = |time: Duration| limit(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    let (_, hard) = getrlimit(Resource::RLIMIT_RTTIME)?;
    let (soft, last) = (micros(BOUND).min(hard), micros(LAST_BOUND).min(hard));
    Ok(setrlimit(Resource::RLIMIT_RTTIME, soft, last)?)
}

fn limit(value: u32) -> libc::rlim_t {
    value.into()
}

fn raise(resource: Resource, to: libc::rlim_t) -> io::Result<()> {
    let (soft, hard) = getrlimit(resource)?;
    if soft >= to {
        return Ok(());
    }
    Ok(setrlimit(resource, to, hard.max(to))?)
}

fn outcome(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
