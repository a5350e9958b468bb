//! `carpd plan`: shows what a hook would do on this machine.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::{CONFIG, Exit, Failure, excerpt, output};
use crate::config::{Config, Surroundings, Unusable};
use crate::engine::plan::{Event, Plan, PlanError, Planner, Totals, Wanted, text};
use crate::hooks::LoadError;
use crate::types::{IfName, Name, VirtualAddress};

/// Show what hooks would do on this machine, without doing it.
///
/// Each hook runs in its sandbox, receives the event, and sees this machine as it is. Everything it
/// asks for is listed: what would change, which grant allows it, and what it reverts to when
/// mastership ends. Nothing is changed, and no daemon is needed.
///
/// HOOK is a file, or the name of a hook in the configuration. Without HOOK, every virtual host of
/// the configuration is planned, with its own addresses. A file is planned for a made-up virtual
/// host (--interface, --address), with the grants and config from NAME.toml next to it.
///
/// The exit status is 1 if something is not granted or would fail.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd plan --event master\n  \
    carpd plan failover --event backup --config ./carpd.toml\n  \
    carpd plan ./failover.lua --event master --interface eth0 --address 192.168.32.22/24\n  \
    carpd plan --event master --json | jq '.plans[].parts[].steps[].effect'")]
pub(in crate::cli) struct PlanArgs {
    #[command(flatten)]
    subject: Subject,

    /// What happens to the virtual host.
    #[arg(short, long, value_name = "EVENT")]
    event: Word,

    /// Print the plan as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Subject {
    /// A hook's file, or its name in the configuration.
    #[arg(value_name = "HOOK")]
    hook: Option<String>,

    /// The configuration.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// For a file: the interface of the made-up virtual host.
    #[arg(long, value_name = "NAME", default_value = "eth0")]
    interface: IfName,

    /// For a file: the address of the made-up virtual host.
    #[arg(long, value_name = "ADDRESS", default_value = "192.0.2.22/24")]
    address: VirtualAddress,

    /// For a file: the event's xparam.
    #[arg(long, value_name = "TEXT")]
    xparam: Option<String>,
}

/// [`Event`] on the command line.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Word {
    BeforeMaster,
    Master,
    BeforeBackup,
    Backup,
    PeerClaim,
    Health,
    Stop,
}

impl From<Word> for Event {
    fn from(word: Word) -> Self {
        match word {
            Word::BeforeMaster => Self::BeforeMaster,
            Word::Master => Self::Master,
            Word::BeforeBackup => Self::BeforeBackup,
            Word::Backup => Self::Backup,
            Word::PeerClaim => Self::PeerClaim,
            Word::Health => Self::Health,
            Word::Stop => Self::Stop,
        }
    }
}

pub(in crate::cli) fn plan(args: &PlanArgs) -> Result<Exit, Failure> {
    let (config, hook) = args.subject.load()?;
    if let Some(missing) = args
        .subject
        .file()
        .map(|file| file.with_extension("toml"))
        .filter(|beside| !beside.exists())
    {
        output::note(format_args!(
            "note: there is no {}: the hook has no grants and an empty config",
            missing.display()
        ));
    }
    let wanted = Wanted {
        hook,
        event: args.event.into(),
        learns: false,
    };
    let plans = tokio::task::LocalSet::new().block_on(&runtime()?, async {
        Ok(Planner::start(&config, &wanted, None)
            .await?
            .plan(&wanted)
            .await)
    });
    let plans: Vec<Plan> = plans.map_err(|error| failure(&error, &config))?;
    let totals = Totals::of(&plans);
    if args.json {
        output::json(&json!({ "plans": plans, "totals": totals }))?;
    } else {
        output::page(&text(&plans))?;
    }
    Ok(if totals.is_good() {
        Exit::Success
    } else {
        Exit::Failure
    })
}

pub(in crate::cli) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(|error| Failure::new(Exit::Cannot, format!("cannot start: {error}")))
}

/// Shows the line of the hook that caused the error, if there is one.
pub(in crate::cli) fn failure(error: &PlanError, config: &Config) -> Failure {
    let exit = match error {
        PlanError::Hook {
            source: LoadError::Code(_) | LoadError::NoEntryPoint { .. },
            ..
        } => Exit::Config,
        PlanError::Hook { .. } | PlanError::System { .. } | PlanError::Host(_) => Exit::Cannot,
    };
    if let PlanError::Hook { name, source } = error
        && excerpt::show(config.hooks.get(name), source)
    {
        return Failure::new(exit, "");
    }
    Failure::new(exit, error.to_string())
}

impl Subject {
    /// The file of a hook that is planned without a configuration.
    fn file(&self) -> Option<&Path> {
        self.hook
            .as_deref()
            .filter(|hook| self.config.is_none() && is_file(hook))
            .map(Path::new)
    }

    /// Loads the configuration, and finds the hook that was asked for.
    pub(in crate::cli) fn load(&self) -> Result<(Config, Option<Name>), Failure> {
        match self.hook.as_deref() {
            Some(file) if is_file(file) => {
                let (config, name) = self.made_up(Path::new(file))?;
                Ok((config, Some(name)))
            }
            hook => {
                let config =
                    super::owners::load(self.config.as_deref().unwrap_or(Path::new(CONFIG)))?
                        .config;
                let name = hook.map(|hook| named(&config, hook)).transpose()?;
                Ok((config, name))
            }
        }
    }

    /// Makes up a configuration for a hook's file.
    fn made_up(&self, file: &Path) -> Result<(Config, Name), Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        if let Some(config) = &self.config {
            let config = super::owners::load(config)?.config;
            let same = |path: &Path| {
                fs::canonicalize(path)
                    .ok()
                    .is_some_and(|path| fs::canonicalize(file).is_ok_and(|f| f == path))
            };
            let found = config
                .hooks
                .iter()
                .find(|(_, hook)| same(&hook.path))
                .map(|(name, _)| name.clone());
            let none = || {
                usage(format!(
                    "no hook in the configuration has the file {}",
                    file.display()
                ))
            };
            return found.ok_or_else(none).map(|name| (config, name));
        }
        let stem = file
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        let name: Name = stem.parse().map_err(|error| {
            usage(format!(
                "{} cannot be the file of a hook: {error}",
                file.display()
            ))
        })?;
        let unreadable = |path: &Path, error| {
            Failure::new(
                Exit::Config,
                format!("cannot read {}: {error}", path.display()),
            )
        };
        fs::metadata(file).map_err(|error| unreadable(file, error))?;
        let beside = file.with_extension("toml");
        let table = match fs::read_to_string(&beside) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                format!("[hook.{name}]\nsource = {:?}\n", file.display().to_string())
            }
            Err(error) => return Err(unreadable(&beside, error)),
        };
        let Self {
            interface,
            address,
            xparam,
            ..
        } = self;
        let xparam = xparam
            .as_ref()
            .map(|text| format!("xparam = {}\n", toml::Value::String(text.clone())))
            .unwrap_or_default();
        let text = format!(
            "{table}\n[[vhost]]\nname = \"example\"\ninterface = \"{interface}\"\nvhid = 1\naddresses = [\"{address}\"]\n\
             password-file = \"none\"\nhooks = [\"{name}\"]\n{xparam}"
        );
        let around = MadeUp {
            file: file.to_owned(),
        };
        match Config::parse(&beside.display().to_string(), &text, &around) {
            Ok(mut loaded) => {
                super::owners::tell(&super::owners::look_at_hooks(&mut loaded.config));
                Ok((loaded.config, name))
            }
            Err(report) => {
                output::problems(&report);
                Err(Failure::new(Exit::Config, output::counts(&report)))
            }
        }
    }
}

/// Whether this is a path rather than a name in the configuration.
fn is_file(text: &str) -> bool {
    text.contains('/')
        || [".lua", ".luau", ".wasm"]
            .iter()
            .any(|ending| text.ends_with(ending))
}

fn named(config: &Config, text: &str) -> Result<Name, Failure> {
    let found = config.hooks.keys().find(|name| name.as_str() == text);
    found.cloned().ok_or_else(|| {
        let known: Vec<&str> = config.hooks.keys().map(Name::as_str).collect();
        Failure::new(
            Exit::Usage,
            format!(
                "there is no hook {text} in the configuration; there are: {}",
                known.join(", ")
            ),
        )
    })
}

/// The files that the made-up configuration refers to: one hook, and a password that is never used.
struct MadeUp {
    file: PathBuf,
}

impl Surroundings for MadeUp {
    fn password_file(&self, _: &Path) -> Result<Vec<u8>, Unusable> {
        Ok(b"plan".to_vec())
    }

    fn credential(&self, _: &str) -> Result<Vec<u8>, Unusable> {
        Ok(b"plan".to_vec())
    }

    fn key_file(&self, path: &Path) -> Result<Vec<u8>, Unusable> {
        Err(format!(
            "{}: keys are not used for a hook without a configuration",
            path.display()
        )
        .into())
    }

    fn hook_file(&self, _: &Path) -> Result<PathBuf, Unusable> {
        match fs::metadata(&self.file) {
            Ok(meta) if meta.is_file() => Ok(self.file.clone()),
            Ok(_) => Err(format!("{} is not a file", self.file.display()).into()),
            Err(error) => Err(format!("cannot read {}: {error}", self.file.display()).into()),
        }
    }
}
