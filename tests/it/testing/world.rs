//! What a test can say about a host, and ask it: each option and each question once, with what it
//! is for.

use super::{passes, place, test};

const HOOK: &str = "\
function on_master()
  if config.unit then return service.start(config.unit) end
  link.set_mac('eth1', '02:00:00:00:00:99')
  link.set_up('eth1', { up = false })
  route.replace('10.9.0.0/16', { dev = 'eth1', table = 100 })
  rule.replace({ from = '192.0.2.22', table = 100, priority = 1000 })
  sysctl.set('net.ipv4.ip_forward', '1')
  file.write('/run/role', file.read('/etc/name') .. ' is master')
  file.remove('/run/old')
  state.set('masters', (state.get('masters') or 0) + 1)
  carp.demote(40, 'busy')
  local ran = command.run('count')
  log.info('Counted', { status = ran.status, said = ran.stdout .. ran.stderr })
end
function on_peer_claim(event) log.warn('Heard ' .. event.peer) end
";

const TOML: &str = "\
[hook.h]
source = \"h.lua\"
[hook.h.grant]
link = [{ dev = \"eth1\" }]
route = [{ dst = \"10.9.0.0/16\", table = 100 }]
rule = [{ table = 100 }]
service = [{ unit = \"httpd\", do = [\"start\"] }]
sysctl = [{ key = \"net.ipv4.ip_forward\" }]
file = [
  { path = \"/etc/name\", do = [\"read\"] }, { path = \"/run/role\", do = [\"write\"] }, { path = \"/run/old\", do = [\"remove\"] },
]
command.count = { argv = [\"/bin/count\"] }
carp = [\"demote\"]
";

const TEST: &str = "\
local function node()
  return test.host({
    links = { eth1 = { carrier = false, mtu = 9000, addresses = { '10.0.0.5/24' } } },
    routes = { 'default via 192.0.2.254', '10.8.0.0/16 dev eth1 table 100' },
    files = { ['/etc/name'] = 'node2', ['/run/old'] = 'x' },
    sysctls = { ['net.ipv4.ip_forward'] = '0' },
    commands = { count = { status = 3, stdout = '7', stderr = '!' } },
  })
end
test.case('a host answers for all that is on it', function()
  local h = node()
  test.equal(h:link('eth1').mtu, 9000)
  test.equal(h:link('eth9'), nil)
  test.equal(h:addresses('eth1'), { '10.0.0.5/24' })
  h:become('master')
  test.equal({ h:link('eth1').mac, h:link('eth1').up }, { '02:00:00:00:00:99', false })
  test.equal(h:routes(), { 'default via 192.0.2.254' })
  test.equal(h:routes(100), { '10.8.0.0/16 dev eth1 table 100', '10.9.0.0/16 dev eth1 table 100' })
  test.equal(h:rules(), { 'priority 1000 from 192.0.2.22/32 table 100' })
  test.equal(h:sysctl('net.ipv4.ip_forward'), '1')
  test.equal({ h:file('/run/role') or '', h:file('/run/old') or 'none' }, { 'node2 is master', 'none' })
  test.equal(h:stored('masters'), 1)
  test.equal(h:demotion(), 40)
  h:expect_log('info Counted said=7! status=3')
  test.equal(#h:plan(), 9)
  h:peer_claim('192.0.2.3')
  h:expect_log('Heard 192.0.2.3')
  h:become('backup')
  h:expect_undone()
  test.equal(#h:undone(), 7)
  test.equal({ h:file('/run/role') or 'none', h:file('/run/old') or 'none' }, { 'none', 'x' })
end)
test.case('somebody else changes it', function()
  local h = node()
  h:change({ files = { ['/etc/name'] = false }, sysctls = { ['net.ipv4.ip_forward'] = '1' }, routes = { '10.7.0.0/16 dev eth1' } })
  h:become('master')
  h:expect_error('nil')
  test.equal(h:routes(), { 'default via 192.0.2.254', '10.7.0.0/16 dev eth1' })
end)
test.case('units hang, fail, and are not there', function()
  for word, says in pairs({ hangs = '10s', fails = 'failed to start', missing = 'not found' }) do
    local h = test.host({ units = { httpd = word }, config = { unit = 'httpd' } })
    h:become('master')
    h:expect_error(says)
    h:expect_plan('service.start httpd (failed)')
    h:expect_state('backup')
    test.equal(h:service('httpd'), if word == 'missing' then 'unknown' else 'inactive')
  end
  local h = test.host({ units = { httpd = 'active' }, config = { unit = 'httpd' } })
  h:become('master')
  h:become('backup')
  h:expect_undone('')
  test.equal(h:service('httpd'), 'active', 'it ran before')
end)
";

#[test]
fn a_host_has_what_a_test_says_and_answers_for_it() {
    let said = passes(place(HOOK, TOML, TEST).path(), &[]);
    assert!(said.contains("3 passed, 0 failed"), "{said}");
}

#[test]
fn only_the_cases_that_are_asked_for_are_run() {
    let directory = place(
        HOOK,
        TOML,
        "test.case('one', function() end)\ntest.case('two', function() error('no') end)\n",
    );
    let said = passes(directory.path(), &["--filter", "one"]);
    assert!(
        said.contains("1 passed, 0 failed") && !said.contains("two"),
        "{said}"
    );
    assert_eq!(test(directory.path(), &[]).code, 1);
}
