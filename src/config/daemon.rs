//! Reads `[daemon]`.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::form::Text;
use super::model::{Daemon, Log};
use super::problem::Findings;
use super::read::{At, Table};
use super::reference::{Defaulted, Key, daemon as key};
use super::{Surroundings, reference};

/// The longest name of a group, in bytes, as systemd and glibc have it.
const GROUP_BYTES_MAX: usize = 32;

/// `None` only if something was reported.
pub(super) fn read(
    root: &Table<'_>,
    around: &dyn Surroundings,
    out: &mut Findings,
) -> Option<Daemon> {
    // A table that cannot be read is not one that is not there.
    if !root.entries.contains_key(reference::DAEMON.name) {
        return Some(Daemon::default());
    }
    let table = root.read(&reference::DAEMON, out)?.value;
    Some(Daemon {
        node_name: node_name(&table, out),
        shutdown_timeout: table.get(&key::SHUTDOWN_TIMEOUT, out),
        sandbox: table.get(&key::SANDBOX, out),
        file_owners: table.get(&key::FILE_OWNERS, out),
        log: log(&table, out),
        state_dir: directory(&table, &key::STATE_DIR, out),
        run_dir: directory(&table, &key::RUN_DIR, out),
        service_backend: table.get(&key::SERVICE_BACKEND, out),
        ca_file: ca_file(&table, around, out),
        listen: table.read(&key::LISTEN, out).map(|listen| listen.value),
        read_group: group(&table, &key::READ_GROUP, out),
        order_group: group(&table, &key::ORDER_GROUP, out),
        realtime: table.get(&key::REALTIME, out),
        ..Daemon::default()
    })
}

/// The `run-dir` of a configuration that may be wrong in everything else: its daemon runs all the
/// same, with what it read before.
#[must_use]
pub fn run_dir(text: &str) -> Option<PathBuf> {
    written(text, &key::RUN_DIR)
}

/// Its `state-dir`, likewise.
#[must_use]
pub fn state_dir(text: &str) -> Option<PathBuf> {
    written(text, &key::STATE_DIR)
}

fn written(text: &str, key: &Key<Text>) -> Option<PathBuf> {
    let (document, _) = DeTable::parse_recoverable(text.strip_prefix('\u{feff}').unwrap_or(text));
    let DeValue::Table(daemon) = document.get_ref().get(reference::DAEMON.name)?.get_ref() else {
        return None;
    };
    let DeValue::String(directory) = daemon.get(key.name)?.get_ref() else {
        return None;
    };
    Some(PathBuf::from(directory.as_ref())).filter(|directory| directory.is_absolute())
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            node_name: None,
            shutdown_timeout: key::SHUTDOWN_TIMEOUT.default(),
            sandbox: key::SANDBOX.default(),
            file_owners: key::FILE_OWNERS.default(),
            log: Log::default(),
            state_dir: key::STATE_DIR.default().into(),
            run_dir: key::RUN_DIR.default().into(),
            service_backend: key::SERVICE_BACKEND.default(),
            ca_file: None,
            listen: None,
            read_group: None,
            order_group: None,
            realtime: key::REALTIME.default(),
            hangup_stops: false,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: reference::log::LEVEL.default(),
            format: reference::log::FORMAT.default(),
        }
    }
}

fn log(daemon: &Table<'_>, out: &mut Findings) -> Log {
    let table = daemon.read(&key::LOG, out);
    table.map_or_else(Log::default, |At { value: table, .. }| Log {
        level: table.get(&reference::log::LEVEL, out),
        format: table.get(&reference::log::FORMAT, out),
    })
}

fn node_name(table: &Table<'_>, out: &mut Findings) -> Option<String> {
    let name = table.read(&key::NODE_NAME, out)?;
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

/// A name, or a number.
fn group(table: &Table<'_>, key: &'static Key<Text>, out: &mut Findings) -> Option<String> {
    let group = table.read(key, out)?;
    let is_name = (1..=GROUP_BYTES_MAX).contains(&group.value.len())
        && !group
            .value
            .contains(|c: char| c.is_control() || c.is_whitespace() || c == ':');
    if !is_name {
        let name = key.name;
        out.error(
            group.span,
            format!(
                "`{name}` must be the name or the number of a group, not {:?}",
                group.value
            ),
        );
    }
    Some(group.value.to_owned())
}

fn ca_file(table: &Table<'_>, around: &dyn Surroundings, out: &mut Findings) -> Option<PathBuf> {
    let file = table.read(&key::CA_FILE, out)?;
    let path = around.hook_file(Path::new(file.value)).map_err(|why| {
        out.error(file.span, why.message).hint(why.hint);
    });
    path.ok()
}

fn directory(table: &Table<'_>, key: &'static Defaulted<Text>, out: &mut Findings) -> PathBuf {
    let Some(path) = table.read(key, out) else {
        return key.default().into();
    };
    if !path.value.starts_with('/') || path.value.contains('\0') {
        let name = key.name;
        out.error(
            path.span,
            format!("`{name}` must be an absolute path, not {:?}", path.value),
        );
    }
    path.value.into()
}
