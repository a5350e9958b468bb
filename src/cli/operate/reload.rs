//! `carpd reload`.

use super::daemon::{Daemon, ask, unexpected};
use crate::cli::{Exit, Failure, output};
use crate::control::{Order, Reply};
use crate::types::Page;

/// Reload the configuration and all hooks; all or nothing.
///
/// Everything is checked first. If anything is wrong, nothing changes and the daemon continues with
/// what it has. Virtual hosts that did not change, or were only renamed, are not disturbed. Moving
/// a master to an interface that does not exist is an error as well: it keeps its addresses.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::cli) struct ReloadArgs {
    #[command(flatten)]
    daemon: Daemon,
    /// Reload even if a master would move to an interface that does not exist: it releases its
    /// addresses and waits for the interface.
    #[arg(long)]
    force: bool,
}

pub(in crate::cli) fn reload(args: &ReloadArgs) -> Result<Exit, Failure> {
    let order = if args.force {
        Order::ForceReload
    } else {
        Order::Reload
    };
    if args.daemon.has_shares() && args.daemon.netns.is_none() {
        return reload_shares(args);
    }
    let Reply::Reload(report) = ask(&args.daemon, order)? else {
        return Err(unexpected());
    };
    if !report.done {
        return Err(report.problems.into_iter().fold(
            Failure::new(Exit::Config, "nothing was changed:"),
            Failure::detail,
        ));
    }
    for doubt in &report.warnings {
        output::note(format_args!("warning: {doubt}"));
    }
    let mut page = Page::default();
    report
        .changes
        .iter()
        .for_each(|change| writeln!(page, "{change}"));
    if report.changes.is_empty() {
        writeln!(page, "nothing to change");
    }
    output::page(&page)
}

/// Reloads in each network namespace in which the daemon runs. The first failure is that of all;
/// the others are reloaded all the same.
fn reload_shares(args: &ReloadArgs) -> Result<Exit, Failure> {
    let mut first = Ok(Exit::Success);
    for share in args.daemon.shares() {
        let mut args = args.clone();
        args.daemon.netns = Some(share.clone());
        if share.netns().is_some_and(|netns| !netns.path().exists()) {
            output::note(format_args!(
                "warning: there is no network namespace {share} now"
            ));
            continue;
        }
        match share.netns() {
            Some(netns) => _ = output::line(format_args!("network namespace {netns}")),
            None => _ = output::line("the daemon's own network namespace"),
        }
        match (reload(&args), &first) {
            (Err(failure), Ok(_)) => first = Err(failure),
            (Err(failure), Err(_)) => _ = output::report(&failure),
            (Ok(_), _) => {}
        }
    }
    first
}
