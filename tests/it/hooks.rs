//! The contract of hooks: real runner processes, started by a real keeper, with a scripted daemon
//! behind them.

mod hostile;
mod runner;

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::path::Path;
use std::time::Duration;

use carpd::effect::{CommandOutput, Effect, Grants, Outcome, Own, Query, Reply, Route};
use carpd::hooks::process::session::{RequestHandler, SandboxPolicy, Session};
use carpd::hooks::{
    Answer, Ask, AskError, Budget, EntryPoint, HookError, HookEvent, HookSource, Instance,
    Language, LoadError, LogLevel, Returned,
};
use carpd::keeper::{ChildId, Client, Exits, HowEnded, Role};
use carpd::types::{State, Vhid};
use tokio::sync::Notify;

/// The binary under test.
pub(crate) const CARPD: &str = env!("CARGO_BIN_EXE_carpd");
pub(crate) const DAEMON: &str = env!("CARGO_BIN_EXE_carpd-daemon");
pub(crate) const WORKER: &str = env!("CARGO_BIN_EXE_carpd-worker");

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    crate::limit::begin();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

pub(crate) fn source(main: &str) -> HookSource {
    HookSource {
        name: "failover".parse().unwrap(),
        language: Language::Lua,
        path: "hooks/failover.lua".into(),
        main: main.as_bytes().to_vec(),
        modules: BTreeMap::new(),
        config_json: r#"{"gateway": "192.168.32.254", "ports": [80, 443]}"#.into(),
        native: None,
    }
}

pub(crate) fn event(entry: EntryPoint) -> HookEvent {
    HookEvent {
        entry,
        instance: Instance {
            name: "web".parse().unwrap(),
            interface: "eth0".parse().unwrap(),
            vhid: Vhid::new(40).unwrap(),
            addresses: vec!["192.168.32.22/24".parse().unwrap()],
        },
        state: State::Master,
        previous: State::Backup,
        cause: "master-down".into(),
        cause_text: "no advertisement for 3000 ms".into(),
        peer: None,
        seq: 7,
        initial: false,
        missed: 0,
        xparam: None,
        node: "node2".into(),
        time_left_ms: 1000,
    }
}

pub(crate) fn budget() -> Budget {
    Budget {
        wall: Duration::from_secs(5),
        cpu: Duration::from_millis(900),
        ..Budget::default()
    }
}

/// Remembers what was asked, and answers as the test says.
pub(crate) struct Script<F> {
    pub(crate) asked: Vec<Ask>,
    answer: F,
}

impl<F: FnMut(&Ask) -> Answer> Script<F> {
    pub(crate) const fn new(answer: F) -> Self {
        Self {
            asked: Vec::new(),
            answer,
        }
    }
}

impl<F: FnMut(&Ask) -> Answer> RequestHandler for Script<F> {
    async fn ask(&mut self, ask: Ask) -> Answer {
        let answer = (self.answer)(&ask);
        self.asked.push(ask);
        answer
    }
}

/// Says yes to everything.
pub(crate) fn yes(ask: &Ask) -> Answer {
    match ask {
        Ask::Effect { .. } => Answer::Reply(Reply::Outcome(Outcome::Changed)),
        Ask::Query(Query::Hostname) => Answer::Reply(Reply::Text("node2".into())),
        Ask::Query(Query::CarpState) => Answer::Reply(Reply::State(State::Master)),
        Ask::Query(_) => Answer::Reply(Reply::File(None)),
        Ask::StateGet { .. } => Answer::State(None),
        Ask::Log { .. } | Ask::Sleep { .. } | Ask::StateSet { .. } => Answer::Done,
    }
}

/// A keeper with one runner.
pub(crate) struct Bench {
    _keeper: Client,
    pub(crate) exits: Exits,
    pub(crate) id: ChildId,
    pub(crate) session: Session,
}

pub(crate) async fn try_bench(source: HookSource, budget: Budget) -> Result<Bench, LoadError> {
    let (keeper, exits) = Client::start(Some(Path::new(DAEMON))).unwrap();
    let (id, stream) = keeper
        .spawn(Role::Runner {
            memory_bytes: budget.memory_bytes,
        })
        .await
        .unwrap();
    let session = Session::load(stream, source, budget, SandboxPolicy::Required).await?;
    Ok(Bench {
        _keeper: keeper,
        exits,
        id,
        session,
    })
}

pub(crate) async fn bench(main: &str) -> Bench {
    try_bench(source(main), budget()).await.unwrap()
}

impl Bench {
    async fn call(
        &mut self,
        entry: EntryPoint,
        desk: &mut impl RequestHandler,
    ) -> Result<Returned, HookError> {
        self.session
            .call(event(entry), budget(), desk, pending())
            .await
    }
}

/// Runs `on_master` once, with a daemon that says yes.
fn run(main: &str) -> (Result<Returned, HookError>, Vec<Ask>) {
    block_on(async {
        let mut desk = Script::new(yes);
        let result = bench(main)
            .await
            .call(EntryPoint::OnMaster, &mut desk)
            .await;
        (result, desk.asked)
    })
}

/// Runs `body` as `on_master`; its error's text.
fn error_of(body: &str) -> String {
    match run(&format!("function on_master(event)\n{body}\nend")).0 {
        Err(HookError::Raised { message, .. }) => message,
        other => panic!("{body}: {other:?}"),
    }
}

/// Runs `body` as `on_master`; what `print` showed.
fn printed(body: &str) -> Vec<String> {
    let (result, asked) = run(&format!("function on_master(event)\n{body}\nend"));
    assert_eq!(result, Ok(Returned::Done));
    let text = |ask| match ask {
        Ask::Log { message, .. } => Some(message),
        _ => None,
    };
    asked.into_iter().filter_map(text).collect()
}

fn load_error(source: HookSource) -> LoadError {
    let short = Budget {
        wall: Duration::from_millis(300),
        ..budget()
    };
    match block_on(try_bench(source, short)) {
        Ok(_) => panic!("it was loaded"),
        Err(err) => err,
    }
}

#[test]
fn a_hook_asks_for_what_the_scripts_of_ucarp_did() {
    let (result, asked) = run(r#"
        function on_master(event)
            assert(addr.add("192.168.32.22/24") == "changed")
            hostname.set("nodevir2", { keep = true })
            route.replace("default", { via = config.gateway })
            announce(event.instance.addresses[1], { count = 2 })
            service.start("httpd", { wait_ms = 1500 })
        end"#);
    assert_eq!(result, Ok(Returned::Done));
    let address = "192.168.32.22/24".parse().unwrap();
    let dev: carpd::types::IfName = "eth0".parse().unwrap();
    let effect = |effect| Ask::Effect {
        effect,
        keep: false,
        wait_ms: None,
    };
    let route = Route {
        dst: "default".parse().unwrap(),
        via: Some("192.168.32.254".parse().unwrap()),
        dev: None,
        src: None,
        metric: None,
        table: None,
    };
    let start = Effect::Service {
        unit: "httpd".into(),
        verb: carpd::effect::ServiceVerb::Start,
    };
    assert_eq!(
        asked,
        [
            effect(Effect::AddressAdd {
                address,
                dev: dev.clone()
            }),
            Ask::Effect {
                effect: Effect::HostnameSet {
                    name: "nodevir2".into()
                },
                keep: true,
                wait_ms: None
            },
            effect(Effect::RouteReplace(route)),
            effect(Effect::Announce {
                address,
                dev,
                count: 2,
                interval_ms: 1000
            }),
            Ask::Effect {
                effect: start,
                keep: false,
                wait_ms: Some(1500)
            },
        ]
    );
}

#[test]
fn the_event_is_complete_and_read_only() {
    let shown = printed(
        r#"local e, i = event, event.instance
        print(e.entry, i.name, i.interface, i.vhid, i.addresses[1], e.state, e.previous, e.cause, e.cause_text, e.peer)
        print(e.seq, e.initial, e.missed, e.xparam, e.node, e.time_left_ms)
        print(pcall(function() e.seq = 1 end))
        print(pcall(function() i.vhid = 1 end))
        print(pcall(function() config.gateway = "x" end))
        print(config.ports[2], config.nothing)"#,
    );
    insta::assert_snapshot!(shown.join("\n"), @r"
    on_master	web	eth0	40	192.168.32.22/24	master	backup	master-down	no advertisement for 3000 ms	nil
    7	false	0	nil	node2	1000
    false	failover.lua:5: attempt to modify a readonly table
    false	failover.lua:6: attempt to modify a readonly table
    false	failover.lua:7: attempt to modify a readonly table
    443	nil
    ");
}

#[test]
fn mistyped_names_get_the_nearest_right_one() {
    let bodies = [
        "adr.add('10.0.0.1/24')",
        "addr.ad('10.0.0.1/24')",
        "hostname.sett('x')",
        "servce.start('httpd')",
        "service.begin('httpd')",
        "net.set('x')",
        "print(event.cuase)",
        "print(event.instance.dev)",
        "addr.add('10.0.0.1/24', { kep = true })",
        "io.open('/etc/passwd')",
        "os.execute('reboot')",
        "local x = undefned",
    ];
    let messages: Vec<_> = bodies.into_iter().map(error_of).collect();
    insta::assert_snapshot!(messages.join("\n"), @r#"
    failover.lua:2: there is no adr; did you mean addr?
    failover.lua:2: no function addr.ad; did you mean addr.add?
    failover.lua:2: no function hostname.sett; did you mean hostname.set?
    failover.lua:2: there is no servce; did you mean service?
    failover.lua:2: no function service.begin; service has start, stop, restart, reload, status
    failover.lua:2: there is no net; did you mean next?
    failover.lua:2: no field event.cuase; did you mean event.cause?
    failover.lua:2: no field event.instance.dev
    failover.lua:2: addr.add: has no option "kep"; did you mean keep?
    failover.lua:2: hooks have no io; use file.read and file.write
    failover.lua:2: hooks have no os; use command.run, clock.wall and clock.now
    failover.lua:2: there is no undefned
    "#);
}

#[test]
fn wrong_arguments_are_named() {
    let bodies = [
        "addr.add()",
        "addr.add(22)",
        "addr.add('192.168.32.300/24')",
        "addr.add('192.168.32.22/33')",
        "route.replace('default', { via = 'gateway' })",
        "route.replace('default', { metric = 1.5 })",
        "route.replace('default', { metric = -1 })",
        "route.replace('default', '192.168.32.254')",
        "rule.replace({ table = 100 })",
        "hostname.set('a', {}, 3)",
        "carp.demote(241)",
        "log.info('x', { a = {} })",
        "state.set('k', function() end)",
        "local t = {} t.t = t state.set('k', t)",
        "command.run('x', { [1] = 'a', b = 'c' })",
    ];
    let messages: Vec<_> = bodies.into_iter().map(error_of).collect();
    insta::assert_snapshot!(messages.join("\n"), @r#"
    failover.lua:2: addr.add: argument 1 (cidr) is missing: an address such as "192.168.32.22/24"
    failover.lua:2: addr.add: argument 1 (cidr) must be an address such as "192.168.32.22/24", not a number
    failover.lua:2: addr.add: argument 1 (cidr) must be an address such as "192.168.32.22/24": "192.168.32.300" is not an IPv4 or IPv6 address
    failover.lua:2: addr.add: argument 1 (cidr) must be an address such as "192.168.32.22/24": "33" is not a prefix length: 0 to 32
    failover.lua:2: route.replace: option via must be an address such as "192.168.32.254": "gateway" is not one
    failover.lua:2: route.replace: option metric must be a whole number from 0 to 4294967295, not 1.5
    failover.lua:2: route.replace: option metric must be a whole number from 0 to 4294967295, not -1
    failover.lua:2: route.replace: argument 2 must be a table of options, not text
    failover.lua:2: rule.replace: option priority is missing: a whole number from 0 to 4294967295
    failover.lua:2: hostname.set: takes at most 2 arguments, not 3
    failover.lua:2: carp.demote: argument 1 (by) must be a whole number from 0 to 240, not 241
    failover.lua:2: log.info: argument 2 (fields) ["a"] must be text, a number or a boolean, not a table
    failover.lua:2: state.set: argument 2 (value) a function cannot be stored
    failover.lua:2: state.set: a table nested deeper than 16 cannot be passed
    failover.lua:2: command.run: a table must have text as keys, or be a list, not both
    "#);
}

#[test]
fn a_denied_effect_names_the_place_and_the_line_that_grants_it() {
    let deny = |ask: &Ask| match ask {
        Ask::Effect { effect, .. } => {
            let dev = "eth0".parse().unwrap();
            let denied = Grants::default()
                .permit(
                    effect.clone(),
                    Own {
                        dev: &dev,
                        addresses: &[],
                    },
                )
                .unwrap_err();
            Answer::Error(AskError::Denied(*denied))
        }
        _ => Answer::Done,
    };
    let result = block_on(async {
        let mut bench =
            bench("function on_master()\n  local name = 'x'\n  hostname.set(name)\nend").await;
        bench
            .call(EntryPoint::OnMaster, &mut Script::new(deny))
            .await
    });
    let Err(HookError::Raised { message, backtrace }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(
        message,
        "failover.lua:3: hostname.set: not granted: hostname.set x; to grant it, write under [hook.failover.grant]: hostname = [\"x\"]"
    );
    assert!(
        backtrace.contains("failover.lua:3 function on_master"),
        "{backtrace}"
    );
}

#[test]
fn the_kernels_words_reach_the_hook_and_can_be_caught() {
    let fail = |ask: &Ask| match ask {
        Ask::Effect { .. } => Answer::Error(AskError::Host {
            message: "no such device eth9".into(),
            errno: Some(19),
        }),
        _ => Answer::Done,
    };
    let asked = block_on(async {
        let mut desk = Script::new(fail);
        let mut bench =
            bench("function on_master() print(pcall(function() addr.add('10.0.0.1', { dev = 'eth9' }) end)) end").await;
        bench.call(EntryPoint::OnMaster, &mut desk).await.unwrap();
        desk.asked
    });
    let Some(Ask::Log {
        message,
        level: LogLevel::Info,
        ..
    }) = asked.last()
    else {
        panic!("{asked:?}")
    };
    assert_eq!(
        message,
        "false\tfailover.lua:1: addr.add: no such device eth9"
    );
}

#[test]
fn what_is_tolerant_goes_past_failures_and_no_further() {
    let answer = |ask: &Ask| match ask {
        Ask::Effect {
            effect: Effect::CommandRun { name, .. },
            ..
        } if name == "fails" => Answer::Reply(Reply::Command(CommandOutput {
            status: 3,
            stdout: "out".into(),
            stderr: "why".into(),
        })),
        Ask::Effect {
            effect: Effect::HostnameSet { .. },
            ..
        } => {
            let denied = Grants::default()
                .permit_query(&Query::Hostname)
                .unwrap_err();
            Answer::Error(AskError::Denied(*denied))
        }
        Ask::Effect { .. } => Answer::Error(AskError::Host {
            message: "no such thing".into(),
            errno: Some(19),
        }),
        _ => Answer::Done,
    };
    let main = "local addr = tolerant(addr)
        local ask = tolerant(command.run, 'quiet')
        local function try(call, ...) return tolerant(call)(...) end
        function on_master()
          assert(addr.add('10.0.0.1/24', { dev = 'eth9' }) == false)
          assert(try(service.start, 'x') == false)
          assert(tolerant(announce)('10.0.0.1/24') == false)
          assert(tolerant(command).run('fails').status == 3)
          assert(ask('fails').stdout == 'out')
          assert(ask('missing').status == 127)
          assert(not pcall(tolerant, 5) and not pcall(tolerant, addr, 'loud'))
          tolerant(hostname).set('x')
        end";
    let (result, asked) = block_on(async {
        let mut desk = Script::new(answer);
        let mut bench = bench(main).await;
        let result = bench.call(EntryPoint::OnMaster, &mut desk).await;
        (result, desk.asked)
    });
    let Err(HookError::Raised { message, .. }) = result else {
        panic!("{result:?}")
    };
    assert!(message.contains("not granted"), "{message}");
    let warned: Vec<&str> = asked
        .iter()
        .filter_map(|ask| match ask {
            Ask::Log { level, message, .. } => {
                assert_eq!(*level, LogLevel::Warn);
                Some(message.as_str())
            }
            _ => None,
        })
        .collect();
    let past = "Went on after a failure";
    let missing = "A command could not be run";
    assert_eq!(warned, [past, past, past, "A command failed", missing]);
}

#[test]
fn errors_carry_file_line_and_stack() {
    let (result, _) =
        run("local function deep()\n  error('no luck')\nend\nfunction on_master()\n  deep()\nend");
    let Err(HookError::Raised { message, backtrace }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(message, "failover.lua:2: no luck");
    assert_eq!(
        backtrace,
        "failover.lua:2 function deep\nfailover.lua:5 function on_master"
    );
    assert_eq!(
        error_of("string.find()"),
        "failover.lua:2: invalid argument #1 to 'find' (string expected, got nil)"
    );
    assert_eq!(error_of("error({ code = 5 })"), "{code = 5}");
}

#[test]
fn globals_are_fresh_in_every_run_and_state_lasts() {
    block_on(async {
        let mut kept = BTreeMap::new();
        let mut desk = Script::new(|ask: &Ask| match ask {
            Ask::StateGet { key } => Answer::State(kept.get(key).cloned()),
            Ask::StateSet {
                key,
                value: Some(value),
            } => {
                kept.insert(key.clone(), value.clone());
                Answer::Done
            }
            _ => Answer::Done,
        });
        let mut bench = bench(
            "runs = 0
            function on_master()
                runs += 1
                local kept = state.get('runs') or { n = 0, list = {} }
                kept.n += 1
                table.insert(kept.list, 'x')
                state.set('runs', kept)
                print(runs, kept.n, #kept.list)
            end",
        )
        .await;
        for _ in 0..3 {
            bench.call(EntryPoint::OnMaster, &mut desk).await.unwrap();
        }
        let shown: Vec<_> = desk
            .asked
            .iter()
            .filter_map(|a| {
                if let Ask::Log { message, .. } = a {
                    Some(message.as_str())
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(shown, ["1\t1\t1", "1\t2\t2", "1\t3\t3"]);
    });
}

#[test]
fn require_finds_modules_of_the_hook_and_nothing_else() {
    let mut hook = source(
        "local lib = require('lib/net')
        function on_master()
            print(lib.name, require('lib/net') == lib, require('./lib/net.lua') == lib)
            for _, name in { '../secret', './../secret', '/etc/passwd', 'lib/nett', 'lib/../lib/net', 'a', 'broken' } do
                print(pcall(function() return require(name) end))
            end
        end",
    );
    let module = |text: &str| text.as_bytes().to_vec();
    hook.modules = BTreeMap::from([
        (
            "lib/net.lua".into(),
            module("return { name = require('./names').net }"),
        ),
        (
            "lib/names.luau".into(),
            module("return { net = 'the net' }"),
        ),
        ("a.lua".into(), module("return require('b')")),
        ("b.lua".into(), module("return require('a')")),
        ("broken.lua".into(), module("\nerror('broken module')")),
    ]);
    block_on(async {
        let mut bench = try_bench(hook, budget()).await.unwrap();
        assert_eq!(
            bench.session.loaded().modules,
            ["lib/names.luau", "lib/net.lua"]
        );
        let mut desk = Script::new(yes);
        bench.call(EntryPoint::OnMaster, &mut desk).await.unwrap();
        let shown: Vec<_> = desk
            .asked
            .iter()
            .filter_map(|a| {
                if let Ask::Log { message, .. } = a {
                    Some(message.as_str())
                } else {
                    None
                }
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        the net	true	true
        false	failover.lua:5: require "../secret": a module is named by its path below the hook's directory, without ".."
        false	failover.lua:5: require "./../secret": a module is named by its path below the hook's directory, without ".."
        false	failover.lua:5: require "/etc/passwd": a module is named by its path below the hook's directory, without ".."
        false	failover.lua:5: require "lib/nett": there is no such module below the hook's directory; did you mean "lib/net"?
        false	failover.lua:5: require "lib/../lib/net": a module is named by its path below the hook's directory, without ".."
        false	b.lua:1: require a.lua: it requires itself, through a.lua, b.lua
        false	broken.lua:2: broken module
        "#);
    });
}

#[test]
fn a_table_of_entry_points_may_be_returned() {
    assert_eq!(
        run("return { on_master = function(event) assert(event.seq == 7) end }").0,
        Ok(Returned::Done)
    );
}

#[test]
fn hooks_that_cannot_work_are_refused_at_load() {
    let cases = [
        source("function on_master( end"),
        source("local x = 1"),
        source("function on_mastr() end function on_backup() end"),
        source("addr.add('10.0.0.1/24')"),
        source("error('at the top')"),
        source("print('not shown') while true do end"),
        HookSource {
            modules: BTreeMap::from([("m.lua".into(), b"return +".to_vec())]),
            ..source("require('m') function on_stop() end")
        },
    ];
    let messages: Vec<_> = cases
        .into_iter()
        .map(|case| load_error(case).to_string())
        .collect();
    insta::assert_snapshot!(messages.join("\n"), @r#"
    failover.lua:1: Expected identifier when parsing variable name, got 'end'
    hooks/failover.lua defines no entry point: it needs at least one of before_master, on_master, before_backup, on_backup, on_peer_claim, health, on_stop
    failover.lua: on_mastr is not an entry point; did you mean on_master?
    failover.lua:1: addr.add: not while the file is loaded; call it in an entry point
    failover.lua:1: at the top
    ran longer than its budget of 300ms
    failover.lua:1: m.lua:1: Expected identifier when parsing expression, got '+'
    "#);
}

#[test]
fn a_fault_in_a_file_beside_it_is_nothing_to_a_hook() {
    let modules = BTreeMap::from([("other.lua".into(), b"function on_master(".to_vec())]);
    let hook = HookSource {
        modules,
        ..source("function on_master() assert(not pcall(require, 'other')) end")
    };
    block_on(async {
        let mut bench = try_bench(hook, budget()).await.unwrap();
        assert_eq!(
            bench
                .call(EntryPoint::OnMaster, &mut Script::new(yes))
                .await,
            Ok(Returned::Done)
        );
    });
}

#[test]
fn health_gives_a_demotion() {
    block_on(async {
        let mut bench = bench(
            "function health(event)
                if event.seq == 7 then return 40, 'slow' end
            end",
        )
        .await;
        let mut desk = Script::new(yes);
        let result = bench.call(EntryPoint::Health, &mut desk).await;
        assert_eq!(
            result,
            Ok(Returned::Health {
                demotion: 40,
                reason: "slow".into()
            })
        );
        let other = HookEvent {
            seq: 8,
            ..event(EntryPoint::Health)
        };
        let err = bench
            .session
            .call(other, budget(), &mut desk, pending())
            .await
            .unwrap_err();
        assert_eq!(
            err.to_string(),
            "failover.lua: health must return true, false, or a demotion from 0 to 240 and a reason"
        );
    });
}

#[test]
fn a_run_that_overruns_is_ended_and_the_session_goes_on() {
    block_on(async {
        let mut bench =
            bench("function on_master() while true do pcall(function() while true do end end) end end function on_backup() end")
                .await;
        let mut desk = Script::new(yes);
        let short = Budget {
            wall: Duration::from_millis(200),
            ..budget()
        };
        let result = bench
            .session
            .call(event(EntryPoint::OnMaster), short, &mut desk, pending())
            .await;
        assert_eq!(result, Err(HookError::TimedOut(short.wall)));
        assert!(bench.session.is_alive());
        assert_eq!(
            bench.call(EntryPoint::OnBackup, &mut desk).await,
            Ok(Returned::Done)
        );
    });
}

/// Never answers an effect.
struct Silent;

impl RequestHandler for Silent {
    async fn ask(&mut self, _: Ask) -> Answer {
        pending().await
    }
}

/// Tells that a hook has asked, and answers it or never does.
struct Told<'a> {
    asked: &'a Notify,
    answers: bool,
}

impl RequestHandler for Told<'_> {
    async fn ask(&mut self, ask: Ask) -> Answer {
        self.asked.notify_one();
        if self.answers {
            yes(&ask)
        } else {
            pending().await
        }
    }
}

#[test]
fn a_run_that_waits_for_the_host_ends_with_its_time() {
    block_on(async {
        let mut bench = bench("function on_master() service.start('slow') end").await;
        let short = Budget {
            wall: Duration::from_millis(100),
            ..budget()
        };
        let result = bench
            .session
            .call(event(EntryPoint::OnMaster), short, &mut Silent, pending())
            .await;
        assert_eq!(result, Err(HookError::TimedOut(short.wall)));
    });
}

#[test]
fn a_superseded_run_ends_at_once_while_it_waits() {
    block_on(async {
        let mut bench =
            bench("function on_master() while true do pcall(service.start, 'slow') end end").await;
        let asked = Notify::new();
        let mut desk = Told {
            asked: &asked,
            answers: false,
        };
        let began = tokio::time::Instant::now();
        let result = bench
            .session
            .call(
                event(EntryPoint::OnMaster),
                budget(),
                &mut desk,
                asked.notified(),
            )
            .await;
        assert_eq!(result, Err(HookError::Superseded));
        assert!(
            began.elapsed() < Duration::from_millis(500),
            "{:?}",
            began.elapsed()
        );
        assert!(bench.session.is_alive());
    });
}

#[test]
fn a_superseded_run_that_computes_is_given_up_after_the_grace() {
    block_on(async {
        let mut bench =
            bench("function on_master() service.start('quick') while true do end end").await;
        let asked = Notify::new();
        let mut desk = Told {
            asked: &asked,
            answers: true,
        };
        let result = bench
            .session
            .call(
                event(EntryPoint::OnMaster),
                budget(),
                &mut desk,
                asked.notified(),
            )
            .await;
        assert_eq!(result, Err(HookError::Superseded));
        assert!(!bench.session.is_alive());
    });
}

#[test]
fn questions_beyond_the_budget_are_refused_by_the_engine() {
    block_on(async {
        let mut bench = bench("function on_master() for i = 1, 10 do hostname.get() end end").await;
        let few = Budget {
            requests: 3,
            ..budget()
        };
        let mut desk = Script::new(yes);
        let err = bench
            .session
            .call(event(EntryPoint::OnMaster), few, &mut desk, pending())
            .await
            .unwrap_err();
        assert_eq!(
            err.to_string(),
            "failover.lua:1: hostname.get: more than 3 questions in one run"
        );
        assert_eq!(desk.asked.len(), 3);
    });
}

#[test]
fn a_hook_that_floods_the_log_is_cut_off_and_counted() {
    block_on(async {
        let mut bench =
            bench("function on_master() for i = 1, 2000 do log.info(string.rep('x', 1000)) end log.info('end') end").await;
        let mut desk = Script::new(yes);
        assert_eq!(
            bench.call(EntryPoint::OnMaster, &mut desk).await,
            Ok(Returned::Done)
        );
        let bytes: usize = desk
            .asked
            .iter()
            .map(|a| {
                if let Ask::Log { message, .. } = a {
                    message.len()
                } else {
                    0
                }
            })
            .sum();
        assert!(bytes <= 65 << 10, "{bytes}");
        let Some(Ask::Log {
            level: LogLevel::Warn,
            message,
            fields,
        }) = desk.asked.last()
        else {
            panic!()
        };
        assert_eq!(message, "Dropped log lines of a hook beyond its quota");
        let dropped: usize = fields[0].1.parse().unwrap();
        assert_eq!(dropped + desk.asked.len() - 1, 2001);
    });
}
