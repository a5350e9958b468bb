//! `[vhost.damping]`.

use std::time::Duration;

use super::{Defaulted, Section, defaulted};
use crate::config::form::{Integer, Period};
use crate::proto::Damping;

pub(in crate::config) static HALF_LIFE: Defaulted<Period> = defaulted(
    "half-life",
    Period {
        min: Duration::ZERO,
        max: Duration::from_hours(1),
        also: "",
    },
    || Damping::USUAL.half_life,
    "The time in which the penalty falls by half. `0s` switches damping off.",
);

pub(in crate::config) static SUPPRESS: Defaulted<Integer<u32>> = defaulted(
    "suppress",
    Integer {
        min: 1,
        max: 100_000,
    },
    || Damping::USUAL.suppress,
    "From this penalty on the virtual host does not take part. With the default a second flap within a half-life is one too many.",
);

pub(in crate::config) static REUSE: Defaulted<Integer<u32>> = defaulted(
    "reuse",
    Integer {
        min: 1,
        max: 100_000,
    },
    || Damping::USUAL.reuse,
    "It takes part again when the penalty has fallen to this value: at the latest four half-lives after the last flap.",
);

/// `[vhost.damping]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[vhost.damping]",
    text: "How a link that flaps is damped, as routers do it. Each time the link of a virtual host that takes part, or waits to, goes down, its penalty grows by 1000. A master always lets go at once; only taking part again is delayed. Usually written on one line: `damping = { half-life = \"10s\" }`.",
    keys: &[&HALF_LIFE, &SUPPRESS, &REUSE],
};
