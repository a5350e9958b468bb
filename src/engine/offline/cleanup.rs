//! Undoes what dead processes left behind, without a daemon.

use std::cell::RefCell;
use std::path::Path;

use nix::unistd::{getegid, geteuid};
use tracing::info;

use crate::engine::effects::recover::Recovery;
use crate::engine::effects::undo::Undone;
use crate::engine::error::{StartError, system};
use crate::engine::runs::helper_rights;
use crate::host::children::helper::HelperClient;
use crate::host::{LinuxHost, Options};
use crate::keeper::{Client, Role};
use crate::ledger::{Instance, InstanceError, Ledger, Occupant, Origin, Unread};

/// What [`cleanup`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleanup {
    /// How undoing went.
    pub undone: Undone,
    /// Daemons that were killed but have not ended yet: what they left behind is still to be
    /// undone.
    pub ending: Vec<InstanceError>,
    /// What could not be read of dead instances, and what to do about it.
    pub unknown: Vec<Unknown>,
}

/// A record that may list effects to undo, but cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// What it is, and why it cannot be read.
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

impl Unknown {
    fn of_ledger(unread: &Unread) -> Self {
        let own = (geteuid().as_raw(), getegid().as_raw());
        Self {
            message: unread.to_string(),
            mend: unread.mend(own),
        }
    }

    fn of_lock(closed: &InstanceError) -> Self {
        Self {
            message: closed.to_string(),
            mend: closed
                .mend((geteuid().as_raw(), getegid().as_raw()))
                .unwrap_or_default(),
        }
    }
}

/// Undoes what the dead instances of this network namespace left behind, addresses first; running
/// ones are named and left alone. What cannot be undone stays in their ledgers. Instances that were
/// just killed are waited for.
///
/// Call it from the main thread: a helper process may be needed, and ends with the thread that
/// started it.
///
/// # Errors
/// A message: the kernel or `/proc` cannot be reached, or no helper can be started.
pub fn cleanup(run_dir: &Path, state_dir: &Path) -> Result<Cleanup, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|err| format!("could not start: {err}"))?;
    let all = undo_all(run_dir, state_dir);
    tokio::task::LocalSet::new()
        .block_on(&runtime, all)
        .map_err(|error| error.to_string())
}

async fn undo_all(run_dir: &Path, state_dir: &Path) -> Result<Cleanup, StartError> {
    // A directory that cannot be read must not count as empty.
    for (directory, what) in [
        (run_dir, "read the run directory"),
        (state_dir, "read the state directory"),
    ] {
        match std::fs::read_dir(directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(system(what)(error));
            }
            Ok(_) | Err(_) => {}
        }
    }
    let host = LinuxHost::new(Options::default())?.with_services_by_helper();
    let origin = Origin::current().map_err(system("read /proc"))?;
    let (dead, living) = Instance::dead(run_dir, state_dir, origin);
    let (ending, living): (Vec<_>, Vec<_>) = living
        .into_iter()
        .partition(|other| other.occupant().ending);
    living.iter().for_each(tell_living);
    let recovery = Recovery::new(Vec::new()).with_dead(dead);
    let closed = living
        .iter()
        .filter(|other| matches!(other, InstanceError::Closed { .. }));
    let unread = recovery.unread();
    let unknown = closed
        .map(Unknown::of_lock)
        .chain(unread.iter().map(Unknown::of_ledger))
        .collect();
    // We hold nothing: each dead instance has its own ledger.
    let ledger = RefCell::new(Ledger::new());
    let addresses = recovery.addresses(&host, &ledger);
    let helper = match recovery.duty(host.services_need_helper()) {
        Some(duty) => {
            let (keeper, exits) = Client::start(None).map_err(system("start a helper"))?;
            let (_, stream) = keeper
                .spawn(Role::Helper)
                .await
                .map_err(system("start a helper"))?;
            // Engines wrote the ledgers. The helper relies only on records written by helpers.
            let helper = HelperClient::for_undoing(stream, duty, helper_rights::records(state_dir));
            host.use_helper(helper.map_err(system("reach the helper"))?);
            Some((keeper, exits))
        }
        None => None,
    };
    let undone = addresses.settled_and(recovery.once(&host, &ledger).await);
    drop(helper);
    Ok(Cleanup {
        undone,
        ending,
        unknown,
    })
}

fn tell_living(other: &InstanceError) {
    let InstanceError::Running {
        name,
        by: Occupant { pid, .. },
    } = other
    else {
        return;
    };
    info!(
        instance = name,
        pid, "Leaving alone what a running daemon holds"
    );
}
