//! `carpd replay`: feeds a flight recorder's inputs to this version again.

use std::path::{Path, PathBuf};

use crate::cli::{Exit, Failure, output};
use crate::journal::{self, Contents, Difference, Replayed};
use crate::types::Page;

/// Replay a flight recorder file, and report the first difference.
///
/// The protocol's decisions depend on its inputs alone: the same inputs at the same times lead to
/// the same decisions. This command feeds the recorded inputs to this version of carpd. A
/// difference means that another version wrote the file, or that there is a bug.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  carpd replay /run/carpd/carpd-1a2b3c4d@4026531840/journal"
)]
pub(in crate::cli) struct ReplayArgs {
    /// The flight recorder file; the previous one, which ends in `.1`, is read as well.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(in crate::cli) fn replay(args: &ReplayArgs) -> Result<Exit, Failure> {
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
            "{skipped} inputs were skipped: what came before them is no longer in the file"
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
        format!("{vhost} decided differently at {at}, record {record}: {input}"),
    )
    .detail(format!("then: {recorded:?}"))
    .detail(format!("now:  {replayed:?}"))
}

pub(super) fn load(path: &Path) -> Result<Contents, Failure> {
    let contents = journal::read(path).map_err(|error| {
        Failure::new(
            Exit::Cannot,
            format!("cannot read {}: {error}", path.display()),
        )
    })?;
    if let Some(why) = &contents.left_out {
        output::note(format_args!("note: earlier records are left out: {why}"));
    }
    Ok(contents)
}
