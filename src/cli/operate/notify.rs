//! `carpd notify`: notifications by a running daemon.

use super::daemon::{self, Daemon, unexpected};
use crate::cli::{Exit, Failure, output};
use crate::control::{Order, Reply};
use crate::types::{Name, Page};

/// Try out who is told what happens.
///
/// The targets are those of [notify.NAME] in the configuration that the daemon has in use; `carpd
/// status --long` shows what became of their messages.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  carpd notify test\n  carpd notify test ops")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Send a test to a target, and show what came back.
    ///
    /// It is sent at once, whatever the target's `events` and `rate` are, and not tried again. The
    /// exit status is 1 if any failed.
    Test(TestArgs),
}

#[derive(Debug, clap::Args)]
struct TestArgs {
    /// The target [default: all].
    target: Option<Name>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    let Verb::Test(TestArgs { target, json }) = &args.verb;
    // Each engine has all targets: one is enough.
    let divisions = args.daemon.divisions(None);
    let daemon = divisions.first().unwrap_or(&args.daemon);
    let Reply::TargetTests(tried) = daemon::ask(daemon, Order::NotifyTest(target.clone()))? else {
        return Err(unexpected());
    };
    if *json {
        output::json(&tried)?;
    } else {
        let mut page = Page::default();
        for one in &tried {
            let (verdict, said) = match &one.outcome {
                Ok(said) => ("ok", said),
                Err(why) => ("failed", why),
            };
            let (name, to, ms) = (&one.target, &one.to, one.took_ms);
            writeln!(page, "{name} ({to}): {verdict} after {ms} ms: {said}");
        }
        output::page(&page)?;
    }
    if tried.iter().all(|one| one.outcome.is_ok()) {
        return Ok(Exit::Success);
    }
    Ok(Exit::Failure)
}
