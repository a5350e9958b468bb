//! Tracks how long the master has been silent, for each family.

use std::net::IpAddr;
use std::time::Duration;

use super::super::settings::{FamilyTimers, Settings};
use super::super::timer::{LATE_GRACE, LATE_TOLERANCE};
use crate::types::{Family, Timestamp};

/// One value for each family.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PerFamily<T> {
    v4: T,
    v6: T,
}

impl<T> PerFamily<T> {
    pub(super) const fn of(&self, family: Family) -> &T {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    pub(super) const fn of_mut(&mut self, family: Family) -> &mut T {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    pub(super) const fn each_mut(&mut self) -> [&mut T; 2] {
        [&mut self.v4, &mut self.v6]
    }
}

/// A backup's master-down timers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence {
    /// When each family's time expires.
    ends: PerFamily<Option<Timestamp>>,
    /// Since when nothing has been heard.
    since: Timestamp,
    /// After waking up late: until when we read what arrived meanwhile.
    grace: Option<Timestamp>,
    /// The earliest takeover that the pace allows.
    not_before: Option<Timestamp>,
    /// The master has left with a bow-out: we wait only for the pace.
    left: Option<IpAddr>,
}

/// What a wake-up means to a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// Nothing yet.
    Early,
    /// The master is down.
    MasterDown { silent: Duration },
    /// The master that left can be followed now.
    MasterLeft { peer: IpAddr },
    /// We slept through more than a full master-down time, and know nothing.
    Overslept { by: Duration },
}

impl Silence {
    /// Every family's time starts now.
    pub(super) fn begin(settings: &Settings, now: Timestamp, master_down: Duration) -> Self {
        let mut ends = PerFamily::default();
        for family in settings.families() {
            *ends.of_mut(family) = Some(now + master_down);
        }
        Self {
            ends,
            since: now,
            grace: None,
            not_before: None,
            left: None,
        }
    }

    /// The master was heard in this family.
    pub(super) fn heard(&mut self, family: Family, now: Timestamp, master_down: Duration) {
        *self.ends.of_mut(family) = Some(now + master_down);
        self.since = now;
        self.grace = None;
        self.left = None;
    }

    /// The master is down, but the pace does not allow a takeover before this time.
    pub(super) const fn wait(&mut self, ready: Timestamp) {
        self.not_before = Some(ready);
    }

    /// The master has left, and the pace does not allow a takeover before this time.
    pub(super) const fn left(&mut self, peer: IpAddr, ready: Timestamp) {
        self.left = Some(peer);
        self.not_before = Some(ready);
    }

    /// When it has lasted long enough.
    pub(super) fn end(&self, rule: FamilyTimers) -> Option<Timestamp> {
        let ends = [self.ends.v4, self.ends.v6].into_iter().flatten();
        let silent = match rule {
            FamilyTimers::All => ends.max(),
            FamilyTimers::Any => ends.min(),
        };
        let end = if self.left.is_some() {
            self.not_before
        } else {
            silent.max(self.not_before)
        };
        end.max(self.grace).filter(|_| silent.is_some())
    }

    /// Judges a wake-up. A backup that wakes up slightly late has not yet read its sockets, so it
    /// gets a moment to do so; one that wakes up very late must start listening afresh.
    pub(super) fn wake(
        &mut self,
        rule: FamilyTimers,
        now: Timestamp,
        master_down: Duration,
    ) -> Wake {
        let Some(end) = self.end(rule).filter(|end| *end <= now) else {
            return Wake::Early;
        };
        let late = now - end;
        if late >= master_down {
            return Wake::Overslept { by: late };
        }
        if late > LATE_TOLERANCE && self.grace.is_none() {
            self.grace = Some(now + LATE_GRACE);
            return Wake::Early;
        }
        if let Some(peer) = self.left {
            return Wake::MasterLeft { peer };
        }
        Wake::MasterDown {
            silent: now - self.since,
        }
    }
}
