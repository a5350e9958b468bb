//! The orders that an operator can give a running engine, and its answers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::plan::Plan;
use crate::engine::metrics::Text;
use crate::engine::report::{
    HandedOver, Maintained, PeersReport, ProbableCause, Status, TargetTest, VhostStatus,
};
use crate::host::children::prober::Finding;
use crate::journal::OrderRecord;
use crate::types::{MacAddr, Name};

/// One order, with the channel for its answer.
#[derive(Debug)]
pub enum Command {
    /// Report the status.
    Status(oneshot::Sender<Box<Status>>),
    /// Report the metrics as OpenMetrics text.
    Metrics(oneshot::Sender<String>),
    /// Report the status, in parts: no turn of the loop is longer for more virtual hosts.
    StatusPart(
        Option<After>,
        oneshot::Sender<Part<Vec<VhostStatus>, Box<Status>>>,
    ),
    /// Report the metrics, likewise.
    MetricsPart(Option<After>, oneshot::Sender<Part<Text, ()>>),
    /// Reload the configuration and hooks.
    Reload(oneshot::Sender<ReloadReport>),
    /// The same, even if a master would release addresses that nothing here can hold afterwards.
    ForceReload(oneshot::Sender<ReloadReport>),
    /// Files of hooks changed on disk. Hooks set to `manual` are left alone, and so are those of
    /// which a part is just being written.
    FilesChanged(Held),
    /// Somebody looked at what a track follows: the number of who did, and what was found.
    Tracked(Name, u64, Finding),
    /// A closer look at a refused advertisement has ended.
    Tried(Tried),
    /// Report who advertises, in parts; with the last one come the names of all virtual hosts.
    PeersPart(
        Option<After>,
        oneshot::Sender<Part<PeersReport, BTreeSet<Name>>>,
    ),
    /// Go back to the version of a hook before this one.
    Rollback(Name, oneshot::Sender<Result<String, String>>),
    /// Run the hook's active version on every virtual host that is master, and undo what it no
    /// longer asks for.
    Apply(Name, oneshot::Sender<Result<String, String>>),
    /// List what [`Self::Apply`] would do, without doing it.
    Plan(Name, oneshot::Sender<Result<Vec<Plan>, String>>),
    /// An operator's order has been carried out, or refused: for the flight recorder.
    Ordered(OrderRecord),
    /// End the demotion of a virtual host, or of all.
    Promote(Option<Name>, oneshot::Sender<Result<String, String>>),
    /// Demote a virtual host, or all, until that is ended.
    Demote(BeginDemotion, oneshot::Sender<Result<String, String>>),
    /// Send a test to a target of notifications, or to all.
    NotifyTest(
        Option<Name>,
        oneshot::Sender<Result<Vec<TargetTest>, String>>,
    ),
    /// Put a virtual host, or all, into maintenance. The answer is sent when it is known who has
    /// taken over.
    MaintenanceOn(
        BeginMaintenance,
        oneshot::Sender<Result<Maintained, String>>,
    ),
    /// End the maintenance of a virtual host, or of all.
    MaintenanceOff(Option<Name>, oneshot::Sender<Result<String, String>>),
    /// Hand over, with this reason, and if told so even without a fit peer: like `carp.resign` from
    /// a hook. The answer is sent when the outcome is known.
    Resign(
        Name,
        String,
        bool,
        oneshot::Sender<Result<HandedOver, String>>,
    ),
}

/// The virtual host after which a report goes on; it need not be there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After(pub(super) usize);

/// What a closer look at a refused advertisement found.
#[derive(Debug)]
pub struct Tried {
    /// The number of the virtual host that refused it.
    pub(super) vhost: usize,
    /// Who sent it.
    pub(super) address: IpAddr,
    /// From which hardware address.
    pub(super) mac: Option<MacAddr>,
    /// With which vhid.
    pub(super) vhid: u8,
    /// How many were refused since that was told last, if it is time to tell it again.
    pub(super) count: Option<u64>,
    /// What is certainly wrong with it.
    pub(super) cause: Option<ProbableCause>,
}

/// A part of a report of all virtual hosts.
#[derive(Debug)]
pub struct Part<T, Rest> {
    /// What there is of some of them.
    pub some: T,
    /// What comes after it.
    pub then: Then<Rest>,
}

/// What comes after a part.
#[derive(Debug)]
pub enum Then<Rest> {
    /// The part after this virtual host.
    More(After),
    /// Nothing: this is what does not belong to a virtual host.
    End(Rest),
}

/// An order to begin maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginMaintenance {
    /// The virtual host; all of them if there is none.
    pub vhost: Option<Name>,
    /// It ends by itself after this many milliseconds.
    #[serde(default)]
    pub for_ms: Option<u64>,
    /// For the status and the log.
    #[serde(default)]
    pub reason: String,
    /// Do not take over even if no other node lives.
    #[serde(default)]
    pub never: bool,
    /// Also without a fit peer.
    #[serde(default)]
    pub force: bool,
}

/// An order to demote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginDemotion {
    /// The virtual host; all of them if there is none.
    pub vhost: Option<Name>,
    /// By how much, 1..=240.
    pub by: u8,
    /// It ends by itself after this many milliseconds.
    #[serde(default)]
    pub for_ms: Option<u64>,
    /// For the status and the log.
    #[serde(default)]
    pub reason: String,
}

/// Hooks that are not complete because their files are still being written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Hooks' files, of which a part is being written.
    pub hooks: BTreeSet<PathBuf>,
    /// Files that are being written and may be modules of any hook.
    pub modules: BTreeSet<PathBuf>,
}

impl Held {
    /// The intersection of both: files that were waited for long enough are no longer waited for.
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
    /// All or nothing: false if anything was wrong, in which case nothing changed.
    pub done: bool,
    /// What changed, one line each.
    pub changes: Vec<String>,
    /// What is wrong, one line each.
    pub problems: Vec<String>,
    /// Possible problems with what is now in use, one line each.
    #[serde(default)]
    pub warnings: Vec<String>,
}
