//! `carpd resign`: hands over, and reports the outcome.

use super::daemon::{self, Daemon};
use crate::cli::{Exit, Failure, output};
use crate::control::{Order, Reply};
use crate::engine::report::HandedOver;
use crate::types::Name;

/// Hand a virtual host over to a peer, and make this node the last choice for a while.
///
/// First asks which peers are there. Without a fit peer nothing is done, and the exit status is 5.
/// Only backups that run carpd answer; those that run anything else are silent. Waits until a peer
/// has taken over, or until it is clear that none will, and reports which.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  carpd resign web\n  carpd resign web --reason \"new kernel\" && reboot\n  \
                             carpd resign web --force    the peer runs ucarp or a BSD"
)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    daemon: Daemon,
    /// The virtual host.
    vhost: Name,
    /// The reason, for the log.
    #[arg(long, default_value = "asked by an operator")]
    reason: String,
    /// Hand over even without a fit peer, and report how long no node held the addresses.
    #[arg(long)]
    force: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    let Args {
        daemon,
        vhost,
        reason,
        force,
    } = args;
    let order = Order::Resign {
        vhost: vhost.clone(),
        reason: reason.clone(),
        force: *force,
    };
    let Reply::HandedOver(outcome) = daemon::ask(daemon, order)? else {
        return Err(daemon::unexpected());
    };
    match outcome {
        HandedOver::To { peer, after_ms } => output::line(format_args!(
            "{vhost}: handed over to {peer} after {after_ms} ms"
        )),
        HandedOver::Back { nobody_ms } => {
            let text = format!(
                "{vhost}: no peer took over; no node held the addresses for {nobody_ms} ms, and this node holds them again"
            );
            if *force {
                output::line(text)
            } else {
                Err(Failure::new(Exit::Failure, text))
            }
        }
        HandedOver::NoPeer { waited_ms } => {
            let text =
                format!("{vhost}: no fit peer answered within {waited_ms} ms; nothing was done");
            let hint = "use --force to hand over anyway, for example to a peer that does not run carpd: such backups are silent";
            Err(Failure::new(Exit::NoPeer, text).hint(hint))
        }
    }
}
