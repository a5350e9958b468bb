//! `carpd plugin`: builds, inspects, signs and configures hooks that are WebAssembly components.

mod add;
mod build;
mod edit;
mod inspect;
mod key;
mod list;
mod look;
mod new;
mod registry;
mod sign;
mod wit;

use std::path::{Path, PathBuf};

use super::{CONFIG, Exit, Failure, output};
use crate::config;
use crate::hooks::artifact::source::MAX_TOTAL;
use crate::trust::{FILE_MAX, Key, Trust};

/// Manage hooks that are WebAssembly components: build, inspect, sign and add them.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd plugin inspect failover.wasm           show what it can do\n  \
    carpd plugin add failover.wasm --vhost web   show it, ask, and add it to the configuration\n  \
    carpd plugin list                            show what is in use, and who signed it")]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    New(new::Args),
    Build(build::Args),
    Inspect(inspect::Args),
    Diff(inspect::DiffArgs),
    Keygen(key::Args),
    Sign(sign::Args),
    Verify(sign::VerifyArgs),
    Add(add::Args),
    List(list::Args),
    Pull(registry::Args),
    Push(registry::PushArgs),
    Wit(wit::Args),
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::New(args) => new::run(args),
        Verb::Build(args) => build::run(args),
        Verb::Inspect(args) => inspect::run(args),
        Verb::Diff(args) => inspect::diff(args),
        Verb::Keygen(args) => key::run(args),
        Verb::Sign(args) => sign::run(args),
        Verb::Verify(args) => sign::verify(args),
        Verb::Add(args) => add::run(args),
        Verb::List(args) => list::run(args),
        Verb::Pull(args) => registry::run(args),
        Verb::Push(args) => registry::push(args),
        Verb::Wit(args) => wit::run(args),
    }
}

/// Whose signatures are accepted.
#[derive(Debug, clap::Args)]
struct Keys {
    /// A minisign public key, or the file of one; may be repeated [default: `[trust] keys` in the
    /// configuration].
    #[arg(long = "key", short = 'p', value_name = "KEY")]
    keys: Vec<String>,

    /// The configuration.
    #[arg(long, short, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

impl Keys {
    /// The keys on the command line, or else those in the configuration, if there is one.
    fn trust(&self) -> Result<Trust, Failure> {
        if !self.keys.is_empty() {
            let keys = self
                .keys
                .iter()
                .map(|key| public_key(key))
                .collect::<Result<_, _>>()?;
            return Ok(Trust {
                keys,
                require_signature: true,
            });
        }
        if !self.config.exists() {
            return Ok(Trust::default());
        }
        config::load_trust(&self.config).map_err(|report| {
            output::problems(&report);
            Failure::new(Exit::Config, output::counts(&report))
        })
    }
}

fn public_key(text: &str) -> Result<Key, Failure> {
    if Key::looks_like(text) {
        return text
            .parse()
            .map_err(|err| failure(format!("{text}: {err}")));
    }
    let content = read_at_most(Path::new(text), FILE_MAX)?;
    Key::from_file(&String::from_utf8_lossy(&content))
        .map_err(|_| failure(format!("{text}: this is not a minisign public key")))
}

fn failure(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Failure, message)
}

/// Reads a file, up to the size that a hook may have.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    read_at_most(path, MAX_TOTAL)
}

fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| failure(format!("could not read {}: {why}", path.display()));
    let length = std::fs::metadata(path)
        .map_err(|err| failed(err.to_string()))?
        .len();
    if length > limit {
        return Err(failed(format!("it is larger than {limit} bytes")));
    }
    std::fs::read(path).map_err(|err| failed(err.to_string()))
}

fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, content)
        .map_err(|err| failure(format!("could not write {}: {err}", path.display())))
}
