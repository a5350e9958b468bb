//! `carpd plugin build`: from a core module to a component.

use std::path::PathBuf;

use crate::cli::{Exit, Failure};
use crate::hooks::artifact::manifest;

/// Make a component of what a compiler for wasm32-unknown-unknown left.
///
/// The component exports the entry points that the module exports, and imports the functions that
/// it calls; a module that needs anything beside the contract (`carpd plugin wit`) is refused. What
/// is a component already only gets the manifest.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd plugin build target/wasm32-unknown-unknown/release/failover.wasm --output failover.wasm\n  \
    carpd plugin build hook.core.wasm --manifest plugin.toml --output hook.wasm")]
pub(in crate::cli) struct Args {
    /// The module.
    #[arg(value_name = "FILE")]
    module: PathBuf,

    /// Where the component goes.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// What the plugin says about itself: name, version, description, license, asks.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let module = super::read(&args.module)?;
    let text = match &args.manifest {
        None => None,
        Some(path) => Some(std::fs::read_to_string(path).map_err(|err| {
            Failure::new(
                Exit::Failure,
                format!("could not read {}: {err}", path.display()),
            )
        })?),
    };
    let component = manifest::build(&module, text.as_deref())
        .map_err(|err| Failure::new(Exit::Failure, format!("{}: {err}", args.module.display())))?;
    std::fs::write(&args.output, component).map_err(|err| {
        Failure::new(
            Exit::Failure,
            format!("could not write {}: {err}", args.output.display()),
        )
    })?;
    Ok(Exit::Success)
}
