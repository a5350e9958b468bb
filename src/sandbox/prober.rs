//! What a prober gives up before it looks at anything: every user but one, for good, and all
//! capabilities unless that user is root.
//!
//! The programs that it starts have to see the machine as it is, so there is no namespace, no
//! Landlock and no filter of system calls: they would inherit them.

use std::ffi::CString;

use caps::CapSet;
use nix::sys::prctl;
use nix::sys::resource::Resource;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist, setgroups, setresgid, setresuid};

use super::{drop_capabilities, first_to_go, limit};

/// Makes the calling process, which must have only one thread, this user's, by name or number.
///
/// # Errors
/// What was not possible. The process must then do nothing on anybody's behalf.
pub(crate) fn confine_prober(user: &str) -> Result<(), String> {
    // Without it the kernel only chooses otherwise when memory is short.
    _ = first_to_go();
    let user = find(user)?;
    if !user.uid.is_root() {
        // Only matters to what it executes, which no_new_privs keeps from them as well.
        _ = caps::clear(None, CapSet::Bounding);
    }
    become_user(&user)?;
    if !user.uid.is_root() {
        drop_capabilities(true)?;
    }
    prctl::set_no_new_privs().map_err(|errno| format!("no_new_privs: {}", errno.desc()))?;
    // After the change of user, which resets it.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| errno.desc().to_owned())?;
    // Not that of the daemon's own files.
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    limit(Resource::RLIMIT_CORE, 0)
}

fn find(name: &str) -> Result<User, String> {
    let number = name.parse().map(Uid::from_raw);
    match number.map_or_else(|_| User::from_name(name), User::from_uid) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(format!("there is no user {name}")),
        Err(errno) => Err(format!("user {name}: {}", errno.desc())),
    }
}

fn become_user(user: &User) -> Result<(), String> {
    if user.uid == geteuid() && !user.uid.is_root() {
        return Ok(());
    }
    let failed = |what: &'static str| {
        move |errno: nix::errno::Errno| {
            format!("cannot become user {}: {what}: {}", user.name, errno.desc())
        }
    };
    let name = CString::new(user.name.as_str()).map_err(|error| error.to_string())?;
    let groups = getgrouplist(&name, user.gid).map_err(failed("getgrouplist"))?;
    setgroups(&groups).map_err(failed("setgroups"))?;
    let (uid, gid): (Uid, Gid) = (user.uid, user.gid);
    setresgid(gid, gid, gid).map_err(failed("setresgid"))?;
    setresuid(uid, uid, uid).map_err(failed("setresuid"))
}
