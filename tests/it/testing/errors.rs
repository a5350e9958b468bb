//! What a failing test shows, the words of plans, and tests that are not ours.

use std::fs;

use super::{passes, place, test};

/// Why something is not as expected is often that the hook has failed.
#[test]
fn the_hooks_own_error_stands_beside_whatever_fails() {
    let hook = "function on_master()\n  service.start('nginx')\n  hostname.set('x')\nend\n";
    let toml = "hostname = ['x']\nservice = [{ unit = 'nginx', do = ['start'] }]\n";
    for check in [
        "test.equal(h:hostname(), 'x')",
        "h:expect_plan('hostname.set x')",
        "h:expect_log('serves')",
        "h:expect_state('master')",
        "assert(h:hostname() == 'x')",
        "error('not so')",
    ] {
        let file = format!(
            "test.case('a', function()\n  local h = test.host({{ hostname = 'n' }})\n  h:fail('service.start', 'no memory')\n  \
             h:become('master')\n  {check}\nend)\n"
        );
        let directory = place(hook, toml, &file);
        let ran = test(directory.path(), &[]);
        let says = "the hook failed in on_master: h.lua:2: service.start: no memory";
        assert!(
            ran.code == 1 && ran.stdout.contains("h_test.lua:5: ") && ran.stdout.contains(says),
            "{check}: {}",
            ran.stdout
        );
        let line = "h.lua:2:3\n            |\n          2 |   service.start('nginx')\n            |   ^^^^";
        assert!(ran.stdout.contains(line), "{check}: {}", ran.stdout);
    }
}

#[test]
fn lines_of_plans_have_one_form_everywhere() {
    let hook = "function on_master()\n  hostname.get()\n  carp.state()\n  log.info('x')\n  state.set('n', 1)\n  clock.sleep(1)\n  \
                route.replace('10.0.0.5', { via = '192.0.2.1', table = 254 })\n  \
                route.replace('10.9.0.0/16', { dev = 'eth1', metric = 5, table = 100 })\n  \
                sysctl.set('net.ipv4.ip_forward', '1')\nend\n";
    let toml = "hostname = ['x']\nroute = [{ dst = '10.0.0.5/32' }, { dst = '10.9.0.0/16', table = 100 }]\n\
                sysctl = [{ key = 'net.ipv4.ip_forward' }]\n";
    let file = "test.case('a', function()
  local h = test.host({ routes = { '10.0.0.5 via 192.0.2.3', '10.9.0.0/16 table 100 dev eth2' } })
  h:become('master')
  test.equal(h:plan(), {
    'route.replace 10.0.0.5/32 via 192.0.2.1',
    'route.replace 10.9.0.0/16 dev eth1 metric 5 table 100',
    'sysctl.set net.ipv4.ip_forward 1',
  })
  test.equal(h:routes(), { '10.0.0.5/32 via 192.0.2.1' })
  h:expect_plan([[
    route.replace 10.0.0.5 via 192.0.2.1 table 254
    route.replace 10.9.0.0/16 table 100 metric 5 dev eth1
    sysctl.set net.ipv4.ip_forward 1
  ]])
  h:become('backup')
  h:expect_undone([[
    sysctl.set net.ipv4.ip_forward
    route.delete 10.9.0.0/16 metric 5 dev eth1 table 100
    route.replace 10.0.0.5 via 192.0.2.3
  ]])
  h:expect_undone()
  test.equal(h:routes(100), { '10.9.0.0/16 dev eth2 table 100' })
end)
";
    let directory = place(hook, toml, file);
    passes(directory.path(), &[]);
}

#[test]
fn tests_of_others_are_passed_over_and_none_of_ours_is_lost() {
    let directory = place(
        "function on_master() end\n",
        "",
        "test.case('a', function() test.host():become('master') end)\n",
    );
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write(
        "busted_test.lua",
        "describe('x', function() it('y', function() end) end)\n",
    );
    write("lib.lua", "return {}\n");
    write("lib_test.lua", "local lib = require('lib')\nassert(lib)\n");
    write("odd name_test.lua", "print('x')\n");
    let ran = test(directory.path(), &[]);
    assert!(
        ran.code == 0 && ran.stdout.contains("1 passed, 0 failed"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    for name in ["busted_test.lua", "lib_test.lua", "odd name_test.lua"] {
        assert!(
            ran.stderr
                .contains(&format!("skipping {name}: it is not a test of a hook")),
            "{}",
            ran.stderr
        );
    }
    // One of ours without its hook is told after all others have run.
    write("gone_test.lua", "test.case('b', function() end)\n");
    let ran = test(directory.path(), &[]);
    assert!(
        ran.code == 1 && ran.stdout.contains("1 passed, 0 failed"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    assert!(
        ran.stderr
            .contains("error: there is no hook next to gone_test.lua"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        test(directory.path(), &["busted_test.lua"]).code,
        1,
        "named, it is meant"
    );
}
