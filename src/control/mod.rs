//! The control socket: how an operator speaks to a running daemon.
//!
//! A unix stream socket in the instance's directory. One request and one answer a connection, each
//! one line of JSON with the version of the protocol in it, so that `nc -U` and a script can speak
//! it too.

mod client;
mod condition;
mod lobby;
mod roles;
mod server;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use client::{CallError, begins, call};
pub use condition::Trouble;
pub use roles::{Roles, group};
pub use server::{Bound, Listening, bind, bind_for, serve};

use crate::engine::command::{BeginDemotion, BeginMaintenance, ReloadReport};
use crate::engine::plan::Plan;
use crate::engine::report::{HandedOver, Maintained, PeersReport, Status, TargetTest};
use crate::types::Name;

/// The version of what is said here. Grows when something is removed or changes its meaning.
pub const VERSION: u16 = 1;

/// The longest request in bytes.
pub const REQUEST_BYTES_MAX: u64 = 64 * 1024;

/// A request: `{"version":1,"order":"status"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u16,
    /// What is asked.
    pub order: Order,
}

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Report the status.
    Status,
    /// Report who advertises: for one virtual host, or all, and for none.
    Peers(Option<Name>),
    /// The daemon in numbers.
    Metrics,
    /// Read configuration and hooks again.
    Reload,
    /// The same, even if a master would release addresses that nothing here can hold afterwards.
    ForceReload,
    /// Back to the version of a hook before this one.
    HookRollback(Name),
    /// Run a hook's current code where its virtual hosts are master.
    HookApply(Name),
    /// What [`Self::HookApply`] would do; nothing of it is done.
    HookPlan(Name),
    /// The same as [`Self::Promote`] for one virtual host, as it was called before.
    Undemote(Name),
    /// End the demotion of a virtual host, or of all.
    Promote(Option<Name>),
    /// Demote a virtual host, or all, until that is ended.
    Demote(BeginDemotion),
    /// Send a test to a target of notifications, or to all.
    NotifyTest(Option<Name>),
    /// Put a virtual host, or all, into maintenance.
    MaintenanceOn(BeginMaintenance),
    /// End the maintenance of a virtual host, or of all.
    MaintenanceOff(Option<Name>),
    /// Hand over.
    Resign {
        /// The virtual host.
        vhost: Name,
        /// For the log.
        reason: String,
        /// Also without a fit peer.
        #[serde(default)]
        force: bool,
    },
}

impl Order {
    /// The virtual host that it is about, if it is about one.
    #[must_use]
    pub const fn vhost(&self) -> Option<&Name> {
        match self {
            Self::Resign { vhost, .. } | Self::Undemote(vhost) => Some(vhost),
            Self::Peers(vhost)
            | Self::Promote(vhost)
            | Self::MaintenanceOff(vhost)
            | Self::MaintenanceOn(BeginMaintenance { vhost, .. })
            | Self::Demote(BeginDemotion { vhost, .. }) => vhost.as_ref(),
            Self::Status
            | Self::Metrics
            | Self::Reload
            | Self::ForceReload
            | Self::HookPlan(_)
            | Self::NotifyTest(_)
            | Self::HookRollback(_)
            | Self::HookApply(_) => None,
        }
    }
}

/// As it is asked: `reload`, `{"promote":"web"}`.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(self).unwrap_or_default();
        f.write_str(text.trim_matches('"'))
    }
}

/// An answer: `{"version":1,"answer":{"Ok":{"message":"done"}}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// [`VERSION`].
    pub version: u16,
    /// What came of it.
    pub answer: Result<Reply, String>,
}

/// What a request that worked is answered with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Order::Status`].
    Status(Box<Status>),
    /// To [`Order::Peers`].
    Peers(PeersReport),
    /// To [`Order::Metrics`]: OpenMetrics text.
    Metrics(String),
    /// To [`Order::Reload`].
    Reload(ReloadReport),
    /// To [`Order::HookPlan`]: one for each virtual host that is master here.
    Plan(Vec<Plan>),
    /// To [`Order::Resign`].
    HandedOver(HandedOver),
    /// To [`Order::MaintenanceOn`].
    Maintained(Maintained),
    /// To [`Order::NotifyTest`].
    TargetTests(Vec<TargetTest>),
    /// To everything else: what was done.
    Message(String),
}

/// The socket in an instance's directory.
#[must_use]
pub fn socket_path(instance_dir: &Path) -> PathBuf {
    instance_dir.join("control.sock")
}
