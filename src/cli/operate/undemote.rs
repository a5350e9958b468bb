//! `carpd undemote`: an operator declares a node fit again.

use super::daemon::{self, Daemon};
use crate::cli::{Exit, Failure};
use crate::control::Order;
use crate::types::Name;

/// End the demotion of a virtual host, after fixing what made this node unfit.
///
/// Clears the demotion caused by failed sends, refused addresses, failed hooks, `carp.demote` and
/// `carpd resign`, and reports what remains. Demotion by a hook's `health` ends only when the hook
/// reports healthy again. On a master, a failing hook or address is retried at once.
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
