//! The parent process: spawns and kills the others, and cleans up after them.
//!
//! It has one thread and no async runtime. An engine with two capabilities can give nobody another
//! uid, nor kill who has one; so the keeper does it, and hands over one end of a socket
//! ([`message`]). Every process is spawned from the main thread: the signal that ends a child with
//! its parent is sent when the *thread* that made it ends.

mod client;
mod descriptors;
mod ear;
mod estate;
pub mod message;
mod shortage;
mod spawn;
mod supervise;
mod versions;
pub mod will;
mod wire;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use client::{Client, Exits};
pub use descriptors::close_on_exec;
pub use message::{ChildId, HowEnded, Predecessor, Role};
pub use spawn::unblock_signals;

/// The argument that makes the binary a keeper without an engine, for commands that load hooks.
pub const ROLE: &str = "__keeper";

/// The argument that makes the binary an engine; its own arguments follow.
pub const ENGINE_ROLE: &str = "__engine";

/// This binary, also after the file was replaced by another version.
const SELF: &str = "/proc/self/exe";

/// What is not the engine's to say: by what its helpers, readers and couriers go.
#[derive(Clone, Copy)]
pub struct Charge<'a> {
    /// The arguments of helpers and readers: where they read what they may do.
    pub told: &'a [OsString],
    /// The file of the configuration, if there is one: helpers and readers go by copies of it, and
    /// the number of a copy's descriptor follows their arguments.
    pub file: Option<&'a Path>,
    /// A descriptor that the engine, helpers and readers, and no other child, get as well, under the
    /// same number.
    pub handed: Option<&'a OwnedFd>,
    /// The file of certificates that the configuration names; asked at each start of an engine,
    /// which reads the configuration then.
    pub ca_file: &'a dyn Fn() -> Option<PathBuf>,
}

/// The whole life of the keeper process: starts the engine (`__engine` and `arguments`) with its
/// socket as standard input, forwards TERM, INT, HUP, USR1 and USR2 to it, serves its requests, and
/// kills what is left when it ends. An engine that died by accident is started again, with growing
/// pauses. The exit status is the engine's; 70 (`EX_SOFTWARE`) if it was to end and died instead.
#[must_use]
pub fn run(arguments: &[OsString], charge: &Charge<'_>) -> ExitCode {
    finish(supervise::run(Path::new(SELF), arguments, charge))
}

/// A keeper whose engine is the process that started it and holds the other end of standard input;
/// ends with that socket.
#[must_use]
pub fn serve() -> ExitCode {
    finish(supervise::serve().map(|()| 0))
}

fn finish(result: std::io::Result<u8>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(err) => {
            tracing::error!(%err, "The keeper could not go on");
            ExitCode::from(70)
        }
    }
}
