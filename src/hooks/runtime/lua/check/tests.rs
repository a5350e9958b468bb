use std::collections::BTreeSet;

use super::{check, globals};

fn said(source: &str) -> Vec<String> {
    let findings = check(source.as_bytes(), &BTreeSet::new()).expect("it is understood");
    findings
        .into_iter()
        .map(|finding| format!("{}: {}", finding.line, finding.message))
        .collect()
}

#[test]
fn mistakes_in_branches_that_never_run_are_found() {
    let source = r#"
function on_master(event)
  if event.seq < 0 then
    hostname.sett("x")
    service.start("httpd", { waitms = 5 })
    route.replace("default", { via = "not an address" })
    addr.add()
    log.info("a", {}, 3)
    hostnam.set("x")
    sysctl.set("a", 1)
    hostname:set("x")
    hostname["gett"]()
    rule.replace({ table = 100 })
    clock.sleep(-1)
    local function never() undefined_function(1) end
  end
end
"#;
    let said = said(source);
    let expected = [
        "4: no function hostname.sett; did you mean hostname.set?",
        "5: service.start has no option \"waitms\"; did you mean wait_ms?",
        "6: route.replace: option via must be an address",
        "7: addr.add: argument 1 (cidr) is missing",
        "8: log.info takes at most 2 arguments, not 3",
        "9: there is no hostnam; did you mean hostname?",
        "10: sysctl.set: argument 2 (value) must be text, not a number",
        "11: hostname:set: functions of the API are called with a dot",
        "12: no function hostname.gett",
        "13: rule.replace: option priority is missing",
        "15: there is no undefined_function",
    ];
    for (line, expected) in said.iter().zip(expected) {
        assert!(
            line.starts_with(expected),
            "{line}\nis not\n{expected}\nin {said:#?}"
        );
    }
    assert_eq!(said.len(), expected.len(), "{said:#?}");
}

#[test]
fn what_may_be_right_is_left_alone() {
    let source = r##"#!/usr/bin/env luau
--!strict
type Node = { name: string, [string]: number }
export type Maybe<T> = T? | (number, ...string) -> (boolean, string)
local helper = require("./helper")
local route = helper.route -- a local of the same name
local x: number?, y: Node = 1, nil :: any
global_of_mine = 3
local function f<T>(a: T, ...: string): (T, number) return a, select("#", ...) end
local function build(): { string } return {} end
function on_master(event: any)
  route.anything(1, 2, 3, 4)
  hostname.set(config.name or `node{event.seq}x{ ({1})[1] }`)
  hostname.set(f("a"))
  service.start(helper.unit(), helper.options())
  addr.add(table.unpack(build()))
  log.info(if x then "a" elseif y then "b" else "c", { [1] = 2, a = 1e3, b = 0xff, c = 1_000 })
  for i, value in ipairs({ 1, 2; 3 }) do
    if value == 2 then continue end
    x += value // 2
  end
  repeat local done = true until done
  while not x do break end
  print(global_of_mine, [==[ ]] ]==], "\u{41}", #build(), -x ^ 2 .. "")
  file.write "/run/x" -- short call
  announce("192.0.2.1", { count = 2 })
  pcall(function(...) log.debug("x", { n = select("#", ...) }) end)
  local method = string.upper
  local text = ("x"):rep(3)
  command.run("promote", { resource = "r0" }, { wait_ms = 10 })
  rule.replace(helper.rule)
end
"##;
    // One real mistake stands in it: file.write needs a content.
    assert_eq!(
        said(source),
        ["25: file.write: argument 2 (content) is missing: a string"]
    );
}

#[test]
fn the_hooks_that_carpd_writes_and_shows_are_right() {
    let example = include_str!("../../../../../examples/hooks/failover.lua");
    assert_eq!(said(example), Vec::<String>::new());
    for function in crate::hooks::contract::api::FUNCTIONS {
        let source = format!(
            "function on_master() local _ = {} end",
            function.example.trim_start_matches("local started = ")
        );
        assert_eq!(said(&source), Vec::<String>::new(), "{source}");
    }
}

#[test]
fn a_module_may_define_what_another_uses() {
    let (main, module) = (
        b"require('m') function on_master() helper() end".as_slice(),
        b"function helper() end".as_slice(),
    );
    assert_eq!(
        check(main, &globals([main, module].into_iter())),
        Some(vec![])
    );
    assert_eq!(
        check(main, &BTreeSet::new()).map(|found| found.len()),
        Some(1)
    );
}

#[test]
fn hostile_texts_end() {
    let deep = |n: usize| format!("x = {}1{}", "(".repeat(n), ")".repeat(n));
    for source in [
        deep(100_000),
        "`{".repeat(50_000),
        "[[".to_owned(),
        "\"".to_owned(),
        "function ".repeat(9),
        "--[[".to_owned(),
    ] {
        assert_eq!(
            check(source.as_bytes(), &BTreeSet::new()).unwrap_or_default(),
            []
        );
    }
    let types = format!("local x: {} = 1", "(".repeat(100_000));
    assert_eq!(check(types.as_bytes(), &BTreeSet::new()), None);
    assert_eq!(check(&[0xff, 0xfe], &BTreeSet::new()), None);
}
