//! Notify scripts of keepalived, played both ways as those of ucarp: called by the states that
//! keepalived goes through, and as a hook.
//!
//! The corpus is `port/keepalived`: `notify.sh`, called for every state with type, name, state and
//! priority; or the scripts that `calls` names, a state and its command line on each line. `type`
//! holds `GROUP` where it is not `INSTANCE`, `log` lines that must reach the log.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use carpd::engine::oneshot::OneShot;
use carpd::hooks::{EntryPoint, HookEvent};
use carpd::port::{Caller, FactKind, Keepalived, Ported, Refusal, Settings, Source};

use super::super::hooks::{DAEMON, block_on};
use super::{ADDRESS, CORPUS, Case, in_namespaces, job, look, make_world, told};

/// The states that follow each other, with the cause that carpd names.
const HISTORY: [(&str, &str); 6] = [
    ("MASTER", "master-down"),
    ("BACKUP", "better-master"),
    ("MASTER", "master-down"),
    ("FAULT", "link-down"),
    ("MASTER", "preempt"),
    ("STOP", "shutdown"),
];

fn all() -> Vec<Case> {
    Case::below("keepalived")
}

/// The script of a state and its arguments, as the configuration of keepalived names them.
fn call(case: &Case, state: &str) -> Option<(String, Vec<String>)> {
    let Some(calls) = case.file("calls") else {
        return Some(("notify.sh".to_owned(), Vec::new()));
    };
    let line = calls.lines().find_map(|line| line.strip_prefix(state))?;
    let mut words = line.split_whitespace().map(str::to_owned);
    Some((words.next().unwrap(), words.collect()))
}

fn source(case: &Case, state: &str) -> Option<Source> {
    let (name, arguments) = call(case, state)?;
    Some(Source {
        text: case.file(&name).unwrap(),
        name,
        arguments,
    })
}

fn kind(case: &Case) -> String {
    case.file("type")
        .map_or_else(|| "INSTANCE".to_owned(), |text| text.trim().to_owned())
}

fn settings(case: &Case) -> Settings {
    let mut settings = Settings::new("failover");
    settings.interface = Some("eth0".into());
    settings.address = Some(ADDRESS.into());
    settings.script = "/etc/keepalived/notify.sh".into();
    settings.caller = Caller::Keepalived(Box::new(Keepalived {
        name: Some("VI_1".into()),
        group: kind(case) == "GROUP",
        priority: Some("100".into()),
        fault: case.file("calls").and_then(|_| source(case, "FAULT")),
        stop: case.file("calls").and_then(|_| source(case, "STOP")),
    }));
    settings
}

fn port(case: &Case) -> Ported {
    let down = case.file("calls").and_then(|_| source(case, "BACKUP"));
    carpd::port::port(
        &source(case, "MASTER").unwrap(),
        down.as_ref(),
        &settings(case),
    )
    .unwrap()
}

/// As keepalived calls it. Where it has no script for a fault or a stop, carpd runs the one for a
/// backup: so does this.
fn run_script(case: &Case, state: &str) -> bool {
    let (name, arguments) = call(case, state).or_else(|| call(case, "BACKUP")).unwrap();
    let script = case.directory.join(&name);
    let shell = if case.file(&name).unwrap().contains("bash") {
        "bash"
    } else {
        "sh"
    };
    let mut command = Command::new(shell);
    command.arg(script).args(arguments);
    command.args([kind(case).as_str(), "VI_1", state, "100"]);
    command
        .env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
        .stdin(Stdio::null());
    command.output().unwrap().status.success()
}

fn play_original(case: &Case) -> String {
    let mut seen = format!("== before\n{}", look(case));
    for (state, _) in HISTORY {
        run_script(case, state);
        seen += &format!("== {state}\n{}", look(case));
    }
    seen
}

fn play_port(case: &Case) -> String {
    let ported = port(case);
    block_on(async {
        let mut hook = OneShot::start(job(&ported.lua, &ported.toml), Some(Path::new(DAEMON)))
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", ported.lua));
        let mut seen = format!("== before\n{}", look(case));
        for (state, cause) in HISTORY {
            let entry = if state == "MASTER" {
                EntryPoint::OnMaster
            } else {
                EntryPoint::OnBackup
            };
            let event = HookEvent {
                cause: cause.to_owned(),
                xparam: None,
                ..told(entry, "")
            };
            if entry == EntryPoint::OnMaster || !ported.mirrored {
                super::call(&mut hook, event, &ported).await;
            }
            if entry == EntryPoint::OnBackup {
                assert_eq!(hook.undo().await, 0, "everything could be undone");
            }
            seen += &format!("== {state}\n{}", look(case));
        }
        for line in case.file("log").unwrap_or_default().lines() {
            assert!(
                hook.log().iter().any(|l| l.message == line),
                "{line:?} is not in the log: {:?}",
                hook.log()
            );
        }
        seen
    })
}

#[test]
fn every_notify_script_and_its_port_leave_the_machine_the_same() {
    let cases = all();
    assert!(cases.len() >= 12, "{}", cases.len());
    let test = "port::keepalived::every_notify_script_and_its_port_leave_the_machine_the_same";
    in_namespaces(
        test,
        &cases,
        |case, half| {
            make_world(case, "port");
            if half == "original" {
                play_original(case)
            } else {
                play_port(case)
            }
        },
        &port,
    );
}

#[test]
fn every_notify_script_is_ported_without_a_rest() {
    for case in all() {
        let ported = port(&case);
        let asks: Vec<_> = ported.facts.iter().filter(|f| f.kind.asks()).collect();
        assert!(asks.is_empty(), "{}: {asks:?}\n{}", case.name, ported.lua);
        assert!(!ported.lua.contains("VI_1"), "{}", ported.lua);
    }
}

#[test]
fn what_keepalived_is_configured_with_becomes_the_hooks_configuration() {
    let case = all().into_iter().find(|c| c.name == "12-usage").unwrap();
    let ported = port(&case);
    let table: toml::Table = ported.toml.parse().unwrap();
    let config = &table["hook"]["failover"]["config"];
    assert_eq!(
        (config["instance"].as_str(), config["priority"].as_str()),
        (Some("VI_1"), Some("100"))
    );
    let mut unknown = settings(&case);
    unknown.caller = Caller::Keepalived(Box::default());
    let ported = carpd::port::port(&source(&case, "MASTER").unwrap(), None, &unknown).unwrap();
    let open: Vec<_> = ported
        .of(FactKind::Open)
        .map(|fact| (fact.line(), fact.text.as_str()))
        .collect();
    assert!(
        open.iter()
            .any(|(line, text)| *line == 8 && text.contains("config.instance")),
        "{open:?}"
    );
}

/// Ported as ucarp's, all that tell keepalived's states apart are named as what they are.
#[test]
fn a_notify_script_is_never_taken_for_one_of_ucarp() {
    let mut refused = 0;
    for case in all() {
        let mut settings = settings(&case);
        settings.caller = Caller::Ucarp { whatever: false };
        let script = source(&case, "MASTER").unwrap();
        match carpd::port::port(&script, None, &settings) {
            Err(error) => {
                assert!(
                    matches!(error.reason, Refusal::Keepalived { line } if line > 0),
                    "{}: {error}",
                    case.name
                );
                refused += 1;
            }
            // Scripts that look at none of their arguments do the same whoever calls them.
            Ok(ported) => assert!(!script.text.contains("$3"), "{}: {}", case.name, ported.lua),
        }
    }
    assert!(refused >= 14, "{refused}");
    let b13 = fs::read_to_string(Path::new(CORPUS).join("refused/keepalived.sh")).unwrap();
    let script = Source {
        name: "up.sh".into(),
        text: b13,
        arguments: Vec::new(),
    };
    let mut settings = Settings::new("failover");
    let error = carpd::port::port(&script, None, &settings).unwrap_err();
    assert_eq!(
        error.to_string(),
        "up.sh: line 2: it is a notify script of keepalived: its arguments are not those of ucarp"
    );
    settings.caller = Caller::Ucarp { whatever: true };
    assert!(carpd::port::port(&script, None, &settings).is_ok());
}
