//! The kernel's interfaces: netlink, packet sockets, announcements, alarms, names and privileges.

pub mod alarm;
pub mod announce;
pub mod claims;
pub(in crate::host) mod culprit;
pub mod hostname;
pub(in crate::host) mod launch;
pub mod memory;
pub mod netlink;
pub mod netns;
pub mod oom;
pub mod privilege;
pub mod process;
pub mod readiness;
pub mod realtime;
pub mod routed;
pub mod sealed;
pub mod socket;
pub(in crate::host) mod sys;
