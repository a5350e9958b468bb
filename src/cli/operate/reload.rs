//! `carpd reload`.

use super::daemon::{Daemon, ask, heading, may_be_there, unexpected};
use crate::cli::{Exit, Failure, output};
use crate::config::Share;
use crate::control::{self, Order, Reply};
use crate::types::Page;

/// Reload the configuration and all hooks; all or nothing.
///
/// Everything is checked first. If anything is wrong, nothing changes and the daemon continues with
/// what it has. Virtual hosts that did not change, or were only renamed, are not disturbed. Moving
/// a master to an interface that does not exist is an error as well: it keeps its addresses.
#[derive(Debug, clap::Args)]
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
    if let Some(all) = args.daemon.in_each() {
        return reload_shares(args, all);
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

/// Reloads in each network namespace in which the daemon runs, and waits for it in those in which it
/// runs from now on. The first failure is that of all; the others are reloaded all the same.
fn reload_shares(args: &ReloadArgs, daemons: Vec<(Share, Daemon)>) -> Result<Exit, Failure> {
    let mut first = Ok(Exit::Success);
    let socket = |daemon: &Daemon| daemon.part(None, control::socket_path);
    let is_running = |daemon: &Daemon| socket(daemon).is_ok_and(|socket| may_be_there(&socket));
    let runs_anywhere = daemons.iter().any(|(_, daemon)| is_running(daemon));
    let mut new = Vec::new();
    for (share, daemon) in daemons {
        let args = ReloadArgs { daemon, ..*args };
        if share.netns().is_some_and(|netns| !netns.path().exists()) {
            output::note(format_args!(
                "warning: there is no network namespace {share} now"
            ));
            continue;
        }
        if runs_anywhere && !is_running(&args.daemon) {
            new.push((share, args.daemon));
            continue;
        }
        _ = output::line(heading(&share));
        match (reload(&args), &first) {
            (Err(failure), Ok(_)) => first = Err(failure),
            (Err(failure), Err(_)) => _ = output::report(&failure),
            (Ok(_), _) => {}
        }
    }
    for (share, daemon) in new {
        let has_begun =
            first.is_ok() && socket(&daemon).is_ok_and(|socket| control::begins(&socket));
        _ = output::line(heading(&share));
        if has_begun {
            _ = output::line("started");
        } else {
            let failure = Failure::new(
                Exit::Cannot,
                format!("{}: the daemon does not run there", heading(&share)),
            );
            let failure = failure.hint("the log says why");
            match &first {
                Ok(_) => first = Err(failure),
                Err(_) => _ = output::report(&failure),
            }
        }
    }
    first
}
