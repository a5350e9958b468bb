//! An instance of carpd: its directory, and the locks that keep two instances from running the same
//! virtual host.
//!
//! Locks are the kernel's (`flock`): they end with the process, however it ends. So a directory
//! that is not locked belongs to a dead process, and any other may clean it up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::disk::{FILE_NAME, is_refusal, is_there, words_of};
use super::give_command;
use super::lock::{DIRECTORY_MODE, DYING, Lock, Occupant, lock_when_dead, unlock};
use crate::process::Patience;
use crate::resolve::{self, Trust};
use crate::types::{IfName, Vhid};

/// Subdirectory of `run-dir` with a lock for every virtual host of this machine.
pub(super) const LOCKS: &str = "locks";
/// An instance's own lock, in its directory.
pub(super) const LOCK_FILE: &str = "lock";
/// The lock of what else is in the lasting directory, beside the ledger's.
pub(super) const LASTING_LOCK: &str = "lasting.lock";
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
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?
            .trim()
            .replace('-', "");
        let boot = u128::from_str_radix(&boot, 16).map_err(io::Error::other)?;
        Ok(Self {
            boot,
            netns: fs::metadata("/proc/thread-self/ns/net")?.ino(),
        })
    }
}

/// Why an instance may not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstanceError {
    /// Another process runs with the same name.
    #[error("another carpd is already running as instance {name}{by}")]
    Running {
        /// Name of the instance.
        name: String,
        /// The other process.
        by: Occupant,
    },
    /// Another process has this virtual host.
    #[error("another carpd already has vhid {vhid} on {interface}{by}")]
    Vhost {
        /// The interface.
        interface: IfName,
        /// The virtual host.
        vhid: Vhid,
        /// The other process.
        by: Occupant,
    },
    /// There may be a process that has a lock, and we may not look.
    #[error("it cannot be determined whether another carpd is running: {} cannot be read ({message})", path.display())]
    Closed {
        /// The lock.
        path: PathBuf,
        /// What the system said.
        message: String,
        /// What is to be given to whoever wants to look.
        give: Vec<PathBuf>,
    },
}

impl InstanceError {
    /// What to do about it, for a process of this user and group; `None` if another process is in
    /// the way.
    #[must_use]
    pub fn mend(&self, own: (u32, u32)) -> Option<String> {
        match self {
            Self::Running { .. } | Self::Vhost { .. } => None,
            Self::Closed { give, .. } => Some(give_command(give, own)),
        }
    }

    /// What is wrong and, if there is something to be done, what: for a process of this user and
    /// group.
    #[must_use]
    pub fn with_mend(&self, own: (u32, u32)) -> String {
        match self.mend(own) {
            Some(mend) => format!("{self}; to fix it: {mend}"),
            None => self.to_string(),
        }
    }

    /// Who is in the way.
    #[must_use]
    pub fn occupant(&self) -> Occupant {
        match self {
            Self::Running { by, .. } | Self::Vhost { by, .. } => *by,
            Self::Closed { .. } => Occupant::default(),
        }
    }
}

/// A virtual host as other processes of this machine may have it, too: by whichever name of its
/// interface, so there is a lock for each that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post<'a> {
    /// The interface, by the name that the configuration has for it.
    pub interface: &'a IfName,
    /// What the kernel calls it, if that is another one.
    pub own_name: Option<IfName>,
    /// The virtual host.
    pub vhid: Vhid,
}

impl Post<'_> {
    fn locks(&self, run_dir: &Path, origin: Origin) -> Vec<PathBuf> {
        std::iter::once(self.interface)
            .chain(&self.own_name)
            .map(|interface| vhost_lock(run_dir, origin, interface, self.vhid))
            .collect()
    }

    fn taken(&self, by: Occupant) -> InstanceError {
        InstanceError::Vhost {
            interface: self.interface.clone(),
            vhid: self.vhid,
            by,
        }
    }
}

/// An instance's directories, locked as long as this lives.
#[derive(Debug)]
pub struct Instance {
    name: String,
    origin: Origin,
    run: PathBuf,
    lasting: PathBuf,
    locks: BTreeMap<PathBuf, File>,
    /// The locks that each virtual host needs; one may be of two, for a moment of a reload.
    posts: BTreeMap<(IfName, Vhid), Vec<PathBuf>>,
}

/// The name of the instance that runs a configuration: from its file's path, so that it is the same
/// each time. `share` tells those of one file apart, each in a network namespace; it may be empty.
#[must_use]
pub fn instance_name(config: &Path, share: &str) -> String {
    let path = fs::canonicalize(config).unwrap_or_else(|_| config.to_owned());
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let plain = |text: &str| -> String {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "-_".contains(c) {
                c
            } else {
                '-'
            }
        };
        text.chars().map(plain).take(32).collect()
    };
    let (stem, path) = (plain(&stem), path.as_os_str().as_encoded_bytes());
    if share.is_empty() {
        return format!("{stem}-{:08x}", crc32fast::hash(path));
    }
    let both = [path, b"\0", share.as_bytes()].concat();
    let share = plain(share.trim_start_matches('/'));
    format!("{stem}.{share}-{:08x}", crc32fast::hash(&both))
}

impl Instance {
    /// The directory below `run-dir` of an instance in a network namespace: for whoever looks for
    /// its socket.
    #[must_use]
    pub fn directory(run_dir: &Path, name: &str, origin: Origin) -> PathBuf {
        own_directory(run_dir).join(format!("{name}@{}", origin.netns))
    }

    /// Locks the directory and the virtual hosts for this process; waits one second for a killed
    /// process that has them. If nothing can be written there are no locks: that is logged, but is
    /// no reason not to start. A lock that exists but may not be accessed is.
    ///
    /// # Errors
    /// [`InstanceError`]: another process has one of them.
    pub fn open<'a>(
        run_dir: &Path,
        state_dir: &Path,
        name: &str,
        origin: Origin,
        vhosts: impl IntoIterator<Item = Post<'a>>,
    ) -> Result<Self, InstanceError> {
        let run = Self::directory(run_dir, name, origin);
        let mut instance = Self {
            name: name.to_owned(),
            origin,
            run,
            lasting: own_directory(state_dir).join(name),
            locks: BTreeMap::new(),
            posts: BTreeMap::new(),
        };
        let path = instance.run.join(LOCK_FILE);
        let patience = Patience::of(DYING);
        let vhosts: Vec<_> = vhosts.into_iter().collect();
        let running = |by| InstanceError::Running {
            name: name.to_owned(),
            by,
        };
        if let Err(mut error) = instance.take(&path, patience, running) {
            // One command is to mend it all.
            if let InstanceError::Closed { give, .. } = &mut error {
                let locks = vhosts.iter().flat_map(|post| post.locks(run_dir, origin));
                give.extend(locks.filter(|lock| is_closed(lock)));
            }
            return Err(error);
        }
        for post in vhosts {
            instance.take_vhost(run_dir, &post, patience)?;
        }
        Ok(instance)
    }

    /// Locks one more virtual host for this process, until [`Self::release_vhost`] or its end. Does
    /// not wait.
    ///
    /// # Errors
    /// [`InstanceError`]: another process has it, or may have it.
    pub fn lock_vhost(&mut self, run_dir: &Path, post: &Post<'_>) -> Result<(), InstanceError> {
        self.take_vhost(run_dir, post, Patience::of(Duration::ZERO))
    }

    fn take_vhost(
        &mut self,
        run_dir: &Path,
        post: &Post<'_>,
        patience: Patience,
    ) -> Result<(), InstanceError> {
        let key = (post.interface.clone(), post.vhid);
        for path in post.locks(run_dir, self.origin) {
            if !self.locks.contains_key(&path) {
                self.take(&path, patience, |by| post.taken(by))?;
                show_directory(&path);
            }
            let paths = self.posts.entry(key.clone()).or_default();
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        Ok(())
    }

    /// Would [`Self::open`] get this virtual host? Somebody else may be faster all the same. Leaves
    /// no lock behind: one of another user would refuse the daemon that wants it next.
    ///
    /// # Errors
    /// [`InstanceError::Vhost`]: another process has it.
    pub fn check_vhost(
        run_dir: &Path,
        origin: Origin,
        post: &Post<'_>,
    ) -> Result<(), InstanceError> {
        let patience = Patience::of(DYING);
        let check = |path: PathBuf| match lock_when_dead(&path, patience) {
            Ok(Lock::Held(by)) => Err(post.taken(by)),
            Ok(Lock::Taken(file)) => {
                unlock(&path, &file);
                Ok(())
            }
            // Where there can be no locks, nobody is kept from anything.
            Err(err) => refuse_closed(&path, &err, || vec![path.clone()]),
        };
        post.locks(run_dir, origin).into_iter().try_for_each(check)
    }

    /// Takes what is in the lasting directory, beside the ledger, for this process. To be called
    /// once.
    ///
    /// # Errors
    /// Why it cannot be used: an instance of the same name in another network namespace has it, or
    /// the system refused.
    pub fn take_lasting(&mut self) -> io::Result<&Path> {
        crate::record::whole::directory(&self.lasting).map_err(io::Error::other)?;
        let path = self.lasting.join(LASTING_LOCK);
        match lock_when_dead(&path, Patience::of(DYING))? {
            Lock::Taken(file) => drop(self.locks.insert(path, file)),
            Lock::Held(by) => {
                return Err(io::Error::other(format!(
                    "another carpd of this name uses {}{by}",
                    self.lasting.display()
                )));
            }
        }
        Ok(&self.lasting)
    }

    /// Releases the lock of a virtual host.
    pub fn release_vhost(&mut self, interface: &IfName, vhid: Vhid) {
        let released = self.posts.remove(&(interface.clone(), vhid));
        for path in released.into_iter().flatten() {
            if !self.posts.values().flatten().any(|needed| *needed == path)
                && let Some(file) = self.locks.remove(&path)
            {
                unlock(&path, &file);
            }
        }
    }

    fn take(
        &mut self,
        path: &Path,
        patience: Patience,
        held: impl FnOnce(Occupant) -> InstanceError,
    ) -> Result<(), InstanceError> {
        match lock_when_dead(path, patience) {
            Ok(Lock::Taken(file)) => drop(self.locks.insert(path.to_owned(), file)),
            Ok(Lock::Held(by)) => return Err(held(by)),
            Err(err) => {
                refuse_closed(path, &err, || self.to_give(path))?;
                warn!(path = %path.display(), %err, "Continuing without a lock");
            }
        }
        Ok(())
    }

    /// What another user has to give us so that we may look at this lock and what it is the lock
    /// of.
    fn to_give(&self, lock: &Path) -> Vec<PathBuf> {
        if !lock.starts_with(&self.run) {
            return vec![lock.to_owned()];
        }
        let may_be_there = |path: &&PathBuf| !matches!(is_there(path), Ok(false));
        [&self.run, &self.lasting]
            .into_iter()
            .filter(may_be_there)
            .cloned()
            .collect()
    }

    /// Instances of this network namespace that died, and those that are running or for which that
    /// cannot be determined. It is now up to us to undo what the dead ones left behind. The newest
    /// first. Each stays locked as long as it exists here. Killed instances are waited for, as in
    /// [`Self::open`].
    #[must_use]
    pub fn dead(
        run_dir: &Path,
        state_dir: &Path,
        origin: Origin,
    ) -> (Vec<Self>, Vec<InstanceError>) {
        let suffix = format!("@{}", origin.netns);
        let mut found: Vec<_> = ledgers(run_dir)
            .filter_map(|(name, at)| Some((at, name.strip_suffix(&suffix)?.to_owned())))
            .collect();
        // Effects that outlived the boot have lost their network namespace.
        found.extend(ledgers(state_dir).map(|(name, at)| (at, name)));
        found.sort();
        found.reverse();
        let mut seen = BTreeSet::new();
        found.retain(|(_, name)| seen.insert(name.clone()));
        let (mut dead, mut alive) = (Vec::new(), Vec::new());
        for (_, name) in found {
            match Self::open(run_dir, state_dir, &name, origin, []) {
                Ok(instance) => dead.push(instance),
                Err(error) => alive.push(error),
            }
        }
        (dead, alive)
    }

    /// Forgets a dead instance of which nothing is left. Its journal stays.
    pub fn forget(self) {
        let gone = fs::remove_file(self.run.join(FILE_NAME))
            .and_then(|()| fs::remove_file(self.run.join(LOCK_FILE)));
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

/// An instance that stops cleanly removes its locks: another user could not open them, and would
/// not know whether they are held.
impl Drop for Instance {
    fn drop(&mut self) {
        for (path, file) in std::mem::take(&mut self.locks) {
            // Others cannot see into that directory, which may be read-only at the next start.
            if !path.starts_with(&self.lasting) {
                unlock(&path, &file);
            }
        }
    }
}

/// Where a directory is that the operator named: it may lie behind links of root's; below it there
/// are none. Where it lies behind somebody else's link it stays as it was named, and nothing can be
/// opened below it.
#[must_use]
pub fn own_directory(directory: &Path) -> PathBuf {
    resolve::without_links(directory, &Trust::of_process()).unwrap_or_else(|_| directory.to_owned())
}

/// A daemon of another user must be able to see that a virtual host is taken, whatever our umask.
/// If the directory belongs to someone else, it is accessible already.
fn show_directory(lock: &Path) {
    if let Some(Ok(locks)) = lock.parent().map(resolve::own)
        && let Ok(Some(there)) = locks.metadata()
    {
        // A group that may make locks there still may.
        let mode = there.mode() & 0o7777 | DIRECTORY_MODE;
        _ = locks.set_mode(mode, fs::Metadata::is_dir);
    }
}

fn vhost_lock(run_dir: &Path, origin: Origin, interface: &IfName, vhid: Vhid) -> PathBuf {
    own_directory(run_dir)
        .join(LOCKS)
        .join(format!("{}-{interface}-{vhid}", origin.netns))
}

/// The subdirectories that have a ledger, and when it was last written; first of all, it counts as,
/// where it may not be looked at.
pub(super) fn ledgers(directory: &Path) -> impl Iterator<Item = (String, SystemTime)> {
    let listed = fs::read_dir(directory).inspect_err(|err| {
        if err.kind() != io::ErrorKind::NotFound {
            warn!(path = %directory.display(), %err, "Cannot look for what dead instances left behind");
        }
    });
    listed.into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let written = fs::metadata(entry.path().join(FILE_NAME)).and_then(|it| it.modified());
        match written {
            Ok(written) => Some((name, written)),
            // Others have directories there that are none of ours.
            Err(err) if is_refusal(&err) && instance_of(&name).is_some() => {
                Some((name, SystemTime::UNIX_EPOCH))
            }
            Err(_) => None,
        }
    })
}

/// The instance whose directory has this name, as [`instance_name`] makes it. Whatever else is
/// there is not ours.
pub(super) fn instance_of(directory: &str) -> Option<&str> {
    let (name, place) = directory
        .split_once('@')
        .map_or((directory, None), |(name, place)| (name, Some(place)));
    let (_, hash) = name.rsplit_once('-')?;
    let is_hash = hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_place = place
        .is_none_or(|place| !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit()));
    (is_hash && is_place).then_some(name)
}

/// What is no lock for want of a place for one keeps nobody from anything; but one that may not be
/// looked at may be somebody's.
fn refuse_closed(
    path: &Path,
    err: &io::Error,
    give: impl FnOnce() -> Vec<PathBuf>,
) -> Result<(), InstanceError> {
    if is_refusal(err) && !matches!(is_there(path), Ok(false)) {
        return Err(InstanceError::Closed {
            path: path.to_owned(),
            message: words_of(err),
            give: give(),
        });
    }
    Ok(())
}

/// Is it there, and may we not open it?
fn is_closed(lock: &Path) -> bool {
    let opened = resolve::own(lock)
        .map_err(io::Error::other)
        .and_then(|place| place.open());
    opened.is_err_and(|err| is_refusal(&err))
}
