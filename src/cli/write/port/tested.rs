//! The test of a port: what the hook does on hosts in memory, held.

use std::collections::BTreeSet;

use crate::cli::write::test;
use crate::cli::{Exit, Failure};
use crate::port::{Fact, FactKind, Ported, Seen, Source};

/// Plays the hook in the sandbox, and writes a test that holds what it did. Where that cannot be
/// done, the port gets a fact that says so.
pub(super) fn test(name: &str, ported: &mut Ported, up: &Source) -> Option<String> {
    match seen(name, ported) {
        Ok(seen) => {
            let faults: BTreeSet<&str> = seen.iter().filter_map(Seen::fault).collect();
            // A grant that is left open has been told.
            let open = ported.of(FactKind::Open).next().is_some();
            let new = faults
                .into_iter()
                .filter(|fault| !(open && fault.contains("not granted")));
            let new: Vec<Fact> = new.map(|fault| failing(fault, up)).collect();
            ported.facts.extend(new);
            Some(ported.sheet.test(&seen))
        }
        Err(failure) => {
            ported.facts.push(Fact {
                kind: FactKind::Open,
                script: up.name.clone(),
                lines: Vec::new(),
                text: format!("no test was written: {failure}"),
            });
            None
        }
    }
}

/// The hook fails where the script would not.
fn failing(fault: &str, up: &Source) -> Fact {
    // The advice is for who writes a hook.
    let fault = fault
        .split_once("; to grant it")
        .map_or(fault, |(fault, _)| fault);
    Fact {
        kind: FactKind::Guessed,
        script: up.name.clone(),
        lines: Vec::new(),
        text: format!("played in memory, the hook fails where the script may not: {fault}"),
    }
}

/// What the hook did on each host.
fn seen(name: &str, ported: &Ported) -> Result<Vec<Seen>, Failure> {
    let report = test::play(name, &ported.lua, &ported.toml, ported.sheet.probe())?;
    if let Some(fault) = report.faults.first() {
        let text = format!("{name}.lua: {}", fault.message);
        return Err(Failure::new(Exit::Failure, text));
    }
    let of_case = |case: &crate::testing::CaseReport| {
        let failure = case.failure.as_ref();
        Seen::read(
            &case.output,
            failure.map(|failure| failure.message.as_str()),
        )
    };
    Ok(report.cases.iter().map(of_case).collect())
}
