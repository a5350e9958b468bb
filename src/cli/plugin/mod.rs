//! `carpd plugin`: hooks as WebAssembly components, built and looked at.

mod build;
mod inspect;

use std::path::Path;

use super::{Exit, Failure, output};
use crate::hooks::api::wit;
use crate::hooks::source::MAX_TOTAL;

/// Build hooks that are WebAssembly components, and see what they can do.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Build(build::Args),
    Inspect(inspect::Args),
    Diff(inspect::DiffArgs),
    /// Print the contract between carpd and a component, as WIT.
    Wit,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Build(args) => build::run(args),
        Verb::Inspect(args) => inspect::run(args),
        Verb::Diff(args) => inspect::diff(args),
        Verb::Wit => output::data(wit::contract().as_bytes()),
    }
}

/// Reads a file that is no larger than a hook may be.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| Failure::new(Exit::Failure, format!("could not read {}: {why}", path.display()));
    let length = std::fs::metadata(path).map_err(|err| failed(err.to_string()))?.len();
    if length > MAX_TOTAL {
        return Err(failed(format!("it is larger than {MAX_TOTAL} bytes")));
    }
    std::fs::read(path).map_err(|err| failed(err.to_string()))
}
