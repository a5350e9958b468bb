//! `carpd cleanup`: the ledger's part alone.

use std::path::PathBuf;

use tracing_subscriber::filter::LevelFilter;

use super::{Exit, Failure, output};
use crate::engine::{self, Undone};
use crate::telemetry::{self, Format};

/// Undo what daemons that were killed left on this host.
///
/// Takes down their addresses and puts back what their hooks changed, as their ledgers tell; what somebody else has changed
/// since is left alone. Daemons that run are not touched. A daemon does the same when it starts; this is for hosts on which
/// none will, and for ExecStopPost= in a unit file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  carpd cleanup\n  carpd cleanup --config ./carpd.toml")]
pub(super) struct Args {
    /// Look into the directories that this configuration names, instead of /run/carpd and /var/lib/carpd.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let (run_dir, state_dir) = match &args.config {
        Some(path) => {
            let daemon = super::run::load(path)?.config.daemon;
            (daemon.run_dir, daemon.state_dir)
        }
        None => (PathBuf::from("/run/carpd"), PathBuf::from("/var/lib/carpd")),
    };
    // Each undo is told as the daemon would.
    _ = telemetry::start(Format::Human, LevelFilter::INFO, None);
    match engine::cleanup(&run_dir, &state_dir) {
        Ok(Undone { settled: 0, failed: 0 }) => output::data(b"nothing was left behind\n"),
        Ok(Undone { settled, failed: 0 }) => output::data(format!("{settled} undone\n").as_bytes()),
        Ok(Undone { settled, failed }) => Err(Failure::new(Exit::Failure, format!("{settled} undone, {failed} could not be"))
            .hint("they stay in the ledger: mend what the messages above name, then call it again")),
        Err(message) => Err(Failure::new(Exit::Cannot, message)),
    }
}
