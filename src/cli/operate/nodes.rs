//! The recorders of several nodes, for `carpd why`: fetched from the nodes, or as files.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use super::daemon::{Daemon, time_of_day};
use super::why::records;
use crate::cli::{Exit, Failure, output};
use crate::journal::{self, EVENTS_FILE, EventRecord, Merged, NodeHistory, Reader, Told};
use crate::types::Page;

/// The most that is read of one node, in bytes.
const BYTES_MAX: u64 = 256 << 20;
/// What is run on a node.
const REMOTE: [&str; 4] = ["carpd", "events", "--json", "--all"];
/// Lines of what a node said that are shown if it failed.
const LINES_MAX: usize = 8;

/// Which nodes.
#[derive(Debug, Default, clap::Args)]
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
                Ok(Some(thread::spawn(move || fetch(&words))))
            })
            .collect::<Result<_, _>>()?;
        let mut histories = Vec::new();
        for (host, asked) in self.node.iter().zip(asked) {
            let records = match asked {
                None => local(daemon)?,
                Some(asked) => asked.join().unwrap_or_else(|_| {
                    Err(Failure::new(Exit::Failure, format!("cannot ask {host}")))
                })?,
            };
            let name = if host == "." {
                "here".to_owned()
            } else {
                host.clone()
            };
            histories.push(NodeHistory { name, records });
        }
        for path in &self.from {
            let name = path.file_name().unwrap_or(path.as_os_str());
            histories.push(NodeHistory {
                name: name.to_string_lossy().into_owned(),
                records: from_path(path)?,
            });
        }
        Ok(histories)
    }
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
        let found = Reader::new(path, None).read();
        return found.map(records).map_err(|error| wrong(&error));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    parse(&text).map_err(|why| wrong(&why))
}

fn parse(text: &str) -> Result<Vec<EventRecord>, String> {
    let lines = (1_u64..).zip(text.lines());
    let events = lines.filter(|(_, line)| !line.trim().is_empty());
    let records = events.map(|(number, line)| {
        let told: Told = serde_json::from_str(line)
            .map_err(|error| format!("line {number} is not an event: {error}"))?;
        Ok(told.record(number))
    });
    records.filter_map(Result::transpose).collect()
}

/// What a node says of itself.
fn fetch(words: &[String]) -> Result<Vec<EventRecord>, Failure> {
    let command = words.join(" ");
    let failed = |message: String| {
        Failure::new(Exit::Cannot, message)
            .detail(format!("the command was: {command}"))
            .hint("if the node cannot be reached like this, run `carpd events --json --all` there, and name its output with --from")
    };
    let [program, arguments @ ..] = words else {
        return Err(failed("there is no command".to_owned()));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot run {program}: {error}")))?;
    let complaint = child.stderr.take().map(|pipe| {
        thread::spawn(move || {
            let mut text = Vec::new();
            _ = pipe.take(64 << 10).read_to_end(&mut text);
            text
        })
    });
    let mut text = String::new();
    let read = match child.stdout.take() {
        Some(pipe) => pipe.take(BYTES_MAX).read_to_string(&mut text),
        None => Ok(0),
    };
    // Whoever writes more than that is not waited for.
    if text.len() as u64 >= BYTES_MAX {
        _ = child.kill();
    }
    let status = child
        .wait()
        .map_err(|error| failed(format!("{program}: {error}")))?;
    let complaint = complaint
        .and_then(|reader| reader.join().ok())
        .unwrap_or_default();
    if !status.success() {
        let failure = failed(format!("the recorder of a node cannot be had: {status}"));
        let said = String::from_utf8_lossy(&complaint).into_owned();
        return Err(said.lines().take(LINES_MAX).fold(failure, Failure::detail));
    }
    read.map_err(|error| failed(format!("what a node said is not text: {error}")))?;
    parse(&text).map_err(|why| failed(format!("a node says what is not understood: {why}")))
}
