//! `carpd new hook`: what it makes in each language is whole, and passes its test as it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::cli::{Ran, carpd, carpd_with};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Makes a hook called `mine`, on a machine with nothing but what is in this directory.
fn new(directory: &Path, lang: &str, tools: &Path) -> Ran {
    carpd_with(
        directory,
        &["new", "hook", "mine", "--lang", lang],
        &[("PATH", tools.to_str().unwrap())],
    )
}

/// Every file below a directory.
fn files(below: &Path) -> Vec<PathBuf> {
    let (mut found, mut todo) = (Vec::new(), vec![below.to_owned()]);
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

const LANGUAGES: [&str; 4] = ["lua", "rust", "c", "js"];

#[test]
fn each_language_has_its_files_and_says_what_is_missing() {
    let nothing = tempfile::tempdir().unwrap();
    for lang in LANGUAGES {
        let directory = tempfile::tempdir().unwrap();
        let ran = new(directory.path(), lang, nothing.path());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{lang}");
        insta::assert_snapshot!(format!("new_hook_{lang}"), ran.stdout);
        let written = ran
            .stdout
            .lines()
            .filter(|line| line.starts_with("wrote "))
            .count();
        assert_eq!(files(directory.path()).len(), written, "{lang}");
        let again = new(directory.path(), lang, nothing.path());
        assert!(
            again.code == 1 && again.stderr.ends_with(" exists\n"),
            "{}",
            again.stderr
        );
    }
}

#[test]
fn everything_has_the_new_name_and_what_builds_it_is_a_program() {
    // What tools have made, and what the API says, has words of its own.
    let not_ours = [
        "/bindings/",
        "/package-lock.json",
        "/.carpd/",
        "/carpd-hook/",
    ];
    for lang in LANGUAGES {
        let directory = tempfile::tempdir().unwrap();
        new(directory.path(), lang, directory.path());
        for path in files(directory.path()) {
            let shown = path.to_str().unwrap();
            if not_ours.iter().any(|part| shown.contains(part)) {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for word in [
                "NAME",
                "SOURCE",
                "ARTIFACT",
                "SDK",
                "hook.wasm",
                "-in-",
                "examples/",
            ] {
                assert!(
                    !text.contains(word) || shown.ends_with("/package.json"),
                    "{shown}: {word}"
                );
            }
        }
        let build = directory.path().join("mine/build");
        assert_eq!(build.exists(), lang != "lua");
        if build.exists() {
            assert_eq!(
                fs::metadata(build).unwrap().permissions().mode() & 0o777,
                0o755
            );
        }
    }
}

#[test]
fn nothing_is_missing_where_the_tools_are() {
    let machine = tempfile::tempdir().unwrap();
    let tool = |name: &str, script: &str| {
        let path = machine.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    tool("cargo", "echo cargo 1.95.0");
    tool("rustc", &format!("echo {}", machine.path().display()));
    tool(
        "clang-19",
        &format!("echo {}/clang-19", machine.path().display()),
    );
    tool("wasm-ld", "echo LLD 19");
    tool("node", "echo v20.19.0");
    tool("npm", "echo 10.0.0");
    let said = |lang: &str| {
        let directory = tempfile::tempdir().unwrap();
        new(directory.path(), lang, machine.path()).stdout
    };
    for lang in LANGUAGES {
        assert!(!said(lang).contains("missing"), "{}", said(lang));
    }
    tool("node", "echo v18.20.4");
    assert!(
        said("js").contains("missing here: Node.js 20 or newer"),
        "{}",
        said("js")
    );
    tool("rustc", "echo /nonexistent");
    assert!(
        said("rust")
            .contains("missing here: Rust's target wasm32-unknown-unknown: rustup target add"),
        "{}",
        said("rust")
    );
    tool("clang-19", "exit 1");
    assert!(
        said("c").contains("missing here: wasi-libc: apt-get install wasi-libc"),
        "{}",
        said("c")
    );
}

/// Building takes tools that not every machine has. What the same sources became is in the
/// repository: the test, the grants and the code belong together. In Rust `plugins/test` builds it.
#[test]
fn the_component_passes_the_test_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    new(directory.path(), "c", directory.path());
    let early = carpd(directory.path(), &["test", "mine"]);
    let says = "error: there is no hook next to mine/mine_test.lua\nhint: NAME_test.lua is the test of NAME.lua or NAME.wasm; a component must be built first\n";
    assert_eq!((early.code, early.stderr.as_str()), (1, says));
    fs::copy(
        root().join("examples/hooks/c/hook.wasm"),
        directory.path().join("mine/mine.wasm"),
    )
    .unwrap();
    let ran = carpd(
        directory.path(),
        &[
            "test",
            "mine",
            "--coverage",
            "--fail-under",
            "100",
            "--faults",
            "--fuzz",
            "10",
        ],
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("mine.wasm: 4 of 4 functions called")
            && ran.stdout.contains(", 0 failed"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_name_that_is_no_crate_is_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let ran = carpd(directory.path(), &["new", "hook", "1st", "--lang", "rust"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(
        ran.stderr.contains("1st cannot be the name of a crate"),
        "{}",
        ran.stderr
    );
    assert_eq!(files(directory.path()), Vec::<PathBuf>::new());
}
