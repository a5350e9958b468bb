//! Tracks whether the advertisements of a virtual host are being sent.

use std::io;

use crate::engine::vhost::lease::silence;
use crate::engine::vhost::node::Node;
use crate::proto::Cause;
use crate::types::Timestamp;

/// The results of sending advertisements during one mastership.
#[derive(Debug, Default)]
pub(in crate::engine) struct Sending {
    /// The last one that went out, in one family at least.
    pub(in crate::engine) went_out: Option<Timestamp>,
    /// Why the last one that did not go out did not.
    pub(in crate::engine) problem: String,
}

impl Sending {
    /// The advertisement of that time was sent, or was not.
    pub(in crate::engine) fn note(&mut self, at: Option<Timestamp>, sent: &io::Result<()>) {
        match sent {
            Ok(()) => self.went_out = at,
            Err(error) => self.problem = error.to_string(),
        }
    }

    /// When one went out last.
    pub(in crate::engine) const fn went_out(&self) -> Option<Timestamp> {
        self.went_out
    }
}

impl<H> Node<H> {
    /// Why the last advertisement of a master did not go out, if it did not.
    pub(in crate::engine) fn unheard(&self) -> Option<&str> {
        (self.machine.advertised() > self.sending.went_out).then_some(self.sending.problem.as_str())
    }

    /// Whether another node may have become master since this one was last heard: nodes with the
    /// same timers wait this long.
    pub(in crate::engine) fn may_be_replaced(&self, now: Timestamp) -> bool {
        self.sending
            .went_out
            .is_none_or(|at| now.since(at) >= silence(&self.machine))
    }

    /// Whether another node certainly holds the addresses, because it does not know that we took
    /// over.
    pub(in crate::engine) fn replaces_unheard(&self) -> bool {
        let living = self
            .last
            .as_ref()
            .is_some_and(|last| matches!(last.cause, Cause::Preempt | Cause::PeerDemoted));
        living && self.sending.went_out.is_none()
    }
}
