//! The `carpd` binary: hands over to [`carpd::cli`].

use carpd::lab::scenario::{self, Daemon, Options};

fn main() -> std::process::ExitCode {
    if let Some(code) = carpd::lab::run_role() {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |arg: &str| args.iter().any(|a| a == arg);
    let mut options = Options { json: has("--json"), keep: has("--keep"), ..Options::default() };
    if has("--peer") {
        options.node3 = Daemon::Ucarp;
    }
    if has("--ucarp") {
        options.node3 = Daemon::Ucarp;
        options.node2 = Daemon::Ucarp;
    }
    match scenario::run(&options, &mut std::io::stdout()) {
        Ok(report) if report.good => std::process::ExitCode::SUCCESS,
        Ok(_) => std::process::ExitCode::FAILURE,
        Err(err) => {
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{err}\n"));
            std::process::ExitCode::FAILURE
        }
    }
}
