//! The HTTP endpoint: answers metrics, status, health and a page on a socket that listens already.
//! It only reads, has no rights, and knows nothing but what the engine tells it.

mod answers;
mod desk;
mod exposition;
mod page;
mod server;
mod view;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::rc::Rc;

use carpd::frame::{self, FrameError};
use carpd::host::children::endpoint::{self, ASK_MAX, Ask, Order};
use carpd::sandbox::{self, Kind};
use tokio::task::LocalSet;

use self::desk::Desk;
use self::server::Listener;

/// The address space that it may have in addition to what is mapped at its start, in bytes; the
/// sandbox adds its own reserve.
const MEMORY: u64 = 256 << 20;

/// The whole life of an endpoint. Exit status 2: it was not started as one.
#[must_use]
pub(crate) fn main() -> ExitCode {
    let stream = io::stdin().as_fd().try_clone_to_owned();
    let Ok(stream) = stream.map(UnixStream::from) else {
        return ExitCode::from(2);
    };
    if stream.peer_addr().is_err() {
        return ExitCode::from(2);
    }
    match endpoint::receive(&stream)
        .map_err(io::Error::from)
        .and_then(|(order, listener)| serve(stream, order, listener))
    {
        Ok(()) => ExitCode::SUCCESS,
        // It is no longer wanted, or has said why.
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(stream: UnixStream, order: Order, listener: OwnedFd) -> io::Result<()> {
    sandbox::measure_address_space();
    // What it opens, it opens before it is confined.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let (mut for_failure, tasks) = (stream.try_clone()?, LocalSet::new());
    let (stream, listener) = {
        let _inside = runtime.enter();
        stream.set_nonblocking(true)?;
        (
            tokio::net::UnixStream::from_std(stream)?,
            Listener::new(listener, order.unix)?,
        )
    };
    let confinement = sandbox::confine(Kind::Endpoint, MEMORY, || {});
    let lacking = sandbox::lacking(&confinement);
    if order.confined && !lacking.is_empty() {
        let why = format!(
            "the sandbox is incomplete: {}; see `sandbox` in [daemon]",
            lacking.join("; ")
        );
        let why = why.chars().take(ASK_MAX / 4).collect();
        return Ok(frame::send(&mut for_failure, &Ask::Cannot(why), ASK_MAX)?);
    }
    drop(for_failure);
    tasks.block_on(&runtime, async {
        let (from_engine, to_engine) = stream.into_split();
        let desk = Rc::new(Desk::new(to_engine, order.node));
        tokio::task::spawn_local(server::accept(listener, Rc::clone(&desk)));
        match desk.listen(from_engine).await {
            // The daemon stops.
            FrameError::Closed => Ok(()),
            error => Err(error.into()),
        }
    })
}
