//! `carpd why` and `carpd replay`: what the flight recorder says.

use std::path::{Path, PathBuf};

use super::daemon::Daemon;
use super::{Exit, Failure, output};
use crate::journal::{self, Contents, Difference, Replayed, Story};
use crate::types::Page;

/// Show why virtual hosts changed their state, and what followed.
///
/// Reads the daemon's flight recorder; the daemon need not run. Each change of state is shown with
/// its cause, the peer that led to it, and what the hooks did and how long that took.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  carpd why\n  carpd why --last 1\n  carpd why --file ./journal --vhost web"
)]
pub(super) struct WhyArgs {
    #[command(flatten)]
    daemon: Daemon,

    /// Read this flight recorder's file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "instance"])]
    file: Option<PathBuf>,

    /// Only this virtual host.
    #[arg(long, value_name = "NAME")]
    vhost: Option<String>,

    /// Only so many of the last changes.
    #[arg(long, value_name = "N", default_value_t = 10)]
    last: usize,
}

/// Play a flight recorder's file again, and report the first difference.
///
/// The protocol decides by its inputs alone: the same inputs, at the same times, lead to the same
/// decisions. This feeds a file's inputs to this version of carpd. A difference means that another
/// version wrote it, or a bug.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  carpd replay /run/carpd/carpd-1a2b3c4d@4026531840/journal"
)]
pub(super) struct ReplayArgs {
    /// The flight recorder's file; the one before it, with `.1` at its end, is read as well.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn why(args: &WhyArgs) -> Result<Exit, Failure> {
    let path = match &args.file {
        Some(file) => file.clone(),
        None => args
            .daemon
            .part(|directory| directory.join(journal::FILE_NAME))?,
    };
    let contents = load(&path).map_err(|failure| match args.file {
        None => failure
            .hint("name the daemon with --config or --instance, or the file itself with --file"),
        Some(_) => failure,
    })?;
    let mut stories = journal::stories(&contents.entries);
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
        .for_each(|story| story.tell(&format!("{} ", at(story)), &mut page));
    if stories.is_empty() {
        writeln!(page, "no change of state is recorded");
    }
    output::page(&page)
}

pub(super) fn replay(args: &ReplayArgs) -> Result<Exit, Failure> {
    let contents = load(&args.file)?;
    let Replayed {
        inputs,
        outputs,
        skipped,
        difference,
    } = journal::replay(&contents.entries);
    if let Some(difference) = difference {
        return Err(told(&difference));
    }
    let mut page = Page::default();
    writeln!(page, "{inputs} inputs led to the same {outputs} outputs");
    if skipped > 0 {
        writeln!(
            page,
            "{skipped} inputs were skipped: the beginning of their life is no longer in the file"
        );
    }
    if contents.torn {
        writeln!(
            page,
            "the file ends in the middle of a record: its writer was killed"
        );
    }
    output::page(&page)
}

fn told(difference: &Difference) -> Failure {
    let Difference {
        vhost,
        record,
        at,
        input,
        recorded,
        replayed,
    } = difference;
    let input = input
        .as_ref()
        .map_or_else(|| "new settings".to_owned(), |input| format!("{input:?}"));
    Failure::new(
        Exit::Failure,
        format!("{vhost} went another way at {at}, record {record}: {input}"),
    )
    .detail(format!("then: {recorded:?}"))
    .detail(format!("now:  {replayed:?}"))
}

fn load(path: &Path) -> Result<Contents, Failure> {
    let contents = journal::read(path).map_err(|error| {
        Failure::new(
            Exit::Cannot,
            format!("cannot read {}: {error}", path.display()),
        )
    })?;
    if let Some(why) = &contents.left_out {
        output::note(format_args!(
            "note: what happened earlier is left out: {why}"
        ));
    }
    Ok(contents)
}

fn at(story: &Story) -> String {
    let time = i64::try_from(story.wall_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map(|time| {
        time.to_zoned_datetime(jiff::tz::TimeZone::system())
            .strftime("%F %T%.3f")
            .to_string()
    })
    .unwrap_or_default()
}
