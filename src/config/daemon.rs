//! Reads `[daemon]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::choice::{FileOwners, LogFormat, LogLevel, Sandbox, ServiceBackend};
use super::model::{Daemon, Log};
use super::problem::Findings;
use super::read::{At, Table};
use super::{Surroundings, reference};

/// `None` only if something was reported.
pub(super) fn read(
    root: &Table<'_>,
    around: &dyn Surroundings,
    out: &mut Findings,
) -> Option<Daemon> {
    let Some(item) = root.item("daemon", out) else {
        return Some(Daemon::default());
    };
    let table = Table::open(item, &reference::DAEMON, out)?;
    let default = Daemon::default();
    Some(Daemon {
        node_name: node_name(&table, out),
        shutdown_timeout: Table::or(
            table.duration(
                "shutdown-timeout",
                Duration::from_secs(1)..=Duration::from_hours(1),
                out,
            ),
            default.shutdown_timeout,
        ),
        sandbox: Table::or(table.choice("sandbox", out), default.sandbox),
        file_owners: Table::or(table.choice("file-owners", out), default.file_owners),
        log: log(&table, out),
        state_dir: Table::or(directory(&table, "state-dir", out), default.state_dir),
        run_dir: Table::or(directory(&table, "run-dir", out), default.run_dir),
        service_backend: Table::or(
            table.choice("service-backend", out),
            default.service_backend,
        ),
        ca_file: ca_file(&table, around, out),
        hangup_stops: default.hangup_stops,
    })
}

/// The `run-dir` of a configuration that may be wrong in everything else: its daemon runs all the
/// same, with what it read before.
#[must_use]
pub fn run_dir(text: &str) -> Option<PathBuf> {
    written(text, "run-dir")
}

/// Its `state-dir`, likewise.
#[must_use]
pub fn state_dir(text: &str) -> Option<PathBuf> {
    written(text, "state-dir")
}

fn written(text: &str, key: &str) -> Option<PathBuf> {
    let (document, _) = DeTable::parse_recoverable(text.strip_prefix('\u{feff}').unwrap_or(text));
    let DeValue::Table(daemon) = document.get_ref().get("daemon")?.get_ref() else {
        return None;
    };
    let DeValue::String(directory) = daemon.get(key)?.get_ref() else {
        return None;
    };
    Some(PathBuf::from(directory.as_ref())).filter(|directory| directory.is_absolute())
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            node_name: None,
            shutdown_timeout: Duration::from_secs(30),
            sandbox: Sandbox::Required,
            file_owners: FileOwners::Required,
            log: Log::default(),
            state_dir: PathBuf::from("/var/lib/carpd"),
            run_dir: PathBuf::from("/run/carpd"),
            service_backend: ServiceBackend::Auto,
            ca_file: None,
            hangup_stops: false,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            format: LogFormat::Auto,
        }
    }
}

fn log(daemon: &Table<'_>, out: &mut Findings) -> Log {
    let default = Log::default();
    let table = daemon
        .item("log", out)
        .and_then(|item| Table::open(item, &reference::LOG, out));
    table.map_or(default, |table| Log {
        level: Table::or(table.choice("level", out), default.level),
        format: Table::or(table.choice("format", out), default.format),
    })
}

fn node_name(table: &Table<'_>, out: &mut Findings) -> Option<String> {
    let name = table.string("node-name", out)?;
    if name.value.is_empty()
        || name.value.len() > 64
        || name
            .value
            .chars()
            .any(|c| c.is_control() || c.is_whitespace())
    {
        out.error(
            name.span,
            "`node-name` must have 1 to 64 bytes without blanks",
        );
    }
    Some(name.value.to_owned())
}

fn ca_file(table: &Table<'_>, around: &dyn Surroundings, out: &mut Findings) -> Option<PathBuf> {
    let file = table.string("ca-file", out)?;
    let path = around.hook_file(Path::new(file.value)).map_err(|why| {
        out.error(file.span, why.message).hint(why.hint);
    });
    path.ok()
}

fn directory(table: &Table<'_>, key: &'static str, out: &mut Findings) -> Option<At<PathBuf>> {
    let path = table.string(key, out)?;
    if !path.value.starts_with('/') || path.value.contains('\0') {
        out.error(
            path.span.clone(),
            format!("`{key}` must be an absolute path, not {:?}", path.value),
        );
    }
    Some(path.map(PathBuf::from))
}
