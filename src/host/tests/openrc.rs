//! Services under a real OpenRC. `tests/openrc` unpacks one with the services of
//! `tests/fixtures/openrc`, and runs these.

use std::time::Duration;

use carpd::effect::{Effect, Granted, Outcome, Query, Reply, ServiceVerb, UnitState};
use carpd::host::children::helper::Duty;
use carpd::host::services::manager::ServiceBackend;
use carpd::host::{Host, HostError, LinuxHost, Options};

use super::helper;
use super::namespace::block_on;

const LIMIT: Duration = Duration::from_secs(20);
const GOOD: &str = "carpd-test-good";
const BAD: &str = "carpd-test-bad";

async fn act(host: &LinuxHost, unit: &str, verb: ServiceVerb) -> Result<Reply, HostError> {
    host.perform(
        &Granted::by_daemon(Effect::Service {
            unit: unit.to_owned(),
            verb,
        }),
        LIMIT,
    )
    .await
}

async fn state(host: &LinuxHost, unit: &str) -> UnitState {
    match host
        .answer(
            &Query::ServiceStatus {
                unit: unit.to_owned(),
            },
            LIMIT,
        )
        .await
    {
        Ok(Reply::Unit(state)) => state,
        other => panic!("{unit}: {other:?}"),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "compared with what a host answers"
)]
const fn done(outcome: Outcome) -> Result<Reply, HostError> {
    Ok(Reply::Outcome(outcome))
}

#[test]
#[ignore = "needs an OpenRC: run tests/openrc"]
fn verbs_and_states_are_those_of_rc_service() {
    let (stream, mut child) = helper();
    block_on(async {
        assert_eq!(ServiceBackend::detect(), Some(ServiceBackend::OpenRc));
        let host = LinuxHost::new(Options {
            services: Some(ServiceBackend::OpenRc),
            ..Options::default()
        })
        .unwrap();
        host.set_helper(stream, Duty::Commands).unwrap();
        assert_eq!(state(&host, GOOD).await, UnitState::Inactive);
        assert_eq!(
            act(&host, GOOD, ServiceVerb::Stop).await,
            done(Outcome::Unchanged),
            "it does not run"
        );
        assert_eq!(
            act(&host, GOOD, ServiceVerb::Start).await,
            done(Outcome::Changed)
        );
        assert_eq!(state(&host, GOOD).await, UnitState::Active);
        assert_eq!(
            act(&host, GOOD, ServiceVerb::Start).await,
            done(Outcome::Unchanged)
        );
        assert_eq!(
            act(&host, GOOD, ServiceVerb::Restart).await,
            done(Outcome::Changed)
        );
        assert_eq!(state(&host, GOOD).await, UnitState::Active);
        assert_eq!(
            act(&host, "carpd-test-good.service", ServiceVerb::Stop).await,
            done(Outcome::Changed),
            "by systemd's name"
        );
        assert_eq!(state(&host, GOOD).await, UnitState::Inactive);
        let failed = act(&host, BAD, ServiceVerb::Start).await.unwrap_err();
        assert!(failed.message.contains(BAD), "{failed}");
        assert_ne!(state(&host, BAD).await, UnitState::Active);
        let missing = act(&host, "carpd-test-nowhere", ServiceVerb::Start)
            .await
            .unwrap_err();
        assert_eq!(missing.errno, Some(libc::ENOENT), "{missing}");
    });
    assert!(child.wait().unwrap().success());
}
