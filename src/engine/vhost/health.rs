//! The results of the hooks' `health` for a virtual host: counted, and turned into a demotion.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::config::Health;
use crate::engine::report::HealthStatus;
use crate::engine::runs::pool::Pool;
use crate::hooks::{EntryPoint, HookError, Returned};
use crate::host::clock;
use crate::types::{Demotion, Name, Timestamp};

/// While it cannot be checked (during a transition, or with the link down), it is retried after
/// this time.
pub(in crate::engine) const AGAIN: Duration = Duration::from_millis(200);

/// A node that fails again within this time after recovering must be healthy for longer.
pub(in crate::engine) const SOON: Duration = Duration::from_mins(10);

/// The most doublings of `rise`.
pub(in crate::engine) const DOUBLINGS_MAX: u32 = 5;

/// The checks of one virtual host, by hook.
#[derive(Debug, Default)]
pub(in crate::engine) struct Checks(pub(in crate::engine) BTreeMap<Name, Check>);

/// The check of one hook.
#[derive(Debug)]
pub(in crate::engine) struct Check {
    pub(in crate::engine) due: Timestamp,
    /// Number of the check that runs.
    pub(in crate::engine) running: Option<u64>,
    /// Number of the last one.
    pub(in crate::engine) last: u64,
    pub(in crate::engine) standing: Standing,
    pub(in crate::engine) since_ms: u64,
    /// The number of checks in a row that contradict `standing`.
    pub(in crate::engine) against: u32,
    pub(in crate::engine) rose: Option<Timestamp>,
    /// How often `rise` is doubled.
    pub(in crate::engine) doublings: u32,
}

/// The current judgement of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Standing {
    /// Unknown; counts as healthy.
    Unknown,
    Well,
    Unwell {
        demotion: u8,
        reason: String,
    },
}

/// The result of one check; 0 is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Verdict {
    pub(in crate::engine) demotion: u8,
    pub(in crate::engine) reason: String,
}

/// What follows from a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Change {
    Fell,
    /// Still unhealthy, but differently.
    Shifted,
    Rose,
}

impl Verdict {
    pub(in crate::engine) fn of(result: Result<Returned, HookError>, health: &Health) -> Self {
        match result {
            Ok(Returned::Health { demotion: 0, .. }) => Self {
                demotion: 0,
                reason: String::new(),
            },
            Ok(Returned::Health { demotion, reason }) => Self {
                // `false` means fully unfit: the operator configures how much that is.
                demotion: if demotion == 240 {
                    health.demotion
                } else {
                    demotion
                },
                reason: if reason.is_empty() {
                    "it gave no reason".to_owned()
                } else {
                    reason
                },
            },
            Ok(Returned::Done) => Self {
                demotion: health.demotion,
                reason: "it returned nothing".to_owned(),
            },
            Err(error) => Self {
                demotion: health.demotion,
                reason: error.to_string(),
            },
        }
    }
}

impl Check {
    pub(in crate::engine) fn new(now: Timestamp) -> Self {
        Self {
            due: now,
            running: None,
            last: 0,
            standing: Standing::Unknown,
            since_ms: clock::wall_ms(),
            against: 0,
            rose: None,
            doublings: 0,
        }
    }

    pub(in crate::engine) fn demotion(&self) -> u8 {
        if let Standing::Unwell { demotion, .. } = &self.standing {
            *demotion
        } else {
            0
        }
    }

    /// It is asked at once.
    pub(in crate::engine) const fn hurry(&mut self, now: Timestamp) {
        self.due = now;
    }

    /// Begins a check: its number.
    pub(in crate::engine) fn begin(&mut self, health: &Health, now: Timestamp) -> u64 {
        self.last += 1;
        self.running = Some(self.last);
        self.due = now + health.interval;
        self.last
    }

    /// Counts the result of a check on a node that serves its addresses, or does not.
    pub(in crate::engine) fn count(
        &mut self,
        verdict: Verdict,
        health: &Health,
        serves: bool,
        now: Timestamp,
    ) -> Option<Change> {
        let unwell = Standing::Unwell {
            demotion: verdict.demotion,
            reason: verdict.reason,
        };
        let well = verdict.demotion == 0;
        match &self.standing {
            Standing::Unknown if well => {
                self.stand(Standing::Well);
                None
            }
            // The first result takes effect at once: a node that is unhealthy at start must not
            // take over first. A master already serves, and a check that is new to it must fail as
            // often as any other before it costs the addresses.
            Standing::Unknown => {
                self.against += 1;
                if serves && self.against < health.fall {
                    return None;
                }
                self.fall(unwell, now);
                Some(Change::Fell)
            }
            Standing::Well if well => {
                self.against = 0;
                None
            }
            Standing::Well => {
                self.against += 1;
                if self.against < health.fall {
                    return None;
                }
                self.fall(unwell, now);
                Some(Change::Fell)
            }
            Standing::Unwell { .. } if well => {
                self.against += 1;
                let needed = health.rise.saturating_mul(1 << self.doublings);
                if self.against < needed {
                    return None;
                }
                self.rose = Some(now);
                self.stand(Standing::Well);
                Some(Change::Rose)
            }
            Standing::Unwell { demotion, .. } => {
                let shifted = *demotion != verdict.demotion;
                self.against = 0;
                self.standing = unwell;
                shifted.then_some(Change::Shifted)
            }
        }
    }

    pub(in crate::engine) fn fall(&mut self, unwell: Standing, now: Timestamp) {
        self.doublings = match self.rose {
            Some(rose) if now.since(rose) < SOON => (self.doublings + 1).min(DOUBLINGS_MAX),
            Some(_) | None => 0,
        };
        self.stand(unwell);
    }

    pub(in crate::engine) fn status(&self, hook: &Name) -> HealthStatus {
        let (well, reason) = match &self.standing {
            Standing::Unknown => (None, String::new()),
            Standing::Well => (Some(true), String::new()),
            Standing::Unwell { reason, .. } => (Some(false), reason.clone()),
        };
        HealthStatus {
            hook: hook.clone(),
            well,
            demotion: self.demotion(),
            reason,
            since_ms: self.since_ms,
        }
    }

    pub(in crate::engine) fn stand(&mut self, standing: Standing) {
        self.against = 0;
        self.since_ms = clock::wall_ms();
        self.standing = standing;
    }
}

impl Checks {
    /// Of one hook, which is asked then.
    #[cfg(test)]
    pub(in crate::engine) fn one_due(at: Timestamp) -> Self {
        Self([("hook".parse().unwrap(), Check::new(at))].into())
    }

    /// The earliest time at which somebody is to be asked.
    pub(in crate::engine) fn due(&self) -> Option<Timestamp> {
        self.0
            .values()
            .filter(|check| check.running.is_none())
            .map(|check| check.due)
            .min()
    }

    /// The total demotion from all checks.
    pub(in crate::engine) fn demotion(&self) -> Demotion {
        self.0.values().fold(Demotion::NONE, |sum, check| {
            sum.plus(Demotion::new(check.demotion()))
        })
    }

    /// These hooks are active from now on: those without `health` no longer count, new ones are
    /// checked at once.
    pub(in crate::engine) fn follow(&mut self, hooks: &[Rc<Pool>], now: Timestamp) {
        let with: Vec<&Name> = hooks
            .iter()
            .filter(|hook| hook.defines(EntryPoint::Health))
            .map(|hook| hook.name())
            .collect();
        self.0.retain(|name, _| with.contains(&name));
        for name in with {
            let check = self
                .0
                .entry(name.clone())
                .or_insert_with(|| Check::new(now));
            // A running check of the old version no longer matters; the known state stays until the
            // new version has a result.
            check.running = None;
            check.due = check.due.min(now);
        }
    }

    /// For the operator.
    pub(in crate::engine) fn status(&self) -> Vec<HealthStatus> {
        self.0
            .iter()
            .map(|(hook, check)| check.status(hook))
            .collect()
    }

    /// The same of one hook, if it has a `health`.
    pub(in crate::engine) fn status_of(&self, hook: &Name) -> Option<HealthStatus> {
        self.0.get(hook).map(|check| check.status(hook))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OnUnhealthy;

    const HEALTH: Health = Health {
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        rise: 2,
        fall: 3,
        demotion: 100,
        on_failure: OnUnhealthy::Resign,
    };

    fn said(demotion: u8) -> Verdict {
        Verdict::of(
            Ok(Returned::Health {
                demotion,
                reason: format!("said {demotion}"),
            }),
            &HEALTH,
        )
    }

    /// A check a second, from a time that is told; what followed from each.
    fn count(check: &mut Check, from_s: u64, said_each: &[u8]) -> Vec<Option<Change>> {
        let at = |n: usize| Timestamp::ZERO + Duration::from_secs(from_s + n as u64);
        said_each
            .iter()
            .enumerate()
            .map(|(n, demotion)| check.count(said(*demotion), &HEALTH, false, at(n)))
            .collect()
    }

    #[test]
    fn it_falls_and_rises_after_so_many_in_a_row() {
        let mut check = Check::new(Timestamp::ZERO);
        assert_eq!(
            count(&mut check, 0, &[0, 7, 7, 0, 7, 7, 7]).last(),
            Some(&Some(Change::Fell))
        );
        assert_eq!(check.demotion(), 7);
        assert_eq!(
            count(&mut check, 10, &[0, 7, 0, 0]),
            [None, None, None, Some(Change::Rose)]
        );
        assert_eq!(check.demotion(), 0);
    }

    #[test]
    fn the_first_answer_counts_at_once() {
        let mut check = Check::new(Timestamp::ZERO);
        assert_eq!(count(&mut check, 0, &[9]), [Some(Change::Fell)]);
        let mut check = Check::new(Timestamp::ZERO);
        assert_eq!(count(&mut check, 0, &[0, 9]), [None, None]);
    }

    /// Neither the first answer of a new check, nor those until it has failed as often as any, hand
    /// over what is held.
    #[test]
    fn a_check_that_is_new_to_a_master_falls_as_slowly_as_any() {
        let fallen = |serves: bool, said_each: &[u8]| {
            let mut check = Check::new(Timestamp::ZERO);
            let mut count =
                |demotion: &u8| check.count(said(*demotion), &HEALTH, serves, Timestamp::ZERO);
            said_each
                .iter()
                .map(&mut count)
                .position(|change| change == Some(Change::Fell))
        };
        assert_eq!(fallen(true, &[9, 9, 9, 9]), Some(2));
        assert_eq!(fallen(true, &[9, 9, 0, 9, 9]), None);
        assert_eq!(
            fallen(false, &[9]),
            Some(0),
            "who serves nothing yet shall not begin to"
        );
        let mut check = Check::new(Timestamp::ZERO);
        assert_eq!(check.count(said(9), &HEALTH, true, Timestamp::ZERO), None);
        assert_eq!(check.demotion(), 0);
        assert_eq!(
            check.count(said(9), &HEALTH, false, Timestamp::ZERO),
            Some(Change::Fell),
            "it is no longer master"
        );
    }

    #[test]
    fn false_an_error_and_an_overrun_are_worth_what_the_operator_says() {
        assert_eq!(said(240).demotion, HEALTH.demotion);
        let plain = Verdict::of(
            Ok(Returned::Health {
                demotion: 240,
                reason: String::new(),
            }),
            &HEALTH,
        );
        assert_eq!(
            plain,
            Verdict {
                demotion: 100,
                reason: "it gave no reason".to_owned()
            }
        );
        assert_eq!(said(239).demotion, 239);
        let late = Verdict::of(Err(HookError::TimedOut(HEALTH.timeout)), &HEALTH);
        assert_eq!(
            late,
            Verdict {
                demotion: 100,
                reason: "ran longer than its budget of 500ms".to_owned()
            }
        );
    }

    #[test]
    fn a_demotion_that_changes_is_told_at_once() {
        let mut check = Check::new(Timestamp::ZERO);
        assert_eq!(
            count(&mut check, 0, &[9, 9, 20, 20]),
            [Some(Change::Fell), None, Some(Change::Shifted), None]
        );
        assert_eq!(check.demotion(), 20);
    }

    #[test]
    fn one_that_falls_again_soon_must_be_well_for_longer() {
        let mut check = Check::new(Timestamp::ZERO);
        assert_eq!(
            count(&mut check, 0, &[9, 0, 0]).last(),
            Some(&Some(Change::Rose))
        );
        assert_eq!(
            count(&mut check, 10, &[9, 9, 9]).last(),
            Some(&Some(Change::Fell))
        );
        assert_eq!(
            count(&mut check, 20, &[0, 0, 0, 0]),
            [None, None, None, Some(Change::Rose)]
        );
        for (round, needed) in [(0, 8), (1, 16), (2, 32), (3, 64), (4, 64)] {
            let at = 100 * (round + 1);
            assert_eq!(
                count(&mut check, at, &[9, 9, 9]).last(),
                Some(&Some(Change::Fell)),
                "{round}"
            );
            let rises = count(&mut check, at + 3, &[0; 64]);
            assert_eq!(
                rises
                    .iter()
                    .position(|change| *change == Some(Change::Rose)),
                Some(needed - 1),
                "{round}"
            );
        }
        let later = 600 + SOON.as_secs();
        assert_eq!(
            count(&mut check, later, &[9, 9, 9]).last(),
            Some(&Some(Change::Fell))
        );
        assert_eq!(
            count(&mut check, later + 10, &[0, 0]).last(),
            Some(&Some(Change::Rose))
        );
    }

    #[test]
    fn demotions_add_up_and_end_at_the_top() {
        let mut checks = Checks::default();
        for (name, demotion) in [("a", 100), ("b", 100), ("c", 100)] {
            let mut check = Check::new(Timestamp::ZERO);
            count(&mut check, 0, &[demotion]);
            checks.0.insert(name.parse().unwrap(), check);
        }
        assert_eq!(checks.demotion(), Demotion::MAX);
        checks.0.remove(&"c".parse::<Name>().unwrap());
        assert_eq!(checks.demotion().get(), 200);
    }

    #[test]
    fn one_at_a_time_and_an_interval_from_begin_to_begin() {
        let mut checks = Checks::default();
        let start = Timestamp::ZERO + Duration::from_secs(5);
        checks.0.insert("a".parse().unwrap(), Check::new(start));
        assert_eq!(checks.due(), Some(start));
        let check = checks.0.values_mut().next().unwrap();
        assert_eq!(check.begin(&HEALTH, start), 1);
        assert_eq!(checks.due(), None, "it runs");
        let check = checks.0.values_mut().next().unwrap();
        check.running = None;
        assert_eq!(checks.due(), Some(start + HEALTH.interval));
    }
}
