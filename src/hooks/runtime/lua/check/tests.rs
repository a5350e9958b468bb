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
    // It contains one real mistake: file.write needs a content.
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

/// Things that people write in a script when they port a shell script, and that fail or do
/// something else when they run.
#[test]
fn names_that_are_nothing_or_another_variable_are_found() {
    for (source, expected) in [
        ("local Y = Y", "1: there is no Y"),
        (
            "function on_master()\n local VIP = VIP or 'x'\n log.info(VIP) end",
            "2: there is no VIP",
        ),
        (
            "local wait = function() wait() end wait()",
            "1: there is no wait",
        ),
        (
            "function f(a, b) end function g() f(c, 'd') end",
            "1: there is no c",
        ),
        (
            "for i = 1, 3 do log.info(tostring(i)) end\nlog.info(tostring(i))",
            "2: there is no i here: that of line 1 ends with its block",
        ),
        (
            "for _, unit in {'a'} do log.info(unit) end\nservice.start(unit)",
            "2: there is no unit here: that of line 1",
        ),
        (
            "if 1 < 2 then\nlocal ip = '192.0.2.1' log.info(ip)\nend\nlog.info(ip)",
            "4: there is no ip here: that of line 2",
        ),
        (
            "local ip = ''\nif config.a then\nlocal ip = '192.0.2.1'\nend\nlog.info(ip)",
            "3: nothing reads this ip, and it hides that of line 1: leave out \"local\"",
        ),
        (
            "local n = 0\nwhile n < 3 do\nlocal n = n + 1\nend",
            "3: nothing reads this n",
        ),
        (
            "local unit = 'x'\nfor _, unit in {'a'} do log.info(unit) end\nlog.info(unit)",
            "3: this is the unit of line 1: that of the loop of line 2 ended with the loop",
        ),
        (
            "local hostname = 'x'\nhostname.set(hostname)",
            "2: hostname.set: hostname is the variable of line 1 here, and not the API's",
        ),
        (
            "local hostname = config.name\nhostname.set(hostname)",
            "2: hostname.set: hostname is the variable of line 1",
        ),
        (
            "for _, service in {'a'} do\nservice.start(service)\nend",
            "2: service.start: service is the variable of line 1",
        ),
        (
            "local function go(route)\nroute.delete(route)\nend go()",
            "2: route.delete: route is the variable of line 2",
        ),
    ] {
        let said = said(source);
        assert!(
            said.len() == 1 && said[0].starts_with(expected),
            "{source}\nis said to be {said:#?}\nand not {expected}"
        );
    }
    for source in [
        "local ip = ''\nif config.a then\nlocal ip = '192.0.2.1' log.info(ip)\nend\nlog.info(ip)",
        "local unit = 'x'\nlog.info(unit)\nfor _, unit in {'a'} do log.info(unit) end\nunit = 'y'\nlog.info(unit)",
        "local x = 1 local x = 2 log.info(tostring(x))",
        "local ok, _ = true, 1 do local _ = ok end",
        "local function a() local n = 1 end local n = 2 local function b() local n = 3 end a() b() log.info(tostring(n))",
        "local route = helper().route function helper() end route.replace('default')",
        "n, m = 1, 2 log.info(tostring(n + m))",
        "function helper() return helper() end",
        "local function fail() return fail() end fail()",
    ] {
        assert_eq!(said(source), Vec::<String>::new(), "{source}");
    }
}

#[test]
fn calls_through_functions_that_pass_their_arguments_on_are_seen() {
    let try_ = "local function try(call, ...)\nlocal worked, problem = pcall(call, ...)\nreturn worked end\n";
    let run = "local function run(name, holes) return pcall(command.run, name, holes) end local function go(name, holes) return run(name, holes) end\n";
    for (head, call, expected) in [
        (
            "",
            "pcall(addr.add)",
            "addr.add: argument 1 (cidr) is missing",
        ),
        ("", "pcall(announce, 5)", "announce: argument 1"),
        (
            "",
            "xpcall(service.start, print, 'httpd', { waitms = 1 })",
            "service.start has no option \"waitms\"",
        ),
        (
            try_,
            "if try(route.replace, 'default', { via = 'x' }) then end",
            "route.replace: option via must be an address",
        ),
        (
            try_,
            "try(addr.add)",
            "addr.add: argument 1 (cidr) is missing",
        ),
        (
            "function try(call, ...) return call(...) end\n",
            "try(addr.add)",
            "addr.add: argument 1",
        ),
        (run, "go(5)", "command.run: argument 1"),
        (
            "",
            "tolerant(service).start('httpd', { waitms = 1 })",
            "service.start has no option \"waitms\"",
        ),
        (
            "",
            "tolerant(command.run, 'quiet')(5)",
            "command.run: argument 1",
        ),
        (
            "local function go(call, ...) return tolerant(call)(...) end\n",
            "go(addr.add)",
            "addr.add: argument 1",
        ),
        (
            "",
            "tolerant(service).strat('x')",
            "no function service.strat",
        ),
    ] {
        let said = said(&format!("{head}function on_master() {call} end"));
        assert!(
            said.len() == 1 && said[0].contains(expected),
            "{call}: {said:#?}"
        );
    }
    for (head, call) in [
        (try_, "try(addr.add, ...)"),
        (try_, "try(config.f, 'x')"),
        (run, "go('a')"),
        (
            "local service = tolerant(service) local ask = tolerant(command.run, 'quiet')\n",
            "service.start('x') ask('a', {})",
        ),
        // A hook may have its own.
        (
            "local function tolerant(call) return call end local addr = tolerant(addr)\n",
            "addr.add('192.0.2.1/24')",
        ),
        (
            "local function log_all(path) path = path or '/x' file.read(path) end\n",
            "log_all()",
        ),
        (
            "local function later(call, ...) local all = {...} return call(table.unpack(all)) end\n",
            "later(addr.add)",
        ),
    ] {
        let said = said(&format!("{head}function on_master(...) {call} end"));
        assert_eq!(said, Vec::<String>::new(), "{call}");
    }
}
