//! The reader: a separate process for files that the engine may not read.
//!
//! The engine gives up reading what is root's. The reader opens for it what the configuration
//! names, and hands over the descriptors: the configuration itself, passwords, keys, and what hooks
//! consist of. It reads the names from the file itself, so a compromised engine cannot get any
//! other file from it. It also watches the hooks' files for changes, which takes rights to the
//! directories on the way.
//!
//! What it reads is the keeper's copy of the file: the one in use, or the one that a reload is
//! about, which starts another reader.

mod client;
mod names;
mod process;
mod watch;
mod wire;

pub use client::{Client, Watching};
pub use names::Names;
pub use process::main;
pub use wire::{How, PollReason, Told, Unfinished};

/// The argument that makes the daemon's program a reader.
pub const ROLE: &str = "__reader";
