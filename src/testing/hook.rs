//! The hook under test, and other hooks on the same host: loaded once for each set of grants and
//! config, and reused by every host.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::rc::Rc;

use super::report::Refused;
use crate::config;
use crate::engine::hook_test::{HookTest, TestHook};
use crate::engine::sim::{Counted, LoadedHook, compiled};
use crate::hooks::process::session::SandboxPolicy;
use crate::hooks::{EntryPoint, LoadError};
use crate::keeper::Client;
use crate::types::Name;

/// How many refusals are kept: more than any hook has calls.
const REFUSED_MAX: usize = 1_000;
/// For how many variants of the hook runners are kept, for the next host that uses the same one.
const VARIANTS_MAX: usize = 8;

/// The hook under test.
#[derive(Debug)]
pub(super) struct Subject {
    keeper: Client,
    tested: Rc<TestHook>,
    others: BTreeMap<Name, Result<TestHook, String>>,
    policy: SandboxPolicy,
    coverage: bool,
    /// The other hooks that hosts have used so far.
    beside: RefCell<BTreeMap<Name, Rc<TestHook>>>,
    /// With the config and the linked functions that each was loaded with; the last used is at the
    /// end.
    loaded: RefCell<Vec<(Variant, Rc<LoadedHook>)>>,
    /// The counters of all that were ever loaded.
    counted: RefCell<Vec<Counted>>,
    entry_points: Vec<EntryPoint>,
    /// Entry points and host functions that were called.
    called: RefCell<BTreeSet<String>>,
    refused: RefCell<Vec<Refused>>,
}

/// What distinguishes one load of a hook from another: its name, its config, what is linked.
type Variant = (Name, String, Vec<String>);

impl Subject {
    /// Loads the hook once, which shows whether it can be loaded at all.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(super) async fn load(
        keeper: &Client,
        exam: HookTest,
        coverage: bool,
    ) -> Result<Self, LoadError> {
        let tested = native(keeper, exam.hook, exam.policy).await?;
        let mut subject = Self {
            keeper: keeper.clone(),
            tested: Rc::new(tested),
            others: exam.others,
            policy: exam.policy,
            coverage,
            beside: RefCell::default(),
            loaded: RefCell::default(),
            counted: RefCell::default(),
            entry_points: Vec::new(),
            called: RefCell::default(),
            refused: RefCell::default(),
        };
        let (tested, spec) = (&subject.tested, subject.tested.spec());
        subject.entry_points = subject.loaded(tested, &spec).await?.entry_points().to_vec();
        Ok(subject)
    }

    /// What is to be tested.
    pub(super) fn tested(&self) -> &TestHook {
        &self.tested
    }

    /// Its name.
    pub(super) fn name(&self) -> &Name {
        &self.tested.source.name
    }

    /// The hook with this name: the one under test, or one that may run on the same host.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub(super) async fn hook(&self, name: &Name) -> Result<Rc<TestHook>, String> {
        if name == self.name() {
            return Ok(Rc::clone(&self.tested));
        }
        if let Some(known) = self.beside.borrow().get(name) {
            return Ok(Rc::clone(known));
        }
        let wrong = |why: &dyn Display| format!("hook {name}: {why}");
        let found = self.others.get(name).ok_or_else(|| {
            wrong(&"the configuration that has the tested hook has no [hook.NAME] of it")
        })?;
        let hook = found.clone().map_err(|why| wrong(&why))?;
        let hook = native(&self.keeper, hook, self.policy).await;
        let hook = Rc::new(hook.map_err(|error| wrong(&error))?);
        let mut beside = self.beside.borrow_mut();
        beside.insert(name.clone(), Rc::clone(&hook));
        Ok(hook)
    }

    /// The process that starts its runners.
    pub(super) const fn keeper(&self) -> &Client {
        &self.keeper
    }

    /// The functions that the hook defines.
    pub(super) fn entry_points(&self) -> &[EntryPoint] {
        &self.entry_points
    }

    /// A hook loaded as described there, in runners that may be warm.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(super) async fn loaded(
        &self,
        hook: &TestHook,
        spec: &config::Hook,
    ) -> Result<Rc<LoadedHook>, LoadError> {
        let name = &hook.source.name;
        let allowed = match hook.source.native {
            Some(_) => crate::hooks::contract::api::allowed(&spec.grants),
            None => Vec::new(),
        };
        let variant = (name.clone(), spec.config_json.clone(), allowed);
        if let Some(loaded) = self.known(&variant) {
            return Ok(loaded);
        }
        self.make_room();
        let mut source = hook.source.clone();
        spec.config_json.clone_into(&mut source.config_json);
        if let Some(native) = &mut source.native {
            native.allowed.clone_from(&variant.2);
        }
        let counts = self.coverage && name == self.name();
        let loaded =
            LoadedHook::load(&self.keeper, name, spec, source, self.policy, counts).await?;
        let loaded = Rc::new(loaded);
        self.counted.borrow_mut().push(loaded.counted().clone());
        self.loaded.borrow_mut().push((variant, Rc::clone(&loaded)));
        Ok(loaded)
    }

    fn known(&self, variant: &Variant) -> Option<Rc<LoadedHook>> {
        let mut all = self.loaded.borrow_mut();
        let place = all.iter().position(|(known, _)| known == variant)?;
        let found = all.remove(place);
        let loaded = Rc::clone(&found.1);
        all.push(found);
        Some(loaded)
    }

    /// Drops the variant that has not been used for longest: each one has a process.
    fn make_room(&self) {
        let mut all = self.loaded.borrow_mut();
        if all.len() >= VARIANTS_MAX {
            all.remove(0);
        }
    }

    /// An entry point or a function of the host was called.
    pub(super) fn note_call(&self, name: &str) {
        if !self.called.borrow().contains(name) {
            self.called.borrow_mut().insert(name.to_owned());
        }
    }

    /// The operator's grants did not allow this.
    pub(super) fn note_refused(&self, what: Refused) {
        let mut refused = self.refused.borrow_mut();
        if refused.len() < REFUSED_MAX && !refused.contains(&what) {
            refused.push(what);
        }
    }

    /// What the operator's grants did not allow.
    pub(super) fn refused(&self) -> Vec<Refused> {
        self.refused.borrow().clone()
    }

    /// What was called.
    pub(super) fn called(&self) -> BTreeSet<String> {
        self.called.borrow().clone()
    }

    /// The number of runners that were started.
    pub(super) fn started(&self) -> u32 {
        self.counted.borrow().iter().map(Counted::started).sum()
    }

    /// How often each line has run, by file, in runs that were completed.
    pub(super) fn coverage(&self) -> BTreeMap<String, BTreeMap<u32, u32>> {
        let mut all: BTreeMap<String, BTreeMap<u32, u32>> = BTreeMap::new();
        for counted in self.counted.borrow().iter().flat_map(Counted::coverage) {
            let known = all.entry(counted.file).or_default();
            for (line, hits) in counted.lines {
                let count = known.entry(line).or_default();
                *count = count.saturating_add(hits);
            }
        }
        all
    }
}

/// A WebAssembly hook with its native code.
async fn native(
    keeper: &Client,
    hook: TestHook,
    policy: SandboxPolicy,
) -> Result<TestHook, LoadError> {
    let TestHook { source, grants, .. } = &hook;
    let source = compiled(keeper, source.clone(), grants, policy).await?;
    Ok(TestHook { source, ..hook })
}
