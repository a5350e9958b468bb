//! `carpd config-reference`: the part of `docs/configuration.md` that is generated from the list of
//! keys, and a JSON Schema for editors.

use crate::cli::{Exit, Failure, output};
use crate::config::reference;

/// Print the reference of all keys as Markdown
#[derive(Debug, Clone, Copy, clap::Args)]
pub(in crate::cli) struct Args {
    /// Print a JSON Schema instead, for editors that complete and check a configuration
    #[arg(long)]
    schema: bool,
}

pub(in crate::cli) fn run(args: Args) -> Result<Exit, Failure> {
    if args.schema {
        return output::artefact(format!("{:#}\n", reference::schema()).as_bytes());
    }
    output::artefact(reference::markdown().as_bytes())
}
