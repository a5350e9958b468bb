//! More than one hook on a virtual host, more than one virtual host on a host, and states that
//! nobody was told of.

use std::fs;

use super::{failures, json, passes, place};

const HOOK: &str = "\
function on_master(event)
  hostname.set(event.instance.name)
  service.start('httpd')
end
function on_backup() log.info('Is backup') end
function health() return service.status('httpd') == 'active' end
";

const TOML: &str = "\
[hook.h]
source = \"h.lua\"
[hook.h.grant]
hostname = [\"test\", \"db\"]
service = [{ unit = \"httpd\", do = [\"start\", \"stop\"] }]
[hook.fence]
source = \"hooks/fence.lua\"
on-failure = \"ignore\"
config = { mark = 7 }
[hook.fence.grant]
rule = [{ table = 100 }]
[hook.lost]
source = \"hooks/lost.lua\"
[hook.old]
kind = \"script\"
up = \"/bin/true\"
";

const FENCE: &str = "\
function on_master()
  rule.replace({ from = '192.0.2.22', table = 100, priority = 1000 + config.mark })
  hostname.set('fence')
end
function on_backup() log.warn('Is open') end
function health() return 40, 'open' end
";

/// A directory with a hook, the one beside it, and a test of the first.
fn pair(test: &str) -> tempfile::TempDir {
    let directory = place(HOOK, TOML, test);
    fs::create_dir(directory.path().join("hooks")).unwrap();
    fs::write(directory.path().join("hooks/fence.lua"), FENCE).unwrap();
    directory
}

#[test]
fn hooks_run_in_their_order_each_with_its_own_grants_and_failure_policy() {
    let test = "\
local function ran(h)
  local ran = {}
  for at, call in h:calls() do ran[at] = call.hook .. ' ' .. call.entry .. ' ' .. call.outcome end
  return ran
end
test.case('the fence may fail', function()
  local h = test.host({ hostname = 'node', hooks = { 'fence', 'h' } })
  h:become('master')
  h:expect_plan([[
    rule.replace priority 1007 from 192.0.2.22/32 table 100
    hostname.set fence (denied)
    hostname.set test
    service.start httpd
  ]])
  h:expect_denied('hostname.set')
  h:expect_state('master')
  test.equal(ran(h), { 'fence on_master failed', 'h on_master done' })
  test.equal(h:health(), { demotion = 40, reason = 'open' })
  h:become('backup')
  h:expect_undone([[
    service.stop httpd
    hostname.set node
    rule.delete priority 1007 from 192.0.2.22/32 table 100
  ]])
  test.equal({ ran(h)[3], ran(h)[4] }, { 'h on_backup done', 'fence on_backup done' })
  test.equal({ h:log()[1].hook, h:log()[2].hook }, { 'h', 'fence' })
  h:expect_undone()
end)
test.case('the fence alone', function()
  local h = test.host({ hooks = { 'fence' } })
  h:become('master')
  h:expect_error('hostname.set')
  test.equal(ran(h), { 'fence on_master failed' })
end)
test.case('grants of the host are those of the tested hook', function()
  local h = test.host({ hooks = { 'fence', 'h' }, grants = {} })
  h:become('master')
  h:expect_error('hostname.set')
  h:expect_state('backup')
  test.equal(h:undone()[1], 'rule.delete priority 1007 from 192.0.2.22/32 table 100')
end)
";
    passes(pair(test).path(), &["h.lua"]);
}

#[test]
fn a_hook_that_is_not_to_be_had_is_named_with_the_reason() {
    let cases = [
        (
            "fenc",
            "hook fenc: the configuration that has the tested hook has no [hook.NAME] of it",
        ),
        ("lost", "hook lost: "),
        ("old", "hook old: it is a program, and no test runs those"),
    ];
    let text: String = cases
        .iter()
        .map(|(hook, _)| {
            format!("test.case('{hook}', function() test.host({{ hooks = {{ '{hook}' }} }}) end)\n")
        })
        .collect();
    let text = text
        + "test.case('fence', function()\n  local h = test.host({ hooks = { 'fence' } })\n  h:become('master')\nend)\n";
    let found = failures(&json(pair(&text).path(), &["h.lua"]));
    for ((name, message), (hook, says)) in found.iter().zip(&cases) {
        assert!(name == hook && message.contains(says), "{found:#?}");
    }
    let (_, unexpected) = &found[3];
    assert!(
        unexpected.contains("on_master of hook fence failed, and no expect_error said so"),
        "{unexpected}"
    );
}

#[test]
fn virtual_hosts_of_one_host_have_their_own_states_and_share_what_is_on_it() {
    let test = "\
test.case('two', function()
  local h = test.host({
    hostname = 'node',
    vhosts = { { name = 'db', interface = 'eth1', hooks = { 'h', 'fence' } }, { name = 'mail' } },
  })
  local db = h:vhost('db')
  test.equal(db:link('eth1').up, true)
  h:become('master')
  test.equal({ h:state(), db:state() }, { 'master', 'init' })
  db:become('master')
  db:expect_denied()
  h:expect_plan('hostname.set test\\nservice.start httpd')
  test.equal(#db:plan(), 4)
  test.equal({ h:addresses()[1], db:addresses()[1] }, { '192.0.2.22/32', '192.0.2.23/32' })
  -- What both want stays until both have let go.
  h:become('backup')
  h:expect_undone()
  test.equal({ h:hostname(), h:service('httpd') }, { 'db', 'active' })
  test.equal(#h:undone(), 0)
  db:become('backup')
  db:expect_undone()
  test.equal({ h:hostname(), h:service('httpd') }, { 'node', 'inactive' })
  test.equal({ h:vhost('test'):state(), h:vhost('mail'):state() }, { 'backup', 'init' })
end)
test.case('they go down together', function()
  local h = test.host({ hostname = 'node', vhosts = { { name = 'db' } } })
  h:become('master')
  h:vhost('db'):become('master')
  h:stop()
  h:expect_undone()
  h:vhost('db'):expect_undone()
end)
test.case('a failure elsewhere is a failure', function()
  local h = test.host({ vhosts = { { name = 'db', hooks = { 'fence' } } } })
  h:vhost('db'):become('master')
end)
test.case('no such', function() test.host({ vhosts = { { name = 'db' } } }):vhost('bd') end)
test.case('no name', function() test.host({ vhosts = { {} } }) end)
test.case('no key', function() test.host({ vhosts = { { name = 'db', hook = 'h' } } }) end)
test.case('twice', function() test.host({ vhosts = { { name = 'test' } } }) end)
";
    let found = failures(&json(pair(test).path(), &["h.lua"]));
    let says = [
        ("a failure elsewhere is a failure", "of hook fence failed"),
        ("no such", "h:vhost: there is no \"bd\"; there are test, db"),
        ("no name", "test.host: vhosts: each needs a name"),
        (
            "no key",
            "vhosts: there is no option hook; did you mean hooks?",
        ),
        ("twice", "test"),
    ];
    assert_eq!(found.len(), says.len(), "{found:#?}");
    for ((name, message), (case, says)) in found.iter().zip(says) {
        assert!(name == case && message.contains(says), "{found:#?}");
    }
}

#[test]
fn faults_and_histories_go_over_all_virtual_hosts() {
    let greedy = HOOK.replace(
        "function on_backup() log",
        "function on_backup(event) if event.instance.name == 'db' then addr.add(event.instance.addresses[1]) end log",
    );
    let test = "\
test.faults('faults', { vhosts = { { name = 'db' } } })
test.histories('histories', { vhosts = { { name = 'db' } } }, 30)
";
    passes(place(HOOK, TOML, test).path(), &["h.lua"]);
    let found = failures(&json(place(&greedy, TOML, test).path(), &["h.lua"]));
    let says = |case: &str, text: &str| {
        found
            .iter()
            .any(|(name, message)| name == case && message.contains(text))
    };
    assert!(
        says("histories", "h:vhost(\"db\"):become(") && says("histories", "192.0.2.23/24 is up"),
        "{found:#?}"
    );
    assert!(says("faults", "192.0.2.23/24 is up"), "{found:#?}");
}

/// One waits for the other, whose effect takes time: that is no work that never ends.
#[test]
fn two_virtual_hosts_want_the_same_at_one_time() {
    let test = "\
test.case('a service', function()
  local h = test.host({ units = { httpd = { start = '3s' } }, vhosts = { { name = 'db' } } })
  local db = h:vhost('db')
  h:become('master', { wait = false })
  db:become('master')
  test.equal({ h:service('httpd'), h:calls()[1].outcome, db:calls()[1].outcome }, { 'active', 'done', 'done' })
end)
";
    passes(place(HOOK, TOML, test).path(), &["h.lua"]);
}

/// While something is undone nothing else begins, and with one runner for two virtual hosts one of
/// them waits: what comes and goes meanwhile is counted.
#[test]
fn a_state_that_comes_and_goes_while_the_hook_is_busy_is_missed() {
    let test = "\
local function missed(h)
  local missed = {}
  for at, call in h:calls() do missed[at] = call.entry .. ' ' .. call.missed end
  return missed
end
test.case('while it is undone', function()
  local h = test.host({ hostname = 'node', units = { httpd = { stop = '5s' } } })
  h:become('master')
  h:become('backup', { wait = false })
  h:become('master', { wait = false })
  h:become('backup', { wait = false })
  h:become('master', { wait = false })
  test.equal(missed(h), { 'on_master 0', 'on_backup 0' })
  h:advance('10s')
  test.equal(missed(h), { 'on_master 0', 'on_backup 0', 'on_master 2' })
  h:become('backup')
  h:expect_undone()
end)
test.case('while its runner is busy elsewhere', function()
  local h = test.host({ units = { httpd = { start = '5s' } }, vhosts = { { name = 'db' } } })
  local db = h:vhost('db')
  h:become('master', { wait = false })
  db:become('master', { wait = false })
  db:become('backup', { wait = false })
  db:become('master', { wait = false })
  h:advance('15s')
  test.equal(missed(db), { 'on_backup 1', 'on_master 0' })
end)
test.case('an overtaken run was told', function()
  local h = test.host({ units = { httpd = { start = '5s' } } })
  h:become('master', { wait = false })
  h:become('backup')
  test.equal(missed(h), { 'on_master 0', 'on_backup 0' })
  test.equal(h:calls()[1].outcome, 'overtaken')
end)
";
    let toml = TOML.replacen("source", "runners = 1\nsource", 1);
    passes(place(HOOK, &toml, test).path(), &["h.lua"]);
}
