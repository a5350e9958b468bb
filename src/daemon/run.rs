//! `carpd-daemon run`, the implementation of `carpd run`: keeper and engine for a configuration.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use nix::sys::prctl;

use tracing::{error, warn};
use tracing_subscriber::filter::LevelFilter;

use super::{CONFIG, namespaces, report};
use crate::config::{Config, Daemon, Listen, LogFormat, LogLevel, Report, Sandbox, Share};
use crate::control::{self, Bound, Listening, Roles};
use crate::endpoint::{self, Listener, Serving};
use crate::engine::Doors;
use crate::keeper;
use crate::programs::{Programs, role};
use crate::resolve::Snapshot;
use crate::telemetry::{self, FILTER_VARIABLE, Format};
use crate::terminal::{Exit, Failure, output};
use crate::types::Netns;

/// Run the daemon in the foreground.
///
/// First reads and checks the whole configuration; an invalid one changes nothing. Then every
/// virtual host listens, and becomes master if it hears no better one. Under systemd it reports
/// when it is ready (Type=notify) and logs to the journal.
///
/// SIGTERM and SIGINT stop it cleanly: a master hands over at once, its addresses are removed, and
/// what its hooks did is undone. The exit status is 70 if the engine died while stopping, and again
/// while undoing what was left.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd run\n  \
    carpd run --config ./carpd.toml --log-level debug\n  \
    CARPD_LOG=info,carpd::proto=trace carpd run")]
pub(crate) struct Args {
    /// The configuration to use.
    #[arg(short, long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,

    /// Log messages of this level and above; overrides CARPD_LOG and the configuration.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<Level>,

    /// The format of the log on standard error; overrides the configuration.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogForm>,

    /// Only the virtual hosts of this share.
    #[arg(long, hide = true, default_value = "", hide_default_value = true)]
    share: Share,

    /// First enter the network namespace of this descriptor.
    #[arg(long, hide = true)]
    enter: Option<u32>,

    /// Write to this descriptor when another configuration is in use.
    #[arg(long, hide = true, requires = "enter")]
    on_reload: Option<u32>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum LogForm {
    /// The journal if standard error is the journal, otherwise plain lines.
    Auto,
    /// Plain lines.
    Human,
    /// One JSON object per line.
    Json,
    /// Fields for the journal.
    Journald,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    // People started `carpd run`, and look for that name.
    _ = prctl::set_name(c"carpd");
    if let Some(number) = args.enter {
        namespaces::enter(number).map_err(|error| {
            let message = format!("cannot enter the network namespace {}: {error}", args.share);
            Failure::new(Exit::Cannot, message).hint("this needs CAP_SYS_ADMIN")
        })?;
    }
    // Opened before anything else, so that later changes of the files on disk do not matter.
    let programs =
        Programs::of_daemon().map_err(|error| Failure::new(Exit::Cannot, error.to_string()))?;
    let loaded = Config::load(&args.config).map_err(refused)?;
    output::problems(&loaded.report);
    start_log(args, &loaded.config)?;
    if args.share == Share::All && loaded.config.all_shares != BTreeSet::from([Share::All]) {
        let ended = namespaces::run(loaded.config, &args.config);
        telemetry::stderr::finish();
        return ended.map_err(|error| Failure::new(Exit::Failure, error.to_string()));
    }
    // From here on the keeper uses its own copies of the file.
    drop(loaded);
    // The engine is this program executed anew with the same arguments: a clean address space, and
    // nothing inherited.
    let arguments: Vec<_> = engine_arguments(args).collect();
    let on_reload = args.on_reload.map(namespaces::told_of_reloads).transpose();
    let on_reload = on_reload.map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    let settings = keeper::ChildSettings {
        on_reload: on_reload.as_ref().map(AsFd::as_fd),
        arguments: &super::helper::arguments(&args.config, &args.share),
        config_file: Some(&args.config),
        inherited: None,
        ca_file,
    };
    let code = keeper::run(&programs, &arguments, &settings);
    telemetry::stderr::finish();
    Ok(code)
}

/// Those of this process. The engine need not enter the namespace: it is there.
fn engine_arguments(args: &Args) -> impl Iterator<Item = OsString> {
    let all = std::env::args_os().skip(2);
    // They come last.
    let count = all.len() - if args.enter.is_some() { 4 } else { 0 };
    all.take(count)
}

/// The certificate file that a configuration names.
fn ca_file(path: &Path, copy: Option<File>) -> Option<PathBuf> {
    let copy = copy.map(|copy| Arc::new(Snapshot::new(path.to_owned(), copy)));
    let loaded = Config::load_copy_without_secrets(path, copy);
    loaded.ok()?.config.daemon.ca_file
}

/// Runs the engine, which the keeper starts with the arguments of `carpd run`.
pub(super) fn engine() -> ExitCode {
    if let Some(code) = super::ucarp::engine() {
        return code;
    }
    let arguments = std::iter::once(OsString::from("carpd run")).chain(role::arguments());
    let Engine { args, copy } = match Engine::try_parse_from(arguments) {
        Ok(engine) => engine,
        Err(error) => return report(&Failure::new(Exit::Usage, error.to_string())),
    };
    // `run` has already shown its problems.
    let copy = copy.and_then(|number| super::helper::copy_at(&args.config, number));
    // The report has the text of the file.
    let config = match Config::load_copy(&args.config, copy) {
        Ok(loaded) => loaded.config.only(&args.share),
        Err(report) => {
            output::problems(&report);
            return Exit::Config.into();
        }
    };
    match start_log(&args, &config) {
        Ok(()) => {
            let place = config.daemon.listen.as_ref().map(|place| {
                let netns = config.share.netns().map(Netns::path);
                place.in_netns(netns.as_deref())
            });
            let Daemon {
                read_group,
                order_group,
                ..
            } = &config.daemon;
            let roles = look_up(read_group.as_deref(), order_group.as_deref());
            let shown = roles.clone();
            let confined = config.daemon.sandbox == Sandbox::Required;
            let code = crate::engine::main(
                config,
                &args.config,
                |instance_dir| open(instance_dir, &roles, place),
                |opened, doors| listen(opened, shown, confined, doors),
            );
            telemetry::tell_repeats();
            telemetry::stderr::finish();
            code
        }
        Err(failure) => report(&failure),
    }
}

/// Who may ask, and who may give orders. A group that does not exist is said in the log.
fn look_up(read: Option<&str>, order: Option<&str>) -> Roles {
    for name in [read, order].into_iter().flatten() {
        if control::group(name).is_none() {
            error!(
                group = name,
                "There is no such group: it gives nobody a right until the daemon is restarted"
            );
        }
    }
    Roles::look_up(read, order)
}

/// The sockets that others ask on, before there is anybody to answer.
pub(super) struct Opened {
    control: Option<Bound>,
    endpoint: Option<Listener>,
}

/// What answers on them, until it is dropped.
pub(super) type Answering = (Option<Listening>, Option<Serving>);

/// Opens the control socket, and that of the HTTP endpoint if one is wanted. The daemon runs
/// without them, too.
pub(super) fn open(instance_dir: &Path, roles: &Roles, place: Option<Listen>) -> Opened {
    let socket = control::socket_path(instance_dir);
    let control = control::bind(&socket, roles)
        .inspect_err(|error| {
            warn!(path = %socket.display(), %error, "Cannot open the control socket: no status, and reload only by SIGHUP");
        })
        .ok();
    let endpoint = place.and_then(|place| {
        endpoint::bind(place.clone())
            .inspect_err(|error| {
                error!(listen = %place, %error, "Cannot listen for HTTP: there is no endpoint until the daemon is restarted");
            })
            .ok()
    });
    Opened { control, endpoint }
}

/// Starts answering on them. `confined`: over HTTP not without a full sandbox.
pub(super) fn listen(opened: Opened, roles: Roles, confined: bool, doors: Doors) -> Answering {
    let control = opened.control.and_then(|bound| {
        control::serve(bound, roles, doors.commands.clone())
            .inspect_err(|error| warn!(%error, "Cannot answer on the control socket"))
            .ok()
    });
    let endpoint = opened
        .endpoint
        .map(|listener| endpoint::serve(listener, confined, doors));
    (control, endpoint)
}

#[derive(clap::Parser)]
struct Engine {
    #[command(flatten)]
    args: Args,
    /// The number of the descriptor of the keeper's copy of the configuration.
    copy: Option<u32>,
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(report: Report) -> Failure {
    output::problems(&report);
    Failure::new(Exit::Config, output::counts(&report))
}

fn start_log(args: &Args, config: &Config) -> Result<(), Failure> {
    let level = match (args.log_level, config.daemon.log.level) {
        (Some(Level::Error), _) | (None, LogLevel::Error) => LevelFilter::ERROR,
        (Some(Level::Warn), _) | (None, LogLevel::Warn) => LevelFilter::WARN,
        (Some(Level::Info), _) | (None, LogLevel::Info) => LevelFilter::INFO,
        (Some(Level::Debug), _) | (None, LogLevel::Debug) => LevelFilter::DEBUG,
        (Some(Level::Trace), _) | (None, LogLevel::Trace) => LevelFilter::TRACE,
    };
    let format = match (args.log_format, config.daemon.log.format) {
        (Some(LogForm::Auto), _) | (None, LogFormat::Auto) => Format::Auto,
        (Some(LogForm::Human), _) | (None, LogFormat::Human) => Format::Human,
        (Some(LogForm::Json), _) | (None, LogFormat::Json) => Format::Json,
        (Some(LogForm::Journald), _) | (None, LogFormat::Journald) => Format::Journald,
    };
    let directives = std::env::var(FILTER_VARIABLE)
        .ok()
        .filter(|_| args.log_level.is_none());
    telemetry::start(format, level, directives.as_deref()).map_err(|error| match error {
        telemetry::TelemetryError::Filter(_) => Failure::new(Exit::Usage, error.to_string())
            .hint("use a level (info) or directives: CARPD_LOG=info,carpd::proto=trace"),
        telemetry::TelemetryError::Journal(_)
        | telemetry::TelemetryError::Stderr(_)
        | telemetry::TelemetryError::Started(_) => Failure::new(Exit::Cannot, error.to_string()),
    })
}
