//! The `carpd` binary: hands over to [`carpd::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("__helper") => carpd::host::helper::main(),
        _ => ExitCode::SUCCESS,
    }
}
