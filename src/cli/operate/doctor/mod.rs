//! `carpd doctor`: what on this host breaks a failover, before it does.
//!
//! Each check is a function from what there is to what was found; [`CHECKS`] lists them. They change
//! nothing, and need no daemon.

mod configuration;
mod daemon;
mod devices;
mod firewall;
mod hypervisor;
mod kernel;
mod machine;
mod managers;
mod network;
mod programs;
#[cfg(test)]
mod tests;
mod wire;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::daemon::Daemon;
use crate::cli::{Exit, Failure, output};
use crate::config::{Config, Vhost};
use crate::control::{self, Order, Reply};
use crate::effect::Link;
use crate::engine::rehearse::scenario;
use crate::engine::report::Status;
use crate::host::kernel::netlink::Reader;
use crate::host::kernel::netns;
use crate::types::{Page, shown};
use devices::Device;
use machine::Machine;

/// The time limit for listing the interfaces.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// Find what breaks failover on this host: kernel settings, firewalls, network managers, programs,
/// files.
///
/// Looks at the configuration and at this host, and asks the daemon if one runs; otherwise it listens on
/// the network for some seconds, and asks there who has the addresses. Changes nothing.
/// Each finding says what was seen, what follows from it, and the command that mends it. Exit
/// status 6 if there is something to mend; notes alone do not count.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd doctor\n  \
    carpd doctor --config ./carpd.toml\n  \
    carpd doctor --json | jq '.findings[] | select(.level == \"error\")'")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    daemon: Daemon,
    /// Where no daemon runs: listen for so long to who advertises and who has the addresses; 0s: not at
    /// all [default: 3s, longer for long intervals].
    #[arg(long, value_name = "TIME", value_parser = scenario::time)]
    listen: Option<Duration>,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// A failover does not work.
    Error,
    /// A failover does not work under some circumstances.
    Warning,
    /// Good to know, and nothing to mend.
    Note,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// The name of the check.
    check: &'static str,
    level: Level,
    /// The virtual hosts that it is about; empty: all.
    vhosts: Vec<String>,
    /// In one line.
    what: String,
    /// What was seen, and where.
    evidence: String,
    /// What follows from it.
    consequence: String,
    /// A command, or what to do.
    mend: String,
}

/// What the checks look at: the virtual hosts of one network namespace.
struct Subject<'a> {
    config: &'a Config,
    machine: &'a Machine,
    /// All devices of the namespace; empty if they cannot be listed.
    links: Vec<Link>,
    /// The same with what `ip` knows of them, or why not.
    devices: Result<Vec<Device>, String>,
    /// What the daemon says, if it runs.
    status: Option<Box<Status>>,
    /// How long to listen on the wire, if that was said.
    listen: Option<Duration>,
}

impl Subject<'_> {
    /// Each interface that exists, with its virtual hosts.
    fn interfaces(&self) -> Vec<(&Link, Vec<&Vhost>)> {
        let of = |link: &Link| {
            self.config
                .vhosts
                .iter()
                .filter(|vhost| link.is_called(&vhost.interface))
                .collect::<Vec<_>>()
        };
        self.links
            .iter()
            .map(|link| (link, of(link)))
            .filter(|(_, vhosts)| !vhosts.is_empty())
            .collect()
    }
}

/// What one check found; its name is added by the caller.
struct Found {
    level: Level,
    vhosts: Vec<String>,
    what: String,
    evidence: String,
    consequence: String,
    mend: String,
}

impl Found {
    fn new(level: Level, what: impl Into<String>) -> Self {
        Self {
            level,
            vhosts: Vec::new(),
            what: what.into(),
            evidence: String::new(),
            consequence: String::new(),
            mend: String::new(),
        }
    }

    fn about<'a>(mut self, vhosts: impl IntoIterator<Item = &'a Vhost>) -> Self {
        self.vhosts = vhosts
            .into_iter()
            .map(|vhost| vhost.name.to_string())
            .collect();
        self
    }

    fn seen(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = evidence.into();
        self
    }

    fn so(mut self, consequence: impl Into<String>) -> Self {
        self.consequence = consequence.into();
        self
    }

    fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = mend.into();
        self
    }
}

/// A check: its name, and what it finds.
type Check = (&'static str, fn(&Subject<'_>) -> Vec<Found>);

/// All checks, in the order in which they are made.
const CHECKS: &[Check] = &[
    ("rights", kernel::rights),
    ("kernel-features", kernel::features),
    ("clock", kernel::clock),
    ("watches", kernel::watches),
    ("arp", network::arp),
    ("two-interfaces-one-network", network::flux),
    ("reverse-path", network::reverse_path),
    ("ipv6", network::ipv6),
    ("secondaries", network::secondaries),
    ("snooping", network::snooping),
    ("firewall", firewall::check),
    ("hypervisor", hypervisor::check),
    ("networkd", managers::networkd),
    ("network-manager", managers::network_manager),
    ("addresses-elsewhere", managers::addresses),
    ("boot-services", programs::boot_services),
    ("other-daemons", programs::other_daemons),
    ("daemon", daemon::check),
    ("wire", wire::check),
];

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    let file = args.daemon.file();
    let (config, mut findings) = configuration::check(file)?;
    let machine = Machine::here();
    let mut asked = false;
    for share in &config.all_shares {
        let part = config.clone().only(share);
        let mut daemon = args.daemon.clone();
        daemon.netns = daemon.has_shares().then(|| share.clone());
        let status = ask(&daemon);
        asked |= status.is_some();
        let look = |status| {
            let links = Reader::open(LOOK_LIMIT)
                .and_then(|reader| reader.links())
                .unwrap_or_default();
            examine(&Subject {
                config: &part,
                machine: &machine,
                links,
                devices: devices::list(),
                status,
                listen: args.listen,
            })
        };
        match share.netns() {
            None => findings.extend(look(status)),
            // `check` names a namespace that is not there.
            Some(namespace) => findings
                .extend(netns::within(&namespace.path(), || look(status)).unwrap_or_default()),
        }
    }
    findings.sort_by_key(|finding| finding.level);
    findings.dedup();
    report(args, file, &findings, asked)
}

/// A daemon that does not answer is as none, here: it is no fault of the host.
fn ask(daemon: &Daemon) -> Option<Box<Status>> {
    let path = daemon.part(None, control::socket_path).ok()?;
    match control::call(&path, Order::Status) {
        Ok(Reply::Status(status)) => Some(status),
        _ => None,
    }
}

fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let of = |(name, check): &Check| {
        let name = *name;
        check(subject).into_iter().map(move |found| Finding {
            check: name,
            level: found.level,
            vhosts: found.vhosts,
            what: found.what,
            evidence: found.evidence,
            consequence: found.consequence,
            mend: found.mend,
        })
    };
    CHECKS.iter().flat_map(of).collect()
}

fn report(args: &Args, file: &Path, findings: &[Finding], asked: bool) -> Result<Exit, Failure> {
    let to_mend = findings
        .iter()
        .filter(|finding| finding.level != Level::Note)
        .count();
    let checks: Vec<&str> = std::iter::once(configuration::NAME)
        .chain(CHECKS.iter().map(|(name, _)| *name))
        .collect();
    if args.json {
        output::json(&serde_json::json!({
            "file": file.display().to_string(),
            "daemon": asked,
            "checks": checks,
            "findings": findings,
        }))?;
    } else {
        let mut page = Page::default();
        for finding in findings {
            write_finding(&mut page, finding);
        }
        let daemon = if asked {
            "the daemon was asked too"
        } else {
            "no daemon of this configuration answers here"
        };
        writeln!(
            page,
            "{}: {}, {} to mend; {daemon}",
            file.display(),
            output::count(checks.len(), "check"),
            to_mend,
        );
        output::page(&page)?;
    }
    Ok(if to_mend == 0 {
        Exit::Success
    } else {
        Exit::Todo
    })
}

fn write_finding(page: &mut Page, finding: &Finding) {
    let vhosts = if finding.vhosts.is_empty() {
        String::new()
    } else {
        format!(" ({})", finding.vhosts.join(", "))
    };
    writeln!(
        page,
        "{}: {}{vhosts} [{}]",
        finding.level.word(),
        shown(&finding.what),
        finding.check
    );
    for (title, text) in [
        ("seen", &finding.evidence),
        ("so", &finding.consequence),
        ("mend", &finding.mend),
    ] {
        if !text.is_empty() {
            writeln!(page, "  {title}: {}", shown(text));
        }
    }
}
