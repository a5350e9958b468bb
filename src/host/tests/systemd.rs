//! Services under a real systemd. `tests/systemd` boots one with the units of
//! `tests/fixtures/systemd`, and runs these.

use std::time::Duration;

use carpd::effect::{Outcome, ServiceVerb, UnitState};
use carpd::host::services::manager::ServiceBackend;
use carpd::host::{LinuxHost, Options};

use super::namespace::block_on;
use super::services::{BAD, GOOD, act, done, state};

const LIMIT: Duration = Duration::from_secs(10);
const SLOW: &str = "carpd-test-slow.service";

fn host() -> LinuxHost {
    let bus = std::env::var("CARPD_TEST_BUS").expect("tests/systemd says where its bus is");
    LinuxHost::new(Options {
        services: Some(ServiceBackend::Systemd),
        bus_address: Some(bus),
        patient: false,
    })
    .unwrap()
}

#[test]
#[ignore = "needs a systemd of its own: run tests/systemd"]
fn verbs_wait_for_their_jobs() {
    block_on(async {
        let host = host();
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
            state(&host, "carpd-test-good.service", LIMIT).await,
            UnitState::Active,
            "by its full name"
        );
        assert_eq!(
            act(&host, GOOD, ServiceVerb::Start, LIMIT).await,
            done(Outcome::Unchanged)
        );
        assert_eq!(
            act(&host, GOOD, ServiceVerb::Reload, LIMIT).await,
            done(Outcome::Changed)
        );
        assert_eq!(
            act(&host, GOOD, ServiceVerb::Restart, LIMIT).await,
            done(Outcome::Changed)
        );
        assert_eq!(state(&host, GOOD, LIMIT).await, UnitState::Active);
        assert_eq!(
            act(&host, GOOD, ServiceVerb::Stop, LIMIT).await,
            done(Outcome::Changed)
        );
        assert_eq!(state(&host, GOOD, LIMIT).await, UnitState::Inactive);
    });
}

#[test]
#[ignore = "needs a systemd of its own: run tests/systemd"]
fn failures_say_what_systemd_knows() {
    block_on(async {
        let host = host();
        let failed = act(&host, BAD, ServiceVerb::Start, LIMIT)
            .await
            .unwrap_err();
        assert!(
            failed.message.contains("carpd-test-bad.service") && failed.message.contains("failed"),
            "{failed}"
        );
        assert_eq!(state(&host, BAD, LIMIT).await, UnitState::Failed);
        assert_eq!(
            act(&host, BAD, ServiceVerb::Stop, LIMIT).await,
            done(Outcome::Unchanged),
            "it is down"
        );
        let missing = act(&host, "carpd-test-nowhere", ServiceVerb::Start, LIMIT)
            .await
            .unwrap_err();
        assert_eq!(
            missing.message,
            "there is no unit carpd-test-nowhere.service"
        );
        assert_eq!(
            state(&host, "carpd-test-nowhere", LIMIT).await,
            UnitState::Unknown
        );
        let hostile = act(&host, "../../etc/passwd", ServiceVerb::Start, LIMIT)
            .await
            .unwrap_err();
        assert!(!hostile.message.is_empty());
    });
}

/// systemd goes on with what it has begun, also when the job is cancelled; but then a stop, as an
/// undo does it, ends it.
#[test]
#[ignore = "needs a systemd of its own: run tests/systemd"]
fn a_start_that_takes_too_long_can_be_undone() {
    block_on(async {
        let host = host();
        let late = act(&host, SLOW, ServiceVerb::Start, Duration::from_secs(1))
            .await
            .unwrap_err();
        assert_eq!(late.errno, Some(libc::ETIMEDOUT), "{late}");
        assert!(
            late.message.contains(SLOW) && late.message.contains("1.0 s"),
            "{late}"
        );
        assert!(late.message.contains("raise `timeout`"), "{late}");
        assert_eq!(
            act(&host, SLOW, ServiceVerb::Stop, LIMIT).await,
            done(Outcome::Changed)
        );
        assert!(is_down(&host, SLOW).await);
        // A run that is superseded drops the future in the middle.
        let dropped = tokio::time::timeout(
            Duration::from_millis(300),
            act(&host, SLOW, ServiceVerb::Start, LIMIT),
        )
        .await;
        assert!(dropped.is_err());
        assert_eq!(
            act(&host, SLOW, ServiceVerb::Stop, LIMIT).await,
            done(Outcome::Changed)
        );
        assert!(is_down(&host, SLOW).await);
    });
}

async fn is_down(host: &LinuxHost, unit: &str) -> bool {
    matches!(
        state(host, unit, LIMIT).await,
        UnitState::Inactive | UnitState::Failed
    )
}
