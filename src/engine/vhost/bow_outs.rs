//! Bow-outs that have not been followed yet.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::ops::Bound;

use crate::engine::vhost::id::VhostId;
use crate::types::Timestamp;

/// The most bow-outs that wait; no real network has more at a time.
const WAITING_MAX: usize = 2048;

/// How many of one sender wait for one virtual host: it sends one in each form that it signs.
const FORMS_MAX: usize = 4;

/// Bow-outs that wait, for each virtual host and sender.
#[derive(Debug, Default)]
pub(in crate::engine) struct BowOuts(pub(in crate::engine) BTreeMap<(VhostId, IpAddr), Waiting>);

#[derive(Debug)]
pub(in crate::engine) struct Waiting {
    pub(in crate::engine) frames: Vec<Box<[u8]>>,
    /// When the first of them came: repeating a bow-out does not prolong the wait.
    pub(in crate::engine) since: Timestamp,
}

impl BowOuts {
    /// Lets a bow-out wait; `false` if there is no room.
    pub(in crate::engine) fn wait(
        &mut self,
        key: (VhostId, IpAddr),
        frame: &[u8],
        now: Timestamp,
    ) -> bool {
        let room = self.0.len() < WAITING_MAX;
        match self.0.entry(key) {
            Entry::Vacant(entry) if room => {
                entry.insert(Waiting {
                    frames: vec![frame.into()],
                    since: now,
                });
                true
            }
            Entry::Occupied(mut entry) if entry.get().frames.len() < FORMS_MAX => {
                entry.get_mut().frames.push(frame.into());
                true
            }
            Entry::Vacant(_) | Entry::Occupied(_) => false,
        }
    }

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
