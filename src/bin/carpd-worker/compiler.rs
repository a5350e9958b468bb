//! The compiler process: it takes one component, returns code for the runners, and ends.
//!
//! The keeper starts it as `carpd-worker __compiler`, with its socket as standard input. It
//! confines itself as a runner does: whatever a hostile component does to cranelift, it does to a
//! process that can reach nothing.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use carpd::frame::{FrameError, Inbox, receive, send};
use carpd::hooks::contract::message::Confinement;
use carpd::hooks::process::compiler::{MAX_CODE, MAX_FRAME, MEMORY, Order, Report};
use carpd::sandbox::{self, Kind};

use crate::wasm;

/// The whole life of a compiler process. Exit statuses are those of [`crate::runner::main`].
#[must_use]
pub(crate) fn main() -> ExitCode {
    let Ok(stream) = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(UnixStream::from)
    else {
        return ExitCode::from(2);
    };
    if stream.peer_addr().is_err() {
        return ExitCode::from(2);
    }
    sandbox::measure_address_space();
    // Asked before the system call filter, which always denies it.
    let native = wasm::can_execute();
    let mut engine = Err("wasmtime was not started".to_owned());
    // It installs its signal handlers now, because the filter denies that later.
    let confinement = sandbox::confine(Kind::Compiler, MEMORY, || {
        engine = wasmtime::Engine::new(&wasm::config(native)).map_err(|err| format!("{err:#}"));
    });
    match serve(&stream, &engine, confinement) {
        Ok(()) | Err(FrameError::Closed | FrameError::Io(_)) => ExitCode::SUCCESS,
        Err(FrameError::Truncated | FrameError::TooLarge { .. } | FrameError::Garbage(_)) => {
            ExitCode::from(3)
        }
    }
}

fn serve(
    stream: &UnixStream,
    engine: &Result<wasmtime::Engine, String>,
    confinement: Confinement,
) -> Result<(), FrameError> {
    send(stream, &Report::Ready { confinement }, MAX_FRAME)?;
    let order: Order = receive(stream, &mut Inbox::default(), MAX_FRAME)?;
    let report = engine
        .clone()
        .and_then(|engine| compile(&engine, &order.component));
    send(
        stream,
        &report.map_or_else(Report::Refused, Report::Done),
        MAX_FRAME,
    )
}

fn compile(engine: &wasmtime::Engine, component: &[u8]) -> Result<Vec<u8>, String> {
    let code = engine
        .precompile_component(component)
        .map_err(|err| format!("{err:#}"))?;
    if code.len() > MAX_CODE {
        return Err(format!(
            "it becomes {} bytes of code, more than {MAX_CODE}",
            code.len()
        ));
    }
    Ok(code)
}
