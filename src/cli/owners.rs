//! What `carpd run` would refuse of the files that a configuration names, told before it is run.

use std::path::Path;

use crate::config::{Config, Problem, Severity};
use crate::resolve::{self, Refusal, Trust};

/// Files that hooks were granted, behind links that are not followed.
pub(super) fn check_granted(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for hook in config.hooks.values() {
        for grant in &hook.grants.file {
            let judge = |trust: &Trust| resolve::granted(Path::new(&grant.path), trust).err().filter(Refusal::is_distrust);
            let Some(refusal) = judge(&Trust::root()) else { continue };
            // What is the caller's own is refused only if somebody else runs it.
            let (severity, by) = match judge(&Trust::of_process()) {
                Some(_) => (Severity::Error, ""),
                None => (Severity::Warning, " by a daemon of root's"),
            };
            let message = format!("the file {:?} is granted, and each use of it would be refused{by}: {refusal}", grant.path);
            let hint = refusal.mend().map(|command| format!("{command}, or grant the path without the link"));
            problems.push(Problem { severity, hint, ..Problem::error(Some(hook.place.0.clone()), message) });
        }
    }
    problems
}
