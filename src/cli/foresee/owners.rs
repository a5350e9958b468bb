//! Reports beforehand which files named by a configuration `carpd run` would refuse.

use std::path::Path;

use crate::cli::{Exit, Failure, output};
use crate::config::{Config, FileOwners, Kind, Loaded, Problem, Reload, Report, Severity};
use crate::hooks::HookSource;
use crate::hooks::artifact::source::test_beside;
use crate::hooks::artifact::vet::{Terms, vet_test};
use crate::resolve::{self, Refusal, Sources, Trust};

/// Whom the calling process trusts.
fn caller() -> Trust {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u32>().ok())
    };
    let users = [Some(nix::unistd::geteuid().as_raw()), number("SUDO_UID")];
    let groups = [Some(nix::unistd::getegid().as_raw()), number("SUDO_GID")];
    let some = |numbers: [Option<u32>; 2]| numbers.into_iter().flatten().collect::<Vec<_>>();
    Trust::root_and(&some(users), &some(groups))
}

/// Loads a configuration only to inspect it. Nothing is refused because of its owner; what a daemon
/// run by root would refuse is returned beside it.
///
/// # Errors
/// A [`Report`] with every problem.
pub(in crate::cli) fn look(path: &Path) -> Result<(Loaded, Vec<Refusal>), Report> {
    let sources = Sources::new(Trust::root());
    let mut loaded = Config::look(path, &sources)?;
    let refusals = of_hooks(&mut loaded.config, &sources);
    Ok((loaded, refusals))
}

/// Loads a configuration only to inspect it, and shows its problems.
pub(super) fn load(path: &Path) -> Result<Loaded, Failure> {
    let (loaded, refusals) = look(path).map_err(|report| {
        output::problems(&report);
        Failure::new(Exit::Config, output::counts(&report))
    })?;
    output::problems(&loaded.report);
    tell(&refusals);
    Ok(loaded)
}

/// Like [`look`], for a configuration that was made up around a hook.
pub(in crate::cli) fn look_at_hooks(config: &mut Config) -> Vec<Refusal> {
    of_hooks(config, &Sources::new(Trust::root()))
}

fn of_hooks(config: &mut Config, sources: &Sources) -> Vec<Refusal> {
    for (name, hook) in config
        .hooks
        .iter()
        .filter(|(_, hook)| hook.kind == Kind::Module)
    {
        let terms = Terms {
            trust: &config.trust,
            digest: hook.digest,
            signature: hook.signature.as_deref(),
            sources,
        };
        // Files that cannot be read or trusted are reported where they are needed.
        _ = HookSource::read(name.clone(), &hook.path, String::new(), sources)
            .map(|mut source| source.vet(&hook.path, terms));
        if hook.reload == Reload::Tested {
            _ = test_beside(&hook.path, sources)
                .map(|found| found.map(|(path, text)| vet_test(&path, &text, terms)));
        }
    }
    match std::mem::replace(&mut config.daemon.file_owners, FileOwners::Warn) {
        FileOwners::Required => sources.refusals(),
        // Only those that even the caller would be warned about.
        FileOwners::Warn => Vec::new(),
    }
}

/// Prints one line on standard error about what `carpd run` would refuse.
pub(in crate::cli) fn tell(refusals: &[Refusal]) {
    let Some((first, more)) = refusals.split_first() else {
        return;
    };
    let more = if more.is_empty() {
        String::new()
    } else {
        format!(", and {} more", more.len())
    };
    output::note(format!(
        "warning: a daemon run by root would refuse this: {first}{more}; install it where only root can write, for example below /etc/carpd"
    ));
}

/// For `carpd check`: files that others could write to are errors; files of the caller's own are
/// only warnings.
pub(in crate::cli) fn check_sources(refusals: Vec<Refusal>) -> Vec<Problem> {
    let caller = caller();
    let (own, foreign): (Vec<_>, Vec<_>) = refusals
        .into_iter()
        .partition(|refusal| caller.excuses(&refusal.why));
    let error = |refusal: &Refusal| Problem {
        hint: refusal.mend(),
        ..Problem::error(
            None,
            format!("others could change what carpd reads: {refusal}"),
        )
    };
    tell(&own);
    foreign.iter().map(error).collect()
}

/// Granted files whose path contains links that are not followed.
pub(in crate::cli) fn check_granted(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for hook in config.hooks.values() {
        for grant in &hook.grants.file {
            let judge = |trust: &Trust| {
                resolve::granted(Path::new(&grant.path), trust)
                    .err()
                    .filter(Refusal::is_distrust)
            };
            let Some(refusal) = judge(&Trust::root()) else {
                continue;
            };
            // The caller's own files are refused only if someone else runs the daemon.
            let (severity, by) = match judge(&Trust::of_process()) {
                Some(_) => (Severity::Error, ""),
                None => (Severity::Warning, " by a daemon run by root"),
            };
            let message = format!(
                "the file {:?} is granted, and each use of it would be refused{by}: {refusal}",
                grant.path
            );
            let hint = refusal
                .mend()
                .map(|command| format!("{command}, or grant the path without the link"));
            problems.push(Problem {
                severity,
                hint,
                ..Problem::error(Some(hook.place.0.clone()), message)
            });
        }
    }
    problems
}
