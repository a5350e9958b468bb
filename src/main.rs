//! The `carpd` binary: what people type.

use std::process::ExitCode;

fn main() -> ExitCode {
    carpd::cli::main()
}
