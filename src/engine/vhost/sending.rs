//! Whether the advertisements of a virtual host go out.

use std::io;

use crate::engine::vhost::lease::silence;
use crate::engine::vhost::node::Node;
use crate::proto::Cause;
use crate::types::Timestamp;

/// What became of the advertisements of one mastership.
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

    /// May another have been master since this one was heard last? Nodes with the same timers have
    /// waited for so long then.
    pub(in crate::engine) fn may_be_replaced(&self, now: Timestamp) -> bool {
        self.sending
            .went_out
            .is_none_or(|at| now.since(at) >= silence(&self.machine))
    }

    /// Is it certain that another holds the addresses, since it does not know that we took over
    /// from it?
    pub(in crate::engine) fn replaces_unheard(&self) -> bool {
        let living = self
            .last
            .as_ref()
            .is_some_and(|last| matches!(last.cause, Cause::Preempt | Cause::PeerDemoted));
        living && self.sending.went_out.is_none()
    }
}
