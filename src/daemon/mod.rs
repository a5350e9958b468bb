//! `carpd-daemon`: the privileged program. Keeper, engine, helper and reader are this program, each
//! executed anew.
//!
//! `carpd run` and `ucarp` execute it in their own place. It contains no interpreter, no compiler,
//! no TLS and none of the command-line tools: `tests/it/links.rs` checks that.

mod helper;
mod namespaces;
mod notifier;
mod part;
mod prober;
mod reader;
mod run;
pub(crate) mod ucarp;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use run::Args;

use crate::programs::role::{self, Log, Role};
use crate::telemetry::{self, Format};
use crate::terminal::{Failure, output};
use crate::{host, keeper};

/// The default path of the configuration.
pub const CONFIG: &str = "/etc/carpd/carpd.toml";

const ROLES: &[Role] = &[
    Role::new(
        // Its arguments say where it logs.
        keeper::ENGINE_ROLE,
        c"carpd-engine",
        Log::Own,
        run::engine,
    ),
    Role::new(
        keeper::HELPER_ROLE,
        c"carpd-helper",
        Log::Keeper,
        helper::main,
    ),
    Role::new(
        crate::reader::ROLE,
        c"carpd-reader",
        Log::Keeper,
        reader::main,
    ),
    Role::new(
        host::children::prober::ROLE,
        c"carpd-prober",
        Log::Keeper,
        prober::main,
    ),
    Role::new(
        host::children::notifier::ROLE,
        c"carpd-notifier",
        Log::Keeper,
        notifier::main,
    ),
    Role::new(keeper::ROLE, c"carpd-keeper", Log::Own, serve),
];

/// The daemon. People call `carpd run`, which has the same arguments.
#[derive(Debug, Parser)]
#[command(name = "carpd-daemon", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Args),
}

/// The main function of `carpd-daemon`.
#[must_use]
pub fn main() -> ExitCode {
    // Roles come before the command line, so that they do not depend on how it is parsed.
    if let Some(code) = role::play(ROLES).or_else(ucarp::continued) {
        return code;
    }
    match Cli::try_parse() {
        Ok(Cli {
            verb: Verb::Run(args),
        }) => run::run(&args).unwrap_or_else(|failure| report(&failure)),
        Err(error) => output::usage(&error).into(),
    }
}

fn report(failure: &Failure) -> ExitCode {
    output::report(failure).into()
}

/// The keeper of a command run by an operator: it logs where the command does.
fn serve() -> ExitCode {
    _ = telemetry::start(
        Format::Human,
        tracing_subscriber::filter::LevelFilter::WARN,
        None,
    );
    let code = keeper::serve();
    telemetry::stderr::finish();
    code
}
