//! `carpd test`: what the repository ships passes, what is wrong is found and shown, nothing runs away.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::cli::{Ran, carpd};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A directory with a hook, what it may do, and its test.
fn place(hook: &str, toml: &str, test: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [("h.lua", hook), ("h.toml", toml), ("h_test.lua", test)] {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn test(directory: &Path, args: &[&str]) -> Ran {
    carpd(directory, &[&["test"], args].concat())
}

fn json(directory: &Path, args: &[&str]) -> Json {
    let ran = test(directory, &[&["--json"], args].concat());
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr))
}

fn passes(directory: &Path, args: &[&str]) -> String {
    let ran = test(directory, args);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    ran.stdout
}

#[test]
fn the_example_hooks_pass_their_tests_with_every_line_run() {
    let said = passes(&root(), &["examples/hooks", "--coverage", "--fail-under", "100", "--faults", "--fuzz", "10"]);
    assert!(said.contains("failover.lua: 8 of 8 lines") && said.contains(", 0 failed"), "{said}");
}

#[test]
fn every_ported_script_passes_the_test_that_was_made_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let cases = super::port::Case::all();
    for case in &cases {
        let ported = case.port();
        let below = directory.path().join(&case.name);
        fs::create_dir(&below).unwrap();
        for (name, text) in
            [("failover.lua", &ported.lua), ("failover.toml", &case.toml(&ported)), ("failover_test.lua", &ported.test)]
        {
            fs::write(below.join(name), text).unwrap();
        }
    }
    let ran = test(directory.path(), &[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(cases.len() >= 40 && ran.stdout.matches("_test.lua (").count() == cases.len(), "{}", ran.stdout);
}
