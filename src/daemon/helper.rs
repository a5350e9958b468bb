//! The daemon's helper process: determines itself what the configuration grants, then serves.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::ucarp;
use crate::config::{Config, Share};
use crate::programs::role;
use crate::resolve::Snapshot;
use crate::terminal::{Exit, output};
use crate::{engine, host, keeper};

/// The arguments that the keeper passes to helpers, for the daemon that runs this share of this
/// configuration.
pub(super) fn arguments(config: &Path, share: &Share) -> Vec<OsString> {
    // The helper starts in another directory.
    vec![
        std::path::absolute(config)
            .unwrap_or_else(|_| config.to_owned())
            .into(),
        share.to_string().into(),
    ]
}

/// The copy of the configuration file that the keeper passes on.
pub(super) fn copy(path: &Path) -> Option<Arc<Snapshot>> {
    copy_at(path, role::arguments().nth(2)?.to_str()?.parse().ok()?)
}

/// The same, by the number of its descriptor.
pub(super) fn copy_at(path: &Path, number: u32) -> Option<Arc<Snapshot>> {
    let text = File::open(format!("/proc/self/fd/{number}")).ok()?;
    Some(Arc::new(Snapshot::new(path.to_owned(), text)))
}

/// The share that the keeper passes on, at this place of the arguments.
pub(super) fn share(place: usize) -> Share {
    let word = role::arguments().nth(place);
    let share = word.and_then(|word| word.to_str()?.parse().ok());
    share.unwrap_or_default()
}

/// Runs the helper. Without arguments it serves a command run by an operator; otherwise the keeper
/// passes the configuration file, or the place of ucarp's command line.
pub(super) fn main() -> ExitCode {
    // The programs that it starts must not inherit what was passed to it.
    if let Err(error) = keeper::close_on_exec() {
        tracing::error!(%error, "The helper process stopped");
        return Exit::Failure.into();
    }
    let terms = match (ucarp::configuration(), role::arguments().next()) {
        (Some(Ok((config, path))), _) => Some(engine::terms(&config, &path)),
        (Some(Err(code)), _) => return code,
        (None, None) => None,
        (None, Some(path)) => {
            let path = PathBuf::from(path);
            match Config::load_copy_without_secrets(&path, copy(&path)) {
                Ok(loaded) => {
                    let config = loaded.config.only(&share(1));
                    Some(engine::terms(&config, &path))
                }
                Err(report) => {
                    output::problems(&report);
                    return Exit::Config.into();
                }
            }
        }
    };
    host::children::helper::main(terms)
}
