//! `carpd lab`: demonstrates a failover.

use std::path::PathBuf;

use crate::cli::{Exit, Failure};
use crate::lab::scenario::{self, Daemon, Options};

/// Demonstrate a failover between two virtual hosts on this machine.
///
/// Two hosts share an address, and a third one probes it all the time. The master is stopped,
/// switched off and started again, while a timeline shows who took over and how fast, what the hook
/// did, and what the third host saw. The hosts are namespaces on this machine; the machine itself
/// is not touched. An ordinary user can run this where user namespaces are allowed. Ends with a
/// verdict, and with exit status 0 if the failover went as expected.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd lab\n  \
    carpd lab --hook ./failover.lua\n  \
    carpd lab --peer ucarp --json > timeline.jsonl")]
pub(in crate::cli) struct Args {
    /// The hook for both hosts; the failover hook from the documentation if not given.
    #[arg(long, value_name = "FILE")]
    hook: Option<PathBuf>,

    /// What runs on the second host; ucarp must be installed.
    #[arg(long, value_name = "DAEMON", default_value = "carpd")]
    peer: Peer,

    /// Print the timeline as JSON, one object per line.
    #[arg(long)]
    json: bool,

    /// Keep the hosts, and print how to enter them, until interrupted with Ctrl-C.
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Peer {
    Carpd,
    Ucarp,
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut options = Options {
        json: args.json,
        keep: args.keep,
        hook: args.hook.clone(),
        ..Options::default()
    };
    if args.peer == Peer::Ucarp {
        options.node3 = Daemon::Ucarp;
    }
    match scenario::run(&options, &mut std::io::stdout().lock()) {
        Ok(report) if report.good => Ok(Exit::Success),
        Ok(_) => Ok(Exit::Failure),
        Err(error) => Err(Failure::new(Exit::Cannot, error.to_string())),
    }
}
