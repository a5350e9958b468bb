//! Configurations on disk: what `carpd check` says about each, and what of the file system is
//! accepted.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use carpd::config::{Config, reference};
use serde_json::Value as Json;
use tempfile::TempDir;

use super::cli::{Ran, carpd, carpd_with};

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/configs")
}

/// A directory with one of the stored configurations, a password that only its owner can read, and
/// a hook.
pub(crate) fn directory_with(config: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::copy(configs().join(config), at.join(config)).unwrap();
    write(&at.join("web.pass"), b"gw22\n", 0o600);
    write(&at.join("open.pass"), b"gw22\n", 0o644);
    write(&at.join("long.pass"), b"12345678901234567890\n", 0o600);
    write(&at.join("empty.pass"), b"\n", 0o600);
    write(
        &at.join("failover.lua"),
        b"function on_master() end\n",
        0o644,
    );
    write(
        &at.join("inside.lua"),
        b"function health() return true end\n",
        0o644,
    );
    // A key pair for tests, and its signatures of the hooks.
    let trust = configs().join("../trust");
    for name in ["team.pub", "failover.sig", "inside.sig"] {
        fs::copy(trust.join(name), at.join(name)).unwrap();
    }
    fs::copy(
        configs().join("../../fixtures/tls/ca.pem"),
        at.join("ca.pem"),
    )
    .unwrap();
    directory
}

fn write(path: &Path, content: &[u8], mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn check(directory: &TempDir, file: &str) -> Ran {
    let mut ran = carpd(directory.path(), &["check", file]);
    ran.stderr = ran.stderr.replace(
        fs::canonicalize(directory.path())
            .unwrap()
            .to_str()
            .unwrap(),
        "DIR",
    );
    ran
}

/// Every stored configuration but the good ones: what is said about it, word for word.
#[test]
fn bad_configurations_are_refused_as_reviewed() {
    let mut names: Vec<_> = fs::read_dir(configs())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| !name.starts_with("good"));
    names.sort();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        let ran = check(&directory_with(&name), &name);
        let snapshot = format!("config_{}", name.trim_end_matches(".toml"));
        insta::assert_snapshot!(
            snapshot,
            format!(
                "exit code {}\nstdout: {}\n{}",
                ran.code, ran.stdout, ran.stderr
            )
        );
    }
}

#[test]
fn a_good_configuration_is_called_good() {
    for (name, hooks) in [("good.toml", "1 hook"), ("good-all-keys.toml", "2 hooks")] {
        let ran = check(&directory_with(name), name);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{name}");
        assert_eq!(
            ran.stdout,
            format!("{name}: good: 1 virtual host, {hooks}\n")
        );
    }
}

#[test]
fn problems_as_json() {
    let ran = carpd(
        directory_with("typos.toml").path(),
        &["check", "--json", "typos.toml"],
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (3, ""));
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["good"], false);
    let first = &report["problems"][0];
    assert_eq!(
        (first["line"].as_u64(), first["severity"].as_str()),
        (Some(2), Some("error")),
        "{report}"
    );
    let ran = carpd(
        directory_with("good.toml").path(),
        &["check", "--json", "good.toml"],
    );
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (
            0,
            "{\"file\":\"good.toml\",\"good\":true,\"maintenance\":[],\"problems\":[]}\n"
        )
    );
}

#[test]
fn problems_for_programs_that_review_changes() {
    let directory = directory_with("ranges.toml");
    let json: Json =
        serde_json::from_str(&carpd(directory.path(), &["check", "--json", "ranges.toml"]).stdout)
            .unwrap();
    let problems = json["problems"].as_array().unwrap();
    assert!(problems.len() > 5);

    let ran = carpd(
        directory.path(),
        &["check", "--format", "github", "ranges.toml"],
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (3, ""));
    assert_eq!(ran.stdout.lines().count(), problems.len());
    let place = |problem: &Json| format!("line={},col={},", problem["line"], problem["column"]);
    for (line, problem) in ran.stdout.lines().zip(problems) {
        let head = format!(
            "::{} file=ranges.toml,",
            problem["severity"].as_str().unwrap()
        );
        assert!(line.starts_with(&head), "{line}");
        assert!(line.contains(&place(problem)), "{line}: {problem}");
    }

    let ran = carpd(
        directory.path(),
        &["check", "--format", "sarif", "ranges.toml"],
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (3, ""));
    let log: Json = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), problems.len());
    for (result, problem) in results.iter().zip(problems) {
        let location = &result["locations"][0]["physicalLocation"];
        assert_eq!(location["artifactLocation"]["uri"], "ranges.toml");
        assert_eq!(location["region"]["startLine"], problem["line"]);
        assert_eq!(location["region"]["startColumn"], problem["column"]);
        assert_eq!(result["level"], problem["severity"]);
    }
}

/// As in a repository of configurations: no password, no interface, no hook of theirs is here.
#[test]
fn configurations_of_other_machines_are_checked_by_their_files_alone() {
    let directory = directory_with("good.toml");
    let at = directory.path();
    fs::remove_file(at.join("web.pass")).unwrap();
    assert_eq!(carpd(at, &["check", "good.toml"]).code, 3);
    fs::copy(configs().join("ranges.toml"), at.join("ranges.toml")).unwrap();
    let ran = carpd(at, &["check", "--files-only", "good.toml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(
        ran.stdout.starts_with("good.toml: good: "),
        "{}",
        ran.stdout
    );

    // The hook is checked if it is here.
    fs::write(at.join("failover.lua"), "function on_master(").unwrap();
    let ran = carpd(at, &["check", "--files-only", "good.toml", "ranges.toml"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("failover.lua:1"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("ranges.toml cannot be used: "),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stdout, "");
    fs::remove_file(at.join("failover.lua")).unwrap();
    let ran = carpd(at, &["check", "--files-only", "--json", "good.toml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let json: Json = serde_json::from_str(&ran.stdout).unwrap();
    let [warning] = json["problems"].as_array().unwrap().as_slice() else {
        panic!("{json}");
    };
    assert_eq!(warning["severity"], "warning");
    let message = warning["message"].as_str().unwrap();
    assert!(message.contains("it was not checked"), "{message}");
}

#[test]
fn a_password_that_others_can_reach_is_refused_whoever_they_are() {
    for (mode, code) in [
        (0o600, 0),
        (0o400, 0),
        (0o700, 0),
        (0o640, 3),
        (0o604, 3),
        (0o620, 3),
        (0o610, 3),
        (0o601, 3),
    ] {
        let directory = directory_with("good.toml");
        fs::set_permissions(
            directory.path().join("web.pass"),
            Permissions::from_mode(mode),
        )
        .unwrap();
        assert_eq!(check(&directory, "good.toml").code, code, "{mode:o}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_opened() {
    for name in ["web.pass", "failover.lua", "good.toml"] {
        let directory = directory_with("good.toml");
        let path = directory.path().join(name);
        fs::remove_file(&path).unwrap();
        // Nobody writes to this pipe: opening it to read would block for ever.
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let ran = check(&directory, "good.toml");
        assert_eq!(ran.code, 3);
        assert!(
            ran.stderr.contains("it is not a regular file"),
            "{name}: {}",
            ran.stderr
        );
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(
            check(&directory, "good.toml")
                .stderr
                .contains("it is a directory"),
            "{name}"
        );
    }
}

#[test]
fn a_configuration_that_is_huge_or_no_text_is_refused() {
    let directory = directory_with("good.toml");
    fs::write(directory.path().join("huge.toml"), "# x\n".repeat(1 << 20)).unwrap();
    fs::write(directory.path().join("latin1.toml"), b"# one\n# caf\xe9\n").unwrap();
    for (name, says) in [
        (
            "huge.toml",
            "error: huge.toml: the configuration is larger than 1024 KiB\n",
        ),
        (
            "latin1.toml",
            "error: latin1.toml: line 2 is not valid UTF-8\n",
        ),
        (
            "none.toml",
            "error: none.toml: cannot read the configuration: No such file or directory (os error 2)\n",
        ),
    ] {
        let ran = check(&directory, name);
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{name}");
        assert!(ran.stderr.starts_with(says), "{name}: {}", ran.stderr);
    }
}

#[test]
fn paths_start_at_the_directory_of_the_configuration() {
    let directory = directory_with("good.toml");
    let path = directory.path().join("good.toml");
    let ran = carpd(Path::new("/"), &["check", path.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let config = Config::load(&path).unwrap().config;
    assert_eq!(
        config.hooks["failover"].path,
        fs::canonicalize(directory.path())
            .unwrap()
            .join("failover.lua")
    );
}

#[test]
fn a_credential_comes_from_the_service_manager() {
    let directory = directory_with("good.toml");
    let text = fs::read_to_string(directory.path().join("good.toml")).unwrap();
    let text = text.replace("password-file = \"web.pass\"", "credential = \"web\"");
    fs::write(directory.path().join("good.toml"), text).unwrap();
    fs::create_dir(directory.path().join("credentials")).unwrap();
    let at = directory.path().join("credentials");
    let variables = [("CREDENTIALS_DIRECTORY", at.to_str().unwrap())];
    let ran = carpd_with(directory.path(), &["check", "good.toml"], &variables);
    assert_eq!(ran.code, 3);
    assert!(
        ran.stderr.contains("cannot read the credential"),
        "{}",
        ran.stderr
    );
    write(&at.join("web"), b"gw22", 0o440);
    assert_eq!(
        carpd_with(directory.path(), &["check", "good.toml"], &variables).code,
        0
    );
    assert!(
        check(&directory, "good.toml")
            .stderr
            .contains("CREDENTIALS_DIRECTORY is not set")
    );
}

#[test]
fn the_documentation_has_every_key_as_the_program_knows_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = fs::read_to_string(path).unwrap();
    let made = text
        .split_once("<!-- made by: carpd config-reference -->\n")
        .expect("the mark stands in the file")
        .1;
    assert!(
        made == reference::markdown(),
        "docs/configuration.md is not what carpd config-reference prints: replace the part below its mark"
    );
}

#[test]
fn the_examples_of_the_documentation_are_good() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md"))
            .unwrap();
    let examples: Vec<_> = text
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        let directory = directory_with("good.toml");
        fs::create_dir(directory.path().join("hooks")).unwrap();
        fs::copy(
            directory.path().join("failover.lua"),
            directory.path().join("hooks/failover.lua"),
        )
        .unwrap();
        fs::write(directory.path().join("example.toml"), example).unwrap();
        let ran = check(&directory, "example.toml");
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{example}");
    }
}

/// What the schema says of a value: as much of JSON Schema as it uses.
fn fits(schema: &Json, value: &Json) -> Result<(), String> {
    if let Some(words) = schema["enum"].as_array() {
        let fits = words.contains(value);
        return fits
            .then_some(())
            .ok_or(format!("{value} is none of {words:?}"));
    }
    if let Some(forms) = schema["anyOf"].as_array() {
        let any = forms.iter().any(|form| fits(form, value).is_ok());
        return any
            .then_some(())
            .ok_or(format!("{value} is none of {forms:?}"));
    }
    match (schema["type"].as_str().unwrap(), value) {
        ("boolean", Json::Bool(_)) => Ok(()),
        ("string", Json::String(text)) => {
            let pattern = schema["pattern"].as_str().unwrap_or("");
            let fits = regex_lite::Regex::new(pattern).unwrap().is_match(text);
            fits.then_some(())
                .ok_or(format!("{text:?} does not match {pattern}"))
        }
        ("integer", Json::Number(number)) => {
            let number = number
                .as_i64()
                .ok_or_else(|| format!("{number} is not an integer"))?;
            let fits = |bound: &str, fits: fn(&i64, &i64) -> bool| {
                schema[bound].as_i64().is_none_or(|b| fits(&number, &b))
            };
            let fits = fits("minimum", i64::ge) && fits("maximum", i64::le);
            fits.then_some(())
                .ok_or(format!("{number} is out of range"))
        }
        ("array", Json::Array(items)) => {
            let (min, max) = (schema["minItems"].as_u64(), schema["maxItems"].as_u64());
            let range = min.unwrap_or(0)..=max.unwrap_or(u64::MAX);
            if !range.contains(&(items.len() as u64)) {
                return Err(format!("{} items are not in {range:?}", items.len()));
            }
            items
                .iter()
                .try_for_each(|item| fits(&schema["items"], item))
        }
        ("object", Json::Object(table)) => {
            let no_list = Vec::new();
            for key in schema["required"].as_array().unwrap_or(&no_list) {
                if !table.contains_key(key.as_str().unwrap()) {
                    return Err(format!("{key} is missing"));
                }
            }
            table.iter().try_for_each(|(key, value)| {
                match (&schema["properties"][key], &schema["additionalProperties"]) {
                    (Json::Null, Json::Bool(false)) => Err(format!("unknown key {key}")),
                    (Json::Null, Json::Null) => Ok(()),
                    (Json::Null, other) => fits(other, value),
                    (known, _) => fits(known, value),
                }
                .map_err(|why| format!("{key}: {why}"))
            })
        }
        (wanted, _) => Err(format!("{value} is not of type {wanted}")),
    }
}

#[test]
fn the_schema_takes_what_the_program_takes_and_refuses_what_it_refuses() {
    let ran = carpd_with(Path::new("/"), &["config-reference", "--schema"], &[]);
    let schema: Json = serde_json::from_str(&ran.stdout).unwrap();
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/configs");
    let judge = |text: &str| {
        let table: toml::Table = text.parse().unwrap();
        fits(&schema, &serde_json::to_value(table).unwrap())
    };
    for good in ["good.toml", "good-all-keys.toml", "warnings.toml"] {
        let text = fs::read_to_string(configs.join(good)).unwrap();
        judge(&text).unwrap_or_else(|why| panic!("{good}: {why}"));
    }
    for bad in ["ranges.toml", "typos.toml"] {
        let text = fs::read_to_string(configs.join(bad)).unwrap();
        assert!(judge(&text).is_err(), "{bad}");
    }
    let text = fs::read_to_string(configs.join("good.toml")).unwrap();
    for (change, why) in [
        (("vhid = ", "vhid = 256 #"), "out of range"),
        (("vhid = ", "vhid = \"40\" #"), "not of type integer"),
        (("vhid = ", "wihd = "), "missing"),
        (("[[vhost]]", "[[vhost]]\nwihd = 1"), "unknown key"),
        (("[[vhost]]", "[[vhost]]\npeers = \"cisco\""), "none of"),
        (
            (
                "[[vhost]]",
                "[daemon]\nshutdown-timeout = \"30\"\n[[vhost]]",
            ),
            "does not match",
        ),
        (
            ("[[vhost]]", "[hook.x]\nmemory = \"16MB\"\n[[vhost]]"),
            "does not match",
        ),
        (("addresses = [", "addresses = [] #"), "0 items"),
        (("[[vhost]]", "[hook.x]"), "vhost"),
    ] {
        let changed = text.replacen(change.0, change.1, 1);
        assert!(changed != text, "{change:?}");
        let said = judge(&changed).unwrap_err();
        assert!(said.contains(why), "{change:?}: {said}");
    }
}

/// The paths of all values in a document, tables and lists included, but for the items of lists of
/// values.
fn paths(value: &toml::Value, here: &[Step], all: &mut Vec<Vec<Step>>) {
    all.push(here.to_vec());
    let below = |step: Step| [here, &[step]].concat();
    match value {
        toml::Value::Table(table) => table
            .iter()
            .for_each(|(key, value)| paths(value, &below(Step::Key(key.clone())), all)),
        toml::Value::Array(items) if items.iter().all(toml::Value::is_table) => items
            .iter()
            .enumerate()
            .for_each(|(number, item)| paths(item, &below(Step::Item(number)), all)),
        _ => {}
    }
}

#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Item(usize),
}

fn at<'a>(document: &'a mut toml::Value, path: &[Step]) -> &'a mut toml::Value {
    path.iter().fold(document, |value, step| match step {
        Step::Key(key) => value.get_mut(key.as_str()).unwrap(),
        Step::Item(number) => value.get_mut(*number).unwrap(),
    })
}

/// What may stand there instead: other kinds of values, and values out of bounds.
fn instead(value: &toml::Value) -> Vec<toml::Value> {
    let mut others: Vec<toml::Value> = vec![
        "".into(),
        "no such word".into(),
        7.into(),
        (-1).into(),
        1_000_000_000_000_i64.into(),
        true.into(),
        0.5.into(),
        toml::Value::Array(Vec::new()),
        toml::Value::Array(vec![7.into()]),
        toml::Value::Table(toml::Table::new()),
    ];
    if let toml::Value::Table(table) = value {
        let with = [("no-such-key".to_owned(), 7.into())];
        others.push(toml::Value::Table(
            table.clone().into_iter().chain(with).collect(),
        ));
    }
    others
}

#[test]
fn the_schema_and_the_program_agree_on_mutations_of_a_good_file() {
    let directory = directory_with("good-all-keys.toml");
    let file = directory.path().join("good-all-keys.toml");
    let schema = reference::schema();
    let good: toml::Value = toml::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let takes = |document: &toml::Value| {
        fs::write(&file, toml::to_string(document).unwrap()).unwrap();
        let looked = Config::look(
            &file,
            &carpd::resolve::Sources::new(carpd::resolve::Trust::root()),
        );
        looked.map(drop).map_err(|report| report.to_string())
    };
    assert_eq!(takes(&good), Ok(()));
    let mut all = Vec::new();
    paths(&good, &[], &mut all);
    let (mut tried, mut refused, mut agreed) = (0, 0, 0);
    for path in &all {
        let value = at(&mut good.clone(), path).clone();
        for other in instead(&value) {
            let mut changed = good.clone();
            *at(&mut changed, path) = other.clone();
            // A document is a table.
            let Ok(table) = toml::Table::try_from(&changed) else {
                continue;
            };
            let by_schema = fits(&schema, &serde_json::to_value(table).unwrap());
            let by_program = takes(&changed);
            tried += 1;
            refused += usize::from(by_program.is_err());
            agreed += usize::from(by_schema.is_err() == by_program.is_err());
            let said = format!("{path:?} = {other}: {by_schema:?}, {by_program:?}");
            // An editor that complains of what is right would be switched off.
            assert!(by_program.is_err() || by_schema.is_ok(), "{said}");
            // What a string means, and what must not be left out, only the program knows.
            let is_left_out = other.as_table().is_some_and(toml::Table::is_empty)
                || other.as_array().is_some_and(Vec::is_empty);
            assert!(
                by_program.is_ok()
                    || by_schema.is_err()
                    || is_left_out
                    || value.is_str() && other.is_str(),
                "{said}"
            );
        }
    }
    println!("{tried} mutations: {refused} refused, the schema agrees about {agreed}");
    assert!(refused > 1000 && agreed * 100 > tried * 94);
}
