//! `[[vhost]]` and what is below it.

use super::Kind::{OneOf, Plain};
use super::{Section, defaults, optional, required};
use crate::config::choice::{
    Choice, FamilyTimers, Ipv6Checksum, Leases, LinkLocal, Peers, SourceMac, TieBreak,
};

/// `[[vhost]]`.
pub(crate) static VHOST: Section = Section {
    header: "[[vhost]]",
    text: "One virtual host: addresses that one of several nodes holds. On every node of a virtual host `vhid`, the password \
           and the set of `addresses` must be the same, or the nodes refuse each other's advertisements.",
    keys: &[
        required(
            "name",
            Plain("name"),
            "\"web\"",
            "How logs, hooks and commands call it. Unique in the file.",
        ),
        required(
            "interface",
            Plain("interface name"),
            "\"eth0\"",
            "Where it advertises and holds its addresses: the interface's own name, or an alternative one (`ip link property`).",
        ),
        required(
            "vhid",
            Plain("integer, 1 to 255"),
            "40",
            "Its number on the interface's network; no other group there may use it.",
        ),
        required(
            "addresses",
            Plain("list of 1 to 255 addresses with prefix length"),
            "[\"192.168.32.22/24\"]",
            "The addresses that follow mastership, IPv4 and IPv6. Without a prefix length: /32 or /128. \
             The order does not matter to the protocol.",
        ),
        optional(
            "password-file",
            Plain("path"),
            "the password is in `credential`",
            "\"/etc/carpd/web.pass\"",
            "A file whose first line is the password, 1 to 19 bytes, taken as they are. Refused if its group or others have any \
             right to it. A relative path starts at the directory of this file.",
        ),
        optional(
            "credential",
            Plain("string"),
            "the password is in `password-file`",
            "\"web\"",
            "The name of a systemd credential (`LoadCredential=web:/etc/carpd/web.pass`) whose first line is the password.",
        ),
        defaults(
            "advbase",
            Plain("integer, 0 to 254"),
            "1",
            "Seconds between advertisements. 0 needs an `advskew` above 0, and FreeBSD nodes cannot use it.",
        ),
        defaults(
            "advskew",
            Plain("integer, 0 to 254"),
            "0",
            "Added to `advbase` in 1/256 s. The node with the lowest sum is the best master. \
             Above 240 it is cut to 240 when sent, as FreeBSD does.",
        ),
        defaults(
            "preempt",
            Plain("boolean"),
            "false",
            "Take over from a living master that is worse.",
        ),
        defaults(
            "dead-ratio",
            Plain("integer, 1 to 255"),
            "3",
            "A master is dead after `dead-ratio` × `advbase` + `advskew`/256 seconds without an advertisement. \
             With `peers = \"openbsd\"`: `dead-ratio` × (`advbase` + `advskew`/256), and those nodes use 3.",
        ),
        defaults(
            "neutral",
            Plain("boolean"),
            "false",
            "Do not call `on_backup` when the daemon starts.",
        ),
        defaults(
            "tie-break",
            OneOf(TieBreak::WORDS),
            "\"address\"",
            "Who goes on when two masters are equally good: the one with the lower address; nobody (`yield`, as the BSDs); or as ucarp \
             compares.",
        ),
        defaults(
            "peers",
            OneOf(Peers::WORDS),
            "\"bsd\"",
            "Whose rules decide. `bsd` fits FreeBSD, NetBSD, ucarp and carpd; with `openbsd` the demote byte counts.",
        ),
        defaults(
            "family-timers",
            OneOf(FamilyTimers::WORDS),
            "\"all\"",
            "With IPv4 and IPv6 addresses: become master when every family is silent, or, as the BSDs do, when any is.",
        ),
        defaults(
            "link-local",
            OneOf(LinkLocal::WORDS),
            "\"include\"",
            "Whether link-local addresses are part of the hash that is sent. `exclude` where OpenBSD is a peer. Both are accepted.",
        ),
        defaults(
            "ipv6-checksum",
            OneOf(Ipv6Checksum::WORDS),
            "\"plain\"",
            "The checksum of IPv6 advertisements that are sent. `pseudo-header` where NetBSD is a peer. Both are accepted.",
        ),
        defaults(
            "send-demote-byte",
            Plain("boolean"),
            "false",
            "Also tell OpenBSD nodes how unfit this one is, in the byte that they read, where the group is a mixed one. \
             Always so with `peers = \"openbsd\"`.",
        ),
        optional(
            "openbsd-lladdr",
            Plain("hardware address"),
            "OpenBSD nodes have not set theirs by hand",
            "\"02:00:00:00:00:01\"",
            "The `lladdr` that the carp interface of OpenBSD nodes was given by hand: it is part of their hash.",
        ),
        defaults(
            "manage-addresses",
            Plain("boolean"),
            "true",
            "The daemon itself puts up the addresses as master and takes them down first of all. With false the hooks have to.",
        ),
        defaults(
            "lease",
            OneOf(Leases::WORDS),
            "\"kernel\"",
            "With `kernel` the addresses have a lifetime that every advertisement renews, so that a frozen or killed daemon \
             loses them before a backup takes over. They show as /32 or /128 then. With `off` they stay until taken down.",
        ),
        defaults(
            "nomcast",
            Plain("boolean"),
            "false",
            "Send advertisements to the broadcast address of Ethernet, for switches that lose multicast (ucarp's `-M`).",
        ),
        defaults(
            "mcast-group",
            Plain("IPv4 multicast address"),
            "\"224.0.0.18\"",
            "Where IPv4 advertisements go. The same on every node.",
        ),
        defaults(
            "mcast-group6",
            Plain("IPv6 multicast address"),
            "\"ff02::12\"",
            "Where IPv6 advertisements go. The same on every node.",
        ),
        defaults(
            "source-mac",
            OneOf(SourceMac::WORDS),
            "\"virtual\"",
            "The hardware address that advertisements come from: `00:00:5e:00:01:VHID`, or the interface's own where switches or \
             hypervisors refuse others.",
        ),
        optional(
            "source-address",
            Plain("IPv4 address"),
            "the first address of the interface that is not a virtual one",
            "\"192.168.32.32\"",
            "The IPv4 source of advertisements. Never one of the virtual addresses.",
        ),
        optional(
            "source-address6",
            Plain("IPv6 address"),
            "the link-local address of the interface",
            "\"fe80::32\"",
            "The IPv6 source of advertisements. Never one of the virtual addresses.",
        ),
        defaults(
            "ignore-link-state",
            Plain("boolean"),
            "false",
            "Go on as if the link were up when it is down (ucarp's `-S`).",
        ),
        optional(
            "announce",
            Plain("table"),
            "the defaults of `[vhost.announce]`",
            "{ count = 3, interval = \"500ms\" }",
            "See `[vhost.announce]`.",
        ),
        optional(
            "xparam",
            Plain("string"),
            "hooks see none",
            "\"blue\"",
            "A text for the hooks (ucarp's `-x`).",
        ),
        defaults(
            "hooks",
            Plain("list of names"),
            "[]",
            "Hooks of this virtual host, each a `[hook.NAME]`. They run in this order going up, in reverse going down.",
        ),
        defaults(
            "adopt",
            Plain("boolean"),
            "false",
            "An address of the list that is up on the interface and not by carpd's doing was left by another daemon: remove it. \
             Otherwise it is taken for this machine's own, which `carpd check` refuses and for which the virtual host takes no part.",
        ),
        defaults(
            "keep-degraded",
            Plain("boolean"),
            "true",
            "If a hook fails here and no peer takes over: hold the addresses all the same, as unfit as can be, and retry the hook.",
        ),
    ],
};

/// `[vhost.announce]`.
pub(crate) static ANNOUNCE: Section = Section {
    header: "[vhost.announce]",
    text: "How the neighbours are told at takeover (gratuitous ARP, unsolicited neighbour advertisement). Usually written in one \
           line: `announce = { count = 3, interval = \"500ms\" }`. After the second advertisement they are told once more in any case.",
    keys: &[
        defaults(
            "count",
            Plain("integer, 1 to 255"),
            "1",
            "How often, for each address.",
        ),
        defaults(
            "interval",
            Plain("duration, 10ms to 1m"),
            "\"200ms\"",
            "The time between two of them.",
        ),
    ],
};
