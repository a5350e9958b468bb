//! `carpd rehearse`: runs real configurations and hooks on virtual machines, in virtual time.

mod html;
mod svg;
mod text;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::{Exit, Failure, excerpt, output};
use crate::engine::rehearse::scenario::{self, GRAMMAR, Scenario, ScenarioError};
use crate::engine::rehearse::{MarkKind, NodeConfig, RehearseError, Timeline, VhostLine, rehearse};
use crate::hooks::LoadError;
use crate::types::Page;

/// Rehearse a failover with the real configurations and hooks of all nodes.
///
/// Every configuration becomes a virtual machine on a virtual network with a virtual clock: minutes
/// pass in milliseconds, and the same seed gives the same rehearsal. The daemon's own code makes
/// the decisions, and hooks run in their sandbox with their grants, but they affect only the
/// virtual machine. Prints what every node did and when, and how long no node held the addresses.
///
/// A virtual machine has its interfaces and its host name, and nothing else: files are missing and
/// services are stopped until a hook or an event changes that. HTTP and TCP requests always
/// succeed. Hooks that are programs are not run.
#[derive(Debug, clap::Args)]
#[command(after_long_help = after_long_help())]
pub(in crate::cli) struct Args {
    /// The configuration of each node. The node is named after the file, without .toml, unless you
    /// put a name and "=" in front.
    #[arg(value_name = "[NAME=]FILE", required_unless_present = "configs", num_args = 1..)]
    nodes: Vec<String>,

    /// The same, as with the other commands. Repeat it for each node.
    #[arg(short, long = "config", value_name = "[NAME=]FILE")]
    configs: Vec<String>,

    /// Something that happens, such as "10s node2 dies". Repeat it for more.
    #[arg(short, long = "event", value_name = "EVENT")]
    events: Vec<String>,

    /// A file of events, one per line, and optionally `end TIME` and `seed NUMBER`; # begins a
    /// comment.
    #[arg(short, long, value_name = "FILE", conflicts_with = "events")]
    scenario: Option<PathBuf>,

    /// When the rehearsal ends; 30 s after the last event if not given.
    #[arg(long, value_name = "TIME")]
    end: Option<String>,

    /// The seed for random packet delays and losses.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Rehearse the protocol only, without hooks.
    #[arg(long)]
    no_hooks: bool,

    /// Exit with status 1 if no node holds an address for longer than this.
    #[arg(long, value_name = "TIME")]
    max_outage: Option<String>,

    /// Print everything as JSON.
    #[arg(long)]
    json: bool,

    /// Also write the timeline as a picture in an HTML page: one self-contained file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn after_long_help() -> String {
    format!(
        "Events:\n  {GRAMMAR}\n\nExamples:\n  \
           carpd rehearse node2.toml node3.toml --event \"10s node2 dies\" --event \"60s node2 returns\"\n  \
           carpd rehearse node2.toml node3.toml --event \"10s node2 hook failover fails\" --html rehearsal.html\n  \
           carpd rehearse a=/srv/a/carpd.toml b=/srv/b/carpd.toml --scenario winter.txt --max-outage 4s"
    )
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    let words: Vec<String> = args.nodes.iter().chain(&args.configs).cloned().collect();
    let nodes = nodes(&words)?;
    let scenario = scenario(args)?;
    let max_outage = args.max_outage.as_deref().map(time).transpose()?;
    let timeline = rehearse(nodes.clone(), &scenario, !args.no_hooks)
        .map_err(|error| failure(&error, &nodes))?;
    if let Some(path) = &args.html {
        fs::write(path, html::page(&timeline)).map_err(|error| {
            Failure::new(
                Exit::Failure,
                format!("cannot write {}: {error}", path.display()),
            )
        })?;
    }
    if args.json {
        output::pretty_json(&timeline)?;
    } else {
        let mut page = text::text(&timeline);
        page.append(&failures(&timeline, &nodes));
        output::page(&page)?;
    }
    Ok(if max_outage.is_some_and(|max| longest(&timeline) > max) {
        Exit::Failure
    } else {
        Exit::Success
    })
}

/// The longest outage of any virtual host.
fn longest(timeline: &Timeline) -> Duration {
    let outages = timeline.vhosts.iter().flat_map(VhostLine::failures);
    Duration::from_micros(
        outages
            .map(|outage| outage.to_us - outage.from_us)
            .max()
            .unwrap_or(0),
    )
}

fn scenario(args: &Args) -> Result<Scenario, Failure> {
    let end = args.end.as_deref().map(time).transpose()?;
    let made = if let Some(path) = &args.scenario {
        let read = fs::read_to_string(path);
        let text = read.map_err(|error| {
            Failure::new(
                Exit::Failure,
                format!("cannot read {}: {error}", path.display()),
            )
        })?;
        let place = |error: ScenarioError| format!("{}: {error}", path.display());
        Scenario::parse(&text, end, args.seed).map_err(place)
    } else {
        let lines = args.events.iter().map(String::as_str);
        Scenario::from_lines(lines, end, args.seed.unwrap_or(1)).map_err(|error| error.to_string())
    };
    made.map_err(|message| {
        Failure::new(Exit::Usage, message).hint(format!("an event is {GRAMMAR}"))
    })
}

fn time(text: &str) -> Result<Duration, Failure> {
    scenario::time(text).map_err(|message| Failure::new(Exit::Usage, message))
}

fn nodes(words: &[String]) -> Result<Vec<NodeConfig>, Failure> {
    let mut nodes: Vec<NodeConfig> = Vec::new();
    for word in words {
        let (name, path) = match word.split_once('=') {
            Some((name, path)) => (Some(name.to_owned()), PathBuf::from(path)),
            None => (None, PathBuf::from(word)),
        };
        let config = crate::cli::foresee::owners::load(&path)?.config;
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let name = name
            .or_else(|| config.daemon.node_name.clone())
            .unwrap_or(stem);
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(Failure::new(
                Exit::Usage,
                format!("{name:?} cannot be a node's name"),
            ));
        }
        if nodes.iter().any(|node| node.name == name) {
            let failure = Failure::new(Exit::Usage, format!("two nodes are called {name}"));
            return Err(failure.hint("put names in front: a=/srv/a/carpd.toml b=/srv/b/carpd.toml"));
        }
        nodes.push(NodeConfig { name, path, config });
    }
    Ok(nodes)
}

/// The lines at which hooks failed, each of them once.
fn failures(timeline: &Timeline, nodes: &[NodeConfig]) -> Page {
    let mut page = Page::default();
    let mut seen = BTreeSet::new();
    for (line, node) in timeline.nodes.iter().zip(nodes) {
        let failed = line
            .marks
            .iter()
            .filter(|mark| mark.kind == MarkKind::Hook && !mark.good);
        for mark in failed {
            let shown = node
                .config
                .hooks
                .values()
                .map(|hook| excerpt::lines(&hook.path, &mark.text))
                .find(|lines| !lines.is_empty());
            if let Some(lines) = shown.filter(|lines| seen.insert(lines.clone())) {
                writeln!(page);
                writeln!(page, "{}: {}", line.name, mark.text);
                for line in lines {
                    writeln!(page, "{line}");
                }
            }
        }
    }
    page
}

fn failure(error: &RehearseError, nodes: &[NodeConfig]) -> Failure {
    let exit = match error {
        RehearseError::Scenario(_) => Exit::Usage,
        RehearseError::Hook {
            source: LoadError::Code(_) | LoadError::NoEntryPoint { .. },
            ..
        } => Exit::Config,
        RehearseError::Hook { .. } | RehearseError::System(_) => Exit::Cannot,
        RehearseError::Stuck(_) | RehearseError::Endless { .. } => Exit::Failure,
    };
    if let RehearseError::Hook { node, hook, source } = error {
        let config = nodes
            .iter()
            .find(|there| there.name == *node)
            .map(|there| &there.config);
        if excerpt::show(config.and_then(|config| config.hooks.get(hook)), source) {
            return Failure::new(exit, "");
        }
    }
    Failure::new(exit, error.to_string())
}
