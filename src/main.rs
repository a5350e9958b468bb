//! The `carpd` binary: one file, several roles.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A role of the daemon's own before the command line: it must not depend on how that is parsed.
    carpd::cli::role::dispatch().unwrap_or_else(carpd::cli::main)
}
