//! `[track.NAME]`.

use std::time::Duration;

use super::{Defaulted, Key, Section, defaulted, optional, required};
use crate::config::choice::TrackKind;
use crate::config::form::{Boolean, Demote, Integer, OneOf, Parsed, Period};
use crate::config::model;
use crate::effect::Endpoint;
use crate::types::IfName;

pub(in crate::config) static KIND: Key<OneOf<TrackKind>> = required(
    "kind",
    OneOf::new(),
    "\"link\"",
    "What is tracked. `link`: an interface, which is up while it exists, is set up and has a carrier; the kernel reports every change. `tcp`: a server, which is up while it takes connections; each attempt is made by an HTTP worker, a confined process of its own, and never two at one time.",
);

pub(in crate::config) static INTERFACE: Key<Parsed<IfName>> = optional(
    "interface",
    Parsed::new("interface name"),
    "required for `link`",
    "\"eth1\"",
    "The interface of a `link`. It may be missing when the daemon starts: then the track is down.",
);

pub(in crate::config) static CONNECT: Key<Parsed<Endpoint>> = optional(
    "connect",
    Parsed::new("host and port"),
    "required for `tcp`",
    "\"192.0.2.10:5432\"",
    "The server of a `tcp`. A name is looked up each time.",
);

pub(in crate::config) static INTERVAL: Defaulted<Period> = defaulted(
    "interval",
    Period {
        min: Duration::from_millis(50),
        max: Duration::from_hours(1),
        also: "",
    },
    || Duration::from_secs(2),
    "From the start of one attempt to the start of the next, which waits for the end of the one before. Not for `link`.",
);

pub(in crate::config) static TIMEOUT: Defaulted<Period> = defaulted(
    "timeout",
    Period {
        min: Duration::from_millis(10),
        max: Duration::from_mins(1),
        also: "",
    },
    || Duration::from_secs(1),
    "The time limit for one attempt; one that takes longer has failed. Not for `link`.",
);

pub(in crate::config) static RISE: Defaulted<Integer<u32>> = defaulted(
    "rise",
    Integer { min: 1, max: 100 },
    || 2,
    "After this many good attempts in a row the track is up again. Not for `link`.",
);

pub(in crate::config) static FALL: Defaulted<Integer<u32>> = defaulted(
    "fall",
    Integer { min: 1, max: 100 },
    || 3,
    "After this many failed attempts in a row the track is down. The first result at the start counts at once, unless a master has the track. Not for `link`.",
);

pub(in crate::config) static DEMOTE: Defaulted<Demote> = defaulted(
    "demote",
    Demote,
    || model::Demote::Fault,
    "What follows while the track is down. A number is added to the `advskew` that every virtual host with this track advertises, which is capped at 240: a peer with `preempt` that is better now takes over. `fault`: the virtual host does not take part, as if its own link were down; a master lets go at once, with a bow-out.",
);

pub(in crate::config) static ALL_VHOSTS: Defaulted<Boolean> = defaulted(
    "all-vhosts",
    Boolean,
    || false,
    "Every virtual host has this track, whether it names it or not.",
);

/// `[track.NAME]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[track.NAME]",
    text: "Something whose state the virtual hosts of this node depend on. It exists once, however many virtual hosts name it in their `tracks`.",
    keys: &[
        &KIND,
        &INTERFACE,
        &CONNECT,
        &INTERVAL,
        &TIMEOUT,
        &RISE,
        &FALL,
        &DEMOTE,
        &ALL_VHOSTS,
    ],
};
