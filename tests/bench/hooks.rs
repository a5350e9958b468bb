//! What a hook costs: `cargo bench --bench hooks`. Target: a run with five questions in at most 200
//! µs.
#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first error")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::pending;
use std::path::Path;
use std::time::Duration;

use carpd::effect::{Outcome, Reply};
use carpd::hooks::process::session::{RequestHandler, SandboxPolicy, Session};
use carpd::hooks::{Answer, Ask, Budget, EntryPoint, HookEvent, HookSource, Instance, Language};
use carpd::keeper::{Client, Role};
use carpd::types::{State, Vhid};

fn main() {
    divan::main();
}

/// More than a runner needs to be ready for the next run.
const PREPARED: Duration = Duration::from_millis(3);

struct Yes;

impl RequestHandler for Yes {
    async fn ask(&mut self, _: Ask) -> Answer {
        Answer::Reply(Reply::Outcome(Outcome::Changed))
    }
}

fn event(entry: EntryPoint) -> HookEvent {
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

const HOOK: &str = r#"
function on_master(event)
    addr.add("192.168.32.22/24")
    hostname.set("nodevir2")
    route.replace("default", { via = config.gateway })
    announce("192.168.32.22/24")
    service.start("httpd")
end
function on_stop() end
"#;

async fn session() -> (Client, Session) {
    let source = HookSource {
        name: "failover".parse().unwrap(),
        language: Language::Lua,
        path: "failover.lua".into(),
        main: HOOK.as_bytes().to_vec(),
        modules: BTreeMap::new(),
        config_json: r#"{"gateway": "192.168.32.254"}"#.into(),
        native: None,
    };
    let (keeper, _) = Client::start(Some(Path::new(env!("CARGO_BIN_EXE_carpd-daemon")))).unwrap();
    let budget = Budget::default();
    let (_, stream) = keeper
        .spawn(Role::Runner {
            memory_bytes: budget.memory_bytes,
        })
        .await
        .unwrap();
    let session = Session::load(stream, source, budget, SandboxPolicy::Required)
        .await
        .unwrap();
    (keeper, session)
}

/// Transitions are seconds apart: a runner has had the time to make what its next run needs.
/// `at_once` does not give it.
#[expect(clippy::disallowed_methods, reason = "a measurement after a pause")]
fn run(bencher: divan::Bencher, entry: EntryPoint, at_once: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (_keeper, session) = runtime.block_on(session());
    let session = RefCell::new(session);
    let event = event(entry);
    let pause = if at_once { Duration::ZERO } else { PREPARED };
    bencher
        .with_inputs(|| std::thread::sleep(pause))
        .bench_local_values(|()| {
            let mut session = session.borrow_mut();
            runtime
                .block_on(session.call(event.clone(), Budget::default(), &mut Yes, pending()))
                .unwrap();
        });
}

#[divan::bench]
fn run_with_five_questions(bencher: divan::Bencher) {
    run(bencher, EntryPoint::OnMaster, false);
}

#[divan::bench]
fn run_with_none(bencher: divan::Bencher) {
    run(bencher, EntryPoint::OnStop, false);
}

/// As [`run_with_five_questions`], one right after the other.
#[divan::bench]
fn run_with_five_at_once(bencher: divan::Bencher) {
    run(bencher, EntryPoint::OnMaster, true);
}

#[divan::bench(sample_count = 20)]
fn start_and_load(bencher: divan::Bencher) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    bencher.bench_local(|| runtime.block_on(session()));
}

/// The same with WebAssembly: plugins/failover, and plugins/fixture that does nothing.
#[cfg(feature = "wasm")]
mod wasm {
    use carpd::hooks::Native;
    use carpd::hooks::contract::api;
    use carpd::hooks::process::compiler;

    use super::{
        BTreeMap, Budget, Client, EntryPoint, HookSource, Language, Path, Role, SandboxPolicy,
        Session, Yes, event, pending,
    };

    const FAILOVER: &[u8] = include_bytes!("../../plugins/failover/failover.wasm");
    const FIXTURE: &[u8] = include_bytes!("../../plugins/fixture/fixture.wasm");
    const FAILOVER_CONFIG: &str = r#"{"name_master":"nodevir2","name_backup":"node2","gateway":"192.168.32.254","service":"httpd"}"#;

    async fn compile(component: &[u8]) -> Vec<u8> {
        let (keeper, _) =
            Client::start(Some(Path::new(env!("CARGO_BIN_EXE_carpd-daemon")))).unwrap();
        let (_, stream) = keeper.spawn(Role::Compiler).await.unwrap();
        let ended = pending::<String>();
        compiler::compile_by(
            stream,
            component,
            SandboxPolicy::Required,
            compiler::PATIENCE,
            ended,
        )
        .await
        .unwrap()
    }

    async fn session(code: Vec<u8>, config: &str) -> (Client, Session) {
        let budget = Budget::default();
        let memory_bytes = budget.memory_bytes + 2 * code.len() as u64;
        let source = HookSource {
            name: "failover".parse().unwrap(),
            language: Language::Wasm,
            path: "failover.wasm".into(),
            main: Vec::new(),
            modules: BTreeMap::new(),
            config_json: config.into(),
            native: Some(Native {
                code,
                allowed: api::FUNCTIONS
                    .iter()
                    .map(api::Function::full_name)
                    .collect(),
            }),
        };
        let (keeper, _) =
            Client::start(Some(Path::new(env!("CARGO_BIN_EXE_carpd-daemon")))).unwrap();
        let (_, stream) = keeper
            .spawn(Role::WasmRunner { memory_bytes })
            .await
            .unwrap();
        let session = Session::load(stream, source, budget, SandboxPolicy::Required)
            .await
            .unwrap();
        (keeper, session)
    }

    fn run(bencher: divan::Bencher, component: &[u8], config: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (_keeper, mut session) =
            runtime.block_on(async { session(compile(component).await, config).await });
        let event = event(EntryPoint::OnMaster);
        bencher.bench_local(|| {
            runtime
                .block_on(session.call(event.clone(), Budget::default(), &mut Yes, pending()))
                .unwrap();
        });
    }

    #[divan::bench]
    fn run_with_three_questions(bencher: divan::Bencher) {
        run(bencher, FAILOVER, FAILOVER_CONFIG);
    }

    #[divan::bench]
    fn run_with_none(bencher: divan::Bencher) {
        run(bencher, FIXTURE, r#"{"do":"nothing"}"#);
    }

    #[divan::bench(sample_count = 20)]
    fn start_and_load(bencher: divan::Bencher) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let code = runtime.block_on(compile(FAILOVER));
        bencher.bench_local(|| runtime.block_on(session(code.clone(), FAILOVER_CONFIG)));
    }

    #[divan::bench(sample_count = 5)]
    fn compile_in_a_process_of_its_own(bencher: divan::Bencher) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        bencher.bench_local(|| runtime.block_on(compile(FAILOVER)));
    }
}
