//! `carpd plugin inspect` and `diff`: what a component can do, read from the component itself.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::{Exit, Failure, output};
use crate::hooks::api::{FUNCTIONS, grant_line, is_allowed};
use crate::hooks::manifest::{self, Abilities, Manifest, PluginError};

/// Show all that a component can ever do, what it asks for and why; run nothing.
///
/// What it imports is the whole of it: a function that does not stand there cannot be called, whatever the code does.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The component.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// Show what a new version of a component can do that the old one could not, and the other way round.
///
/// Exit status 1 if the new one can do more.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DiffArgs {
    /// The old component.
    #[arg(value_name = "OLD")]
    old: PathBuf,

    /// The new one.
    #[arg(value_name = "NEW")]
    new: PathBuf,
}

fn look(path: &Path) -> Result<(Vec<u8>, Abilities, Option<Manifest>), Failure> {
    let bytes = super::read(path)?;
    let failed = |err: PluginError| Failure::new(Exit::Failure, format!("{}: {err}", path.display()));
    let abilities = manifest::abilities(&bytes).map_err(failed)?;
    let manifest = manifest::manifest(&bytes).map_err(failed)?;
    Ok((bytes, abilities, manifest))
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let (bytes, abilities, manifest) = look(&args.file)?;
    if args.json {
        let value = json!({ "bytes": bytes.len(), "abilities": abilities, "manifest": manifest });
        return output::data(format!("{value:#}\n").as_bytes());
    }
    let mut text = String::new();
    match &manifest {
        Some(manifest) => {
            let _ = writeln!(text, "{} {}: {}", plain(&manifest.name), plain(&manifest.version), plain(&manifest.description));
            let _ = writeln!(text, "license: {}", plain(&manifest.license));
            if let Some(source) = &manifest.source {
                let _ = writeln!(text, "source: {}", plain(source));
            }
        }
        None => text += "no manifest\n",
    }
    let _ = writeln!(text, "{} bytes; entry points: {}", bytes.len(), abilities.entry_points.join(", "));
    text += "\nCan ever do:\n";
    for import in &abilities.imports {
        let _ = writeln!(text, "  {}{}", plain(import), need(import));
    }
    for (grant, reason) in manifest.iter().flat_map(|m| &m.asks) {
        let _ = writeln!(text, "\nAsks for {}: {}", plain(grant), plain(reason));
    }
    output::data(text.as_bytes())
}

/// What stands in a plugin was written by a stranger: nothing that a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn need(import: &str) -> String {
    let function = FUNCTIONS.iter().find(|function| function.full_name() == import);
    match function {
        Some(function) if is_allowed(function, &crate::effect::Grants::default()) => String::new(),
        Some(function) => format!("  (grant: {})", grant_line(function)),
        None if import == "config.get" => String::new(),
        None => "  (this carpd does not have it: the component would be refused)".to_owned(),
    }
}

pub(super) fn diff(args: &DiffArgs) -> Result<Exit, Failure> {
    let (_, old, _) = look(&args.old)?;
    let (_, new, _) = look(&args.new)?;
    let beyond = |a: &[String], b: &[String]| a.iter().filter(|x| !b.contains(x)).cloned().collect::<Vec<_>>();
    let mut text = String::new();
    let gained = beyond(&new.imports, &old.imports);
    for import in &gained {
        let _ = writeln!(text, "+ {}{}", plain(import), need(import));
    }
    for import in beyond(&old.imports, &new.imports) {
        let _ = writeln!(text, "- {}", plain(&import));
    }
    for entry in beyond(&new.entry_points, &old.entry_points) {
        let _ = writeln!(text, "+ entry point {entry}");
    }
    for entry in beyond(&old.entry_points, &new.entry_points) {
        let _ = writeln!(text, "- entry point {entry}");
    }
    output::data(text.as_bytes())?;
    Ok(if gained.is_empty() { Exit::Success } else { Exit::Failure })
}
