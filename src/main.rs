//! The `carpd` binary: hands over to [`carpd::cli`].

fn main() -> std::process::ExitCode {
    if let Some(code) = carpd::lab::run_role() {
        return code;
    }
    std::process::ExitCode::SUCCESS
}
