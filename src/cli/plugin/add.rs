//! `carpd plugin add`: shows what a plugin can do, and adds it to the configuration as a pinned
//! hook.

use std::fmt::Display;
use std::io::{BufRead as _, IsTerminal as _, stdin};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::json;

use super::edit::Edit;
use super::inspect::Difference;
use super::look::{Look, function, is_known};
use super::{failure, registry};
use crate::cli::{CONFIG, Exit, Failure, output};
use crate::config::{self, Config, Disk, Language};
use crate::effect::Grants;
use crate::engine::{self, HookProblem};
use crate::hooks::artifact::vet::beside;
use crate::hooks::contract::api::{grant_line, is_allowed};
use crate::host::services::files;
use crate::resolve::Sources;
use crate::types::{Name, Page};

/// Show what a plugin can do, and add it to the configuration, pinned to these bytes and with the
/// grants you give.
///
/// A plugin that is already configured is replaced by the new version, and what the new one can do
/// beyond the old one is shown. The file and the signature next to it are copied to hooks/ next to
/// the configuration, unless they are below that directory already. The new configuration is
/// checked as by `carpd check` and shown as a diff; nothing is changed until you confirm. Run
/// `carpd reload` to use it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd plugin add failover.wasm --vhost web \\\n    \
      --grant 'hostname = [\"nodevir2\", \"node2\"]' --setting 'name_master = \"nodevir2\"' ...\n  \
    carpd plugin add failover-0.2.0.wasm      an upgrade; grants stay\n  \
    carpd plugin add registry.example.org/carpd/failover:0.2.0")]
pub(in crate::cli) struct Args {
    /// The component: a file, or what `carpd plugin pull` would fetch.
    #[arg(value_name = "FILE|REF")]
    file: PathBuf,

    /// The hook's name in the configuration [default: the name in its manifest].
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,

    /// A virtual host that is to use it; may be repeated [default: the only one].
    #[arg(long = "vhost", value_name = "VHOST")]
    vhosts: Vec<String>,

    /// A line of TOML for its grants; may be repeated.
    #[arg(long = "grant", value_name = "TOML")]
    grants: Vec<String>,

    /// A line of TOML for its config; may be repeated.
    #[arg(long = "setting", value_name = "TOML")]
    settings: Vec<String>,

    /// The configuration.
    #[arg(long, short, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,

    #[command(flatten)]
    connection: registry::Connection,

    /// Do not ask for confirmation.
    #[arg(long, short)]
    yes: bool,

    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    // A file of that name takes precedence.
    let reference = args
        .file
        .to_str()
        .filter(|_| !args.file.exists())
        .and_then(|text| text.parse().ok());
    match reference {
        Some(reference) => {
            let fetched = registry::fetch_for_add(&reference, &args.connection)?;
            add(args, &fetched.file)
        }
        None => add(args, &args.file),
    }
}

fn add(args: &Args, file: &Path) -> Result<Exit, Failure> {
    // Edit the file itself: a link to it stays a link.
    let path = fs::canonicalize(&args.config)
        .map_err(|err| failure(format!("{}: {err}", args.config.display())))?;
    let old = Config::load(&path).map_err(|report| bad(&report))?;
    let text =
        fs::read_to_string(&path).map_err(|err| failure(format!("{}: {err}", path.display())))?;
    let look = Look::at(file, &old.config.trust)?;
    let name = name(args, file, &look)?;
    let mut shown = look.text();
    let present = old.config.hooks.get(&name);
    if let Some(hook) = present {
        let difference = match hook.language {
            Language::Wasm => {
                Difference::between(&Look::at(&hook.path, &old.config.trust)?, &look).text()
            }
            Language::Lua => line("all of the above: a script could use everything it was granted"),
        };
        let difference = if difference == Page::default() {
            line("nothing")
        } else {
            difference
        };
        writeln!(shown);
        writeln!(
            shown,
            "It replaces {}; what changes in what it can do:",
            hook.source
        );
        shown.append(&difference);
        writeln!(shown);
    }
    let place = Place::of(file, &path, &name, &look)?;
    let vhosts = vhosts(args, &old.config, &name)?;
    let edit = Edit {
        name: &name,
        source: &place.source,
        digest: look.digest,
        grants: &args.grants,
        settings: &args.settings,
        vhosts: &vhosts,
    };
    let new = edit
        .apply(&text)
        .map_err(|why| Failure::new(Exit::Usage, why))?;
    let diff = diff(&text, &new, &args.config);
    // Nothing is written before this point. The copy is removed again if the command fails.
    let copied = place.install(file, &look)?;
    let checked = check_new(&path, &new, &name, &look);
    if let Err(failed) = checked {
        copied.remove();
        return Err(failed);
    }
    writeln!(shown);
    diff.lines().for_each(|line| writeln!(shown, "{line}"));
    output::notes(&shown);
    if new == text {
        output::note("It is already there.");
    } else if !confirmed(args) {
        copied.remove();
        return Err(failure("nothing was changed").hint("without a terminal, use --yes"));
    } else {
        replace(&path, &text, &new).inspect_err(|_| copied.remove())?;
    }
    if args.json {
        let hook = json!({ "name": name, "source": place.source, "digest": look.digest.to_string(), "signature": look.signature.json() });
        return output::pretty_json(&json!({ "changed": new != text, "hook": hook, "diff": diff }));
    }
    let (source, config) = (place.source, args.config.display());
    output::line(format_args!(
        "hook {name}: added {source} to {config}; run `carpd reload` to use it"
    ))
}

fn line(words: impl Display) -> Page {
    let mut page = Page::default();
    writeln!(page, "{words}");
    page
}

fn bad(report: &config::Report) -> Failure {
    output::problems(report);
    Failure::new(Exit::Config, output::counts(report))
}

fn name(args: &Args, file: &Path, look: &Look) -> Result<Name, Failure> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    let stem = || {
        file.file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let text = look
        .manifest
        .as_ref()
        .map_or_else(stem, |manifest| manifest.name.clone());
    text.parse().map_err(|_| {
        failure(format!("{text:?} cannot be the name of a hook"))
            .hint("choose one with --name NAME")
    })
}

/// The virtual hosts that are to use the hook: those given, or those that use it already, or the
/// only one.
fn vhosts(args: &Args, config: &Config, name: &Name) -> Result<Vec<String>, Failure> {
    if !args.vhosts.is_empty() || config.vhosts.iter().any(|vhost| vhost.hooks.contains(name)) {
        return Ok(args.vhosts.clone());
    }
    match config.vhosts.as_slice() {
        [only] => Ok(vec![only.name.to_string()]),
        several => {
            let names: Vec<&str> = several.iter().map(|vhost| vhost.name.as_str()).collect();
            let failed = Failure::new(Exit::Usage, "there are several virtual hosts");
            Err(failed.hint(format!(
                "choose the one that is to use it: --vhost {}",
                names.join(" or --vhost ")
            )))
        }
    }
}

/// Where the plugin is going to be.
struct Place {
    path: PathBuf,
    /// As `source` in the configuration.
    source: String,
}

/// The files that were written for it.
struct Copied(Vec<PathBuf>);

impl Copied {
    fn remove(&self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

impl Place {
    /// Its current place, if that is below the configuration's directory; otherwise one under
    /// hooks/ named after its content, so that no version ever overwrites another. A file that is
    /// not used does no harm.
    fn of(file: &Path, config: &Path, name: &Name, look: &Look) -> Result<Self, Failure> {
        let directory = config.parent().unwrap_or(Path::new("/"));
        let file =
            fs::canonicalize(file).map_err(|err| failure(format!("{}: {err}", file.display())))?;
        if let Ok(below) = file.strip_prefix(directory) {
            let source = below
                .to_str()
                .ok_or_else(|| {
                    failure(format!("{}: this path is not valid UTF-8", file.display()))
                })?
                .to_owned();
            return Ok(Self { path: file, source });
        }
        let source = format!("hooks/{name}-{}.wasm", look.digest.short());
        Ok(Self {
            path: directory.join(&source),
            source,
        })
    }

    fn install(&self, file: &Path, look: &Look) -> Result<Copied, Failure> {
        let mut copied = Copied(Vec::new());
        let write = |path: &Path, content: &[u8]| {
            let there = path.exists();
            path.parent()
                .map_or(Ok(()), fs::create_dir_all)
                .map_err(|err| failure(format!("{}: {err}", path.display())))?;
            files::write(path, content).map_err(|err| failure(err.to_string()))?;
            Ok(Some(path.to_owned()).filter(|_| !there))
        };
        if fs::canonicalize(file).is_ok_and(|file| file == self.path) {
            return Ok(copied);
        }
        copied.0.extend(write(&self.path, &look.bytes)?);
        match fs::read(beside(file)) {
            Ok(signature) => copied
                .0
                .extend(write(&beside(&self.path), &signature).inspect_err(|_| copied.remove())?),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => {
                copied.remove();
                return Err(failure(format!("{}: {err}", beside(file).display())));
            }
        }
        Ok(copied)
    }
}

/// Checks as `carpd check` does: the whole configuration, with every hook loaded.
fn check_new(path: &Path, new: &str, name: &Name, look: &Look) -> Result<(), Failure> {
    let around = Disk::beside(path, Sources::of_daemon());
    let loaded =
        Config::parse(&path.display().to_string(), new, &around).map_err(|report| bad(&report))?;
    if let Some(hook) = loaded.config.hooks.get(name) {
        missing(look, &hook.grants)?;
    }
    let problems = engine::check_hooks(&loaded.config)
        .map_err(|err| Failure::new(Exit::Cannot, format!("cannot load hooks here: {err}")))?;
    let said = |HookProblem { hook, message, .. }| {
        hook.map_or_else(String::new, |name| format!("hook {name}: ")) + &message
    };
    let (certain, doubtful): (Vec<_>, Vec<_>) =
        problems.into_iter().partition(|problem| problem.certain);
    if let Some(first) = certain.into_iter().next() {
        return Err(Failure::new(Exit::Config, said(first)));
    }
    for doubt in doubtful {
        output::note(format_args!("warning: {}", said(doubt)));
    }
    Ok(())
}

/// Every import must be granted, or the component is refused. Says which lines are missing.
fn missing(look: &Look, grants: &Grants) -> Result<(), Failure> {
    let imports = || look.abilities.imports.iter();
    if let Some(unknown) = imports().find(|import| !is_known(import)) {
        return Err(failure(format!(
            "it needs {unknown}, which this carpd does not have"
        )));
    }
    let lacking = imports()
        .filter_map(|import| function(import))
        .filter(|function| !is_allowed(function, grants));
    let lines: Vec<String> = lacking
        .map(|function| format!("--grant '{}'", grant_line(function)))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    output::notes(&look.text());
    let failed =
        failure("it can do more than it is granted, and would be refused; missing grants:");
    Err(lines
        .into_iter()
        .fold(failed, Failure::detail)
        .hint("grant these with your own values, or do not use the plugin"))
}

fn diff(old: &str, new: &str, config: &Path) -> String {
    let name = config.display().to_string();
    similar::TextDiff::from_lines(old, new)
        .unified_diff()
        .context_radius(2)
        .header(&name, &name)
        .to_string()
}

fn confirmed(args: &Args) -> bool {
    if args.yes {
        return true;
    }
    if !stdin().is_terminal() {
        return false;
    }
    output::question("Write this? [y/N] ");
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Replaces the configuration atomically, if it has not changed since it was read.
fn replace(path: &Path, old: &str, new: &str) -> Result<(), Failure> {
    if fs::read_to_string(path).ok().as_deref() != Some(old) {
        return Err(failure(format!(
            "{} was changed in the meantime; nothing was written",
            path.display()
        )));
    }
    files::write(path, new.as_bytes())
        .map(drop)
        .map_err(|err| failure(err.to_string()))
}
