//! Hook bodies that try to hang, exhaust or escape the sandbox: each ends within its budget, and
//! the next run in the same or a new runner works.

use std::future::pending;
use std::time::Duration;

use carpd::hooks::{Budget, EntryPoint, HookError, Returned};

use crate::hooks::{Script, block_on, event, source, try_bench, yes};

#[derive(serde::Deserialize)]
struct Vectors {
    attacks: Vec<Attack>,
}

#[derive(serde::Deserialize)]
struct Attack {
    name: String,
    luau: String,
}

const LIMIT: Budget = Budget {
    wall: Duration::from_secs(1),
    cpu: Duration::from_millis(300),
    memory_bytes: 16 << 20,
    requests: 1000,
    log_bytes: 64 << 10,
    state_bytes: 0,
};

/// A busy machine may keep any run from its processor; what is not bounded ends badly each time.
const TRIES: usize = 4;

/// Runs a body as `on_master`. It must end within the budget and a little, and by an end of its
/// own: a runner that has to be killed for it means that something was not bounded.
fn survive(name: &str, body: &str) -> Result<Returned, HookError> {
    let mut bad = String::new();
    for _ in 0..TRIES {
        match try_to_survive(name, body) {
            Ok(result) => return result,
            Err(why) => bad = why,
        }
    }
    panic!("{name}: {bad}")
}

/// What it came to; or why that was not good enough.
fn try_to_survive(name: &str, body: &str) -> Result<Result<Returned, HookError>, String> {
    block_on(async {
        let hook =
            format!("function on_master(event)\n{body}\nend function on_backup() return 1 end");
        let mut bench = try_bench(source(&hook), LIMIT)
            .await
            .unwrap_or_else(|err| panic!("{name}: {err}"));
        let mut desk = Script::new(yes);
        let began = tokio::time::Instant::now();
        let result = bench
            .session
            .call(event(EntryPoint::OnMaster), LIMIT, &mut desk, pending())
            .await;
        let took = began.elapsed();
        if took >= Duration::from_millis(1500) || !bench.session.is_alive() {
            return Err(format!(
                "the runner did not survive, or too long: {result:?} after {took:?}"
            ));
        }
        let next = bench
            .session
            .call(event(EntryPoint::OnBackup), LIMIT, &mut desk, pending())
            .await;
        if next != Ok(Returned::Done) {
            return Err(format!("the run after it: {next:?}"));
        }
        Ok(result)
    })
}

#[test]
fn every_attack_of_the_vectors_ends_within_its_budget() {
    let text = include_str!("../vectors/lua-attacks.json");
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    assert!(vectors.attacks.len() >= 34, "the vectors are complete");
    for Attack { name, luau } in vectors.attacks {
        let result = survive(&name, &luau.replace("LOAD", "loadstring"));
        println!("{name}: {result:?}");
    }
}

#[test]
fn long_stays_in_c_are_bounded() {
    let bodies = [
        (
            "sort-long-texts",
            "local x = string.rep('x', 500000) local a, b, t = x .. 'a', x .. 'b', {}
            for i = 1, 100000 do t[i] = if i % 3 == 0 then a else b end
            table.sort(t)",
        ),
        (
            "find-plain",
            "local s = string.rep('a', 3000000) string.find(s, string.rep('a', 1000000) .. 'b', 1, true)",
        ),
        (
            "find-set",
            "string.find(string.rep('a', 1000000), '[' .. string.rep('b', 1000000) .. 'a]*')",
        ),
        (
            "gsub-set",
            "string.gsub(string.rep('a', 1000000), '[' .. string.rep('b', 1000000) .. 'a]*', '')",
        ),
        (
            "split-long",
            "string.split(string.rep('a', 3000000), string.rep('a', 1000000) .. 'b')",
        ),
        (
            "move-text-bounds",
            "while true do pcall(table.move, {}, '1', '2147483646', 2) end",
        ),
        (
            "move-nan",
            "while true do pcall(table.move, {}, 0/0, 2147483646, 2) end",
        ),
        (
            "method-find",
            "local s = string.rep('a', 3000000) while true do pcall(function() return s:find(string.rep('a', 1000000) .. 'b', 1, true) end) end",
        ),
        (
            "concat-everything",
            "local t = table.create(900000, 'xxxxxxxxxxxxxxxx') while true do pcall(table.concat, t) end",
        ),
        (
            "superseded-catch",
            "while true do pcall(error, setmetatable({}, { __tostring = function() while true do end end })) end",
        ),
        (
            "handler-recursion",
            "local function h(e) error(e) end xpcall(function() error('x') end, h)",
        ),
        ("require-loop", "while true do pcall(require, 'x') end"),
        (
            "huge-arguments",
            "addr.add(table.unpack(table.create(7000, 'x')))",
        ),
        (
            "huge-key",
            "local t = {} t[string.rep('k', 1000000)] = 1 log.info('x', t)",
        ),
        ("host-metatable", "getmetatable(addr).__index = nil"),
        (
            "string-metatable",
            "getmetatable('').__index = function() end",
        ),
        ("globals", "_G.print = nil print = nil _G.on_backup = nil"),
        (
            "one-text-many-times",
            "local t = table.create(9000, string.rep('x', 4000000)) while true do pcall(log.info, 'x', t) end",
        ),
        (
            "one-key-many-times",
            "local k = string.rep('k', 2000000) while true do pcall(log.info, 'x', { [k] = { [k] = { [k] = 1 } } }) end",
        ),
        (
            "million-calls",
            "for n = 1, 1000000 do pcall(hostname.get) end",
        ),
        (
            "million-denied",
            "for n = 1, 1000000 do pcall(service.start, 'x' .. n) end",
        ),
        (
            "numbers",
            "for _, n in { 0/0, 1/0, -1/0, -1, 2^53 + 1, 1e308, 0.5 } do pcall(announce, '192.168.32.22', { count = n }) pcall(clock.sleep, n) pcall(carp.demote, n, 'x') end",
        ),
        (
            "nuls",
            "for _, f in { hostname.set, service.start, file.read, sysctl.get } do pcall(f, 'a\\0b') pcall(f, '\\0') pcall(f, '\\xff\\xfe') end",
        ),
        (
            "coroutines",
            "local function f() coroutine.wrap(f)() end pcall(f) while true do coroutine.wrap(function() hostname.get() end)() end",
        ),
        (
            "yield-across-host",
            "local c = coroutine.create(function() coroutine.yield(hostname.get()) end) coroutine.resume(c) coroutine.close(c) coroutine.yield()",
        ),
        (
            "error-object",
            "error(setmetatable({}, { __tostring = function() error(setmetatable({}, { __tostring = function() while true do end end })) end }))",
        ),
        ("error-text-huge", "error(string.rep('x', 8000000))"),
        (
            "tostring-arguments",
            "local o = setmetatable({}, { __tostring = function() while true do end end }) pcall(hostname.set, o) local _ = addr[o]",
        ),
        (
            "require-names",
            "for _, n in { '/etc/passwd', '../x', './../x', 'a/../../x', 'x\\0', '', '.', './', string.rep('a/', 100000) } do assert(not pcall(require, n), n) end",
        ),
        (
            "deep-table",
            "local t = {} for n = 1, 100000 do t = { t } end log.info('x', { a = t })",
        ),
    ];
    for (name, body) in bodies {
        let result = survive(name, body);
        println!("{name}: {result:?}");
    }
}

#[test]
fn memory_is_bounded_and_said_to_be() {
    let result = || {
        survive(
            "memory",
            "local t = {} while true do t[#t + 1] = string.rep('x', 1000) .. #t end",
        )
    };
    let expected = Err(HookError::OutOfMemory(16 << 20));
    let results: Vec<_> = (0..TRIES)
        .map(|_| result())
        .take_while(|result| *result != expected)
        .collect();
    assert!(results.len() < TRIES, "{results:?}");
}

/// What a hook says of memory is its own error, not one of its budget.
#[test]
fn an_error_about_memory_is_no_lack_of_it() {
    let result = survive("memory-words", "error('httpd: not enough memory')");
    assert!(
        matches!(&result, Err(HookError::Raised { message, .. }) if message.ends_with("not enough memory")),
        "{result:?}"
    );
}

#[test]
fn nothing_of_the_system_is_in_reach() {
    let body = "for _, name in { 'io', 'os', 'package', 'loadstring', 'load', 'loadfile', 'dofile', 'getfenv', 'setfenv', 'newproxy', 'collectgarbage', 'gcinfo' } do
        assert(rawget(_G, name) == nil, name)
        assert(not pcall(function() return _G[name] end), name)
    end
    for name in debug do assert(name == 'traceback', name) end
    assert(string.dump == nil)";
    assert_eq!(survive("reach", body), Ok(Returned::Done));
}

/// What is no text has an address of memory for tostring, which tells nobody what went wrong.
#[test]
fn an_error_that_is_a_table_shows_its_content() {
    for (body, shown) in [
        ("error({ code = 5 })", "{code = 5}"),
        (
            "error({ 'a', { b = { c = { d = 1 } } }, print })",
            r#"{"a", {b = {c = {...}}}, a function}"#,
        ),
        (
            "error(setmetatable({}, { __tostring = function() return 'its own words' end }))",
            "its own words",
        ),
        ("local t = {} t.t = t error(t)", "{t = {t = {t = {...}}}}"),
        ("error(function() end)", "a function"),
        ("error(nil)", "nil"),
        (
            "local t = {} for n = 1, 1000 do t[n] = n end error(t)",
            "20, ...}",
        ),
    ] {
        let Err(HookError::Raised { message, .. }) = survive(body, body) else {
            panic!("{body}")
        };
        assert!(
            message.ends_with(shown) && !message.contains("0x"),
            "{body}: {message}"
        );
    }
    // Whatever its metamethods do, it ends.
    for body in [
        "error(setmetatable({}, { __tostring = function() while true do end end }))",
        "error(setmetatable({}, { __tostring = function() error('again') end }))",
        "error(setmetatable({}, { __iter = function() while true do end end, __index = function() while true do end end }))",
    ] {
        assert!(survive(body, body).is_err(), "{body}");
    }
}
