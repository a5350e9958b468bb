//! `carpd cleanup`: the ledger's part alone.

use std::fs;
use std::path::{Path, PathBuf};

use tracing_subscriber::filter::LevelFilter;

use crate::cli::{Exit, Failure, output};
use crate::config::{self, Daemon};
use crate::engine::{self, Cleanup, Undone};
use crate::telemetry::{self, Format};

/// Undo what daemons that were killed left on this host.
///
/// Takes down their addresses and puts back what their hooks changed, as their ledgers tell; what
/// somebody else has changed since is left alone. Daemons that run are not touched. A daemon does
/// the same when it starts; this is for hosts on which none will, and for ExecStopPost= in a unit
/// file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  carpd cleanup\n  carpd cleanup --config ./carpd.toml")]
pub(in crate::cli) struct Args {
    /// Look into the directories that this configuration names, instead of /run/carpd and
    /// /var/lib/carpd. The rest of it may be wrong.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    let Daemon {
        run_dir, state_dir, ..
    } = match &args.config {
        Some(path) => daemon(path)?,
        None => Daemon::default(),
    };
    // Each undo is told as the daemon would.
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
        let failure = Failure::new(
            Exit::Failure,
            format!("{said}, {} could not be", undone.failed),
        );
        return Err(failure.hint(
            "they stay in the ledger: mend what the messages above name, then call it again",
        ));
    }
    if !ending.is_empty() {
        let still: Vec<String> = ending.iter().map(ToString::to_string).collect();
        let failure = Failure::new(Exit::Failure, format!("{said}; {}", still.join("; ")));
        return Err(failure.hint("it was killed, but the kernel has not taken it apart yet: call this again when it is gone"));
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

/// Where the daemon of a configuration has its things. What is wrong with the rest is only told:
/// whoever cleans up may have removed the hooks and passwords already.
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
        "goes by its run-dir {} and its state-dir {} alone",
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
        1 => ", 1 was not there any more or is somebody else's by now".to_owned(),
        _ => format!(", {others} were not there any more or are somebody else's by now"),
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
            "nothing was left behind, 3 were not there any more or are somebody else's by now"
        );
        assert_eq!(
            said(3, 2),
            "2 undone, 1 was not there any more or is somebody else's by now"
        );
    }
}
