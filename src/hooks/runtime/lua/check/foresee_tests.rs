//! Each case: a hook, the context in which it is used, and what is foreseen: `!` before the line of
//! an error that is certain, `?` before one that is possible.

use serde_json::json;

use super::{Home, Use, foresee};
use crate::effect::Grants;

const GRANTS: &str = r#"
hostname = ["nodevir2"]
service = [{ unit = "httpd", do = ["start", "stop"] }]
route = [{ dst = "default" }]
sysctl = [{ key = "net.ipv4.ip_forward", values = ["1"] }]
file = [{ path = "/run/role", do = ["write"] }]
command.promote = { argv = ["/usr/bin/promote", "{resource:word}"] }
command.look = { argv = ["/usr/bin/look", "{resource:word}"], query = true }
http = [
  { url = "http://192.0.2.7/query", do = ["post", "put"], query = true },
  { url = "http://192.0.2.7/change", do = ["post"] },
]
"#;

fn said_of(files: &[(&str, &str)]) -> Vec<String> {
    let config = json!({
        "gateway": "192.0.2.254", "unit": "httpd", "other": "postgres", "names": { "master": "nodevir2" }, "mode": "plain", "on": true,
    });
    let grants: Grants = toml::from_str(GRANTS).unwrap();
    let (name, interface, addresses) = (
        "web".parse().unwrap(),
        "eth0".parse().unwrap(),
        ["192.0.2.1/24".parse().unwrap()],
    );
    let homes = [Home {
        name: &name,
        interface: &interface,
        addresses: &addresses,
    }];
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, text)| (*name, text.as_bytes()))
        .collect();
    let used = Use {
        hook: "h",
        config: &config,
        grants: &grants,
        homes: &homes,
    };
    let found = foresee(&files, &used).into_iter();
    found
        .map(|f| {
            format!(
                "{}{}:{}: {}",
                if f.certain { '!' } else { '?' },
                f.file,
                f.line,
                f.message
            )
        })
        .collect()
}

/// What is foreseen for one file, without the file's name.
fn said(source: &str) -> Vec<String> {
    said_of(&[("", source)])
        .into_iter()
        .map(|line| line.replacen(':', "", 1))
        .collect()
}

#[track_caller]
fn begins(source: &str, expected: &[&str]) {
    let said = said(source);
    let fits = said.len() == expected.len()
        && said
            .iter()
            .zip(expected)
            .all(|(said, expected)| said.starts_with(expected));
    assert!(
        fits,
        "{source}\nis said to be {said:#?}\nand not {expected:#?}"
    );
}

#[test]
fn health_may_not_change_anything_however_it_gets_there() {
    let says = "is read-only, and this changes something";
    for (source, certain) in [
        (
            "function health() service.start('httpd') return true end",
            '!',
        ),
        (
            "function health() if x() then service.start('httpd') end return true end function x() end",
            '?',
        ),
        (
            "local function mend() service.start('httpd') end function health() mend() return true end",
            '!',
        ),
        (
            "function mend() service.start('httpd') end function health() return mend() end",
            '!',
        ),
        (
            "return { health = function() http.post('http://192.0.2.1/', 'x') end }",
            '!',
        ),
        (
            "local function check() carp.demote(1) end return { health = check }",
            '!',
        ),
        (
            "function health() pcall(service.start, 'httpd') return true end",
            '?',
        ),
        (
            "function health() pcall(function() service.start('httpd') end) return true end",
            '?',
        ),
        (
            "local start = service.start function health() start('httpd') return true end",
            '!',
        ),
        (
            "function health(event) if event.initial then return true end service.start('httpd') end",
            '?',
        ),
        (
            "local t = {} function t.mend() service.start('httpd') end function health() t.mend() end",
            '!',
        ),
        (
            "function health() local ok = config.on and service.start('httpd') end",
            '!',
        ),
        (
            "function health() for _ in pairs({}) do service.start('httpd') end end",
            '?',
        ),
    ] {
        let said = said(source);
        assert!(
            said.len() == 1 && said[0].starts_with(certain) && said[0].contains(says),
            "{source}: {said:?}"
        );
    }
    for source in [
        "function health() return service.status('httpd') == 'active' end function on_master() service.start('httpd') end",
        "function health() state.set('n', 1) log.info('x') return true end",
        "function health() if config.off then service.start('httpd') end return true end",
        "function health() return true end local function unused() service.start('httpd') end",
        "function health() do return true end service.start('httpd') end",
    ] {
        assert_eq!(said(source), [""; 0], "{source}");
    }
}

#[test]
fn what_no_grant_allows_is_told_with_the_line_that_would() {
    begins(
        "function on_master() link.set_up('eth1') end",
        &["!1: not granted: "],
    );
    let said = said("function on_master()\n carp.resign('x') end");
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with("!2: not granted: ")
            && said[0].ends_with("write under [hook.h.grant]: carp = [\"resign\"]"),
        "{said:?}"
    );
    begins(
        "function on_master(event) if event.initial then tcp.connect('192.0.2.1:80') end end",
        &["?1: not granted: "],
    );
    begins(
        "function on_master(event) carp.demote(event.seq, tostring(event.seq)) end",
        &["!1: not granted: carp.demote"],
    );
}

#[test]
fn what_the_grants_do_not_name_is_told() {
    for (call, certain) in [
        ("service.start('postgres')", true),
        ("service.restart('httpd')", true),
        ("service.status('postgres')", true),
        ("service.start(config.other)", true),
        ("service.start('postgres', { wait_ms = event.seq })", true),
        ("hostname.set('node2')", true),
        ("hostname.set('node' .. '2')", true),
        ("file.write('/run/' .. config.unit, event.cause)", true),
        ("file.read('/run/role')", true),
        ("sysctl.set('net.ipv4.ip_forward', '0')", true),
        ("sysctl.set('net.ipv6.x', event.cause)", true),
        ("command.run('demote', { a = event.cause })", true),
        ("command.run('demote', event)", true),
        ("command.run('promote', { resourc = 'r0' })", true),
        ("addr.add('198.51.100.1/24')", true),
        ("addr.add('192.0.2.1/24', { dev = 'eth1' })", true),
        ("route.replace('10.0.0.0/8', { via = '192.0.2.254' })", true),
        (
            "if config.mode == 'plain' then service.start('postgres') end",
            true,
        ),
        ("if event.initial then service.start('postgres') end", false),
        ("local unit = config.other service.start(unit)", true),
        ("service.start(config.missing or 'postgres')", true),
    ] {
        let source = format!("function on_master(event) {call} end");
        begins(
            &source,
            &[if certain {
                "!1: not granted: "
            } else {
                "?1: not granted: "
            }],
        );
    }
}

#[test]
fn what_may_be_right_is_left_alone() {
    for call in [
        "service.start(config.unit) service.start('httpd.service', { wait_ms = event.seq })",
        "service.start(event.instance.name)",
        "hostname.set(config.names.master)",
        "addr.add('192.0.2.1/24') announce('192.0.2.1')",
        "route.replace('default', { via = config.gateway })",
        "route.replace('default', { via = event.peer, dev = event.instance.interface })",
        "sysctl.set('net.ipv4.ip_forward', event.cause)",
        "command.run('promote', { resource = event.cause })",
        "file.write('/run/role', event.state .. '\\n')",
        "if config.missing then service.start(config.missing) end",
        "if config.mode == 'other' then service.start('postgres') end",
        "if not config.on then service.start('postgres') end",
        "local n = config.missing and service.start('postgres')",
        "local n = config.on or service.start('postgres')",
        "local unit = 'postgres' unit = 'httpd' service.start(unit)",
        "for _, name in ipairs({ 'a' }) do local s = name:upper() end",
        "service.start(config.missing or config.unit)",
        "log.info('x', { via = config.gateway })",
    ] {
        begins(&format!("function on_master(event) {call} end"), &[]);
    }
}

#[test]
fn keys_that_the_configuration_does_not_have_are_told() {
    let gatway = "is invalid: config has no gatway; did you mean gateway?";
    for (call, certain, says) in [
        (
            "route.replace('default', { via = config.gatway, dev = 'eth0' })",
            false,
            gatway,
        ),
        ("hostname.set(config.gatway)", true, gatway),
        (
            "hostname.set(config.names.mastr)",
            true,
            "is invalid: config.names has no mastr; did you mean master?",
        ),
        ("local via = config.gatway hostname.set(via)", true, gatway),
        (
            "log.info('to ' .. config.gatway)",
            true,
            "1: config has no gatway; did you mean gateway?",
        ),
        (
            "log.info(`to {config.gatway}`)",
            false,
            "1: config has no gatway; did you mean gateway?",
        ),
        (
            "print(config.nams.master)",
            true,
            "1: config has no nams; did you mean names?",
        ),
    ] {
        let said = said(&format!("function on_master(event) {call} end"));
        assert!(
            said.len() == 1
                && said[0].starts_with(if certain { '!' } else { '?' })
                && said[0].ends_with(says),
            "{call}: {said:?}"
        );
    }
    // Whatever receives a function calls it with arguments that are not visible here.
    assert_eq!(said("local function try(f, ...) pcall(f, ...) end function on_master() try(route.replace, 'default', { via = '192.0.2.1' }) end").len(), 0);
    // Without this the route has no gateway.
    begins(
        "function on_master() route.replace('default', { via = config.gatway }) end",
        &[
            "!1: route.replace: a route needs via or dev",
            "?1: route.replace: option via is invalid: config has no gatway",
        ],
    );
}

#[test]
fn health_may_do_what_its_grant_marks_as_harmless() {
    let says =
        "health is read-only, and this changes something, unless its grant has `query = true`";
    for (call, wrong) in [
        ("command.run('look', { resource = 'r0' })", None),
        ("command.run('look', { resource = config.unit })", None),
        ("command.run('promote', { resource = 'r0' })", Some(says)),
        ("command.run(config.which or event.cause, {})", None),
        ("http.post('http://192.0.2.7/query/x', 'q')", None),
        ("http.post('http://192.0.2.7/change', 'q')", Some(says)),
        (
            "http.put('http://192.0.2.7/query/x', 'q')",
            Some("health is read-only, and this changes something"),
        ),
    ] {
        let found = said(&format!("function health(event) {call} return true end"));
        match wrong {
            None => assert!(found.is_empty(), "{call}: {found:?}"),
            Some(says) => assert!(
                matches!(found.as_slice(), [one] if one.ends_with(says) && one.starts_with('!')),
                "{call}: {found:?}"
            ),
        }
    }
}

#[test]
fn modules_are_followed_where_they_are_used() {
    let module = "local M = {}\nfunction M.check() service.start('httpd') end\nfunction M.other() carp.resign() end\nreturn M";
    let with = |main| said_of(&[("h.lua", main), ("m.lua", module)]);
    let certain = with("local m = require('m') function health() return m.check() end");
    assert_eq!(
        certain,
        ["!m.lua:2: service.start: health is read-only, and this changes something"]
    );
    let handed = with("local m = require('m') function health() return pcall(m.check) end");
    assert_eq!(
        handed,
        ["?m.lua:2: service.start: health is read-only, and this changes something"]
    );
    assert_eq!(
        with("local m = require('m') function on_master() m.check() end"),
        [""; 0]
    );
}

#[test]
fn what_holds_for_one_virtual_host_alone_may_go_wrong() {
    let grants = Grants::default();
    let (web, db, eth0) = (
        "web".parse().unwrap(),
        "db".parse().unwrap(),
        "eth0".parse().unwrap(),
    );
    let (one, other) = (
        ["192.0.2.1/24".parse().unwrap()],
        ["192.0.2.2/24".parse().unwrap()],
    );
    let homes = [
        Home {
            name: &web,
            interface: &eth0,
            addresses: &one,
        },
        Home {
            name: &db,
            interface: &eth0,
            addresses: &other,
        },
    ];
    let used = Use {
        hook: "h",
        config: &json!({}),
        grants: &grants,
        homes: &homes,
    };
    let found = foresee(
        &[("h.lua", b"function on_master() announce('192.0.2.1') end")],
        &used,
    );
    assert!(
        found.len() == 1
            && !found[0].certain
            && found[0]
                .message
                .starts_with("for virtual host db: not granted: "),
        "{found:?}"
    );
    assert_eq!(
        foresee(
            &[("h.lua", b"function on_master() announce('192.0.2.1') end")],
            &Use { homes: &[], ..used }
        ),
        []
    );
}

#[test]
fn hostile_texts_end_in_time_and_memory() {
    let doubling: String = (0..60)
        .map(|n| format!("local x{} = x{n} .. x{n} ", n + 1))
        .collect();
    let circle = "function a() b() end function b() a() end function health() a() end on_master = health health = on_master";
    let many: String = (0..2000)
        .map(|n| format!("function f{n}() f{}() f{}() end ", n + 1, n + 2))
        .collect();
    for source in [
        format!("local x0 = 'x' {doubling}"),
        circle.to_owned(),
        format!("{many} function health() f0() end"),
    ] {
        said(&source);
    }
}

/// Also if there is a function between the hook and the API.
#[test]
fn what_is_called_by_another_function_is_seen_with_its_arguments() {
    let try_ = "local function try(call, ...) local worked = pcall(call, ...) return worked end ";
    for (source, expected) in [
        (
            "function on_master() pcall(service.start, 'postgres') end",
            Some("?1: not granted: service"),
        ),
        (
            "function on_master() try(service.start, 'postgres') end",
            Some("?1: not granted: service"),
        ),
        (
            "function on_master() try(service.start, config.other) end",
            Some("?1: not granted: service"),
        ),
        (
            "function on_master() try(link.set_up, 'eth1') end",
            Some("?1: not granted: link"),
        ),
        (
            "function health() try(service.start, 'httpd') return true end",
            Some("?1: service.start: health is read-only"),
        ),
        (
            "function on_master() try(service.start, 'httpd') pcall(hostname.set, 'nodevir2') end",
            None,
        ),
    ] {
        begins(&format!("{try_}{source}"), expected.as_slice());
    }
    for source in [
        "local ask = tolerant(command.run, 'quiet') function on_master() ask('demote', {}) end",
        "local command = tolerant(command) function on_master() command.run('demote', {}) end",
        "function on_master() tolerant(command).run('demote', {}) end",
    ] {
        begins(source, &["!1: not granted: "]);
    }
    begins(
        "local function run(name, holes) return pcall(command.run, name, holes) end function on_master() run('demote', {}) end",
        &["?1: not granted: "],
    );
}
