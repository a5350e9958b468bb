//! The example hooks in C and in JavaScript do what they say, as components that were built from
//! what stands beside them.

use std::collections::BTreeMap;
use std::fs;
use std::future::pending;
use std::path::Path;
use std::time::Duration;

use carpd::effect::Grants;
use carpd::hooks::artifact::manifest;
use carpd::hooks::contract::api;
use carpd::hooks::process::session::{SandboxPolicy, Session};
use carpd::hooks::{
    Answer, Ask, AskError, Budget, EntryPoint, HookError, HookSource, Language, Native, Returned,
};
use carpd::keeper::{Client, Role};

use crate::fuzz::targets::wasm_config;
use crate::hooks::{DAEMON, Script, block_on, event, yes};

const LIMIT: Budget = Budget {
    wall: Duration::from_secs(10),
    cpu: Duration::from_secs(5),
    memory_bytes: 16 << 20,
    requests: 100,
    log_bytes: 64 << 10,
    state_bytes: 1 << 10,
};

/// What the hook of an example asks on becoming master and backup, and how it fails when the host
/// does.
fn play(example: &str, config: &str, grants: &str) -> [Vec<String>; 2] {
    let path = format!(
        "{}/examples/hooks/{example}/hook.wasm",
        env!("CARGO_MANIFEST_DIR")
    );
    let main = fs::read(&path).unwrap();
    let manifest = manifest::manifest(&main)
        .unwrap()
        .expect("it says what it asks for");
    assert!(!manifest.asks.is_empty());
    let grants: Grants = toml::from_str(grants).unwrap();
    block_on(async {
        let (keeper, _exits) = Client::start(Some(Path::new(DAEMON))).unwrap();
        // Here and not by the compiler process, whose limit is a minute of the clock: an
        // interpreter is much code, and this may be a slow build on a busy machine.
        let code = wasmtime::Engine::new(&wasm_config::config(true))
            .unwrap()
            .precompile_component(&main)
            .unwrap();
        let memory_bytes = LIMIT.memory_bytes + 2 * code.len() as u64;
        let source = HookSource {
            name: "example".parse().unwrap(),
            language: Language::Wasm,
            path,
            main: Vec::new(),
            modules: BTreeMap::new(),
            config_json: config.to_owned(),
            native: Some(Native {
                code,
                allowed: api::allowed(&grants),
            }),
        };
        let (_, stream) = keeper
            .spawn(Role::WasmRunner { memory_bytes })
            .await
            .unwrap();
        let mut session = Session::load(stream, source, LIMIT, SandboxPolicy::Required)
            .await
            .unwrap();
        let mut asked = [Vec::new(), Vec::new()];
        for (entry, asked) in [EntryPoint::OnMaster, EntryPoint::OnBackup]
            .into_iter()
            .zip(&mut asked)
        {
            let mut desk = Script::new(yes);
            assert_eq!(
                session
                    .call(event(entry), LIMIT, &mut desk, pending())
                    .await,
                Ok(Returned::Done),
                "{entry:?}"
            );
            *asked = desk.asked.iter().map(shown).collect();
            let mut desk = Script::new(|_: &Ask| {
                Answer::Error(AskError::Host {
                    message: "no such service".into(),
                    errno: None,
                })
            });
            let failed = session
                .call(event(entry), LIMIT, &mut desk, pending())
                .await;
            let Err(HookError::Raised { message, .. }) = &failed else {
                panic!("{failed:?}")
            };
            assert_eq!(
                message,
                &format!("hook.wasm: {}: no such service", entry.as_str())
            );
        }
        asked
    })
}

fn shown(ask: &Ask) -> String {
    match ask {
        Ask::Effect { effect, .. } => effect.to_string(),
        Ask::Log {
            message, fields, ..
        } => format!("log {message} {fields:?}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_example_in_c() {
    let [master, backup] = play(
        "c",
        "{}",
        "service = [{ unit = \"httpd\", do = [\"start\", \"stop\"] }]",
    );
    assert_eq!(
        master,
        [
            "service.start httpd",
            "log Took over [(\"instance\", \"web\")]"
        ]
    );
    assert_eq!(
        backup,
        [
            "service.stop httpd",
            "log Stands by [(\"instance\", \"web\")]"
        ]
    );
}

/// A JavaScript toolchain imports its whole world: that has what the hook calls, and so has the
/// component.
#[test]
fn the_example_in_javascript_imports_what_it_calls() {
    let at = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hooks/js");
    let imports = manifest::abilities(&fs::read(format!("{at}/hook.wasm")).unwrap())
        .unwrap()
        .imports;
    assert_eq!(
        imports,
        [
            "config.get",
            "hostname.set",
            "log.info",
            "service.start",
            "service.stop"
        ]
    );
    let names = imports
        .iter()
        .map(String::as_str)
        .chain(["on_master", "on_backup"]);
    let world = api::wit::Part::of(names).unwrap().wit();
    assert!(
        fs::read_to_string(format!("{at}/wit/hook.wit")).unwrap() == world,
        "out of date: examples/hooks/js/build"
    );
}

#[test]
fn the_example_in_javascript() {
    let config = r#"{"name_master": "nodevir2", "name_backup": "node2", "service": "httpd"}"#;
    let all = "hostname = [\"a\"]\nservice = [{ unit = \"httpd\", do = [\"start\", \"stop\"] }]";
    let [master, backup] = play("js", config, all);
    assert_eq!(
        master,
        [
            "hostname.set nodevir2",
            "service.start httpd",
            "log Took over [(\"instance\", \"web\")]"
        ]
    );
    assert_eq!(
        backup,
        [
            "service.stop httpd",
            "hostname.set node2",
            "log Stands by [(\"instance\", \"web\")]"
        ]
    );
}
