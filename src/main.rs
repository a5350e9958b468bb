//! The `carpd` binary: hands over to [`carpd::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        #[cfg(feature = "daemon")]
        Some(carpd::hooks::runner::ROLE) => carpd::hooks::runner::main(),
        #[cfg(feature = "daemon")]
        Some(carpd::keeper::ROLE) => carpd::keeper::serve(),
        _ => ExitCode::FAILURE,
    }
}
