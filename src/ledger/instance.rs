//! One carpd process among others: its directory, and the locks that keep two of them from one virtual host.
//!
//! Locks are the kernel's (`flock`): they end with the process, however it ends. So a directory that nobody has
//! locked is a dead process's, and anybody's to clean up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::disk::FILE_NAME;
use crate::types::{IfName, Vhid};

/// Subdirectory of `run-dir` with a lock for every virtual host of this machine.
const LOCKS: &str = "locks";
/// An instance's own lock, in its directory.
pub(super) const LOCK_FILE: &str = "lock";
/// The lock of what else is in the lasting directory, beside the ledger's.
const LASTING_LOCK: &str = "lasting.lock";

/// Where a record holds: in this boot, in this network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `/proc/sys/kernel/random/boot_id`, as a number.
    pub boot: u128,
    /// Inode of `/proc/self/ns/net`.
    pub netns: u64,
}

impl Origin {
    /// That of the calling thread.
    ///
    /// # Errors
    /// `/proc` is not mounted or not that of Linux.
    pub fn current() -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().replace('-', "");
        let boot = u128::from_str_radix(&boot, 16).map_err(io::Error::other)?;
        Ok(Self { boot, netns: fs::metadata("/proc/thread-self/ns/net")?.ino() })
    }
}

/// Why an instance may not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstanceError {
    /// Another process runs with the same name.
    #[error("another carpd already runs as instance {name}{}", by(*.pid))]
    Running {
        /// Name of the instance.
        name: String,
        /// The other process, if it could be found out.
        pid: Option<u32>,
    },
    /// Another process has this virtual host.
    #[error("another carpd already has vhid {vhid} on {interface}{}", by(*.pid))]
    Vhost {
        /// The interface.
        interface: IfName,
        /// The virtual host.
        vhid: Vhid,
        /// The other process, if it could be found out.
        pid: Option<u32>,
    },
}

fn by(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// An instance's directories, locked as long as this lives.
#[derive(Debug)]
pub struct Instance {
    name: String,
    origin: Origin,
    run: PathBuf,
    lasting: PathBuf,
    locks: BTreeMap<PathBuf, File>,
}

/// The name of the instance that runs a configuration: from its file's path, so that it is the same each time.
#[must_use]
pub fn instance_name(config: &Path) -> String {
    let path = fs::canonicalize(config).unwrap_or_else(|_| config.to_owned());
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let stem: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).take(32).collect();
    format!("{stem}-{:08x}", crc32fast::hash(path.as_os_str().as_encoded_bytes()))
}

impl Instance {
    /// The directory below `run-dir` of an instance in a network namespace: for whoever looks for its socket.
    #[must_use]
    pub fn directory(run_dir: &Path, name: &str, origin: Origin) -> PathBuf {
        run_dir.join(format!("{name}@{}", origin.netns))
    }

    /// Takes the directory and the virtual hosts for this process. Where nothing can be written there are no locks: that is
    /// logged, and no reason not to start.
    ///
    /// # Errors
    /// [`InstanceError`]: another process has one of them.
    pub fn open<'a>(
        run_dir: &Path,
        state_dir: &Path,
        name: &str,
        origin: Origin,
        vhosts: impl IntoIterator<Item = (&'a IfName, Vhid)>,
    ) -> Result<Self, InstanceError> {
        let run = Self::directory(run_dir, name, origin);
        let mut instance = Self { name: name.to_owned(), origin, run, lasting: state_dir.join(name), locks: BTreeMap::new() };
        let path = instance.run.join(LOCK_FILE);
        instance.take(&path).map_err(|pid| InstanceError::Running { name: name.to_owned(), pid })?;
        for (interface, vhid) in vhosts {
            instance.lock_vhost(run_dir, interface, vhid)?;
        }
        Ok(instance)
    }

    /// Takes one more virtual host for this process, until [`Self::release_vhost`] or its end.
    ///
    /// # Errors
    /// [`InstanceError::Vhost`]: another process has it.
    pub fn lock_vhost(&mut self, run_dir: &Path, interface: &IfName, vhid: Vhid) -> Result<(), InstanceError> {
        let path = vhost_lock(run_dir, self.origin, interface, vhid);
        self.take(&path).map_err(|pid| InstanceError::Vhost { interface: interface.clone(), vhid, pid })
    }

    /// Would [`Self::open`] get this virtual host now? Somebody else may be faster all the same.
    ///
    /// # Errors
    /// [`InstanceError::Vhost`]: another process has it.
    pub fn check_vhost(run_dir: &Path, origin: Origin, interface: &IfName, vhid: Vhid) -> Result<(), InstanceError> {
        match lock(&vhost_lock(run_dir, origin, interface, vhid)) {
            Ok(Lock::Held(pid)) => Err(InstanceError::Vhost { interface: interface.clone(), vhid, pid }),
            // Where there can be no locks, nobody is kept from anything.
            Ok(Lock::Taken(_)) | Err(_) => Ok(()),
        }
    }

    /// Takes what is in the lasting directory, beside the ledger, for this process. To be called once.
    ///
    /// # Errors
    /// Why it cannot be used: an instance of the same name in another network namespace has it, or the system refused.
    pub fn take_lasting(&mut self) -> io::Result<&Path> {
        crate::record::whole::directory(&self.lasting).map_err(io::Error::other)?;
        let path = self.lasting.join(LASTING_LOCK);
        match lock(&path)? {
            Lock::Taken(file) => drop(self.locks.insert(path, file)),
            Lock::Held(pid) => {
                return Err(io::Error::other(format!("another carpd of this name uses {}{}", self.lasting.display(), by(pid))));
            }
        }
        Ok(&self.lasting)
    }

    /// Leaves a virtual host to whoever wants it.
    pub fn release_vhost(&mut self, run_dir: &Path, interface: &IfName, vhid: Vhid) {
        self.locks.remove(&vhost_lock(run_dir, self.origin, interface, vhid));
    }

    fn take(&mut self, path: &Path) -> Result<(), Option<u32>> {
        if self.locks.contains_key(path) {
            return Ok(());
        }
        match lock(path) {
            Ok(Lock::Taken(file)) => drop(self.locks.insert(path.to_owned(), file)),
            Ok(Lock::Held(pid)) => return Err(pid),
            Err(err) => warn!(path = %path.display(), %err, "Goes on without a lock"),
        }
        Ok(())
    }

    /// Instances of this network namespace that died: what they left is now ours to undo. The newest first. Each is
    /// locked as long as it lives here.
    #[must_use]
    pub fn dead(run_dir: &Path, state_dir: &Path, origin: Origin) -> Vec<Self> {
        let suffix = format!("@{}", origin.netns);
        let mut found: Vec<_> =
            ledgers(run_dir).filter_map(|(name, at)| Some((at, name.strip_suffix(&suffix)?.to_owned()))).collect();
        // Effects that outlived the boot have lost their network namespace.
        found.extend(ledgers(state_dir).map(|(name, at)| (at, name)));
        found.sort();
        found.reverse();
        let mut seen = BTreeSet::new();
        found.retain(|(_, name)| seen.insert(name.clone()));
        found.into_iter().filter_map(|(_, name)| Self::open(run_dir, state_dir, &name, origin, []).ok()).collect()
    }

    /// Forgets a dead instance of which nothing is left. Its journal stays.
    pub fn forget(self) {
        let gone = fs::remove_file(self.run.join(FILE_NAME)).and_then(|()| fs::remove_file(self.run.join(LOCK_FILE)));
        if let Err(err) = gone {
            warn!(path = %self.run.display(), %err, "Could not remove the files of a dead instance");
        }
        _ = fs::remove_file(self.lasting.join(FILE_NAME));
        // Gone only if nothing else is in them, such as the journal and the hooks' lasting state.
        _ = fs::remove_dir(&self.run);
        _ = fs::remove_file(self.lasting.join(LOCK_FILE));
        _ = fs::remove_dir(&self.lasting);
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its records hold.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// Its directory below `run-dir`: ledger, journal, control socket.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.run
    }

    /// Its directory below `state-dir`, which exists once there is something in it.
    #[must_use]
    pub fn lasting_dir(&self) -> &Path {
        &self.lasting
    }
}

fn vhost_lock(run_dir: &Path, origin: Origin, interface: &IfName, vhid: Vhid) -> PathBuf {
    run_dir.join(LOCKS).join(format!("{}-{interface}-{vhid}", origin.netns))
}

/// The subdirectories that have a ledger, and when it was last written.
fn ledgers(directory: &Path) -> impl Iterator<Item = (String, SystemTime)> {
    fs::read_dir(directory).into_iter().flatten().flatten().filter_map(|entry| {
        let written = fs::metadata(entry.path().join(FILE_NAME)).and_then(|file| file.modified()).ok()?;
        Some((entry.file_name().into_string().ok()?, written))
    })
}

pub(super) enum Lock {
    Taken(File),
    Held(Option<u32>),
}

/// Locks a file and writes our process id into it.
pub(super) fn lock(path: &Path) -> io::Result<Lock> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    loop {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o644).custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Lock::Held(read_pid(&mut file))),
            Err(TryLockError::Error(err)) => return Err(err),
        }
        // Whoever cleaned up may have removed it between our opening and our locking.
        if fs::metadata(path).is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there.ino())) {
            file.set_len(0)?;
            file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
            return Ok(Lock::Taken(file));
        }
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
