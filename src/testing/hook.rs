//! The hook under test: loaded once for each set of grants and config, and used again by every host.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::report::Refused;
use crate::config;
use crate::effect::Grants;
use crate::engine::hook_test::HookTest;
use crate::engine::sim::{Counted, LoadedHook, compiled};
use crate::hooks::{EntryPoint, HookSource, LoadError};
use crate::keeper::Client;

/// Refusals that are remembered: more than any hook has calls.
const REFUSED_MAX: usize = 1_000;
/// Ways to load the hook whose runners are kept for the next host that is made so.
const VARIANTS_MAX: usize = 8;

/// The hook under test.
#[derive(Debug)]
pub(super) struct Subject {
    keeper: Client,
    exam: HookTest,
    coverage: bool,
    /// With the config and the linked functions that it was loaded with; the last used comes last.
    loaded: RefCell<Vec<(Variant, Rc<LoadedHook>)>>,
    /// Of all that were ever loaded.
    counted: RefCell<Vec<Counted>>,
    entry_points: Vec<EntryPoint>,
    /// Entry points and host functions that were called.
    called: RefCell<BTreeSet<String>>,
    refused: RefCell<Vec<Refused>>,
}

/// What makes one load of the hook differ from another.
type Variant = (String, Vec<String>);

impl Subject {
    /// Loads the hook once, which shows whether it can be loaded at all.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(super) async fn load(
        keeper: &Client,
        mut exam: HookTest,
        coverage: bool,
    ) -> Result<Self, LoadError> {
        exam.hook = compiled(keeper, exam.hook, &exam.grants, exam.policy).await?;
        let mut subject = Self {
            keeper: keeper.clone(),
            exam,
            coverage,
            loaded: RefCell::default(),
            counted: RefCell::default(),
            entry_points: Vec::new(),
            called: RefCell::default(),
            refused: RefCell::default(),
        };
        let spec = subject.spec(&subject.exam.hook.config_json, &subject.exam.grants);
        subject.entry_points = subject.loaded(&spec).await?.entry_points().to_vec();
        Ok(subject)
    }

    /// What is to be tested.
    pub(super) const fn exam(&self) -> &HookTest {
        &self.exam
    }

    /// Who starts its runners.
    pub(super) const fn keeper(&self) -> &Client {
        &self.keeper
    }

    /// The functions that the hook defines.
    pub(super) fn entry_points(&self) -> &[EntryPoint] {
        &self.entry_points
    }

    /// What an operator would have written about it, with this config and these grants.
    pub(super) fn spec(&self, config_json: &str, grants: &Grants) -> config::Hook {
        self.exam.spec(config_json, grants)
    }

    /// The hook as it is written there, in runners that may be warm.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(super) async fn loaded(&self, spec: &config::Hook) -> Result<Rc<LoadedHook>, LoadError> {
        let mut source: HookSource = self.exam.hook.clone();
        spec.config_json.clone_into(&mut source.config_json);
        let allowed = match &mut source.native {
            Some(native) => {
                native.allowed = crate::hooks::contract::api::allowed(&spec.grants);
                native.allowed.clone()
            }
            None => Vec::new(),
        };
        let variant = (source.config_json.clone(), allowed);
        if let Some(loaded) = self.known(&variant) {
            return Ok(loaded);
        }
        self.make_room();
        let name = source.name.clone();
        let policy = self.exam.policy;
        let loaded =
            LoadedHook::load(&self.keeper, &name, spec, source, policy, self.coverage).await?;
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

    /// Lets the one go that was not used for longest: every variant has a process.
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

    /// How many runners were started.
    pub(super) fn started(&self) -> u32 {
        self.counted.borrow().iter().map(Counted::started).sum()
    }

    /// How often each line has run, by file, in runs that came to their end.
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
