//! The helper process of a daemon: reads itself what the configuration grants, then serves.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::ucarp;
use crate::config::Config;
use crate::programs::role;
use crate::resolve::Snapshot;
use crate::terminal::{Exit, output};
use crate::{engine, host, keeper};

/// What the keeper tells helpers for the daemon that runs this configuration.
pub(super) fn arguments(config: &Path) -> Vec<OsString> {
    // It starts in another directory.
    vec![
        std::path::absolute(config)
            .unwrap_or_else(|_| config.to_owned())
            .into(),
    ]
}

/// The copy of the configuration's file that the keeper hands over.
pub(super) fn copy(path: &Path) -> Option<Arc<Snapshot>> {
    copy_at(path, role::arguments().nth(1)?.to_str()?.parse().ok()?)
}

/// The same, by the number of its descriptor.
pub(super) fn copy_at(path: &Path, number: u32) -> Option<Arc<Snapshot>> {
    let text = File::open(format!("/proc/self/fd/{number}")).ok()?;
    Some(Arc::new(Snapshot::new(path.to_owned(), text)))
}

/// The helper's whole life. Without arguments it serves a command of the operator's own; what the
/// keeper adds is the configuration file, or where ucarp's command line is.
pub(super) fn main() -> ExitCode {
    // What it is handed is not for the programs that it starts.
    if let Err(error) = keeper::close_on_exec() {
        tracing::error!(%error, "The helper process ends");
        return Exit::Failure.into();
    }
    let terms = match (ucarp::configuration(), role::arguments().next()) {
        (Some(Ok((config, path))), _) => Some(engine::terms(&config, &path)),
        (Some(Err(code)), _) => return code,
        (None, None) => None,
        (None, Some(path)) => {
            let path = PathBuf::from(path);
            match Config::load_copy_without_secrets(&path, copy(&path)) {
                Ok(loaded) => Some(engine::terms(&loaded.config, &path)),
                Err(report) => {
                    output::problems(&report);
                    return Exit::Config.into();
                }
            }
        }
    };
    host::children::helper::main(terms)
}
