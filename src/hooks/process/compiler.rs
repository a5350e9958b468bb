//! The compiler process: one component in, code for the runners out, and it ends.
//!
//! It is started as `carpd __compiler` by the keeper, with its socket as standard input, and
//! confines itself as a runner does: whatever a hostile component does to cranelift, it does to a
//! process that can reach nothing.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdStream;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use super::session::SandboxPolicy;
use crate::frame::{FrameError, Inbox, encode, next, receive, send};
use crate::hooks::LoadError;
use crate::hooks::artifact::source::MAX_TOTAL;
use crate::hooks::contract::message::{Confinement, VERSION};
use crate::hooks::runtime::wasm;
use crate::sandbox::{self, Kind};

pub use crate::hooks::contract::message::COMPILER_ROLE as ROLE;

/// The largest code that a component may become, in bytes.
pub const MAX_CODE: usize = 24 << 20;

/// How long compiling may take before the process is given up; a few seconds are usual for the
/// largest.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long it is waited for how a compiler ended that is gone.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What cranelift may use, in bytes of address space.
pub const MEMORY: u64 = 512 << 20;

/// A component and the messages around it.
const MAX_FRAME: usize = MAX_CODE + (64 << 10);

/// To the compiler.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    version: u16,
    #[serde(with = "crate::hooks::contract::bytes")]
    component: Vec<u8>,
}

/// From the compiler.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    /// First: how well it is confined.
    Ready {
        version: u16,
        confinement: Confinement,
    },
    /// The code.
    Done(#[serde(with = "crate::hooks::contract::bytes")] Vec<u8>),
    /// Why there is none.
    Refused(String),
}

/// The whole life of a compiler process. Exit statuses as of [`super::runner::main`].
#[must_use]
pub fn main() -> ExitCode {
    let Ok(stream) = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(StdStream::from)
    else {
        return ExitCode::from(2);
    };
    if stream.peer_addr().is_err() {
        return ExitCode::from(2);
    }
    sandbox::measure_address_space();
    // Asked before the system call filter, which denies it to everyone.
    let native = wasm::can_execute();
    let mut engine = Err("wasmtime was not started".to_owned());
    // It installs its signal handlers, which the filter denies later.
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
    stream: &StdStream,
    engine: &Result<wasmtime::Engine, String>,
    confinement: Confinement,
) -> Result<(), FrameError> {
    send(
        stream,
        &Report::Ready {
            version: VERSION,
            confinement,
        },
        MAX_FRAME,
    )?;
    let order: Order = receive(stream, &mut Inbox::default(), MAX_FRAME)?;
    let report = if order.version == VERSION {
        engine
            .clone()
            .and_then(|engine| compile(&engine, &order.component))
    } else {
        Err(format!(
            "the engine speaks version {} of the hook protocol, this compiler {VERSION}",
            order.version
        ))
    };
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

/// Looks at the first bytes, so that a mix-up gets its own words.
///
/// # Errors
/// What the file is instead of a component.
pub fn check_preamble(bytes: &[u8]) -> Result<(), String> {
    match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            Err("this is a core module, and a hook must be a component: carpd plugin build makes one of it".to_owned())
        }
        _ => Err("this is no WebAssembly component".to_owned()),
    }
}

/// The engine's end: has a component compiled by the process behind `stream`, within `patience`.
/// `ended` is told how that process ended, and is asked only if it did so without an answer.
///
/// # Errors
/// [`LoadError`]: the component's own fault, or a compiler that is not to be had. The process ends
/// by itself; it should be killed all the same.
pub async fn compile_by(
    stream: StdStream,
    component: &[u8],
    policy: SandboxPolicy,
    patience: Duration,
    ended: impl Future<Output = String>,
) -> Result<Vec<u8>, LoadError> {
    check_preamble(component).map_err(LoadError::Code)?;
    if component.len() as u64 > MAX_TOTAL {
        return Err(LoadError::Code(format!("larger than {MAX_TOTAL} bytes")));
    }
    match tokio::time::timeout(patience, converse(stream, component, policy)).await {
        Ok(Err(LoadError::Compiler(lost))) => {
            let how = tokio::time::timeout(LAST_WORDS, ended)
                .await
                .unwrap_or(lost);
            Err(LoadError::Compiler(format!("{how}{}", meaning(&how))))
        }
        Ok(result) => result,
        Err(_) => Err(LoadError::Code(format!(
            "compiling it took longer than {patience:?}"
        ))),
    }
}

/// What an end of the compiler says about its limits.
fn meaning(how: &str) -> String {
    match how {
        // It may write to no file, not even its last words where the log is one: then that is what
        // it dies of.
        how if how.contains("SIGABRT") || how.contains("SIGXFSZ") => {
            format!(
                ", as it does when its {} MiB of memory do not suffice",
                MEMORY >> 20
            )
        }
        how if how.contains("SIGXCPU") || how.contains("SIGKILL") => {
            ", as at the end of its CPU time".to_owned()
        }
        how if how.contains("SIGSEGV") || how.contains("SIGBUS") => {
            ", as when its stack does not suffice".to_owned()
        }
        how if how.contains("status 101") => ", which is a panic".to_owned(),
        _ => String::new(),
    }
}

async fn converse(
    stream: StdStream,
    component: &[u8],
    policy: SandboxPolicy,
) -> Result<Vec<u8>, LoadError> {
    let dead = |err: FrameError| match err {
        FrameError::Closed | FrameError::Truncated => {
            LoadError::Compiler("without a word".to_owned())
        }
        FrameError::Io(err) if err.kind() == std::io::ErrorKind::BrokenPipe => {
            LoadError::Compiler(err.to_string())
        }
        err => LoadError::Runner(format!("lost the compiler: {err}")),
    };
    let io = |err: std::io::Error| dead(err.into());
    stream.set_nonblocking(true).map_err(io)?;
    let mut stream = UnixStream::from_std(stream).map_err(io)?;
    let mut inbox = Inbox::default();
    let Report::Ready {
        version: VERSION,
        confinement,
    } = next(&mut stream, &mut inbox, MAX_FRAME)
        .await
        .map_err(dead)?
    else {
        return Err(LoadError::Runner(
            "the compiler speaks another version of the hook protocol".to_owned(),
        ));
    };
    let lacking = sandbox::lacking(&confinement);
    if policy == SandboxPolicy::Required && !lacking.is_empty() {
        return Err(LoadError::Sandbox(lacking.join("; ")));
    }
    let order = Order {
        version: VERSION,
        component: component.to_vec(),
    };
    stream
        .write_all(&encode(&order, MAX_FRAME).map_err(dead)?)
        .await
        .map_err(io)?;
    match next(&mut stream, &mut inbox, MAX_FRAME)
        .await
        .map_err(dead)?
    {
        Report::Done(code) if code.len() <= MAX_CODE => Ok(code),
        Report::Refused(why) => Err(LoadError::Code(why)),
        Report::Done(_) | Report::Ready { .. } => Err(LoadError::Runner(
            "the compiler spoke out of turn".to_owned(),
        )),
    }
}
