//! `carpd check`: checks configurations.

mod formats;
mod machine;

use std::path::{Path, PathBuf};

use super::maintenance;
use crate::cli::{CONFIG, Exit, Failure, excerpt, output};
use crate::config::{Config, Loaded, Problem, Report, Severity};
use crate::engine::{self, HookProblem, Maintenance};
use crate::types::{Page, shown};

/// Check a configuration and everything it refers to, without changing anything.
///
/// Reads the file, the passwords and the hooks, and shows all problems at once, each at its place
/// in the file. Warnings do not make it fail. Needs permission to read the password files.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd check\n  \
    carpd check ./carpd.toml && systemctl restart carpd\n  \
    carpd check --json ./carpd.toml | jq .problems\n  \
    carpd check --files-only --format github hosts/*/carpd.toml")]
pub(in crate::cli) struct Args {
    /// The configurations to check [default: /etc/carpd/carpd.toml].
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The same, as with the other commands.
    #[arg(short, long, value_name = "FILE", conflicts_with = "files")]
    config: Option<PathBuf>,

    /// Treat a missing interface as an error, unless something suggests that it will appear: the
    /// interface that it is based on, or a driver that creates such interfaces.
    #[arg(long, conflicts_with = "files_only")]
    strict: bool,

    /// Check only the files, for a configuration of another machine: passwords are not read, and
    /// this machine's interfaces, addresses, programs and users do not matter. Hooks are loaded
    /// where their files are here.
    #[arg(long)]
    files_only: bool,

    /// How the problems are printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// The same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Format {
    /// For people, each at its place in the file.
    #[default]
    Text,
    /// An object for each file, on a line of its own.
    Json,
    /// Annotations of a workflow on GitHub.
    Github,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

impl Args {
    fn files(&self) -> Vec<&Path> {
        if self.files.is_empty() {
            return vec![self.config.as_deref().unwrap_or(Path::new(CONFIG))];
        }
        self.files.iter().map(PathBuf::as_path).collect()
    }

    fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }

    fn check<'a>(&self, file: &'a Path) -> Checked<'a> {
        if self.files_only {
            let (config, report) = look_at_files(file);
            return Checked {
                file,
                config,
                report,
                maintenance: Vec::new(),
            };
        }
        let (config, report) = look_at(file, self.strict);
        let maintenance = config
            .as_ref()
            .map(|config| maintenance::look(file, config))
            .unwrap_or_default();
        Checked {
            file,
            config,
            report,
            maintenance,
        }
    }
}

/// A configuration, and everything that is to be said about it.
struct Checked<'a> {
    file: &'a Path,
    /// `None`: it is too wrong for one.
    config: Option<Config>,
    report: Report,
    maintenance: Vec<Maintenance>,
}

impl Checked<'_> {
    fn is_good(&self) -> bool {
        self.config.is_some() && !self.report.has_errors()
    }
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    let checked: Vec<_> = args.files().into_iter().map(|it| args.check(it)).collect();
    let bad = || checked.iter().filter(|checked| !checked.is_good());
    match args.format() {
        Format::Text => {
            for Checked { report, .. } in &checked {
                output::problems(report);
            }
            output::page(&summary(&checked))?;
        }
        Format::Json => {
            for one in &checked {
                output::json(&formats::json(one))?;
            }
        }
        Format::Github => drop(output::page(&formats::github(&checked))?),
        Format::Sarif => drop(output::json(&formats::sarif(&checked))?),
    }
    if bad().next().is_none() {
        return Ok(Exit::Success);
    }
    // The other forms have all of it.
    let words = match args.format() {
        Format::Text => bad().map(|checked| output::counts(&checked.report)),
        _ => return Err(Failure::new(Exit::Config, "")),
    };
    let words: Vec<_> = words.filter(|words| !words.is_empty()).collect();
    Err(Failure::new(Exit::Config, words.join("; ")))
}

/// A configuration and everything that is to be said about it on this machine.
pub(in crate::cli) fn look(file: &Path) -> (Option<Config>, Report) {
    look_at(file, false)
}

fn look_at(file: &Path, strict: bool) -> (Option<Config>, Report) {
    match super::owners::look(file) {
        Ok((loaded, refusals)) => {
            let mut report = loaded.report;
            report
                .problems
                .extend(machine::check(&loaded.config, strict));
            report.problems.extend(super::tracks::check(&loaded.config));
            report.problems.extend(super::notify::check(&loaded.config));
            report.problems.extend(check_hooks(&loaded.config));
            report
                .problems
                .extend(super::owners::check_granted(&loaded.config));
            report
                .problems
                .extend(super::owners::check_sources(refusals));
            (Some(loaded.config), report)
        }
        Err(report) => (None, report),
    }
}

/// Whatever machine it is for.
fn look_at_files(file: &Path) -> (Option<Config>, Report) {
    let Loaded {
        mut config,
        mut report,
        ..
    } = match Config::look_at_files(file) {
        Ok(loaded) => loaded,
        Err(report) => return (None, report),
    };
    let (here, elsewhere) = std::mem::take(&mut config.hooks)
        .into_iter()
        .partition(|(_, hook)| hook.path.exists());
    config.hooks = here;
    report.problems.extend(check_hooks(&config));
    for (name, hook) in elsewhere {
        let path = hook.path.display();
        let message = format!("the file of hook {name} is not here: {path}; it was not checked");
        report.problems.push(Problem {
            severity: Severity::Warning,
            ..Problem::error(Some(hook.place.0.clone()), message)
        });
        config.hooks.insert(name, hook);
    }
    (Some(config), report)
}

/// Loads every hook in a runner, as the daemon would. Each problem points to the line in the hook,
/// or to its `source`.
fn check_hooks(config: &Config) -> Vec<Problem> {
    if config.hooks.is_empty() {
        return Vec::new();
    }
    let found = engine::check_hooks(config);
    let nowhere = |error| HookProblem {
        hook: None,
        message: format!("cannot load the hooks here: {error}"),
        certain: true,
    };
    let found = found.unwrap_or_else(|error| vec![nowhere(error)]);
    let problem = |HookProblem {
                       hook,
                       message,
                       certain,
                   }: HookProblem| {
        let hook = hook.and_then(|name| config.hooks.get(&name));
        let elsewhere = hook.and_then(|hook| excerpt::of(&hook.path, &message));
        let severity = if certain {
            Severity::Error
        } else {
            Severity::Warning
        };
        Problem {
            severity,
            elsewhere,
            ..Problem::error(hook.map(|hook| hook.place.0.clone()), message)
        }
    };
    found.into_iter().map(problem).collect()
}

/// A line for each good configuration.
fn summary(checked: &[Checked<'_>]) -> Page {
    let mut page = Page::default();
    for one in checked.iter().filter(|checked| checked.is_good()) {
        let Some(config) = &one.config else { continue };
        let vhosts = output::count(config.vhosts.len(), "virtual host");
        writeln!(
            page,
            "{}: good: {vhosts}, {}",
            one.file.display(),
            output::count(config.hooks.len(), "hook")
        );
        for maintenance in &one.maintenance {
            writeln!(page, "note: {}", shown(maintenance::in_words(maintenance)));
        }
    }
    page
}
