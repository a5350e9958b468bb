//! What the keeper knows of a virtual host.

/// Counters that a master may still use before its bow-outs in the will must be made anew. Signing
/// two frames for each advertisement would be a good part of what an idle master does.
pub(in crate::engine) const AHEAD: u64 = 1024;

/// What one advertisement may use of them: one for each family, and a few that are passed over.
pub(in crate::engine) const ADVERTISEMENT: u64 = 8;

/// Is what the keeper knows of a virtual host still right?
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
