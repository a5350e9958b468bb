//! The side of the program that makes a [`Lab`]: the lab, and the messages from its processes.
//!
//! Everything that happens in the lab arrives as one stream of [`Event`]s. Every wait is a wait for
//! an event, with a deadline.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufReader};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::{self, Ticker};
use super::host::Host;
use super::message::{self, Answer, Command, Event, Exit, Fault, HostSpec, Message, Request, What};
use super::role;

/// How long the lab's own work may take. Starting a host takes a few ms.
const OWN_WORK_MAX: Duration = Duration::from_secs(20);
/// How often [`Lab::until`] polls.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// What a lab consists of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabSpec {
    /// The hosts, in the order in which they are switched on.
    pub hosts: Vec<HostSpec>,
}

/// Why something in the lab failed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The first process could not be started.
    #[error("could not start the lab: {0}")]
    Start(#[source] io::Error),
    /// The kernel refused namespaces.
    #[error("could not {step}: {source}; {advice}")]
    Forbidden {
        /// What was refused.
        step: String,
        /// The kernel's error.
        source: io::Error,
        /// What the operator can do.
        advice: String,
    },
    /// A step towards the lab failed.
    #[error("could not {step}: {source}")]
    Step {
        /// Which step.
        step: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// A host could not do what it was asked to do.
    #[error("{host}: {message}")]
    Host {
        /// Which host.
        host: String,
        /// Its error.
        message: String,
    },
    /// An expected event did not happen.
    #[error("waited {} ms for {what}, but it did not happen", after.as_millis())]
    Timeout {
        /// What was expected.
        what: String,
        /// How long the lab waited.
        after: Duration,
    },
    /// The lab's processes are gone.
    #[error("the lab has ended")]
    Ended,
    /// Something outside the lab's own processes failed, such as reading a file that is to be
    /// copied in.
    #[error("{what}: {source}")]
    Io {
        /// What was done.
        what: String,
        /// The system's error.
        source: io::Error,
    },
}

/// Virtual hosts on one switch. When it is dropped, or the program that made it dies for any
/// reason, nothing of it remains.
///
/// The lab ends with the *thread* that started it: the kernel monitors threads, not processes.
#[derive(Debug)]
pub struct Lab {
    shared: Arc<Shared>,
    first: Child,
    specs: BTreeMap<String, HostSpec>,
}

#[derive(Debug)]
pub(super) struct Shared {
    socket: Mutex<UnixStream>,
    next_id: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    ready: bool,
    failed: Option<(String, i32)>,
    ended: bool,
    /// Requests without an answer, and the host that is to give it.
    pending: HashMap<u64, Option<String>>,
    answers: HashMap<u64, Result<Answer, String>>,
    pub(super) events: Vec<Event>,
    /// Processes that have not ended, and where they run.
    pub(super) processes: BTreeMap<u64, String>,
}

impl Lab {
    /// Creates the switch and switches on all hosts; returns when they have their addresses.
    ///
    /// # Errors
    /// [`LabError::Forbidden`] if the kernel or the distribution forbids namespaces, with a remedy.
    pub fn start(spec: &LabSpec) -> Result<Self, LabError> {
        let (ours, theirs) = UnixStream::pair().map_err(LabError::Start)?;
        let reader = ours.try_clone().map_err(LabError::Start)?;
        let shared = Arc::new(Shared {
            socket: Mutex::new(ours),
            next_id: AtomicU64::new(1),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let first = role::start_switch(theirs, &format!("of-{}", std::process::id()))
            .map_err(LabError::Start)?;
        let mut lab = Self {
            shared: Arc::clone(&shared),
            first,
            specs: BTreeMap::new(),
        };
        std::thread::spawn(move || shared.receive(reader));
        lab.shared.wait_ready()?;
        for host in &spec.hosts {
            lab.add(host.clone())?;
        }
        Ok(lab)
    }

    /// Switches on a new host.
    ///
    /// # Errors
    /// [`LabError::Host`] if it could not be set up, for example because an address is wrong.
    pub fn add(&mut self, spec: HostSpec) -> Result<(), LabError> {
        self.shared
            .request(&spec.name.clone(), Command::PowerOn { spec: spec.clone() })?;
        self.specs.insert(spec.name.clone(), spec);
        Ok(())
    }

    /// One of the hosts. If the lab does not have this name, the first request to it fails.
    #[must_use]
    pub fn host(&self, name: &str) -> Host {
        Host::new(Arc::clone(&self.shared), name)
    }

    /// Ends a host as a power cut does: at once nothing runs there any more, and no frame comes
    /// from it.
    ///
    /// # Errors
    /// [`LabError::Host`] if it is not on.
    pub fn power_off(&self, host: &str) -> Result<(), LabError> {
        self.shared
            .request(
                host,
                Command::PowerOff {
                    host: host.to_owned(),
                },
            )
            .map(drop)
    }

    /// Switches a host on again, as if new: with the addresses of its [`HostSpec`] and no
    /// processes.
    ///
    /// # Errors
    /// [`LabError::Host`] if it is on.
    pub fn power_on(&self, host: &str) -> Result<(), LabError> {
        let spec = self.specs.get(host).cloned();
        let spec = spec.ok_or_else(|| LabError::Host {
            host: host.to_owned(),
            message: "there is no such host".to_owned(),
        })?;
        self.shared
            .request(host, Command::PowerOn { spec })
            .map(drop)
    }

    /// Causes a fault at a host's cable.
    ///
    /// # Errors
    /// [`LabError::Host`] if the host is off.
    pub fn set_fault(&self, host: &str, fault: Fault) -> Result<(), LabError> {
        self.shared
            .request(
                host,
                Command::Fault {
                    host: host.to_owned(),
                    fault,
                    on: true,
                },
            )
            .map(drop)
    }

    /// Ends a fault.
    ///
    /// # Errors
    /// [`LabError::Host`] if the host is off.
    pub fn clear_fault(&self, host: &str, fault: Fault) -> Result<(), LabError> {
        self.shared
            .request(
                host,
                Command::Fault {
                    host: host.to_owned(),
                    fault,
                    on: false,
                },
            )
            .map(drop)
    }

    /// Separates these hosts from each other; those that are not named hear all of them.
    ///
    /// # Errors
    /// [`LabError::Host`] if one of them is off.
    pub fn partition(&self, hosts: &[&str]) -> Result<(), LabError> {
        hosts
            .iter()
            .try_for_each(|host| self.set_fault(host, Fault::Isolated))
    }

    /// Ends [`Self::partition`].
    ///
    /// # Errors
    /// [`LabError::Host`] if one of them is off.
    pub fn reunite(&self, hosts: &[&str]) -> Result<(), LabError> {
        hosts
            .iter()
            .try_for_each(|host| self.clear_fault(host, Fault::Isolated))
    }

    /// Everything that has happened, in order of arrival; within one host this is the order of
    /// `at`.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.shared.lock().events.clone()
    }

    /// How many events there are: a position from which to wait with [`Self::wait_event`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.shared.lock().events.len()
    }

    /// Waits for the first event, from number `from` on, that `pick` accepts; also returns the
    /// number after it.
    ///
    /// # Errors
    /// [`LabError::Timeout`] with `what`, [`LabError::Ended`].
    pub fn wait_event<T>(
        &self,
        what: &str,
        from: usize,
        timeout: Duration,
        pick: impl FnMut(&Event) -> Option<T>,
    ) -> Result<(usize, T), LabError> {
        self.shared.wait_event(what, from, timeout, pick)
    }

    /// Polls until there is an answer: for facts of the kernel that cause no event, such as a host
    /// name. If there is an event, wait for that.
    ///
    /// # Errors
    /// [`LabError::Timeout`] with `what`, and the errors of `ask`.
    pub fn until<T>(
        &self,
        what: &str,
        timeout: Duration,
        mut ask: impl FnMut() -> Result<Option<T>, LabError>,
    ) -> Result<T, LabError> {
        let failed = |err: nix::Error| LabError::Io {
            what: "a timer".to_owned(),
            source: err.into(),
        };
        let ticker = Ticker::new(ASK_AGAIN).map_err(failed)?;
        let end = clock::now() + timeout;
        loop {
            ticker.wait().map_err(failed)?;
            if let Some(found) = ask()? {
                return Ok(found);
            }
            if clock::now() > end {
                return Err(LabError::Timeout {
                    what: what.to_owned(),
                    after: timeout,
                });
            }
        }
    }

    /// Process 1 of each host that is on, with its number in the namespace of the program that made
    /// the lab: a way for a person to enter it.
    #[must_use]
    pub fn pids(&self) -> BTreeMap<String, u32> {
        let read = |pid: u32, file: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
        };
        let mut found = BTreeMap::new();
        let mut next = vec![self.first.id()];
        while let Some(pid) = next.pop() {
            let command = read(pid, "cmdline");
            let mut words = command.split('\0').skip(1);
            if words.next() == Some(role::HOST_INNER) {
                found.extend(words.next().map(|name| (name.to_owned(), pid)));
            }
            let children = read(pid, &format!("task/{pid}/children"));
            next.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse::<u32>().ok()),
            );
        }
        found
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let socket = self
            .shared
            .socket
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // The switch ends with its lifeline, and so does everything in its process namespace; the
        // first process waits for that.
        let _ = socket.shutdown(Shutdown::Both);
        drop(self.first.wait());
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a request or a process.
    pub(super) fn fresh_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The receiving thread.
    fn receive(&self, socket: UnixStream) {
        let mut reader = BufReader::new(socket);
        while let Ok(Some(message)) = message::receive::<Message>(&mut reader) {
            self.lock().take(message);
            self.changed.notify_all();
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits until `done` returns something.
    fn wait<T>(
        &self,
        what: &str,
        timeout: Duration,
        mut done: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, LabError> {
        let mut found = None;
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), timeout, |state| {
                found = done(state);
                found.is_none() && !state.ended
            })
            .unwrap_or_else(PoisonError::into_inner);
        match (found, state.ended) {
            (Some(found), _) => Ok(found),
            (None, true) => Err(LabError::Ended),
            (None, false) => Err(LabError::Timeout {
                what: what.to_owned(),
                after: timeout,
            }),
        }
    }

    pub(super) fn wait_event<T>(
        &self,
        what: &str,
        from: usize,
        timeout: Duration,
        mut pick: impl FnMut(&Event) -> Option<T>,
    ) -> Result<(usize, T), LabError> {
        let mut next = from;
        self.wait(what, timeout, |state| {
            while let Some(event) = state.events.get(next) {
                next += 1;
                if let Some(found) = pick(event) {
                    return Some((next, found));
                }
            }
            None
        })
    }

    fn wait_ready(&self) -> Result<(), LabError> {
        let ready = self.wait("the switch", OWN_WORK_MAX, |state| {
            if let Some(failed) = state.failed.take() {
                Some(Err(failed))
            } else {
                state.ready.then_some(Ok(()))
            }
        })?;
        ready.map_err(|(step, errno)| {
            let source = io::Error::from_raw_os_error(errno);
            match role::advice(errno) {
                Some(advice) => LabError::Forbidden {
                    step,
                    source,
                    advice,
                },
                None => LabError::Step { step, source },
            }
        })
    }

    /// Sends a request and waits for its answer.
    pub(super) fn request(&self, host: &str, command: Command) -> Result<Answer, LabError> {
        let id = self.fresh_id();
        let of_host = matches!(command, Command::Host { .. }).then(|| host.to_owned());
        self.lock().pending.insert(id, of_host);
        message::send_shared(&self.socket, &Request { id, command })
            .map_err(|_| LabError::Ended)?;
        self.wait("the lab's answer", OWN_WORK_MAX, |state| {
            state.answers.remove(&id)
        })?
        .map_err(|message| LabError::Host {
            host: host.to_owned(),
            message,
        })
    }
}

impl State {
    fn take(&mut self, message: Message) {
        match message {
            Message::Ready => self.ready = true,
            Message::Failed { step, errno } => self.failed = Some((step, errno)),
            Message::Answer { id, answer } => {
                if self.pending.remove(&id).is_some() {
                    self.answers.insert(id, answer);
                }
            }
            Message::Event(event) => self.event(event),
        }
    }

    fn event(&mut self, event: Event) {
        match &event.what {
            What::Exited { process, .. } => drop(self.processes.remove(process)),
            What::PoweredOff => self.powered_off(&event),
            What::Line { .. } | What::Closed { .. } | What::PoweredOn => {}
        }
        self.events.push(event);
    }

    /// When a host ends, so do its processes and the requests to it.
    fn powered_off(&mut self, event: &Event) {
        let of_host: Vec<u64> = self
            .processes
            .extract_if(.., |_, host| *host == event.host)
            .map(|(process, _)| process)
            .collect();
        for process in of_host {
            let what = What::Exited {
                process,
                status: Exit::PoweredOff,
            };
            self.events.push(Event {
                at: event.at,
                host: event.host.clone(),
                what,
            });
        }
        let of_host = self
            .pending
            .extract_if(|_, host| host.as_ref() == Some(&event.host));
        self.answers
            .extend(of_host.map(|(id, _)| (id, Err("it was switched off".to_owned()))));
    }
}
