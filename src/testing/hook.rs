//! The hook under test and its runners: warm ones are used again, each run has fresh globals all
//! the same.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use super::report::Refused;
use crate::effect::Grants;
use crate::engine::trial::{Runner, prepare};
use crate::hooks::exam::Exam;
use crate::hooks::message::FileCoverage;
use crate::hooks::{EntryPoint, HookSource, LoadError};
use crate::keeper::{ChildId, Client};

/// Idle runners that are kept of one variant of the hook.
const IDLE_MAX: usize = 2;

/// Refusals that are remembered: more than any hook has calls.
const REFUSED_MAX: usize = 1_000;

/// The hook under test.
#[derive(Debug)]
pub(super) struct Subject {
    keeper: Client,
    exam: Exam,
    coverage: bool,
    /// Idle runners, by the config and the linked functions that they were loaded with.
    idle: RefCell<BTreeMap<Variant, Vec<Runner>>>,
    entry_points: RefCell<Vec<EntryPoint>>,
    /// What each runner last said about the lines that have run in it.
    counted: RefCell<BTreeMap<ChildId, Vec<FileCoverage>>>,
    /// Entry points and host functions that were called.
    called: RefCell<BTreeSet<String>>,
    refused: RefCell<Vec<Refused>>,
    started: Cell<u32>,
}

/// What makes one runner of the hook differ from another.
type Variant = (String, Vec<String>);

/// A runner in use.
#[derive(Debug)]
pub(super) struct Hired {
    pub(super) runner: Runner,
    variant: Variant,
}

impl Subject {
    /// Loads the hook once, which shows whether it can be loaded at all.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(super) async fn load(
        keeper: &Client,
        mut exam: Exam,
        coverage: bool,
    ) -> Result<Self, LoadError> {
        exam.hook = prepare(keeper, exam.hook, &exam.grants, exam.policy).await?;
        let subject = Self {
            keeper: keeper.clone(),
            exam,
            coverage,
            idle: RefCell::default(),
            entry_points: RefCell::default(),
            counted: RefCell::default(),
            called: RefCell::default(),
            refused: RefCell::default(),
            started: Cell::new(0),
        };
        let (config, grants) = (
            subject.exam.hook.config_json.clone(),
            subject.exam.grants.clone(),
        );
        let first = subject.hire(&config, &grants).await?;
        subject.release(first).await;
        Ok(subject)
    }

    /// What is to be tested.
    pub(super) const fn exam(&self) -> &Exam {
        &self.exam
    }

    /// Does the hook define this?
    pub(super) fn defines(&self, entry: EntryPoint) -> bool {
        self.entry_points.borrow().contains(&entry)
    }

    /// The functions that the hook defines.
    pub(super) fn entry_points(&self) -> Vec<EntryPoint> {
        self.entry_points.borrow().clone()
    }

    /// A runner with the hook and this config, warm if there is one.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(super) async fn hire(
        &self,
        config_json: &str,
        grants: &Grants,
    ) -> Result<Hired, LoadError> {
        let mut source: HookSource = self.exam.hook.clone();
        config_json.clone_into(&mut source.config_json);
        let allowed = match &mut source.native {
            Some(native) => {
                native.allowed = crate::hooks::api::allowed(grants);
                native.allowed.clone()
            }
            None => Vec::new(),
        };
        let variant = (source.config_json.clone(), allowed);
        let warm = self
            .idle
            .borrow_mut()
            .get_mut(&variant)
            .and_then(Vec::pop)
            .filter(Runner::is_fit);
        if let Some(runner) = warm {
            return Ok(Hired { runner, variant });
        }
        let runner = Runner::start(
            &self.keeper,
            &source,
            self.exam.budget,
            self.exam.policy,
            self.coverage,
        )
        .await?;
        self.started.set(self.started.get() + 1);
        runner
            .loaded()
            .entry_points
            .clone_into(&mut self.entry_points.borrow_mut());
        Ok(Hired { runner, variant })
    }

    /// The run is over.
    pub(super) async fn release(&self, mut hired: Hired) {
        if self.coverage && hired.runner.is_fit() {
            // At once: it may be killed in its next run.
            let counted = hired.runner.coverage().await;
            self.counted.borrow_mut().insert(hired.runner.id(), counted);
        }
        let full = self
            .idle
            .borrow()
            .get(&hired.variant)
            .is_some_and(|idle| idle.len() >= IDLE_MAX);
        if hired.runner.is_fit() && !full {
            self.idle
                .borrow_mut()
                .entry(hired.variant)
                .or_default()
                .push(hired.runner);
        }
    }

    /// Kills a runner in the middle of its run.
    pub(super) fn kill(&self, id: ChildId) {
        self.keeper.kill(id);
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
    pub(super) const fn started(&self) -> u32 {
        self.started.get()
    }

    /// How often each line has run, by file, in runs that came to their end.
    pub(super) fn coverage(&self) -> BTreeMap<String, BTreeMap<u32, u32>> {
        let mut all: BTreeMap<String, BTreeMap<u32, u32>> = BTreeMap::new();
        for FileCoverage { file, lines } in self.counted.borrow().values().flatten() {
            let known = all.entry(file.clone()).or_default();
            for (line, hits) in lines {
                let count = known.entry(*line).or_default();
                *count = count.saturating_add(*hits);
            }
        }
        all
    }
}
