//! What the engine gives up before it starts, in an order that works: its directories and its user,
//! its capabilities, then files and system calls.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat, geteuid};
use tracing::warn;

use super::runs::helper_rights;
use crate::config::{self, Config};
use crate::engine::report::{EngineStatus, Realtime};
use crate::host::HostError;
use crate::host::kernel::privilege::{self, OWN_UIDS, confine_engine, seal_engine};
use crate::ledger::{Estate, Heir, Origin, own_directory};
use crate::resolve;

/// Gives up what the engine never needs. What cannot be given up here is reported, but is no reason
/// not to run.
///
/// # Errors
/// Capabilities cannot be given up.
pub(super) fn give_up(
    config: &Config,
    name: &str,
    origin: Origin,
) -> Result<EngineStatus, HostError> {
    let config::Daemon {
        run_dir, state_dir, ..
    } = &config.daemon;
    let (writable, directories) = make_directories(run_dir, state_dir, name);
    let kept = helper_rights::records(&own_directory(state_dir));
    let own_uid = take_own_uid(&Estate {
        run_dir,
        state_dir,
        name,
        origin,
        kept: &kept,
    });
    confine_engine(config.daemon.realtime)?;
    let confinement = seal_engine(&writable, &directories, own_uid);
    for missing in &confinement.missing {
        warn!(missing, "The engine has more rights than it needs");
    }
    Ok(EngineStatus {
        uid: geteuid().as_raw(),
        confinement,
        reader_lacks: Vec::new(),
        realtime: config.daemon.realtime.then_some(Realtime::On),
        before: None,
    })
}

/// From here on the engine runs as a user that owns nothing except what it writes itself.
fn take_own_uid(estate: &Estate<'_>) -> Result<(), String> {
    let give = |id| {
        estate
            .give(Heir { id, own: OWN_UIDS })
            .map_err(|err| err.to_string())
    };
    // If it may not, files of engines that could keep their owner.
    privilege::may_change_user()?;
    let taken =
        give(privilege::ENGINE_UID).and_then(|()| privilege::change_user(|| can_work(estate)));
    if taken.is_err() && geteuid().is_root() {
        // It continues as root, and takes over what an engine with its own user left behind, if
        // possible.
        _ = give(0);
    }
    taken
}

/// Whether the current user can write what the engine has to write. On a read-only file system no
/// user can, and the owner of the files can still read them.
fn can_work(estate: &Estate<'_>) -> Result<(), String> {
    let look = AccessFlags::R_OK | AccessFlags::X_OK;
    for directory in estate.needed() {
        let may = |rights| faccessat(AT_FDCWD, &directory, rights, AtFlags::AT_EACCESS);
        let checked = match may(look | AccessFlags::W_OK) {
            Err(Errno::EROFS) => may(look),
            checked => checked,
        };
        checked.map_err(|errno| {
            format!(
                "it would be unable to write to {}: {}",
                directory.display(),
                errno.desc()
            )
        })?;
    }
    Ok(())
}

/// Creates what does not exist yet. Returns the directories to write in, and those to create
/// directories in. None of them may be a link, since that would give away its target.
fn make_directories(
    run_dir: &Path,
    state_dir: &Path,
    instance: &str,
) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (run_dir, state_dir) = (own_directory(run_dir), own_directory(state_dir));
    // They may be read-only or another user's: then the ledger says so, or the hooks' state.
    _ = resolve::make_directory(&run_dir, 0o755);
    _ = resolve::make_directory(&state_dir.join(instance), 0o700);
    // Those of other instances as well: what dead ones left is undone. Not what the helper writes
    // down.
    let instances = std::fs::read_dir(&state_dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut writable: Vec<_> = instances
        .filter(|path| *path != helper_rights::records(&state_dir))
        .collect();
    writable.push(run_dir);
    let mut directories = vec![state_dir];
    for list in [&mut writable, &mut directories] {
        list.retain(|path| resolve::own(path).is_ok_and(|place| place.is_directory()));
    }
    (writable, directories)
}

/// A generous estimate of how many descriptors the engine may have open: with too few, removing an
/// address could fail.
pub(super) fn descriptors_needed(config: &Config) -> u64 {
    // Sockets of its own, files while they are read, and operators.
    const BASE: usize = 128;
    // Packets, groups of both families, and one to ask with.
    const EACH_INTERFACE: usize = 4;
    const EACH_HOOK: usize = 16;
    let interfaces: BTreeSet<_> = config.vhosts.iter().map(|vhost| &vhost.interface).collect();
    let needed = BASE + interfaces.len() * EACH_INTERFACE + config.hooks.len() * EACH_HOOK;
    u64::try_from(needed).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    #[test]
    fn nothing_is_made_or_written_behind_a_link_of_somebody_else() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for directory in ["real", "elsewhere", "state/dead"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        symlink(at("elsewhere"), at("state/forged")).unwrap();
        // Behind one of our own it is where that leads.
        symlink(at("real"), at("run")).unwrap();
        let (mut writable, directories) = make_directories(&at("run/carpd"), &at("state"), "web");
        writable.sort();
        assert_eq!(
            (writable, directories),
            (
                vec![at("real/carpd"), at("state/dead"), at("state/web")],
                vec![at("state")]
            )
        );
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        symlink(at("elsewhere"), at("theirs")).unwrap();
        lchown(at("theirs"), Some(1234), None).unwrap();
        for run_dir in [at("theirs"), at("theirs/carpd")] {
            let (writable, directories) = make_directories(&run_dir, &at("theirs/state"), "web");
            assert_eq!((writable, directories), (vec![], vec![]));
        }
        assert_eq!(fs::read_dir(at("elsewhere")).unwrap().count(), 0);
    }
}
