//! The runners of one hook: started before they are needed, one run at a time each, and limited in
//! number.

mod load;
mod runner;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

pub use load::budget;
pub(in crate::engine) use load::{compiled, limits, load_pool, sandbox_policy};
pub(in crate::engine) use runner::Runner;

use super::log_quota::{Line, LogQuota};
use super::run_limits::RunLimits;
use super::script::Script;
use crate::config;
use crate::engine::reload::artifact::Artifact;
use crate::hooks::artifact::vet::Vouched;
use crate::hooks::contract::message::{Confinement, FileCoverage, Loaded};
use crate::hooks::process::session::{RequestHandler, SandboxPolicy};
use crate::hooks::{
    Budget, EntryPoint, HookError, HookEvent, HookSource, Language, LoadError, Returned,
};
use crate::host::clock;
use crate::keeper::{ChildId, Client};
use crate::types::{Name, Timestamp};

/// Checks of one hook at a time, and runners kept for them.
const CHECKS_AT_ONCE: usize = 4;

/// The minimum limit, in real time, of a run in virtual time.
const REAL_WALL: Duration = Duration::from_secs(10);

/// How long to wait for the report of how a runner ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Additional runs of one hook beyond its `runners`, for giving up mastership.
const RESERVE: usize = 2;

/// One hook, loaded: its bytes and its runners.
#[derive(Debug)]
pub(in crate::engine) struct Pool {
    name: Name,
    spec: config::Hook,
    /// As it was read.
    original: Arc<HookSource>,
    /// As it is passed to runners: compiled, if necessary.
    source: Arc<HookSource>,
    policy: SandboxPolicy,
    keeper: Client,
    idle: Rc<RefCell<Vec<Runner>>>,
    /// Runners only for `health`, so that a transition never waits for a check.
    checkers: Rc<RefCell<Vec<Runner>>>,
    /// So many runs at a time.
    places: Rc<RunLimits>,
    /// So many checks at a time.
    checks: Rc<RunLimits>,
    loaded: Loaded,
    confinement: Confinement,
    /// What was missing of the confinement of the process that ran its test.
    tester_lacks: OnceCell<Vec<String>>,
    /// What runs instead of a runner, for `kind = "script"`.
    script: Option<Script>,
    digest: String,
    vouched: Option<Vouched>,
    trouble: Cell<Option<Trouble>>,
    /// What it may still log, over all runs.
    log: RefCell<LogQuota>,
    /// How often each line has run, by runner; `None` if lines are not counted.
    coverage: Option<Rc<Coverage>>,
    /// Runners that were started.
    started: Rc<Cell<u32>>,
}

/// How often each line has run in each runner, as it said last.
pub(in crate::engine) type Coverage = RefCell<BTreeMap<ChildId, Vec<FileCoverage>>>;

/// What a rehearsal wants to go wrong with every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Trouble {
    /// It raises an error at once.
    Fails,
    /// It uses up its time.
    Hangs,
}

impl Pool {
    /// Starts the first runner and loads the hook in it; the other runners are started in the
    /// background.
    ///
    /// # Errors
    /// [`LoadError`]: the hook's own fault with its place, or a sandbox that is not to be had.
    pub(in crate::engine) async fn start(
        name: Name,
        spec: config::Hook,
        material: Artifact,
        policy: SandboxPolicy,
        keeper: Client,
    ) -> Result<Rc<Self>, LoadError> {
        Self::start_counted(name, spec, material, policy, keeper, None).await
    }

    /// As [`Self::start`]; with `coverage` it is counted how often each line runs.
    ///
    /// # Errors
    /// As of [`Self::start`].
    pub(in crate::engine) async fn start_counted(
        name: Name,
        spec: config::Hook,
        material: Artifact,
        policy: SandboxPolicy,
        keeper: Client,
        coverage: Option<Rc<Coverage>>,
    ) -> Result<Rc<Self>, LoadError> {
        let Artifact { source, vouched } = material;
        let keeper = keeper.for_hook(&name);
        if let config::Kind::Script(programs) = &spec.kind {
            let script = Script::new((**programs).clone(), keeper.clone());
            return Ok(Rc::new(Self::of_script(
                name, script, spec, source, policy, keeper,
            )));
        }
        let original = Arc::new(source);
        // The digest is of what the operator wrote, not of the compiled code; on another thread,
        // since it may be megabytes.
        let hashed = Arc::clone(&original);
        let digest = tokio::task::spawn_blocking(move || hashed.digest()).await;
        let digest = digest.map_err(|error| LoadError::Runner(error.to_string()))?;
        let source = match original.language {
            Language::Lua => Arc::clone(&original),
            Language::Wasm => {
                Arc::new(compiled(&keeper, (*original).clone(), &spec.grants, policy).await?)
            }
        };
        let counts = coverage.is_some();
        let first = Runner::start(&keeper, &source, budget(&spec), policy, counts).await?;
        let loaded = first.session.loaded().clone();
        let confinement = first.session.confinement().clone();
        if !confinement.missing.is_empty() {
            warn!(hook = %name, missing = confinement.missing.join("; "), "Running the hook with less than the full sandbox");
        }
        let places = places(&spec);
        Ok(Rc::new(Self {
            name,
            log: log_quota(&spec),
            spec,
            digest,
            original,
            source,
            policy,
            keeper,
            idle: Rc::new(RefCell::new(vec![first])),
            checkers: Rc::default(),
            places,
            checks: Rc::new(RunLimits::new(CHECKS_AT_ONCE, 0)),
            loaded,
            confinement,
            tester_lacks: OnceCell::default(),
            script: None,
            vouched,
            trouble: Cell::default(),
            coverage,
            started: Rc::new(Cell::new(1)),
        }))
    }

    /// The same hook for another machine: only its runners are shared.
    pub(in crate::engine) fn twin(&self, spec: config::Hook) -> Rc<Self> {
        Rc::new(Self {
            name: self.name.clone(),
            log: log_quota(&spec),
            places: places(&spec),
            checks: Rc::new(RunLimits::new(CHECKS_AT_ONCE, 0)),
            spec,
            original: Arc::clone(&self.original),
            source: Arc::clone(&self.source),
            policy: self.policy,
            keeper: self.keeper.clone(),
            idle: Rc::clone(&self.idle),
            checkers: Rc::clone(&self.checkers),
            loaded: self.loaded.clone(),
            confinement: self.confinement.clone(),
            tester_lacks: self.tester_lacks.clone(),
            script: None,
            digest: self.digest.clone(),
            vouched: self.vouched.clone(),
            trouble: Cell::default(),
            coverage: self.coverage.clone(),
            started: Rc::clone(&self.started),
        })
    }

    /// How many runners were started for it and its twins, from now on as well.
    pub(in crate::engine) const fn started(&self) -> &Rc<Cell<u32>> {
        &self.started
    }

    /// A new runner.
    async fn another(&self, budget: Budget) -> Result<Runner, LoadError> {
        let counts = self.coverage.is_some();
        let runner = Runner::start(&self.keeper, &self.source, budget, self.policy, counts).await?;
        self.started.update(|started| started + 1);
        Ok(runner)
    }

    /// Ends a runner in the middle of its run.
    pub(in crate::engine) fn kill(&self, runner: ChildId) {
        self.keeper.kill(runner);
    }

    /// Counts what ran in a runner at once, since it may be killed in its next run.
    async fn count_lines(&self, runner: &mut Runner) {
        if let Some(coverage) = self.coverage.as_ref().filter(|_| runner.is_fit()) {
            let counted = runner.session.coverage().await;
            coverage.borrow_mut().insert(runner.id, counted);
        }
    }

    fn of_script(
        name: Name,
        script: Script,
        spec: config::Hook,
        source: HookSource,
        policy: SandboxPolicy,
        keeper: Client,
    ) -> Self {
        let loaded = Loaded {
            entry_points: script.entry_points(),
            modules: Vec::new(),
            imports: Vec::new(),
        };
        let digest = source.digest();
        let (idle, checkers, confinement) = (Rc::default(), Rc::default(), Confinement::default());
        let source = Arc::new(source);
        let places = places(&spec);
        Self {
            name,
            log: log_quota(&spec),
            spec,
            original: Arc::clone(&source),
            source,
            policy,
            keeper,
            idle,
            checkers,
            places,
            checks: Rc::new(RunLimits::new(CHECKS_AT_ONCE, 0)),
            loaded,
            confinement,
            tester_lacks: OnceCell::default(),
            script: Some(script),
            digest,
            trouble: Cell::default(),
            vouched: None,
            coverage: None,
            started: Rc::default(),
        }
    }

    /// The hook wants to log a line of so many bytes.
    pub(in crate::engine) fn log_quota(&self, bytes: usize, now: Timestamp) -> Line {
        self.log.borrow_mut().line(bytes, now)
    }

    /// Makes every run from now on fail or hang, or work again.
    pub(in crate::engine) fn set_trouble(&self, trouble: Option<Trouble>) {
        self.trouble.set(trouble);
    }

    /// What goes wrong with every run.
    pub(in crate::engine) const fn trouble(&self) -> Option<Trouble> {
        self.trouble.get()
    }

    /// The hook's name.
    pub(in crate::engine) const fn name(&self) -> &Name {
        &self.name
    }

    /// SHA-256 of everything it was loaded from.
    pub(in crate::engine) fn digest(&self) -> &str {
        &self.digest
    }

    /// Who vouches for what it was loaded from; `None` for a script.
    pub(in crate::engine) const fn vouched(&self) -> Option<&Vouched> {
        self.vouched.as_ref()
    }

    /// Everything it was loaded from, as it was read. `None` for programs, which are read when they
    /// run.
    pub(in crate::engine) const fn original(&self) -> Option<&Arc<HookSource>> {
        if self.script.is_some() {
            None
        } else {
            Some(&self.original)
        }
    }

    /// The functions that the hook defines.
    pub(in crate::engine) fn entry_points(&self) -> &[EntryPoint] {
        &self.loaded.entry_points
    }

    /// The modules that it loaded, as keys of [`HookSource::modules`].
    pub(in crate::engine) fn modules(&self) -> &[String] {
        &self.loaded.modules
    }

    /// The host's functions that it imports, as its runner says; none in a language where that
    /// cannot be seen.
    pub(in crate::engine) fn imports(&self) -> &[String] {
        &self.loaded.imports
    }

    /// How many runners wait.
    pub(in crate::engine) fn idle(&self) -> usize {
        self.idle.borrow().len()
    }

    /// What the operator wrote about it.
    pub(in crate::engine) const fn spec(&self) -> &config::Hook {
        &self.spec
    }

    /// Notes what was missing of the confinement of the process that ran its test.
    pub(in crate::engine) fn was_tested_without(&self, missing: Vec<String>) {
        _ = self.tester_lacks.set(missing);
    }

    /// How its runners are confined, and what is missing there or was missing when it was tested.
    pub(in crate::engine) fn confinement(&self) -> Confinement {
        let mut confinement = self.confinement.clone();
        let of_tester = self.tester_lacks.get().into_iter().flatten();
        let named =
            of_tester.map(|missing| format!("{missing} (in the process that ran its test)"));
        confinement.missing.extend(named);
        confinement
    }

    /// Does the hook define this entry point?
    pub(in crate::engine) fn defines(&self, entry: EntryPoint) -> bool {
        self.loaded.entry_points.contains(&entry)
    }

    /// The ceilings of one run.
    pub(in crate::engine) fn budget(&self, entry: EntryPoint) -> Budget {
        let mut budget = budget(&self.spec);
        if matches!(entry, EntryPoint::BeforeMaster | EntryPoint::BeforeBackup) {
            budget.wall = budget.wall.min(self.spec.before_timeout);
        }
        if entry == EntryPoint::Health {
            budget.wall = self.spec.health.timeout;
            budget.cpu = budget.cpu.min(budget.wall);
        }
        budget
    }

    /// Starts runners until there are as many as the operator wants, those that run now among them.
    pub(in crate::engine) async fn warm_all(&self) {
        let wanted = usize::from(self.spec.runners);
        self.warm_while(|| self.idle() + self.places.taken() < wanted)
            .await;
    }

    async fn warm_while(&self, too_few: impl Fn() -> bool) {
        if let Some(script) = &self.script {
            return script.warm().await;
        }
        while too_few() {
            match self.another(budget(&self.spec)).await {
                Ok(runner) => self.idle.borrow_mut().push(runner),
                Err(error) => {
                    warn!(hook = %self.name, %error, "Could not start a runner");
                    return;
                }
            }
        }
    }

    /// Takes an idle runner; those that died while idle are dropped.
    fn idle_alive(&self, shelf: &RefCell<Vec<Runner>>) -> Option<Runner> {
        let mut idle = shelf.borrow_mut();
        std::iter::from_fn(|| idle.pop()).find(|runner| {
            let alive = runner.session.is_alive();
            if !alive {
                warn!(hook = %self.name, "A runner died while idle");
            }
            alive
        })
    }

    /// Where its runs wait for their turn.
    pub(in crate::engine) const fn places(&self) -> &Rc<RunLimits> {
        &self.places
    }

    /// Provides a runner, so that a run can start: starting a process does not count against the
    /// run's time.
    ///
    /// # Errors
    /// [`HookError::RunnerDied`]: there is none to be had.
    pub(in crate::engine) async fn ready(
        self: &Rc<Self>,
        budget: Budget,
    ) -> Result<Ready, HookError> {
        let needs_none = self.trouble.get().is_some() || self.script.is_some();
        let runner = if needs_none {
            None
        } else {
            Some(self.runner(&self.idle, budget).await?)
        };
        Ok(Ready {
            pool: Rc::clone(self),
            runner,
        })
    }

    fn take_back(self: &Rc<Self>, runner: Runner) {
        if runner.is_fit() {
            // More were needed for a while; these end after their run.
            if self.idle.borrow().len() < usize::from(self.spec.runners.max(1)) {
                self.idle.borrow_mut().push(runner);
            }
            return;
        }
        debug!(hook = %self.name, "Stopping a runner");
        drop(runner);
        let pool = Rc::clone(self);
        tokio::task::spawn_local(async move { pool.warm_while(|| pool.idle() == 0).await });
    }
}

/// A hook that can run at once.
#[derive(Debug)]
pub(in crate::engine) struct Ready {
    pool: Rc<Pool>,
    /// None where none is needed.
    runner: Option<Runner>,
}

impl Ready {
    /// Runs one entry point.
    ///
    /// # Errors
    /// [`HookError`]: whatever the hook did, as a value.
    pub(in crate::engine) async fn call(
        self,
        event: HookEvent,
        budget: Budget,
        desk: &mut impl RequestHandler,
        cancel: impl Future<Output = ()>,
    ) -> Result<Returned, HookError> {
        let Self { pool, runner } = self;
        if let Some(trouble) = pool.trouble.get() {
            return go_wrong(trouble, budget, cancel).await;
        }
        if let Some(script) = &pool.script {
            return script.run(&event, budget.wall, cancel).await;
        }
        let mut runner = match runner {
            Some(runner) => runner,
            None => pool.runner(&pool.idle, budget).await?,
        };
        let result = runner.call(event, budget, desk, cancel).await;
        pool.count_lines(&mut runner).await;
        pool.take_back(runner);
        result
    }

    /// The process in which it will run, if it needs one.
    pub(in crate::engine) fn runner(&self) -> Option<ChildId> {
        self.runner.as_ref().map(|runner| runner.id)
    }
}

fn places(spec: &config::Hook) -> Rc<RunLimits> {
    Rc::new(RunLimits::new(usize::from(spec.runners.max(1)), RESERVE))
}

async fn go_wrong(
    trouble: Trouble,
    budget: Budget,
    cancel: impl Future<Output = ()>,
) -> Result<Returned, HookError> {
    match trouble {
        Trouble::Fails => {
            let message = "fails, as the rehearsal demands".to_owned();
            Err(HookError::Raised {
                message,
                backtrace: String::new(),
            })
        }
        Trouble::Hangs => tokio::select! {
            () = clock::sleep(budget.wall) => Err(HookError::TimedOut(budget.wall)),
            () = cancel => Err(HookError::Superseded),
        },
    }
}

impl Pool {
    async fn runner(
        &self,
        shelf: &RefCell<Vec<Runner>>,
        budget: Budget,
    ) -> Result<Runner, HookError> {
        match self.idle_alive(shelf) {
            Some(runner) => Ok(runner),
            None => self
                .another(budget)
                .await
                .map_err(|error| HookError::RunnerDied(error.to_string())),
        }
    }

    /// Where its checks wait for their turn.
    pub(in crate::engine) const fn checks(&self) -> &Rc<RunLimits> {
        &self.checks
    }

    /// Runs `health`, in a runner used only for that.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(in crate::engine) async fn check(
        &self,
        event: HookEvent,
        budget: Budget,
        desk: &mut impl RequestHandler,
    ) -> Result<Returned, HookError> {
        if let Some(trouble) = self.trouble.get() {
            return go_wrong(trouble, budget, std::future::pending()).await;
        }
        let mut runner = self.runner(&self.checkers, budget).await?;
        let result = runner
            .call(event, budget, desk, std::future::pending())
            .await;
        self.count_lines(&mut runner).await;
        if runner.is_fit() && self.checkers.borrow().len() < CHECKS_AT_ONCE {
            self.checkers.borrow_mut().push(runner);
        }
        result
    }
}

fn log_quota(spec: &config::Hook) -> RefCell<LogQuota> {
    RefCell::new(LogQuota::new(spec.limits.log_bytes.into(), clock::now()))
}
