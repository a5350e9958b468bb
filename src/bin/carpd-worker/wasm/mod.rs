//! WebAssembly components as a hook language.
//!
//! A component is compiled in another process ([`crate::compiler`]), checked against the contract
//! and the grants when it is loaded, and gets a new instance for every run: nothing is carried over
//! from one run to the next. Only the functions that it imports *and* that some grant allows are
//! linked; all of them come from the one list in [`carpd::hooks::contract::api`].

mod config;
mod link;
mod native;
mod ticker;
mod values;

use std::sync::OnceLock;
use std::time::Duration;

use wasmtime::component::{Component, ComponentExportIndex, Instance, InstancePre, Val};
use wasmtime::{
    Engine, ResourceLimiter, Store, StoreLimits, StoreLimitsBuilder, Trap, UpdateDeadline,
    WasmBacktrace,
};

pub(crate) use self::config::config;
use self::native::Lent;
use self::ticker::Ticker;
use crate::limits::Watch;
use carpd::hooks::{
    Budget, EntryPoint, Hook, HookError, HookEvent, HookHost, HookRuntime, HookSource, LoadError,
    Returned,
};
use carpd::types::IfName;

/// The most that one call of the host may carry, in bytes of this process's memory: a byte of a
/// list takes about thirty.
const HOSTCALL_BYTES: usize = 4 << 20;
/// Elements of all tables of one module, which are its functions called by pointer.
const TABLE_ELEMENTS: usize = 20_000;
/// Core instances, tables and memories of one component; componentize-py needs more than 20.
const PARTS: usize = 50;
/// Handles that may be alive at one time. The contract has no resources.
const HANDLES: usize = 64;
/// More operations per nanosecond than any machine can do, even if it does several at once and the
/// compiler removed some: fuel is only the upper limit behind the clocks.
const FUEL_PER_NANOSECOND: u64 = 64;
/// The most lines of a backtrace.
const MAX_FRAMES: usize = 20;
/// How long it may take to make an instance ahead of its run: one that takes longer is made in the
/// run, within its budget.
const AHEAD: Duration = Duration::from_millis(50);
/// The longest error text that leaves the component, in bytes.
const MAX_TEXT: usize = 8 << 10;

/// Can this process use native code? To be called before the system call filter.
#[must_use]
pub(crate) fn can_execute() -> bool {
    native::can_execute()
}

/// What a process needs only once: made before the system call filter.
struct Machine {
    engine: Engine,
    ticker: Ticker,
}

static MACHINE: OnceLock<Result<Machine, String>> = OnceLock::new();

/// Makes the engine and starts its thread. Returns false if code is interpreted.
///
/// # Errors
/// The error of wasmtime or of the system.
pub(crate) fn prepare() -> Result<bool, String> {
    machine().map(|machine| !machine.engine.is_pulley())
}

fn machine() -> Result<&'static Machine, String> {
    let made = MACHINE.get_or_init(|| {
        let mut config = config(can_execute());
        // This process only loads what another one compiled; setting up cranelift would be useless.
        config.enable_compiler(false);
        let engine = Engine::new(&config).map_err(|err| format!("{err:#}"))?;
        let ticker =
            Ticker::start(engine.clone()).map_err(|err| format!("cannot start a thread: {err}"))?;
        Ok(Machine { engine, ticker })
    });
    made.as_ref().map_err(Clone::clone)
}

/// The host of WebAssembly hooks.
#[derive(Debug, Default)]
pub(crate) struct WasmRuntime;

/// A loaded component.
struct WasmHook {
    machine: &'static Machine,
    prepared: InstancePre<Run>,
    /// The file's name, as in `failover.wasm: on_master`.
    file: String,
    entry_points: Vec<EntryPoint>,
    imports: Vec<String>,
    exports: Vec<ComponentExportIndex>,
    budget: Budget,
    /// For the next run. Also `None` if the code that makes an instance does more than that.
    next: Option<(Store<Run>, Instance)>,
    /// May the next one be made ahead of its run?
    ahead: bool,
    /// The store of the last run, to be destroyed in idle time.
    last: Option<Store<Run>>,
}

/// What one run's store holds.
struct Run {
    /// Nobody until the run begins.
    host: Option<Lent>,
    watch: Watch,
    interface: Option<IfName>,
    limits: Limits,
    /// Simulated sleep that the clock has not seen.
    skipped: Duration,
}

/// The limits of a store, and whether they denied anything.
struct Limits {
    limits: StoreLimits,
    denied: bool,
}

impl Limits {
    fn of(budget: &Budget) -> Self {
        let memory = usize::try_from(budget.memory_bytes).unwrap_or(usize::MAX);
        let limits = StoreLimitsBuilder::new()
            .memory_size(memory)
            .table_elements(TABLE_ELEMENTS)
            .instances(PARTS)
            .tables(PARTS)
            .memories(PARTS)
            .build();
        Self {
            limits,
            denied: false,
        }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = self.limits.memory_growing(current, desired, maximum)?;
        self.denied |= !allowed;
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.limits.table_growing(current, desired, maximum)
    }

    fn instances(&self) -> usize {
        self.limits.instances()
    }

    fn tables(&self) -> usize {
        self.limits.tables()
    }

    fn memories(&self) -> usize {
        self.limits.memories()
    }
}

impl HookRuntime for WasmRuntime {
    fn load(&self, source: &HookSource, budget: &Budget) -> Result<Box<dyn Hook>, LoadError> {
        let file = source
            .path
            .rsplit('/')
            .next()
            .unwrap_or(&source.path)
            .to_owned();
        let refuse = |why: &dyn std::fmt::Display| LoadError::Code(format!("{file}: {why}"));
        let Some(native) = &source.native else {
            return Err(LoadError::Runner(
                "the component was not compiled".to_owned(),
            ));
        };
        let machine = machine()
            .map_err(|why| LoadError::Runner(format!("WebAssembly cannot be run here: {why}")))?;
        let component = native::load(&machine.engine, &native.code)
            .map_err(|err| refuse(&format!("{err:#}")))?;
        let linker =
            link::link(&machine.engine, &component, source, &native.allowed).map_err(|why| {
                LoadError::Code(why.replace(
                    "[hook.NAME.grant]",
                    &format!("[hook.{}.grant]", source.name),
                ))
            })?;
        let prepared = linker
            .instantiate_pre(&component)
            .map_err(|err| refuse(&format!("{err:#}")))?;
        let (entry_points, exports) = exports(&machine.engine, &component)
            .map_err(|why| refuse(&why))?
            .into_iter()
            .unzip();
        let budget = Budget {
            wall: AHEAD,
            cpu: AHEAD,
            ..*budget
        };
        let hook = WasmHook {
            machine,
            prepared,
            file,
            entry_points,
            imports: link::imports(&machine.engine, &component),
            exports,
            budget,
            next: None,
            ahead: true,
            last: None,
        };
        if hook.entry_points.is_empty() {
            return Err(LoadError::NoEntryPoint {
                path: source.path.clone(),
            });
        }
        Ok(Box::new(hook))
    }
}

/// The entry points that a component exports, checked against the contract.
fn exports(
    engine: &Engine,
    component: &Component,
) -> Result<Vec<(EntryPoint, ComponentExportIndex)>, String> {
    let ty = component.component_type();
    let mut found = Vec::new();
    for (name, _) in ty.exports(engine) {
        let Some((interface, _)) = link::contract_name(name) else {
            continue;
        };
        let Some(entry) = EntryPoint::ALL
            .into_iter()
            .find(|entry| link::is_called(entry.as_str(), interface))
        else {
            continue;
        };
        let outer = component.get_export_index(None, name);
        let inner = outer.and_then(|outer| component.get_export(Some(&outer), interface));
        let (item, index) =
            inner.ok_or_else(|| format!("its export {name} has no function {interface}"))?;
        link::check_entry_point(entry, &item).map_err(|why| format!("its export {name}: {why}"))?;
        found.push((entry, index));
    }
    Ok(found)
}

impl Hook for WasmHook {
    fn entry_points(&self) -> &[EntryPoint] {
        &self.entry_points
    }

    fn modules(&self) -> &[String] {
        &[]
    }

    fn imports(&self) -> &[String] {
        &self.imports
    }

    /// Destroys what the last run left and makes the instance of the next one. Code that runs at
    /// this point may not make requests.
    fn prepare(&mut self) {
        self.last = None;
        if self.next.is_some() || !self.ahead {
            return;
        }
        let _ticking = self.machine.ticker.run();
        let mut store = self.store(self.budget);
        let made = self.prepared.instantiate(&mut store);
        // What fails now may work in the run, with a host to ask and more time.
        self.ahead = made.is_ok();
        self.next = made.ok().map(|instance| (store, instance));
    }

    fn call(
        &mut self,
        event: &HookEvent,
        host: &mut dyn HookHost,
        budget: &Budget,
    ) -> Result<Returned, HookError> {
        let at = self
            .entry_points
            .iter()
            .position(|entry| *entry == event.entry);
        let Some(export) = at.and_then(|at| self.exports.get(at)).copied() else {
            return Err(raised(format!(
                "{} has no {}",
                self.file,
                event.entry.as_str()
            )));
        };
        let (mut store, instance) = match self.next.take() {
            Some((store, instance)) => (store, Some(instance)),
            None => (self.store(*budget), None),
        };
        let result = native::lend(host, |lent| {
            let run = store.data_mut();
            run.host = Some(lent);
            run.interface = Some(event.instance.interface.clone());
            run.limits = Limits::of(budget);
            let _ticking = self.machine.ticker.run();
            run.watch = Watch::start(*budget);
            grant_time(&mut store, budget);
            let result = self.run(&mut store, instance, &export, event);
            self.judge(event, *budget, store.data(), result)
        });
        self.last = Some(store);
        result
    }
}

/// Fuel for a whole run, and the first check of the clocks at the next tick.
fn grant_time(store: &mut Store<Run>, budget: &Budget) {
    store.set_epoch_deadline(1);
    let nanoseconds = u64::try_from(budget.cpu.as_nanos()).unwrap_or(u64::MAX);
    // Fails only without `consume_fuel`; then the run would end at once, for lack of fuel.
    let _ = store.set_fuel(nanoseconds.saturating_mul(FUEL_PER_NANOSECOND));
}

impl WasmHook {
    /// A store whose run has not begun.
    fn store(&self, budget: Budget) -> Store<Run> {
        let (limits, watch) = (Limits::of(&budget), Watch::start(budget));
        let run = Run {
            host: None,
            watch,
            interface: None,
            limits,
            skipped: Duration::ZERO,
        };
        let mut store = Store::new(&self.machine.engine, run);
        store.limiter(|run| &mut run.limits);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_max_component_handles(HANDLES);
        store.epoch_deadline_callback(|store| {
            Ok(match store.data().watch.check() {
                None => UpdateDeadline::Continue(1),
                Some(_) => UpdateDeadline::Interrupt,
            })
        });
        grant_time(&mut store, &budget);
        store
    }

    fn run(
        &self,
        store: &mut Store<Run>,
        made: Option<Instance>,
        export: &ComponentExportIndex,
        event: &HookEvent,
    ) -> wasmtime::Result<Val> {
        let instance = made.map_or_else(|| self.prepared.instantiate(&mut *store), Ok)?;
        let function = instance.get_func(&mut *store, export).ok_or_else(|| {
            wasmtime::Error::msg("the entry point is gone: it existed when the hook was loaded")
        })?;
        let mut results = [Val::Bool(false)];
        function.call(&mut *store, &[values::event(event)], &mut results)?;
        let [result] = results;
        Ok(result)
    }

    /// The outcome of a run. Watch and limits override its own result.
    fn judge(
        &self,
        event: &HookEvent,
        budget: Budget,
        run: &Run,
        result: wasmtime::Result<Val>,
    ) -> Result<Returned, HookError> {
        if let Some(verdict) = run.watch.verdict() {
            return Err(verdict);
        }
        let place = || format!("{}: {}", self.file, event.entry.as_str());
        match result {
            Ok(Val::Result(Ok(value))) if event.entry == EntryPoint::Health => {
                health(value.as_deref())
                    .ok_or_else(|| raised(format!("{}: a demotion is 0 to 240", place())))
            }
            Ok(Val::Result(Ok(_))) => Ok(Returned::Done),
            Ok(Val::Result(Err(text))) => match text.as_deref() {
                Some(Val::String(text)) => Err(raised(cut(&format!("{}: {text}", place())))),
                _ => Err(raised(format!("{}: it failed without a message", place()))),
            },
            Ok(_) => Err(raised(format!(
                "{}: its result does not match the contract",
                place()
            ))),
            Err(err) => Err(match err.downcast_ref::<Trap>() {
                Some(Trap::OutOfFuel) => {
                    let budget = budget.cpu;
                    raised(format!(
                        "{}: it executed more instructions than any machine can within its CPU budget of {budget:?}",
                        place()
                    ))
                }
                _ if run.limits.denied => HookError::OutOfMemory(budget.memory_bytes),
                _ => trapped(&place(), &err),
            }),
        }
    }
}

/// An error of wasmtime: a trap, with the functions that led to it.
fn trapped(place: &str, err: &wasmtime::Error) -> HookError {
    let shown = err
        .downcast_ref::<WasmBacktrace>()
        .map(ToString::to_string)
        .unwrap_or_default();
    // "    0:   0x1f3 - hook.wasm!function", after a first line that announces it; addresses help
    // nobody here.
    let names = shown
        .lines()
        .skip(1)
        .take(MAX_FRAMES)
        .filter_map(|line| line.split_once(" - "))
        .map(|(_, name)| name);
    let names = names.map(|name| name.split_once('!').map_or(name, |(_, function)| function));
    HookError::Raised {
        message: cut(&format!("{place}: {}", err.root_cause())),
        backtrace: cut(&names.collect::<Vec<_>>().join("\n")),
    }
}

fn health(value: Option<&Val>) -> Option<Returned> {
    let Some(Val::Record(fields)) = value else {
        return None;
    };
    let field = |wanted: &str| {
        fields
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value)
    };
    match (field("demotion"), field("reason")) {
        (Some(Val::U8(demotion @ 0..=240)), Some(Val::String(reason))) => Some(Returned::Health {
            demotion: *demotion,
            reason: cut(reason),
        }),
        _ => None,
    }
}

fn raised(message: String) -> HookError {
    HookError::Raised {
        message,
        backtrace: String::new(),
    }
}

fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_TEXT))
        .unwrap_or_default()
        .to_owned()
}
