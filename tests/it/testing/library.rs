//! As whoever loads a hook asks for its test.

use std::collections::BTreeMap;
use std::time::Duration;

use carpd::config::{Health, OnFailure};
use carpd::hooks::Budget;
use carpd::hooks::process::session::SandboxPolicy;
use carpd::keeper::Client;
use carpd::testing::{HookTest, TestHook, Verdict, examine};

use crate::hooks::{DAEMON, source};
use std::path::Path;

fn exam(hook: &str, text: &str) -> HookTest {
    HookTest {
        hook: TestHook {
            source: source(hook),
            grants: toml::from_str("hostname = [\"master\"]").unwrap(),
            budget: Budget::default(),
            before_timeout: Duration::from_secs(1),
            on_failure: OnFailure::Resign,
            health: Health::default(),
            runners: 0,
        },
        others: BTreeMap::new(),
        path: "/etc/carpd/hooks/x_test.lua".into(),
        text: text.into(),
        policy: SandboxPolicy::BestEffort,
        limit: Duration::from_secs(60),
    }
}

fn examined(exam: HookTest) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (keeper, _exits) = Client::start(Some(Path::new(DAEMON))).unwrap();
        examine(&keeper, exam).await
    })
}

#[test]
fn a_hook_is_examined_as_bytes() {
    let hook = "function on_master() hostname.set('master') end";
    let good = examined(exam(
        hook,
        "test.case('a', function() test.host():become('master') end)",
    ));
    assert!(good.passed() && good.cases == 1, "{good:?}");
    let bad = examined(exam(
        hook,
        "test.case('a', function()\n  test.host():expect_state('master')\nend)",
    ));
    let said: Vec<String> = bad.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["/etc/carpd/hooks/x_test.lua:2: a: expected master, it is init"]
    );
}

#[test]
fn the_limit_ends_it_and_keeps_what_is_known() {
    let text = "test.case('a', function() end)\ntest.case('b', function() while true do end end)";
    let verdict = examined(HookTest {
        limit: Duration::from_millis(900),
        ..exam("function on_stop() end", text)
    });
    assert!(
        verdict.cases <= 1 && verdict.faults.len() == 1,
        "{verdict:?}"
    );
    assert!(
        verdict.faults[0]
            .to_string()
            .contains("longer than its limit of 900ms"),
        "{verdict:?}"
    );
}
