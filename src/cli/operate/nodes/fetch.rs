//! Asking a node for its recorder. It may not answer, or not stop.

use std::io::{self, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::cli::{Exit, Failure};
use crate::journal::Retold;
use crate::process::Patience;

/// In all, so many times as long as for the first word.
const IN_ALL: u32 = 20;
/// How long after its end a node's complaint is waited for. What it started may keep the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What is read of a complaint, in bytes, and the lines of it that are shown.
const COMPLAINT_MAX: u64 = 64 << 10;
const LINES_MAX: usize = 8;

/// Runs this command, which asks a node, and reads what it prints. It is ended if it prints nothing
/// for `timeout`, or does not come to an end.
pub(super) fn fetch(host: &str, words: &[String], timeout: Duration) -> Result<Retold, Failure> {
    let failed = |message: String| {
        Failure::new(Exit::Cannot, message)
            .detail(format!("the command was: {}", words.join(" ")))
            .hint("if the node cannot be reached like this, run `carpd events --json --all` there, and name its output with --from")
    };
    let [program, arguments @ ..] = words else {
        return Err(failed("there is no command".to_owned()));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot run {program}: {error}")))?;
    let complaint = listen(child.stderr.take(), |pipe| {
        let mut text = Vec::new();
        _ = pipe.take(COMPLAINT_MAX).read_to_end(&mut text);
        text
    });
    let read = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&read);
    let told = listen(child.stdout.take(), move |pipe| {
        let counted = Counted {
            from: pipe,
            read: counter,
        };
        Retold::read(BufReader::new(counted))
    });
    let patience = Patience::of(timeout.saturating_mul(IN_ALL));
    let told = wait(&told, &read, timeout, patience);
    let exited = if told.is_ok() {
        end(&mut child, Patience::of(timeout.min(patience.left())))
    } else {
        _ = child.kill();
        _ = child.wait();
        None
    };
    let said = complaint.recv_timeout(LAST_WORDS).unwrap_or_default();
    let with_complaint = |failure: Failure| {
        let said = String::from_utf8_lossy(&said).into_owned();
        said.lines().take(LINES_MAX).fold(failure, Failure::detail)
    };
    let told = told.map_err(|why| with_complaint(failed(format!("{host} {why}"))))?;
    let told = told.map_err(|why| {
        with_complaint(failed(format!("what {host} says is not understood: {why}")))
    })?;
    match exited {
        Some(status) if !status.success() => Err(with_complaint(failed(format!(
            "the recorder of {host} cannot be had: {status}"
        )))),
        _ => Ok(told),
    }
}

/// Waits for what is read, while more of it comes.
fn wait<T>(
    told: &Receiver<T>,
    read: &AtomicU64,
    timeout: Duration,
    patience: Patience,
) -> Result<T, String> {
    let mut before = 0;
    loop {
        match told.recv_timeout(timeout.min(patience.left())) {
            Ok(told) => return Ok(told),
            Err(RecvTimeoutError::Disconnected) => return Err("cannot be read".to_owned()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = read.load(Ordering::Relaxed);
        if now == before {
            return Err(format!("has said nothing for {timeout:?}"));
        }
        if patience.left().is_zero() {
            return Err("does not come to an end".to_owned());
        }
        before = now;
    }
}

/// Ends a process that has closed its output: by itself, or it is killed.
fn end(child: &mut Child, patience: Patience) -> Option<std::process::ExitStatus> {
    // What is read is enough; it may still be writing.
    patience.wait_for_end_of(child.id());
    let ended = child.try_wait().ok().flatten();
    if ended.is_none() {
        _ = child.kill();
        _ = child.wait();
    }
    ended
}

/// Reads a pipe in a thread, which ends with it.
fn listen<P: Send + 'static, T: Send + 'static>(
    pipe: Option<P>,
    read: impl FnOnce(P) -> T + Send + 'static,
) -> Receiver<T> {
    let (sender, receiver): (Sender<T>, _) = channel();
    if let Some(pipe) = pipe {
        thread::spawn(move || _ = sender.send(read(pipe)));
    }
    receiver
}

/// Says how much has been read so far.
struct Counted<R> {
    from: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(into)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}
