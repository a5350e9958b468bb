//! The parent process: spawns and kills the others, and cleans up after them.
//!
//! It has one thread and no async runtime. An engine with two capabilities can give nobody another
//! uid, nor kill who has one; so the keeper does it, and hands over one end of a socket
//! ([`message`]). Every process is spawned from the main thread: the kernel sends the signal that
//! ends a child with its parent when the *thread* that spawned it ends.

mod child_log;
mod cleanup;
mod client;
mod config_copies;
mod descriptors;
pub mod failsafe;
pub mod message;
mod oom;
mod spawn;
mod supervise;
mod wire;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

pub use client::{Client, Exits};
pub use descriptors::close_on_exec;
pub use message::{ChildId, HowEnded, Predecessor, Role};
pub(crate) use spawn::group_signals;
pub use spawn::unblock_signals;

use crate::programs::{Opened, Program, Programs, role};

/// The argument that makes the daemon's program a keeper without an engine, for commands that load
/// hooks.
pub const ROLE: &str = "__keeper";

/// The argument that makes it a helper.
pub const HELPER_ROLE: &str = message::HELPER_ROLE;

/// The argument that makes it an engine; its own arguments follow.
pub const ENGINE_ROLE: &str = "__engine";

/// How often the engine says that it is still preparing a reload.
pub const PREPARING_EVERY: Duration = Duration::from_secs(10);

/// A keeper that comes round so late did not run, and probably nobody else did: the time counts
/// against no engine.
const OVERSLEPT: Duration = Duration::from_secs(1);

/// What helpers, readers and HTTP workers are started with. The engine has no say in it.
#[derive(Clone, Copy)]
pub struct ChildSettings<'a> {
    /// Arguments of helpers and readers: where they read what they may do.
    pub arguments: &'a [OsString],
    /// The configuration file, if there is one. Helpers and readers read a copy of it; the number
    /// of the copy's descriptor follows their other arguments.
    pub config_file: Option<&'a Path>,
    /// A descriptor that the engine, helpers and readers inherit under the same number; no other
    /// child does.
    pub inherited: Option<&'a OwnedFd>,
    /// Who is told by a byte whenever the engine has taken another configuration into use.
    pub on_reload: Option<BorrowedFd<'a>>,
    /// The file of certificates that a configuration names: given the configuration's path and a
    /// copy of it, if there is one. Called before each start of an engine, on a thread of its own,
    /// whose result is dropped if it takes too long.
    pub ca_file: fn(&Path, Option<File>) -> Option<PathBuf>,
}

/// The whole life of the keeper process: starts the engine (`__engine` and `arguments`) with a
/// socket as its standard input, forwards TERM, INT, HUP, USR1 and USR2 to it, serves its requests,
/// and kills the remaining children when it ends. An engine that crashed is restarted, with growing
/// pauses. The exit status is the engine's, or 70 (`EX_SOFTWARE`) if the engine crashed while it
/// was stopping.
#[must_use]
pub fn run(programs: &Programs, arguments: &[OsString], settings: &ChildSettings<'_>) -> ExitCode {
    finish(supervise::run(programs, arguments, settings))
}

/// A keeper whose engine is the process that started it and holds the other end of standard input.
/// It ends when that socket closes.
#[must_use]
pub fn serve() -> ExitCode {
    finish(programs().and_then(|programs| supervise::serve(&programs).map(|()| 0)))
}

/// What such a keeper executes. The argument after the role is the descriptor of the worker, if
/// whoever started it has one open.
fn programs() -> io::Result<Programs> {
    let worker = match role::arguments().next() {
        Some(number) => Opened::inherited(&number)?,
        None => Opened::beside(Program::Worker)?,
    };
    Ok(Programs {
        daemon: Opened::this()?,
        worker,
        carpd: None,
    })
}

fn finish(result: io::Result<u8>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(err) => {
            tracing::error!(%err, "The keeper failed");
            ExitCode::from(70)
        }
    }
}
