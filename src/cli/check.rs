//! `carpd check`: is the configuration good?

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{CONFIG, Exit, Failure, output};
use crate::config::{Config, Problem, Report, Severity, Vhost};
use crate::engine::{self, HookProblem};
use crate::host::netlink::Reader;
use crate::types::Name;

/// Listing the interfaces takes no longer.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// Check a configuration and everything it refers to; change nothing.
///
/// Reads the file, the passwords and the hooks, and shows every problem at once, each at its place in the file. Warnings
/// do not make it fail. Needs the right to read the password files.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd check\n  \
    carpd check ./carpd.toml && systemctl restart carpd\n  \
    carpd check --json ./carpd.toml | jq .problems")]
pub(super) struct Args {
    /// The configuration to check.
    #[arg(value_name = "FILE", default_value = CONFIG)]
    file: PathBuf,

    /// Print the problems as JSON on standard output.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let (config, report) = load(args);
    if args.json {
        output::data(as_json(&report).as_bytes())?;
    } else {
        output::problems(&report);
    }
    match config {
        Some(config) if !report.has_errors() => {
            let summary = if args.json { String::new() } else { summary(args, &config) };
            output::data(summary.as_bytes())
        }
        _ => Err(Failure::new(Exit::Config, if args.json { String::new() } else { counts(&report) })),
    }
}

fn load(args: &Args) -> (Option<Config>, Report) {
    match Config::load(&args.file) {
        Ok(loaded) => {
            let mut report = loaded.report;
            report.problems.extend(check_interfaces(&loaded.config));
            report.problems.extend(check_own_addresses(&loaded.config));
            report.problems.extend(check_hooks(&loaded.config));
            report.problems.extend(super::owners::check_granted(&loaded.config));
            (Some(loaded.config), report)
        }
        Err(report) => (None, report),
    }
}

/// An interface may come later, and another host may be meant: that it is not there is only worth a warning. Two names may be one
/// interface's.
fn check_interfaces(config: &Config) -> Vec<Problem> {
    let there = Reader::open(LOOK_LIMIT).and_then(|reader| reader.links()).unwrap_or_default();
    let link_of = |vhost: &Vhost| there.iter().find(|link| link.is_called(&vhost.interface));
    let names: Vec<&str> = there.iter().map(|link| link.name.as_str()).collect();
    let missing = |vhost: &Vhost| Problem {
        severity: Severity::Warning,
        hint: Some(format!("there are {}", names.join(", "))),
        ..Problem::error(
            Some(vhost.place.0.clone()),
            format!("there is no interface {} here now; virtual host {} would wait for it", vhost.interface, vhost.name),
        )
    };
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for vhost in &config.vhosts {
        match link_of(vhost) {
            None if there.is_empty() => {}
            None => problems.push(missing(vhost)),
            Some(link) if !seen.insert((link.index, vhost.vhid)) => {
                let message = format!("vhid {} is used twice on {}, which is {} here", vhost.vhid, vhost.interface, link.name);
                problems.push(Problem::error(Some(vhost.place.0.clone()), message));
            }
            Some(_) => {}
        }
    }
    problems
}

/// An address that this machine has already is not one that could come and go.
fn check_own_addresses(config: &Config) -> Vec<Problem> {
    let place = |number: usize| config.vhosts.get(number).map(|vhost| vhost.place.0.clone());
    let found = engine::check_own_addresses(config).into_iter();
    found.map(|(number, message)| Problem::error(place(number), message)).collect()
}

/// Loads every hook in a runner, as the daemon would. Each problem stands at the hook's `source`.
fn check_hooks(config: &Config) -> Vec<Problem> {
    if config.hooks.is_empty() {
        return Vec::new();
    }
    let found = engine::check_hooks(config);
    let nowhere = |error| HookProblem { hook: None, message: format!("cannot load the hooks here: {error}"), certain: true };
    let found = found.unwrap_or_else(|error| vec![nowhere(error)]);
    let place = |name: Option<&Name>| name.and_then(|name| config.hooks.get(name)).map(|hook| hook.place.0.clone());
    let problem = |HookProblem { hook, message, certain }| Problem {
        severity: if certain { Severity::Error } else { Severity::Warning },
        ..Problem::error(place(hook.as_ref()), message)
    };
    found.into_iter().map(problem).collect()
}

fn summary(args: &Args, config: &Config) -> String {
    let vhosts = count(config.vhosts.len(), "virtual host");
    format!("{}: good: {vhosts}, {}\n", args.file.display(), count(config.hooks.len(), "hook"))
}

/// As in `carpd.toml cannot be used: 2 errors, 1 warning`. Empty for a single problem, which says it all.
pub(super) fn counts(report: &Report) -> String {
    let errors = count(report.count(Severity::Error), "error");
    let text = match report.count(Severity::Warning) {
        0 if report.problems.len() == 1 => return String::new(),
        0 => format!("{} cannot be used: {errors}", report.name),
        n => format!("{} cannot be used: {errors}, {}", report.name, count(n, "warning")),
    };
    if report.omitted == 0 { text } else { format!("{text}, and {} more", report.omitted) }
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Stable: `file`, `good`, and for each problem `severity`, `message`, and where known `line`, `column`, `hint`.
fn as_json(report: &Report) -> String {
    let problems = report.problems.iter().map(|problem| {
        let place = problem.span.as_ref().map(|span| report.position(span.start));
        json!({
            "severity": problem.severity.to_string(),
            "message": problem.message,
            "line": place.map(|p| p.0),
            "column": place.map(|p| p.1),
            "hint": problem.hint,
        })
    });
    let problems: Vec<_> = problems.collect();
    format!("{}\n", json!({ "file": report.name, "good": !report.has_errors(), "problems": problems }))
}
