//! A node in maintenance: other nodes are to be master, and it becomes master as a last resort or
//! not at all (docs/protocol.md, section 16).

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::timer;
use super::super::transition::Cause;
use super::silence::Silence;
use super::{Phase, Vhost};
use crate::types::{AdvSkew, Demotion, Family, Timestamp};

/// How long others have the chance to follow a master that leaves. A backup follows within
/// milliseconds; one that has to wait for its pace may miss it, and then preempts.
const AFTER_OTHERS: Duration = Duration::from_millis(500);

/// How unwilling a virtual host is to become master. It never makes a master cease to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Reluctance {
    /// Not at all.
    #[default]
    None,
    /// It becomes master when no other node does: later than any of them would, and without
    /// preempting.
    LastResort,
    /// It does not become master.
    Never,
}

impl Vhost {
    /// How long a master may be silent before this node takes over. As a last resort it waits
    /// until every other backup has had the time to take over and to be heard, however bad its
    /// advskew is.
    pub(super) fn patience(&self) -> Duration {
        match self.reluctance {
            Reluctance::None => self.master_down(),
            Reluctance::LastResort | Reluctance::Never => {
                let worst = AdvSkew(Demotion::MAX.get());
                self.master_down() + timer::interval(self.settings.advbase, worst)
            }
        }
    }

    pub(super) fn become_reluctant(&mut self, reluctance: Reluctance, now: Timestamp) {
        if std::mem::replace(&mut self.reluctance, reluctance) == reluctance {
            return;
        }
        if reluctance != Reluctance::None {
            self.asked = None;
        }
        self.membership.forbid();
        self.listen_in_vain(now);
    }

    /// Listens for as long as it does at the beginning, without a takeover.
    pub(super) fn listen_in_vain(&mut self, now: Timestamp) {
        let patience = self.patience();
        if let Phase::Backup(silence) = &mut self.phase {
            *silence = Silence::begin(&self.settings, now, patience);
        }
    }

    /// The master leaves. As a last resort it is followed when no other node does.
    pub(super) fn follow_reluctantly(&mut self, peer: IpAddr, tag: u8, now: Timestamp) {
        if self.reluctance == Reluctance::Never {
            return;
        }
        let ready = self.takeovers.free(now).max(now + AFTER_OTHERS);
        if self.settings.claims.is_together() {
            self.get_ready(Cause::MasterLeaving, Some(peer), tag, now);
            return self.membership.wait(ready);
        }
        // It leads no longer: whoever advertises now is the master, however bad.
        _ = self.leader.of_mut(Family::of(peer)).take();
        if let Phase::Backup(silence) = &mut self.phase {
            silence.left(peer, ready);
        }
    }
}
