//! The compiler process, seen from the engine: it makes code for the runners of one component, and
//! ends. What it does is in `carpd-worker`.

use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use super::session::SandboxPolicy;
use crate::frame::{FrameError, Inbox, encode, next};
use crate::hooks::LoadError;
use crate::hooks::artifact::source::MAX_TOTAL;
use crate::hooks::contract::message::Confinement;
use crate::sandbox;

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
pub const MAX_FRAME: usize = MAX_CODE + (64 << 10);

/// To the compiler.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// What is to be compiled.
    #[serde(with = "crate::hooks::contract::bytes")]
    pub component: Vec<u8>,
}

/// From the compiler.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// First: how well it is confined.
    Ready {
        /// What is in force, and what is not.
        confinement: Confinement,
    },
    /// The code.
    Done(#[serde(with = "crate::hooks::contract::bytes")] Vec<u8>),
    /// Why there is none.
    Refused(String),
}

/// Looks at the first bytes, so that a mix-up gets its own words.
///
/// # Errors
/// What the file is instead of a component.
pub fn check_preamble(bytes: &[u8]) -> Result<(), String> {
    match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            Err("this is a core module, and a hook must be a component: carpd plugin build turns it into one".to_owned())
        }
        _ => Err("this is not a WebAssembly component".to_owned()),
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
                ", as it does when its {} MiB of memory are not enough",
                MEMORY >> 20
            )
        }
        how if how.contains("SIGXCPU") || how.contains("SIGKILL") => {
            ", as at the end of its CPU time".to_owned()
        }
        how if how.contains("SIGSEGV") || how.contains("SIGBUS") => {
            ", as when its stack is not large enough".to_owned()
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
            LoadError::Compiler("it gave no reason".to_owned())
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
    let Report::Ready { confinement } = next(&mut stream, &mut inbox, MAX_FRAME)
        .await
        .map_err(dead)?
    else {
        return Err(LoadError::Runner(
            "the compiler sent something unexpected".to_owned(),
        ));
    };
    let lacking = sandbox::lacking(&confinement);
    if policy == SandboxPolicy::Required && !lacking.is_empty() {
        return Err(LoadError::Sandbox(lacking.join("; ")));
    }
    let order = Order {
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
            "the compiler sent something unexpected".to_owned(),
        )),
    }
}
