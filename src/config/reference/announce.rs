//! `[vhost.announce]`.

use std::time::Duration;

use super::{Defaulted, Section, defaulted};
use crate::config::form::{Integer, Period};

pub(in crate::config) static COUNT: Defaulted<Integer<u8>> = defaulted(
    "count",
    Integer { min: 1, max: 255 },
    || 1,
    "How many announcements are sent for each address.",
);

pub(in crate::config) static INTERVAL: Defaulted<Period> = defaulted(
    "interval",
    Period {
        min: Duration::from_millis(10),
        max: Duration::from_mins(1),
        also: "",
    },
    || Duration::from_millis(200),
    "The time between two announcements.",
);

pub(in crate::config) static DELAY: Defaulted<Period> = defaulted(
    "delay",
    FROM_ZERO,
    || Duration::ZERO,
    "How long after the takeover as many announcements are sent once more, for switches and neighbours that do not listen at first (keepalived's `garp_master_delay`). `0s`: not.",
);

pub(in crate::config) static REFRESH: Defaulted<Period> = defaulted(
    "refresh",
    FROM_ZERO,
    || Duration::ZERO,
    "How often a master announces its addresses without another reason (keepalived's `garp_master_refresh`). `0s`: never.",
);

const FROM_ZERO: Period = Period {
    min: Duration::ZERO,
    max: Duration::from_hours(24),
    also: "",
};

/// `[vhost.announce]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[vhost.announce]",
    text: "How addresses are announced to the neighbours at takeover (gratuitous ARP, unsolicited neighbour advertisements). Usually written on one line: `announce = { count = 3, interval = \"500ms\" }`. They are always announced once more after the second advertisement.",
    keys: &[&COUNT, &INTERVAL, &DELAY, &REFRESH],
};
