//! `carpd plugin inspect` and `diff`: show what a component can do, as read from the component
//! itself.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Keys;
use super::look::{Look, grant, need};
use crate::cli::{Exit, Failure, output};
use crate::trust::Trust;
use crate::types::Page;

/// Show everything a component can ever do, what it asks for and why, and who signed it, without
/// running it.
///
/// The list of imports is complete: a function that is not listed cannot be called, whatever the
/// code does.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd plugin inspect failover.wasm\n  \
    carpd plugin inspect failover.wasm --key team.pub --json | jq .imports")]
pub(in crate::cli) struct Args {
    /// The component.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    keys: Keys,

    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Compare what two versions of a component can do.
///
/// The exit status is 1 if the new version can do more: call another function, or run on another
/// event.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DiffArgs {
    /// The old component.
    #[arg(value_name = "OLD")]
    old: PathBuf,

    /// The new component.
    #[arg(value_name = "NEW")]
    new: PathBuf,

    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let look = Look::at(&args.file, &args.keys.trust()?)?;
    if args.json {
        output::pretty_json(&look.json())
    } else {
        output::page(&look.text())
    }
}

/// The differences between two components.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Functions that only the new one can call.
    pub(super) gained: Vec<String>,
    /// Functions that only the old one could call.
    pub(super) lost: Vec<String>,
    /// Entry points that only the new one has.
    pub(super) new_entry_points: Vec<String>,
    /// Entry points that only the old one had.
    pub(super) old_entry_points: Vec<String>,
}

impl Difference {
    pub(super) fn between(old: &Look, new: &Look) -> Self {
        let beyond = |a: &[String], b: &[String]| {
            a.iter()
                .filter(|x| !b.contains(x))
                .cloned()
                .collect::<Vec<_>>()
        };
        let (old, new) = (&old.abilities, &new.abilities);
        Self {
            gained: beyond(&new.imports, &old.imports),
            lost: beyond(&old.imports, &new.imports),
            new_entry_points: beyond(&new.entry_points, &old.entry_points),
            old_entry_points: beyond(&old.entry_points, &new.entry_points),
        }
    }

    /// Whether the new one can do something that the old one could not.
    pub(super) fn is_more(&self) -> bool {
        !self.gained.is_empty() || !self.new_entry_points.is_empty()
    }

    pub(super) fn text(&self) -> Page {
        let mut page = Page::default();
        for import in &self.gained {
            writeln!(page, "+ {import}{}", need(import));
        }
        for import in &self.lost {
            writeln!(page, "- {import}");
        }
        for entry in &self.new_entry_points {
            writeln!(page, "+ entry point {entry}");
        }
        for entry in &self.old_entry_points {
            writeln!(page, "- entry point {entry}");
        }
        page
    }

    fn json(&self) -> Value {
        let gained = |name: &String| json!({ "function": name, "grant": grant(name) });
        json!({
            "more": self.is_more(),
            "gained": self.gained.iter().map(gained).collect::<Vec<_>>(),
            "lost": self.lost,
            "new_entry_points": self.new_entry_points,
            "old_entry_points": self.old_entry_points,
        })
    }
}

pub(super) fn diff(args: &DiffArgs) -> Result<Exit, Failure> {
    let nobody = Trust::default();
    let difference = Difference::between(
        &Look::at(&args.old, &nobody)?,
        &Look::at(&args.new, &nobody)?,
    );
    if args.json {
        output::pretty_json(&difference.json())?;
    } else {
        output::page(&difference.text())?;
    }
    Ok(if difference.is_more() {
        Exit::Failure
    } else {
        Exit::Success
    })
}
