//! Components of older versions of the contract: each released one has a component that was built
//! for it and is never built again. It must load, its entry points must be called, and every
//! function of its version must work.

use std::collections::BTreeSet;
use std::future::pending;

use carpd::effect::{CommandOutput, HttpResponse, Outcome, Query, Reply, UnitState};
use carpd::hooks::contract::api::FUNCTIONS;
use carpd::hooks::{Answer, Ask, EntryPoint, Returned};
use carpd::types::State;

use crate::hooks::{Script, block_on, event};
use crate::wasm::{ALL, LIMIT, grants, load, source};

/// Made of plugins/fixture when the version was new.
const RELEASED: &[(&str, &[u8])] = &[("1.0.0", include_bytes!("../fixtures/hooks-1.0.0.wasm"))];

/// Says yes in the right words.
fn answer(ask: &Ask) -> Answer {
    let text = |text: &str| Reply::Text(text.to_owned());
    Answer::Reply(match ask {
        Ask::Effect {
            effect: carpd::effect::Effect::CommandRun { .. },
            ..
        } => Reply::Command(CommandOutput {
            status: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
        }),
        Ask::Effect {
            effect: carpd::effect::Effect::HttpSend(_),
            ..
        }
        | Ask::Query(Query::HttpGet(_)) => Reply::Http(HttpResponse {
            status: 200,
            headers: Vec::new(),
            body: b"ok".to_vec(),
        }),
        Ask::Effect { .. } => Reply::Outcome(Outcome::Changed),
        Ask::Query(Query::Hostname) => text("node2"),
        Ask::Query(Query::Sysctl { .. }) => text("1"),
        Ask::Query(Query::ServiceStatus { .. }) => Reply::Unit(UnitState::Active),
        Ask::Query(Query::FileRead { .. }) => Reply::File(Some(b"master".to_vec())),
        Ask::Query(Query::Links) => Reply::Links(Vec::new()),
        Ask::Query(Query::Addresses { .. }) => Reply::Addresses(Vec::new()),
        Ask::Query(Query::Routes { .. }) => Reply::Routes(Vec::new()),
        Ask::Query(Query::CarpState) => Reply::State(State::Master),
        Ask::Query(Query::TcpConnect { .. }) => Reply::Took(std::time::Duration::from_millis(2)),
        Ask::StateGet { .. } => return Answer::State(Some(b"1".to_vec())),
        Ask::Log { .. } | Ask::Sleep { .. } | Ask::StateSet { .. } => return Answer::Done,
    })
}

#[test]
fn every_entry_point_of_a_released_version_is_called() {
    for (version, component) in RELEASED {
        block_on(async {
            let (_keeper, mut session) = load(
                source(r#"{"do":"nothing"}"#),
                component,
                &grants(ALL),
                LIMIT,
            )
            .await
            .unwrap();
            let defined: BTreeSet<_> = session.loaded().entry_points.iter().copied().collect();
            assert_eq!(defined, BTreeSet::from(EntryPoint::ALL), "{version}");
            for entry in EntryPoint::ALL {
                let result = session
                    .call(event(entry), LIMIT, &mut Script::new(answer), pending())
                    .await;
                let well = match entry {
                    EntryPoint::Health => {
                        matches!(&result, Ok(Returned::Health { demotion: 0, .. }))
                    }
                    _ => result == Ok(Returned::Done),
                };
                assert!(well, "{version} {entry:?}: {result:?}");
            }
        });
    }
}

/// A function that was in a released version and is called otherwise now would show here.
#[test]
fn every_function_of_a_released_version_works() {
    for (version, component) in RELEASED {
        block_on(async {
            let (_keeper, mut session) = load(
                source(r#"{"do":"everything"}"#),
                component,
                &grants(ALL),
                LIMIT,
            )
            .await
            .unwrap();
            let mut desk = Script::new(answer);
            let result = session
                .call(event(EntryPoint::OnMaster), LIMIT, &mut desk, pending())
                .await;
            assert_eq!(result, Ok(Returned::Done), "{version}");
            let Some(Ask::Log {
                message, fields, ..
            }) = desk.asked.last()
            else {
                panic!("{:?}", desk.asked.last())
            };
            assert_eq!(message, "Called everything");
            let words = &fields.iter().find(|(key, _)| key == "words").unwrap().1;
            assert_eq!(
                words, "node2 UnitState::Active 1 6 0 200 2 VhostState::Master true Some(\"1\")",
                "{version}"
            );
            // Two clocks ask nobody, and of the four levels of the log the last was looked at.
            assert_eq!(
                desk.asked.len(),
                FUNCTIONS.len() - 2,
                "{version}: the fixture calls every function once"
            );
        });
    }
}
