//! What an operator may ask of a running engine, and its answers.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::plan::Plan;
use crate::engine::report::{HandedOver, Status};
use crate::types::Name;

/// One order, with the way back for its answer.
#[derive(Debug)]
pub enum Command {
    /// How are things?
    Status(oneshot::Sender<Box<Status>>),
    /// The engine in numbers: OpenMetrics text.
    Metrics(oneshot::Sender<String>),
    /// Read configuration and hooks again.
    Reload(oneshot::Sender<ReloadReport>),
    /// The same, also if a master would let go of addresses that then nobody here can hold.
    ForceReload(oneshot::Sender<ReloadReport>),
    /// Files of hooks changed on disk; those set to `manual` are left alone, and those of which
    /// somebody is in the middle of writing a part.
    FilesChanged(Held),
    /// Go back to the version of a hook before this one.
    Rollback(Name, oneshot::Sender<Result<String, String>>),
    /// Run the hook's current code on every virtual host that is master, and undo what it no longer
    /// asks for.
    Apply(Name, oneshot::Sender<Result<String, String>>),
    /// What [`Self::Apply`] would do; nothing of it is done.
    Plan(Name, oneshot::Sender<Result<Vec<Plan>, String>>),
    /// End the demotion of a virtual host.
    Undemote(Name, oneshot::Sender<Result<String, String>>),
    /// Hand over, for this reason, also without a fit peer: as `carp.resign` from a hook. The
    /// answer comes when it is known what came of it.
    Resign(
        Name,
        String,
        bool,
        oneshot::Sender<Result<HandedOver, String>>,
    ),
}

/// Hooks that are not complete, since somebody is still writing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Hooks' files, of which a part is being written.
    pub hooks: BTreeSet<PathBuf>,
    /// What is being written and may be a module of any hook.
    pub modules: BTreeSet<PathBuf>,
}

impl Held {
    /// What both say: whoever was waited for long enough is waited for no longer.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let both =
            |a: &BTreeSet<PathBuf>, b: &BTreeSet<PathBuf>| a.intersection(b).cloned().collect();
        Self {
            hooks: both(&self.hooks, &other.hooks),
            modules: both(&self.modules, &other.modules),
        }
    }
}

/// What a reload did, or why it did nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReloadReport {
    /// All or nothing: false if anything is wrong, and then nothing changed.
    pub done: bool,
    /// What changed, a line each.
    pub changes: Vec<String>,
    /// What is wrong, a line each.
    pub problems: Vec<String>,
    /// What may go wrong with what was taken into use, a line each.
    #[serde(default)]
    pub warnings: Vec<String>,
}
