//! Starts a program as cheaply as can be: in the memory of this process until it is executed.
//!
//! What starts hundreds of programs a second cannot copy its own memory map for each of them, as
//! fork(2) does. `std` can do without only where nothing has to be set in the child, and a child
//! that must end with its parent has to say so itself.
#![expect(
    unsafe_code,
    reason = "clone(2) with shared memory, and what its child calls, have no safe form"
)]

use std::ffi::{CString, NulError, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr;

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::unistd::Pid;

/// The child's stack, in bytes: it calls a dozen thin functions of the C library.
const STACK: usize = 32 << 10;

/// What [`Program`] has caught or ignores, as Rust's runtime and this crate do; the rest is as it
/// was started.
const RESET: [c_int; 5] = [
    libc::SIGPIPE,
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGCHLD,
];

/// A program with its arguments and all of its environment, as the kernel takes them.
#[derive(Debug, Clone)]
pub(in crate::host) struct Program {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

/// A program that was started, and has not been waited for.
#[derive(Debug)]
pub(in crate::host) struct Child {
    /// Readable once it has ended.
    pub(in crate::host) pidfd: OwnedFd,
    /// Its number, and that of its session and process group.
    pub(in crate::host) pid: Pid,
}

/// What the child needs, and what it has to say.
struct Order {
    path: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    input: c_int,
    output: c_int,
    /// The process that starts it.
    parent: libc::pid_t,
    /// Why it could not execute the program; 0 if it could.
    errno: c_int,
}

impl Program {
    /// The first of `argv` is the path of the program.
    ///
    /// # Errors
    /// A word contains a zero.
    pub(in crate::host) fn new(
        argv: &[String],
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, NulError> {
        let word = |word: &String| CString::new(word.as_str());
        let arguments = argv.iter().map(word).collect::<Result<Vec<_>, _>>()?;
        let variables = environment.into_iter();
        Ok(Self {
            path: arguments.first().cloned().unwrap_or_default(),
            arguments,
            environment: variables
                .map(|(name, value)| CString::new(format!("{name}={value}")))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Starts it in a session of its own, with these for its input and for both of its outputs. It
    /// is killed when the calling thread ends.
    ///
    /// The calling thread stands still until the program is executed.
    ///
    /// # Errors
    /// What the system said, also of executing it.
    pub(in crate::host) fn start(
        &self,
        input: BorrowedFd<'_>,
        output: BorrowedFd<'_>,
    ) -> io::Result<Child> {
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        let mut order = Order {
            path: self.path.as_ptr(),
            arguments: arguments.as_ptr(),
            environment: environment.as_ptr(),
            input: input.as_raw_fd(),
            output: output.as_raw_fd(),
            parent: nix::unistd::getpid().as_raw(),
            errno: 0,
        };
        // No handler of this process may run in the child.
        let mut before = SigSet::empty();
        pthread_sigmask(
            SigmaskHow::SIG_SETMASK,
            Some(&SigSet::all()),
            Some(&mut before),
        )?;
        let cloned = clone(&mut order);
        before.thread_set_mask()?;
        let child = cloned?;
        if order.errno != 0 {
            child.reap()?;
            return Err(io::Error::from_raw_os_error(order.errno));
        }
        Ok(child)
    }
}

impl Child {
    /// Waits for its end, and takes its number back.
    fn reap(&self) -> io::Result<()> {
        use nix::sys::wait::{Id, WaitPidFlag, waitid};
        use std::os::fd::AsFd as _;
        waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED)?;
        Ok(())
    }
}

fn pointers(words: &[CString]) -> Vec<*const c_char> {
    let words = words.iter().map(|word| word.as_ptr());
    words.chain([ptr::null()]).collect()
}

fn clone(order: &mut Order) -> io::Result<Child> {
    // `u128` for its alignment, which is that of a stack.
    let mut stack = Vec::<u128>::with_capacity(STACK / size_of::<u128>());
    let top = stack
        .as_mut_ptr_range()
        .start
        .wrapping_add(stack.capacity());
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: c_int = -1;
    // SAFETY: this thread stands still until the child has executed something or ended
    // (CLONE_VFORK), so `order`, what it points to and the stack outlive it. `execute` calls only
    // functions that may be called after fork(2) in any process, allocates nothing and does not
    // unwind.
    let pid = unsafe {
        libc::clone(
            execute,
            top.cast(),
            flags,
            ptr::from_mut(order).cast(),
            ptr::from_mut(&mut pidfd),
        )
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Child {
        // SAFETY: the kernel has just made it for this process, and nothing else knows it.
        pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        pid: Pid::from_raw(pid),
    })
}

extern "C" fn execute(order: *mut c_void) -> c_int {
    let order = order.cast::<Order>();
    // SAFETY: `clone` passes a pointer to an order, which nobody else uses meanwhile. All that it
    // points to is terminated with zeros. Every function is safe to call here, and has valid
    // arguments.
    unsafe {
        let Order {
            path,
            arguments,
            environment,
            input,
            output,
            parent,
            ..
        } = *order;
        // After the change of user that the whole process has made, which would reset it.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // It may have been killed before that.
        if libc::getppid() != parent {
            libc::_exit(127);
        }
        libc::setsid();
        for signal in RESET {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        let ready = libc::dup2(input, libc::STDIN_FILENO) >= 0
            && libc::dup2(output, libc::STDOUT_FILENO) >= 0
            && libc::dup2(output, libc::STDERR_FILENO) >= 0
            && libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()) == 0;
        if ready {
            libc::execve(path, arguments, environment);
        }
        (*order).errno = *libc::__errno_location();
        libc::_exit(127)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::os::fd::AsFd as _;

    use nix::fcntl::OFlag;
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    use nix::unistd::pipe2;

    use super::*;

    fn ran(argv: &[&str]) -> io::Result<(WaitStatus, String)> {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        let program = Program::new(&argv, [("A".to_owned(), "1 2".to_owned())]).unwrap();
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let null = File::open("/dev/null").unwrap();
        let child = program.start(null.as_fd(), theirs.as_fd())?;
        drop(theirs);
        let mut said = String::new();
        File::from(ours).read_to_string(&mut said).unwrap();
        let status = waitid(Id::PIDFd(child.pidfd.as_fd()), WaitPidFlag::WEXITED).unwrap();
        Ok((status, said))
    }

    #[test]
    fn it_has_its_arguments_its_environment_and_a_session_of_its_own() {
        let script = "echo \"$A|$1\"; env | sort | tr '\\n' ' '; echo >&2 said; test $(ps -o sid= -p $$) = $$; exit $(($? + 3))";
        let (status, said) = ran(&["/bin/sh", "-c", script, "sh", "x y"]).unwrap();
        assert!(matches!(status, WaitStatus::Exited(_, 3)), "{status:?}");
        assert!(said.starts_with("1 2|x y\nA=1 2 "), "{said}");
        assert!(said.ends_with("said\n"), "{said}");
    }

    #[test]
    fn signals_have_their_usual_effect_in_it() {
        let (status, _) = ran(&["/bin/sh", "-c", "kill -PIPE $$; exit 9"]).unwrap();
        assert!(
            matches!(
                status,
                WaitStatus::Signaled(_, nix::sys::signal::Signal::SIGPIPE, _)
            ),
            "{status:?}"
        );
    }

    #[test]
    fn what_cannot_be_executed_is_an_error_and_leaves_nothing() {
        let errno = |argv: &[&str]| ran(argv).unwrap_err().raw_os_error();
        assert_eq!(errno(&["/nonexistent"]), Some(libc::ENOENT));
        assert_eq!(errno(&["/etc/passwd"]), Some(libc::EACCES));
    }
}
