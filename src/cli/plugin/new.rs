//! `carpd plugin new`: creates a plugin, like `carpd new hook --lang rust` but with a choice of
//! SDK.

use std::path::PathBuf;

use crate::cli::write::new::{Lang, make, rust_files};
use crate::cli::{Exit, Failure};
use crate::types::Name;

/// Create a directory with a working plugin in Rust, its test, its manifest, and the matching SDK.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd plugin new announcer\n  \
    carpd plugin new announcer --sdk ../carpd/plugins/sdk\n  \
    carpd plugin new announcer --sdk https://git.example.org/carpd.git\n\n\
    The SDK is copied, so that nothing but the crate wit-bindgen has to be fetched. After an upgrade of carpd make it anew beside\n\
    another directory, and replace carpd-hook/ with that one. `carpd new hook` begins one in another language.")]
pub(in crate::cli) struct Args {
    /// The plugin's name: letters, digits and dashes.
    #[arg(value_name = "NAME")]
    name: Name,

    /// The directory to create; ./NAME if not given.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,

    /// Use the crate carpd-hook from this directory or Git repository instead of a copy.
    #[arg(long, value_name = "PATH|URL")]
    sdk: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let files = rust_files(&args.name, args.sdk.as_deref())?;
    make(&args.name, Lang::Rust, args.dir.as_deref(), &files)
}
