//! A host of a lab and its processes, as the program that made the lab uses them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::control::{LabError, Shared};
use super::message::{Answer, Command, Event, Exit, Facts, HostCommand, Stream, What};
use crate::types::{Timestamp, VirtualAddress};

/// How long the output of a process that has ended may stay open, held by a process that it left
/// behind.
const LEFT_OPEN_MAX: Duration = Duration::from_millis(500);

/// One host of a [`Lab`](super::Lab).
#[derive(Debug, Clone)]
pub struct Host {
    shared: Arc<Shared>,
    name: String,
}

/// The result of a process that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: Exit,
    /// Lines of its standard output.
    pub stdout: Vec<String>,
    /// Lines of its standard error.
    pub stderr: Vec<String>,
}

impl Host {
    pub(super) fn new(shared: Arc<Shared>, name: &str) -> Self {
        Self {
            shared,
            name: name.to_owned(),
        }
    }

    /// The lab's name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts a process: with only `PATH` in its environment, in `/`, in a process group of its
    /// own.
    ///
    /// # Errors
    /// [`LabError::Host`] if the program cannot be executed or the host is off.
    pub fn spawn<S: AsRef<str>>(&self, argv: &[S]) -> Result<Process, LabError> {
        self.spawn_with(argv, &BTreeMap::new())
    }

    /// Like [`Self::spawn`], with more in the environment.
    ///
    /// # Errors
    /// Like [`Self::spawn`].
    pub fn spawn_with<S: AsRef<str>>(
        &self,
        argv: &[S],
        env: &BTreeMap<String, String>,
    ) -> Result<Process, LabError> {
        let id = self.shared.fresh_id();
        let argv: Vec<String> = argv.iter().map(|arg| arg.as_ref().to_owned()).collect();
        let title = argv.join(" ");
        let mut process = Process {
            shared: Arc::clone(&self.shared),
            host: self.name.clone(),
            id,
            pid: 0,
            title,
            next_line: 0,
        };
        {
            let mut state = self.shared.lock();
            process.next_line = state.events.len();
            state.processes.insert(id, self.name.clone());
        }
        let spawned = self.command(HostCommand::Spawn {
            process: id,
            argv,
            env: env.clone(),
        });
        let answer = spawned.inspect_err(|_| drop(self.shared.lock().processes.remove(&id)))?;
        if let Answer::Spawned { pid } = answer {
            Ok(Process { pid, ..process })
        } else {
            Err(self.unexpected(&answer))
        }
    }

    /// Runs a process until it ends, which must happen within `timeout`.
    ///
    /// # Errors
    /// Like [`Self::spawn`]; [`LabError::Timeout`], in which case the process has been killed.
    pub fn run<S: AsRef<str>>(&self, argv: &[S], timeout: Duration) -> Result<Output, LabError> {
        let process = self.spawn(argv)?;
        let ended = process.wait(timeout);
        if ended.is_err() {
            let _ = process.signal(Signal::SIGKILL);
        }
        let status = ended?;
        let of = |stream| {
            process
                .lines()
                .into_iter()
                .filter(|line| line.stream == stream)
                .map(|line| line.text)
                .collect()
        };
        Ok(Output {
            status,
            stdout: of(Stream::Stdout),
            stderr: of(Stream::Stderr),
        })
    }

    /// Sends a signal to processes of this host, whatever started them: by their numbers here, all
    /// at once.
    ///
    /// # Errors
    /// [`LabError::Host`] if one of them has ended; the others were signalled.
    pub fn kill(&self, pids: &[i32], signal: Signal) -> Result<(), LabError> {
        self.command(HostCommand::Kill {
            pids: pids.to_vec(),
            signal: signal as i32,
        })
        .map(drop)
    }

    /// Writes a file and creates its directories. Only this host sees it if `path` is below `/run`
    /// or `/etc/init.d`.
    ///
    /// # Errors
    /// [`LabError::Host`].
    pub fn write(&self, path: &str, mode: u32, content: &str) -> Result<(), LabError> {
        self.command(HostCommand::Write {
            path: path.to_owned(),
            mode,
            content: content.to_owned(),
        })
        .map(drop)
    }

    /// Reads a file as this host sees it.
    ///
    /// # Errors
    /// [`LabError::Host`].
    pub fn read(&self, path: &str) -> Result<String, LabError> {
        let answer = self.command(HostCommand::Read {
            path: path.to_owned(),
        })?;
        if let Answer::Text(text) = answer {
            Ok(text)
        } else {
            Err(self.unexpected(&answer))
        }
    }

    /// Sets `eth0` up or down from inside the host, as `ip link set eth0 down` does.
    ///
    /// # Errors
    /// [`LabError::Host`].
    pub fn set_link(&self, up: bool) -> Result<(), LabError> {
        self.command(HostCommand::Link { up }).map(drop)
    }

    /// Adds an address to `eth0`, as another program on the host may.
    ///
    /// # Errors
    /// [`LabError::Host`] if it exists already.
    pub fn add_address(&self, address: VirtualAddress) -> Result<(), LabError> {
        self.command(HostCommand::Address {
            address,
            present: true,
        })
        .map(drop)
    }

    /// Removes an address from `eth0`, as another program on the host may.
    ///
    /// # Errors
    /// [`LabError::Host`] if it does not exist.
    pub fn delete_address(&self, address: VirtualAddress) -> Result<(), LabError> {
        self.command(HostCommand::Address {
            address,
            present: false,
        })
        .map(drop)
    }

    /// Sends complete Ethernet frames on `eth0`, with whatever source addresses they contain.
    ///
    /// # Errors
    /// [`LabError::Host`] if one cannot be sent; the ones after it were not sent either.
    pub fn send(&self, frames: &[Vec<u8>]) -> Result<(), LabError> {
        self.command(HostCommand::Send {
            frames: frames.to_vec(),
        })
        .map(drop)
    }

    /// The present state of the host: read in its namespaces, by netlink.
    ///
    /// # Errors
    /// [`LabError::Host`] if it is off.
    pub fn facts(&self) -> Result<Facts, LabError> {
        let answer = self.command(HostCommand::Facts)?;
        if let Answer::Facts(facts) = answer {
            Ok(facts)
        } else {
            Err(self.unexpected(&answer))
        }
    }

    fn command(&self, command: HostCommand) -> Result<Answer, LabError> {
        self.shared.request(
            &self.name,
            Command::Host {
                host: self.name.clone(),
                command,
            },
        )
    }

    fn unexpected(&self, answer: &Answer) -> LabError {
        LabError::Host {
            host: self.name.clone(),
            message: format!("answered {answer:?}"),
        }
    }
}

/// One line that a process wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was read, on `CLOCK_BOOTTIME`.
    pub at: Timestamp,
    /// Which stream it was written to.
    pub stream: Stream,
    /// Without the line break.
    pub text: String,
}

/// A process in a host. It continues when this value is dropped, until its host or the lab ends.
#[derive(Debug)]
pub struct Process {
    shared: Arc<Shared>,
    host: String,
    id: u64,
    pid: i32,
    title: String,
    next_line: usize,
}

impl Process {
    /// The lab's number for it, as in [`What`]; never used again.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Its number inside the host.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// [`LabError::Host`] if it has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        let command = HostCommand::Signal {
            process: self.id,
            signal: signal as i32,
        };
        self.shared
            .request(
                &self.host,
                Command::Host {
                    host: self.host.clone(),
                    command,
                },
            )
            .map(drop)
    }

    /// Waits for it to end. All its output is then among its lines, even if the message that it
    /// ended arrived first.
    ///
    /// # Errors
    /// [`LabError::Timeout`].
    pub fn wait(&self, timeout: Duration) -> Result<Exit, LabError> {
        let exit = self.wait_exit(timeout)?;
        // If the host has ended, no messages can come any more.
        if exit != Exit::PoweredOff {
            self.wait_closed();
        }
        Ok(exit)
    }

    fn wait_exit(&self, timeout: Duration) -> Result<Exit, LabError> {
        let what = format!("the end of {:?} on {}", self.title, self.host);
        let ended = |event: &Event| {
            if let What::Exited { process, status } = event.what {
                (process == self.id).then_some(status)
            } else {
                None
            }
        };
        self.shared
            .wait_event(&what, 0, timeout, ended)
            .map(|(_, status)| status)
    }

    /// Has it ended, and how?
    #[must_use]
    pub fn ended(&self) -> Option<Exit> {
        self.wait_exit(Duration::ZERO).ok()
    }

    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.shared
            .lock()
            .events
            .iter()
            .filter_map(|event| self.line(event))
            .collect()
    }

    /// Waits for a line that `wanted` accepts, after the one that the last such call found.
    ///
    /// # Errors
    /// [`LabError::Timeout`] with `what`.
    pub fn wait_line(
        &mut self,
        what: &str,
        timeout: Duration,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Result<Line, LabError> {
        let what = format!("{what} from {:?} on {}", self.title, self.host);
        let pick = |event: &Event| self.line(event).filter(|line| wanted(&line.text));
        let (next, line) = self
            .shared
            .wait_event(&what, self.next_line, timeout, pick)?;
        self.next_line = next;
        Ok(line)
    }

    /// Waits until all output of a process that has ended has arrived.
    fn wait_closed(&self) {
        let mut open = 2;
        let both = |event: &Event| {
            open -=
                i32::from(matches!(event.what, What::Closed { process, .. } if process == self.id));
            (open == 0).then_some(())
        };
        let _ = self
            .shared
            .wait_event("closed output", 0, LEFT_OPEN_MAX, both);
    }

    fn line(&self, event: &Event) -> Option<Line> {
        if let What::Line {
            process,
            stream,
            text,
        } = &event.what
            && *process == self.id
        {
            return Some(Line {
                at: event.at,
                stream: *stream,
                text: text.clone(),
            });
        }
        None
    }
}
