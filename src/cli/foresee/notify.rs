//! What can be known beforehand to go wrong with notifications.

use super::tracks::{has_user, missing_program};
use crate::config::{Config, FileOwners, Problem, Severity};
use crate::engine;

/// For `carpd check`. The configuration may be for another host: what is missing here is only a
/// warning.
pub(super) fn check(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, target) in &config.notify {
        let Some((program, user)) = target.way.program() else {
            continue;
        };
        let user = (!has_user(user)).then(|| format!("there is no user {user} here"));
        let missing = missing_program(program).into_iter().chain(user);
        problems.extend(missing.map(|what| Problem {
            severity: Severity::Warning,
            ..Problem::error(
                Some(target.place.0.clone()),
                format!("{what}: {name} would not be told anything"),
            )
        }));
    }
    if config.daemon.file_owners == FileOwners::Warn {
        return problems;
    }
    for (name, refusal) in engine::unsafe_notifiers(config) {
        let place = config
            .notify
            .get(&name)
            .map(|target| target.place.0.clone());
        let message = format!("root would not run what others could change: {refusal}");
        problems.push(Problem {
            hint: refusal.mend(),
            ..Problem::error(place, message)
        });
    }
    problems
}
