//! What can be known beforehand to go wrong with tracks.

use std::os::unix::fs::PermissionsExt as _;

use nix::unistd::{Uid, User};

use crate::config::{Config, FileOwners, Looked, Problem, Severity, Track, Tracked};
use crate::engine;

/// For `carpd check`. The configuration may be for another host: what is missing here is only a
/// warning.
pub(super) fn check(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, track) in &config.tracks {
        let missing = missing(track).into_iter();
        problems.extend(missing.map(|what| Problem {
            severity: Severity::Warning,
            ..Problem::error(
                Some(track.place.0.clone()),
                format!("{what}: track {name} would be down"),
            )
        }));
    }
    if config.daemon.file_owners == FileOwners::Warn {
        return problems;
    }
    for (name, refusal) in engine::unsafe_programs(config) {
        let place = config.tracks.get(&name).map(|track| track.place.0.clone());
        let message = format!("root would not run what others could change: {refusal}");
        problems.push(Problem {
            hint: refusal.mend(),
            ..Problem::error(place, message)
        });
    }
    problems
}

/// What this track needs and is not there.
fn missing(track: &Track) -> Vec<String> {
    let Tracked::Local(local) = &track.tracked else {
        return Vec::new();
    };
    let mut missing = Vec::new();
    if !has_user(&local.user) {
        missing.push(format!("there is no user {} here", local.user));
    }
    if let Looked::Command(program) = &local.what
        && let Some(path) = program.argv.first()
    {
        missing.extend(missing_program(path));
    }
    missing
}

/// Why this cannot be run here.
pub(super) fn missing_program(path: &str) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => None,
        Ok(_) => Some(format!("{path} is no program")),
        Err(error) => Some(format!("cannot run {path} here: {error}")),
    }
}

pub(super) fn has_user(name: &str) -> bool {
    let found = name.parse().map_or_else(
        |_| User::from_name(name),
        |number| User::from_uid(Uid::from_raw(number)),
    );
    matches!(found, Ok(Some(_)))
}
