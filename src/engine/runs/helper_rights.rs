//! What a configuration lets the helper process do. The helper uses this code to determine it, and
//! the engine to know when it needs another helper.

use std::path::{Path, PathBuf};

use super::script;
use crate::config::{self, Config, Kind};
use crate::host::children::helper::{CommandLine, Terms};
use crate::host::services::manager::ServiceBackend;
use crate::ledger::instance_name;

/// The helper's own directory below `state-dir`.
const RECORDS: &str = "helper";

/// Where helpers record previous values before granted changes.
#[must_use]
pub(in crate::engine) fn records(state_dir: &Path) -> PathBuf {
    state_dir.join(RECORDS)
}

/// What the helper may do for the daemon that runs this configuration, from this file.
#[must_use]
pub fn terms(config: &Config, path: &Path) -> Terms {
    Terms {
        grants: config
            .hooks
            .values()
            .map(|hook| hook.grants.clone())
            .collect(),
        scripts: config
            .vhosts
            .iter()
            .flat_map(|vhost| scripts(config, vhost))
            .collect(),
        services: services(config.daemon.service_backend).or_else(ServiceBackend::detect),
        records: records(&config.daemon.state_dir),
        name: instance_name(path, &config.share.to_string()),
        ledgers: [
            config.daemon.run_dir.clone(),
            config.daemon.state_dir.clone(),
        ],
    }
}

/// The command lines of a virtual host's scripts, as [`super::script`] makes them.
fn scripts<'a>(
    config: &'a Config,
    vhost: &'a config::Vhost,
) -> impl Iterator<Item = CommandLine> + 'a {
    let hooks = vhost.hooks.iter().filter_map(|name| config.hooks.get(name));
    let scripts = hooks.filter_map(|hook| {
        if let Kind::Script(script) = &hook.kind {
            Some(script.as_ref())
        } else {
            None
        }
    });
    scripts.flat_map(|programs| {
        programs.up.iter().chain(&programs.down).map(|program| {
            script::line(
                programs,
                program,
                &vhost.interface,
                &vhost.addresses,
                vhost.xparam.as_deref(),
            )
        })
    })
}

pub(in crate::engine) const fn services(choice: config::ServiceBackend) -> Option<ServiceBackend> {
    match choice {
        config::ServiceBackend::Auto => None,
        config::ServiceBackend::Systemd => Some(ServiceBackend::Systemd),
        config::ServiceBackend::Sysv => Some(ServiceBackend::SysV),
        config::ServiceBackend::OpenRc => Some(ServiceBackend::OpenRc),
    }
}
