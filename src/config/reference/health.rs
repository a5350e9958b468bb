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
    "From the begin of one check to that of the next.",
);

pub(in crate::config) static TIMEOUT: Defaulted<Period> = defaulted(
    "timeout",
    Period {
        min: Duration::from_millis(10),
        max: Duration::from_hours(1),
        also: "at most interval",
    },
    || Duration::from_secs(1),
    "Wall time of one check; longer is a failure.",
);

pub(in crate::config) static RISE: Defaulted<Integer<u32>> = defaulted(
    "rise",
    Integer { min: 1, max: 100 },
    || 2,
    "So many good checks in a row and the node is well again. A node that fell again within 10 minutes needs twice as many, \
             then four times, up to 32 times.",
);

pub(in crate::config) static FALL: Defaulted<Integer<u32>> = defaulted(
    "fall",
    Integer { min: 1, max: 100 },
    || 3,
    "So many failed checks in a row and the node is unwell.",
);

pub(in crate::config) static DEMOTION: Defaulted<Integer<u8>> = defaulted(
    "demotion",
    Integer { min: 1, max: 240 },
    || 240,
    "How unfit a node is then: added to its `advskew`, which ends at 240. Where `health` gives a demotion between 1 and 239, \
             that one counts.",
);

pub(in crate::config) static ON_FAILURE: Defaulted<OneOf<OnUnhealthy>> = defaulted(
    "on-failure",
    OneOf::new(),
    || OnUnhealthy::Resign,
    "What a master does besides: hand over to a peer, or wait for one that has `preempt`. If no peer takes over, it is master \
             again.",
);

/// `[hook.NAME.health]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[hook.NAME.health]",
    text: "How the hook's `health` is asked, if it has one: on each virtual host that names the hook, master or not, beside all \
           other runs; not while the hooks of a transition run. The first answer counts at once.",
    keys: &[&INTERVAL, &TIMEOUT, &RISE, &FALL, &DEMOTION, &ON_FAILURE],
};
