//! `carpd events`: what happened, event by event, and what happens now.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil;
use jiff::tz::TimeZone;

use super::daemon::{Daemon, name_of, time_of_day};
use super::maintenance::{length, millis};
use crate::cli::{Exit, Failure, output};
use crate::host::clock;
use crate::journal::{Cursor, EVENTS_FILE, EventKind, EventRecord, Found, Reader, Told};
use crate::process::Patience;
use crate::types::{Name, Page};

/// How often `--follow` looks.
const AGAIN: Duration = Duration::from_millis(200);
/// Events that `--follow` shows of those before it, unless it was told where to begin.
const BEFORE: usize = 10;

/// Show what happened: state changes, hooks, effects, tracks, orders, maintenance.
///
/// Reads the daemon's flight recorder; the daemon need not be running. The recorder keeps the events
/// of a week, and at least the last 1,000 state changes; where a flood made it leave some out, it
/// says how many. `--after` goes on exactly after an event, also when the files were rotated or the
/// daemon was restarted since.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  carpd events\n  carpd events web --since 2h\n  carpd events --follow\n  \
    carpd events --json --after 1f0c5e6a7b8d9e10-42 | jq -r .event"
)]
pub(in crate::cli) struct EventsArgs {
    /// Show only events of this virtual host, and those of the whole daemon.
    #[arg(value_name = "NAME")]
    vhost: Option<Name>,

    #[command(flatten)]
    daemon: Daemon,

    /// Go on showing events as they happen.
    #[arg(short, long)]
    follow: bool,

    /// Print each event as a line of JSON.
    #[arg(long)]
    json: bool,

    /// Show only events since then: a length as in `2h`, or a local time as in `2026-03-01T10:30`.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,

    /// Show only events after this one: the `cursor` of an event that --json printed.
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,

    /// Show only the last N events [default: all; 10 with --follow].
    #[arg(long, value_name = "N")]
    last: Option<usize>,

    /// Also show the advertisements that are kept for comparing nodes (`carpd why --node`).
    #[arg(long)]
    all: bool,

    /// Read a flight recorder in this directory, for example a copy of another node's.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "instance"])]
    dir: Option<PathBuf>,
}

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Ago(Duration),
    At { ms: u64 },
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(length) = length(text) {
        return Ok(Since::Ago(length));
    }
    let wrong =
        || format!("{text:?} is neither a length, as in 2h, nor a time, as in 2026-03-01T10:30");
    let at = match text.parse::<jiff::Timestamp>() {
        Ok(at) => at,
        Err(_) => text
            .parse::<civil::DateTime>()
            .ok()
            .and_then(|time| TimeZone::system().to_timestamp(time).ok())
            .ok_or_else(wrong)?,
    };
    u64::try_from(at.as_millisecond())
        .map(|ms| Since::At { ms })
        .map_err(|_| wrong())
}

impl Since {
    fn ms(self) -> u64 {
        match self {
            Self::Ago(length) => clock::wall_ms().saturating_sub(millis(length)),
            Self::At { ms } => ms,
        }
    }
}

pub(in crate::cli) fn events(args: &EventsArgs) -> Result<Exit, Failure> {
    let directory = if let Some(directory) = &args.dir {
        directory.clone()
    } else {
        let vhost = args.vhost.as_ref().map(Name::as_str);
        let path = args
            .daemon
            .part(vhost, |directory| directory.join(EVENTS_FILE))?;
        path.parent().unwrap_or(Path::new(".")).to_owned()
    };
    let mut reader = Reader::new(&directory, args.after);
    let found = reader.read().map_err(|error| {
        let message = format!("cannot read the events in {}: {error}", directory.display());
        Failure::new(Exit::Cannot, message).hint(args.where_else())
    })?;
    let since_ms = args.since.map_or(0, Since::ms);
    let shown = |found: &Found| match found {
        Found::Event(_, record) => record.wall_ms >= since_ms && args.shows(record),
        Found::Missing(_) => args.after.is_some(),
        Found::Anew => true,
    };
    let mut first: VecDeque<Found> = found.into_iter().filter(shown).collect();
    let is_anywhere = args.after.is_none() && args.since.is_none();
    let last = args.last.or((args.follow && is_anywhere).then_some(BEFORE));
    if let Some(last) = last {
        first.drain(..first.len().saturating_sub(last));
    }
    if first.is_empty() && !args.follow && !args.json {
        output::note("no events are recorded");
    }
    if !args.tell(&mut reader, first.make_contiguous())? || !args.follow {
        return Ok(Exit::Success);
    }
    loop {
        Patience::of(AGAIN).pause(AGAIN);
        // It may be gone for a moment, or until the daemon starts again.
        let found = reader.poll().unwrap_or_default();
        let new: Vec<Found> = found
            .into_iter()
            .filter(|found| match found {
                Found::Event(_, record) => args.shows(record),
                Found::Missing(_) | Found::Anew => true,
            })
            .collect();
        if !args.tell(&mut reader, &new)? {
            return Ok(Exit::Success);
        }
    }
}

impl EventsArgs {
    /// Which daemons there are, if none was named.
    fn where_else(&self) -> String {
        let plain =
            "name the daemon with --config or --instance, or the directory itself with --dir";
        let here = self.daemon.here(|directory| directory.join(EVENTS_FILE));
        let is_meant = self.dir.is_some() || self.daemon.instance.is_some();
        if is_meant || self.daemon.config.is_some() || here.len() < 2 {
            return plain.to_owned();
        }
        let names: Vec<String> = here.iter().map(|directory| name_of(directory)).collect();
        format!(
            "several daemons have recorded events here: name one with --instance: {}",
            names.join(", ")
        )
    }

    fn shows(&self, record: &EventRecord) -> bool {
        let is_kept_for_comparing = record.event.kind() == EventKind::Advertisement;
        let vhost = record.event.vhost();
        (self.all || !is_kept_for_comparing)
            && self
                .vhost
                .as_ref()
                .is_none_or(|name| vhost.is_none_or(|vhost| vhost == name))
    }

    /// Returns whether somebody still reads.
    fn tell(&self, reader: &mut Reader, found: &[Found]) -> Result<bool, Failure> {
        if let Some(why) = reader.take_left_out() {
            output::note(format_args!("note: a part is left out: {why}"));
        }
        let mut page = Page::default();
        for found in found {
            match found {
                Found::Event(cursor, record) if self.json => {
                    if !output::next_json(&Told::new(*cursor, record))? {
                        return Ok(false);
                    }
                }
                Found::Event(_, record) => {
                    writeln!(page, "{} {}", time_of_day(record.wall_ms), record.event);
                }
                Found::Missing(count) => {
                    output::note(format_args!(
                        "note: {count} events before the next one are no longer kept"
                    ));
                }
                Found::Anew => output::note(
                    "note: the recorder has begun anew since that event, as after a reboot: all events since are shown",
                ),
            }
        }
        output::next_page(&page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_length_or_a_point() {
        assert_eq!(since("2h"), Ok(Since::Ago(Duration::from_hours(2))));
        assert_eq!(since("1970-01-01T00:00:10Z"), Ok(Since::At { ms: 10_000 }));
        assert!(matches!(since("2026-03-01T10:30"), Ok(Since::At { .. })));
        assert!(matches!(since("2026-03-01 10:30"), Ok(Since::At { .. })));
        assert!(matches!(since("2026-03-01"), Ok(Since::At { .. })));
        for wrong in ["", "yesterday", "10:30", "1960-01-01T00:00Z"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
