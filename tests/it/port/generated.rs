//! The test that `carpd port` writes holds what the hook does: it passes as written, and every case
//! of it fails on a hook whose functions are empty.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::super::cli::carpd;
use super::{ADDRESS, CORPUS, Case};

/// Ports a case of the corpus into a directory of its own.
fn port(case: &Case, into: &Path) {
    let into = into.join(&case.name);
    fs::create_dir(&into).unwrap();
    for entry in fs::read_dir(&case.directory).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, into.join(path.file_name().unwrap())).unwrap();
    }
    fs::write(into.join("interfaces"), "").unwrap();
    let usual = [
        "--interface",
        "eth0",
        "--address",
        ADDRESS,
        "--interfaces",
        "interfaces",
    ];
    let mut args: Vec<String> = ["port", "-o", "failover.lua"].map(str::to_owned).to_vec();
    args.extend(usual.map(str::to_owned));
    let mut add = |words: &[&str]| args.extend(words.iter().map(|word| (*word).to_owned()));
    if let Some(calls) = case.file("calls") {
        add(&["--from", "keepalived", "--instance", "VI_1"]);
        for line in calls.lines() {
            match line.split_once(' ').unwrap() {
                ("FAULT", call) => add(&["--fault", call]),
                ("STOP", call) => add(&["--stop", call]),
                (_, call) => add(&[call]),
            }
        }
    } else if into.join("notify.sh").exists() {
        add(&["--from", "keepalived", "notify.sh"]);
    } else {
        add(&["--xparam", &case.xparam(), "up.sh"]);
        if into.join("down.sh").exists() {
            add(&["down.sh"]);
        }
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = carpd(&into, &args);
    assert!(
        matches!(ran.code, 0 | 6) && !ran.stdout.contains("no test was written"),
        "{}: {}\n{}{}",
        case.name,
        ran.code,
        ran.stdout,
        ran.stderr
    );
}

/// How the cases of every test below a directory went: the test's path, the case's name, and
/// whether it passed.
fn run(directory: &Path) -> Vec<(String, String, bool)> {
    let ran = carpd(directory, &["test", "--json"]);
    let json: Value = serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr));
    let mut cases = Vec::new();
    for file in json["files"].as_array().unwrap() {
        let path = file["path"].as_str().unwrap().to_owned();
        assert_eq!(file["faults"], Value::Array(Vec::new()), "{path}");
        for case in file["cases"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            cases.push((
                path.clone(),
                format!("{name}: {}", case["failure"]),
                case["passed"].as_bool().unwrap(),
            ));
        }
    }
    cases
}

/// The same entry points with nothing in them.
fn emptied(lua: &str) -> String {
    let name = |line: &str| {
        Some(
            line.strip_prefix("function ")?
                .split('(')
                .next()?
                .to_owned(),
        )
    };
    lua.lines()
        .filter_map(name)
        .map(|name| format!("function {name}() end\n"))
        .collect()
}

#[test]
fn every_generated_case_holds_what_the_hook_does() {
    let directory = tempfile::tempdir().unwrap();
    let mut cases: Vec<Case> = ["same", "keepalived", "open"]
        .into_iter()
        .flat_map(Case::below)
        .collect();
    // What cannot be translated is held as well: the error of the TODO.
    for entry in fs::read_dir(Path::new(CORPUS).join("todo")).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("todo-{}", path.file_stem().unwrap().to_str().unwrap());
        let place = directory.path().join("scripts").join(&name);
        fs::create_dir_all(&place).unwrap();
        fs::copy(&path, place.join("up.sh")).unwrap();
        cases.push(Case {
            name,
            directory: place,
        });
    }
    let ports = directory.path().join("ports");
    fs::create_dir(&ports).unwrap();
    let next = std::sync::Mutex::new(cases.iter());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().unwrap().next() else {
                        return;
                    };
                    port(case, &ports);
                }
            });
        }
    });

    let as_written = run(&ports);
    let failed: Vec<_> = as_written.iter().filter(|(_, _, passed)| !passed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let tested = |case: &Case| {
        as_written
            .iter()
            .any(|(path, ..)| path.starts_with(&case.name))
    };
    let untested: Vec<_> = cases
        .iter()
        .filter(|case| !tested(case))
        .map(|c| &c.name)
        .collect();
    assert!(untested.is_empty(), "{untested:?}");

    for case in &cases {
        let hook = ports.join(&case.name).join("failover.lua");
        let lua = fs::read_to_string(&hook).unwrap();
        fs::write(&hook, emptied(&lua)).unwrap();
    }
    let on_nothing = run(&ports);
    let passed: Vec<_> = on_nothing.iter().filter(|(_, _, passed)| *passed).collect();
    assert!(passed.is_empty(), "{passed:#?}");
    assert_eq!(on_nothing.len(), as_written.len());
}
