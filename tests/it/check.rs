//! `carpd check` and its neighbours, as somebody meets them who writes a first configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use carpd::hooks::artifact::manifest;
use carpd::hooks::contract::api::wit;

use super::cli::{Ran, carpd, ethernet};

const BOM: &str = "\u{feff}";

/// A configuration of one virtual host on an interface, and the hook `h` with these grants.
fn config(interface: &str, grant: &str) -> String {
    format!(
        "[[vhost]]\nname = \"web\"\ninterface = \"{interface}\"\nvhid = 40\naddresses = [\"192.0.2.22/24\"]\n\
         password-file = \"web.pass\"\nhooks = [\"h\"]\n\n[hook.h]\nsource = \"hooks/h.lua\"\n[hook.h.grant]\n{grant}\n"
    )
}

fn place(config: &str, hook: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::create_dir(path.join("hooks")).unwrap();
    for (name, text) in [
        ("carpd.toml", config),
        ("hooks/h.lua", hook),
        ("web.pass", "love\n"),
    ] {
        fs::write(path.join(name), text).unwrap();
    }
    fs::set_permissions(path.join("web.pass"), fs::Permissions::from_mode(0o600)).unwrap();
    directory
}

fn check(directory: &Path, args: &[&str]) -> Ran {
    carpd(directory, &[&["check"], args].concat())
}

const GOOD: &str = "function on_master()\n  log.info('here')\nend\n";

#[test]
fn check_takes_its_configuration_as_the_other_verbs_do() {
    let directory = place(&config(&ethernet(), ""), GOOD);
    for args in [
        ["carpd.toml"].as_slice(),
        &["--config", "carpd.toml"],
        &["-c", "carpd.toml"],
    ] {
        let ran = check(directory.path(), args);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{args:?}");
        assert!(
            ran.stdout.starts_with("carpd.toml: good: "),
            "{}",
            ran.stdout
        );
    }
    assert_eq!(
        check(directory.path(), &["carpd.toml", "--config", "carpd.toml"]).code,
        2
    );
    let ran = carpd(
        directory.path(),
        &[
            "rehearse",
            "--config",
            "a=carpd.toml",
            "--config",
            "b=carpd.toml",
            "--end",
            "5s",
        ],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(carpd(directory.path(), &["rehearse"]).code, 2);
}

/// Every verb that reads a configuration has the option, by the same two names.
#[test]
fn every_verb_that_takes_a_configuration_takes_the_option() {
    for verb in [
        "run",
        "check",
        "status",
        "metrics",
        "reload",
        "resign",
        "maintenance on",
        "drain",
        "demote",
        "promote",
        "undemote",
        "hook list",
        "events",
        "why",
        "cleanup",
        "plan",
        "grant",
        "rehearse",
        "test",
    ]
    .into_iter()
    .chain([
        "plugin add",
        "plugin list",
        "plugin inspect",
        "plugin verify",
        "plugin pull",
    ]) {
        let words: Vec<&str> = verb.split(' ').chain(["--help"]).collect();
        let help = carpd(Path::new("/"), &words).stdout;
        assert!(help.contains("--config <"), "{verb}:\n{help}");
    }
}

#[test]
fn an_error_of_a_hook_is_shown_in_the_hook() {
    let hook = "function on_master()\n  hostname.sett('x')\nend\n";
    let directory = place(&config(&ethernet(), "hostname = [\"x\"]"), hook);
    let ran = check(directory.path(), &["carpd.toml"]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert!(ran.stderr.contains("hooks/h.lua:2:3\n"), "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("2 |   hostname.sett('x')\n  |   ^^^^^^^^^^^^^^^^^^"),
        "{}",
        ran.stderr
    );
    // One that does not compile, and one in a module of its own.
    fs::write(
        directory.path().join("hooks/h.lua"),
        "function on_master(\nend\n",
    )
    .unwrap();
    let ran = check(directory.path(), &["carpd.toml"]);
    assert!(
        ran.code == 3
            && ran.stderr.contains("hooks/h.lua:2:1\n")
            && ran.stderr.contains("2 | end\n  | ^^^"),
        "{}",
        ran.stderr
    );
    let plan = carpd(
        directory.path(),
        &["plan", "--config", "carpd.toml", "--event", "master"],
    );
    assert!(
        plan.code == 3 && plan.stderr.contains("2 | end\n  | ^^^"),
        "{}",
        plan.stderr
    );
    fs::write(
        directory.path().join("hooks/m.lua"),
        "\n\n  local x = nothing\nreturn {}\n",
    )
    .unwrap();
    fs::write(
        directory.path().join("hooks/h.lua"),
        "local m = require('m')\nfunction on_master() end\n",
    )
    .unwrap();
    let ran = check(directory.path(), &["carpd.toml"]);
    assert!(
        ran.stderr.contains("hooks/m.lua:3:3\n") && ran.stderr.contains("3 |   local x = nothing"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_missing_bracket_is_one_error() {
    let text = config(&ethernet(), "").replace("[\"192.0.2.22/24\"]", "[\"192.0.2.22/24\"");
    let ran = check(place(&text, GOOD).path(), &["carpd.toml"]);
    assert_eq!(ran.stderr.matches("error: ").count(), 1, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("carpd.toml:5:13") && ran.stderr.contains("nothing closes this `[`"),
        "{}",
        ran.stderr
    );
}

/// Some editors put a mark before a text. It counts nowhere but in a password, of which every byte
/// counts: that is said.
#[test]
fn a_byte_order_mark_is_treated_alike_everywhere() {
    let test = "test.case('c', function() test.host({ hostname = 'n' }):become('master') end)\n";
    let module = "return { say = function() log.info('here') end }\n";
    let hook = "local m = require('m')\nfunction on_master() m.say() end\n";
    let said = |bom: &str| {
        let directory = place(
            &format!("{bom}{}", config(&ethernet(), "")),
            &format!("{bom}{hook}"),
        );
        let path = directory.path();
        fs::write(path.join("hooks/m.lua"), format!("{bom}{module}")).unwrap();
        fs::write(path.join("hooks/h_test.lua"), format!("{bom}{test}")).unwrap();
        fs::write(path.join("winter.txt"), format!("{bom}end 5s\n")).unwrap();
        fs::write(
            path.join("up.sh"),
            format!("{bom}#!/bin/sh\nip addr add 192.0.2.22/24 dev lo\n"),
        )
        .unwrap();
        let runs: [&[&str]; 6] = [
            &["check", "carpd.toml"],
            &["plan", "--config", "carpd.toml", "--event", "master"],
            &[
                "rehearse",
                "a=carpd.toml",
                "b=carpd.toml",
                "--scenario",
                "winter.txt",
            ],
            &["test", "hooks"],
            &["grant", "h", "--config", "carpd.toml"],
            &["port", "up.sh"],
        ];
        runs.map(|args| {
            let ran = carpd(path, args);
            format!("{args:?} {} {}{}", ran.code, ran.stdout, ran.stderr)
        })
    };
    assert_eq!(said(BOM), said(""));
    let directory = place(&config(&ethernet(), ""), GOOD);
    fs::write(directory.path().join("web.pass"), format!("{BOM}love\n")).unwrap();
    let ran = check(directory.path(), &["carpd.toml"]);
    assert!(
        ran.code == 0 && ran.stderr.contains("begins with a byte order mark"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_grant_with_host_bits_says_what_it_means() {
    let says = |grant: &str| {
        check(
            place(&config(&ethernet(), grant), GOOD).path(),
            &["carpd.toml"],
        )
    };
    let ran = says("route = [{ dst = \"10.0.0.5/8\" }]");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("warning: `dst = \"10.0.0.5/8\"` means the whole of 10.0.0.0/8"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr
            .contains("write \"10.0.0.0/8\", or 10.0.0.5 for this one host"),
        "{}",
        ran.stderr
    );
    assert!(
        says("route = [{ dst = \"2001:db8::5/32\" }]")
            .stderr
            .contains("means the whole of 2001:db8::/32")
    );
    for right in [
        "10.0.0.0/8",
        "10.0.0.5",
        "10.0.0.5/32",
        "default",
        "0.0.0.0/0",
        "::/0",
        "2001:db8::/32",
    ] {
        assert_eq!(
            says(&format!("route = [{{ dst = \"{right}\" }}]")).stderr,
            "",
            "{right}"
        );
    }
}

#[test]
fn an_interface_that_nothing_explains_is_an_error_only_if_asked() {
    let says = |interface: &str, args: &[&str]| {
        let ran = check(
            place(&config(interface, ""), GOOD).path(),
            &[&["carpd.toml"], args].concat(),
        );
        (ran.code, ran.stderr)
    };
    let (code, said) = says("etth0", &[]);
    assert!(
        code == 0
            && said.contains(
                "warning: there is no interface etth0 here and nothing that could create it"
            ),
        "{said}"
    );
    let (code, said) = says("etth0", &["--strict"]);
    assert!(
        code == 3 && said.contains("error: there is no interface etth0 here"),
        "{said}"
    );
    // On one that is here another may be made.
    let (code, said) = says("lo.100", &["--strict"]);
    assert!(
        code == 0 && said.contains("warning: there is no interface lo.100 here now"),
        "{said}"
    );
    assert_eq!(says(&ethernet(), &["--strict"]), (0, String::new()));
}

/// What nobody else could hear.
#[test]
fn an_interface_that_leads_nowhere_is_refused() {
    let ran = check(place(&config("lo", ""), GOOD).path(), &["carpd.toml"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let (flaw, mend) = (
        "the interface lo leads to no other host",
        "hint: give the interface that leads to the other nodes",
    );
    assert!(
        ran.stderr.contains(flaw) && ran.stderr.contains(mend),
        "{}",
        ran.stderr
    );
}

/// A component that exports `health` alone and imports this function of the host, which takes so
/// many words.
fn checking_component(interface: &str, function: &str, words: u8) -> Vec<u8> {
    const I32: u8 = 0x7f;
    let list =
        |items: &[Vec<u8>]| [&[u8::try_from(items.len()).unwrap()], &*items.concat()].concat();
    let named = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let ty = |params: u8, results: u8| {
        let words = |count: u8| [vec![count], vec![I32; usize::from(count)]].concat();
        [vec![0x60], words(params), words(results)].concat()
    };
    let section = |id: u8, items: &[Vec<u8>]| {
        let content = list(items);
        [&[id, u8::try_from(content.len()).unwrap()], &*content].concat()
    };
    let export = |name: &str, kind: u8, index: u8| [named(name), vec![kind, index]].concat();
    let package = |interface: &str| format!("{}/{interface}@{}", wit::PACKAGE, wit::VERSION);
    let import = [named(&package(interface)), named(function), vec![0, 0]].concat();
    // `unreachable`, without locals.
    let body = vec![3, 0, 0x00, 0x0b];
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[ty(words, 0), ty(1, 1), ty(4, 1)]),
        section(2, &[import]),
        section(3, &[vec![1], vec![2]]),
        section(5, &[vec![0, 1]]),
        section(
            7,
            &[
                export("memory", 2, 0),
                export(&format!("{}#health", package("health")), 0, 1),
                export("cabi_realloc", 0, 2),
            ],
        ),
        section(10, &[body.clone(), body]),
    ];
    manifest::build(&module.concat(), None).unwrap()
}

#[test]
fn a_component_that_only_checks_is_told_what_it_imports_in_vain() {
    let resigns = config(&ethernet(), "carp = [\"resign\"]\nread = true").replace(".lua", ".wasm");
    let directory = place(&resigns, "");
    for (function, warning) in [
        (
            ("carp", "resign", 4),
            "h.wasm: it imports carp.resign, but its only entry point is health, which may change nothing",
        ),
        (("carp", "state", 1), ""),
    ] {
        let (interface, name, words) = function;
        let component = checking_component(interface, name, words);
        fs::write(directory.path().join("hooks/h.wasm"), component).unwrap();
        let ran = check(directory.path(), &["carpd.toml"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(
            ran.stderr.contains(warning) && ran.stderr.is_empty() == warning.is_empty(),
            "{function:?}: {}",
            ran.stderr
        );
    }
}
