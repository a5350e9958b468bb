//! What each program is made of, read from the symbols of what was built: a crate that must not be
//! in a program is not reached from its `main`.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::{Command, Stdio};

use object::read::ReadCache;
use object::{Object as _, ObjectSymbol};
use rustc_demangle::demangle;

use crate::hooks::{CARPD, DAEMON, WORKER};

/// The crates and the modules of ours that some program must not have, as demangled symbols begin.
const WATCHED: &[&str] = &[
    "mlua",
    "wasmtime",
    "cranelift_codegen",
    "wasmparser",
    "wit_component",
    "wit_parser",
    "regex_automata",
    "rustls",
    "ring",
    "ureq",
    "clap_builder",
    "zbus",
    "netlink_packet_route",
    "netlink_packet_route::link",
    "netlink_packet_route::tc",
    "carpd::cli",
    "carpd::daemon",
    "carpd::engine",
    "carpd::keeper",
    "carpd::lab",
    "carpd::port",
    "carpd::registry",
    "carpd::testing",
];

/// What stands for Luau, which is C++.
const LUAU: &str = "Luau";

/// Those that a program has functions or data of.
fn linked(program: &str) -> BTreeSet<&'static str> {
    let cache = ReadCache::new(File::open(program).unwrap());
    let file = object::File::parse(&cache).unwrap();
    let mut found = BTreeSet::new();
    let mut count = 0;
    for symbol in file.symbols().filter(ObjectSymbol::is_definition) {
        count += 1;
        let Ok(mangled) = symbol.name() else { continue };
        if mangled.starts_with("_ZN4Luau") || mangled.starts_with("luau_") {
            found.insert(LUAU);
        }
        let name = demangle(mangled).to_string();
        let names = |watched: &&&str| {
            name.match_indices(**watched).any(|(at, _)| {
                let before = name[..at].chars().next_back();
                let outside = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':');
                outside && name[at + watched.len()..].starts_with("::")
            })
        };
        found.extend(WATCHED.iter().filter(names));
    }
    assert!(count > 10_000, "{program}: stripped? {count} symbols");
    found
}

fn has_none_of(program: &str, unwanted: &[&str], wanted: &[&str]) {
    let found = linked(program);
    let bad: Vec<_> = unwanted
        .iter()
        .filter(|name| found.contains(*name))
        .collect();
    assert!(bad.is_empty(), "{program} has {bad:?}");
    for name in wanted {
        assert!(found.contains(name), "{program} has no {name}: {found:?}");
    }
}

#[test]
fn what_has_rights_has_no_interpreter_compiler_or_tls() {
    let tools = [
        "carpd::cli",
        "carpd::lab",
        "carpd::port",
        "carpd::registry",
        "carpd::testing",
    ];
    let unwanted = [
        LUAU,
        "mlua",
        "wasmtime",
        "cranelift_codegen",
        "wasmparser",
        "wit_component",
        "wit_parser",
        "regex_automata",
        "rustls",
        "ring",
        "ureq",
        // Everything about devices that there is.
        "netlink_packet_route::link",
        "netlink_packet_route::tc",
    ];
    has_none_of(
        DAEMON,
        &[&unwanted[..], &tools].concat(),
        &[
            "carpd::daemon",
            "carpd::engine",
            "carpd::keeper",
            "netlink_packet_route",
        ],
    );
}

#[test]
fn what_handles_what_others_wrote_is_no_daemon() {
    has_none_of(
        WORKER,
        &[
            "carpd::cli",
            "carpd::daemon",
            "carpd::engine",
            "carpd::keeper",
            "carpd::lab",
            "carpd::port",
            "clap_builder",
            "netlink_packet_route",
            "zbus",
        ],
        &[
            LUAU,
            "mlua",
            "wasmtime",
            "cranelift_codegen",
            "wasmparser",
            "rustls",
            "ureq",
        ],
    );
}

#[test]
fn what_people_type_runs_no_hook_itself() {
    has_none_of(
        CARPD,
        &[LUAU, "mlua", "wasmtime", "cranelift_codegen"],
        &[
            "carpd::cli",
            "carpd::lab",
            "carpd::port",
            "carpd::testing",
            "clap_builder",
            "netlink_packet_route::link",
            "netlink_packet_route::tc",
            "wit_component",
            "wit_parser",
        ],
    );
}

#[test]
fn a_program_of_another_build_says_so_and_does_nothing() {
    for (program, role) in [
        (CARPD, "__tester"),
        (DAEMON, "__engine"),
        (DAEMON, "__helper"),
        (DAEMON, "__keeper"),
        (DAEMON, "__reader"),
        (WORKER, "__compiler"),
        (WORKER, "__http-worker"),
        (WORKER, "__runner"),
    ] {
        for build in [&["0123456789abcdef"][..], &[]] {
            let mut command = Command::new(program);
            let ran = command
                .arg(role)
                .args(build)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = String::from_utf8(ran.stderr).unwrap();
            assert_eq!(ran.status.code(), Some(76), "{role}: {said}");
            assert!(said.contains("is of another build"), "{role}: {said}");
            assert!(
                said.contains("install carpd, carpd-daemon and carpd-worker of one build"),
                "{said}"
            );
        }
    }
}
