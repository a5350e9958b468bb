//! The command line: one file for each command. Data goes to standard output, everything else to
//! standard error.
//!
//! | room | what is in it |
//! |---|---|
//! | `operate` | run a daemon, query it, give it orders, clean up after it |
//! | `foresee` | show what would happen: check, plan, rehearse |
//! | `write` | write hooks: templates, tests, grants, translated shell scripts |
//! | `plugin` | hooks by others: from registries, signed, compared |
//! | `ucarp` | the drop-in name |
//! | `dev` | the lab, and what packaging needs |

mod dev;
mod excerpt;
mod foresee;
mod operate;
#[cfg(feature = "wasm")]
mod plugin;
mod ucarp;
mod write;
mod xml;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

#[cfg(feature = "top")]
use operate::top;

use dev::{completions, config_reference, lab, man};
use foresee::{check, plan, rehearse};
use operate::{
    cleanup, demote, doctor, events, hook, maintenance, metrics, notify, peers, reload, replay,
    resign, run, status, why,
};
use write::{api, grant, import, new, port, test};

pub use crate::config::Share;
use crate::daemon::CONFIG;
pub use crate::terminal::{Exit, Failure};

use crate::hooks::contract::message::TESTER_ROLE;
use crate::ledger::{Instance, Origin, instance_name};
use crate::programs::role::{self, Log, Role};
use crate::terminal::output;

/// The roles in which the daemon starts this program, which contains everything that runs tests.
const ROLES: &[Role] = &[Role::new(
    // Its engine acts on a host that does not exist. In the log that would look like actions of the
    // daemon itself.
    TESTER_ROLE,
    c"carpd-tester",
    Log::Own,
    crate::testing::process,
)];

/// CARP for Linux: several hosts share addresses, and one of them holds them.
///
/// When the master dies, a backup takes over the addresses. Hooks decide what else happens then
/// (host name, routes, services): small scripts that run in a sandbox and may do only what the
/// configuration grants them.
#[derive(Debug, Parser)]
#[command(name = "carpd", version, after_long_help = after_long_help(), max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(crate::daemon::Args),
    Check(check::Args),
    Doctor(doctor::Args),
    Status(status::StatusArgs),
    Peers(peers::PeersArgs),
    #[cfg(feature = "top")]
    Top(top::TopArgs),
    Metrics(metrics::MetricsArgs),
    Reload(reload::ReloadArgs),
    Resign(resign::Args),
    Maintenance(maintenance::Args),
    Drain(maintenance::DrainArgs),
    Demote(demote::DemoteArgs),
    Promote(demote::PromoteArgs),
    #[command(hide = true)]
    Undemote(demote::UndemoteArgs),
    Notify(notify::Args),
    Hook(hook::HookArgs),
    Events(events::EventsArgs),
    Why(why::WhyArgs),
    Cleanup(cleanup::Args),
    Replay(replay::ReplayArgs),
    Lab(lab::Args),
    #[cfg(feature = "wasm")]
    Plugin(plugin::Args),
    Ucarp(ucarp::Args),
    Plan(plan::PlanArgs),
    Grant(grant::Args),
    Rehearse(rehearse::Args),
    Port(port::Args),
    Import(import::Args),
    New(new::Args),
    Test(test::Args),
    Api(api::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Man(man::Args),
    #[command(hide = true)]
    ConfigReference(config_reference::Args),
}

/// Parses the command line, runs the command, and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    // Roles come before the command line, so that they do not depend on how it is parsed.
    if let Some(code) = crate::lab::run_role().or_else(|| role::play(ROLES)) {
        return code;
    }
    if let Some(words) = ucarp::called(std::env::args_os()) {
        return ucarp::main(words);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error).into(),
    };
    let result = match cli.verb {
        Verb::Run(_) => Err(run::run()),
        Verb::Check(args) => check::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Status(args) => status::status(&args),
        Verb::Peers(args) => peers::peers(&args),
        #[cfg(feature = "top")]
        Verb::Top(args) => top::top(&args),
        Verb::Metrics(args) => metrics::metrics(&args),
        Verb::Reload(args) => reload::reload(&args),
        Verb::Resign(args) => resign::run(&args),
        Verb::Maintenance(args) => maintenance::run(&args),
        Verb::Drain(args) => maintenance::drain(&args),
        Verb::Demote(args) => demote::demote(&args),
        Verb::Promote(args) => demote::promote(&args),
        Verb::Undemote(args) => demote::undemote(&args),
        Verb::Notify(args) => notify::run(&args),
        Verb::Hook(args) => hook::hook(&args),
        Verb::Cleanup(args) => cleanup::run(&args),
        Verb::Events(args) => events::events(&args),
        Verb::Why(args) => why::why(&args),
        Verb::Replay(args) => replay::replay(&args),
        Verb::Lab(args) => lab::run(&args),
        #[cfg(feature = "wasm")]
        Verb::Plugin(args) => plugin::run(&args),
        Verb::Ucarp(args) => return ucarp::main(args.words),
        Verb::Plan(args) => plan::plan(&args),
        Verb::Grant(args) => grant::run(&args),
        Verb::Rehearse(args) => rehearse::run(&args),
        Verb::Port(args) => port::run(&args),
        Verb::Import(args) => import::run(&args),
        Verb::New(args) => new::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Api(args) => api::run(&args),
        Verb::Completions(args) => completions::run(&args),
        Verb::Man(args) => man::run(&args),
        Verb::ConfigReference(args) => config_reference::run(args),
    };
    result
        .unwrap_or_else(|failure| output::report(&failure))
        .into()
}

/// Whether these words, after the program's name, are a valid command line; else what is wrong. For the
/// tests of the documentation.
///
/// # Errors
/// What `carpd` would say.
pub fn understands(words: &[String]) -> Result<(), String> {
    let name = std::iter::once("carpd");
    let parsed = Cli::try_parse_from(name.chain(words.iter().map(String::as_str)));
    match parsed {
        Ok(_) => Ok(()),
        Err(error) if !error.use_stderr() => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// The directory of the daemon that runs this share of this configuration, in its network
/// namespace.
fn instance_dir(run_dir: &Path, config: &Path, share: &Share) -> Result<PathBuf, Failure> {
    let here = Origin::current()
        .map_err(|error| Failure::new(Exit::Cannot, format!("cannot read /proc: {error}")))?;
    let netns = std::fs::metadata(share.path()).map_err(|error| {
        let message = format!("there is no network namespace {share}: {error}");
        Failure::new(Exit::Cannot, message).hint("the daemon waits for it: `ip netns add` makes it")
    })?;
    let origin = Origin {
        netns: netns.ino(),
        ..here
    };
    let name = instance_name(config, &share.to_string());
    Ok(Instance::directory(run_dir, &name, origin))
}

/// The whole command line, for completions and the man page.
fn command() -> clap::Command {
    Cli::command()
}

fn after_long_help() -> String {
    let codes: String = Exit::ALL
        .iter()
        .map(|exit| format!("  {}  {}\n", exit.code(), exit.meaning()))
        .collect();
    format!(
        "Files:\n  \
           {CONFIG}   the configuration; docs/configuration.md describes every key\n  \
           /run/carpd              locks, and the ledger of what this host holds\n  \
           /var/lib/carpd          what survives a reboot\n\n\
         Exit status:\n{codes}\n\
         Examples:\n  \
           carpd check                     check the configuration\n  \
           carpd run                       run in the foreground, as under a service manager\n  \
           carpd lab                       see a failover between two virtual hosts on this machine"
    )
}
