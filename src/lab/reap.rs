//! The duty of a process 1: to reap processes that have ended.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::message::Exit;

/// Knows whether any child may exist, so that the reaping thread sleeps while there is none.
#[derive(Debug, Clone, Default)]
pub(super) struct Reaper {
    inner: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    /// Children were spawned since the thread last found none.
    spawned: bool,
    /// The children that a caller waits for, and whether each has ended.
    awaited: Vec<(Pid, bool)>,
}

impl Reaper {
    /// Starts the reaping thread; `report` is called for every child that has ended, including
    /// adopted ones.
    pub(super) fn start(report: impl Fn(Pid, Exit) + Send + 'static) -> Self {
        let reaper = Self::default();
        let own = reaper.clone();
        std::thread::spawn(move || own.run(&report));
        reaper
    }

    /// To be called after every spawn.
    pub(super) fn spawned(&self) {
        let (state, changed) = &*self.inner;
        state.lock().unwrap_or_else(PoisonError::into_inner).spawned = true;
        changed.notify_all();
    }

    /// To be called before a child is killed for which [`Self::wait`] will be called.
    pub(super) fn expect(&self, pid: Pid) {
        self.inner
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .awaited
            .push((pid, false));
    }

    /// Waits until a child that was passed to [`Self::expect`] has ended.
    pub(super) fn wait(&self, pid: Pid) {
        let (state, changed) = &*self.inner;
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = changed
            .wait_while(state, |state| state.awaited.contains(&(pid, false)))
            .unwrap_or_else(PoisonError::into_inner);
        state.awaited.retain(|(awaited, _)| *awaited != pid);
    }

    fn run(&self, report: &impl Fn(Pid, Exit)) {
        let (state, changed) = &*self.inner;
        loop {
            match waitpid(None, None) {
                Ok(WaitStatus::Exited(pid, code)) => self.gone(pid, Exit::Code(code), report),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    self.gone(pid, Exit::Signal(signal as i32), report);
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => {
                    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    let waited = changed.wait_while(state, |state| !state.spawned);
                    waited.unwrap_or_else(PoisonError::into_inner).spawned = false;
                }
            }
        }
    }

    fn gone(&self, pid: Pid, exit: Exit, report: &impl Fn(Pid, Exit)) {
        report(pid, exit);
        let (state, changed) = &*self.inner;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in state
            .awaited
            .iter_mut()
            .filter(|(awaited, _)| *awaited == pid)
        {
            entry.1 = true;
        }
        changed.notify_all();
    }
}
