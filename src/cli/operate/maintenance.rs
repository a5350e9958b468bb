//! `carpd maintenance` and `carpd drain`: other nodes are to be master.

use std::time::Duration;

use super::answers::{Answer, ask_each};
use super::daemon::{self, Daemon, ask_status, at, unexpected};
use crate::cli::{Exit, Failure, output};
use crate::control::{Order, Reply};
use crate::engine::command::BeginMaintenance;
use crate::engine::rehearse::scenario;
use crate::engine::report::{Maintained, MaintenanceStatus, Status};
use crate::process::Patience;
use crate::types::{Name, Page, State};

/// How often `drain --wait` looks.
const LOOK: Duration = Duration::from_millis(100);

/// Put this node into maintenance: another node is to be master, until that is ended.
///
/// Maintenance survives restarts, reboots and crashes of the daemon. A node in maintenance hands
/// over what it is master of, is demoted by 240, does not preempt, and takes over only when no other
/// node does.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  carpd maintenance on\n  carpd maintenance on web --for 2h --reason \"new disk\"\n  \
                             carpd maintenance off"
)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Begin maintenance, or change its end and its reason.
    ///
    /// As with `carpd resign`, nothing is done if this node is master and no fit peer answers; the
    /// exit status is 5 then. With several virtual hosts, none is handed over unless all can be.
    /// Waits until it is known who has taken over.
    On(OnArgs),
    /// End maintenance. Whether this node becomes master again is decided by `preempt`.
    Off(ScopeArgs),
    /// Show which virtual hosts are in maintenance, since when and why.
    Status,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ScopeArgs {
    /// The virtual host; its group is meant with it [default: all].
    pub(in crate::cli) vhost: Option<Name>,
    /// All virtual hosts of the daemon, including those that a reload adds.
    #[arg(long, conflicts_with = "vhost")]
    all: bool,
}

#[derive(Debug, clap::Args)]
struct OnArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, clap::Args)]
struct HowArgs {
    /// End by itself after this time, such as 90m or 1h30m.
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    length: Option<Duration>,
    /// The reason, for the status and the log.
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Do not take over even when no other node lives.
    #[arg(long)]
    never: bool,
    /// Hand over even without a fit peer.
    #[arg(long)]
    force: bool,
}

/// Put all virtual hosts of this node into maintenance, before it is shut down or worked on.
///
/// The same as `carpd maintenance on --all`. With --wait, also waits until no virtual host is master
/// here, and their hooks are done. `carpd maintenance off` ends it.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  carpd drain --wait --reason \"new kernel\" && reboot\n  carpd maintenance off    when the node is back"
)]
pub(in crate::cli) struct DrainArgs {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    how: HowArgs,
    /// Wait until nothing is served here any more.
    #[arg(long)]
    wait: bool,
    /// How long to wait for that.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = length, requires = "wait")]
    timeout: Duration,
}

/// `90s`, `1h30m`; more than nothing.
pub(in crate::cli) fn length(text: &str) -> Result<Duration, String> {
    let length = scenario::time(text)?;
    if length.is_zero() {
        return Err("a time longer than 0 is needed".to_owned());
    }
    Ok(length)
}

pub(in crate::cli) fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    let daemon = &args.daemon;
    match &args.verb {
        Verb::On(OnArgs { scope, how }) => begin(daemon, scope.vhost.as_ref(), how),
        Verb::Off(ScopeArgs { vhost, .. }) => {
            for daemon in daemon.divisions(vhost.as_ref()) {
                daemon::say(&daemon, Order::MaintenanceOff(vhost.clone()))?;
            }
            Ok(Exit::Success)
        }
        Verb::Status => show(daemon),
    }
}

fn begin(daemon: &Daemon, vhost: Option<&Name>, how: &HowArgs) -> Result<Exit, Failure> {
    let mut any_failed = false;
    for daemon in daemon.divisions(vhost) {
        let order = Order::MaintenanceOn(BeginMaintenance {
            vhost: vhost.cloned(),
            for_ms: how.length.map(millis),
            reason: how.reason.clone(),
            never: how.never,
            force: how.force,
        });
        let Reply::Maintained(outcome) = daemon::ask(&daemon, order)? else {
            return Err(unexpected());
        };
        match outcome {
            Maintained::Begun { lines, failed } => {
                any_failed |= failed;
                let mut page = Page::default();
                for line in &lines {
                    writeln!(page, "{line}");
                }
                output::page(&page)?;
            }
            Maintained::NoPeer { vhosts, waited_ms } => {
                let names: Vec<&str> = vhosts.iter().map(Name::as_str).collect();
                let text = format!(
                    "{}: no fit peer answered within {waited_ms} ms; nothing was done",
                    names.join(", ")
                );
                let hint = "use --force to hand over anyway, for example to a peer that does not run carpd: such backups are silent";
                return Err(Failure::new(Exit::NoPeer, text).hint(hint));
            }
        }
    }
    if any_failed {
        let text = "in maintenance, but not every virtual host was taken over by a peer";
        return Err(Failure::new(Exit::Failure, text));
    }
    Ok(Exit::Success)
}

pub(in crate::cli) fn drain(args: &DrainArgs) -> Result<Exit, Failure> {
    begin(&args.daemon, None, &args.how)?;
    if !args.wait {
        return Ok(Exit::Success);
    }
    let patience = Patience::of(args.timeout);
    for daemon in args.daemon.divisions(None) {
        loop {
            let left = served(&*ask_status(&daemon)?);
            if left.is_empty() {
                break;
            }
            if patience.left().is_zero() {
                let text = format!(
                    "still served here after {} s: {}",
                    args.timeout.as_secs(),
                    left.join(", ")
                );
                return Err(Failure::new(Exit::Failure, text));
            }
            patience.pause(LOOK);
        }
    }
    output::line("nothing is served here any more")
}

/// What keeps a node from being shut down.
fn served(status: &Status) -> Vec<String> {
    let vhosts = status.vhosts.iter().filter_map(|vhost| {
        let why = match vhost.state {
            State::Master => "master",
            _ if vhost.holding => "its addresses are up",
            _ if vhost.hooks_busy => "its hooks run",
            _ => return None,
        };
        Some(format!("{} ({why})", vhost.name))
    });
    vhosts.collect()
}

fn show(daemon: &Daemon) -> Result<Exit, Failure> {
    let mut page = Page::default();
    for Answer { heading, status } in ask_each(daemon) {
        let status = status?;
        if let Some(heading) = heading {
            writeln!(page, "{heading}");
        }
        for vhost in &status.vhosts {
            let text = vhost
                .maintenance
                .as_ref()
                .map_or_else(|| "not in maintenance".to_owned(), in_words);
            writeln!(page, "{}: {text}, {}", vhost.name, vhost.state);
        }
    }
    output::page(&page)
}

/// Maintenance, as a line.
pub(in crate::cli) fn in_words(maintenance: &MaintenanceStatus) -> String {
    let MaintenanceStatus {
        reason,
        since_ms,
        ends_in_ms,
        never,
        scope,
    } = maintenance;
    let mut text = format!("in maintenance since {}", at(*since_ms));
    if let Some(ms) = ends_in_ms {
        text.push_str(&format!(", ends in {} s", ms.div_ceil(1000)));
    }
    match scope {
        None => text.push_str(", with all virtual hosts"),
        Some(name) => text.push_str(&format!(", ordered for {name}")),
    }
    if *never {
        text.push_str(", never takes over");
    }
    if !reason.is_empty() {
        text.push_str(&format!(": {reason}"));
    }
    text
}
