//! `carpd undemote`: an operator says that a node is as fit as any.

use super::daemon::{self, Daemon};
use crate::cli::{Exit, Failure};
use crate::control::Order;
use crate::types::Name;

/// End the demotion of a virtual host: what made this node unfit has been put right.
///
/// Ends what failed sends, refused addresses, failed hooks, `carp.demote` and `carpd resign` did,
/// and says what is left: what a hook's `health` says ends when that says otherwise, and a hook or
/// an address that fails on a master is tried again at once.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  carpd undemote web")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    daemon: Daemon,
    /// The virtual host.
    vhost: Name,
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    daemon::say(&args.daemon, Order::Undemote(args.vhost.clone()))
}
