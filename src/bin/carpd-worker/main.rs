//! The `carpd-worker` binary: the processes that handle untrusted input. They have no privileges;
//! what is read, compiled or run here is read, compiled or run nowhere else.

#[cfg(feature = "wasm")]
mod compiler;
mod endpoint;
mod http_worker;
#[cfg(test)]
#[path = "../../../tests/it/limit.rs"]
mod limit;
#[cfg(any(feature = "lua", feature = "wasm"))]
mod limits;
#[cfg(feature = "lua")]
mod lua;
mod net_prober;
mod runner;
#[cfg(feature = "wasm")]
mod wasm;

use std::process::ExitCode;

use carpd::hooks::contract::message;
use carpd::programs::role::{self, Log, Role};
use carpd::terminal::{Exit, Failure, output};

const ROLES: &[Role] = &[
    Role::new(
        message::RUNNER_ROLE,
        c"carpd-runner",
        Log::Keeper,
        runner::main,
    ),
    #[cfg(feature = "wasm")]
    Role::new(
        message::COMPILER_ROLE,
        c"carpd-compiler",
        Log::Keeper,
        compiler::main,
    ),
    Role::new(
        carpd::host::children::http_worker::ROLE,
        c"carpd-request",
        Log::Keeper,
        http_worker::main,
    ),
    Role::new(
        carpd::host::children::prober::remote::ROLE,
        c"carpd-netprober",
        Log::Keeper,
        net_prober::main,
    ),
    Role::new(
        carpd::host::children::endpoint::ROLE,
        c"carpd-http",
        Log::Keeper,
        endpoint::main,
    ),
];

fn main() -> ExitCode {
    role::play(ROLES).unwrap_or_else(|| {
        let failure = Failure::new(Exit::Usage, "carpd-worker is started only by the daemon");
        output::report(&failure.hint("run carpd instead: see carpd --help")).into()
    })
}
