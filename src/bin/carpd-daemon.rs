//! The `carpd-daemon` binary: the program that has rights.

use std::process::ExitCode;

fn main() -> ExitCode {
    carpd::daemon::main()
}
