//! The test of a port: what the hook does on hosts in memory, held.

use crate::cli::write::test;
use crate::cli::{Exit, Failure};
use crate::port::{Fact, FactKind, Ported, Seen, Source};

/// Plays the hook in the sandbox, and writes a test that holds what it did. Where that cannot be
/// done, the port gets a fact that says so.
pub(super) fn test(name: &str, ported: &mut Ported, up: &Source) -> Option<String> {
    match seen(name, ported) {
        Ok(seen) => Some(ported.sheet.test(&seen)),
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
