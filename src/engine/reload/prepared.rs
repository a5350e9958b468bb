//! A reload that is wanted, and what its preparation found.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::config::Config;
use crate::engine::command::{Held, ReloadReport};
use crate::engine::runs::pool::Pool;
use crate::host::children::helper::{Duty, HelperClient};
use crate::types::{IfName, Name};

/// What a reload covers, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Scope {
    /// Hooks whose files changed, but for those set to `manual`.
    ChangedHooks,
    /// Configuration and all hooks: SIGHUP, `carpd reload`.
    Everything,
    /// The same, even if a master would release addresses that nothing here can hold afterwards:
    /// `carpd reload --force`.
    Anyway,
}

impl Scope {
    pub(in crate::engine) const fn is_whole(self) -> bool {
        matches!(self, Self::Everything | Self::Anyway)
    }
}

/// A reload that is to begin.
#[derive(Debug)]
pub(in crate::engine) struct Wanted {
    pub(in crate::engine) scope: Scope,
    /// What it leaves alone. An operator's reload uses the files as they are.
    pub(in crate::engine) held: Held,
    pub(in crate::engine) replies: Vec<oneshot::Sender<ReloadReport>>,
}

impl Wanted {
    /// Merges two reloads into one.
    pub(in crate::engine) fn join(&mut self, other: Self) {
        self.scope = self.scope.max(other.scope);
        self.held = self.held.and(&other.held);
        self.replies.extend(other.replies);
    }
}

/// The result of preparing a reload, ready to be used.
#[derive(Debug)]
pub(in crate::engine) struct Prepared {
    pub(in crate::engine) scope: Scope,
    pub(in crate::engine) config: Box<Config>,
    /// New versions, loaded.
    pub(in crate::engine) pools: BTreeMap<Name, Rc<Pool>>,
    /// Hooks with an error, with the digest of the refused version.
    pub(in crate::engine) faults: BTreeMap<Name, (String, String)>,
    /// What is wrong with the configuration.
    pub(in crate::engine) problems: Vec<String>,
    /// What may go wrong with new versions, by hook.
    pub(in crate::engine) doubts: Vec<(Name, String)>,
    /// Interfaces of it that do not exist.
    pub(in crate::engine) missing: BTreeSet<IfName>,
    /// Hooks that are on disk as they are in use.
    pub(in crate::engine) unchanged: Vec<Name>,
    /// A helper process that knows what is granted now, if the present one does not.
    pub(in crate::engine) helper: Option<(HelperClient, Duty)>,
    /// A reader process that knows what is named now.
    pub(in crate::engine) reader: Option<Arc<crate::reader::Client>>,
    pub(in crate::engine) replies: Vec<oneshot::Sender<ReloadReport>>,
}
