//! Luau as a hook language.
//!
//! A hook is compiled once; every run gets a new VM with its own globals: libraries, the prelude
//! with the host's tables, then the sandbox, the memory limit and the watch. Nothing carries over
//! from one run to the next. The VM for the next run is created in idle time, since that takes
//! longer than most runs.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a kind of Lua value that is not named is refused"
)]

mod coverage;
mod test_file;
mod values;

pub(crate) use test_file::TestFile;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Function, Lua, LuaOptions, MultiValue, StdLib, Value, VmState};

use crate::limits::{self, Stop, Watch};
use carpd::hooks::contract::api::{self, Context, FUNCTIONS, Gives, Raw, Request};
use carpd::hooks::contract::message::FileCoverage;
use carpd::hooks::runtime::lua::{find_module, module_stem, without_bom};
use carpd::hooks::{
    Answer, Ask, AskError, Budget, EntryPoint, Hook, HookError, HookEvent, HookHost, HookRuntime,
    HookSource, LoadError, Returned, TestHost,
};
use carpd::types::IfName;
use coverage::Coverage;

const PRELUDE: &str = include_str!("prelude.luau");

/// Everything except `os` (it opens files for time zones, and offers little that `clock` does not),
/// `integer` and `vector`. `debug` is loaded for the prelude, which keeps only the harmless part of
/// it.
const LIBRARIES: [StdLib; 8] = [
    StdLib::COROUTINE,
    StdLib::TABLE,
    StdLib::STRING,
    StdLib::UTF8,
    StdLib::BIT,
    StdLib::MATH,
    StdLib::BUFFER,
    StdLib::DEBUG,
];

/// The longest error text or stack that leaves the VM, in bytes.
const MAX_TEXT: usize = 8 << 10;

/// The most lines of a stack that leave the VM.
const MAX_STACK: usize = 20;

/// The host of Luau hooks.
#[derive(Debug, Default)]
pub(crate) struct LuaRuntime {
    /// Count how often each line runs; this has a small cost.
    pub coverage: bool,
}

/// A loaded Luau hook: bytecode.
#[derive(Debug)]
struct LuaHook {
    code: Rc<Code>,
    entry_points: Vec<EntryPoint>,
    modules: Vec<String>,
    /// For the next run.
    next: Option<Vm>,
    /// The VM of the last run, until there is time to destroy it.
    last: Option<Vm>,
}

/// What every run of one hook needs.
#[derive(Debug)]
struct Code {
    /// The hook's name, for `[hook.NAME.grant]`.
    name: String,
    /// The file's name, as in `failover.lua:12`.
    file: String,
    prelude: Vec<u8>,
    main: Vec<u8>,
    /// Bytecode, or the error in the text. The error does not matter until the module is required,
    /// since hooks share a directory.
    modules: BTreeMap<String, Result<Vec<u8>, String>>,
    config: serde_json::Value,
    kind: Kind,
    /// How often each line has run, if requested.
    coverage: Option<Coverage>,
}

/// The kind of script, which decides what it may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A hook: it may call the functions of the host.
    Hook {
        /// Count how often each line runs.
        coverage: bool,
    },
    /// A test of a hook: it may call the module `test`.
    Test,
}

/// The other end of the functions that a script calls.
enum Peer<'a> {
    /// While loading: a top level must not touch the host.
    Nobody,
    /// The host of a hook.
    Hook(RefCell<&'a mut dyn HookHost>),
    /// The program that runs the test.
    Test(RefCell<&'a mut dyn TestHost>),
}

/// The script's top level, and what the prelude returns: functions to call a function of the script
/// and to make a table strict, and the cases.
#[derive(Debug)]
struct Glue {
    main: Function,
    call: Function,
    strict: Function,
    cases: Option<mlua::Table>,
}

/// A VM in which nothing of a script has run yet.
#[derive(Debug)]
struct Vm {
    lua: Lua,
    glue: Glue,
    /// Takes the functions that serve the run.
    begin: Function,
}

impl Vm {
    fn new(code: &Code) -> mlua::Result<Self> {
        let libraries = LIBRARIES
            .into_iter()
            .fold(StdLib::NONE, |all, one| all | one);
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        let config = values::frozen_json(&lua, &code.config)?;
        let prelude = Code::open(&lua, "carpd", &code.prelude)?;
        let (call, strict, cases, begin) = prelude.call(config)?;
        lua.sandbox(true)?;
        let main = Code::open(&lua, &code.file, &code.main)?;
        Ok(Self {
            lua,
            glue: Glue {
                main,
                call,
                strict,
                cases,
            },
            begin,
        })
    }
}

/// One VM in use.
struct Run<'a> {
    code: &'a Code,
    watch: Rc<Watch>,
    memory: u64,
    peer: Peer<'a>,
    interface: Option<&'a IfName>,
    opened: RefCell<BTreeSet<String>>,
    /// The top levels whose lines are counted.
    running: RefCell<Vec<(String, Function)>>,
    /// Simulated sleep that the clock has not seen.
    skipped: Cell<Duration>,
}

impl HookRuntime for LuaRuntime {
    fn load(&self, source: &HookSource, budget: &Budget) -> Result<Box<dyn Hook>, LoadError> {
        let code = Code::compile(
            source,
            Kind::Hook {
                coverage: self.coverage,
            },
        )?;
        let run = Run::new(&code, *budget, Peer::Nobody, None);
        let loaded = run.enter(|lua, glue| {
            let returned = protected(&glue.call, run.main(glue), Value::Nil)?.0;
            Defined::read(lua, &returned).map_err(|err| raised(&err))
        });
        let defined = loaded.map_err(|err| LoadError::Code(err.to_string()))?;
        if let Some((given, meant)) = defined.mistyped {
            return Err(LoadError::Code(format!(
                "{}: {given} is not an entry point; did you mean {meant}?",
                code.file
            )));
        }
        if defined.entry_points.is_empty() {
            return Err(LoadError::NoEntryPoint {
                path: source.path.clone(),
            });
        }
        let modules = run.opened.take().into_iter().collect();
        drop(run);
        let entry_points = defined.entry_points;
        Ok(Box::new(LuaHook {
            code: Rc::new(code),
            entry_points,
            modules,
            next: None,
            last: None,
        }))
    }
}

impl Hook for LuaHook {
    fn entry_points(&self) -> &[EntryPoint] {
        &self.entry_points
    }

    fn modules(&self) -> &[String] {
        &self.modules
    }

    fn prepare(&mut self) {
        self.last = None;
        // An error here occurs again in the run, and is reported there. What the prelude left over
        // is collected now, so that a short run never waits for the collector.
        let ready = || {
            Vm::new(&self.code)
                .and_then(|vm| vm.lua.gc_collect().map(|()| vm))
                .ok()
        };
        self.next = self.next.take().or_else(ready);
    }

    fn call(
        &mut self,
        event: &HookEvent,
        host: &mut dyn HookHost,
        budget: &Budget,
    ) -> Result<Returned, HookError> {
        let code = Rc::clone(&self.code);
        let run = Run::new(
            &code,
            *budget,
            Peer::Hook(RefCell::new(host)),
            Some(&event.instance.interface),
        );
        let entry = event.entry;
        let vm = match self.next.take() {
            Some(vm) => vm,
            None => Vm::new(&code).map_err(|err| raised(&err))?,
        };
        // It must not be used again, whatever the outcome of this run.
        let vm = &*self.last.insert(vm);
        run.enter_vm(vm, |lua, glue| {
            let Glue { call, strict, .. } = glue;
            let returned = protected(call, run.main(glue), Value::Nil)?.0;
            let function = lookup(lua, &returned, entry).ok_or_else(|| {
                raised_text(format!(
                    "{}: {} is gone: it existed when the hook was loaded",
                    code.file,
                    entry.as_str()
                ))
            })?;
            let (event, instance) = values::event(lua, event).map_err(|err| raised(&err))?;
            strict
                .call::<()>(("event.instance", &instance))
                .map_err(|err| raised(&err))?;
            strict
                .call::<()>(("event", &event))
                .map_err(|err| raised(&err))?;
            let (value, reason) = protected(call, function, Value::Table(event))?;
            if entry == EntryPoint::Health {
                health(&code.file, &value, &reason)
            } else {
                Ok(Returned::Done)
            }
        })
    }

    fn coverage(&self) -> Vec<FileCoverage> {
        self.code
            .coverage
            .as_ref()
            .map(Coverage::report)
            .unwrap_or_default()
    }
}

impl Code {
    fn compile(source: &HookSource, kind: Kind) -> Result<Self, LoadError> {
        let file = source
            .path
            .rsplit('/')
            .next()
            .unwrap_or(&source.path)
            .to_owned();
        let config = serde_json::from_str(&source.config_json).map_err(|err| {
            LoadError::Code(format!("{file}: the hook's config is not JSON: {err}"))
        })?;
        let counted = kind == Kind::Hook { coverage: true };
        let compile_as = |counted: bool, name: &str, text: &[u8]| {
            let compiler = Compiler::new()
                .set_optimization_level(1)
                .set_debug_level(1)
                .set_coverage_level(u8::from(counted));
            compiler
                .compile(without_bom(text))
                .map_err(|err| LoadError::Code(syntax_error(name, &err)))
        };
        let compile = |name: &str, text: &[u8]| compile_as(counted, name, text);
        let prelude = if kind == Kind::Test {
            test_file::prelude()
        } else {
            prelude()
        };
        Ok(Self {
            prelude: compile_as(false, "carpd", prelude.as_bytes())?,
            main: compile(&file, &source.main)?,
            modules: source
                .modules
                .iter()
                .map(|(key, text)| {
                    (
                        key.clone(),
                        compile(key, text).map_err(|err| err.to_string()),
                    )
                })
                .collect(),
            name: source.name.to_string(),
            file,
            config,
            kind,
            coverage: counted.then(Coverage::default),
        })
    }

    fn open(lua: &Lua, name: &str, bytecode: &[u8]) -> mlua::Result<Function> {
        lua.load(bytecode)
            .set_name(format!("={name}"))
            .set_mode(ChunkMode::Binary)
            .into_function()
    }

    /// Finds what `require` refers to: `./x` next to the file that calls it, anything else below
    /// the hook's directory.
    fn resolve(&self, wanted: &str, from: &str) -> Result<String, String> {
        let refuse = |why: &str| format!("require {wanted:?}: {why}");
        let Some(stem) = module_stem(wanted, from) else {
            return Err(refuse(
                "a module is named by its path below the hook's directory, without \"..\"",
            ));
        };
        find_module(wanted, from, |key| self.modules.contains_key(key)).ok_or_else(|| {
            let stems = self
                .modules
                .keys()
                .map(|k| k.trim_end_matches(".luau").trim_end_matches(".lua"));
            let hint = api::nearest(&stem, stems)
                .map(|near| format!("; did you mean {near:?}?"))
                .unwrap_or_default();
            refuse(&format!(
                "there is no such module below the hook's directory{hint}"
            ))
        })
    }
}

/// The prelude, including the host's tables.
fn prelude() -> String {
    let mut groups = String::new();
    for group in api::groups() {
        let functions: Vec<String> = FUNCTIONS
            .iter()
            .enumerate()
            .filter(|(_, f)| f.group == group)
            .map(|(id, f)| format!("{} = api({id})", f.name))
            .collect();
        // A group that has a function with its own name can itself be called: announce(...).
        let call = api::find(group, group).map(|(id, _)| {
            format!(", function(_, ...) local ok, value = host({id}, ...) if ok then return value end error(value, 2) end")
        });
        groups += &format!(
            "{group} = strict(\"{group}\", {{ {} }}{})\n",
            functions.join(", "),
            call.unwrap_or_default()
        );
    }
    let print = api::find("log", "info").map_or(0, |(id, _)| id);
    PRELUDE
        .replace("$GROUPS", &groups)
        .replace("$PRINT", &print.to_string())
        .replace("$CASES", "nil")
}

/// What the top level of a hook defined.
struct Defined {
    entry_points: Vec<EntryPoint>,
    mistyped: Option<(String, &'static str)>,
}

impl Defined {
    fn read(lua: &Lua, returned: &Value) -> mlua::Result<Self> {
        let entry_points = EntryPoint::ALL
            .into_iter()
            .filter(|entry| lookup(lua, returned, *entry).is_some())
            .collect();
        let mut mistyped = None;
        for table in [Some(lua.globals()), returned.as_table().cloned()]
            .into_iter()
            .flatten()
        {
            for pair in table.pairs::<Value, Value>() {
                if let (Value::String(name), Value::Function(_)) = pair? {
                    let name = name.to_string_lossy();
                    mistyped = mistyped
                        .or_else(|| api::unknown_entry_point(&name).map(|meant| (name, meant)));
                }
            }
        }
        Ok(Self {
            entry_points,
            mistyped,
        })
    }
}

/// The function of an entry point: a global, or a field of the table that the file returned.
fn lookup(lua: &Lua, returned: &Value, entry: EntryPoint) -> Option<Function> {
    let global = lua.globals().raw_get::<Value>(entry.as_str()).ok();
    let field = || {
        returned
            .as_table()
            .and_then(|table| table.raw_get::<Value>(entry.as_str()).ok())
    };
    match global.filter(|value| !value.is_nil()).or_else(field)? {
        Value::Function(function) => Some(function),
        _ => None,
    }
}

/// Where the prelude catches a memory error, it has exactly this text: `xpcall` does not pass on
/// the status from which mlua would make [`mlua::Error::MemoryError`]. An error that a hook raises
/// has the place before its text, unless it asks for none.
const MEMORY_ERROR: &str = "not enough memory";

/// Runs a function of the hook under the prelude's `call`.
fn protected(
    call: &Function,
    function: Function,
    argument: Value,
) -> Result<(Value, Value), HookError> {
    let (ok, first, second) = call
        .call::<(bool, Value, Value)>((function, argument))
        .map_err(|err| raised(&err))?;
    if ok {
        return Ok((first, second));
    }
    if first.as_string().is_some_and(|text| text == MEMORY_ERROR) {
        return Err(HookError::OutOfMemory(UNKNOWN_LIMIT));
    }
    let text = |value: &Value| {
        value
            .as_string()
            .map(|s| cut(&s.to_string_lossy()))
            .unwrap_or_default()
    };
    let backtrace = text(&second);
    let shown = backtrace
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("carpd:") && !line.starts_with("[C]"));
    Err(HookError::Raised {
        message: text(&first),
        backtrace: shown.take(MAX_STACK).collect::<Vec<_>>().join("\n"),
    })
}

/// What `health` returned: true, false, or a demotion with a reason.
fn health(file: &str, value: &Value, reason: &Value) -> Result<Returned, HookError> {
    let demotion = match value {
        Value::Boolean(true) => Some(0),
        Value::Boolean(false) => Some(240),
        Value::Integer(demotion) => u8::try_from(*demotion).ok().filter(|d| *d <= 240),
        _ => None,
    };
    let demotion = demotion.ok_or_else(|| {
        raised_text(format!(
            "{file}: health must return true, false, or a demotion from 0 to 240 and a reason"
        ))
    })?;
    let reason = reason
        .as_string()
        .map(|text| cut(&text.to_string_lossy()))
        .unwrap_or_default();
    Ok(Returned::Health { demotion, reason })
}

/// An error outside of the hook's own code: in the glue, mostly because memory ran out.
fn raised(err: &mlua::Error) -> HookError {
    if is_out_of_memory(err) {
        return HookError::OutOfMemory(UNKNOWN_LIMIT);
    }
    raised_text(cut(&err.to_string()))
}

/// Stands for the limit until [`Run::enter_vm`] writes it into the error.
const UNKNOWN_LIMIT: u64 = 0;

fn is_out_of_memory(err: &mlua::Error) -> bool {
    match err {
        mlua::Error::MemoryError(_) => true,
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => {
            is_out_of_memory(cause)
        }
        _ => false,
    }
}

fn raised_text(message: String) -> HookError {
    HookError::Raised {
        message,
        backtrace: String::new(),
    }
}

/// At most [`MAX_TEXT`] bytes.
fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_TEXT))
        .unwrap_or_default()
        .to_owned()
}

/// `file:line: text` without the text that mlua adds.
fn syntax_error(name: &str, err: &mlua::Error) -> String {
    let text = match err {
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    // The compiler does not know the file's name: it writes `:12: text`, or `[string "..."]:12:
    // text`.
    let place = text
        .rsplit_once("]:")
        .map_or(text.as_str(), |(_, rest)| rest);
    format!("{name}:{}", place.trim_start_matches(':'))
}

impl<'a> Run<'a> {
    fn new(code: &'a Code, budget: Budget, peer: Peer<'a>, interface: Option<&'a IfName>) -> Self {
        Self {
            code,
            watch: Rc::new(Watch::start(budget)),
            memory: budget.memory_bytes,
            peer,
            interface,
            opened: RefCell::default(),
            running: RefCell::default(),
            skipped: Cell::default(),
        }
    }

    /// Creates a VM and runs `act` in it.
    fn enter<T>(
        &self,
        act: impl FnOnce(&Lua, &Glue) -> Result<T, HookError>,
    ) -> Result<T, HookError> {
        self.enter_vm(&Vm::new(self.code).map_err(|err| raised(&err))?, act)
    }

    /// Runs `act` in a new VM; the verdict of the watch overrides its result.
    fn enter_vm<T>(
        &self,
        vm: &Vm,
        act: impl FnOnce(&Lua, &Glue) -> Result<T, HookError>,
    ) -> Result<T, HookError> {
        let result = self.begin(vm, act).unwrap_or_else(|err| Err(raised(&err)));
        if let Some(verdict) = self.watch.verdict() {
            return Err(verdict);
        }
        result.map_err(|err| match err {
            HookError::OutOfMemory(_) => HookError::OutOfMemory(self.memory),
            other => other,
        })
    }

    fn begin<T>(
        &self,
        vm: &Vm,
        act: impl FnOnce(&Lua, &Glue) -> Result<T, HookError>,
    ) -> mlua::Result<Result<T, HookError>> {
        let Vm { lua, glue, begin } = vm;
        lua.set_memory_limit(usize::try_from(self.memory).unwrap_or(usize::MAX))?;
        let watch = Rc::clone(&self.watch);
        lua.set_interrupt(move |_| match watch.check() {
            None => Ok(VmState::Continue),
            Some(_) => Err(mlua::Error::runtime("the run is over")),
        });
        lua.scope(|scope| {
            let host = scope.create_function(|lua, args: MultiValue| self.ask(lua, args))?;
            let unknown = scope.create_function(|_, (table, name): (Option<String>, String)| {
                Ok(unknown(table.as_deref(), &name, self.code.kind))
            })?;
            let resolve = scope.create_function(|_, (wanted, from): (Value, String)| {
                Ok(self.resolve(&wanted, &from))
            })?;
            let open = scope.create_function(|lua, key: String| self.open(lua, key))?;
            begin.call::<()>((host, unknown, resolve, open))?;
            let result = act(lua, glue);
            if let Some(coverage) = &self.code.coverage {
                coverage.add(&self.running.take());
            }
            Ok(result)
        })
    }

    /// A call of a host function: its number, then its arguments. Returns true and the answer, or
    /// false and the text of an error.
    fn ask(&self, lua: &Lua, mut args: MultiValue) -> mlua::Result<(bool, Value)> {
        let id = match args.pop_front() {
            Some(Value::Integer(id)) => usize::try_from(id).ok(),
            _ => None,
        };
        if let Peer::Test(host) = &self.peer {
            return test_file::ask(lua, *host.borrow_mut(), id, &args);
        }
        let Some(function) = id.and_then(|id| FUNCTIONS.get(id)) else {
            return Err(mlua::Error::runtime("there is no such host function"));
        };
        let answer = match self.request(function, &args) {
            Ok(request) => self.fulfil(lua, function.gives, request)?,
            Err(err) => Err(err),
        };
        match answer {
            Ok(value) => Ok((true, value)),
            Err(text) => {
                let text = text.replace(
                    "[hook.NAME.grant]",
                    &format!("[hook.{}.grant]", self.code.name),
                );
                let named = format!("{}: {}", function.full_name(), cut(&text));
                Ok((false, Value::String(lua.create_string(named)?)))
            }
        }
    }

    fn request(&self, function: &api::Function, args: &MultiValue) -> Result<Request, String> {
        let mut raw = args
            .iter()
            .map(values::raw)
            .collect::<Result<Vec<_>, _>>()?;
        // f(x, nil) is f(x).
        while raw.last() == Some(&Raw::Nil) {
            raw.pop();
        }
        match self.interface {
            Some(interface) => function.request(raw, Context { interface }),
            None if function.group == "log" => Ok(Request::Ask(Ask::Sleep { ms: 0 })),
            None => Err("not while the file is loaded; call it in an entry point".to_owned()),
        }
    }

    fn fulfil(
        &self,
        lua: &Lua,
        gives: Gives,
        request: Request,
    ) -> mlua::Result<Result<Value, String>> {
        let ask = match request {
            Request::Now => {
                return Ok(Ok(Value::Number(
                    round_to_micros(limits::since_boot() + self.skipped.get()).as_secs_f64() * 1e3,
                )));
            }
            Request::Wall => {
                return Ok(Ok(Value::Number(
                    (limits::wall_clock() + self.skipped.get()).as_secs_f64(),
                )));
            }
            Request::Ask(ask) => ask,
        };
        let Peer::Hook(host) = &self.peer else {
            return Ok(Ok(Value::Nil));
        };
        let slept = if let Ask::Sleep { ms } = &ask {
            Some((*ms, limits::since_boot()))
        } else {
            None
        };
        let answer = host.borrow_mut().ask(ask);
        if let Some((ms, began)) = slept {
            // A test's daemon answers at once; the hook's clocks must still show that the time has
            // passed.
            let missing = Duration::from_millis(ms)
                .saturating_sub(limits::since_boot().saturating_sub(began));
            self.skipped.set(self.skipped.get() + missing);
        }
        if matches!(answer, Answer::Error(AskError::Superseded)) {
            self.watch.stop(Stop::Superseded);
        }
        values::answer(lua, gives, answer)
    }

    fn resolve(&self, wanted: &Value, from: &str) -> (Option<String>, Option<String>) {
        let Some(wanted) = wanted
            .as_string()
            .and_then(|text| text.to_str().ok().map(|text| text.to_owned()))
        else {
            return (None, Some("require: argument 1 must be text".to_owned()));
        };
        match self.code.resolve(&wanted, from) {
            Ok(key) => (Some(key), None),
            Err(why) => (None, Some(why)),
        }
    }

    fn open(&self, lua: &Lua, key: String) -> mlua::Result<(Option<Function>, Option<String>)> {
        let bytecode = match self.code.modules.get(&key) {
            Some(Ok(bytecode)) => bytecode,
            Some(Err(why)) => return Ok((None, Some(why.clone()))),
            None => return Ok((None, Some(format!("there is no module {key}")))),
        };
        let function = Code::open(lua, &key, bytecode)?;
        self.count(&key, &function);
        self.opened.borrow_mut().insert(key);
        Ok((Some(function), None))
    }

    /// The script's top level, about to run.
    fn main(&self, glue: &Glue) -> Function {
        self.count(&self.code.file, &glue.main);
        glue.main.clone()
    }

    /// Keeps a file's top level, if its lines are being counted.
    fn count(&self, file: &str, main: &Function) {
        if self.code.coverage.is_some() {
            self.running
                .borrow_mut()
                .push((file.to_owned(), main.clone()));
        }
    }
}

fn round_to_micros(time: Duration) -> Duration {
    Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// The message for a missing name; none if the name exists and merely has no value.
fn unknown(table: Option<&str>, name: &str, kind: Kind) -> Option<String> {
    match table {
        None if kind == Kind::Test && api::groups().any(|group| group == name) => Some(format!(
            "a test does not call {name} itself: make a host and make something happen, as in h:become(\"master\")"
        )),
        None => Some(api::unknown_global(name)),
        Some(table @ ("event" | "event.instance")) => api::unknown_field(table, name),
        Some("test") => Some(api::unknown_test_function(api::On::Test, name)),
        Some("h") => Some(api::unknown_test_function(api::On::Host, name)),
        Some(group) => Some(api::unknown_function(group, name)),
    }
}
