//! Bow-outs of a node that then goes on advertising.
//!
//! Anybody who has seen a bow-out can send it again. After a real one its sender listens. So when we
//! followed a bow-out, and hear its sender advertise before our second advertisement, that was
//! none, and for a while further ones from there are not believed. Then silence decides, as it does
//! for a master without bow-outs.
//!
//! Not later than that: a node that is started again at once hears our second advertisement, and
//! may preempt us for it.

use std::net::IpAddr;
use std::time::Duration;

use crate::types::Timestamp;

/// How long a node's bow-outs are not believed after the first contradiction. Each further one
/// doubles it.
const FIRST: Duration = Duration::from_mins(1);
/// How often it is doubled at most.
const DOUBLED_MAX: u32 = 4;

/// What we know of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Contradiction {
    /// Whose bow-out made us master, and until when its sender would be silent.
    followed: Option<(IpAddr, Timestamp)>,
    /// Whose bow-outs are not believed, and until when.
    doubted: Option<(IpAddr, Timestamp)>,
    doubled: u32,
}

impl Contradiction {
    /// We became master because of this node's bow-out.
    pub(super) fn followed(&mut self, peer: IpAddr, silent_until: Timestamp) {
        self.followed = Some((peer, silent_until));
    }

    /// Its sender may be back, because it heard us advertise, or leave.
    pub(super) fn unsure(&mut self) {
        self.followed = None;
    }

    /// This node advertised.
    pub(super) fn advertised(&mut self, peer: IpAddr, now: Timestamp) {
        let Some((left, silent_until)) = self.followed else {
            return;
        };
        if now >= silent_until {
            self.followed = None;
        } else if left == peer {
            self.followed = None;
            self.doubt(peer, now);
        }
    }

    fn doubt(&mut self, peer: IpAddr, now: Timestamp) {
        // Forgotten after as long again without one.
        let again = self
            .doubted
            .is_some_and(|(doubted, until)| doubted == peer && now < until + self.lasts());
        self.doubled = if again {
            (self.doubled + 1).min(DOUBLED_MAX)
        } else {
            0
        };
        self.doubted = Some((peer, now + self.lasts()));
    }

    fn lasts(&self) -> Duration {
        FIRST * (1 << self.doubled)
    }

    /// Whether a bow-out of this node may be followed.
    pub(super) fn is_believed(&self, peer: IpAddr, now: Timestamp) -> bool {
        self.doubted
            .is_none_or(|(doubted, until)| doubted != peer || now >= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(1000 + seconds)
    }

    #[test]
    fn who_goes_on_advertising_is_not_believed_for_a_minute() {
        let mut it = Contradiction::default();
        it.followed(A, at(3));
        it.advertised(B, at(1));
        assert!(it.is_believed(A, at(1)));
        it.advertised(A, at(1));
        assert!(!it.is_believed(A, at(60)));
        assert!(it.is_believed(B, at(60)));
        assert!(it.is_believed(A, at(61)));
    }

    #[test]
    fn who_is_silent_first_or_may_have_heard_us_is_believed() {
        let mut it = Contradiction::default();
        it.followed(A, at(3));
        it.advertised(A, at(3));
        assert!(it.is_believed(A, at(3)));
        it.followed(A, at(10));
        it.unsure();
        it.advertised(A, at(8));
        assert!(it.is_believed(A, at(8)));
    }

    #[test]
    fn each_further_one_lasts_twice_as_long_and_calm_forgives() {
        let mut it = Contradiction::default();
        let mut now = 0;
        for minutes in [1, 2, 4, 8, 16, 16] {
            it.followed(A, at(now + 3));
            it.advertised(A, at(now));
            assert!(!it.is_believed(A, at(now + minutes * 60 - 1)), "{minutes}");
            now += minutes * 60;
            assert!(it.is_believed(A, at(now)), "{minutes}");
        }
        now += 16 * 60;
        it.followed(A, at(now + 3));
        it.advertised(A, at(now));
        assert!(it.is_believed(A, at(now + 60)));
    }
}
