//! The HTTP worker's own process: takes its order, confines itself, sends the request, reports, and
//! ends.

pub(crate) mod lookup;
pub(crate) mod talk;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use carpd::effect::outgoing::{OutgoingRequest, Scheme};
use carpd::frame::{self, FrameError, Inbox};
use carpd::host::HostError;
use carpd::host::children::http_worker::{
    MESSAGE_MAX, OF_DAEMON, Order, Report, Trouble, certificates,
};
use carpd::programs::role;
use carpd::sandbox::{self, Kind};

use self::lookup::look_up;
use self::talk::Trust;

/// The address space that it may have in addition to what is mapped at its start, in bytes; the
/// sandbox adds its own reserve.
const MEMORY: u64 = 8 << 20;

/// The whole life of an HTTP worker. Exit status 2: it was not started as one.
#[must_use]
pub(crate) fn main() -> ExitCode {
    let Ok(stream) = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(UnixStream::from)
    else {
        return ExitCode::from(2);
    };
    if stream.peer_addr().is_err() {
        return ExitCode::from(2);
    }
    match serve(&stream, &Told::by_keeper()) {
        Ok(()) => ExitCode::SUCCESS,
        // It is no longer wanted.
        Err(_) => ExitCode::FAILURE,
    }
}

/// What the keeper of a daemon specifies, whatever the engine does.
pub(crate) struct Told {
    /// Whether it was started by a daemon.
    daemon: bool,
    /// The file of certificates that its configuration names.
    ca_file: Option<PathBuf>,
}

impl Told {
    pub(crate) fn by_keeper() -> Self {
        let mut words = role::arguments();
        Self {
            daemon: words.next().is_some_and(|word| word == OF_DAEMON),
            ca_file: words.next().map(PathBuf::from),
        }
    }

    /// The file to read, with root's rights. A daemon's worker reads only the one that the
    /// configuration names; for a command that the operator runs, it is the one in the order.
    pub(crate) fn ca_file(&self, asked: Option<PathBuf>) -> Option<PathBuf> {
        if self.daemon {
            self.ca_file.clone()
        } else {
            asked
        }
    }
}

fn serve(stream: &UnixStream, told: &Told) -> Result<(), FrameError> {
    let order = match frame::receive(stream, &mut Inbox::default(), MESSAGE_MAX) {
        Err(FrameError::Closed) => return Ok(()),
        order => order?,
    };
    frame::send(stream, &run(order, told), MESSAGE_MAX)
}

fn run(order: Order, told: &Told) -> Report {
    let Order {
        confined,
        request,
        limit,
        ca_file,
    } = order;
    let endpoint = request.endpoint();
    // The certificates that the system and the operator trust are read while files are accessible.
    let trust = match (&request, told.ca_file(ca_file)) {
        (OutgoingRequest::Http(request) | OutgoingRequest::Tell(request), ca_file)
            if request.url.scheme() == Scheme::Https =>
        {
            let more = ca_file.map_or_else(|| Ok(Vec::new()), |path| certificates(&path));
            Trust::of_the_system().and(
                &more.map_err(|why| Trouble::Tls.error(&endpoint, &format!("ca-file: {why}")))?,
            )
        }
        (
            OutgoingRequest::Http(_) | OutgoingRequest::Tell(_) | OutgoingRequest::Connect { .. },
            _,
        ) => Trust::nobody(),
    };
    sandbox::measure_address_space();
    let confinement = sandbox::confine(
        Kind::HttpWorker {
            port: endpoint.port(),
        },
        MEMORY,
        || {},
    );
    let lacking = sandbox::lacking(&confinement);
    if confined && !lacking.is_empty() {
        let message = format!(
            "the sandbox is incomplete: {}; see `sandbox` in [daemon]",
            lacking.join("; ")
        );
        return Err(HostError::errno(message, libc::EPERM));
    }
    let addresses = look_up(&endpoint)?;
    if let Err(why) = sandbox::no_more_names()
        && confined
    {
        return Err(HostError::errno(
            format!("the sandbox is incomplete: seccomp: {why}"),
            libc::EPERM,
        ));
    }
    go(&request, &addresses, &trust, limit)
}

fn go(
    request: &OutgoingRequest,
    addresses: &[SocketAddr],
    trust: &Trust,
    limit: Duration,
) -> Report {
    match request {
        OutgoingRequest::Http(request) => talk::ask(request, addresses, trust, limit),
        OutgoingRequest::Tell(request) => talk::tell(request, addresses, trust, limit),
        OutgoingRequest::Connect { endpoint, .. } => talk::connect(endpoint, addresses, limit),
    }
}
