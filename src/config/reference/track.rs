//! `[track.NAME]`.

use super::{Defaulted, Key, Section, defaulted, optional, required};
use crate::config::choice::TrackKind;
use crate::config::form::{Boolean, Demote, OneOf, Parsed};
use crate::config::model;
use crate::types::IfName;

pub(in crate::config) static KIND: Key<OneOf<TrackKind>> = required(
    "kind",
    OneOf::new(),
    "\"link\"",
    "What is tracked. `link`: an interface, which is up while it exists, is set up and has a carrier; the kernel reports every change.",
);

pub(in crate::config) static INTERFACE: Key<Parsed<IfName>> = optional(
    "interface",
    Parsed::new("interface name"),
    "required for `link`",
    "\"eth1\"",
    "The interface of a `link`. It may be missing when the daemon starts: then the track is down.",
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
    keys: &[&KIND, &INTERFACE, &DEMOTE, &ALL_VHOSTS],
};
