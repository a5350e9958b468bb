//! Capabilities: checks them, and drops those that are not needed. Call this before any thread is
//! started: capabilities belong to threads, not to processes.

use std::path::PathBuf;

use caps::{CapSet, Capability, CapsHashSet};

use crate::host::HostError;
use crate::sandbox::Confinement;

/// All that the engine needs: packet sockets; addresses, routes, rules, links and network
/// parameters.
const ENGINE: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];

/// Their names, as people know them.
const ENGINE_NAMES: [&str; 2] = ["CAP_NET_ADMIN", "CAP_NET_RAW"];

/// What the helper needs for the host name, and for files whoever owns them.
const HELPER: [Capability; 4] = [
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_CHOWN,
    Capability::CAP_FOWNER,
];

/// What the reader needs for files whoever owns them.
const READER: [Capability; 1] = [Capability::CAP_DAC_READ_SEARCH];

/// What it takes to make the engine another user: its files are given away, and the keeper signals
/// what is not its own.
const CHANGE: [Capability; 5] = [
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_CHOWN,
    Capability::CAP_KILL,
    // Who hands over has to look into what is no longer root's.
    Capability::CAP_DAC_OVERRIDE,
];

/// The capabilities of the calling thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privileges {
    effective: CapsHashSet,
}

impl Privileges {
    /// As they are now.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    pub fn current() -> Result<Self, HostError> {
        Ok(Self {
            effective: caps::read(None, CapSet::Effective).map_err(failed)?,
        })
    }

    /// The names of capabilities that the engine needs but lacks; empty if all is well.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        ENGINE
            .iter()
            .zip(ENGINE_NAMES)
            .filter(|(cap, _)| !self.effective.contains(cap))
            .map(|(_, name)| name)
            .collect()
    }

    /// Fails unless the engine has what it needs, and says what to do about it.
    ///
    /// # Errors
    /// [`HostError`] that names the missing capabilities.
    pub fn require(&self) -> Result<(), HostError> {
        let missing = self.missing();
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!(
            "carpd needs {}: run it as root, or with AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW in its systemd unit",
            missing.join(" and ")
        );
        Err(HostError::errno(message, libc::EPERM))
    }
}

/// Whether the calling thread may lock memory without a limit.
#[must_use]
pub fn may_lock_memory() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_IPC_LOCK).unwrap_or(false)
}

/// Keeps what the engine needs, and permanently drops everything else, for children as well.
///
/// # Errors
/// [`HostError`] with the kernel's words.
pub fn confine_engine(realtime: bool) -> Result<(), HostError> {
    let [admin, raw] = ENGINE;
    if realtime {
        // What it allocates later is locked as well.
        confine(&[admin, raw, Capability::CAP_IPC_LOCK])
    } else {
        confine(&ENGINE)
    }
}

/// Confines the engine beyond its capabilities: which system calls it may make, and where it may
/// write: below `writable`, which must exist. Below `directories` it may make and remove
/// directories. `own_uid` is what came of [`change_user`]. Call it after [`confine_engine`], while
/// there is one thread.
#[must_use]
pub fn seal_engine(
    writable: &[PathBuf],
    directories: &[PathBuf],
    own_uid: Result<(), String>,
) -> Confinement {
    crate::sandbox::confine_engine(writable, directories, own_uid)
}

/// The user that the engine becomes, and its group.
pub const ENGINE_UID: u32 = crate::sandbox::FIRST_UID;

/// The users that processes of a daemon have: the first one, and the one after the last.
pub const OWN_UIDS: (u32, u32) = (
    crate::sandbox::FIRST_UID,
    crate::sandbox::FIRST_UID + crate::sandbox::UIDS,
);

/// Whether the engine can become another user. That requires root, and a keeper that can still kill
/// it afterwards.
///
/// # Errors
/// Why not.
pub fn may_change_user() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root can give another uid".to_owned());
    }
    if !["uid_map", "gid_map"].iter().all(|map| is_mapped(map)) {
        return Err(format!("this namespace has no user {ENGINE_UID}"));
    }
    let have = caps::read(None, CapSet::Effective).map_err(|err| err.to_string())?;
    let missing: Vec<String> = CHANGE
        .iter()
        .filter(|cap| !have.contains(cap))
        .map(ToString::to_string)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("it takes {}", missing.join(" and ")))
    }
}

/// Has this user namespace the engine's number? Where that cannot be seen, trying tells.
fn is_mapped(map: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/self/{map}")) else {
        return true;
    };
    text.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (Some(Ok(first)), _, Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        ENGINE_UID.checked_sub(first).is_some_and(|at| at < count)
    })
}

/// Becomes [`ENGINE_UID`] for ever, with the capabilities that there are. `can_work` is asked as
/// that user, while there is a way back. Call it while there is one thread.
///
/// # Errors
/// Why not; then nothing has changed.
pub fn change_user(can_work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    crate::sandbox::change_user(ENGINE_UID, can_work)
}

/// Keeps what the helper needs for settings, and confines it to that: it starts no program. Call it
/// while there is one thread.
///
/// # Errors
/// [`HostError`] with the kernel's words.
pub fn confine_helper() -> Result<Confinement, HostError> {
    confine(&HELPER)?;
    Ok(crate::sandbox::confine_helper())
}

/// Keeps what the reader needs to read, and confines it to that. Call it while there is one thread.
///
/// # Errors
/// [`HostError`] with the kernel's words.
pub fn confine_reader() -> Result<Confinement, HostError> {
    confine(&READER)?;
    Ok(crate::sandbox::confine_reader())
}

fn confine(keep: &[Capability]) -> Result<(), HostError> {
    let permitted = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let keep: CapsHashSet = permitted
        .iter()
        .filter(|cap| keep.contains(cap))
        .copied()
        .collect();
    // Only CAP_SETPCAP may narrow the bounding set; without it no_new_privs does the same for
    // children.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).map_err(failed)? {
        for cap in caps::read(None, CapSet::Bounding)
            .map_err(failed)?
            .difference(&keep)
        {
            caps::drop(None, CapSet::Bounding, *cap).map_err(failed)?;
        }
    }
    caps::clear(None, CapSet::Ambient).map_err(failed)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new()).map_err(failed)?;
    caps::set(None, CapSet::Effective, &keep).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &keep).map_err(failed)?;
    nix::sys::prctl::set_no_new_privs().map_err(|errno| {
        HostError::errno(
            format!("setting no_new_privs: {}", errno.desc()),
            errno as i32,
        )
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(err: caps::errors::CapsError) -> HostError {
    HostError::new(format!("changing capabilities: {err}"))
}
