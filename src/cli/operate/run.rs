//! `carpd run`: becomes the daemon, which is a separate program.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::cli::{Exit, Failure};
use crate::programs::{self, Program};

/// Executes the daemon in place of this process, with the same command line. Returns only if that
/// fails.
pub(in crate::cli) fn run() -> Failure {
    let cannot = |error: &dyn std::fmt::Display| Failure::new(Exit::Cannot, error.to_string());
    match programs::find(Program::Daemon) {
        Ok(daemon) => {
            let error = Command::new(&daemon)
                .arg0(Program::Carpd.name())
                .args(std::env::args_os().skip(1))
                .exec();
            cannot(&format_args!(
                "cannot execute {}: {error}",
                daemon.display()
            ))
        }
        Err(error) => cannot(&error),
    }
}
