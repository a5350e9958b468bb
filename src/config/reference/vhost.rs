//! `[[vhost]]`.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Defaulted, Key, Section, defaulted, optional, required};
use crate::config::choice::{
    FamilyTimers, Ipv6Checksum, Leases, LinkLocal, Peers, SourceMac, TieBreak,
};
use crate::config::form::{Address, Boolean, Integer, Items, ListOf, OneOf, Parsed, TableOf, Text};
use crate::types::{IfName, MacAddr, Name, VirtualAddress};

pub(in crate::config) static NAME: Key<Parsed<Name>> = required(
    "name",
    Parsed::new("name"),
    "\"web\"",
    "How logs, hooks and commands call it. Unique in the file.",
);

pub(in crate::config) static INTERFACE: Key<Parsed<IfName>> = required(
    "interface",
    Parsed::new("interface name"),
    "\"eth0\"",
    "Where it advertises and holds its addresses: the interface's own name, or an alternative one (`ip link property`).",
);

pub(in crate::config) static VHID: Key<Integer<u8>> = required(
    "vhid",
    Integer { min: 1, max: 255 },
    "40",
    "Its number on the interface's network; no other group there may use it.",
);

pub(in crate::config) static ADDRESSES: Key<Items> = required(
    "addresses",
    Items {
        what: "addresses with prefix length",
        max: VirtualAddress::MAX_OF_A_VHOST,
    },
    "[\"192.168.32.22/24\"]",
    "The addresses that follow mastership, IPv4 and IPv6. Without a prefix length: /32 or /128. \
             The order does not matter to the protocol.",
);

pub(in crate::config) static PASSWORD_FILE: Key<Text> = optional(
    "password-file",
    Text { what: "path" },
    "the password is in `credential`",
    "\"/etc/carpd/web.pass\"",
    "A file whose first line is the password, 1 to 19 bytes, taken as they are. Refused if its group or others have any \
             right to it. A relative path starts at the directory of this file.",
);

pub(in crate::config) static CREDENTIAL: Key<Text> = optional(
    "credential",
    Text { what: "string" },
    "the password is in `password-file`",
    "\"web\"",
    "The name of a systemd credential (`LoadCredential=web:/etc/carpd/web.pass`) whose first line is the password.",
);

pub(in crate::config) static ADVBASE: Defaulted<Integer<u8>> = defaulted(
    "advbase",
    Integer { min: 0, max: 254 },
    || 1,
    "Seconds between advertisements. 0 needs an `advskew` above 0, and FreeBSD nodes cannot use it.",
);

pub(in crate::config) static ADVSKEW: Defaulted<Integer<u8>> = defaulted(
    "advskew",
    Integer { min: 0, max: 254 },
    || 0,
    "Added to `advbase` in 1/256 s. The node with the lowest sum is the best master. \
             Above 240 it is cut to 240 when sent, as FreeBSD does.",
);

pub(in crate::config) static PREEMPT: Defaulted<Boolean> = defaulted(
    "preempt",
    Boolean,
    || false,
    "Take over from a living master that is worse.",
);

pub(in crate::config) static DEAD_RATIO: Defaulted<Integer<u32>> = defaulted(
    "dead-ratio",
    Integer { min: 1, max: 255 },
    || 3,
    "A master is dead after `dead-ratio` × `advbase` + `advskew`/256 seconds without an advertisement. \
             With `peers = \"openbsd\"`: `dead-ratio` × (`advbase` + `advskew`/256), and those nodes use 3.",
);

pub(in crate::config) static NEUTRAL: Defaulted<Boolean> = defaulted(
    "neutral",
    Boolean,
    || false,
    "Do not call `on_backup` when the daemon starts.",
);

pub(in crate::config) static TIE_BREAK: Defaulted<OneOf<TieBreak>> = defaulted(
    "tie-break",
    OneOf::new(),
    || TieBreak::Address,
    "Who goes on when two masters are equally good: the one with the lower address; nobody (`yield`, as the BSDs); or as ucarp \
             compares.",
);

pub(in crate::config) static PEERS: Defaulted<OneOf<Peers>> = defaulted(
    "peers",
    OneOf::new(),
    || Peers::Bsd,
    "Whose rules decide. `bsd` fits FreeBSD, NetBSD, ucarp and carpd; with `openbsd` the demote byte counts.",
);

pub(in crate::config) static FAMILY_TIMERS: Defaulted<OneOf<FamilyTimers>> = defaulted(
    "family-timers",
    OneOf::new(),
    || FamilyTimers::All,
    "With IPv4 and IPv6 addresses: become master when every family is silent, or, as the BSDs do, when any is.",
);

pub(in crate::config) static LINK_LOCAL: Defaulted<OneOf<LinkLocal>> = defaulted(
    "link-local",
    OneOf::new(),
    || LinkLocal::Include,
    "Whether link-local addresses are part of the hash that is sent. `exclude` where OpenBSD is a peer. Both are accepted.",
);

pub(in crate::config) static IPV6_CHECKSUM: Defaulted<OneOf<Ipv6Checksum>> = defaulted(
    "ipv6-checksum",
    OneOf::new(),
    || Ipv6Checksum::Plain,
    "The checksum of IPv6 advertisements that are sent. `pseudo-header` where NetBSD is a peer. Both are accepted.",
);

pub(in crate::config) static SEND_DEMOTE_BYTE: Defaulted<Boolean> = defaulted(
    "send-demote-byte",
    Boolean,
    || false,
    "Also tell OpenBSD nodes how unfit this one is, in the byte that they read, where the group is a mixed one. \
             Always so with `peers = \"openbsd\"`.",
);

pub(in crate::config) static OPENBSD_LLADDR: Key<Address<MacAddr>> = optional(
    "openbsd-lladdr",
    Address::new(
        "hardware address",
        "a hardware address, as in 02:00:00:00:00:01",
    ),
    "OpenBSD nodes have not set theirs by hand",
    "\"02:00:00:00:00:01\"",
    "The `lladdr` that the carp interface of OpenBSD nodes was given by hand: it is part of their hash.",
);

pub(in crate::config) static MANAGE_ADDRESSES: Defaulted<Boolean> = defaulted(
    "manage-addresses",
    Boolean,
    || true,
    "The daemon itself puts up the addresses as master and takes them down first of all. With false the hooks have to.",
);

pub(in crate::config) static LEASE: Defaulted<OneOf<Leases>> = defaulted(
    "lease",
    OneOf::new(),
    || Leases::Kernel,
    "With `kernel` the addresses have a lifetime that every advertisement renews, so that a frozen or killed daemon \
             loses them before a backup takes over. They show as /32 or /128 then. With `off` they stay until taken down.",
);

pub(in crate::config) static NOMCAST: Defaulted<Boolean> = defaulted(
    "nomcast",
    Boolean,
    || false,
    "Send advertisements to the broadcast address of Ethernet, for switches that lose multicast (ucarp's `-M`).",
);

pub(in crate::config) static MCAST_GROUP: Defaulted<Address<Ipv4Addr>> = defaulted(
    "mcast-group",
    Address::multicast("IPv4 multicast address", "an IPv4 multicast address"),
    || Ipv4Addr::new(224, 0, 0, 18),
    "Where IPv4 advertisements go. The same on every node.",
);

pub(in crate::config) static MCAST_GROUP6: Defaulted<Address<Ipv6Addr>> = defaulted(
    "mcast-group6",
    Address::multicast("IPv6 multicast address", "an IPv6 multicast address"),
    || Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12),
    "Where IPv6 advertisements go. The same on every node.",
);

pub(in crate::config) static SOURCE_MAC: Defaulted<OneOf<SourceMac>> = defaulted(
    "source-mac",
    OneOf::new(),
    || SourceMac::Virtual,
    "The hardware address that advertisements come from: `00:00:5e:00:01:VHID`, or the interface's own where switches or \
             hypervisors refuse others.",
);

pub(in crate::config) static SOURCE_ADDRESS: Key<Address<Ipv4Addr>> = optional(
    "source-address",
    Address::new("IPv4 address", "an IPv4 address without a prefix length"),
    "the first address of the interface that is not a virtual one",
    "\"192.168.32.32\"",
    "The IPv4 source of advertisements. Never one of the virtual addresses.",
);

pub(in crate::config) static SOURCE_ADDRESS6: Key<Address<Ipv6Addr>> = optional(
    "source-address6",
    Address::new("IPv6 address", "an IPv6 address without a prefix length"),
    "the link-local address of the interface",
    "\"fe80::32\"",
    "The IPv6 source of advertisements. Never one of the virtual addresses.",
);

pub(in crate::config) static IGNORE_LINK_STATE: Defaulted<Boolean> = defaulted(
    "ignore-link-state",
    Boolean,
    || false,
    "Go on as if the link were up when it is down (ucarp's `-S`).",
);

pub(in crate::config) static ANNOUNCE: Key<TableOf> = optional(
    "announce",
    TableOf(&super::announce::SECTION),
    "the defaults of `[vhost.announce]`",
    "{ count = 3, interval = \"500ms\" }",
    "See `[vhost.announce]`.",
);

pub(in crate::config) static XPARAM: Key<Text> = optional(
    "xparam",
    Text { what: "string" },
    "hooks see none",
    "\"blue\"",
    "A text for the hooks (ucarp's `-x`).",
);

pub(in crate::config) static HOOKS: Defaulted<ListOf<Name>> = defaulted(
    "hooks",
    ListOf::new("names"),
    Vec::new,
    "Hooks of this virtual host, each a `[hook.NAME]`. They run in this order going up, in reverse going down.",
);

pub(in crate::config) static ADOPT: Defaulted<Boolean> = defaulted(
    "adopt",
    Boolean,
    || false,
    "An address of the list that is up on the interface and not by carpd's doing was left by another daemon: remove it. \
             Otherwise it is taken for this machine's own, which `carpd check` refuses and for which the virtual host takes no part.",
);

pub(in crate::config) static KEEP_DEGRADED: Defaulted<Boolean> = defaulted(
    "keep-degraded",
    Boolean,
    || true,
    "If a hook fails here and no peer takes over: hold the addresses all the same, as unfit as can be, and retry the hook.",
);

/// `[[vhost]]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[[vhost]]",
    text: "One virtual host: addresses that one of several nodes holds. On every node of a virtual host `vhid`, the password \
           and the set of `addresses` must be the same, or the nodes refuse each other's advertisements.",
    keys: &[
        &NAME,
        &INTERFACE,
        &VHID,
        &ADDRESSES,
        &PASSWORD_FILE,
        &CREDENTIAL,
        &ADVBASE,
        &ADVSKEW,
        &PREEMPT,
        &DEAD_RATIO,
        &NEUTRAL,
        &TIE_BREAK,
        &PEERS,
        &FAMILY_TIMERS,
        &LINK_LOCAL,
        &IPV6_CHECKSUM,
        &SEND_DEMOTE_BYTE,
        &OPENBSD_LLADDR,
        &MANAGE_ADDRESSES,
        &LEASE,
        &NOMCAST,
        &MCAST_GROUP,
        &MCAST_GROUP6,
        &SOURCE_MAC,
        &SOURCE_ADDRESS,
        &SOURCE_ADDRESS6,
        &IGNORE_LINK_STATE,
        &ANNOUNCE,
        &XPARAM,
        &HOOKS,
        &ADOPT,
        &KEEP_DEGRADED,
    ],
};
