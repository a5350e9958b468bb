//! The recorders of several nodes, for `carpd why`: fetched from the nodes, or as files.

mod fetch;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::daemon::{Daemon, time_of_day};
use super::maintenance::length;
use super::why::records;
use crate::cli::{Exit, Failure, output};
use crate::journal::{self, EVENTS_FILE, EventRecord, Merged, NodeHistory, Reader, Retold};
use crate::types::Page;

/// What is run on a node.
const REMOTE: [&str; 4] = ["carpd", "events", "--json", "--all"];

/// Which nodes.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Nodes {
    /// Merge the recorders of these nodes; `.` is this one. Each is asked with `ssh HOST carpd
    /// events --json --all`.
    #[arg(long, value_name = "HOST", num_args = 1..)]
    node: Vec<String>,

    /// Merge recorders that were copied here: an instance's directory of another node, or a file
    /// with what `carpd events --json --all` printed there.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    from: Vec<PathBuf>,

    /// The command that runs another one on a node: HOST and that command are added to it.
    #[arg(
        long,
        value_name = "COMMAND",
        default_value = "ssh -o BatchMode=yes -o ConnectTimeout=10"
    )]
    ssh: String,

    /// Give up on a node that says nothing for so long.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = length)]
    timeout: Duration,
}

impl Default for Nodes {
    fn default() -> Self {
        Self {
            node: Vec::new(),
            from: Vec::new(),
            ssh: String::new(),
            timeout: Duration::from_secs(30),
        }
    }
}

impl Nodes {
    pub(super) const fn is_empty(&self) -> bool {
        self.node.is_empty() && self.from.is_empty()
    }

    /// What all of them recorded. It fails if that of one cannot be had: a story with a node left out
    /// would mislead.
    fn histories(&self, daemon: &Daemon) -> Result<Vec<NodeHistory>, Failure> {
        let asked: Vec<_> = self
            .node
            .iter()
            .map(|host| {
                if host == "." {
                    return Ok(None);
                }
                if host.starts_with('-') || host.trim().is_empty() {
                    let message = format!("{host:?} is not the name of a node");
                    return Err(Failure::new(Exit::Usage, message));
                }
                let words: Vec<String> = self
                    .ssh
                    .split_whitespace()
                    .chain([host.as_str()])
                    .chain(REMOTE)
                    .map(ToOwned::to_owned)
                    .collect();
                let (host, timeout) = (host.clone(), self.timeout);
                Ok(Some(thread::spawn(move || {
                    fetch::fetch(&host, &words, timeout)
                })))
            })
            .collect::<Result<_, _>>()?;
        let mut histories = Vec::new();
        for (host, asked) in self.node.iter().zip(asked) {
            let (name, records) = match asked {
                None => ("here".to_owned(), local(daemon)?),
                Some(asked) => {
                    let told = asked.join().unwrap_or_else(|_| {
                        Err(Failure::new(Exit::Failure, format!("cannot ask {host}")))
                    })?;
                    (host.clone(), understood(host, told)?)
                }
            };
            histories.push(NodeHistory { name, records });
        }
        for path in &self.from {
            let records = from_path(path)?;
            let name = self.name_of(path);
            histories.push(NodeHistory { name, records });
        }
        refuse_twice(&histories)?;
        Ok(histories)
    }

    /// What a recorder that was copied is called: its file's name, if no other has it.
    fn name_of(&self, path: &Path) -> String {
        let others = self.from.iter().filter(|other| *other != path);
        let short = path.file_name().unwrap_or(path.as_os_str());
        let is_short_enough = others.clone().all(|other| other.file_name() != Some(short));
        let name = if is_short_enough {
            short
        } else {
            path.as_os_str()
        };
        name.to_string_lossy().into_owned()
    }
}

/// Nobody is told of twice: `.` may be one of the hosts as well, or a file a copy of another.
fn refuse_twice(histories: &[NodeHistory]) -> Result<(), Failure> {
    let first = |history: &NodeHistory| {
        let record = history.records.first()?;
        Some((record.at, record.wall_ms, record.event.clone()))
    };
    for (number, one) in histories.iter().enumerate() {
        let rest = histories.iter().skip(number + 1);
        let same = rest
            .filter(|_| first(one).is_some())
            .find(|other| first(other) == first(one));
        if let Some(other) = same {
            let message = format!(
                "{} and {} are the same node's recorder",
                one.name, other.name
            );
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    Ok(())
}

/// The events of what a node told. What is missing is said.
fn understood(name: &str, told: Retold) -> Result<Vec<EventRecord>, Failure> {
    let Retold {
        records,
        unknown,
        cut,
    } = told;
    if records.is_empty() && unknown > 0 {
        let message = format!("of the {unknown} events of {name} none is understood");
        return Err(Failure::new(Exit::Cannot, message)
            .hint("another version of carpd recorded them: ask with that version"));
    }
    if unknown > 0 {
        output::note(format_args!(
            "note: {unknown} events of {name} are left out: a newer version of carpd recorded them"
        ));
    }
    if cut {
        output::note(format_args!(
            "note: the recorder of {name} is cut in the middle of an event: what came after it is missing"
        ));
    }
    if records.is_empty() {
        output::note(format_args!("note: {name} has recorded nothing"));
    }
    Ok(records)
}

/// Tells the stories of several nodes in one order.
pub(super) fn tell(
    nodes: &Nodes,
    daemon: &Daemon,
    vhost: Option<&str>,
    last: usize,
) -> Result<Exit, Failure> {
    let histories = nodes.histories(daemon)?;
    let Merged {
        mut stories,
        clock,
        ahead_ms,
    } = journal::merge(&histories);
    let name = |number: usize| histories.get(number).map_or("", |node| node.name.as_str());
    let mut page = Page::default();
    writeln!(page, "times are those of {}", name(clock));
    for (number, ahead) in ahead_ms
        .iter()
        .enumerate()
        .filter(|(number, _)| *number != clock)
    {
        let node = name(number);
        match ahead {
            Some(0) => writeln!(page, "the clock of {node} is the same to the millisecond"),
            Some(ms) if *ms < 0 => writeln!(page, "the clock of {node} is {} ms behind", -ms),
            Some(ms) => writeln!(page, "the clock of {node} is {ms} ms ahead"),
            None => writeln!(
                page,
                "{node} has no advertisement in common with the others: its place is by its clock"
            ),
        }
    }
    stories.retain(|(_, story)| vhost.is_none_or(|name| story.vhost.as_str() == name));
    for (number, story) in stories.iter().skip(stories.len().saturating_sub(last)) {
        let when = time_of_day(story.wall_ms);
        story.tell(&format!("{when} {} ", name(*number)), &mut page);
    }
    if stories.is_empty() {
        writeln!(page, "no state changes are recorded");
    }
    output::page(&page)
}

fn local(daemon: &Daemon) -> Result<Vec<EventRecord>, Failure> {
    let path = daemon.part(None, |directory| directory.join(EVENTS_FILE))?;
    from_path(path.parent().unwrap_or(Path::new(".")))
}

fn from_path(path: &Path) -> Result<Vec<EventRecord>, Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::new(Exit::Cannot, message).hint(
            "it is the directory of an instance, or a file with what `carpd events --json --all` printed",
        )
    };
    if path.is_dir() {
        let mut reader = Reader::new(path, None);
        let found = reader.read();
        if let Some(why) = reader.take_left_out() {
            output::note(format_args!("note: a part is left out: {why}"));
        }
        return found.map(records).map_err(|error| wrong(&error));
    }
    let file = File::open(path).map_err(|error| wrong(&error))?;
    let told = Retold::read(BufReader::new(file)).map_err(|why| wrong(&why))?;
    understood(&path.display().to_string(), told)
}
