//! Child processes that always end: in time, with bounded output, reaped.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::effect::CommandOutput;
use crate::types::shown_within;

/// What is kept of each of the two outputs; the rest is read, counted and thrown away.
pub const OUTPUT_LIMIT: usize = 64 * 1024;

/// Between TERM and KILL.
pub const GRACE: Duration = Duration::from_secs(2);

/// How long output is waited for after the child has ended: a process that it left behind may hold
/// the pipe open.
const LAST_OUTPUT: Duration = Duration::from_millis(20);

/// Pipes of left-behind processes that are still read; more are closed.
const MAX_DRAINS: usize = 64;

/// As service(8) and `sudo -i` set it.
pub(in crate::host) const PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A limit that several steps share.
#[derive(Debug, Clone, Copy)]
pub(in crate::host) struct Deadline(Instant);

impl Deadline {
    pub(in crate::host) fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// What the next step may take.
    pub(in crate::host) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

static DRAINS: AtomicUsize = AtomicUsize::new(0);

/// A child that ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its status and output.
    pub output: CommandOutput,
    /// Bytes of both outputs beyond [`OUTPUT_LIMIT`].
    pub dropped: u64,
}

/// Why there is no [`Finished`].
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No command line at all.
    #[error("the command line is empty")]
    Empty,
    /// It could not be started.
    #[error("could not start {program}: {source}")]
    Start {
        /// As given.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It was ended by force, with all of its group.
    #[error("{program} did not finish within {:.1} s and was {}{}", limit.as_secs_f64(), ending(*.status), said(output))]
    Overran {
        /// As given.
        program: String,
        /// What it had.
        limit: Duration,
        /// As in [`CommandOutput::status`].
        status: i32,
        /// What it wrote until then.
        output: Box<CommandOutput>,
    },
    /// It was not wanted any more, and ended.
    #[error("{program} was cancelled")]
    Cancelled {
        /// As given.
        program: String,
    },
    /// It could not be waited for.
    #[error("lost track of {program}: {source}")]
    Lost {
        /// As given.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
}

const fn ending(status: i32) -> &'static str {
    if status == 128 + libc::SIGKILL {
        "killed"
    } else {
        "terminated"
    }
}

/// The end of what a program said, for an error message: ` (it said: ...)`, or nothing.
#[must_use]
pub fn said(output: &CommandOutput) -> String {
    let text = if output.stderr.trim_ascii().is_empty() {
        &output.stdout
    } else {
        &output.stderr
    };
    let text = String::from_utf8_lossy(text);
    let Some(line) = text.lines().rev().find(|line| !line.trim().is_empty()) else {
        return String::new();
    };
    format!(" (it said: {})", shown_within(line.trim(), 200))
}

/// Runs a program, without a shell, in a process group of its own, in `/`, with a clean environment
/// and no input. After `limit`, or when `cancelled` comes true, the whole group gets TERM and after
/// [`GRACE`] KILL.
///
/// A process that it leaves behind (a daemon) goes on running, and its output is read and dropped.
///
/// # Errors
/// [`SpawnError`]. An exit status that is not 0 is no error here.
pub async fn run(
    argv: &[String],
    limit: Duration,
    cancelled: impl Future<Output = ()>,
) -> Result<Finished, SpawnError> {
    run_line(
        &CommandLine {
            argv: argv.to_vec(),
            ..CommandLine::default()
        },
        limit,
        cancelled,
    )
    .await
}

/// A command line with its surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CommandLine {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Its whole environment; `None` is a clean one.
    pub environment: Option<Vec<(OsString, OsString)>>,
    /// Added to it.
    pub variables: Vec<(String, String)>,
    /// Where it runs; `None` is `/`.
    pub directory: Option<PathBuf>,
}

/// As [`run`], with an environment and a directory of the caller's choice.
///
/// # Errors
/// As [`run`].
pub async fn run_line(
    line: &CommandLine,
    limit: Duration,
    cancelled: impl Future<Output = ()>,
) -> Result<Finished, SpawnError> {
    let program = line.argv.first().ok_or(SpawnError::Empty)?;
    let mut child = start(line).map_err(|source| SpawnError::Start {
        program: program.clone(),
        source,
    })?;
    // Should this future be dropped, nobody is left to wait for the grace.
    let mut group = Group(
        child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .map(Pid::from_raw),
    );
    let (stdout, stderr) = (
        Capture::of(child.stdout.take()),
        Capture::of(child.stderr.take()),
    );
    let lost = |source| SpawnError::Lost {
        program: program.clone(),
        source,
    };
    let ended = tokio::select! {
        ended = timeout(limit, child.wait()) => ended.ok(),
        () = cancelled => {
            end(&mut child, &group).await.map_err(lost)?;
            group.disarm();
            return Err(SpawnError::Cancelled { program: program.clone() });
        }
    };
    let (status, overran) = match ended {
        Some(status) => (status.map_err(lost)?, false),
        None => (end(&mut child, &group).await.map_err(lost)?, true),
    };
    group.disarm();
    let (stdout, more) = stdout.finish().await;
    let (stderr, still_more) = stderr.finish().await;
    let output = CommandOutput {
        status: code(status),
        stdout,
        stderr,
    };
    if overran {
        let output = Box::new(output);
        return Err(SpawnError::Overran {
            program: program.clone(),
            limit,
            status: code(status),
            output,
        });
    }
    Ok(Finished {
        output,
        dropped: more + still_more,
    })
}

fn start(line: &CommandLine) -> io::Result<Child> {
    let (program, arguments) = line.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    let directory = line
        .directory
        .as_deref()
        .filter(|directory| directory.is_dir());
    command
        .args(arguments)
        .current_dir(directory.unwrap_or(Path::new("/")))
        .env_clear();
    if let Some(environment) = &line.environment {
        command.envs(environment.iter().map(|(name, value)| (name, value)));
    } else {
        let inherited = ["LANG", "TERM"]
            .into_iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.env("PATH", PATH).envs(inherited);
    }
    command.envs(line.variables.iter().map(|(name, value)| (name, value)));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// The process group of a child that is not yet known to have ended.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // ESRCH: all of it has ended.
            let _ = killpg(group, signal);
        }
    }

    /// The child has been waited for: its number may soon be another's.
    const fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// TERM, and after the grace KILL, to all of the group.
async fn end(child: &mut Child, group: &Group) -> io::Result<ExitStatus> {
    group.signal(Signal::SIGTERM);
    let status = timeout(GRACE, child.wait()).await;
    // Also when the child itself obeyed: others of its group may not have.
    group.signal(Signal::SIGKILL);
    match status {
        Ok(status) => status,
        Err(_) => child.wait().await,
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}

/// What came out of one pipe so far.
#[derive(Default)]
struct Captured {
    kept: Vec<u8>,
    dropped: u64,
}

/// A pipe that is read to its end, whoever still waits for it.
struct Capture {
    captured: Arc<Mutex<Captured>>,
    reader: Option<JoinHandle<()>>,
}

impl Capture {
    fn of(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let captured = Arc::new(Mutex::new(Captured::default()));
        let reader = pipe.map(|pipe| tokio::spawn(read(pipe, Arc::clone(&captured))));
        Self { captured, reader }
    }

    /// What there is shortly after the child has ended, and how much more there was.
    async fn finish(mut self) -> (Vec<u8>, u64) {
        if let Some(mut reader) = self.reader.take()
            && timeout(LAST_OUTPUT, &mut reader).await.is_err()
        {
            leave_behind(reader);
        }
        let mut captured = self.captured.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut captured.kept), captured.dropped)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.abort();
        }
    }
}

/// A daemon that kept its output would die of SIGPIPE with a closed pipe, so it is read on.
fn leave_behind(mut reader: JoinHandle<()>) {
    if DRAINS.fetch_add(1, Ordering::Relaxed) >= MAX_DRAINS {
        DRAINS.fetch_sub(1, Ordering::Relaxed);
        reader.abort();
        return;
    }
    tokio::spawn(async move {
        let _ = (&mut reader).await;
        DRAINS.fetch_sub(1, Ordering::Relaxed);
    });
}

async fn read(mut pipe: impl AsyncRead + Unpin, captured: Arc<Mutex<Captured>>) {
    let mut chunk = vec![0; 4096];
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        let mut captured = captured.lock().unwrap_or_else(PoisonError::into_inner);
        let room = OUTPUT_LIMIT.saturating_sub(captured.kept.len()).min(length);
        captured
            .kept
            .extend_from_slice(chunk.get(..room).unwrap_or_default());
        captured.dropped += u64::try_from(length - room).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests;
