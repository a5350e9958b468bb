//! The deadlines and their formulas, in whole microseconds: both ends must truncate alike, or ties
//! are not ties.

use std::time::Duration;

use super::settings::Peers;
use crate::types::{AdvBase, AdvSkew};

/// How many intervals a master may be silent by default (carp(4)).
pub const DEAD_RATIO: u32 = 3;

/// A backup that wakes up this much after its deadline first reads what arrived meanwhile.
pub const LATE_TOLERANCE: Duration = Duration::from_millis(20);

/// The time limit for that.
pub const LATE_GRACE: Duration = Duration::from_millis(5);

/// advskew/256 s, truncated to whole microseconds (docs/protocol.md, section 4).
#[must_use]
pub fn skew_time(skew: AdvSkew) -> Duration {
    Duration::from_micros(u64::from(skew.0) * 1_000_000 / 256)
}

/// advbase + advskew/256 s; 1/256 s if both are 0, as in OpenBSD.
#[must_use]
pub fn interval(base: AdvBase, skew: AdvSkew) -> Duration {
    match (base.0, skew.0) {
        (0, 0) => skew_time(AdvSkew(1)),
        _ => Duration::from_secs(u64::from(base.0)) + skew_time(skew),
    }
}

/// How long a master may be silent before a backup takes over.
///
/// dead-ratio × advbase + advskew/256 s; with OpenBSD peers dead-ratio × (advbase + advskew/256) s.
/// The second formula also applies whenever advbase is 0: with the first one, such a backup would
/// not wait longer than one interval, and ucarp, which does that, never settles (docs/protocol.md,
/// section 13.2).
#[must_use]
pub fn master_down(base: AdvBase, skew: AdvSkew, dead_ratio: u32, peers: Peers) -> Duration {
    let ratio = dead_ratio.max(1);
    match peers {
        Peers::Bsd if base.0 > 0 => {
            Duration::from_secs(u64::from(base.0)) * ratio + skew_time(skew)
        }
        Peers::Bsd | Peers::OpenBsd => interval(base, skew) * ratio,
    }
}

/// A master that has sent nothing for this long must assume that a backup has taken over.
///
/// This is the shortest master-down time that a peer with our advbase may have; if that is not
/// longer than our own interval (dead-ratio 1), it is twice the interval.
#[must_use]
pub fn late_after(base: AdvBase, skew: AdvSkew, dead_ratio: u32, peers: Peers) -> Duration {
    let least = if base.0 == 0 { skew } else { AdvSkew(0) };
    let silent = master_down(base, least, dead_ratio, peers);
    let own = interval(base, skew);
    if silent > own { silent } else { own * 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    #[test]
    fn skew_is_cut_to_whole_microseconds() {
        assert_eq!(skew_time(AdvSkew(1)), micros(3_906));
        assert_eq!(skew_time(AdvSkew(100)), micros(390_625));
        assert_eq!(skew_time(AdvSkew(254)), micros(992_187));
    }

    #[test]
    fn master_down_by_both_formulas() {
        let (base, skew) = (AdvBase(1), AdvSkew(100));
        assert_eq!(master_down(base, skew, 3, Peers::Bsd), micros(3_390_625));
        assert_eq!(
            master_down(base, skew, 3, Peers::OpenBsd),
            micros(4_171_875)
        );
        assert_eq!(master_down(base, skew, 5, Peers::Bsd), micros(5_390_625));
    }

    #[test]
    fn advbase_zero_waits_for_several_intervals() {
        assert_eq!(
            master_down(AdvBase(0), AdvSkew(26), 3, Peers::Bsd),
            micros(3 * 101_562)
        );
        assert_eq!(
            master_down(AdvBase(0), AdvSkew(0), 3, Peers::OpenBsd),
            micros(3 * 3_906)
        );
        assert_eq!(interval(AdvBase(0), AdvSkew(0)), micros(3_906));
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let longest = master_down(AdvBase(255), AdvSkew(255), u32::MAX, Peers::OpenBsd);
        assert!(longest > Duration::from_hours(255 * 1_000_000));
        assert!(
            late_after(AdvBase(255), AdvSkew(255), u32::MAX, Peers::Bsd) > Duration::from_secs(1)
        );
    }

    #[test]
    fn a_dead_ratio_of_one_does_not_make_every_advertisement_late() {
        assert_eq!(
            late_after(AdvBase(1), AdvSkew(0), 1, Peers::Bsd),
            micros(2_000_000)
        );
        assert_eq!(
            late_after(AdvBase(1), AdvSkew(240), 3, Peers::Bsd),
            micros(3_000_000)
        );
    }
}
