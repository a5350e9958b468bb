//! `carpd cleanup`: works through the ledger, and does nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tracing_subscriber::filter::LevelFilter;

use crate::cli::{CONFIG, Exit, Failure, output};
use crate::config::{self, Daemon};
use crate::engine::{self, Cleanup, Undone};
use crate::host::kernel::netns;
use crate::telemetry::{self, Format};
use crate::types::Netns;

/// Undo what killed daemons left behind on this host.
///
/// Removes their addresses and reverts what their hooks changed, as recorded in their ledgers.
/// Anything that has been changed by someone else since is left alone. Running daemons are not
/// touched. A daemon does the same when it starts; this command is for hosts on which none will
/// start again, and for ExecStopPost= in a unit file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  carpd cleanup\n  carpd cleanup --config ./carpd.toml")]
pub(in crate::cli) struct Args {
    /// Use the directories set in this configuration instead of /run/carpd and /var/lib/carpd. The
    /// rest of the file may be invalid.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Only in this network namespace; otherwise in this one, and in all that the configuration
    /// names.
    #[arg(long, value_name = "NAME")]
    netns: Option<Netns>,
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.netns {
        Some(netns) => netns::enter(&netns.path()).map_err(|error| {
            let message = format!("cannot enter the network namespace {netns}: {error}");
            Failure::new(Exit::Cannot, message)
        })?,
        None => elsewhere(args)?,
    }
    let Daemon {
        run_dir, state_dir, ..
    } = match &args.config {
        Some(path) => daemon(path)?,
        None => Daemon::default(),
    };
    // Each undo is logged as the daemon would log it.
    _ = telemetry::start(Format::Human, LevelFilter::INFO, None);
    let cleaned = engine::cleanup(&run_dir, &state_dir);
    telemetry::stderr::finish();
    let Cleanup {
        undone,
        ending,
        unknown,
    } = cleaned.map_err(|message| Failure::new(Exit::Cannot, message))?;
    let said = summary(undone);
    if undone.failed > 0 {
        let failure = Failure::new(Exit::Failure, format!("{said}, {} failed", undone.failed));
        return Err(failure.hint(
            "these stay in the ledger: fix what the messages above report, then run this again",
        ));
    }
    if !ending.is_empty() {
        let still: Vec<String> = ending.iter().map(ToString::to_string).collect();
        let failure = Failure::new(Exit::Failure, format!("{said}; {}", still.join("; ")));
        return Err(failure.hint("it was killed, but the kernel has not finished ending it: run this again when it is gone"));
    }
    if let [first, others @ ..] = unknown.as_slice() {
        let failure = Failure::new(Exit::Failure, format!("{said}; {}", first.message));
        let failure = others
            .iter()
            .map(|other| format!("{}: {}", other.message, other.mend))
            .fold(failure, Failure::detail);
        return Err(failure.hint(first.mend.clone()));
    }
    output::line(said)
}

/// Does the same in the network namespaces that the configuration names, as far as they exist: each
/// in a process of its own.
fn elsewhere(args: &Args) -> Result<(), Failure> {
    let path = args.config.as_deref().unwrap_or(Path::new(CONFIG));
    let text = fs::read_to_string(path).unwrap_or_default();
    let shares = config::written_shares(&text).into_iter();
    let named: BTreeSet<Netns> = shares
        .filter_map(|(_, share)| share.netns().cloned())
        .collect();
    let mut problem = None;
    for netns in named.iter().filter(|netns| netns.path().exists()) {
        let cleaned = std::env::current_exe().and_then(|program| {
            let mut command = Command::new(program);
            command.args(std::env::args_os().skip(1));
            command.arg("--netns").arg(netns.as_str()).status()
        });
        if !cleaned.is_ok_and(|status| status.success()) {
            let message =
                format!("not everything could be undone in the network namespace {netns}");
            problem.get_or_insert(Failure::new(Exit::Failure, message));
        }
    }
    problem.map_or(Ok(()), Err)
}

/// The directories that a configuration sets. Problems with the rest of it are only warnings: the
/// hooks and passwords may have been removed already.
fn daemon(path: &Path) -> Result<Daemon, Failure> {
    let report = match crate::cli::foresee::owners::look(path) {
        Ok((loaded, _)) => return Ok(loaded.config.daemon),
        Err(report) => report,
    };
    let unreadable = |error| {
        Failure::new(
            Exit::Config,
            format!("cannot read {}: {error}", path.display()),
        )
    };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let usual = Daemon::default();
    let run_dir = config::run_dir(&text).unwrap_or(usual.run_dir);
    let state_dir = config::state_dir(&text).unwrap_or(usual.state_dir);
    for line in report.lines() {
        output::note(format_args!("warning: {line}"));
    }
    output::note(format_args!(
        "using only its run-dir {} and its state-dir {}",
        run_dir.display(),
        state_dir.display()
    ));
    Ok(Daemon {
        state_dir,
        run_dir,
        ..Daemon::default()
    })
}

fn summary(
    Undone {
        settled, changed, ..
    }: Undone,
) -> String {
    let others = settled - changed;
    let others = match others {
        0 => String::new(),
        1 => ", 1 was already gone or now belongs to someone else".to_owned(),
        _ => format!(", {others} were already gone or now belong to someone else"),
    };
    if changed == 0 {
        format!("nothing was left behind{others}")
    } else {
        format!("{changed} undone{others}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_gone_already_is_not_called_undone() {
        let said = |settled, changed| {
            summary(Undone {
                settled,
                changed,
                failed: 0,
            })
        };
        assert_eq!(said(0, 0), "nothing was left behind");
        assert_eq!(said(3, 3), "3 undone");
        assert_eq!(
            said(3, 0),
            "nothing was left behind, 3 were already gone or now belong to someone else"
        );
        assert_eq!(
            said(3, 2),
            "2 undone, 1 was already gone or now belongs to someone else"
        );
    }
}
