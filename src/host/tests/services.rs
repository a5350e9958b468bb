//! What the tests of service managers have in common.

use std::time::Duration;

use carpd::effect::{Effect, Granted, Outcome, Query, Reply, ServiceVerb, UnitState};
use carpd::host::{Host, HostError, LinuxHost};

/// A service that does what it is told.
pub(super) const GOOD: &str = "carpd-test-good";
/// One that does not start.
pub(super) const BAD: &str = "carpd-test-bad";

pub(super) async fn act(
    host: &LinuxHost,
    unit: &str,
    verb: ServiceVerb,
    limit: Duration,
) -> Result<Reply, HostError> {
    let unit = unit.to_owned();
    let effect = Granted::by_daemon(Effect::Service { unit, verb });
    host.perform(&effect, limit).await
}

pub(super) async fn state(host: &LinuxHost, unit: &str, limit: Duration) -> UnitState {
    let query = Query::ServiceStatus {
        unit: unit.to_owned(),
    };
    match host.answer(&query, limit).await {
        Ok(Reply::Unit(state)) => state,
        other => panic!("{unit}: {other:?}"),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "compared with what a host answers"
)]
pub(super) const fn done(outcome: Outcome) -> Result<Reply, HostError> {
    Ok(Reply::Outcome(outcome))
}
