//! `carpd config-reference`: the part of `docs/configuration.md` that is made from the list of
//! keys.

use crate::cli::{Exit, Failure, output};
use crate::config::reference;

/// Print the reference of all keys as Markdown.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(in crate::cli) struct Args {}

pub(in crate::cli) fn run(Args {}: Args) -> Result<Exit, Failure> {
    output::artefact(reference::markdown().as_bytes())
}
