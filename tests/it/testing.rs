//! `carpd test`: what the repository ships passes, what is wrong is found and shown, nothing runs
//! away.

mod errors;
mod hosts;
mod library;
mod limits;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use carpd::process::Patience;
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
    serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr))
}

fn passes(directory: &Path, args: &[&str]) -> String {
    let ran = test(directory, args);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    ran.stdout
}

#[test]
fn the_example_hooks_pass_their_tests_with_every_line_run() {
    let said = passes(
        &root(),
        &[
            "examples/hooks",
            "--coverage",
            "--fail-under",
            "100",
            "--faults",
            "--fuzz",
            "10",
        ],
    );
    assert!(
        said.contains("failover.lua: 8 of 8 lines") && said.contains(", 0 failed"),
        "{said}"
    );
    let hooks = fs::read_dir(root().join("examples/hooks"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let hooks = hooks.filter(|path| {
        path.extension().is_some_and(|e| e == "lua")
            && !path.to_str().unwrap().ends_with("_test.lua")
    });
    for hook in hooks {
        assert!(
            said.contains(&format!(
                "({})",
                hook.strip_prefix(root()).unwrap().display()
            )),
            "{} has no test",
            hook.display()
        );
    }
}

const HOOK: &str = "\
function before_master() log.info('Asked') end
function on_master(event)
  hostname.set('master')
  service.start('httpd')
  log.info('Took over', { cause = event.cause })
end
function on_backup(event)
  hostname.set('backup')
end
function health()
  if service.status('httpd') == 'active' then return true end
  return 100, 'httpd is down'
end
function on_stop() log.warn('Bye') end
";

const TOML: &str = "\
[hook.h]
source = \"elsewhere/h.lua\"
timeout = \"5s\"
[hook.h.grant]
hostname = [\"master\", \"backup\"]
service = [{ unit = \"httpd\", do = [\"start\", \"stop\"] }]
";

/// The failures of a run, by the case's name.
fn failures(report: &Json) -> Vec<(String, String)> {
    let cases = report["files"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|file| file["cases"].as_array().unwrap());
    let failed = cases.filter(|case| case["passed"] == false);
    let text = |json: &Json| json.as_str().unwrap().to_owned();
    failed
        .map(|case| {
            (
                text(&case["name"]),
                format!(
                    "{}: {}",
                    case["failure"]["line"],
                    text(&case["failure"]["message"])
                ),
            )
        })
        .collect()
}

#[test]
fn what_differs_is_shown_with_its_line_in_every_form() {
    let test_file = "\
test.case('short & sweet', function()
  local h = test.host({ hostname = 'node' })
  h:become('master')
  h:expect_plan([[
    hostname.set master
    service.start nginx
  ]])
end)
test.case('fine', function() print('\\27[31mred') end)
";
    let directory = place(HOOK, TOML, test_file);
    let ran = test(directory.path(), &["--junit", "report.xml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    for line in [
        "h_test.lua (h.lua)\n",
        "  FAILED  short & sweet\n          h_test.lua:4: the plan differs\n",
        "              hostname.set master | hostname.set master\n            ! service.start nginx | service.start httpd\n",
        "  ok      fine\n          \\u{1b}[31mred\n",
        "1 passed, 1 failed\n",
    ] {
        assert!(ran.stdout.contains(line), "{line}\n{}", ran.stdout);
    }
    let report = json(directory.path(), &[]);
    let failure = &report["files"][0]["cases"][0]["failure"];
    assert_eq!(
        (&failure["line"], &failure["file"]),
        (&4.into(), &"h_test.lua".into())
    );
    assert_eq!(failure["expected"][1], "service.start nginx");
    assert_eq!(failure["actual"][1], "service.start httpd");
    assert_eq!(
        (&report["passed"], &report["failed"]),
        (&1.into(), &1.into())
    );
    let xml = fs::read_to_string(directory.path().join("report.xml")).unwrap();
    assert!(
        xml.contains("<testsuites name=\"carpd test\" tests=\"2\" failures=\"1\">"),
        "{xml}"
    );
    assert!(
        xml.contains("<testcase name=\"short &amp; sweet\" classname=\"h_test.lua\""),
        "{xml}"
    );
    assert!(
        xml.contains("<failure message=\"the plan differs\">h_test.lua:4: the plan differs&#10;"),
        "{xml}"
    );
}

#[test]
fn a_virtual_host_is_played_as_the_daemon_would() {
    let test_file = "\
test.case('events', function()
  local h = test.host({ hostname = 'node', addresses = { '10.0.0.1/24', '2001:db8::1/64' } })
  h:expect_state('init')
  h:become('master', { cause = 'preempt', peer = '10.0.0.9' })
  h:expect_log('info Asked')
  h:expect_log('info Took over cause=preempt')
  test.equal(h:addresses(), { '10.0.0.1/32', '2001:db8::1/128' })
  test.equal(h:health(), { demotion = 0, reason = '' })
  h:change({ units = { httpd = 'inactive' } })
  test.equal(h:health(), { demotion = 100, reason = 'httpd is down' })
  h:stop()
  h:expect_plan('hostname.set backup')
  test.equal(#h:log(), 3)
  test.equal(h:log()[3].level, 'warn')
  h:expect_undone()
  test.equal(h:trace()[1], 'addr.add 10.0.0.1/32 dev eth0')
end)
test.case('undoing is in the reverse order', function()
  local h = test.host({ hostname = 'node' })
  h:become('master')
  h:become('backup')
  h:expect_undone('service.stop httpd')
  test.equal(h:hostname(), 'backup')
end)
test.case('a failed on_backup is tried again, ever more seldom', function()
  local h = test.host({ hostname = 'node' })
  h:fail('hostname.set backup', 'not now', { times = 3 })
  h:become('backup')
  h:expect_error('not now')
  h:expect_plan('hostname.set backup (failed)')
  h:advance('6s')
  h:expect_error('not now')
  h:expect_plan('hostname.set backup (failed)\\nhostname.set backup (failed)')
  h:advance('1s')
  h:expect_plan('hostname.set backup')
  h:expect_undone()
end)
test.case('an undo that fails is tried again', function()
  local h = test.host({ hostname = 'node' })
  h:become('master')
  h:fail('service.stop', 'busy', { times = 1 })
  h:become('backup')
  test.equal(h:service('httpd'), 'active')
  h:advance(1)
  test.equal(h:service('httpd'), 'inactive')
  h:expect_undone()
end)
test.case('a run is overtaken', function()
  local h = test.host({ units = { httpd = { start = '4s' } } })
  h:become('master', { wait = false })
  test.equal({ h:now(), h:state(), h:service('httpd') }, { 0, 'master', 'inactive' })
  h:advance('3s')
  h:become('backup')
  test.equal(h:now(), 3)
  h:expect_undone()
end)
test.case('or comes to its end', function()
  local h = test.host({ units = { httpd = { start = '4s' } } })
  h:become('master', { wait = false })
  h:advance('4s')
  test.equal(h:service('httpd'), 'active')
  h:expect_plan('hostname.set master\\nservice.start httpd')
end)
test.case('a process that is killed is a failed run', function()
  local h = test.host({ hostname = 'node' })
  h:kill('service.start', { times = 1 })
  h:become('master')
  h:expect_error('the runner ended')
  h:expect_undone()
  h:become('master')
  test.equal(h:service('httpd'), 'active')
end)
test.case('nobody took over the last time', function()
  local h = test.host({ units = { httpd = 'fails' } })
  h:become('master')
  h:expect_error('httpd.service failed to start')
  h:expect_state('backup')
  h:become('master')
  h:expect_error()
  h:expect_state('master')
  h:heal()
  h:advance('1s')
  test.equal(h:service('httpd'), 'active')
end)
";
    let directory = place(HOOK, TOML, test_file);
    let said = passes(directory.path(), &[]);
    assert!(said.contains("8 passed, 0 failed"), "{said}");
}

#[test]
fn other_hosts_answer_as_the_test_says() {
    let hook = "\
function health()
  local answer = http.get('http://10.0.0.1/ready')
  if answer.status ~= 200 then return 50, answer.body end
  return pcall(tcp.connect, '10.0.0.1:443')
end
";
    let toml = "[hook.h]\nsource = \"h.lua\"\n[hook.h.grant]\nhttp = [{ url = \"http://10.0.0.1/ready\", do = [\"get\"] }]\ntcp = [\"10.0.0.1:443\"]\n";
    let test_file = "\
local url = 'http://10.0.0.1/ready'
test.case('all is well', function()
  local h = test.host({ http = { [url] = {} }, listening = { '10.0.0.1:443' } })
  test.equal(h:health().demotion, 0)
end)
test.case('it is not', function()
  local h = test.host({ http = { [url] = { status = 503, body = 'warming up' } } })
  test.equal(h:health(), { demotion = 50, reason = 'warming up' })
  h = test.host({ http = { [url] = { status = 200 } } })
  test.equal(h:health().demotion, 240)
end)
";
    passes(place(hook, toml, test_file).path(), &[]);
}

#[test]
fn every_wrong_call_names_itself_and_its_line() {
    let cases = [
        (
            "test.host({ hostnme = 'x' })",
            "test.host: there is no option hostnme; did you mean hostname?",
        ),
        (
            "test.host({ addresses = { 'x' } })",
            "test.host: \"x\" is not an IPv4 or IPv6 address",
        ),
        (
            "test.host({ units = { httpd = 'sometimes' } })",
            "none of active, inactive, fails, hangs, missing",
        ),
        (
            "test.host({ routes = { 'default over x' } })",
            "none of via, dev, src, metric, table",
        ),
        (
            "test.host({ grants = { hostnames = {} , x = 1} })",
            "test.host: grants: unknown field",
        ),
        ("test.host({ vhid = 0 })", "vhid"),
        (
            "test.host():becom('master')",
            "no function h:becom; did you mean h:become?",
        ),
        (
            "test.host().become('master')",
            "write h:become(...), with a colon",
        ),
        (
            "test.host():become('slave')",
            "h:become: \"slave\" is neither",
        ),
        (
            "test.host():become('master', { cuase = 'x' })",
            "did you mean cause?",
        ),
        (
            "test.host():become('master', { cause = 'x' })",
            "no cause \"x\"; there are startup, master-down",
        ),
        ("test.host():advance('soon')", "h:advance: \"soon\""),
        (
            "test.host():advance(-1)",
            "h:advance: a time is not negative",
        ),
        (
            "test.host():peer_claim()",
            "only a master hears a worse master",
        ),
        (
            "test.host():expect_plan()",
            "plan must be text, not nothing",
        ),
        ("test.host():expect_error('x')", "no run failed"),
        ("test.host():expect_denied()", "nothing was refused"),
        ("test.host():expect_log('x')", "it is: empty"),
        (
            "test.host():expect_state('master')",
            "expected master, it is init",
        ),
        (
            "local h = test.host(); h:become('master'); h:expect_undone()",
            "it is still master",
        ),
        (
            "test.equal({ a = { 1, 'x' } }, { a = { 1, 'y' } }, 'note')",
            "note: expected { a = { 1, \"y\" } }, got { a = { 1, \"x\" } }",
        ),
        ("assert(false, 'asserted')", "asserted"),
        ("error({ code = 1 })", "{code = 1}"),
        (
            "service.start('httpd')",
            "a test does not call service itself",
        ),
        ("test.cas('x')", "did you mean test.case?"),
        (
            "file.read('/etc/shadow')",
            "a test does not call file itself",
        ),
        ("require('secret')", "there is no such module"),
        (
            "local h = test.host({ grants = {} }); h:become('master')",
            "on_master failed, and no expect_error said so: h.lua:3: hostname.set: not granted",
        ),
        (
            "pcall(function() test.equal(1, 2) end)",
            "expected 2, got 1",
        ),
        (
            "local h = test.host({ files = { ['/x'] = false }, strict = true, units = { x = 'missing' } }); h:become('master')",
            "Unit httpd.service not found",
        ),
    ];
    let text: String = cases
        .iter()
        .enumerate()
        .map(|(n, (code, _))| format!("test.case('{n}', function() {code} end)\n"))
        .collect();
    let directory = place(HOOK, TOML, &text);
    let found = failures(&json(directory.path(), &[]));
    assert_eq!(found.len(), cases.len(), "{found:#?}");
    for (n, ((name, message), (code, says))) in found.iter().zip(&cases).enumerate() {
        assert_eq!(*name, n.to_string());
        assert!(
            message.starts_with(&format!("{}: ", n + 1)) && message.contains(says),
            "{code}\n{message}"
        );
    }
}

#[test]
fn a_test_file_that_cannot_be_used_is_told() {
    for (text, line, says) in [
        ("test.case('a'", 1, "Expected"),
        ("", 0, "it has no case"),
        ("x = 1\ntest.case('a')", 2, "must be a function"),
        (
            "test.case('a', print)\ntest.case('a', print)",
            2,
            "there is a case of this name already",
        ),
        (
            "for n = 1, 3000 do test.case(string.rep('x', 10000) .. n, print) end",
            1,
            "the name of a case has at most 200 bytes, this one has 10001",
        ),
        ("local h = test.host()", 1, "not while the file is loaded"),
        ("while true do end", 0, "ran longer than its budget of 2s"),
        ("test.case('\\n', function() end) error('late')", 1, "late"),
    ] {
        let directory = place(HOOK, TOML, text);
        let report = json(directory.path(), &[]);
        let fault = &report["files"][0]["faults"][0];
        assert!(
            fault["message"].as_str().unwrap_or_default().contains(says),
            "{text}: {report}"
        );
        assert_eq!(
            fault["line"].as_u64().unwrap_or(0),
            line,
            "{text}: {report}"
        );
    }
    let directory = place(
        "function on_mastre() end",
        TOML,
        "test.case('a', function() end)",
    );
    let report = json(directory.path(), &[]);
    assert!(
        report["files"][0]["faults"][0]["message"]
            .as_str()
            .unwrap()
            .contains("did you mean on_master?"),
        "{report}"
    );
}

/// What the daemon does by itself about a hook that fails, and about its health.
#[test]
fn what_follows_by_itself_is_what_the_daemon_does() {
    let failing = "function on_master() hostname.set('master') error('boom') end\n\
                   function on_backup() log.info('on_backup') end\n\
                   function health() return service.status('httpd') == 'active' end\n";
    let runs = "local function runs(h, of)\n\
                  local n = 0\n\
                  for _, line in h:trace() do if line == of then n += 1 end end\n\
                  return n\n\
                end\n";
    let keep = format!(
        "{runs}\
test.case('kept, and tried again ever more seldom', function()
  local h = test.host({{ hostname = 'node' }})
  h:become('master')
  h:expect_error('boom')
  for tries, pause in {{ '1s', '2s', '4s', '8s' }} do
    h:advance(pause)
    h:expect_error('boom')
    h:expect_state('master')
    test.equal(runs(h, 'hostname.set master'), tries + 1)
  end
  test.equal(runs(h, 'hostname.set node'), 0)
end)
test.case('health rises and falls', function()
  local h = test.host({{ health = true, units = {{ httpd = 'active' }} }})
  h:become('backup')
  h:advance('10s')
  test.equal(h:demotion(), 0)
  h:change({{ units = {{ httpd = 'inactive' }} }})
  h:advance('3s')
  test.equal(h:demotion(), 0)
  h:advance('3s')
  test.equal(h:demotion(), 240)
  h:change({{ units = {{ httpd = 'active' }} }})
  h:advance('5s')
  test.equal(h:demotion(), 0)
end)
"
    );
    let toml = TOML.replace("timeout", "on-failure = \"keep\"\ntimeout");
    passes(place(failing, &toml, &keep).path(), &[]);
    // Handed over once, and nobody took over: it stays, and nothing is undone between the tries.
    let resign = format!(
        "{runs}\
test.case('the second time', function()
  local h = test.host({{ hostname = 'node' }})
  h:become('master')
  h:expect_error('boom')
  h:expect_state('backup')
  test.equal(runs(h, 'hostname.set node'), 1)
  h:become('master')
  h:expect_error('boom')
  h:advance('3500ms')
  h:expect_error('boom')
  h:expect_state('master')
  test.equal({{ runs(h, 'hostname.set master'), runs(h, 'hostname.set node') }}, {{ 4, 1 }})
end)
"
    );
    passes(place(failing, TOML, &resign).path(), &[]);
}

#[test]
fn a_hostile_test_or_hook_ends_and_the_next_case_runs() {
    let test_file = "\
test.case('loops', function() while true do end end)
test.case('eats', function() local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 1e6) .. i end end)
test.case('recurses', function() local function f() return f() + 1 end f() end)
test.case('asks', function() local h = test.host() for i = 1, 20000 do h:state() end end)
test.case('breeds', function() for i = 1, 2000 do test.host() end end)
test.case('shouts', function() for i = 1, 5000 do print(string.rep('x', 1000)) end end)
test.case('nests', function() local t = {} for i = 1, 100 do t = { t } end test.host({ config = t }) end)
test.case('waits', function() local h = test.host() h:advance(1e300) end)
test.case('breaks the other', function() local h = test.host({ config = { how = 'loop' } }) h:become('master') h:expect_error('1s') h:expect_undone() end)
test.case('fills the other', function() local h = test.host({ config = { how = 'fill' } }) h:become('master') h:expect_error('memory') h:expect_undone() end)
test.case('lets the other sleep', function() local h = test.host({ config = { how = 'sleep' } }) h:become('master') h:expect_error('5s') test.equal(h:now(), 5) end)
test.case('after all that', function() test.equal(1, 1) end)
";
    let hook = "\
function on_master()
  if config.how == 'loop' then while true do end end
  if config.how == 'fill' then local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 1e6) .. i end end
  if config.how == 'sleep' then while true do clock.sleep(1000) end end
end
";
    let directory = place(hook, TOML, test_file);
    let found = failures(&json(directory.path(), &[]));
    let says = |name: &str| {
        found
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, message)| message.as_str())
    };
    for (name, wanted) in [
        ("loops", "ran longer than its budget of 2s"),
        ("eats", "used more memory"),
        ("recurses", "stack overflow"),
        ("asks", "more than 10000 calls in one case"),
        ("breeds", "more than 1000 hosts"),
        ("nests", "nested deeper"),
        ("waits", "a time"),
    ] {
        assert!(says(name).contains(wanted), "{name}: {found:#?}");
    }
    assert_eq!(found.len(), 7, "{found:#?}");
}

#[test]
fn a_hook_that_does_half_of_it_is_found_out() {
    let half = "\
function on_master()
  if pcall(hostname.set, 'master') then service.start('httpd') end
end
";
    let greedy = "\
function on_master() service.start('httpd') end
function on_backup(event) addr.add(event.instance.addresses[1]) end
";
    let forgetful = "\
function on_master() service.start('httpd') end
function on_backup() if service.status('httpd') ~= 'active' then error('it was gone') end end
";
    let sweep = "test.faults('faults', { hostname = 'node' })\ntest.histories('histories', { hostname = 'node' }, 50)\n";
    let found = |hook: &str| failures(&json(place(hook, TOML, sweep).path(), &[]));
    let half = found(half);
    let (name, message) = &half[0];
    assert_eq!((half.len(), name.as_str()), (1, "faults"), "{half:#?}");
    assert!(message.contains("1: becoming master, when effect 1 (hostname.set master) fails: the hook ended well, and not everything is done: service httpd is absent, not running"), "{message}");
    let greedy = found(greedy);
    assert!(
        greedy.iter().any(|(name, m)| name == "histories"
            && m.contains("192.0.2.22/24 is up, and this is no master")),
        "{greedy:#?}"
    );
    assert!(
        greedy
            .iter()
            .any(|(_, m)| m.contains("after this history (seed 1, history ")
                && m.contains("\n  h:become(\"backup\"")),
        "{greedy:#?}"
    );
    let forgetful = found(forgetful);
    let says = "when effect 1 (service.start httpd) fails: on_backup does not end well any more: h.lua:2: it was gone";
    assert!(
        forgetful
            .iter()
            .any(|(name, m)| name == "faults" && m.contains(says)),
        "{forgetful:#?}"
    );
}

#[test]
fn a_hook_that_is_called_again_or_left_alone_is_not_accused_of_ending_well() {
    let hook = "function on_master() hostname.set('master') service.start('httpd') end\n";
    let sweep = "test.faults('faults', { hostname = 'node' })\n";
    for on_failure in ["keep", "ignore"] {
        let toml = TOML.replace(
            "timeout",
            &format!("on-failure = \"{on_failure}\"\ntimeout"),
        );
        passes(place(hook, &toml, sweep).path(), &[]);
    }
}

#[test]
fn plans_are_written_into_the_test_and_nothing_else_is() {
    let test_file = "\
-- A comment with expect_plan([[ in it.
test.case('a', function()
  local h = test.host({ hostname = 'node' })
  h:become('master')
  h:expect_plan([[
    nothing of this
  ]])
  h:become('backup')
  h:expect_plan[==[]==]
  h:expect_undone([[service.stop nginx]])
end) -- the end
";
    let directory = place(HOOK, TOML, test_file);
    let ran = test(directory.path(), &["--update"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (0, "wrote h_test.lua: 3 plans\n"),
        "{}",
        ran.stdout
    );
    let updated = fs::read_to_string(directory.path().join("h_test.lua")).unwrap();
    let wanted = test_file
        .replace(
            "    nothing of this\n  ]]",
            "hostname.set master\nservice.start httpd\n  ]]",
        )
        .replace("[==[]==]", "[==[\nhostname.set backup\n]==]")
        .replace("[[service.stop nginx]]", "[[\nservice.stop httpd\n]]");
    assert_eq!(updated, wanted);
    assert_eq!(
        test(directory.path(), &["--update"]).stderr,
        "",
        "nothing is left to write"
    );
    passes(directory.path(), &[]);
}

#[test]
fn coverage_is_counted_by_line_and_may_be_demanded() {
    let hook = "\
local lib = require('lib/more')
function on_master(event)
  if event.cause == 'preempt' then
    lib.never()
  end
  lib.always()
end
";
    let directory = place(
        hook,
        TOML,
        "test.case('a', function() test.host():become('master') end)\n",
    );
    fs::create_dir(directory.path().join("lib")).unwrap();
    fs::write(
        directory.path().join("lib/more.lua"),
        "return {\n  always = function() return 1 end,\n  never = function()\n    return 2\n  end,\n}\n",
    )
    .unwrap();
    let ran = test(directory.path(), &["--coverage", "--lcov", "out.info"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(
        ran.stdout.contains("h.lua: 4 of 5 lines  not run: 4\n"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .contains("lib/more.lua: 2 of 3 lines  not run: 4\n"),
        "{}",
        ran.stdout
    );
    let lcov = fs::read_to_string(directory.path().join("out.info")).unwrap();
    let file = fs::canonicalize(directory.path()).unwrap().join("h.lua");
    assert!(
        lcov.contains(&format!("SF:{}\n", file.display()))
            && lcov.contains("DA:4,0\n")
            && lcov.contains("LF:5\nLH:4\n"),
        "{lcov}"
    );
    let low = test(directory.path(), &["--fail-under", "90"]);
    assert_eq!(
        (low.code, low.stderr.as_str()),
        (1, "error: 75.0 % of the lines ran, less than 90 %\n")
    );
    assert_eq!(test(directory.path(), &["--fail-under", "75"]).code, 0);
}

#[test]
fn a_component_passes_the_test_of_its_lua_twin() {
    let directory = tempfile::tempdir().unwrap();
    let copy =
        |from: &str, to: &str| fs::copy(root().join(from), directory.path().join(to)).unwrap();
    copy("examples/hooks/failover.lua", "failover.lua");
    copy("examples/hooks/failover_test.lua", "failover_test.lua");
    copy("plugins/failover/failover.wasm", "failover.wasm");
    let toml = fs::read_to_string(root().join("examples/carpd.toml")).unwrap();
    fs::write(
        directory.path().join("failover.toml"),
        &toml[toml.find("[hook.failover]").unwrap()..],
    )
    .unwrap();
    let said = passes(directory.path(), &["--coverage", "--filter", "a"]);
    assert!(
        said.contains("failover.wasm: 6 of 6 functions called")
            && said.contains("failover.lua: 8 of 8 lines"),
        "{said}"
    );
    fs::write(
        directory.path().join("failover_test.lua"),
        "test.case('a', function() test.host():become('master') end)",
    )
    .unwrap();
    let low = test(directory.path(), &["failover.wasm", "--fail-under", "100"]);
    assert_eq!(
        (low.code, low.stderr.as_str()),
        (
            1,
            "error: 66.7 % of the functions were called, less than 100 %\n"
        )
    );
}

#[test]
fn grants_come_from_where_an_operator_would_write_them() {
    let case = "test.case('a', function() test.host():become('master') end)\n";
    let directory = place(HOOK, TOML, case);
    let path = |name: &str| directory.path().join(name);
    passes(directory.path(), &["h.lua"]);
    fs::rename(path("h.toml"), path("kept.toml")).unwrap();
    assert_eq!(
        test(directory.path(), &["h_test.lua"]).code,
        1,
        "nothing is granted"
    );
    passes(directory.path(), &["--grants", "kept.toml"]);
    fs::write(
        path("h.grants.toml"),
        &TOML[TOML.find("hostname").unwrap()..],
    )
    .unwrap();
    passes(directory.path(), &[]);
    fs::remove_file(path("h.grants.toml")).unwrap();
    let whole = TOML
        .replace("hook.h", "hook.other")
        .replace("elsewhere/h.lua", "h.lua");
    fs::write(
        path("carpd.toml"),
        format!("[[vhost]]\nname = \"w\"\npassword-file = \"/nonexistent\"\n{whole}"),
    )
    .unwrap();
    passes(directory.path(), &[]);
    let none = test(directory.path(), &["--config", "kept.toml"]);
    assert_eq!(none.code, 0, "{}", none.stderr);
    fs::write(path("carpd.toml"), TOML.replace("hostname", "hostnme")).unwrap();
    let bad = test(directory.path(), &[]);
    assert_eq!(bad.code, 3, "{}", bad.stdout);
    assert!(
        bad.stderr.contains("did you mean `hostname`?"),
        "{}",
        bad.stderr
    );
}

#[test]
fn what_is_not_there_and_what_makes_no_sense_has_its_exit_code() {
    let empty = tempfile::tempdir().unwrap();
    for (args, code, says) in [
        (
            vec![],
            1,
            "error: no tests found\nhint: the test of failover.lua is failover_test.lua",
        ),
        (vec!["nowhere.lua"], 1, "error: there is no nowhere.lua\n"),
        (vec!["--fail-under", "101"], 2, "101"),
        (vec!["--config", "a", "--grants", "b"], 2, "--grants"),
        (vec!["--watch", "--json"], 2, "--json"),
    ] {
        let ran = test(empty.path(), &args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
    }
    let directory = place(HOOK, TOML, "test.case('a', function() end)");
    assert!(
        test(directory.path(), &["--filter", "b"])
            .stderr
            .contains("no case has this text")
    );
    fs::write(directory.path().join("alone.lua"), HOOK).unwrap();
    assert!(
        test(directory.path(), &["alone.lua"])
            .stderr
            .contains("there is no alone_test.lua next to")
    );
}

#[test]
fn a_new_hook_passes_at_once() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(carpd(directory.path(), &["new", "hook", "mine"]).code, 0);
    let said = passes(directory.path(), &["mine", "--faults", "--fuzz", "10"]);
    assert!(said.contains("3 passed, 0 failed"), "{said}");
}

#[test]
fn a_hundred_cases_share_a_runner_and_are_done_at_once() {
    let case = |n: u32| {
        format!(
            "test.case('{n}', function()\n  local h = test.host({{ hostname = 'node' }})\n  h:become('master')\n  h:become('backup')\n  h:expect_undone()\nend)\n"
        )
    };
    let text: String = (0..100).map(case).collect();
    let directory = place(HOOK, TOML, &text);
    let report = json(directory.path(), &[]);
    assert_eq!(
        (&report["passed"], &report["failed"]),
        (&100.into(), &0.into())
    );
    assert_eq!(
        report["files"][0]["runners"], 1,
        "one process served them all"
    );
    let ms: f64 = report["files"][0]["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| case["ms"].as_f64().unwrap())
        .sum();
    // A second is the aim for an optimised build; this one is not, and other tests run beside it.
    assert!(ms < 5000.0, "{ms}");
}

#[test]
fn a_changed_file_is_tested_again() {
    use std::io::{BufRead as _, BufReader};
    let directory = place(
        HOOK,
        TOML,
        "test.case('a', function() test.equal(1, 2) end)",
    );
    let mut command = std::process::Command::new(super::hooks::CARPD);
    command
        .args(["test", "--watch"])
        .current_dir(directory.path())
        .stdin(std::process::Stdio::null());
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(lines.any(|line| line == "0 passed, 1 failed"));
    fs::write(
        directory.path().join("h_test.lua"),
        "test.case('a', function() test.equal(1, 1) end)",
    )
    .unwrap();
    assert!(lines.any(|line| line == "1 passed, 0 failed"));
    child.kill().unwrap();
    child.wait().unwrap();
}
