//! `carpd plugin wit`.

use super::failure;
use crate::cli::{Exit, Failure, output};
use crate::hooks::contract::api::wit::{self, Part};

/// Print the contract between carpd and components, as WIT.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd plugin wit > wit/hooks.wit\n  \
    carpd plugin wit --only config.get,service.start,service.stop,on_master,on_backup > wit/hook.wit")]
pub(in crate::cli) struct Args {
    /// Print only these functions (such as service.start, or service for the whole group) and entry
    /// points (such as on_master), in one world `hook`. This is for toolchains that import their
    /// whole world, such as those of JavaScript and Python: everything imported must be granted.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    if args.only.is_empty() {
        return output::artefact(wit::contract().as_bytes());
    }
    let part = Part::of(args.only.iter().map(String::as_str)).map_err(failure)?;
    output::artefact(part.wit().as_bytes())
}
