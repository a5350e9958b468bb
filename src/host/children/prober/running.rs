//! Whether a program is running. Its end is an event (pidfd); its start is not, so all processes
//! are looked through, by a thread, only while none is known.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Finding;
use crate::host::kernel::sys;
use crate::process::pidfd;

/// The kernel keeps so much of a name, in bytes.
const NAME_MAX: usize = 15;

/// A program that is looked for.
#[derive(Debug)]
pub(super) struct Running {
    name: String,
    /// One of its processes.
    held: Option<AsyncFd<OwnedFd>>,
    /// A search that took too long.
    pending: Option<JoinHandle<io::Result<Option<OwnedFd>>>>,
}

impl Running {
    pub(super) const fn new(name: String) -> Self {
        Self {
            name,
            held: None,
            pending: None,
        }
    }

    pub(super) async fn look(&mut self, limit: Duration) -> Finding {
        if self.held.as_ref().is_some_and(|held| lives(held.get_ref())) {
            return Finding::Well;
        }
        self.held = None;
        let name = &self.name;
        let search = self.pending.get_or_insert_with(|| {
            let name = name.clone();
            tokio::task::spawn_blocking(move || find(&name))
        });
        let Ok(found) = timeout(limit, search).await else {
            let limit = limit.as_secs_f64();
            return Finding::bad(format!("not found within {limit:.1} s"));
        };
        self.pending = None;
        let found = found.unwrap_or_else(|error| Err(io::Error::other(error)));
        match found.and_then(|found| found.map(sys::watch).transpose()) {
            Ok(Some(found)) => {
                self.held = Some(found);
                Finding::Well
            }
            Ok(None) => Finding::bad(format!("no process is called {}", self.name)),
            Err(error) => Finding::bad(error.to_string()),
        }
    }

    /// Waits for the end of the process that is known; for ever without one.
    pub(super) async fn changed(&self) {
        match &self.held {
            Some(held) => drop(held.readable().await),
            None => std::future::pending().await,
        }
    }
}

/// The first process of this name that lives.
fn find(name: &str) -> io::Result<Option<OwnedFd>> {
    for entry in fs::read_dir("/proc")? {
        let number = entry?.file_name();
        let Some(pid) = number.to_str().and_then(|number| number.parse().ok()) else {
            continue;
        };
        if !is_called(pid, name) {
            continue;
        }
        // It may have ended meanwhile, and its number may be another's.
        if let Ok(process) = pidfd(pid)
            && is_called(pid, name)
            && lives(&process)
        {
            return Ok(Some(process));
        }
    }
    Ok(None)
}

fn is_called(pid: u32, name: &str) -> bool {
    let known = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let known = known.strip_suffix(b"\n").unwrap_or(&known);
    let name = name.as_bytes();
    known == name.get(..NAME_MAX).unwrap_or(name)
}

/// A zombie does not.
fn lives(process: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(0))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A copy of sleep(1), so that nothing else has its name.
    fn start(place: &std::path::Path, name: &str) -> Child {
        let program = place.join(name);
        if !program.exists() {
            fs::copy("/bin/sleep", &program).unwrap();
        }
        Command::new(program).arg("99").spawn().unwrap()
    }

    #[tokio::test]
    async fn its_end_is_noticed_at_once_and_another_one_takes_its_place() {
        let place = tempfile::tempdir().unwrap();
        let name = format!("x{}-with-a-long-name", std::process::id());
        let mut running = Running::new(name.clone());
        let missing = Finding::bad(format!("no process is called {name}"));
        assert_eq!(running.look(LIMIT).await, missing);
        let mut first = start(place.path(), &name);
        let mut second = start(place.path(), &name);
        while running.look(LIMIT).await != Finding::Well {
            // Between fork and exec it has another name.
            tokio::task::yield_now().await;
        }
        for ends in [&mut first, &mut second] {
            // Whichever is held, one of them is left in the first round.
            ends.kill().unwrap();
            ends.wait().unwrap();
            if running
                .held
                .as_ref()
                .is_some_and(|held| lives(held.get_ref()))
            {
                continue;
            }
            timeout(LIMIT, running.changed()).await.expect("its end");
            running.look(LIMIT).await;
        }
        assert_eq!(running.look(LIMIT).await, missing);
    }
}
