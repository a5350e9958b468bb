//! The tester: a process that runs the test of one hook for an engine, and then ends.
//!
//! It starts runners, and it parses what the test reports, so it has a user of its own, no
//! privileges, no network, no file that it can write to, and limits on time and memory.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use crate::engine::hook_test;
use crate::frame::FrameError;
use crate::keeper::{Client, Exits};
use crate::programs::role;
use crate::sandbox;

/// The whole life of a tester, started by the keeper with its socket as standard input. Exit
/// statuses are those of the program `carpd-worker`.
#[must_use]
pub fn process() -> ExitCode {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let Ok(stream) = stdin.map(UnixStream::from) else {
        return ExitCode::from(2);
    };
    if stream.peer_addr().is_err() {
        return ExitCode::from(2);
    }
    // The hook itself runs in runners, which refuse it without a full sandbox; what is missing here
    // is reported with the verdict.
    let missing = sandbox::confine_tester().missing;
    let served = serve(&stream, &missing);
    if let Err(error) = &served {
        tell(error);
    }
    match served {
        Ok(()) | Err(FrameError::Closed | FrameError::Io(_)) => ExitCode::SUCCESS,
        Err(FrameError::Truncated | FrameError::TooLarge { .. } | FrameError::Garbage(_)) => {
            ExitCode::from(3)
        }
    }
}

fn serve(stream: &UnixStream, missing: &[String]) -> Result<(), FrameError> {
    let exam = hook_test::receive(stream)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let verdict = tokio::task::LocalSet::new().block_on(&runtime, async {
        let (keeper, _exits) = keeper()?;
        Ok::<_, FrameError>(super::examine(&keeper, exam).await)
    })?;
    hook_test::tell(stream, &verdict, missing)
}

/// A keeper of its own, from the programs that the daemon runs: the descriptors of both are its
/// arguments.
fn keeper() -> io::Result<(Client, Exits)> {
    let mut numbers = role::arguments();
    match (numbers.next(), numbers.next()) {
        (Some(daemon), Some(worker)) => Client::start_inherited(&daemon, &worker),
        _ => Client::start(None),
    }
}

/// Standard error goes to the daemon's log; if that cannot take any more, this is no reason to
/// panic.
fn tell(error: &FrameError) {
    _ = writeln!(std::io::stderr(), "{error}");
}
