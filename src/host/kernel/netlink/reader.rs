//! Tables that grow with the machine: all routes, rules, devices or addresses.

use std::time::Duration;

use super::message::Message;
use super::{Netlink, RawPart, Refusal};
use crate::host::HostError;
use crate::host::services::spawn::Deadline;

/// Reads whole tables over a socket of its own, on a thread that only the caller waits for. A full
/// routing table takes a good part of a second.
#[derive(Debug)]
pub struct Reader {
    netlink: Netlink,
    deadline: Deadline,
}

impl Reader {
    /// Opens in the network namespace of the calling thread; it may then be used on another. It
    /// reads for no longer than `limit` from now on.
    ///
    /// # Errors
    /// [`HostError`] if the kernel provides no such socket.
    pub fn open(limit: Duration) -> Result<Self, HostError> {
        Ok(Self {
            netlink: Netlink::open()?,
            deadline: Deadline::after(limit),
        })
    }

    /// The entries of a table that `pick` selects.
    pub(super) fn pick<T>(
        &self,
        message: &Message,
        pick: impl Fn(&RawPart<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Refusal> {
        self.netlink.pick(message, Some(self.deadline), pick)
    }
}
