//! `carpd hook`: the versions of a running daemon's hooks.

use std::io::IsTerminal as _;

use super::daemon::{Daemon, ask, ask_status, at, heading, say, short, unexpected};
use crate::cli::{Exit, Failure, output};
use crate::config::Share;
use crate::control::{Order, Reply};
use crate::engine::plan;
use crate::engine::report::{HookStatus, VersionStatus};
use crate::types::{Name, Page};

/// List the versions of a running daemon's hooks, roll one back, or apply one.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct HookArgs {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: HookVerb,
}

#[derive(Debug, clap::Subcommand)]
enum HookVerb {
    /// List the hooks with their active version and the one before it.
    List,
    /// Show one hook: its version, functions and sandbox, and why a newer version was refused.
    Show {
        /// The hook.
        name: Name,
    },
    /// Go back to the version before the active one; the file is not changed.
    Rollback {
        /// The hook.
        name: Name,
    },
    /// Run the active version where its virtual hosts are master, and undo what it no longer asks
    /// for.
    ///
    /// First shows what that would change here. On a terminal, asks for confirmation; otherwise
    /// goes ahead. A hook that would fail is not run.
    Apply {
        /// The hook.
        name: Name,
        /// Only show what would change.
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
        /// Do not ask for confirmation.
        #[arg(short, long)]
        yes: bool,
    },
}

impl HookVerb {
    /// The hook that it is about.
    const fn name(&self) -> Option<&Name> {
        match self {
            Self::List => None,
            Self::Show { name } | Self::Rollback { name } | Self::Apply { name, .. } => Some(name),
        }
    }
}

pub(in crate::cli) fn hook(args: &HookArgs) -> Result<Exit, Failure> {
    match args.daemon.in_each() {
        Some(all) => in_all(all, &args.verb),
        None => in_one(&args.daemon, &args.verb),
    }
}

/// In every network namespace that has the hook, since each has versions of its own. The first
/// failure is that of all; the others are tried all the same.
fn in_all(daemons: Vec<(Share, Daemon)>, verb: &HookVerb) -> Result<Exit, Failure> {
    let mut first = None;
    let mut found = false;
    for (share, daemon) in daemons {
        let done = ask_status(&daemon).and_then(|status| {
            let is_it = |name: &Name| status.hooks.iter().any(|hook| hook.name == *name);
            if !verb.name().is_none_or(is_it) {
                return Ok(());
            }
            found = true;
            output::line(heading(&share))?;
            in_one(&daemon, verb).map(drop)
        });
        match (done, &first) {
            (Err(failure), None) => {
                let place = heading(&share);
                first = Some(Failure {
                    message: format!("{place}: {}", failure.message),
                    ..failure
                });
            }
            (Err(failure), Some(_)) => _ = output::report(&failure),
            (Ok(()), _) => {}
        }
    }
    match (first, verb.name()) {
        (Some(failure), _) => Err(failure),
        (None, Some(name)) if !found => Err(missing(name)),
        (None, _) => Ok(Exit::Success),
    }
}

fn missing(name: &Name) -> Failure {
    Failure::new(Exit::Failure, format!("the daemon has no hook {name}"))
}

fn in_one(daemon: &Daemon, verb: &HookVerb) -> Result<Exit, Failure> {
    match verb {
        HookVerb::List => {
            let status = ask_status(daemon)?;
            let mut page = Page::default();
            for hook in &status.hooks {
                writeln!(page, "{}", hook_line(hook));
                if let Some(VersionStatus {
                    generation,
                    digest,
                    since_ms,
                }) = &hook.before
                {
                    writeln!(
                        page,
                        "  before it: generation {generation} ({}) since {}",
                        short(digest),
                        at(*since_ms)
                    );
                }
            }
            output::page(&page)
        }
        HookVerb::Show { name } => {
            let status = ask_status(daemon)?;
            let hook = status.hooks.iter().find(|hook| hook.name == *name);
            let hook = hook.ok_or_else(|| missing(name))?;
            output::page(&hook_text(hook))
        }
        HookVerb::Rollback { name } => say(daemon, Order::HookRollback(name.clone())),
        HookVerb::Apply { name, dry_run, yes } => apply(daemon, name, *dry_run, *yes),
    }
}

fn apply(daemon: &Daemon, name: &Name, dry_run: bool, yes: bool) -> Result<Exit, Failure> {
    let Reply::Plan(plans) = ask(daemon, Order::HookPlan(name.clone()))? else {
        return Err(unexpected());
    };
    if plans.is_empty() {
        return say(daemon, Order::HookApply(name.clone()));
    }
    output::page(&plan::text(&plans))?;
    if plans
        .iter()
        .flat_map(|plan| &plan.parts)
        .any(|part| part.failure.is_some())
    {
        let failure = Failure::new(
            Exit::Failure,
            format!("hook {name} would fail; nothing was done"),
        );
        return Err(failure.hint(
            "grant what it needs or change it; what the current version did stays in place",
        ));
    }
    if dry_run {
        return Ok(Exit::Success);
    }
    if !yes && std::io::stdin().is_terminal() && !confirmed()? {
        return Err(Failure::new(Exit::Failure, "nothing was done"));
    }
    say(daemon, Order::HookApply(name.clone()))
}

/// Asks the user at the terminal.
fn confirmed() -> Result<bool, Failure> {
    output::question("Apply this? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.map_err(|error| Failure::new(Exit::Failure, format!("cannot read the answer: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

pub(in crate::cli) fn hook_line(hook: &HookStatus) -> String {
    let HookStatus {
        name,
        generation,
        source,
        ..
    } = hook;
    let mut line = format!(
        "{name}: generation {generation} ({}) of {source} since {}",
        short(&hook.digest),
        at(hook.since_ms)
    );
    if let Some(watched) = &hook.watched {
        line += &format!(", {watched}");
    }
    if let Some(from) = hook.rolled_back_from {
        line += &format!(", rolled back from generation {from}; the file has another version");
    }
    if hook.kept {
        line += ", from the saved copy";
    }
    if let Some(fault) = &hook.fault {
        line += &format!(
            "; the file has a fault since {}: {}",
            at(fault.since_ms),
            fault.message
        );
    }
    line
}

fn hook_text(hook: &HookStatus) -> Page {
    let entries: Vec<&str> = hook
        .entry_points
        .iter()
        .map(|entry| entry.as_str())
        .collect();
    let mut page = Page::default();
    writeln!(page, "{}", hook_line(hook));
    writeln!(page, "  digest {}", hook.digest);
    writeln!(page, "  defines {}", entries.join(", "));
    if let Some(vouched) = &hook.vouched {
        writeln!(page, "  {vouched}");
    }
    writeln!(page, "  idle runners {}", hook.idle_runners);
    writeln!(
        page,
        "  confined by {}",
        hook.confinement.in_force.join(", ")
    );
    for missing in &hook.confinement.missing {
        writeln!(page, "  sandbox lacks {missing}");
    }
    page
}
