//! The net prober: asks servers and hosts, again and again, whether they answer, for as long as the
//! daemon runs. It reads what they answer, so it is confined like an HTTP worker.
//!
//! Looking up a name cannot be given up, and what an HTTP library does cannot be cut into steps: so
//! each job has a thread, and the main thread says what is late.

mod ping;

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use carpd::effect::Endpoint;
use carpd::frame::FrameError;
use carpd::host::HostError;
use carpd::host::children::http_worker::certificates;
use carpd::host::children::prober::remote::{Ask, Order, Outlet, RemoteJob, late_at};
use carpd::host::children::prober::{ALIVE_EVERY, Finding, Teller};
use carpd::host::clock;
use carpd::sandbox::{self, Kind};
use carpd::types::Timestamp;

use self::ping::Pinger;
use crate::http_worker::Told;
use crate::http_worker::lookup::look_up;
use crate::http_worker::talk::{self, Trust};

/// The address space that it may have in addition to what is mapped at its start and its stacks, in
/// bytes; the sandbox adds its own reserve.
const MEMORY: u64 = 8 << 20;

/// A thread's stack, in bytes: that of a TLS handshake in a build without optimisation.
const STACK: u64 = 1 << 20;

/// The whole life of a net prober. Exit status 2: it was not started as one.
#[must_use]
pub(crate) fn main() -> ExitCode {
    let stream = io::stdin().as_fd().try_clone_to_owned();
    let Ok(stream) = stream.map(UnixStream::from) else {
        return ExitCode::from(2);
    };
    if stream.peer_addr().is_err() {
        return ExitCode::from(2);
    }
    let Ok(listener) = stream.try_clone() else {
        return ExitCode::FAILURE;
    };
    match Outlet::open(stream) {
        // It is no longer wanted.
        Err(_) => ExitCode::FAILURE,
        Ok((outlet, order)) => match serve(outlet, order, listener) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
    }
}

/// From a job's thread.
enum Event {
    /// It begins an attempt that may take longer than it should.
    Began(usize, Timestamp),
    /// It has finished one.
    Ended(usize, Finding),
}

fn serve(mut outlet: Outlet, order: Order, listener: UnixStream) -> Result<(), FrameError> {
    let trust = trust_for(&order.jobs);
    let jobs = order.jobs;
    // The sockets need a right that is given up next.
    let pingers: Vec<Option<Pinger>> = jobs.iter().map(Pinger::of).collect();
    let mut ports: Vec<u16> = jobs.iter().filter_map(|job| job.ask.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    sandbox::measure_address_space();
    let count = u64::try_from(jobs.len()).unwrap_or(u64::MAX);
    let memory = MEMORY.saturating_add(STACK.saturating_mul(count.saturating_add(1)));
    let (events, inbox) = channel();
    let gate = Arc::new(RwLock::new(()));
    let shut = gate.write().unwrap_or_else(PoisonError::into_inner);
    let mut failed = trust.as_ref().err().cloned();
    let kind = Kind::NetProber { ports: &ports };
    let confinement = sandbox::confine(kind, memory, || {
        let Ok(trust) = &trust else { return };
        // A thread that has not begun needs calls that the filter refuses.
        let (begun, all_begun) = channel();
        let started = start(&jobs, pingers, trust, (&events, &gate, &begun));
        let started = started.and_then(|()| watch(listener, begun));
        failed = started.err().map(|error| error.to_string());
        // Each drops its end when it begins; nobody sends.
        _ = all_begun.recv();
    });
    let lacking = sandbox::lacking(&confinement);
    if order.confined && !lacking.is_empty() {
        failed = Some(format!(
            "the sandbox is incomplete: {}; see `sandbox` in [daemon]",
            lacking.join("; ")
        ));
    }
    if let Some(why) = failed {
        for job in jobs {
            let finding = Finding::bad(format!("cannot be asked: {why}"));
            outlet.found(job.track, finding)?;
        }
        return Err(FrameError::Io(io::Error::other(why)));
    }
    drop(shut);
    drop(events);
    Desk::new(jobs, outlet).run(&inbox)
}

/// The certificates that are believed, read while files are accessible.
fn trust_for(jobs: &[RemoteJob]) -> Result<Arc<Trust>, String> {
    use carpd::effect::outgoing::Scheme;
    let is_secure =
        |job: &RemoteJob| matches!(&job.ask, Ask::Get { url, .. } if url.scheme() == Scheme::Https);
    if !jobs.iter().any(is_secure) {
        return Ok(Arc::new(Trust::nobody()));
    }
    let more = Told::by_keeper()
        .ca_file(None)
        .map_or_else(|| Ok(Vec::new()), |path| certificates(&path));
    let more = more.map_err(|why| format!("ca-file: {why}"))?;
    Ok(Arc::new(Trust::of_the_system().and(&more)))
}

/// Starts a thread for each job; they wait at the gate.
fn start(
    jobs: &[RemoteJob],
    pingers: Vec<Option<Pinger>>,
    trust: &Arc<Trust>,
    (events, gate, begun): (&Sender<Event>, &Arc<RwLock<()>>, &Sender<()>),
) -> io::Result<()> {
    let share = u32::try_from(jobs.len()).unwrap_or(u32::MAX).max(1);
    for ((place, job), pinger) in jobs.iter().enumerate().zip(pingers) {
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        let asker = Asker {
            place,
            job: job.clone(),
            pinger,
            trust: Arc::clone(trust),
            events: events.clone(),
            // All begin at once; afterwards those of one interval spread over it.
            offset: job.interval / share * number,
        };
        let (gate, begun) = (Arc::clone(gate), begun.clone());
        thread::Builder::new()
            .stack_size(usize::try_from(STACK).unwrap_or(usize::MAX))
            .spawn(move || {
                drop(begun);
                drop(gate.read());
                asker.run();
            })?;
    }
    Ok(())
}

/// Ends the process when the engine closes its socket, whatever the others do.
fn watch(listener: UnixStream, begun: Sender<()>) -> io::Result<()> {
    use io::Read as _;
    thread::Builder::new()
        .stack_size(usize::try_from(STACK).unwrap_or(usize::MAX))
        .spawn(move || {
            drop(begun);
            let mut listener = listener;
            while matches!(listener.read(&mut [0; 64]), Ok(1..)) {}
            std::process::exit(0);
        })
        .map(drop)
}

/// What a job's thread does.
struct Asker {
    place: usize,
    job: RemoteJob,
    pinger: Option<Pinger>,
    trust: Arc<Trust>,
    events: Sender<Event>,
    offset: Duration,
}

impl Asker {
    fn run(mut self) {
        let mut next = clock::now() + self.offset;
        let has_name = has_name(&self.job.ask);
        loop {
            let began = clock::now();
            if has_name && self.events.send(Event::Began(self.place, began)).is_err() {
                return;
            }
            let finding = match self.ask(began) {
                Ok(finding) => finding,
                Err(error) => Finding::bad(error.message),
            };
            if self.events.send(Event::Ended(self.place, finding)).is_err() {
                return;
            }
            // One that took longer than the interval is not made up for.
            let now = clock::now();
            next = (next + self.job.interval).max(now);
            while clock::now() < next {
                thread::park_timeout(next.since(clock::now()));
            }
        }
    }

    fn ask(&mut self, began: Timestamp) -> Result<Finding, HostError> {
        let limit = self.job.timeout;
        let endpoint = endpoint(&self.job.ask)?;
        let addresses = look_up(&endpoint)?;
        let left = limit.saturating_sub(clock::now().since(began));
        if left.is_zero() {
            return Ok(late(limit));
        }
        match &self.job.ask {
            Ask::Connect(endpoint) => {
                talk::connect(endpoint, &addresses, left).map(|_| Finding::Well)
            }
            Ask::Get { url, good } => {
                let status = talk::status(url, &addresses, &self.trust, left)?;
                Ok(judged(status, good))
            }
            Ask::Echo(_) => {
                let address = addresses.first().map(std::net::SocketAddr::ip);
                let answered = match (&mut self.pinger, address) {
                    (Some(pinger), Some(address)) => pinger.ping(address, left),
                    _ => Err(io::Error::other("it has no address")),
                };
                Ok(answered.map_or_else(
                    |error| Finding::bad(format!("no echo from {}: {error}", endpoint.host())),
                    |()| Finding::Well,
                ))
            }
        }
    }
}

/// Only looking up a name takes as long as it takes.
fn has_name(ask: &Ask) -> bool {
    let host = match ask {
        Ask::Connect(endpoint) => endpoint.host().to_owned(),
        Ask::Get { url, .. } => url.endpoint().host().to_owned(),
        Ask::Echo(host) => host.clone(),
    };
    host.parse::<IpAddr>().is_err()
}

fn endpoint(ask: &Ask) -> Result<Endpoint, HostError> {
    match ask {
        Ask::Connect(endpoint) => Ok(endpoint.clone()),
        Ask::Get { url, .. } => Ok(url.endpoint()),
        Ask::Echo(host) => {
            // The port plays no part.
            let text = if host.contains(':') {
                format!("[{host}]:1")
            } else {
                format!("{host}:1")
            };
            text.parse()
                .map_err(|error: carpd::effect::outgoing::ParseUrlError| {
                    HostError::new(error.to_string())
                })
        }
    }
}

fn judged(status: u16, good: &[(u16, u16)]) -> Finding {
    let mut ranges = good.iter();
    if ranges.any(|(first, last)| (*first..=*last).contains(&status)) {
        Finding::Well
    } else {
        Finding::bad(format!("status {status}"))
    }
}

fn late(limit: Duration) -> Finding {
    Finding::bad(format!("no answer after {:.1} s", limit.as_secs_f64()))
}

/// Where findings come together.
struct Desk {
    jobs: Vec<RemoteJob>,
    tellers: Vec<Teller>,
    /// When the present attempt is late, and whether that was said.
    late: Vec<Option<(Timestamp, bool)>>,
    outlet: Outlet,
    alive_at: Timestamp,
}

impl Desk {
    fn new(jobs: Vec<RemoteJob>, outlet: Outlet) -> Self {
        Self {
            tellers: jobs.iter().map(|job| Teller::new(job.counts)).collect(),
            late: vec![None; jobs.len()],
            jobs,
            outlet,
            alive_at: clock::now(),
        }
    }

    fn run(mut self, inbox: &Receiver<Event>) -> Result<(), FrameError> {
        loop {
            let now = clock::now();
            if now >= self.alive_at {
                self.outlet.alive()?;
                self.alive_at = now + ALIVE_EVERY;
            }
            self.tell_late(now)?;
            let deadlines = self.late.iter().flatten().map(|(at, _)| *at);
            let next = deadlines.chain([self.alive_at]).min();
            let pause = next.map_or(ALIVE_EVERY, |next| next.since(clock::now()));
            match inbox.recv_timeout(pause) {
                Ok(Event::Began(place, at)) => {
                    if let (Some(late), Some(job)) =
                        (self.late.get_mut(place), self.jobs.get(place))
                    {
                        *late = Some((late_at(at, job.timeout), false));
                    }
                }
                Ok(Event::Ended(place, finding)) => {
                    let was_late = self.late.get_mut(place).and_then(Option::take);
                    if !was_late.is_some_and(|(_, said)| said) {
                        self.tell(place, finding)?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// An attempt that hangs fails again after each interval.
    fn tell_late(&mut self, now: Timestamp) -> Result<(), FrameError> {
        for place in 0..self.jobs.len() {
            let Some(Some((at, said))) = self.late.get_mut(place) else {
                continue;
            };
            if now < *at {
                continue;
            }
            let Some(job) = self.jobs.get(place) else {
                continue;
            };
            (*at, *said) = (now + job.interval.max(job.timeout), true);
            let finding = late(job.timeout);
            self.tell(place, finding)?;
        }
        Ok(())
    }

    fn tell(&mut self, place: usize, finding: Finding) -> Result<(), FrameError> {
        let (Some(job), Some(teller)) = (self.jobs.get(place), self.tellers.get_mut(place)) else {
            return Ok(());
        };
        if teller.tells(&finding, clock::now()) {
            self.outlet.found(job.track.clone(), finding)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_good_or_not() {
        let of = |status| judged(status, &[(200, 299), (401, 401)]);
        for status in [200, 204, 299, 401] {
            assert_eq!(of(status), Finding::Well, "{status}");
        }
        for status in [199, 300, 400, 402, 503] {
            assert_eq!(of(status), Finding::bad(format!("status {status}")));
        }
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for (host, is_name) in [("192.0.2.1", false), ("2001:db8::1", false), ("db", true)] {
            let ask = Ask::Echo(host.to_owned());
            assert_eq!(has_name(&ask), is_name, "{host}");
            assert_eq!(endpoint(&ask).unwrap().host(), host);
        }
    }
}
