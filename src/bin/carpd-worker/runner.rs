//! The runner process: confines itself, loads one hook, and serves calls until its socket closes.
//!
//! The keeper starts it as `carpd-worker __runner MEMORY_BYTES LANGUAGE` with its socket as
//! standard input, and with TERM, INT and HUP blocked: a signal to the whole process group must not
//! end a hook that is stopping services.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use carpd::frame::{FrameError, Inbox, receive, send};
use carpd::hooks::contract::message::{
    Confinement, FromRunner, Loaded, MAX_FROM_RUNNER, MAX_TO_RUNNER, TestCall, ToRunner,
};
use carpd::hooks::{
    Answer, Ask, AskError, Budget, EntryPoint, Hook, HookError, HookEvent, HookHost, HookSource,
    Instance, Language, LoadError, TestHost,
};
use carpd::programs::role;
use carpd::sandbox;
use carpd::types::State;

/// The longest log message, and the longest field, that is passed on, in bytes.
const MAX_LOG: usize = 8 << 10;
/// The most fields of a log line that are passed on.
const MAX_FIELDS: usize = 32;

/// The runner's end of the socket.
struct Link {
    stream: UnixStream,
    inbox: Inbox,
}

impl Link {
    fn send(&mut self, message: &FromRunner) -> Result<(), FrameError> {
        send(&self.stream, message, MAX_FROM_RUNNER)
    }

    fn receive(&mut self) -> Result<ToRunner, FrameError> {
        receive(&self.stream, &mut self.inbox, MAX_TO_RUNNER)
    }
}

impl HookHost for Link {
    fn ask(&mut self, ask: Ask) -> Answer {
        let sent = self.send(&FromRunner::Ask(shorten(ask)));
        if let Err(FrameError::TooLarge { length, limit }) = sent {
            return Answer::Error(AskError::OverBudget(format!(
                "{length} bytes are more than one call may carry: {limit}"
            )));
        }
        match sent.and_then(|()| self.receive()) {
            Ok(ToRunner::Answer(answer)) => answer,
            // The engine is gone or confused: nothing about this run matters any more.
            Ok(_) | Err(_) => Answer::Error(AskError::Superseded),
        }
    }
}

impl TestHost for Link {
    fn call(&mut self, call: TestCall) -> Result<Vec<u8>, String> {
        let sent = self.send(&FromRunner::Test(call));
        match sent.and_then(|()| self.receive()) {
            Ok(ToRunner::TestAnswer(answer)) => answer,
            Ok(_) => Err("unexpected message while running the test".to_owned()),
            Err(err) => Err(err.to_string()),
        }
    }
}

/// Log text is already cut here, so that a careless hook does not spend its quota on one line.
fn shorten(ask: Ask) -> Ask {
    let cut = |text: String| match text.len() {
        0..=MAX_LOG => text,
        _ => {
            text.get(..text.floor_char_boundary(MAX_LOG))
                .unwrap_or_default()
                .to_owned()
                + "..."
        }
    };
    match ask {
        Ask::Log {
            level,
            message,
            fields,
        } => {
            let fields = fields
                .into_iter()
                .take(MAX_FIELDS)
                .map(|(key, value)| (cut(key), cut(value)))
                .collect();
            Ask::Log {
                level,
                message: cut(message),
                fields,
            }
        }
        other @ (Ask::Effect { .. }
        | Ask::Query(_)
        | Ask::Sleep { .. }
        | Ask::StateGet { .. }
        | Ask::StateSet { .. }) => other,
    }
}

/// The whole life of a runner process. Exit status 0: the engine closed the socket; 2: it was not
/// started as a runner; 3: a message of the engine could not be understood.
#[must_use]
pub(crate) fn main() -> ExitCode {
    let memory = role::arguments()
        .next()
        .and_then(|text| text.to_str()?.parse().ok())
        .unwrap_or(Budget::default().memory_bytes);
    let Ok(stream) = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(UnixStream::from)
    else {
        return ExitCode::from(2);
    };
    if stream.peer_addr().is_err() {
        return ExitCode::from(2);
    }
    sandbox::measure_address_space();
    let confinement = confine(memory);
    // Never dropped: before the standard library closes a descriptor, a debug build makes a system
    // call that is forbidden here. The descriptor is closed anyway when the process ends.
    let mut link = std::mem::ManuallyDrop::new(Link {
        stream,
        inbox: Inbox::default(),
    });
    match link
        .send(&FromRunner::Ready { confinement })
        .and_then(|()| serve(&mut link))
    {
        Ok(()) | Err(FrameError::Closed | FrameError::Io(_)) => ExitCode::SUCCESS,
        Err(FrameError::Truncated | FrameError::TooLarge { .. } | FrameError::Garbage(_)) => {
            ExitCode::from(3)
        }
    }
}

/// Confines the process for its language: the third argument, or Luau if there is none.
#[cfg(feature = "wasm")]
fn confine(memory: u64) -> Confinement {
    let language = role::arguments().nth(1);
    if language.is_none_or(|word| word != carpd::hooks::contract::message::RUNNER_WASM) {
        return sandbox::confine(sandbox::Kind::Lua, memory, warm_up);
    }
    let mut prepared = Ok(true);
    let mut confinement = sandbox::confine(sandbox::Kind::Wasm, memory, || {
        prepared = crate::wasm::prepare();
    });
    match prepared {
        Ok(true) => {}
        Ok(false) => {
            confinement.missing.push(
                "native-code: memory may not be made executable here; it is interpreted".to_owned(),
            );
        }
        // Loading will report it.
        Err(why) => confinement.missing.push(format!("wasmtime: {why}")),
    }
    confinement
}

#[cfg(not(feature = "wasm"))]
fn confine(memory: u64) -> Confinement {
    sandbox::confine(sandbox::Kind::Lua, memory, warm_up)
}

/// Loads one hook or test file, then answers calls, until the socket closes.
fn serve(link: &mut Link) -> Result<(), FrameError> {
    match link.receive()? {
        ToRunner::Load {
            source,
            budget,
            coverage,
        } => serve_hook(link, *source, &budget, coverage),
        ToRunner::LoadTest { source, budget } => serve_test(link, &source, &budget),
        ToRunner::Call { .. }
        | ToRunner::Answer(_)
        | ToRunner::Coverage
        | ToRunner::Case { .. }
        | ToRunner::TestAnswer(_) => Ok(()),
    }
}

fn serve_hook(
    link: &mut Link,
    source: HookSource,
    budget: &Budget,
    coverage: bool,
) -> Result<(), FrameError> {
    let loaded = load(&source, budget, coverage);
    // It may be megabytes, and the hook already has what it needs of it.
    drop(source);
    let told = loaded
        .as_ref()
        .map(|hook| Loaded {
            entry_points: hook.entry_points().to_vec(),
            modules: hook.modules().to_vec(),
            imports: hook.imports().to_vec(),
        })
        .map_err(Clone::clone);
    link.send(&FromRunner::Loaded(told))?;
    let Ok(mut hook) = loaded else { return Ok(()) };
    // Runners wait for hours, and do not need what loading mapped of the binary. What preparing
    // needs is mapped again at once.
    sandbox::forget_code();
    loop {
        hook.prepare();
        match link.receive()? {
            ToRunner::Call { event, budget } => {
                let result = hook.call(&event, link, &budget);
                link.send(&FromRunner::Finished(result))?;
                // On a shared CPU, the engine would otherwise learn that the run has ended only
                // after the next one has been prepared.
                std::thread::yield_now();
            }
            ToRunner::Coverage => link.send(&FromRunner::Coverage(hook.coverage()))?,
            ToRunner::Load { .. }
            | ToRunner::Answer(_)
            | ToRunner::LoadTest { .. }
            | ToRunner::Case { .. }
            | ToRunner::TestAnswer(_) => return Ok(()),
        }
    }
}

#[cfg(feature = "lua")]
fn serve_test(link: &mut Link, source: &HookSource, budget: &Budget) -> Result<(), FrameError> {
    let loaded = crate::lua::TestFile::load(source, budget);
    let told = loaded
        .as_ref()
        .map(|file| file.cases().to_vec())
        .map_err(Clone::clone);
    link.send(&FromRunner::Cases(told))?;
    let Ok(file) = loaded else { return Ok(()) };
    while let ToRunner::Case { number, budget } = link.receive()? {
        let result = file.run(usize::try_from(number).unwrap_or(usize::MAX), link, &budget);
        link.send(&FromRunner::Finished(result))?;
    }
    Ok(())
}

#[cfg(not(feature = "lua"))]
fn serve_test(link: &mut Link, _: &HookSource, _: &Budget) -> Result<(), FrameError> {
    let text = "a test file is Luau, which is not built into this carpd";
    link.send(&FromRunner::Cases(Err(LoadError::Runner(text.to_owned()))))
}

fn load(source: &HookSource, budget: &Budget, coverage: bool) -> Result<Box<dyn Hook>, LoadError> {
    #[cfg(any(feature = "lua", feature = "wasm"))]
    use carpd::hooks::HookRuntime;
    match source.language {
        #[cfg(feature = "lua")]
        Language::Lua => crate::lua::LuaRuntime { coverage }.load(source, budget),
        #[cfg(feature = "wasm")]
        Language::Wasm => crate::wasm::WasmRuntime.load(source, budget),
        #[cfg(not(all(feature = "lua", feature = "wasm")))]
        language => {
            let _ = (budget, coverage);
            Err(LoadError::Runner(format!(
                "{language:?} hooks are not built into this carpd"
            )))
        }
    }
}

/// A host that denies everything.
struct Nobody;

impl HookHost for Nobody {
    fn ask(&mut self, _: Ask) -> Answer {
        Answer::Error(AskError::Superseded)
    }
}

/// Runs a hook once, with an error in it, so that everything that happens on first use has happened
/// before the system call filter.
fn warm_up() {
    let source = HookSource {
        name: match "warm-up".parse() {
            Ok(name) => name,
            Err(_) => return,
        },
        language: Language::Lua,
        path: "warm-up.lua".to_owned(),
        main: b"function on_stop(event) print(event.seq); error(string.format('%g', 1.5)) end"
            .to_vec(),
        modules: std::collections::BTreeMap::new(),
        config_json: "{}".to_owned(),
        native: None,
    };
    let budget = Budget::default();
    let (Ok(mut hook), Ok(instance)) = (load(&source, &budget, false), instance()) else {
        return;
    };
    let event = HookEvent {
        entry: EntryPoint::OnStop,
        instance,
        state: State::Init,
        previous: State::Init,
        cause: String::new(),
        cause_text: String::new(),
        peer: None,
        seq: 0,
        initial: false,
        missed: 0,
        xparam: None,
        node: String::new(),
        time_left_ms: 0,
    };
    let result: Result<_, HookError> = hook.call(&event, &mut Nobody, &budget);
    debug_assert!(result.is_err(), "the warm-up raises an error");
}

fn instance() -> Result<Instance, Box<dyn std::error::Error>> {
    Ok(Instance {
        name: "warm-up".parse()?,
        interface: "lo".parse()?,
        vhid: carpd::types::Vhid::new(1)?,
        addresses: Vec::new(),
    })
}
