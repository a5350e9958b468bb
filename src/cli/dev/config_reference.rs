//! `carpd config-reference`: the part of `docs/configuration.md` that is made from the list of
//! keys, and the same for editors.

use crate::cli::{Exit, Failure, output};
use crate::config::reference;

/// Print the reference of all keys as Markdown
#[derive(Debug, Clone, Copy, clap::Args)]
pub(in crate::cli) struct Args {
    /// Print a JSON Schema instead, with which editors complete and check a configuration
    #[arg(long)]
    schema: bool,
}

pub(in crate::cli) fn run(args: Args) -> Result<Exit, Failure> {
    if args.schema {
        return output::artefact(format!("{:#}\n", reference::schema()).as_bytes());
    }
    output::artefact(reference::markdown().as_bytes())
}
