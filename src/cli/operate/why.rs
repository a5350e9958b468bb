//! `carpd why`: explains what happened, from the flight recorder.

use std::path::{Path, PathBuf};

use super::daemon::{Daemon, time_of_day};
use super::nodes::{self, Nodes};
use super::replay::load;
use crate::cli::{Exit, Failure, output};
use crate::journal::{self, EventRecord, Found, Reader, Story};
use crate::types::Page;

/// Show why virtual hosts changed state, and what followed.
///
/// Reads the daemon's flight recorder; the daemon need not be running. Each state change is shown
/// with its cause, the peer that led to it, what the hooks did and how long that took.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  carpd why\n  carpd why --last 1\n  carpd why --node . gw2 gw3\n  carpd why --file ./journal --vhost web"
)]
pub(in crate::cli) struct WhyArgs {
    #[command(flatten)]
    daemon: Daemon,

    #[command(flatten)]
    nodes: Nodes,

    /// Read this flight recorder file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "instance"])]
    file: Option<PathBuf>,

    /// Show only this virtual host.
    #[arg(long, value_name = "NAME")]
    vhost: Option<String>,

    /// Show only the last N state changes.
    #[arg(long, value_name = "N", default_value_t = 10)]
    last: usize,
}

pub(in crate::cli) fn why(args: &WhyArgs) -> Result<Exit, Failure> {
    if !args.nodes.is_empty() {
        return nodes::tell(&args.nodes, &args.daemon, args.vhost.as_deref(), args.last);
    }
    // Which network namespace has it is in the configuration; which daemon has it only they know.
    let is_placed = args.vhost.is_some() && args.daemon.has_shares();
    let is_of_all = args.file.is_none() && !is_placed;
    match args.daemon.each().filter(|_| is_of_all) {
        Some(all) => why_in_each(all, args),
        None => why_in_one(args),
    }
}

/// One network namespace, or one daemon, after the other. It is a failure only if none of them has a
/// flight recorder.
fn why_in_each(daemons: Vec<(String, Daemon)>, args: &WhyArgs) -> Result<Exit, Failure> {
    let mut told = false;
    let mut first = None;
    for (place, daemon) in daemons {
        let there = WhyArgs {
            daemon,
            nodes: Nodes::default(),
            file: None,
            vhost: args.vhost.clone(),
            last: args.last,
        };
        output::line(place)?;
        match why_in_one(&there) {
            Ok(_) => told = true,
            Err(failure) => {
                output::line(format_args!("  {}", failure.message))?;
                first.get_or_insert(failure);
            }
        }
    }
    match first {
        Some(failure) if !told => Err(failure),
        Some(_) | None => Ok(Exit::Success),
    }
}

fn why_in_one(args: &WhyArgs) -> Result<Exit, Failure> {
    let mut stories = match &args.file {
        Some(file) => journal::stories(&journal::events(&load(file)?.entries)),
        None => told_here(&args.daemon, args.vhost.as_deref())?,
    };
    stories.retain(|story| {
        args.vhost
            .as_ref()
            .is_none_or(|name| story.vhost.as_str() == name)
    });
    let first = stories.len().saturating_sub(args.last);
    let mut page = Page::default();
    stories
        .iter()
        .skip(first)
        .for_each(|story| story.tell(&format!("{} ", time_of_day(story.wall_ms)), &mut page));
    if stories.is_empty() {
        writeln!(page, "no state changes are recorded");
    }
    output::page(&page)
}

/// What the flight recorder of this daemon tells.
fn told_here(daemon: &Daemon, vhost: Option<&str>) -> Result<Vec<Story>, Failure> {
    let path = daemon.part(vhost, |directory| directory.join(journal::FILE_NAME))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut reader = Reader::new(directory, None);
    let found = reader.read();
    if let Some(why) = reader.take_left_out() {
        output::note(format_args!("note: a part is left out: {why}"));
    }
    match found {
        Ok(found) => Ok(journal::stories(&records(found))),
        // One that never had a history, or not of this version.
        Err(_) => match load(&path) {
            Ok(contents) => Ok(journal::stories(&journal::events(&contents.entries))),
            Err(failure) => Err(failure.hint(
                "name the daemon with --config or --instance, or the file itself with --file",
            )),
        },
    }
}

/// The events themselves.
pub(super) fn records(found: Vec<Found>) -> Vec<EventRecord> {
    let events = found.into_iter().filter_map(|found| match found {
        Found::Event(_, record) => Some(record),
        Found::Missing(_) | Found::Anew => None,
    });
    events.collect()
}
