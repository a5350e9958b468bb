//! `[hook.NAME.health]`.

use std::time::Duration;

use super::{Defaulted, Section, defaulted};
use crate::config::choice::OnUnhealthy;
use crate::config::form::{Integer, OneOf, Period};

pub(in crate::config) static INTERVAL: Defaulted<Period> = defaulted(
    "interval",
    Period {
        min: Duration::from_millis(100),
        max: Duration::from_hours(1),
        also: "",
    },
    || Duration::from_secs(2),
    "From the start of one check to the start of the next.",
);

pub(in crate::config) static TIMEOUT: Defaulted<Period> = defaulted(
    "timeout",
    Period {
        min: Duration::from_millis(10),
        max: Duration::from_hours(1),
        also: "at most interval",
    },
    || Duration::from_secs(1),
    "The time limit for one check; a check that takes longer has failed.",
);

pub(in crate::config) static RISE: Defaulted<Integer<u32>> = defaulted(
    "rise",
    Integer { min: 1, max: 100 },
    || 2,
    "After this many good checks in a row the node is healthy again. A node that fails again within 10 minutes needs twice as many, then four times as many, up to 32 times.",
);

pub(in crate::config) static FALL: Defaulted<Integer<u32>> = defaulted(
    "fall",
    Integer { min: 1, max: 100 },
    || 3,
    "After this many failed checks in a row the node is unhealthy.",
);

pub(in crate::config) static DEMOTION: Defaulted<Integer<u8>> = defaulted(
    "demotion",
    Integer { min: 1, max: 240 },
    || 240,
    "How far an unhealthy node is demoted: this is added to its `advskew`, which is capped at 240. If `health` returns a demotion between 1 and 239, that value is used instead.",
);

pub(in crate::config) static ON_FAILURE: Defaulted<OneOf<OnUnhealthy>> = defaulted(
    "on-failure",
    OneOf::new(),
    || OnUnhealthy::Resign,
    "What an unhealthy master does in addition: hand over to a peer, or wait for one that has `preempt`. If no peer takes over, it becomes master again.",
);

/// `[hook.NAME.health]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[hook.NAME.health]",
    text: "How the hook's `health` function is called, if it has one: for each virtual host that uses the hook, master or not, and independently of other runs, but not while the hooks of a transition run. The first result takes effect at once.",
    keys: &[&INTERVAL, &TIMEOUT, &RISE, &FALL, &DEMOTION, &ON_FAILURE],
};
