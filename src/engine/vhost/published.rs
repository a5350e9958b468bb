//! What the keeper knows of a virtual host.

/// How many counters a master may still use before the bow-outs in the failsafe must be renewed.
/// Signing two frames for each advertisement would be a considerable part of an idle master's work.
pub(in crate::engine) const AHEAD: u64 = 1024;

/// What one advertisement may use of them: one for each family, and a few that are passed over.
pub(in crate::engine) const ADVERTISEMENT: u64 = 8;

/// Whether the keeper's information about a virtual host is still correct.
#[derive(Debug, Default)]
pub(in crate::engine) struct Published {
    /// Something that stands in it has changed.
    pub(in crate::engine) outdated: bool,
    /// The last counter before those of its bow-outs.
    pub(in crate::engine) up_to: u64,
}

impl Published {
    pub(in crate::engine) const fn outdate(&mut self) {
        self.outdated = true;
    }

    pub(in crate::engine) const fn is_outdated(&self) -> bool {
        self.outdated
    }

    /// May a machine that has counted so far send another advertisement without using the bow-outs'
    /// counters?
    pub(in crate::engine) const fn holds(&self, counter: u64) -> bool {
        let left = self.up_to.wrapping_sub(counter);
        !self.outdated && left >= ADVERTISEMENT && left <= AHEAD
    }
}
