//! A program that says by its exit status whether all is well.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, pipe2};
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use super::{Finding, OUTPUT_MAX};
use crate::host::kernel::launch;
use crate::host::kernel::sys;
use crate::host::services::spawn::PATH;
use crate::types::shown_within;

/// What is shown of a line of output where there is room for one only, in characters.
const LINE_MAX: usize = 200;

/// One that runs for longer is listened to: the pipe has room for what most write, so there is
/// nothing to wake up for before.
const UNHEARD: Duration = Duration::from_millis(50);

/// What is read at one time, in bytes.
const CHUNK: usize = 4 << 10;

/// A command that is run once, or again and again.
#[derive(Debug)]
pub(in crate::host::children) struct Command {
    program: Result<launch::Program, String>,
    input: io::Result<File>,
    /// One that was killed and has not ended.
    undead: Option<Running>,
}

impl Command {
    /// Without input.
    pub(in crate::host::children) fn new(
        argv: &[String],
        environment: Vec<(String, String)>,
    ) -> Self {
        let usual = (!environment.iter().any(|(name, _)| name == "PATH"))
            .then(|| ("PATH".to_owned(), PATH.to_owned()));
        let variables = usual.into_iter().chain(environment);
        Self {
            program: launch::Program::new(argv, variables).map_err(|error| error.to_string()),
            input: File::open("/dev/null"),
            undead: None,
        }
    }

    /// With this for its input.
    pub(in crate::host::children) fn with_input(self, input: io::Result<File>) -> Self {
        Self { input, ..self }
    }

    /// Runs it once. At most one is running at any time.
    pub(in crate::host::children) async fn look(&mut self, limit: Duration) -> Finding {
        if let Some(undead) = &self.undead {
            if timeout(limit, undead.ended()).await.is_err() {
                return Finding::bad("it was killed at its timeout, and has still not ended");
            }
            self.undead = None;
        }
        let started = self.start();
        let running = match started {
            Ok(running) => running,
            Err(why) => return Finding::bad(format!("cannot be started: {why}")),
        };
        let mut output = Tail::default();
        let ended = timeout(limit, running.followed(&mut output)).await;
        let why = if ended.is_ok() {
            match running.end() {
                Ok(WaitStatus::Exited(_, 0)) => return Finding::Well,
                Ok(WaitStatus::Exited(_, status)) => format!("exit status {status}"),
                Ok(WaitStatus::Signaled(_, signal, _)) => format!("killed by {signal}"),
                Ok(other) => format!("{other:?}"),
                Err(error) => error.to_string(),
            }
        } else {
            running.kill();
            let limit = limit.as_secs_f64();
            format!("did not end within {limit:.1} s and was killed")
        };
        read(&running.output, &mut output);
        if ended.is_err() {
            self.undead = Some(running);
        }
        output.finding(&why)
    }

    fn start(&self) -> Result<Running, String> {
        let input = self.input.as_ref().map_err(ToString::to_string)?;
        let program = self.program.as_ref().map_err(Clone::clone)?;
        Running::start(program, input).map_err(|error| error.to_string())
    }
}

/// A command that was started. Dropping it kills all of its group.
#[derive(Debug)]
struct Running {
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
    output: OwnedFd,
    /// It was waited for: its number may be another's.
    is_reaped: Cell<bool>,
}

impl Running {
    fn start(program: &launch::Program, input: &File) -> io::Result<Self> {
        let (output, theirs) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let launch::Child { pidfd, pid } = program.start(input.as_fd(), theirs.as_fd())?;
        match sys::watch(pidfd) {
            Ok(pidfd) => Ok(Self {
                pid,
                pidfd,
                output,
                is_reaped: Cell::new(false),
            }),
            Err(error) => {
                // Nobody would notice its end.
                _ = killpg(pid, Signal::SIGKILL);
                _ = nix::sys::wait::waitpid(pid, None);
                Err(error)
            }
        }
    }

    /// Waits for its end, and reads what it writes until then.
    async fn followed(&self, output: &mut Tail) {
        if timeout(UNHEARD, self.ended()).await.is_ok() {
            return;
        }
        let heard = self.output.try_clone().and_then(sys::watch);
        let Ok(heard) = heard else {
            return self.ended().await;
        };
        loop {
            tokio::select! {
                biased;
                () = self.ended() => return,
                ready = heard.readable() => match ready {
                    Ok(mut ready) => {
                        if read(&self.output, output) {
                            // Nothing more comes.
                            return self.ended().await;
                        }
                        ready.clear_ready();
                    }
                    Err(_) => return self.ended().await,
                },
            }
        }
    }

    /// Waits until it has ended; it stays a zombie, so its number is its own.
    async fn ended(&self) {
        // Only a runtime that is shutting down fails.
        drop(self.pidfd.readable().await);
    }

    fn kill(&self) {
        // ESRCH: all of it has ended.
        _ = killpg(self.pid, Signal::SIGKILL);
    }

    /// Takes what became of it, after its end.
    fn end(&self) -> nix::Result<WaitStatus> {
        // What it left behind would run beside the next one.
        self.kill();
        let ended = waitid(
            Id::PIDFd(self.pidfd.get_ref().as_fd()),
            WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG,
        );
        self.is_reaped
            .set(!matches!(ended, Ok(WaitStatus::StillAlive)));
        ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_reaped.get() {
            _ = self.end();
        }
    }
}

/// Reads what there is; true at its end.
fn read(pipe: &OwnedFd, output: &mut Tail) -> bool {
    let mut chunk = [0; CHUNK];
    // A writer that is faster than this reader must not hold it up.
    for _ in 0..64 {
        match nix::unistd::read(pipe, &mut chunk) {
            Ok(0) => return true,
            Ok(length) => output.push(chunk.get(..length).unwrap_or_default()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
    false
}

/// The end of an output.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let excess = self.0.len().saturating_sub(OUTPUT_MAX);
        self.0.drain(..excess);
    }

    /// What is to be said of a command that failed so: its last line, and all of it if there is
    /// more.
    fn finding(self, why: &str) -> Finding {
        let text = String::from_utf8_lossy(&self.0);
        let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        lines.retain(|line| !line.is_empty());
        let said = lines.last().map_or_else(String::new, |last| {
            format!(": {}", shown_within(last.trim_start(), LINE_MAX))
        });
        Finding::Bad {
            reason: format!("{why}{said}"),
            output: if lines.len() > 1 {
                lines.join("\n")
            } else {
                String::new()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Patience, Process};

    const LIMIT: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Command {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        Command::new(&argv, vec![("A".to_owned(), "b".to_owned())])
    }

    async fn found(script: &str, limit: Duration) -> (String, String) {
        match shell(script).look(limit).await {
            Finding::Bad { reason, output } => (reason, output),
            other => (format!("{other:?}"), String::new()),
        }
    }

    #[tokio::test]
    async fn its_status_and_its_words_are_told() {
        for (script, reason, output) in [
            ("true", "Well", ""),
            ("test $A = b", "Well", ""),
            ("exit 3", "exit status 3", ""),
            ("echo one; exit 1", "exit status 1: one", ""),
            (
                "echo one; echo >&2 two; echo; exit 2",
                "exit status 2: two",
                "one\ntwo",
            ),
            ("kill -SEGV $$", "killed by SIGSEGV", ""),
            (
                "printf '\\033[2Jx'; exit 1",
                "exit status 1: \\u{1b}[2Jx",
                "",
            ),
        ] {
            let wanted = (reason.to_owned(), output.to_owned());
            assert_eq!(found(script, LIMIT).await, wanted, "{script}");
        }
        let nowhere = Command::new(&["/nonexistent".to_owned()], Vec::new())
            .look(LIMIT)
            .await;
        assert_eq!(
            nowhere,
            Finding::bad("cannot be started: No such file or directory (os error 2)")
        );
    }

    #[tokio::test]
    async fn its_output_is_bounded_and_does_not_hold_it_up() {
        let (reason, output) = found(
            "i=0; while [ $i -lt 20000 ]; do echo a line that is long enough $i; i=$((i+1)); done; exit 1",
            LIMIT,
        )
        .await;
        assert_eq!(reason, "exit status 1: a line that is long enough 19999");
        assert!((1..=OUTPUT_MAX).contains(&output.len()), "{}", output.len());
    }

    #[tokio::test]
    async fn at_its_timeout_and_at_its_end_all_of_it_is_killed() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("pid");
        for (end, limit, wanted) in [
            ("sleep 99", 300, "did not end within 0.3 s and was killed"),
            ("exit 0", 10_000, "Well"),
        ] {
            let script = format!("sleep 99 & echo $! > {}; {end}", file.display());
            let (reason, _) = found(&script, Duration::from_millis(limit)).await;
            assert_eq!(reason, wanted);
            let left: u32 = std::fs::read_to_string(&file)
                .unwrap()
                .trim()
                .parse()
                .unwrap();
            let patience = Patience::of(LIMIT);
            while Process::look(left).is_some_and(|left| !left.ending) {
                assert!(!patience.left().is_zero(), "{left} is gone");
                patience.pause(Duration::from_millis(5));
            }
        }
    }

    #[tokio::test]
    async fn there_are_never_two() {
        let mut command = shell("sleep 99");
        for _ in 0..3 {
            command.look(Duration::from_millis(50)).await;
            let undead = command.undead.as_ref().expect("it was killed");
            undead.ended().await;
        }
    }
}
