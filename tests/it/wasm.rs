//! WebAssembly hooks through real compiler and runner processes, with a scripted daemon behind
//! them: the contract, the refusals, and components that try to hang, exhaust or escape.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::Path;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use carpd::effect::{Effect, Grants};
use carpd::hooks::artifact::manifest;
use carpd::hooks::contract::api;
use carpd::hooks::process::compiler;
use carpd::hooks::process::session::{SandboxPolicy, Session};
use carpd::hooks::{
    Answer, Ask, AskError, Budget, EntryPoint, HookError, HookSource, Language, LoadError,
    LogLevel, Native, Returned,
};
use carpd::keeper::{Client, HowEnded, Role};

use crate::hooks::{DAEMON, Script, block_on, event, yes};

/// Made of plugins/fixture by plugins/build.
pub(crate) static FIXTURE: LazyLock<Vec<u8>> = LazyLock::new(|| plugin("fixture"));
static FAILOVER: LazyLock<Vec<u8>> = LazyLock::new(|| plugin("failover"));

/// A plugin as it is committed, or as another toolchain has just built it: plugins/test says where.
pub(crate) fn plugin(name: &str) -> Vec<u8> {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins");
    let built = std::env::var("CARPD_TEST_PLUGINS").unwrap_or_else(|_| committed.to_owned());
    let path = format!("{built}/{name}/{name}.wasm");
    std::fs::read(&path).unwrap_or_else(|err| panic!("{path}: {err}"))
}

pub(crate) const LIMIT: Budget = Budget {
    wall: Duration::from_secs(1),
    cpu: Duration::from_millis(300),
    memory_bytes: 16 << 20,
    requests: 1000,
    log_bytes: 64 << 10,
    state_bytes: 1 << 10,
};

/// Every right that the fixture's imports need; what it may do with them, each test's own daemon
/// says.
pub(crate) const ALL: &str = r#"
route = [{ dst = "default" }]
rule = [{ table = 100 }]
link = [{ dev = "eth1" }]
hostname = ["node2"]
service = [{ unit = "httpd", do = ["start", "stop", "restart", "reload"] }]
sysctl = [{ key = "net.ipv4.ip_forward" }]
file = [{ path = "/run/role", do = ["read", "write", "remove"] }]
command.promote = { argv = ["/bin/true", "{resource:word}"] }
http = [{ url = "http://127.0.0.1/", do = ["get", "post", "put", "patch", "delete"] }]
tcp = ["127.0.0.1:80"]
read = true
carp = ["demote", "resign"]
"#;

pub(crate) fn source(config: &str) -> HookSource {
    HookSource {
        name: "plugin".parse().unwrap(),
        language: Language::Wasm,
        path: "hooks/fixture.wasm".into(),
        main: Vec::new(),
        modules: BTreeMap::new(),
        config_json: config.into(),
        native: None,
    }
}

pub(crate) fn grants(toml: &str) -> Grants {
    toml::from_str(toml).unwrap()
}

/// The code of a component that several tests use: compiled once.
async fn compiled(keeper: &Client, component: &'static [u8]) -> Vec<u8> {
    static DONE: Mutex<BTreeMap<usize, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let kept = DONE.lock().unwrap().get(&component.len()).cloned();
    if let Some(code) = kept {
        return code;
    }
    let code = compile(keeper, component).await.unwrap();
    DONE.lock().unwrap().insert(component.len(), code.clone());
    code
}

pub(crate) async fn compile(keeper: &Client, component: &[u8]) -> Result<Vec<u8>, LoadError> {
    compile_within(keeper, component, compiler::PATIENCE).await
}

pub(crate) async fn compile_within(
    keeper: &Client,
    component: &[u8],
    patience: Duration,
) -> Result<Vec<u8>, LoadError> {
    let (id, stream, end) = keeper.spawn_watched(Role::Compiler).await.unwrap();
    let ended = async { end.await.unwrap().to_string() };
    let code =
        compiler::compile_by(stream, component, SandboxPolicy::Required, patience, ended).await;
    keeper.kill(id);
    code
}

/// With nobody to kill it, as one that has just answered may be.
#[test]
fn a_compiler_that_has_answered_ends_well() {
    block_on(async {
        let (keeper, _exits) = Client::start(Some(Path::new(DAEMON))).unwrap();
        let (_, stream, end) = keeper.spawn_watched(Role::Compiler).await.unwrap();
        let refused = compiler::compile_by(
            stream,
            b"\0asm\x0d\0\x01\0",
            SandboxPolicy::Required,
            compiler::PATIENCE,
            std::future::pending(),
        )
        .await;
        assert!(refused.is_ok(), "an empty component: {refused:?}");
        assert_eq!(end.await.unwrap(), HowEnded::Status(0));
    });
}

/// A runner with a compiled component in it. The keeper ends with its client.
pub(crate) async fn load(
    mut source: HookSource,
    component: &'static [u8],
    grants: &Grants,
    budget: Budget,
) -> Result<(Client, Session), LoadError> {
    let (keeper, _) = Client::start(Some(Path::new(DAEMON))).unwrap();
    let code = compiled(&keeper, component).await;
    let memory_bytes = budget.memory_bytes + 2 * code.len() as u64;
    source.native = Some(Native {
        code,
        allowed: api::allowed(grants),
    });
    let (_, stream) = keeper
        .spawn(Role::WasmRunner { memory_bytes })
        .await
        .unwrap();
    let session = Session::load(stream, source, budget, SandboxPolicy::Required).await?;
    Ok((keeper, session))
}

/// One run of `on_master` of the fixture, which does as it is told. The next run in the same runner
/// must work.
pub(crate) fn told(what: &str) -> (Result<Returned, HookError>, Vec<Ask>, Duration) {
    block_on(async {
        let config = format!("{{\"do\":\"{what}\"}}");
        let (_keeper, mut session) = load(source(&config), &FIXTURE, &grants(ALL), LIMIT)
            .await
            .unwrap();
        let mut desk = Script::new(yes);
        let began = tokio::time::Instant::now();
        let result = session
            .call(event(EntryPoint::OnMaster), LIMIT, &mut desk, pending())
            .await;
        let took = began.elapsed();
        assert!(
            session.is_alive(),
            "{what}: the runner did not survive: {result:?} after {took:?}"
        );
        let mut after = Script::new(yes);
        let next = session
            .call(event(EntryPoint::OnBackup), LIMIT, &mut after, pending())
            .await;
        assert_eq!(next, Ok(Returned::Done), "{what}: the run after it");
        (result, desk.asked, took)
    })
}

pub(crate) fn message(result: &Result<Returned, HookError>) -> &str {
    match result {
        Err(HookError::Raised { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_component_asks_as_a_script_does() {
    let (result, asked, _) = told("ask");
    assert_eq!(result, Ok(Returned::Done));
    let [
        Ask::Effect {
            effect,
            keep: true,
            wait_ms: None,
        },
        Ask::Log {
            level: LogLevel::Info,
            message,
            fields,
        },
    ] = asked.as_slice()
    else {
        panic!("{asked:?}")
    };
    // The interface is the virtual host's unless another is named.
    assert_eq!(
        effect,
        &Effect::AddressAdd {
            address: "192.168.32.22/24".parse().unwrap(),
            dev: "eth0".parse().unwrap()
        }
    );
    assert_eq!(message, "Took over");
    assert_eq!(
        fields,
        &[
            ("node".to_owned(), "node2".to_owned()),
            ("seq".to_owned(), "7".to_owned())
        ]
    );
}

#[test]
fn queries_state_and_clocks_answer() {
    let (result, asked, _) = told("queries");
    assert_eq!(
        message(&result),
        "fixture.wasm: on_master: None VhostState::Master true true"
    );
    let value = asked.iter().find_map(|ask| match ask {
        Ask::StateSet { value, .. } => value.clone(),
        _ => None,
    });
    assert_eq!(
        value.as_deref(),
        Some(br#"[1,{"a":"b"}]"#.as_slice()),
        "as Lua would keep it"
    );
}

#[test]
fn every_run_has_a_fresh_instance() {
    block_on(async {
        let (_keeper, mut session) =
            load(source(r#"{"do":"fresh"}"#), &FIXTURE, &grants(ALL), LIMIT)
                .await
                .unwrap();
        for _ in 0..3 {
            let result = session
                .call(
                    event(EntryPoint::OnMaster),
                    LIMIT,
                    &mut Script::new(yes),
                    pending(),
                )
                .await;
            assert_eq!(message(&result), "fixture.wasm: on_master: run 1");
        }
    });
}

#[test]
fn wrong_arguments_and_denials_are_errors_in_the_hook() {
    let (result, asked, _) = told("invalid");
    assert!(
        message(&result).contains("addr.add: argument 1 (cidr) must be an address"),
        "{result:?}"
    );
    assert!(asked.is_empty());
}

#[test]
fn health_gives_a_demotion() {
    let health = |what: &str| {
        block_on(async {
            let source = source(&format!("{{\"do\":\"{what}\"}}"));
            let (_keeper, mut session) = load(source, &FIXTURE, &grants(ALL), LIMIT).await.unwrap();
            session
                .call(
                    event(EntryPoint::Health),
                    LIMIT,
                    &mut Script::new(yes),
                    pending(),
                )
                .await
        })
    };
    assert_eq!(
        health("well"),
        Ok(Returned::Health {
            demotion: 0,
            reason: String::new()
        })
    );
    assert_eq!(
        health("unwell"),
        Ok(Returned::Health {
            demotion: 40,
            reason: "disk nearly full".into()
        })
    );
    assert!(message(&health("too much")).contains("0 to 240"));
}

#[test]
fn what_is_not_granted_is_refused_at_load_with_the_line_that_would_grant_it() {
    let refused = |toml: &str| {
        block_on(async {
            load(source("{}"), &FAILOVER, &grants(toml), LIMIT)
                .await
                .map(drop)
        })
    };
    let Err(LoadError::Code(text)) = refused("hostname = [\"node2\"]") else {
        panic!("it was loaded")
    };
    for part in [
        "service start (carpd:hooks 1.0.0), which is not granted; to grant it, write under [hook.plugin.grant]: service = [{ unit = \"UNIT\", do = [\"start\"] }]",
        "route replace",
        "service stop",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("hostname"), "{text}");
    let all = "hostname = [\"a\"]\nroute = [{ dst = \"default\" }]\nservice = [{ unit = \"httpd\", do = [\"start\", \"stop\"] }]";
    assert_eq!(refused(all), Ok(()));
}

#[test]
fn the_failover_plugin_does_what_the_script_does() {
    let config = r#"{"name_master":"nodevir2","name_backup":"node2","gateway":"192.168.32.254","service":"httpd"}"#;
    let all = grants(
        "hostname = [\"a\"]\nroute = [{ dst = \"default\" }]\nservice = [{ unit = \"httpd\", do = [\"start\", \"stop\"] }]",
    );
    let effects = |asked: &[Ask]| -> Vec<String> {
        asked
            .iter()
            .map(|ask| {
                if let Ask::Effect { effect, .. } = ask {
                    effect.to_string()
                } else {
                    format!("{ask:?}")
                }
            })
            .collect()
    };
    block_on(async {
        let (_keeper, mut session) = load(source(config), &FAILOVER, &all, LIMIT).await.unwrap();
        assert_eq!(
            session.loaded().entry_points,
            [EntryPoint::OnMaster, EntryPoint::OnBackup]
        );
        let mut imports = session.loaded().imports.clone();
        imports.sort();
        assert_eq!(imports, manifest::abilities(&FAILOVER).unwrap().imports);
        let mut desk = Script::new(yes);
        let result = session
            .call(event(EntryPoint::OnMaster), LIMIT, &mut desk, pending())
            .await;
        assert_eq!(result, Ok(Returned::Done));
        assert_eq!(
            effects(&desk.asked),
            [
                "hostname.set nodevir2",
                "route.replace default via 192.168.32.254",
                "service.start httpd"
            ]
        );
        let mut desk = Script::new(|_: &Ask| {
            Answer::Error(AskError::Host {
                message: "httpd.service failed; see journalctl".into(),
                errno: None,
            })
        });
        let result = session
            .call(event(EntryPoint::OnBackup), LIMIT, &mut desk, pending())
            .await;
        assert!(
            message(&result).contains("on_backup: httpd.service failed; see journalctl"),
            "{result:?}"
        );
    });
}

#[test]
fn a_panic_is_logged_and_fails_the_run_with_the_functions_that_led_to_it() {
    let (result, asked, _) = told("panic");
    let Err(HookError::Raised { message, backtrace }) = &result else {
        panic!("{result:?}")
    };
    assert!(message.contains("unreachable"), "{message}");
    assert!(backtrace.contains("on-master"), "{backtrace}");
    assert!(
        matches!(asked.as_slice(), [Ask::Log { level: LogLevel::Error, message, .. }] if message.contains("for a test")),
        "{asked:?}"
    );
}

#[test]
fn loops_recursion_and_greed_end_within_their_budgets() {
    let (result, _, took) = told("loop");
    // Of CPU time, or of wall time where the machine has other work.
    assert!(matches!(result, Err(HookError::TimedOut(_))), "{result:?}");
    assert!(took < Duration::from_millis(1300), "{took:?}");
    assert_eq!(
        told("memory").0,
        Err(HookError::OutOfMemory(LIMIT.memory_bytes))
    );
    let (result, ..) = told("recursion");
    assert!(
        message(&result).contains("call stack exhausted"),
        "{result:?}"
    );
}

/// Questions beyond the quota are answered with an error; a loop around them ends with its CPU
/// time.
#[test]
fn a_flood_of_questions_stays_in_the_runner() {
    let (result, asked, took) = told("requests");
    assert_eq!(asked.len(), LIMIT.requests as usize);
    assert!(matches!(result, Err(HookError::TimedOut(_))), "{result:?}");
    assert!(took < Duration::from_millis(1300), "{took:?}");
}

/// 2 million log lines: the engine takes the quota, counts a few thousand more, and gives the
/// runner up.
#[test]
fn a_flood_of_log_lines_ends_the_runner() {
    block_on(async {
        let (_keeper, mut session) = load(source(r#"{"do":"log"}"#), &FIXTURE, &grants(ALL), LIMIT)
            .await
            .unwrap();
        let mut desk = Script::new(yes);
        let began = tokio::time::Instant::now();
        let result = session
            .call(event(EntryPoint::OnMaster), LIMIT, &mut desk, pending())
            .await;
        assert!(
            matches!(
                result,
                Err(HookError::RunnerDied(_) | HookError::TimedOut(_))
            ),
            "{result:?}"
        );
        assert!(
            began.elapsed() < Duration::from_millis(1500),
            "{:?}",
            began.elapsed()
        );
        assert!(desk.asked.len() < 2100, "{}", desk.asked.len());
    });
}

/// A hundred texts of 8 MB: more than one call may carry, so the first ends the run, and the engine
/// sees none.
#[test]
fn texts_too_long_for_one_call_never_leave_the_runner() {
    let (result, asked, _) = told("strings");
    assert!(
        matches!(result, Err(HookError::Raised { .. })),
        "{result:?}"
    );
    assert!(asked.is_empty(), "{}", asked.len());
}
