//! Who may ask a daemon, and who may give it orders.
#![expect(
    unsafe_code,
    reason = "SO_PEERGROUPS has no safe wrapper in the crates used here"
)]

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use nix::unistd::{Gid, Group};

use super::Order;

/// The most groups of a process; the kernel's own limit.
const GROUPS_MAX: usize = 65_536;

/// What an order needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// It only looks.
    Read,
    /// It changes something.
    Order,
}

impl Order {
    pub(super) const fn needs(&self) -> Right {
        match self {
            Self::Status | Self::Peers(_) | Self::Metrics => Right::Read,
            Self::Reload
            | Self::ForceReload
            | Self::HookRollback(_)
            | Self::HookApply(_)
            // It runs the hook, if only on a simulated host.
            | Self::HookPlan(_)
            | Self::Undemote(_)
            | Self::Promote(_)
            | Self::Demote(_)
            | Self::NotifyTest(_)
            | Self::MaintenanceOn(_)
            | Self::MaintenanceOff(_)
            | Self::Resign { .. } => Right::Order,
        }
    }
}

/// A group that has a right.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    name: String,
    gid: Gid,
}

/// The groups whose members may read or give orders. Root and the daemon's own user may do both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    read: Option<Member>,
    order: Option<Member>,
}

impl Roles {
    /// Looks up the groups of `read-group` and `order-group`. Reads the system's databases, so it may
    /// take a while. A group that does not exist gives nobody a right.
    #[must_use]
    pub fn look_up(read: Option<&str>, order: Option<&str>) -> Self {
        let member = |name: Option<&str>| {
            let name = name?;
            group(name).map(|gid| Member {
                name: name.to_owned(),
                gid,
            })
        };
        Self {
            read: member(read),
            order: member(order),
        }
    }

    /// Whether somebody besides root and the daemon's own user has a right.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.read.is_some() || self.order.is_some()
    }

    /// Whether a process with this user and these groups has the right. Who may order may read.
    pub(super) fn check(&self, uid: u32, groups: &[Gid], right: Right) -> Result<(), Refusal<'_>> {
        let is_in = |member: &Option<Member>| {
            member
                .as_ref()
                .is_some_and(|member| groups.contains(&member.gid))
        };
        let may = uid == 0
            || uid == nix::unistd::geteuid().as_raw()
            || is_in(&self.order)
            || right == Right::Read && is_in(&self.read);
        if may {
            Ok(())
        } else {
            Err(Refusal { roles: self, right })
        }
    }
}

/// The group of this name or number.
#[must_use]
pub fn group(name: &str) -> Option<Gid> {
    match name.parse() {
        Ok(number) => Some(Gid::from_raw(number)),
        Err(_) => Some(Group::from_name(name).ok()??.gid),
    }
}

/// Who would have had the right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal<'a> {
    roles: &'a Roles,
    right: Right,
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Roles { read, order } = self.roles;
        let (groups, may): (Vec<&Member>, _) = match self.right {
            Right::Read => (read.iter().chain(order).collect(), "ask this daemon"),
            Right::Order => (order.iter().collect(), "give orders to this daemon"),
        };
        match groups.as_slice() {
            [] => write!(f, "only root may {may}"),
            [one] => write!(
                f,
                "only root and members of the group {} may {may}",
                one.name
            ),
            [one, other, ..] => write!(
                f,
                "only root and members of the groups {} and {} may {may}",
                one.name, other.name
            ),
        }
    }
}

/// The supplementary groups that a client had when it connected.
///
/// # Errors
/// The kernel's.
pub(super) fn groups_of(client: impl AsFd) -> io::Result<Vec<Gid>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let bytes = std::mem::size_of_val(groups.as_slice());
        let mut length = libc::socklen_t::try_from(bytes).map_err(io::Error::other)?;
        // SAFETY: the kernel writes at most `length` bytes to the buffer, which has as many, and how
        // many it wrote, or would have, to `length`; any bytes are numbers of groups.
        let done = unsafe {
            libc::getsockopt(
                client.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = usize::try_from(length).unwrap_or(0) / size_of::<libc::gid_t>();
        if done == 0 {
            groups.truncate(count);
            return Ok(groups.into_iter().map(Gid::from_raw).collect());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() || count > GROUPS_MAX
        {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn roles(read: Option<u32>, order: Option<u32>) -> Roles {
        let name = |gid: Option<u32>| gid.map(|gid| gid.to_string());
        Roles::look_up(name(read).as_deref(), name(order).as_deref())
    }

    #[test]
    fn who_may_order_may_read_and_not_the_other_way_round() {
        // Neither root nor the user that runs this.
        let nobody = 4_000_000;
        let may = |roles: &Roles, groups: &[u32], right| {
            let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
            roles.check(nobody, &groups, right).is_ok()
        };
        let both = roles(Some(10), Some(20));
        for (groups, read, order) in [
            (&[10][..], true, false),
            (&[20], true, true),
            (&[5, 10, 20], true, true),
            (&[30], false, false),
            (&[], false, false),
        ] {
            assert_eq!(may(&both, groups, Right::Read), read, "{groups:?}");
            assert_eq!(may(&both, groups, Right::Order), order, "{groups:?}");
        }
        assert!(!may(&roles(None, None), &[0], Right::Read));
        assert!(roles(None, None).check(0, &[], Right::Order).is_ok());
    }

    #[test]
    fn a_refusal_names_the_groups() {
        let said =
            |roles: &Roles, right| roles.check(4_000_000, &[], right).unwrap_err().to_string();
        let both = roles(Some(10), Some(20));
        assert_eq!(
            said(&both, Right::Read),
            "only root and members of the groups 10 and 20 may ask this daemon"
        );
        assert_eq!(
            said(&both, Right::Order),
            "only root and members of the group 20 may give orders to this daemon"
        );
        assert_eq!(
            said(&Roles::default(), Right::Order),
            "only root may give orders to this daemon"
        );
    }

    #[test]
    fn a_client_has_the_groups_of_its_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let mut groups = groups_of(&one).unwrap();
        let mut own = nix::unistd::getgroups().unwrap();
        groups.sort_by_key(|gid| gid.as_raw());
        own.sort_by_key(|gid| gid.as_raw());
        assert_eq!(groups, own);
    }

    #[test]
    fn groups_have_names_and_numbers() {
        assert_eq!(group("0"), Some(Gid::from_raw(0)));
        assert_eq!(group("root"), Some(Gid::from_raw(0)));
        assert_eq!(group("there-is-no-such-group"), None);
    }
}
