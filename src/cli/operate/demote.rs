//! `carpd demote` and `carpd promote`: an operator says how fit a node is.

use std::time::Duration;

use super::daemon::{self, Daemon};
use super::maintenance::{ScopeArgs, length, millis};
use crate::cli::{Exit, Failure};
use crate::control::Order;
use crate::engine::command::BeginDemotion;
use crate::types::Name;

/// Demote this node, so that peers with a better advskew become master if they preempt.
///
/// The demotion survives restarts, reboots and crashes of the daemon. It is added to all other
/// demotion; the sum is at most 240. A new one replaces the one before. `carpd promote` ends it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  carpd demote 50\n  carpd demote 100 web --for 1h")]
pub(in crate::cli) struct DemoteArgs {
    #[command(flatten)]
    daemon: Daemon,
    /// What is added to the advskew.
    #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(1..=240))]
    by: u8,
    #[command(flatten)]
    scope: ScopeArgs,
    /// End by itself after this time, such as 90m or 1h30m.
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    length: Option<Duration>,
    /// The reason, for the status.
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

/// End the demotion of this node, after fixing what made it unfit.
///
/// Clears the demotion by `carpd demote` and `carpd resign`, and that caused by failed sends,
/// refused addresses, failed hooks and `carp.demote`; and reports what remains. Demotion by a track
/// or by a hook's `health` ends only when these report that all is well, and maintenance with `carpd
/// maintenance off`. On a master, a failing hook or address is retried at once.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  carpd promote\n  carpd promote web")]
pub(in crate::cli) struct PromoteArgs {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    scope: ScopeArgs,
}

/// The name of `carpd promote` before there was `carpd demote`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct UndemoteArgs {
    #[command(flatten)]
    daemon: Daemon,
    /// The virtual host.
    vhost: Name,
}

pub(in crate::cli) fn demote(args: &DemoteArgs) -> Result<Exit, Failure> {
    let vhost = args.scope.vhost.as_ref();
    for daemon in args.daemon.divisions(vhost) {
        let order = BeginDemotion {
            vhost: vhost.cloned(),
            by: args.by,
            for_ms: args.length.map(millis),
            reason: args.reason.clone(),
        };
        daemon::say(&daemon, Order::Demote(order))?;
    }
    Ok(Exit::Success)
}

pub(in crate::cli) fn promote(args: &PromoteArgs) -> Result<Exit, Failure> {
    let vhost = args.scope.vhost.as_ref();
    for daemon in args.daemon.divisions(vhost) {
        daemon::say(&daemon, Order::Promote(vhost.cloned()))?;
    }
    Ok(Exit::Success)
}

pub(in crate::cli) fn undemote(args: &UndemoteArgs) -> Result<Exit, Failure> {
    daemon::say(&args.daemon, Order::Undemote(args.vhost.clone()))
}
