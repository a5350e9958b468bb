//! Bow-outs that have not been followed yet.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;

use crate::engine::vhost::id::VhostId;
use crate::types::Timestamp;

/// The most bow-outs that wait; no real network has more at a time.
pub(in crate::engine) const WAITING_MAX: usize = 2048;

/// Bow-outs that wait, one for each virtual host and sender.
#[derive(Debug, Default)]
pub(in crate::engine) struct BowOuts(pub(in crate::engine) BTreeMap<(VhostId, IpAddr), Waiting>);

#[derive(Debug)]
pub(in crate::engine) struct Waiting {
    pub(in crate::engine) frame: Box<[u8]>,
    pub(in crate::engine) since: Timestamp,
}

impl BowOuts {
    /// When the loop must come round for them.
    pub(in crate::engine) fn due(&self) -> Option<Timestamp> {
        self.0.first_key_value().map(|(_, waiting)| waiting.since)
    }

    /// The next one, whether this one is still there or not.
    pub(in crate::engine) fn behind(&self, key: (VhostId, IpAddr)) -> Option<(VhostId, IpAddr)> {
        self.0
            .range((Bound::Excluded(key), Bound::Unbounded))
            .next()
            .map(|(next, _)| *next)
    }

    /// Drops all of them, because they are too old to be trusted.
    pub(in crate::engine) fn forget(&mut self) {
        self.0.clear();
    }
}
