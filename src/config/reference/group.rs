//! `[group.NAME]`.

use super::{Key, Section, required};
use crate::config::form::ListOf;
use crate::types::Name;

pub(in crate::config) static MEMBERS: Key<ListOf<Name>> = required(
    "members",
    ListOf::new("names"),
    "[\"wan\", \"lan\"]",
    "The virtual hosts of the group, two or more, each in no other group. `advbase`, `advskew`, `dead-ratio`, `preempt`, `preempt-delay`, `startup-delay`, `hold-down`, `peers`, `send-demote-byte` and `tie-break` must be the same for all of them, and the list must have the same order on all nodes: if two equal nodes do not hear each other on every network, its order decides.",
);

/// `[group.NAME]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[group.NAME]",
    text: "Virtual hosts of which this node is master together or not at all, such as the outer and the inner address of a router. If one of them cannot take part, none does; if one loses mastership, this node gives up all; and it becomes master of all at once, when it may become master of each. See \"Groups\" in the operations manual. Use groups on all nodes of these virtual hosts, or on none.",
    keys: &[&MEMBERS],
};
