//! What a notifier runs: its own reading of the configuration.

use std::collections::BTreeMap;

use crate::config::{self, Config, FileOwners, Way};
use crate::host::children::notifier::Errand;
use crate::resolve::{self, Refusal};
use crate::types::Name;

/// What the program of this target of the configuration does. `None` if it has none.
#[must_use]
pub fn errand(config: &Config, part: usize) -> Option<Errand> {
    let (name, target) = config.notify.iter().nth(part)?;
    let (_, user) = target.way.program()?;
    let (argv, environment) = match &target.way {
        Way::Webhook(_) => return None,
        Way::Mail(mail) => (mail.argv(), Vec::new()),
        Way::Command { program, .. } => (program.argv.clone(), program.environment.clone()),
    };
    let refusal = unsafe_notifiers(config).remove(name);
    let refusal = refusal.filter(|_| config.daemon.file_owners == FileOwners::Required);
    Some(Errand {
        target: name.clone(),
        user: user.to_owned(),
        argv: refusal.map_or(Ok(argv), |refusal| {
            Err(format!(
                "root does not run what others could change: {refusal}"
            ))
        }),
        environment,
        timeout: target.timeout,
    })
}

/// Programs that would run as root although others could change them, by their targets.
#[must_use]
pub fn unsafe_notifiers(config: &Config) -> BTreeMap<Name, Refusal> {
    let distrusted = |(name, target): (&Name, &config::Target)| {
        let (path, user) = target.way.program()?;
        let objection = matches!(user, "root" | "0").then(|| resolve::distrusted_by_root(path));
        Some((name.clone(), objection??))
    };
    config.notify.iter().filter_map(distrusted).collect()
}
