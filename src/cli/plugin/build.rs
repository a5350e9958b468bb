//! `carpd plugin build`: turns a core module into a component.

use std::path::PathBuf;

use crate::cli::{Exit, Failure};
use crate::hooks::artifact::manifest;

/// Turn a module compiled for wasm32-unknown-unknown into a component.
///
/// The component exports the module's entry points and imports the functions that it calls. A
/// module that needs anything outside the contract (`carpd plugin wit`) is refused. If the file is
/// a component already, only the manifest is added.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd plugin build target/wasm32-unknown-unknown/release/failover.wasm --output failover.wasm\n  \
    carpd plugin build hook.core.wasm --manifest plugin.toml --output hook.wasm")]
pub(in crate::cli) struct Args {
    /// The module.
    #[arg(value_name = "FILE")]
    module: PathBuf,

    /// The component to write.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// The plugin's manifest: name, version, description, license, asks.
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
