//! A daemon's prober process: determines itself what it looks at, and as whom.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{Config, FileOwners, Share};
use crate::host::children::prober::{Job, What};
use crate::ledger::Origin;
use crate::programs::role;
use crate::terminal::{Exit, output};
use crate::{engine, host, keeper};

/// Runs a prober. The keeper passes the number of its part, the configuration file, and the number
/// of the descriptor that has the copy of it.
pub(super) fn main() -> ExitCode {
    // The programs that it starts must not inherit what was passed to it.
    if let Err(error) = keeper::close_on_exec() {
        tracing::error!(%error, "A prober process stopped");
        return Exit::Failure.into();
    }
    let mut words = role::arguments();
    let part = words.next().and_then(|word| word.to_str()?.parse().ok());
    let (Some(part), Some(path)) = (part, words.next().map(PathBuf::from)) else {
        return Exit::Usage.into();
    };
    let share = super::helper::share(2);
    let number = words.nth(1).and_then(|word| word.to_str()?.parse().ok());
    let copy = number.and_then(|number| super::helper::copy_at(&path, number));
    match Config::load_copy_without_secrets(&path, copy) {
        Ok(loaded) => {
            let config = loaded.config.only(&share);
            match engine::looks(&config).into_iter().nth(part) {
                Some((user, mut jobs)) => {
                    refuse(&config, &mut jobs);
                    drop(config);
                    host::children::prober::main(&user, jobs, &mark(&user, &path, &share))
                }
                None => Exit::Usage.into(),
            }
        }
        Err(report) => {
            output::problems(&report);
            Exit::Config.into()
        }
    }
}

/// Tells what this prober starts from what others do, of this configuration and of others: the same
/// path may be another file in another network namespace.
fn mark(user: &str, path: &Path, share: &Share) -> String {
    let netns = Origin::current().map_or(0, |origin| origin.netns);
    format!("{user} {share}@{netns} {}", path.display())
}

/// Root runs no program that others could change, as it loads no hook of theirs.
fn refuse(config: &Config, jobs: &mut [Job]) {
    if config.daemon.file_owners == FileOwners::Warn {
        return;
    }
    let refused = engine::unsafe_programs(config);
    for job in jobs {
        if let Some(refusal) = refused.get(&job.track) {
            job.what = What::Refused(format!(
                "root does not run what others could change: {refusal}"
            ));
        }
    }
}
