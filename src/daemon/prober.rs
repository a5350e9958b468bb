//! A daemon's prober process: determines itself what it looks at, and as whom.

use std::path::Path;
use std::process::ExitCode;

use super::part::{Part, part};
use crate::config::{Config, FileOwners, Share};
use crate::host::children::prober::{Job, What};
use crate::ledger::Origin;
use crate::terminal::Exit;
use crate::{engine, host};

/// Runs a prober, for the user of this number.
pub(super) fn main() -> ExitCode {
    let Part::<usize> {
        number,
        path,
        share,
        config,
    } = match part("prober") {
        Ok(part) => part,
        Err(code) => return code,
    };
    let Some((user, mut jobs)) = engine::looks(&config).into_iter().nth(number) else {
        return Exit::Usage.into();
    };
    refuse(&config, &mut jobs);
    drop(config);
    host::children::prober::main(&user, jobs, &mark(&user, &path, &share))
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
