//! Services under a real OpenRC. `tests/openrc` unpacks one with the services of
//! `tests/fixtures/openrc`, and runs these.

use std::time::Duration;

use carpd::effect::{Outcome, ServiceVerb, UnitState};
use carpd::host::children::helper::Duty;
use carpd::host::services::manager::ServiceBackend;
use carpd::host::{LinuxHost, Options};

use super::helper;
use super::namespace::block_on;
use super::services::{BAD, GOOD, act, done, state};

const LIMIT: Duration = Duration::from_secs(20);

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
        assert_eq!(state(&host, GOOD, LIMIT).await, UnitState::Inactive);
        assert_eq!(
            act(&host, GOOD, ServiceVerb::Stop, LIMIT).await,
            done(Outcome::Unchanged),
            "it does not run"
        );
        assert_eq!(
            act(&host, GOOD, ServiceVerb::Start, LIMIT).await,
            done(Outcome::Changed)
        );
        assert_eq!(state(&host, GOOD, LIMIT).await, UnitState::Active);
        assert_eq!(
            act(&host, GOOD, ServiceVerb::Start, LIMIT).await,
            done(Outcome::Unchanged)
        );
        assert_eq!(
            act(&host, GOOD, ServiceVerb::Restart, LIMIT).await,
            done(Outcome::Changed)
        );
        assert_eq!(state(&host, GOOD, LIMIT).await, UnitState::Active);
        assert_eq!(
            act(&host, "carpd-test-good.service", ServiceVerb::Stop, LIMIT).await,
            done(Outcome::Changed),
            "by systemd's name"
        );
        assert_eq!(state(&host, GOOD, LIMIT).await, UnitState::Inactive);
        let failed = act(&host, BAD, ServiceVerb::Start, LIMIT)
            .await
            .unwrap_err();
        assert!(failed.message.contains(BAD), "{failed}");
        assert_ne!(state(&host, BAD, LIMIT).await, UnitState::Active);
        let missing = act(&host, "carpd-test-nowhere", ServiceVerb::Start, LIMIT)
            .await
            .unwrap_err();
        assert_eq!(missing.errno, Some(libc::ENOENT), "{missing}");
    });
    assert!(child.wait().unwrap().success());
}
