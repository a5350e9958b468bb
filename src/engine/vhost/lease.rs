//! Leases: how long the kernel keeps an address without a renewal.

use std::time::Duration;

use crate::proto::{self};

/// The kernel removes an expired address up to this much late.
const EXPIRY_LATE: Duration = Duration::from_millis(700);

/// A lease outlives the time to the next renewal by this much at least.
pub(in crate::engine) const SLACK: Duration = Duration::from_millis(250);

/// How a virtual host's addresses are added. They are host addresses, so that none of them is the
/// primary address of its network: the kernel would remove the others together with it, and use it
/// as the source of the host's own connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Lease {
    /// For ever.
    Off,
    /// Renewed with each advertisement.
    Kernel {
        /// For so long; for ever while the timers leave no room for a lease.
        lifetime: Option<Duration>,
    },
}

impl Lease {
    /// The lease that fits the present timers: whole seconds, longer than the interval to the next
    /// advertisement, and over before a backup with the same settings takes over. The longest of
    /// them, since a busy machine may be late.
    pub(in crate::engine) fn of(machine: &proto::Vhost, wanted: bool) -> Self {
        if !wanted {
            return Self::Off;
        }
        Self::Kernel {
            lifetime: longest(machine.interval(), silence(machine)),
        }
    }

    /// The lifetime, if it ends by itself.
    pub(in crate::engine) const fn lifetime(self) -> Option<Duration> {
        match self {
            Self::Off | Self::Kernel { lifetime: None } => None,
            Self::Kernel { lifetime } => lifetime,
        }
    }
}

/// For how long a master may be silent before the first of the backups with the same timers takes
/// over.
pub(in crate::engine) fn silence(machine: &proto::Vhost) -> Duration {
    let settings = machine.settings();
    Duration::from_secs(u64::from(settings.advbase.0)) * settings.dead_ratio
}

/// What is left of a lease when this much of it is over, in whole seconds as the kernel counts
/// them, if it lasts until the next renewal.
pub(in crate::engine) fn rest(
    lifetime: Duration,
    spent: Duration,
    renewal: Duration,
) -> Option<Duration> {
    let left = Duration::from_secs(lifetime.saturating_sub(spent).as_secs());
    (left >= renewal + SLACK).then_some(left)
}

pub(in crate::engine) fn longest(interval: Duration, silence: Duration) -> Option<Duration> {
    let seconds = silence.saturating_sub(EXPIRY_LATE).as_secs();
    let lifetime = Duration::from_secs(seconds);
    (seconds >= 1 && lifetime >= interval + SLACK).then_some(lifetime)
}

impl std::fmt::Display for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("no lease: switched off"),
            Self::Kernel {
                lifetime: Some(lifetime),
            } => write!(f, "lease of {} s", lifetime.as_secs()),
            Self::Kernel { lifetime: None } => {
                f.write_str("no lease: the timers are too short for one")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(interval_ms: u64, silence_s: u64) -> Option<u64> {
        longest(
            Duration::from_millis(interval_ms),
            Duration::from_secs(silence_s),
        )
        .map(|lifetime| lifetime.as_secs())
    }

    #[test]
    fn a_lease_that_begins_late_is_shorter() {
        let millis = Duration::from_millis;
        let rest = |spent| {
            rest(millis(2000), millis(spent), millis(1000 - spent.min(1000)))
                .map(|left| left.as_secs())
        };
        assert_eq!(
            [0, 1, 249, 250, 1000, 1001, 5000].map(rest),
            [Some(2), None, None, Some(1), Some(1), None, None]
        );
    }

    #[test]
    fn a_lease_is_over_before_a_backup_takes_over_and_lasts_to_the_next_renewal() {
        assert_eq!(seconds(1000, 3), Some(2), "the default timers");
        assert_eq!(seconds(1058, 3), Some(2));
        assert_eq!(
            seconds(1937, 3),
            None,
            "demoted by 240: the next advertisement comes too late"
        );
        assert_eq!(seconds(2000, 6), Some(5));
        assert_eq!(seconds(1000, 1), None);
        assert_eq!(seconds(100, 0), None, "advbase 0");
    }
}
