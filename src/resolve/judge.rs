//! Which users are trusted, and what that means for a file, a directory or a link.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;

use nix::sys::statvfs::{FsFlags, fstatvfs};
use serde::{Deserialize, Serialize};

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;
/// The extended attribute of a file's access control list.
const ACL: &str = "system.posix_acl_access";
/// The longest list that is read: more than any file system stores.
const ACL_MAX: usize = 64 * 1024;

/// What is wrong with a part of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// The system's error.
    System(i32),
    /// It belongs to a user who is not trusted.
    Owner(u32),
    /// Others than those trusted can write to it: the bits that let them.
    Writable {
        /// Of the mode, those that are too many.
        bits: u32,
        /// The whole mode.
        mode: u32,
        /// The group.
        group: u32,
    },
    /// Its access control list gives write access to a user who is not trusted.
    Listed,
    /// A link where none is followed.
    Link,
    /// A link that belongs to a user who is not trusted.
    LinkOf(u32),
    /// A link in a directory where others can put links.
    LinkAmongOthers,
    /// More links than anybody needs.
    TooManyLinks,
    /// Deeper than anybody needs.
    TooDeep,
    /// A file of another user, under a name that others could have created.
    ForeignName,
}

impl Why {
    /// The command that mends it, without the path.
    pub(super) fn mend(&self) -> Option<String> {
        match self {
            Self::Owner(_) => Some("chown root".to_owned()),
            Self::LinkOf(_) => Some("chown -h root".to_owned()),
            Self::Writable { bits, .. } => {
                let whom = match (bits & GROUP_WRITES != 0, bits & OTHERS_WRITE != 0) {
                    (true, true) => "go",
                    (true, false) => "g",
                    (false, _) => "o",
                };
                Some(format!("chmod {whom}-w"))
            }
            Self::Listed => Some("setfacl -b".to_owned()),
            Self::System(_)
            | Self::Link
            | Self::LinkAmongOthers
            | Self::TooManyLinks
            | Self::TooDeep
            | Self::ForeignName => None,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(errno) => write!(
                f,
                "cannot be opened: {}",
                nix::errno::Errno::from_raw(*errno).desc()
            ),
            Self::Owner(uid) => write!(f, "belongs to user {uid}"),
            Self::Writable { bits, mode, .. } => {
                let whom = if bits & OTHERS_WRITE != 0 {
                    "everybody"
                } else {
                    "its group"
                };
                write!(
                    f,
                    "can be written to by {whom} (mode {:04o})",
                    mode & 0o7777
                )
            }
            Self::Listed => f.write_str("can be written to by others, by its access control list"),
            Self::Link => f.write_str("is a symbolic link, and those are not followed here"),
            Self::LinkOf(uid) => write!(
                f,
                "is a symbolic link owned by user {uid}, and only root's are followed here"
            ),
            Self::LinkAmongOthers => {
                f.write_str("is a symbolic link in a directory that others can write to")
            }
            Self::TooManyLinks => f.write_str("leads through too many symbolic links"),
            Self::TooDeep => f.write_str("is nested too deeply"),
            Self::ForeignName => f.write_str(
                "is a hard link to someone else's file, in a directory that others can write to",
            ),
        }
    }
}

/// Users and groups who may write files that the daemon trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    users: Vec<u32>,
    groups: Vec<u32>,
}

impl Trust {
    /// Root alone.
    #[must_use]
    pub fn root() -> Self {
        Self::root_and(&[], &[])
    }

    /// Root, and the user and group of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::root_and(
            &[nix::unistd::geteuid().as_raw()],
            &[nix::unistd::getegid().as_raw()],
        )
    }

    /// Root and these.
    #[must_use]
    pub fn root_and(users: &[u32], groups: &[u32]) -> Self {
        let unmapped = unmapped_root();
        let with = |more: &[u32]| [0].iter().chain(more).chain(&unmapped).copied().collect();
        Self {
            users: with(users),
            groups: with(groups),
        }
    }

    /// Would nothing be wrong if these were trusted?
    #[must_use]
    pub fn excuses(&self, why: &Why) -> bool {
        match why {
            Why::Owner(uid) | Why::LinkOf(uid) => self.has_user(*uid),
            Why::Writable { bits, group, .. } => {
                *bits == GROUP_WRITES && self.groups.contains(group)
            }
            Why::System(_)
            | Why::Listed
            | Why::Link
            | Why::LinkAmongOthers
            | Why::TooManyLinks
            | Why::TooDeep
            | Why::ForeignName => false,
        }
    }

    pub(super) fn has_user(&self, uid: u32) -> bool {
        self.users.contains(&uid)
    }

    /// What lets others than those trusted write to a file or directory, but for its owner. In a
    /// sticky directory they can only make new names: `anew` asks about those, too.
    pub(super) fn others_write(&self, file: &File, there: &Metadata, anew: bool) -> Option<Why> {
        let mode = there.mode();
        if there.is_dir() && mode & STICKY != 0 && !anew {
            return None;
        }
        let trusted_group = self.groups.contains(&there.gid());
        let bits = mode
            & if trusted_group {
                OTHERS_WRITE
            } else {
                OTHERS_WRITE | GROUP_WRITES
            };
        let why = if bits != 0 {
            Why::Writable {
                bits,
                mode,
                group: there.gid(),
            }
        } else if mode & GROUP_WRITES != 0 && self.list_lets_others_write(file) {
            Why::Listed
        } else {
            return None;
        };
        (!is_read_only(file)).then_some(why)
    }

    /// What lets others than those trusted write to a file or directory, or exchange what is in it.
    pub(super) fn objection(&self, file: &File, there: &Metadata) -> Option<Why> {
        if !self.has_user(there.uid()) {
            return (!is_read_only(file)).then_some(Why::Owner(there.uid()));
        }
        self.others_write(file, there, false)
    }

    /// With an access control list the bits of the group are only the most that those on it may do.
    fn list_lets_others_write(&self, file: &File) -> bool {
        let mut bytes = vec![0; ACL_MAX];
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let Ok(length) = rustix::fs::getxattr(path, ACL, bytes.as_mut_slice()) else {
            return false;
        };
        bytes.truncate(length);
        self.list_has_others(&bytes)
    }

    /// The list as the kernel gives it: a version, then entries of tag, permissions and number, all
    /// little-endian.
    pub(super) fn list_has_others(&self, list: &[u8]) -> bool {
        const USER: u16 = 0x02;
        const GROUP: u16 = 0x08;
        let entries = list.get(4..).unwrap_or_default().as_chunks::<8>().0;
        entries.iter().any(|[t0, t1, p0, p1, n0, n1, n2, n3]| {
            let writes = u16::from_le_bytes([*p0, *p1]) & 0o2 != 0;
            let number = u32::from_le_bytes([*n0, *n1, *n2, *n3]);
            match u16::from_le_bytes([*t0, *t1]) {
                USER => writes && !self.users.contains(&number),
                GROUP => writes && !self.groups.contains(&number),
                _ => false,
            }
        })
    }
}

/// In a user namespace that maps only some users, the root outside of it cannot be told from
/// others: all have one number. If even `/` has it, the file system is that of the world outside,
/// and this is its root as far as anybody can know.
fn unmapped_root() -> Option<u32> {
    let root = fs::metadata("/").ok()?.uid();
    if root == 0 {
        return None;
    }
    let overflow: u32 = fs::read_to_string("/proc/sys/kernel/overflowuid")
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    let mapped = map.lines().any(|line| {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        matches!(numbers.as_slice(), [first, _, count] if overflow.checked_sub(*first).is_some_and(|at| at < *count))
    });
    (root == overflow && !mapped).then_some(overflow)
}

fn is_read_only(file: &File) -> bool {
    fstatvfs(file).is_ok_and(|there| there.flags().contains(FsFlags::ST_RDONLY))
}
