//! The verbs that speak to a running daemon: status, metrics, reload, hook; what all of them share.

use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{CONFIG, Exit, Failure, output};
use crate::config;
use crate::control::{self, CallError, Order, Reply};
use crate::engine::command::{
    Death, Elsewhere, HookStatus, RefusalStatus, RefusedAddress, Status, StrangerStatus,
    VersionStatus, VhostStatus,
};
use crate::engine::plan;
use crate::ledger::{Origin, instance_name};
use crate::types::{Name, Page};

/// What was refused so long ago is no trouble of today, and stands in the JSON alone.
const RECENT_MS: u64 = 600_000;

/// Where instances are, unless their configuration says otherwise.
const RUN_DIR: &str = "/run/carpd";

/// Which daemon is meant.
#[derive(Debug, clap::Args)]
pub(super) struct Daemon {
    /// The configuration that it runs. Not needed while there is one daemon here [default:
    /// /etc/carpd/carpd.toml].
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// Its name, for one without a configuration: under the name ucarp it is ucarp-INTERFACE-VHID.
    #[arg(long, value_name = "NAME", global = true, conflicts_with = "config")]
    instance: Option<String>,

    /// The daemon's run directory [default: that of the configuration].
    #[arg(long, value_name = "DIR", global = true)]
    run_dir: Option<PathBuf>,
}

/// Show what every virtual host and hook is doing, and why.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  carpd status\n  carpd status --json | jq '.vhosts[].state'"
)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    daemon: Daemon,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

/// Print the daemon's counters and gauges.
///
/// As OpenMetrics text. For the textfile collector of node_exporter there is the older form; write
/// it to a new file and move that over the old one, so that it is never read half.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd metrics | grep '^carpd_vhost_state'\n  \
    carpd metrics --format prometheus > /var/lib/node_exporter/.carpd && mv /var/lib/node_exporter/.carpd \
    /var/lib/node_exporter/carpd.prom")]
pub(super) struct MetricsArgs {
    #[command(flatten)]
    daemon: Daemon,
    /// The form of the text.
    #[arg(long, value_name = "FORM", default_value = "openmetrics")]
    format: MetricsForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum MetricsForm {
    /// OpenMetrics 1.0.
    Openmetrics,
    /// The text form of Prometheus, version 0.0.4.
    Prometheus,
}

/// Read the configuration and all hooks again; all or nothing.
///
/// Everything is checked first. If anything is wrong nothing changes, and the daemon goes on with
/// what it has. Virtual hosts that did not change, or are only called otherwise, notice nothing. A
/// master that would move to an interface which does not exist keeps its addresses: that is wrong,
/// too.
#[derive(Debug, clap::Args)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    daemon: Daemon,
    /// Also if a master would move to an interface that does not exist: it lets go of its addresses
    /// and waits for that.
    #[arg(long)]
    force: bool,
}

/// See the versions of a running daemon's hooks, go back to one, bring one into effect.
#[derive(Debug, clap::Args)]
pub(super) struct HookArgs {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: HookVerb,
}

#[derive(Debug, clap::Subcommand)]
enum HookVerb {
    /// List the hooks with the version that serves and the one before it.
    List,
    /// Show one hook: version, functions, sandbox, and why a newer version was refused.
    Show {
        /// The hook.
        name: Name,
    },
    /// Go back to the version before the one that serves; the file is not touched.
    Rollback {
        /// The hook.
        name: Name,
    },
    /// Run the version that serves where its virtual hosts are master, and undo what it no longer
    /// asks for.
    ///
    /// Shows first what that would change here. On a terminal it then asks; otherwise it goes
    /// ahead. A hook that would fail is not run.
    Apply {
        /// The hook.
        name: Name,
        /// Show what would change, and stop there.
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

pub(super) fn status(args: &StatusArgs) -> Result<Exit, Failure> {
    let Daemon {
        config, instance, ..
    } = &args.daemon;
    let here = args.daemon.here(control::socket_path);
    if config.is_none() && instance.is_none() && here.len() > 1 && !args.json {
        return status_of_all(&here);
    }
    let status = ask_status(&args.daemon)?;
    if args.json {
        return output::pretty_json(&status);
    }
    let mut page = Page::default();
    status_text(&status, &mut page);
    output::page(&page)
}

pub(super) fn metrics(args: &MetricsArgs) -> Result<Exit, Failure> {
    let Reply::Metrics(text) = ask(&args.daemon, Order::Metrics)? else {
        return Err(unexpected());
    };
    let text = if args.format == MetricsForm::Prometheus {
        as_prometheus(&text)
    } else {
        text
    };
    output::artefact(text.as_bytes())
}

/// There a counter's family has the name of its samples, and some lines are unknown.
fn as_prometheus(openmetrics: &str) -> String {
    let mut counter = None;
    let mut text = String::new();
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("UNIT" | "EOF"), ..) => {}
            (Some("#"), Some("TYPE"), Some(name), Some("counter")) => {
                counter = Some(name);
                text += &format!("# TYPE {name}_total counter\n");
            }
            (Some("#"), Some("HELP"), Some(name), Some(help)) if counter == Some(name) => {
                text += &format!("# HELP {name}_total {help}\n");
            }
            _ => {
                text += line;
                text.push('\n');
            }
        }
    }
    text
}

pub(super) fn reload(args: &ReloadArgs) -> Result<Exit, Failure> {
    let order = if args.force {
        Order::ForceReload
    } else {
        Order::Reload
    };
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

pub(super) fn hook(args: &HookArgs) -> Result<Exit, Failure> {
    match &args.verb {
        HookVerb::List => {
            let status = ask_status(&args.daemon)?;
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
            let status = ask_status(&args.daemon)?;
            let hook = status.hooks.iter().find(|hook| hook.name == *name);
            let hook = hook.ok_or_else(|| {
                Failure::new(Exit::Failure, format!("the daemon has no hook {name}"))
            })?;
            output::page(&hook_text(hook))
        }
        HookVerb::Rollback { name } => say(&args.daemon, Order::HookRollback(name.clone())),
        HookVerb::Apply { name, dry_run, yes } => apply(&args.daemon, name, *dry_run, *yes),
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
            format!("hook {name} would not run to its end; nothing was done"),
        );
        return Err(failure
            .hint("grant what it needs or change it; the version that runs now stays as it is"));
    }
    if dry_run {
        return Ok(Exit::Success);
    }
    if !yes && std::io::stdin().is_terminal() && !confirmed()? {
        return Err(Failure::new(Exit::Failure, "nothing was done"));
    }
    say(daemon, Order::HookApply(name.clone()))
}

/// Asks whoever sits at the terminal.
fn confirmed() -> Result<bool, Failure> {
    output::question("Apply this? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.map_err(|error| Failure::new(Exit::Failure, format!("cannot read the answer: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Where something of an instance is, in its directory.
type PartOf = fn(&Path) -> PathBuf;

impl Daemon {
    /// The configuration that is meant if none is named.
    fn file(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(CONFIG))
    }

    /// Where the directories of instances may be: where the command line says, or else the
    /// configuration. Its daemon may have begun before that line was in it, so the usual place
    /// comes last.
    fn run_dirs(&self) -> Vec<PathBuf> {
        if let Some(run_dir) = &self.run_dir {
            return vec![run_dir.clone()];
        }
        let written = std::fs::read_to_string(self.file())
            .ok()
            .and_then(|text| config::run_dir(&text));
        let usual = PathBuf::from(RUN_DIR);
        written
            .into_iter()
            .filter(|written| *written != usual)
            .chain([usual.clone()])
            .collect()
    }

    /// The directories of all that have this part, in order.
    fn instances(&self, part: PartOf) -> Vec<PathBuf> {
        let run_dirs = self.run_dirs();
        let entries = run_dirs
            .iter()
            .flat_map(|run_dir| std::fs::read_dir(run_dir).into_iter().flatten().flatten());
        let mut directories: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|directory| may_be_there(&part(directory)))
            .collect();
        directories.sort();
        directories
    }

    /// Where instances may be and we may not look.
    fn closed(&self) -> Option<PathBuf> {
        let is_closed = |directory: &PathBuf| {
            std::fs::read_dir(directory)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
        };
        self.run_dirs().into_iter().find(is_closed)
    }

    /// Those of this network namespace.
    fn here(&self, part: PartOf) -> Vec<PathBuf> {
        let of_here = |directory: &PathBuf| {
            name_of(directory)
                .split_once('@')
                .is_some_and(|(_, place)| is_here(place))
        };
        self.instances(part).into_iter().filter(of_here).collect()
    }

    /// This part of the one that is meant: by its name or its configuration, or the only one that
    /// has it, or the usual one.
    pub(super) fn part(&self, part: PartOf) -> Result<PathBuf, Failure> {
        let here = self.here(part);
        let directory = match (&self.instance, &self.config, here.as_slice()) {
            (Some(name), _, _) => here
                .iter()
                .find(|directory| is_named(&name_of(directory), name))
                .ok_or_else(|| self.no_instance(name))?
                .clone(),
            (None, None, [only]) => only.clone(),
            (None, _, _) => self.directory(part)?,
        };
        Ok(part(&directory))
    }

    fn no_instance(&self, name: &str) -> Failure {
        let message = match self.closed() {
            Some(directory) => {
                format!("cannot look for instance {name} in {}", directory.display())
            }
            None => format!("there is no instance {name} here"),
        };
        Failure::new(Exit::Cannot, message).hint(hint(self))
    }

    /// The directory of the daemon that runs the configuration: where it has the part, or would
    /// have it.
    fn directory(&self, part: PartOf) -> Result<PathBuf, Failure> {
        let candidates = self
            .run_dirs()
            .iter()
            .map(|run_dir| super::instance_dir(run_dir, self.file()))
            .collect::<Result<Vec<_>, _>>()?;
        let found = candidates
            .iter()
            .find(|directory| part(directory).exists())
            .or(candidates.first());
        Ok(found.cloned().unwrap_or_else(|| PathBuf::from(RUN_DIR)))
    }
}

/// Is it there, or hidden from us?
fn may_be_there(path: &Path) -> bool {
    path.try_exists()
        .unwrap_or_else(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// Is this our network namespace, as directories are named by it? Any is, where it cannot be told.
fn is_here(place: &str) -> bool {
    Origin::current().map_or(true, |origin| place == origin.netns.to_string())
}

/// A directory's own name.
fn name_of(directory: &Path) -> String {
    directory
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Directories are called NAME-HASH@NAMESPACE; any part from the front is a name.
fn is_named(directory: &str, name: &str) -> bool {
    let instance = directory.split('@').next().unwrap_or_default();
    let plain = instance
        .rsplit_once('-')
        .map_or(instance, |(plain, _)| plain);
    [directory, instance, plain].contains(&name)
}

/// Shows one after the other; one that does not answer is a failure only if none does.
fn status_of_all(directories: &[PathBuf]) -> Result<Exit, Failure> {
    let mut page = Page::default();
    let mut problem = None;
    let mut answered = false;
    for directory in directories {
        let (path, name) = (control::socket_path(directory), name_of(directory));
        match control::call(&path, Order::Status) {
            Ok(Reply::Status(status)) => {
                answered = true;
                writeln!(page, "instance {name}");
                status_text(&status, &mut page);
            }
            Ok(_) => return Err(unexpected()),
            Err(error) => {
                writeln!(page, "instance {name}");
                writeln!(page, "  {error}");
                let hint = match &error {
                    CallError::Unreachable { path, source } => forbidden(path, source),
                    CallError::Silent(trouble) => Some(trouble.hint.clone()),
                    CallError::Garbled(_) | CallError::Refused(_) => None,
                };
                let failure = failure_of(&error);
                problem = Some(match hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                });
            }
        }
    }
    match problem {
        Some(failure) if !answered => Err(failure),
        Some(_) | None => output::page(&page),
    }
}

pub(super) fn ask(daemon: &Daemon, order: Order) -> Result<Reply, Failure> {
    let path = daemon.part(control::socket_path)?;
    control::call(&path, order).map_err(|error| {
        let failure = failure_of(&error);
        match error {
            CallError::Unreachable { path, source } => {
                failure.hint(forbidden(&path, &source).unwrap_or_else(|| hint(daemon)))
            }
            CallError::Silent(trouble) => failure.hint(trouble.hint),
            CallError::Garbled(_) | CallError::Refused(_) => failure,
        }
    })
}

/// Who may speak to a daemon whose socket does not let us.
fn forbidden(socket: &Path, error: &std::io::Error) -> Option<String> {
    if error.kind() != std::io::ErrorKind::PermissionDenied {
        return None;
    }
    let owner = std::fs::metadata(socket).map(|there| there.uid());
    Some(match owner {
        Ok(0) => "only root may speak to it: call this as root (sudo)".to_owned(),
        Ok(user) => format!(
            "only root and user {user}, as which it runs, may speak to it: call this as one of them"
        ),
        Err(_) => "only root and the daemon's own user may speak to it: call this as one of them"
            .to_owned(),
    })
}

/// In the daemon's words, which may be several lines: it has seen to it that no hook's are among
/// them.
fn failure_of(error: &CallError) -> Failure {
    let text = error.to_string();
    let mut lines = text.lines();
    let first = Failure::new(exit_of(error), lines.next().unwrap_or_default());
    lines.fold(first, Failure::detail)
}

const fn exit_of(error: &CallError) -> Exit {
    match error {
        CallError::Unreachable { .. } | CallError::Silent(_) => Exit::Cannot,
        CallError::Garbled(_) | CallError::Refused(_) => Exit::Failure,
    }
}

/// Who listens, if not the one that was meant.
fn hint(daemon: &Daemon) -> String {
    let others: Vec<String> = daemon
        .instances(control::socket_path)
        .iter()
        .map(|directory| name_of(directory))
        .collect();
    let Some(first) = others.first() else {
        if let Some(closed) = daemon.closed() {
            return format!(
                "{} may not be looked into: call this as root (sudo), or as the daemon's user",
                closed.display()
            );
        }
        return "is it running? `carpd run` starts it; only root may speak to it".to_owned();
    };
    let name = instance_name(daemon.file());
    let is_elsewhere = |other: &String| {
        other
            .split_once('@')
            .is_some_and(|(instance, place)| instance == name && !is_here(place))
    };
    if others.iter().any(is_elsewhere) {
        return "it runs in another network namespace: call this there (ip netns exec, nsenter -n)"
            .to_owned();
    }
    format!(
        "instances that have a socket: {}; name one, as in --instance {first}",
        others.join(", ")
    )
}

fn ask_status(daemon: &Daemon) -> Result<Box<Status>, Failure> {
    match ask(daemon, Order::Status)? {
        Reply::Status(status) => Ok(status),
        Reply::Metrics(_)
        | Reply::Reload(_)
        | Reply::Plan(_)
        | Reply::HandedOver(_)
        | Reply::Message(_) => Err(unexpected()),
    }
}

pub(super) fn say(daemon: &Daemon, order: Order) -> Result<Exit, Failure> {
    match ask(daemon, order)? {
        Reply::Message(message) => {
            let mut page = Page::default();
            message.lines().for_each(|line| writeln!(page, "{line}"));
            output::page(&page)
        }
        Reply::Status(_)
        | Reply::Metrics(_)
        | Reply::Reload(_)
        | Reply::Plan(_)
        | Reply::HandedOver(_) => Err(unexpected()),
    }
}

pub(super) fn unexpected() -> Failure {
    Failure::new(
        Exit::Failure,
        "the daemon answered something else than was asked",
    )
}

fn status_text(status: &Status, page: &mut Page) {
    status
        .vhosts
        .iter()
        .for_each(|vhost| vhost_text(vhost, page));
    for stranger in status
        .strange_vhids
        .iter()
        .filter(|stranger| stranger.ago_ms < RECENT_MS)
    {
        let StrangerStatus {
            interface,
            vhid,
            count,
            from,
            ago_ms,
            cause,
        } = stranger;
        writeln!(
            page,
            "heard vhid {vhid} on {interface}, which nobody here has, from {from} ({count} so far, the last {ago_ms} ms ago): {cause}"
        );
    }
    for hook in &status.hooks {
        writeln!(page, "hook {}", hook_line(hook));
    }
    if let Some(Death { at_ms, how }) = status
        .engine
        .as_ref()
        .and_then(|engine| engine.before.as_ref())
    {
        writeln!(page, "started again: {how} (at {})", at(*at_ms));
    }
    for missing in status
        .engine
        .iter()
        .flat_map(|engine| &engine.confinement.missing)
    {
        writeln!(page, "engine lacks {missing}");
    }
    for missing in status.engine.iter().flat_map(|engine| &engine.reader_lacks) {
        writeln!(page, "reader lacks {missing}");
    }
    if let Some(fault) = status
        .helper
        .as_ref()
        .and_then(|helper| helper.fault.as_ref())
    {
        writeln!(page, "{} (since {})", fault.message, at(fault.since_ms));
    }
    for problem in status.ledger_problem.iter().chain(&status.lasting_problem) {
        writeln!(page, "{problem}");
    }
    for held in &status.held {
        let owners = held.owners.join(", ");
        match &held.trouble {
            None => writeln!(
                page,
                "holds {} = {} for {owners}",
                held.resource, held.value
            ),
            Some(trouble) => writeln!(
                page,
                "does not hold {} = {} for {owners}: {trouble}",
                held.resource, held.value
            ),
        }
    }
    for problem in &status.reload_problems {
        writeln!(page, "last reload failed: {problem}");
    }
}

fn vhost_text(vhost: &VhostStatus, page: &mut Page) {
    let VhostStatus {
        name,
        interface,
        vhid,
        state,
        why,
        ..
    } = vhost;
    let addresses: Vec<String> = vhost.addresses.iter().map(ToString::to_string).collect();
    let since = at(vhost.since_ms);
    let peer = vhost
        .peer
        .as_ref()
        .map(|peer| format!(" ({peer})"))
        .unwrap_or_default();
    writeln!(page, "{name}: {state} since {since}, {}", vhost.condition);
    if *why != vhost.condition {
        writeln!(page, "  because: {why}{peer}");
    }
    let up = match (vhost.holding, vhost.foreign.is_empty()) {
        (true, _) => ", up here",
        (false, true) => ", not here",
        (false, false) => ", up here by other means",
    };
    let lease = if vhost.lease.is_empty() {
        String::new()
    } else {
        format!(", {}", vhost.lease)
    };
    writeln!(
        page,
        "  vhid {vhid} on {interface}, {}{up}{lease}",
        addresses.join(" ")
    );
    for Elsewhere { address, interface } in &vhost.elsewhere {
        writeln!(
            page,
            "  {address} is up on {interface}, not by carpd's doing: this host answers for it, master or not"
        );
    }
    for refused in &vhost.refused_addresses {
        let RefusedAddress {
            address,
            reason,
            retry_in_ms,
        } = refused;
        writeln!(
            page,
            "  but not {address}: {reason}; tries again in {} s",
            retry_in_ms.div_ceil(1000)
        );
    }
    if vhost.demotion > 0 {
        writeln!(page, "  demoted by {}", vhost.demotion);
    }
    for part in &vhost.demotions {
        writeln!(page, "    {part}");
    }
    if let Some(reason) = &vhost.degraded {
        writeln!(page, "  degraded: {reason}");
    }
    for health in &vhost.health {
        let since = at(health.since_ms);
        match health.well {
            None => writeln!(page, "  {}: not asked for its health yet", health.hook),
            Some(true) => writeln!(page, "  {}: healthy since {since}", health.hook),
            Some(false) => {
                writeln!(
                    page,
                    "  {}: unhealthy since {since}, demotion {}: {}",
                    health.hook, health.demotion, health.reason
                );
            }
        }
    }
    for refused in vhost
        .refused
        .iter()
        .filter(|refused| refused.ago_ms < RECENT_MS)
    {
        let RefusalStatus {
            reason,
            count,
            from,
            ago_ms,
            cause,
        } = refused;
        writeln!(
            page,
            "  refuses advertisements of {from} ({reason}, {count} so far, the last {ago_ms} ms ago): {cause}"
        );
    }
    if let Some(heard) = &vhost.heard {
        writeln!(
            page,
            "  heard {} {} ms ago (advbase {}, advskew {})",
            heard.from, heard.ago_ms, heard.advbase, heard.advskew
        );
    }
}

fn hook_line(hook: &HookStatus) -> String {
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
        line += ", from the copy that is kept";
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

/// The first digits of a digest: enough for a person.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
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

/// A point in time for a person, in local time.
fn at(ms: u64) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map(|time| {
        time.to_zoned(jiff::tz::TimeZone::system())
            .strftime("%F %T")
            .to_string()
    })
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::unix::fs::chown;

    #[test]
    fn who_is_refused_hears_who_may() {
        let socket = tempfile::NamedTempFile::new().unwrap();
        let refused = io::Error::from_raw_os_error(libc::EACCES);
        let hint = |error: &io::Error| super::forbidden(socket.path(), error);
        let own = nix::unistd::geteuid();
        if own.is_root() {
            assert!(hint(&refused).unwrap().starts_with("only root may"));
            chown(socket.path(), Some(60_600), None).unwrap();
            assert!(hint(&refused).unwrap().contains("root and user 60600"));
        } else {
            assert!(hint(&refused).unwrap().contains(&format!("user {own}")));
        }
        assert_eq!(hint(&io::ErrorKind::ConnectionRefused.into()), None);
    }

    #[test]
    fn counters_are_named_as_their_samples_in_the_older_form() {
        let text = "# TYPE a_seconds gauge\n# UNIT a_seconds seconds\n# HELP a_seconds One.\na_seconds 1\n\
                    # TYPE b counter\n# HELP b Two words.\nb_total{x=\"y z\"} 2\n# EOF\n";
        let expected = "# TYPE a_seconds gauge\n# HELP a_seconds One.\na_seconds 1\n\
                        # TYPE b_total counter\n# HELP b_total Two words.\nb_total{x=\"y z\"} 2\n";
        assert_eq!(super::as_prometheus(text), expected);
    }
}
