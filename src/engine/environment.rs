//! The environment of an engine: this machine, or one simulated by a rehearsal.

use std::path::Path;
use std::rc::Rc;

use super::reload::file_watch::Reader;
use super::runs::helper::HelperSupervisor;
use super::runs::prober::Probers;
use super::vhost::interface::{Ethernet, Wire};
use crate::engine::report::EngineStatus;
use crate::host::kernel::alarm::Alarm;
use crate::host::kernel::netlink::Watch;
use crate::host::kernel::readiness::Readiness;
use crate::host::{Host, LinuxHost};
use crate::ledger::{Instance, InstanceError, Post};

/// The parts of an engine that differ between the two. All code that makes decisions is the same.
pub(super) trait Environment {
    /// What effects are done to.
    type Host: Host + 'static;
    /// What advertisements go through.
    type Wire: Wire;
    /// Everything else that ties the engine to its machine.
    type Ties: Locks;
}

/// Keeps two processes from running the same virtual host.
pub(super) trait Locks {
    /// Takes a lock, also under the kernel's name for the interface. Does not wait.
    ///
    /// # Errors
    /// [`InstanceError`]: another process has it, or may have it.
    fn lock(&mut self, run_dir: &Path, post: &Post<'_>) -> Result<(), InstanceError>;
}

/// There is no other process.
impl Locks for () {
    fn lock(&mut self, _: &Path, _: &Post<'_>) -> Result<(), InstanceError> {
        Ok(())
    }
}

impl Locks for Ties {
    fn lock(&mut self, run_dir: &Path, post: &Post<'_>) -> Result<(), InstanceError> {
        self.instance.lock_vhost(run_dir, post)
    }
}

/// This machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine;

impl Environment for Machine {
    type Host = LinuxHost;
    type Wire = Ethernet;
    type Ties = Ties;
}

/// A daemon's hold on its machine.
#[derive(Debug)]
pub(super) struct Ties {
    /// Which interfaces have something to read.
    pub(super) readiness: Rc<Readiness>,
    /// The kernel's notifications.
    pub(super) watch: Watch,
    /// The one timer.
    pub(super) alarm: Alarm,
    /// Our directory and locks.
    pub(super) instance: Instance,
    /// The helper process.
    pub(super) helper: HelperSupervisor,
    /// The reader process.
    pub(super) reader: Reader,
    /// The processes that look at what tracks of this host follow.
    pub(super) probers: Probers,
    /// What this process has given up.
    pub(super) rights: EngineStatus,
}
